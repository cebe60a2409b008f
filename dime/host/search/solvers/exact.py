"""Our own solver: the chain is a graph without cycles, and a plan a path through it.

Without a limit on what the goal leaves out, the best plan is a shortest path. With one, and for the whole frontier,
every node keeps all its undominated labels (label setting): one pass gives the complete set of best trade-offs, in
integers and therefore exactly. Three forms of it agree, those of ``backends``: ``plain`` (plain Python, small graphs),
``compiled`` (with bounds) and ``vector`` (more than two quantities: memory limits and pipelines).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from time import monotonic

import numpy as np

import dime
from dime.host.common.stats import Ints
from dime.host.planning.evaluation import evaluate, value
from dime.host.planning.problem import PER_S, Choice, Problem
from dime.host.planning.quantity import Quantity
from dime.host.planning.solution import Solution
from dime.host.planning.terms import Terms
from dime.host.search import backends
from dime.host.search import graph as graphs
from dime.host.search.pareto import pareto, shortest
from dime.host.search.solvers import Capabilities, _ties, conclude

Choices = tuple[Choice, ...]
CAPABILITIES = Capabilities()
# Where plain Python, tried on a few, would take so long for the other replicates, compiled code pays its loading; the
# first time on a machine it is compiled.
LOADING_S, COMPILING_S, TRIED = 1.0, 15.0, 10


def available() -> str | None:
    """It always is."""
    return None


def version() -> str:
    """Name and version."""
    return f"exact {dime.__version__}"


def refuses(problem: Problem) -> str | None:
    """A graph that would not fit into memory: long bundles under the published rule on many devices, mostly."""
    arcs = graphs.estimate(problem)
    most = graphs.LARGEST_ARCS
    return None if arcs <= most else f"exact would need {arcs:.1e} arcs, more than {most:.0e}"


@dataclass(frozen=True, eq=False)
class TradeOffs:
    """The undominated plans of a problem that keep its limits.

    Attributes:
        time_ps: Latency, or the slowest stage's time for the goal throughput; ascending.
        energy_pj: Energy, descending.
        complete: Whether these are all there are; False if time ran out.
        choices: Gives the plan of the k-th point.
        weights: (a, b) such that a x time + b x energy orders the points as the goal does.
        backend: The form of label setting that found them.
    """

    time_ps: Ints
    energy_pj: Ints
    complete: bool
    choices: Callable[[int], tuple[Choice, ...]]
    weights: tuple[int, int]
    backend: str

    @property
    def values(self) -> list[int]:
        """What the goal makes of each point, as integers that compare exactly."""
        a, b = self.weights
        return [
            a * time + b * energy for time, energy in zip(self.time_ps.tolist(), self.energy_pj.tolist(), strict=True)
        ]

    @property
    def best(self) -> int:
        """The point that the goal likes best."""
        values = self.values
        return values.index(min(values))


def solve(problem: Problem, time_limit_s: float, gap: float, backend: str = "auto") -> Solution:
    """Finds the best plan by a shortest path, or among the trade-offs where a limit cuts across the goal."""
    began = monotonic()

    def answer(status: str, choices: Choices | None, form: str, bound: float | None = None) -> Solution:
        told = conclude(problem, status, choices, bound, "exact", version(), monotonic() - began)
        return replace(told, backend=form)

    graph = graphs.build(problem, (problem.latency, problem.energy))
    limited = problem.latency_limit_ps is not None or problem.energy_limit_pj is not None
    if not _has_more_quantities(problem) and not limited:
        choices = shortest(graph, problem.latency, (problem.energy,), problem.goal.weights)
        if choices is None:
            return answer("infeasible", None, "plain")
        return answer("optimal", _ties.first(problem, choices), "plain")
    found = _trade_offs(problem, graph, began + time_limit_s, problem.has_energy, backend)
    if not len(found.time_ps):
        status = "infeasible" if found.complete else "unknown"
        return answer(status, None, found.backend, _relaxed_bound(problem, graph))
    best = found.choices(found.best)
    if found.complete:
        return answer("optimal", _ties.first(problem, best), found.backend)
    return answer("feasible", best, found.backend, _relaxed_bound(problem, graph))


def trade_offs(problem: Problem, time_limit_s: float, backend: str = "auto") -> TradeOffs:
    """Finds all undominated plans; if time runs out, those that were known before the exact pass."""
    graph = graphs.build(problem, (problem.latency, problem.energy))
    return _trade_offs(problem, graph, monotonic() + time_limit_s, True, backend)


def replicated(
    problem: Problem,
    latency_ps: Sequence[Ints],
    energy_pj: Sequence[Ints],
    time_limit_s: float,
    crossing_ps: Ints | None = None,
    terms: Callable[[int], Terms] | None = None,
) -> Iterator[TradeOffs]:
    """Finds all undominated plans under many sets of costs, much faster than one problem after the other.

    Args:
        problem: The problem; its options must be those of every replicate.
        latency_ps: For each device (replicates, bundles, frequencies).
        energy_pj: The same of energy.
        time_limit_s: Longest time for one replicate.
        crossing_ps: (replicates, N + 1, devices, devices) of crossings; None: the problem's.
        terms: Replicate -> its terms, which depend on the past as the problem's do; None: the problem's.

    Yields:
        The trade-offs of each replicate.
    """
    count = len(latency_ps[0])
    if _has_more_quantities(problem):
        for at in range(count):
            drawn_ps, drawn_pj = [device[at] for device in latency_ps], [device[at] for device in energy_pj]
            yield trade_offs(_as_drawn(problem, crossing_ps, terms, at).with_costs(drawn_ps, drawn_pj), time_limit_s)
        return
    graph = graphs.build(problem)
    linked = np.ones(problem.crossing_ps.shape, np.bool_)
    began, patience_s, backend = monotonic(), LOADING_S if backends.is_compiled() else COMPILING_S, "auto"
    for at in range(count):
        if at >= TRIED and (monotonic() - began) * (count - at) > patience_s * at:
            backend = "compiled"
        drawn_ps, drawn_pj = [device[at] for device in latency_ps], [device[at] for device in energy_pj]
        latency, energy = _as_drawn(problem, crossing_ps, terms, at).quantities(drawn_ps, drawn_pj)
        kept = []
        for device in range(len(problem.devices)):
            best = problem.usable[device].copy()
            if not problem.states.depends_on_frequency(device) and problem.states.is_single:
                best[:] = False
                both = latency.of_devices[device], energy.of_devices[device]
                best[graphs.undominated(both[0], both[1], problem.usable[device])] = True
            kept.append(best)
        smaller = graph.keep(graph.gather(kept, linked).astype(np.bool_))
        front = pareto(smaller, (latency, energy), (), monotonic() + time_limit_s, backend)
        yield TradeOffs(
            front.sums[:, 0], front.sums[:, 1], front.complete, front.choices, problem.goal.weights, front.backend
        )


def _as_drawn(problem: Problem, crossing_ps: Ints | None, terms: Callable[[int], Terms] | None, at: int) -> Problem:
    if crossing_ps is not None:
        problem = replace(problem, crossing_ps=crossing_ps[at])
    return problem if terms is None else replace(problem, terms=terms(at))


def _has_more_quantities(problem: Problem) -> bool:
    """Whether a label must hold more than latency and energy.

    Where a device has at most one bundle, memory only forbids bundles.
    """
    single = problem.limits.rule == "published" and min(problem.largest_bundles) >= len(problem.layers)
    return problem.time.slowest or (bool(problem.memory) and not single) or bool(graphs.open_gaps(problem))


def _trade_offs(problem: Problem, graph: graphs.Graph, deadline: float, whole: bool, backend: str) -> TradeOffs:
    """The trade-offs of time and energy; of one of them, where nothing asks for the other."""
    time, energy, within = problem.time, problem.energy, []
    with_time = with_energy = True
    if _has_more_quantities(problem):
        per_time, per_energy = problem.goal.weights
        with_time = whole or per_time > 0 or time.most is not None
        with_energy = (whole and problem.has_energy) or per_energy > 0 or energy.most is not None
        within = list(problem.memory.values())
        if time.slowest and problem.latency.most is not None:
            within.append(problem.latency)
        backend = "vector"
    asked = [quantity for quantity, wanted in ((time, with_time), (energy, with_energy)) if wanted]
    front = pareto(graph, asked, within, deadline, backend)
    nothing = np.zeros(len(front), np.int64)
    return TradeOffs(
        front.sums[:, 0] if with_time else nothing,
        front.sums[:, -1] if with_energy else nothing,
        front.complete,
        front.choices,
        problem.goal.weights,
        front.backend,
    )


def _relaxed_bound(problem: Problem, graph: graphs.Graph) -> float | None:
    """The goal's value of the best plan when limits on totals and memory are ignored.

    A pipeline has at most one stage a device and one more crossing than that; the slowest takes at least its share of
    the least latency.
    """
    choices = shortest(graph, problem.latency, (problem.energy,), problem.goal.weights)
    if choices is None or graph.gaps:  # with gaps left out, a path may cost less than its plan
        return None
    totals = evaluate(problem, choices)
    if problem.time.slowest:
        return totals.latency_ps / PER_S / (2 * len(problem.devices) + 1)
    return value(problem, totals)


def possible(problem: Problem, time_limit_s: float) -> bool:
    """Whether any plan keeps the limits; a question that is not answered in time counts as yes."""
    return solve(problem, time_limit_s, 0.0).status != "infeasible"


def least(problem: Problem, quantity: Quantity, time_limit_s: float) -> int | None:
    """Least amount of a quantity among the plans that keep the limits, whatever the goal.

    Args:
        problem: The problem.
        quantity: The quantity.
        time_limit_s: Longest time.

    Returns:
        The least amount, or None if there is no such plan or time ran out.
    """
    limits = [
        limited
        for limited in (problem.latency, problem.energy, *problem.memory.values())
        if limited.most is not None and limited is not quantity
    ]
    front = pareto(graphs.build(problem), [quantity], limits, monotonic() + time_limit_s)
    return int(front.sums[0, 0]) if len(front) and front.complete else None
