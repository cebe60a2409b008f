"""Label setting, compiled (numba), with bounds that keep large graphs small.

The same labels as ``backends.plain``, for graphs of any size; of the two quantities the first is called latency here,
in ps, and the second energy, in pJ. Before the exact pass, shortest paths in a few weighted
directions are found from the source to every node and from every node to the sink. Their sums are costs of real plans;
the undominated ones bound the frontier from above. Read the other way, each direction says how much the rest of a path
costs at least. An arc or label whose every continuation is dominated by a plan already known is dropped; ties are kept,
so that no point of the frontier is lost. Bounds are floats with a margin; labels are integers.
"""

from __future__ import annotations

import types
from dataclasses import dataclass
from time import monotonic
from typing import cast

import numpy as np
from numba import njit

from dime.host.common.stats import Bools, Floats, Ints
from dime.host.search.graph import Graph

Pair = tuple[Ints, Ints]
Arcs = tuple[Ints, Ints, Ints, Ints]
Known = tuple[Floats, Floats, Floats, Floats, Floats]
MARGIN = 1e-9
DIRECTIONS = 24
CHUNK = 20_000_000
JOINTS = 2_000
MOST_LABELS = 1 << 26


@dataclass(frozen=True)
class Labels:
    """Undominated labels of every node, in ascending order of latency; node n has those from start[n] to end[n]."""

    start: Ints
    end: Ints
    latency_ps: Ints
    energy_pj: Ints

    def at(self, node: int) -> Ints:
        """(labels, 2): latency and energy of each label of a node."""
        part = slice(self.start[node], self.end[node])
        return np.stack([self.latency_ps[part], self.energy_pj[part]], axis=1)

    def has(self, node: int, latency_ps: int, energy_pj: int) -> bool:
        """Whether a node has exactly this label."""
        part = self.latency_ps[self.start[node] : self.end[node]]
        place = int(np.searchsorted(part, latency_ps))
        return place < len(part) and part[place] == latency_ps and self.energy_pj[self.start[node] + place] == energy_pj


@dataclass(frozen=True)
class Bounds:
    """What is known before the exact pass.

    Attributes:
        weights: (directions, 2), per ps and per pJ; the first is latency alone, the second energy alone.
        ahead: (directions, nodes) least weighted cost from the source to each node.
        to_go: (directions, nodes) least weighted cost from each node to the sink.
        corner_ps: Latency of the corners below which a plan may still be undominated, ascending.
        corner_pj: Their energy, descending.
        corners: (corners, directions) their weighted costs, with a margin.
    """

    weights: Floats
    ahead: Floats
    to_go: Floats
    corner_ps: Floats
    corner_pj: Floats
    corners: Floats


@njit(cache=True)
def _shortest(  # pragma: no cover - compiled
    arcs: Arcs, per_ps: float, per_pj: float, ahead: Floats, to_go: Floats
) -> None:
    """Fills (value, latency, energy) of the best path from the source and to the sink, one row a node."""
    starts, tail, latency, energy = arcs
    nodes = len(starts) - 1
    ahead[:, 0] = np.inf
    ahead[0] = 0.0
    to_go[:, 0] = np.inf
    to_go[nodes - 1] = 0.0
    for node in range(nodes):
        for arc in range(starts[node], starts[node + 1]):
            value = ahead[tail[arc], 0] + per_ps * latency[arc] + per_pj * energy[arc]
            if value < ahead[node, 0]:
                ahead[node, 0] = value
                ahead[node, 1] = ahead[tail[arc], 1] + latency[arc]
                ahead[node, 2] = ahead[tail[arc], 2] + energy[arc]
    for node in range(nodes - 1, -1, -1):
        for arc in range(starts[node], starts[node + 1]):
            value = to_go[node, 0] + per_ps * latency[arc] + per_pj * energy[arc]
            if value < to_go[tail[arc], 0]:
                to_go[tail[arc], 0] = value
                to_go[tail[arc], 1] = to_go[node, 1] + latency[arc]
                to_go[tail[arc], 2] = to_go[node, 2] + energy[arc]


@njit(cache=True)
def _hopeless(  # pragma: no cover - compiled
    value: Floats, corner_ps: Floats, corner_pj: Floats, corners: Floats
) -> bool:
    """Whether no corner is at least ``value`` in every direction."""
    low = np.searchsorted(corner_ps, value[0])
    for corner in range(low, len(corner_ps)):
        if corner_pj[corner] < value[1]:
            return True
        inside = True
        for direction in range(2, len(value)):
            if corners[corner, direction] < value[direction]:
                inside = False
                break
        if inside:
            return False
    return True


@njit(cache=True)
def _worthwhile(arcs: Arcs, known: Known, ahead: Floats) -> Bools:  # pragma: no cover - compiled
    """For each arc whether some path through it may be undominated."""
    starts, tail, latency, energy = arcs
    weights, to_go, corner_ps, corner_pj, corners = known
    kept = np.zeros(len(tail), np.bool_)
    value = np.empty(len(weights))
    for node in range(len(starts) - 1):
        for arc in range(starts[node], starts[node + 1]):
            for m in range(len(weights)):
                cost = weights[m, 0] * latency[arc] + weights[m, 1] * energy[arc]
                value[m] = ahead[m, tail[arc]] + cost + to_go[m, node]
            kept[arc] = np.isfinite(value[0]) and not _hopeless(value, corner_ps, corner_pj, corners)
    return kept


@njit(cache=True)
def _merge(  # pragma: no cover - compiled
    ours: Pair, count: int, theirs: Pair, at: int, stop: int, step: tuple[int, int], merged: Pair
) -> int:
    """Merges two sets that ascend in latency and descend in energy; keeps what is undominated, returns how many."""
    a_ps, a_pj = ours
    b_ps, b_pj = theirs
    to_ps, to_pj = merged
    i = kept = 0
    least = np.iinfo(np.int64).max
    while i < count or at < stop:
        other_ps = b_ps[at] + step[0] if at < stop else 0
        other_pj = b_pj[at] + step[1] if at < stop else 0
        if at == stop or (i < count and (a_ps[i] < other_ps or (a_ps[i] == other_ps and a_pj[i] <= other_pj))):
            next_ps, next_pj = a_ps[i], a_pj[i]
            i += 1
        else:
            next_ps, next_pj = other_ps, other_pj
            at += 1
        if next_pj < least:
            to_ps[kept], to_pj[kept] = next_ps, next_pj
            least = next_pj
            kept += 1
    return kept


@njit(cache=True)
def _room(held: Pair, count: int, size: int) -> Pair:  # pragma: no cover - compiled
    """The first ``count`` labels in arrays of a new size."""
    latency, energy = np.empty(size, np.int64), np.empty(size, np.int64)
    latency[:count] = held[0][:count]
    energy[:count] = held[1][:count]
    return latency, energy


@njit(cache=True)
def _label(  # pragma: no cover - compiled
    arcs: Arcs, known: Known, node: int, span: Pair, labels: Pair, used: int
) -> tuple[int, int]:
    """Labels nodes from ``node`` on, for a while or until room runs out; returns the next node and the room used."""
    starts, tail, latency, energy = arcs
    weights, to_go, corner_ps, corner_pj, corners = known
    begin, end = span
    size = 1024
    held, spare = _room(labels, 0, size), _room(labels, 0, size)
    value = np.empty(len(weights))
    work = 0
    while node < len(starts) - 1 and work < CHUNK:
        count = 0
        for arc in range(starts[node], starts[node + 1]):
            at, stop = begin[tail[arc]], end[tail[arc]]
            if at == stop:
                continue
            needed = count + stop - at
            work += needed
            if needed > size:
                size = 2 * needed
                held, spare = _room(held, count, size), _room(spare, 0, size)
            count = _merge(held, count, labels, at, stop, (latency[arc], energy[arc]), spare)
            held, spare = spare, held
        if used + count > len(labels[0]):
            return node, used
        begin[node] = used
        for i in range(count):
            for m in range(len(weights)):
                value[m] = weights[m, 0] * held[0][i] + weights[m, 1] * held[1][i] + to_go[m, node]
            if len(weights) == 0 or not _hopeless(value, corner_ps, corner_pj, corners):
                labels[0][used], labels[1][used] = held[0][i], held[1][i]
                used += 1
        end[node] = used
        node += 1
    return node, used


_NOTHING = Bounds(np.empty((0, 2)), np.empty((0, 0)), np.empty((0, 0)), np.empty(0), np.empty(0), np.empty((0, 0)))


def label(graph: Graph, costs: Pair, deadline: float, bounds: Bounds = _NOTHING) -> Labels | None:
    """Finds the labels of every node, without those that the bounds rule out.

    Args:
        graph: The graph.
        costs: Of each arc the amounts of two quantities.
        deadline: ``time.monotonic()`` after which to give up.
        bounds: What is known already; nothing by default.

    Returns:
        The labels, or None if the deadline passed or memory would run short.
    """
    nodes = len(graph.starts) - 1
    start, end = np.zeros(nodes, np.int64), np.zeros(nodes, np.int64)
    labels = np.zeros(1 << 14, np.int64), np.zeros(1 << 14, np.int64)
    end[graph.source] = used = 1
    node = graph.source + 1
    while node < nodes:
        following, used = _label(_arcs(graph, costs), _known(bounds), node, (start, end), labels, used)
        if following == node:
            labels = np.concatenate((labels[0], np.zeros_like(labels[0]))), np.concatenate((labels[1], labels[1]))
        node = following
        if monotonic() > deadline or used > MOST_LABELS:
            return None
    return Labels(start, end, *labels)


def _arcs(graph: Graph, costs: Pair) -> Arcs:
    return graph.starts, graph.tail, *costs


def _known(bounds: Bounds) -> Known:
    return bounds.weights, bounds.to_go, bounds.corner_ps, bounds.corner_pj, bounds.corners


def find_bounds(graph: Graph, costs: Pair, most: tuple[float, float] = (np.inf, np.inf)) -> Bounds:
    """Finds bounds by shortest paths in weighted directions.

    Args:
        graph: The graph.
        costs: Of each arc the amounts of two quantities.
        most: No plan with more of them is wanted.

    Returns:
        The bounds, or empty ones if the sink cannot be reached.
    """
    nodes = len(graph.starts) - 1
    weights = [(1.0, 0.0), (0.0, 1.0)]
    ahead: list[Floats] = []
    to_go: list[Floats] = []
    for per_ps, per_pj in weights:
        ahead.append(np.empty((nodes, 3)))
        to_go.append(np.empty((nodes, 3)))
        _shortest(_arcs(graph, costs), per_ps, per_pj, ahead[-1], to_go[-1])
        if len(ahead) == 2:
            if not np.isfinite(ahead[0][-1, 0]):
                return _NOTHING
            spread_ps = max(1.0, ahead[1][-1, 1] - ahead[0][-1, 1])
            spread_pj = max(1.0, ahead[0][-1, 2] - ahead[1][-1, 2])
            slopes = np.exp(np.linspace(-4, 4, DIRECTIONS))
            weights += [(1 / spread_ps, slope / spread_pj) for slope in slopes]
    reached = np.flatnonzero(np.isfinite(ahead[0][:, 0]) & np.isfinite(to_go[0][:, 0]))
    joints = reached[:: 1 + len(reached) // JOINTS]
    rest = np.stack([one[joints, 1:] for one in to_go], axis=1)
    points = np.concatenate([(one[joints, None, 1:] + rest).reshape(-1, 2) for one in ahead])
    corner_ps, corner_pj = _corners(points, *most)
    directions = np.array(weights)
    corners = np.stack([w[0] * corner_ps + w[1] * corner_pj for w in directions], axis=1)
    return Bounds(
        directions,
        np.stack([one[:, 0] for one in ahead]),
        np.stack([one[:, 0] for one in to_go]),
        corner_ps * (1 + MARGIN),
        corner_pj * (1 + MARGIN),
        corners * (1 + MARGIN),
    )


def _corners(points: Floats, latency_limit_ps: float, energy_limit_pj: float) -> tuple[Floats, Floats]:
    """Corners of the staircase under known plans: what is above all of them is strictly dominated."""
    points = points[np.lexsort((points[:, 1], points[:, 0]))]
    least = np.minimum.accumulate(points[:, 1])
    points = points[np.concatenate(([True], points[1:, 1] < least[:-1]))]
    far = 4 * points.max()
    corner_ps = np.append(points[:, 0], far)
    corner_pj = np.append(far, points[:, 1])
    return np.minimum(corner_ps, latency_limit_ps), np.minimum(corner_pj, energy_limit_pj)


def worthwhile(graph: Graph, costs: Pair, bounds: Bounds) -> Bools:
    """For each arc whether some path through it may be on the frontier."""
    return _worthwhile(_arcs(graph, costs), _known(bounds), bounds.ahead)


def prepare() -> None:
    """Compiles everything, or loads it from numba's cache: seconds once, so that no later call has to wait."""
    one = np.array([1])
    costs = one, one
    arcs = types.SimpleNamespace(starts=np.array([0, 0, 1]), tail=np.array([0]), source=0, sink=1)
    graph = cast(Graph, arcs)
    bounds = find_bounds(graph, costs)
    worthwhile(graph, costs, bounds)
    label(graph, costs, np.inf, bounds)
