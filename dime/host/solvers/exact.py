"""Our own solver: the chain is a graph without cycles, and a plan a path through it.

Without a limit on what the goal leaves out, the best plan is a shortest path. With one, and for the whole frontier,
every node keeps all its undominated labels (label setting): one pass gives the complete set of best trade-offs, in
integers and therefore exactly.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic

import numpy as np

import dime
from dime.host.problem import Choice, Problem
from dime.host.solvers import Capabilities, Solution, _graph, _packed, conclude
from dime.host.statistics import Ints

CAPABILITIES = Capabilities()


def available() -> str | None:
    """It always is."""
    return None


def version() -> str:
    """Name and version."""
    return f"exact {dime.__version__}"


def refuses(problem: Problem) -> str | None:
    """Nothing so far."""
    return None


def solve(problem: Problem, time_limit_s: float, gap: float) -> Solution:
    """Finds the best plan by a shortest path, or by the frontier where a limit cuts across the goal."""
    began = monotonic()
    graph = _graph.build(problem)
    weights = problem.goal.weights
    crossing_limit = problem.latency_limit_ps is not None or problem.energy_limit_pj is not None
    labels = _packed.label(graph, began + time_limit_s, None if crossing_limit else weights)
    if labels is None:
        return conclude(problem, "unknown", None, None, "exact", version(), monotonic() - began)
    kept = [
        (weights[0] * latency + weights[1] * energy, latency, energy)
        for latency, energy in labels.at(graph.sink)
        if within(problem, latency, energy)
    ]
    if not kept:
        return conclude(problem, "infeasible", None, None, "exact", version(), monotonic() - began)
    _, latency, energy = min(kept)
    choices = graph.choices(problem, path(graph, labels, latency, energy))
    return conclude(problem, "optimal", choices, None, "exact", version(), monotonic() - began)


def within(problem: Problem, latency_ps: int, energy_pj: int) -> bool:
    """Whether the totals keep the limits on latency and energy."""
    return (problem.latency_limit_ps is None or latency_ps <= problem.latency_limit_ps) and (
        problem.energy_limit_pj is None or energy_pj <= problem.energy_limit_pj
    )


def path(graph: _graph.Graph, labels: _packed.Labels, latency_ps: int, energy_pj: int) -> list[int]:
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


@dataclass(frozen=True, eq=False)
class TradeOffs:
    """The undominated plans of a problem that keep its limits.

    Attributes:
        time_ps: Latency, or the slowest stage's time for the goal throughput; ascending.
        energy_pj: Energy, descending.
        complete: Whether these are all there are; False if time ran out.
        choices: Gives the plan of the k-th point.
    """

    time_ps: Ints
    energy_pj: Ints
    complete: bool
    choices: Callable[[int], tuple[Choice, ...]]


def trade_offs(problem: Problem, time_limit_s: float) -> TradeOffs:
    """Finds all undominated plans."""
    graph = _graph.build(problem)
    labels = _packed.label(graph, monotonic() + time_limit_s)
    if labels is None:
        return TradeOffs(np.empty(0, np.int64), np.empty(0, np.int64), False, lambda at: ())
    points = np.array([point for point in labels.at(graph.sink) if within(problem, *point)], np.int64).reshape(-1, 2)

    def choices(at: int) -> tuple[Choice, ...]:
        return graph.choices(problem, path(graph, labels, int(points[at, 0]), int(points[at, 1])))

    return TradeOffs(points[:, 0], points[:, 1], True, choices)
