"""Label setting with more than two quantities: memory limits, which need what each device holds, and pipelines.

A pipeline's label holds the slowest stage so far and the time of the stage that is still growing; a crossing closes it.
What the edge device does before it sends the input is the beginning of its stage, if it takes up the chain later: each
device does so once, so that no label must remember it.
A first pass keeps only a few labels a node. Its plans are real, and the exact pass drops what they dominate.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from time import monotonic

import numpy as np

from dime.host.common.stats import Bools, Ints
from dime.host.planning.quantity import Quantity
from dime.host.search.graph import Graph

FEW = 40
UNLIMITED = np.iinfo(np.int64).max // 2


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


@dataclass(frozen=True, eq=False)
class Columns:
    """What a label holds.

    Attributes:
        objectives: Columns of the quantities that are to be small. Others are only limited.
        slowest: Those columns, of any, that hold the slowest stage so far; the next one is the stage that grows.
        steps: (arcs, columns) what each arc adds.
        crossing: (arcs, slowest) what a crossing's own stage takes; of the input's the longer of the link's part and
            the edge device's.
        begins: (arcs, slowest) what the stage behind a crossing has taken already.
        most: (columns) largest values allowed.
        to_go: (nodes, columns) least that is still to come on the way to the sink.
        shared: (column of a slowest stage, column that sums the crossings of a half-duplex link, which arcs are its).
        ends: (column of a gap, at which arcs it is none): a radio's time since its last transfer, while it stays up.
    """

    objectives: tuple[int, ...]
    slowest: tuple[int, ...]
    steps: Ints
    crossing: Ints
    begins: Ints
    most: Ints
    to_go: Ints
    shared: tuple[tuple[int, int, Bools], ...] = ()
    ends: tuple[tuple[int, Bools], ...] = ()

    def points(self, costs: Ints) -> Ints:
        """(labels, objectives) of labels, or lower bounds of what they may become."""
        return np.stack(
            [
                np.maximum(costs[:, at], costs[:, at + 1]) if at in self.slowest else costs[:, at]
                for at in self.objectives
            ],
            axis=1,
        )


def columns(graph: Graph, quantities: Sequence[Quantity], within: Sequence[Quantity]) -> Columns:
    """Works out what a label must hold.

    Args:
        graph: The graph.
        quantities: The quantities that are to be small.
        within: Those that are only limited.
    """
    steps: list[Ints] = []
    most: list[int] = []
    slowest, starts, crossing, begins = [], [], [], []
    shared: list[tuple[int, int, Bools]] = []
    free: list[int] = []  # columns of which nothing is to come for sure
    for quantity in (*quantities, *within):
        amounts, limit = graph.amounts(quantity), UNLIMITED if quantity.most is None else quantity.most
        starts.append(len(steps))
        if quantity.slowest:
            slowest.append(len(steps))
            computes = graph.device >= 0
            own = int(quantity.at_input)
            sent = amounts - np.where(graph.sends_input, own, 0)
            crossing.append(np.where(graph.sends_input, np.maximum(sent, own), np.where(computes, 0, sent)))
            begins.append(np.where(graph.comes_back, own, 0))
            steps += [np.zeros_like(amounts), np.where(computes, amounts, 0)]
            most += [limit, limit]
            for pair in quantity.half_duplex:
                its = graph.crosses(pair) | graph.crosses(pair[::-1])
                shared.append((slowest[-1], len(steps), its))
                free.append(len(steps))
                steps.append(np.where(its, sent, 0))
                most.append(limit)
        else:
            steps.append(amounts)
            most.append(limit)
    ends: list[tuple[int, Bools]] = []
    for place, radio in enumerate(graph.gaps):
        times = graph.amounts(graph.problem.true_costs[0])
        ends.append((len(steps), ~graph.up[:, place]))
        free.append(len(steps))
        steps.append(np.where(graph.up[:, place], times, 0))
        most.append(graph.problem.acting.radios[radio].tail_ps)
    table = np.stack(steps, axis=1)
    to_go = least_to_go(graph, table)
    for at in (*free, *slowest, *(at + 1 for at in slowest)):
        to_go[:, at] = np.where(to_go[:, at] >= UNLIMITED, UNLIMITED, 0)
    nothing = np.zeros((len(graph.tail), 0), np.int64)
    taken, begun = (np.stack(each, axis=1) if each else nothing for each in (crossing, begins))
    objectives = tuple(starts[: len(quantities)])
    return Columns(objectives, tuple(slowest), table, taken, begun, np.array(most), to_go, tuple(shared), tuple(ends))


def least_to_go(graph: Graph, steps: Ints) -> Ints:
    """Least sum of each column from every node to the sink, each column by itself."""
    to_go = np.full((graph.sink + 1, steps.shape[1]), UNLIMITED)
    to_go[graph.sink] = 0
    for node in range(graph.sink, -1, -1):
        arcs = slice(graph.starts[node], graph.starts[node + 1])
        if to_go[node, 0] < UNLIMITED:
            np.minimum.at(to_go, graph.tail[arcs], steps[arcs] + to_go[node])
    return to_go


def label(graph: Graph, what: Columns, deadline: float, known: Ints | None = None, few: int | None = None) -> Labels:
    """Finds the labels of every node.

    Args:
        graph: The graph.
        what: What a label holds.
        deadline: ``time.monotonic()`` after which to give up.
        known: Objectives of plans that are known; what they strictly dominate is dropped.
        few: Keep at most so many labels of a node; None: all that are undominated.

    Returns:
        The labels.

    Raises:
        TimeoutError: The deadline passed.
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
        for place, at in enumerate(what.slowest):
            changes = graph.changes[arc]
            closed = np.maximum(costs[:, at : at + 2].max(axis=1), what.crossing[arc, place])
            costs[changes, at] = closed[changes]
            costs[changes, at + 1] = what.begins[arc[changes], place]
        for at, column, its in what.shared:
            costs[:, at] = np.where(its[arc], np.maximum(costs[:, at], costs[:, column]), costs[:, at])
        for column, ended in what.ends:
            costs[ended[arc], column] = 0
        least = costs + what.to_go[node]
        hopeful = (least <= what.most).all(axis=1)
        if known is not None:
            hopeful[hopeful] = ~_beaten(what.points(least[hopeful]), known)
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
        TimeoutError: The deadline passed.
    """
    order = np.lexsort(points.T[::-1])
    if points.shape[1] == 1:
        return order[:1]
    points, kept = points[order], []
    at = np.arange(len(points))
    while len(at):
        if monotonic() > deadline:
            raise TimeoutError
        kept.append(at[0])
        at = at[1:][(points[at[1:]] < points[at[0]]).any(axis=1)]
    return order[kept]


def solve(graph: Graph, what: Columns, deadline: float) -> tuple[Labels, Ints, bool]:
    """Labels a graph in two passes, first a few labels a node, then all that may be undominated.

    Args:
        graph: The graph.
        what: What a label holds.
        deadline: ``time.monotonic()`` after which the first pass has to do.

    Returns:
        The labels; the positions of the undominated ones of the sink, by ascending objectives; and whether these are
        all there are.
    """
    labels = label(graph, what, np.inf, few=FEW)
    points = what.points(labels.costs[graph.sink])
    front = undominated(points)
    known = points[front] if len(front) and points.shape[1] <= 2 else None
    try:
        every = label(graph, what, deadline, known)
        return every, undominated(what.points(every.costs[graph.sink]), deadline), True
    except TimeoutError:
        return labels, front, False
