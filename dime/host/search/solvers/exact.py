"""Our own solver: the chain is a graph without cycles, and a plan a path through it.

Without a limit on what the goal leaves out, the best plan is a shortest path. With one, and for the whole frontier,
every node keeps all its undominated labels (label setting): one pass gives the complete set of best trade-offs, in
integers and therefore exactly. Three forms of it agree, those of ``backends``: ``plain`` (plain Python, small graphs),
``compiled`` (with bounds) and ``vector`` (more than two quantities: memory limits and pipelines).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic
from typing import Protocol

import numpy as np

import dime
from dime.host.common.statistics import Ints
from dime.host.planning.evaluation import evaluate, value
from dime.host.planning.problem import PER_J, PER_S, Choice, Problem
from dime.host.planning.solution import Solution
from dime.host.search import backends
from dime.host.search import graph as graphs
from dime.host.search.backends import plain
from dime.host.search.solvers import Capabilities, _ties, conclude

CAPABILITIES = Capabilities()
# Up to so many arcs plain Python is done before numba is imported; up to so many the bounds cost more than they save.
SMALL_ARCS = 4_000
BOUNDED_ARCS = 3_000
# Where plain Python, tried on a few, would take so long for the other replicates, compiled code pays its loading; the
# first time on a machine it is compiled.
LOADING_S, COMPILING_S, TRIED = 1.0, 15.0, 10
SLOPES = (0.02, 0.1, 0.3, 1.0, 3.0, 10.0, 50.0)


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


class Labels(Protocol):
    """The labels of every node, whichever form found them."""

    def at(self, node: int) -> Ints: ...

    def has(self, node: int, latency_ps: int, energy_pj: int) -> bool: ...


@dataclass(frozen=True, eq=False)
class TradeOffs:
    """The undominated plans of a problem that keep its limits.

    Attributes:
        time_ps: Latency, or the slowest stage's time for the goal throughput; ascending.
        energy_pj: Energy, descending.
        complete: Whether these are all there are; False if time ran out.
        choices: Gives the plan of the k-th point.
        weights: (a, b) such that a x time + b x energy orders the points as the goal does.
    """

    time_ps: Ints
    energy_pj: Ints
    complete: bool
    choices: Callable[[int], tuple[Choice, ...]]
    weights: tuple[int, int]

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


def solve(problem: Problem, time_limit_s: float, gap: float) -> Solution:
    """Finds the best plan by a shortest path, or among the trade-offs where a limit cuts across the goal."""
    began = monotonic()

    def answer(status: str, choices: tuple[Choice, ...] | None, bound: float | None = None) -> Solution:
        return conclude(problem, status, choices, bound, "exact", version(), monotonic() - began)

    graph = graphs.build(problem)
    limited = problem.latency_limit_ps is not None or problem.energy_limit_pj is not None
    if _has_more_quantities(problem):
        found = _trade_offs_of_many(problem, graph, began + time_limit_s, whole=problem.has_energy)
    elif limited:
        found = _trade_offs_of_two(problem, graph, began + time_limit_s)
    else:
        choices = _shortest(problem, graph, problem.goal.weights)
        return answer("infeasible", None) if choices is None else answer("optimal", _ties.first(problem, choices))
    if not len(found.time_ps):
        return answer("infeasible" if found.complete else "unknown", None, _relaxed_bound(problem, graph))
    best = found.choices(found.best)
    return (
        answer("optimal", _ties.first(problem, best))
        if found.complete
        else answer("feasible", best, _relaxed_bound(problem, graph))
    )


def trade_offs(problem: Problem, time_limit_s: float) -> TradeOffs:
    """Finds all undominated plans; if time runs out, those that were known before the exact pass."""
    graph = graphs.build(problem)
    if _has_more_quantities(problem):
        return _trade_offs_of_many(problem, graph, monotonic() + time_limit_s, whole=True)
    return _trade_offs_of_two(problem, graph, monotonic() + time_limit_s)


def replicated(
    problem: Problem, latency_ps: Sequence[Ints], energy_pj: Sequence[Ints], time_limit_s: float
) -> Iterator[TradeOffs]:
    """Finds all undominated plans under many sets of costs, much faster than one problem after the other.

    Args:
        problem: The problem; its options must be those of every replicate.
        latency_ps: For each device (replicates, bundles, frequencies).
        energy_pj: The same of energy.
        time_limit_s: Longest time for one replicate.

    Yields:
        The trade-offs of each replicate.
    """
    count = len(latency_ps[0])
    if _has_more_quantities(problem):
        for at in range(count):
            drawn_ps, drawn_pj = [device[at] for device in latency_ps], [device[at] for device in energy_pj]
            yield trade_offs(problem.with_costs(drawn_ps, drawn_pj), time_limit_s)
        return
    graph = graphs.build(problem, prune=False)
    places = [
        (arcs, graph.bundle[arcs], graph.column[arcs])
        for arcs in (np.flatnonzero(graph.device == device) for device in range(len(problem.devices)))
    ]
    began, patience_s = monotonic(), LOADING_S if _is_compiled() else COMPILING_S
    for at in range(count):
        if at >= TRIED and (monotonic() - began) * (count - at) > patience_s * at:
            from dime.host.search.backends import compiled  # noqa: F401 - loading it makes `label` use it
        latency, energy = graph.latency_ps.copy(), graph.energy_pj.copy()
        kept = graph.device < 0
        for device, (arcs, bundle, column) in enumerate(places):
            latency[arcs] = latency_ps[device][at, bundle, column]
            energy[arcs] = energy_pj[device][at, bundle, column]
            costs = replace(problem.devices[device], latency_ps=latency_ps[device][at], energy_pj=energy_pj[device][at])
            best = np.zeros(costs.latency_ps.shape, np.bool_)
            best[graphs.undominated(costs, problem.usable[device])] = True
            kept[arcs] = best[bundle, column]
        drawn = replace(graph, latency_ps=latency, energy_pj=energy).keep(kept)
        yield _trade_offs_of_two(problem, drawn, monotonic() + time_limit_s)


def _is_compiled() -> bool:
    """Whether numba's cache, which is beside the code unless one moves it, has the compiled search."""
    folder, cached = os.environ.get("NUMBA_CACHE_DIR"), "compiled.*.nbi"
    return any(Path(folder).rglob(cached) if folder else Path(backends.__path__[0]).glob(f"*/{cached}"))


def _has_more_quantities(problem: Problem) -> bool:
    """Whether a label must hold more than latency and energy.

    Where a device has at most one bundle, memory only forbids bundles.
    """
    single = problem.limits.rule == "published" and min(problem.largest_bundles) >= len(problem.layers)
    return problem.goal.kind == "throughput" or (bool(problem.memory_limits) and not single)


def _trade_offs_of_two(problem: Problem, graph: graphs.Graph, deadline: float) -> TradeOffs:
    graph, labels = label(graph, deadline, problem.latency_limit_ps, problem.energy_limit_pj)
    if labels is None:
        return _known(problem, graph)
    points = labels.at(graph.sink)
    if problem.latency_limit_ps is not None:
        points = points[points[:, 0] <= problem.latency_limit_ps]
    if problem.energy_limit_pj is not None:
        points = points[points[:, 1] <= problem.energy_limit_pj]

    def choices(at: int) -> tuple[Choice, ...]:
        return graph.choices(problem, path(graph, labels, int(points[at, 0]), int(points[at, 1])))

    return TradeOffs(points[:, 0], points[:, 1], True, choices, _weights(problem))


def label(
    graph: graphs.Graph, deadline: float, latency_limit_ps: int | None = None, energy_limit_pj: int | None = None
) -> tuple[graphs.Graph, Labels | None]:
    """Labels a graph in the form that suits its size.

    Returns:
        The graph, possibly with fewer arcs, and its labels; None if the deadline passed.
    """
    if len(graph.tail) <= SMALL_ARCS and "dime.host.search.backends.compiled" not in sys.modules:
        return graph, plain.label(graph, deadline)
    from dime.host.search.backends import compiled

    if len(graph.tail) <= BOUNDED_ARCS:
        return graph, compiled.label(graph, deadline)
    bounds = compiled.find_bounds(
        graph,
        np.inf if latency_limit_ps is None else latency_limit_ps,
        np.inf if energy_limit_pj is None else energy_limit_pj,
    )
    graph = graph.keep(compiled.worthwhile(graph, bounds))
    return graph, compiled.label(graph, deadline, bounds)


def path(graph: graphs.Graph, labels: Labels, latency_ps: int, energy_pj: int) -> list[int]:
    """Finds the arcs of a path that costs what a label of the sink says, by subtracting backwards."""
    arcs = []
    node = graph.sink
    while node != graph.source:
        for arc in range(graph.starts[node], graph.starts[node + 1]):
            before = latency_ps - int(graph.latency_ps[arc]), energy_pj - int(graph.energy_pj[arc])
            if min(before) >= 0 and labels.has(int(graph.tail[arc]), *before):
                arcs.append(arc)
                node, (latency_ps, energy_pj) = int(graph.tail[arc]), before
                break
        else:
            raise AssertionError("a label has no predecessor")
    return arcs[::-1]


def _trade_offs_of_many(problem: Problem, graph: graphs.Graph, deadline: float, whole: bool) -> TradeOffs:
    from dime.host.search.backends import vector

    labels, front, what, complete = vector.solve(problem, graph, deadline, whole)
    points = what.objectives(labels.costs[graph.sink][front])
    time = points[:, 0] if what.latency >= 0 or what.period >= 0 else np.zeros(len(front), np.int64)
    energy = points[:, -1] if what.energy >= 0 else np.zeros(len(front), np.int64)

    def choices(at: int) -> tuple[Choice, ...]:
        return graph.choices(problem, labels.path(graph, int(front[at])))

    return TradeOffs(time, energy, complete, choices, _weights(problem))


def _shortest(problem: Problem, graph: graphs.Graph, weights: tuple[int, int]) -> tuple[Choice, ...] | None:
    labels = plain.label(graph, np.inf, weights)
    if labels is None or not labels.of[graph.sink]:
        return None
    latency, energy = labels.at(graph.sink)[0].tolist()
    return graph.choices(problem, path(graph, labels, latency, energy))


def _known(problem: Problem, graph: graphs.Graph) -> TradeOffs:
    """Plans found by shortest paths in a few directions that keep the limits."""
    ends = [_shortest(problem, graph, weights) for weights in ((1, 0), (0, 1))]
    found = {choices: evaluate(problem, choices) for choices in ends if choices is not None}
    if len(found) == 2:
        fast, frugal = found.values()
        for slope in SLOPES:
            weights = (fast.energy_pj - frugal.energy_pj), int(slope * (frugal.latency_ps - fast.latency_ps))
            choices = _shortest(problem, graph, weights)
            if choices is not None:
                found[choices] = evaluate(problem, choices)
    kept = sorted(
        {
            (totals.latency_ps, totals.energy_pj): choices for choices, totals in found.items() if not totals.broken
        }.items()
    )
    points = np.array([point for point, _ in kept], np.int64).reshape(-1, 2)
    return TradeOffs(points[:, 0], points[:, 1], False, lambda at: kept[at][1], _weights(problem))


def _weights(problem: Problem) -> tuple[int, int]:
    return (1, 0) if problem.goal.kind == "throughput" else problem.goal.weights


def _relaxed_bound(problem: Problem, graph: graphs.Graph) -> float | None:
    """The goal's value of the best plan when limits on totals and memory are ignored.

    A pipeline has at most one stage a device and one more crossing than that; the slowest takes at least its share of
    the least latency.
    """
    pipeline = problem.goal.kind == "throughput"
    choices = _shortest(problem, graph, _weights(problem))
    if choices is None:
        return None
    totals = evaluate(problem, choices)
    if pipeline:
        return totals.latency_ps / PER_S / (2 * len(problem.devices) + 1)
    return value(problem, totals)


def possible(problem: Problem, time_limit_s: float) -> bool:
    """Whether any plan keeps the limits; a question that is not answered in time counts as yes."""
    return solve(problem, time_limit_s, 0.0).status != "infeasible"


def least(problem: Problem, quantity: str, time_limit_s: float) -> int | None:
    """Least latency (ps) or energy (pJ) among the plans that keep the limits, whatever the goal.

    Args:
        problem: The problem.
        quantity: ``latency`` or ``energy``.
        time_limit_s: Longest time.

    Returns:
        The least value, or None if there is no such plan or time ran out.
    """
    if problem.goal.kind != "throughput":
        solution = solve(problem.with_goal(quantity), time_limit_s, 0.0)
        if solution.choices is None or solution.status != "optimal":
            return None
        totals = evaluate(problem, solution.choices)
        return totals.latency_ps if quantity == "latency" else totals.energy_pj
    from dime.host.search.backends import vector

    # A limit that limits nothing makes the pipeline's labels carry the quantity.
    anything = vector.UNLIMITED // 2
    if quantity == "latency":
        carried = problem.with_limits(replace(problem.limits, latency_s=anything / PER_S))
    else:
        carried = problem.with_limits(replace(problem.limits, energy_j=anything / PER_J))
    graph = graphs.build(carried)
    what = vector.quantities(carried, graph, False)
    try:
        costs = vector.label(graph, what, monotonic() + time_limit_s).costs[graph.sink]
    except vector.OutOfTimeError:
        return None
    column = what.latency if quantity == "latency" else what.energy
    return int(costs[:, column].min()) if len(costs) else None
