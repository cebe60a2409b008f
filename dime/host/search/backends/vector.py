"""Label setting with more than two quantities: memory limits, which need what each device holds, and pipelines.

A pipeline's label holds the slowest stage so far and the time of the stage that is still growing; a crossing closes it.
A first pass keeps only a few labels a node. Its plans are real, and the exact pass drops what they dominate.
"""

from __future__ import annotations

from dataclasses import dataclass
from time import monotonic

import numpy as np

from dime.host.common.statistics import Bools, Ints
from dime.host.planning.problem import Problem
from dime.host.search.graph import Graph

FEW = 40
UNLIMITED = np.iinfo(np.int64).max // 2


class OutOfTimeError(Exception):
    """The deadline passed."""


@dataclass(frozen=True)
class Labels:
    """Labels of every node: costs (labels, quantities), the arc each came by, and its predecessor's position."""

    costs: list[Ints]
    arcs: list[Ints]
    before: list[Ints]

    def path(self, graph: Graph, at: int) -> list[int]:
        """The arcs that lead to a label of the sink."""
        path = []
        node = graph.sink
        while node != graph.source:
            arc, at = int(self.arcs[node][at]), int(self.before[node][at])
            path.append(arc)
            node = int(graph.tail[arc])
        return path[::-1]


@dataclass(frozen=True)
class Quantities:
    """What a label holds, as columns.

    Attributes:
        latency: Column of the latency, or -1; so for the next two.
        energy: Column of the energy.
        period: Column of the slowest stage so far; the growing stage is the next one.
        steps: (arcs, columns) what each arc adds.
        most: (columns) largest values allowed.
        to_go: (nodes, columns) least that is still to come on the way to the sink.
    """

    latency: int
    energy: int
    period: int
    steps: Ints
    most: Ints
    to_go: Ints

    def objectives(self, costs: Ints) -> Ints:
        """(labels, time and energy, those that are there) of labels, or lower bounds of what they may become."""
        columns = []
        if self.period >= 0:
            columns.append(np.maximum(costs[:, self.period], costs[:, self.period + 1]))
        elif self.latency >= 0:
            columns.append(costs[:, self.latency])
        if self.energy >= 0:
            columns.append(costs[:, self.energy])
        return np.stack(columns, axis=1)


def quantities(problem: Problem, graph: Graph, whole: bool) -> Quantities:
    """Works out which quantities a label must hold.

    Args:
        problem: The problem.
        graph: Its graph.
        whole: Whether the whole frontier is wanted, not just the best plan.
    """
    pipeline = problem.goal.kind == "throughput"
    weights = (0, 0) if pipeline else problem.goal.weights
    computes = graph.device >= 0
    columns: list[Ints] = []
    most: list[int] = []

    def add(step: Ints, limit: int | None) -> int:
        columns.append(step)
        most.append(UNLIMITED if limit is None else limit)
        return len(columns) - 1

    latency = energy = period = -1
    if problem.latency_limit_ps is not None or weights[0] or (whole and not pipeline):
        latency = add(graph.latency_ps, problem.latency_limit_ps)
    if problem.energy_limit_pj is not None or weights[1] or (whole and problem.has_energy):
        energy = add(graph.energy_pj, problem.energy_limit_pj)
    if pipeline:
        period = add(np.zeros_like(graph.latency_ps), None)
        add(np.where(computes, graph.latency_ps, 0), None)
    for device, limit in problem.memory_limits.items():
        add(np.where(graph.device == device, problem.bundle_bytes[graph.bundle], 0), limit)
    steps = np.stack(columns, axis=1)
    to_go = least_to_go(graph, steps)
    if pipeline:
        to_go[:, period : period + 2] = 0
    return Quantities(latency, energy, period, steps, np.array(most), to_go)


def least_to_go(graph: Graph, steps: Ints) -> Ints:
    """Least sum of each column from every node to the sink, each column by itself."""
    to_go = np.full((graph.sink + 1, steps.shape[1]), UNLIMITED)
    to_go[graph.sink] = 0
    for node in range(graph.sink, -1, -1):
        arcs = slice(graph.starts[node], graph.starts[node + 1])
        if to_go[node, 0] < UNLIMITED:
            np.minimum.at(to_go, graph.tail[arcs], steps[arcs] + to_go[node])
    return to_go


def label(graph: Graph, what: Quantities, deadline: float, known: Ints | None = None, few: int | None = None) -> Labels:
    """Finds the labels of every node.

    Args:
        graph: The graph.
        what: The quantities.
        deadline: ``time.monotonic()`` after which to give up.
        known: Objectives of plans that are known; what they strictly dominate is dropped.
        few: Keep at most so many labels of a node; None: all that are undominated.

    Returns:
        The labels.

    Raises:
        OutOfTimeError: The deadline passed.
    """
    nodes, width = graph.sink + 1, what.steps.shape[1]
    none = np.empty(0, np.int64)
    labels = Labels([np.empty((0, width), np.int64)] * nodes, [none] * nodes, [none] * nodes)
    labels.costs[graph.source] = np.zeros((1, width), np.int64)
    for node in range(1, nodes):
        arcs = [arc for arc in range(graph.starts[node], graph.starts[node + 1]) if len(labels.costs[graph.tail[arc]])]
        if not arcs or what.to_go[node, 0] >= UNLIMITED:
            continue
        counts = [len(labels.costs[graph.tail[arc]]) for arc in arcs]
        arc = np.repeat(arcs, counts)
        before = np.concatenate([np.arange(count) for count in counts])
        costs = np.concatenate([labels.costs[graph.tail[arc]] for arc in arcs]) + what.steps[arc]
        if what.period >= 0:
            changes = graph.changes[arc]
            closed = np.maximum(costs[:, what.period : what.period + 2].max(axis=1), graph.latency_ps[arc])
            costs[changes, what.period] = closed[changes]
            costs[changes, what.period + 1] = 0
        least = costs + what.to_go[node]
        hopeful = (least <= what.most).all(axis=1)
        if known is not None:
            hopeful[hopeful] = ~_beaten(what.objectives(least[hopeful]), known)
        chosen = np.flatnonzero(hopeful)
        chosen = chosen[undominated(costs[chosen], deadline)]
        if few is not None and len(chosen) > few:
            chosen = chosen[np.linspace(0, len(chosen) - 1, few).astype(np.int64)]
        labels.costs[node], labels.arcs[node], labels.before[node] = costs[chosen], arc[chosen], before[chosen]
    return labels


def _beaten(points: Ints, known: Ints) -> Bools:
    """For each point whether a known one is at least as good everywhere and better somewhere; known ones ascend."""
    if points.shape[1] == 1:
        beaten: Bools = points[:, 0] > known[0, 0]
        return beaten
    # Of the known points no later than this one, the last has the least energy.
    place = np.searchsorted(known[:, 0], points[:, 0], side="right") - 1
    best = known[np.maximum(place, 0)]
    both: Bools = (place >= 0) & (
        (best[:, 1] < points[:, 1]) | ((best[:, 1] == points[:, 1]) & (best[:, 0] < points[:, 0]))
    )
    return both


def undominated(points: Ints, deadline: float = np.inf) -> Ints:
    """Positions of the points that no other is at least as good as in every column; of equal points one is kept.

    Raises:
        OutOfTimeError: The deadline passed.
    """
    order = np.lexsort(points.T[::-1])
    if points.shape[1] == 1:
        return order[:1]
    points, kept = points[order], []
    at = np.arange(len(points))
    while len(at):
        if monotonic() > deadline:
            raise OutOfTimeError
        kept.append(at[0])
        at = at[1:][(points[at[1:]] < points[at[0]]).any(axis=1)]
    return order[kept]


def solve(problem: Problem, graph: Graph, deadline: float, whole: bool) -> tuple[Labels, Ints, Quantities, bool]:
    """Labels a graph in two passes, first a few labels a node, then all that may be undominated.

    Args:
        problem: The problem.
        graph: Its graph.
        deadline: ``time.monotonic()`` after which the first pass has to do.
        whole: Whether the whole frontier is wanted, not just the best plan.

    Returns:
        The labels; the positions of the undominated ones of the sink, by ascending objectives; the quantities; and
        whether these are all there are.
    """
    what = quantities(problem, graph, whole)
    labels = label(graph, what, np.inf, few=FEW)
    points = what.objectives(labels.costs[graph.sink])
    front = undominated(points)
    complete = False
    try:
        labels = label(graph, what, deadline, known=points[front] if len(front) else None)
        front = undominated(what.objectives(labels.costs[graph.sink]), deadline)
        complete = True
    except OutOfTimeError:
        pass
    return labels, front, what, complete
