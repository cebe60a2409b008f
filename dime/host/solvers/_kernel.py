"""Label setting, compiled (numba), with bounds that keep large graphs small.

The same labels as ``_packed``, for graphs of any size. Before the exact pass, shortest paths in a few weighted directions
are found from the source to every node and from every node to the sink. Their sums are costs of real plans; the
undominated ones bound the frontier from above. Read the other way, each direction says how much the rest of a path costs
at least. An arc or label whose every continuation is dominated by a plan already known is dropped; ties are kept, so
that no point of the frontier is lost. Bounds are floats with a margin; labels are integers.
"""

from __future__ import annotations

from dataclasses import dataclass
from time import monotonic
from typing import Any

import numpy as np
from numba import njit

from dime.host.solvers._graph import Graph
from dime.host.statistics import Bools, Floats, Ints

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

    def at(self, node: int) -> list[tuple[int, int]]:
        """(latency, energy) of each label of a node."""
        part = slice(self.start[node], self.end[node])
        return list(zip(self.latency_ps[part].tolist(), self.energy_pj[part].tolist(), strict=True))

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
def _shortest(
    starts: Ints, tail: Ints, latency: Ints, energy: Ints, per_ps: float, per_pj: float, ahead: Any, to_go: Any
) -> None:  # pragma: no cover - compiled
    """Fills (value, latency, energy) of the best path from the source and to the sink, one row a node."""
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
def _hopeless(value: Any, corner_ps: Any, corner_pj: Any, corners: Any) -> bool:  # pragma: no cover - compiled
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
def _worthwhile(
    starts: Ints,
    tail: Ints,
    latency: Ints,
    energy: Ints,
    weights: Any,
    ahead: Any,
    to_go: Any,
    corner_ps: Any,
    corner_pj: Any,
    corners: Any,
) -> Any:  # pragma: no cover - compiled
    """For each arc whether some path through it may be undominated."""
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
def _label(
    starts: Ints,
    tail: Ints,
    latency: Ints,
    energy: Ints,
    node: int,
    begin: Any,
    end: Any,
    label_ps: Any,
    label_pj: Any,
    used: int,
    budget: int,
    weights: Any,
    to_go: Any,
    corner_ps: Any,
    corner_pj: Any,
    corners: Any,
) -> tuple[int, int]:  # pragma: no cover - compiled
    """Labels nodes from ``node`` on, until room or budget runs out; returns the next node and the room used."""
    size = 1024
    a_ps, a_pj = np.empty(size, np.int64), np.empty(size, np.int64)
    b_ps, b_pj = np.empty(size, np.int64), np.empty(size, np.int64)
    value = np.empty(len(weights))
    while node < len(starts) - 1:
        count = 0
        for arc in range(starts[node], starts[node + 1]):
            at, stop = begin[tail[arc]], end[tail[arc]]
            if at == stop:
                continue
            budget -= count + stop - at
            if count + stop - at > size:
                size = 2 * (count + stop - at)
                grown_ps, grown_pj = np.empty(size, np.int64), np.empty(size, np.int64)
                grown_ps[:count] = a_ps[:count]
                grown_pj[:count] = a_pj[:count]
                a_ps, a_pj = grown_ps, grown_pj
                b_ps, b_pj = np.empty(size, np.int64), np.empty(size, np.int64)
            # Merge two sets that ascend in latency and descend in energy; keep what lowers the energy.
            i = merged = 0
            least = np.iinfo(np.int64).max
            while i < count or at < stop:
                other_ps = label_ps[at] + latency[arc] if at < stop else 0
                other_pj = label_pj[at] + energy[arc] if at < stop else 0
                if at == stop or (i < count and (a_ps[i] < other_ps or (a_ps[i] == other_ps and a_pj[i] <= other_pj))):
                    next_ps, next_pj = a_ps[i], a_pj[i]
                    i += 1
                else:
                    next_ps, next_pj = other_ps, other_pj
                    at += 1
                if next_pj < least:
                    b_ps[merged], b_pj[merged] = next_ps, next_pj
                    least = next_pj
                    merged += 1
            a_ps, b_ps = b_ps, a_ps
            a_pj, b_pj = b_pj, a_pj
            count = merged
        if used + count > len(label_ps):
            return node, used
        if starts[node] < starts[node + 1]:
            begin[node] = used
            for i in range(count):
                for m in range(len(weights)):
                    value[m] = weights[m, 0] * a_ps[i] + weights[m, 1] * a_pj[i] + to_go[m, node]
                if len(weights) == 0 or not _hopeless(value, corner_ps, corner_pj, corners):
                    label_ps[used], label_pj[used] = a_ps[i], a_pj[i]
                    used += 1
            end[node] = used
        node += 1
        if budget < 0:
            break
    return node, used


_NOTHING = Bounds(np.empty((0, 2)), np.empty((0, 0)), np.empty((0, 0)), np.empty(0), np.empty(0), np.empty((0, 0)))


def label(graph: Graph, deadline: float, bounds: Bounds = _NOTHING) -> Labels | None:
    """Finds the labels of every node, without those that the bounds rule out.

    Args:
        graph: The graph.
        deadline: ``time.monotonic()`` after which to give up.
        bounds: What is known already; nothing by default.

    Returns:
        The labels, or None if the deadline passed or memory would run short.
    """
    nodes = len(graph.starts) - 1
    start, end = np.zeros(nodes, np.int64), np.zeros(nodes, np.int64)
    label_ps, label_pj = np.zeros(1 << 14, np.int64), np.zeros(1 << 14, np.int64)
    end[graph.source] = used = 1
    node = graph.source + 1
    known = (bounds.weights, bounds.to_go, bounds.corner_ps, bounds.corner_pj, bounds.corners)
    arcs = (graph.starts, graph.tail, graph.latency_ps, graph.energy_pj)
    while node < nodes:
        following, used = _label(*arcs, node, start, end, label_ps, label_pj, used, CHUNK, *known)
        if following == node:
            label_ps, label_pj = (np.concatenate((labels, np.zeros_like(labels))) for labels in (label_ps, label_pj))
        node = following
        if monotonic() > deadline or used > MOST_LABELS:
            return None
    return Labels(start, end, label_ps, label_pj)


def find_bounds(graph: Graph, latency_limit_ps: float = np.inf, energy_limit_pj: float = np.inf) -> Bounds:
    """Finds bounds by shortest paths in weighted directions.

    Args:
        graph: The graph.
        latency_limit_ps: No plan above it is wanted.
        energy_limit_pj: The same of energy.

    Returns:
        The bounds, or empty ones if the sink cannot be reached.
    """
    arcs = (graph.starts, graph.tail, graph.latency_ps, graph.energy_pj)
    nodes = len(graph.starts) - 1
    weights = [(1.0, 0.0), (0.0, 1.0)]
    ahead: list[Floats] = []
    to_go: list[Floats] = []
    for per_ps, per_pj in weights:
        ahead.append(np.empty((nodes, 3)))
        to_go.append(np.empty((nodes, 3)))
        _shortest(*arcs, per_ps, per_pj, ahead[-1], to_go[-1])
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
    corner_ps, corner_pj = _corners(points, latency_limit_ps, energy_limit_pj)
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


def worthwhile(graph: Graph, bounds: Bounds) -> Bools:
    """For each arc whether some path through it may be on the frontier."""
    kept: Bools = _worthwhile(
        graph.starts,
        graph.tail,
        graph.latency_ps,
        graph.energy_pj,
        bounds.weights,
        bounds.ahead,
        bounds.to_go,
        bounds.corner_ps,
        bounds.corner_pj,
        bounds.corners,
    )
    return kept
