"""Label setting in plain Python: the complete set of best trade-offs at every node of a graph.

A label is the cost of one way to reach a node, latency and energy packed into one integer, latency << 62 | energy.
Adding two labels is then one addition, and dropping what is dominated is a sort and a scan. This is the readable
reference; ``backends.compiled`` does the same, compiled, for large graphs.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from time import monotonic

import numpy as np

from dime.host.common.statistics import Ints
from dime.host.search.graph import Graph

BITS = 62
ENERGY = (1 << BITS) - 1


@dataclass(frozen=True)
class Labels:
    """Undominated labels of every node, in ascending order of latency."""

    of: list[list[int]]

    def at(self, node: int) -> Ints:
        """(labels, 2): latency and energy of each label of a node."""
        return np.array([(label >> BITS, label & ENERGY) for label in self.of[node]], np.int64).reshape(-1, 2)

    def has(self, node: int, latency_ps: int, energy_pj: int) -> bool:
        """Whether a node has exactly this label."""
        label = latency_ps << BITS | energy_pj
        place = bisect_left(self.of[node], label)
        return place < len(self.of[node]) and self.of[node][place] == label


def label(graph: Graph, deadline: float, weights: tuple[int, int] | None = None) -> Labels | None:
    """Finds the labels of every node.

    Args:
        graph: The graph.
        deadline: ``time.monotonic()`` after which to give up.
        weights: Keep only the best label of each node by a x latency + b x energy, then by latency; None: keep all.

    Returns:
        The labels, or None if the deadline passed.
    """
    starts, tails = graph.starts.tolist(), graph.tail.tolist()
    costs = [a << BITS | b for a, b in zip(graph.latency_ps.tolist(), graph.energy_pj.tolist(), strict=True)]
    labels: list[list[int]] = [[] for _ in range(len(starts) - 1)]
    labels[graph.source] = [0]
    for node in range(len(labels)):
        if starts[node] == starts[node + 1]:
            continue
        if monotonic() > deadline:
            return None
        reached: list[int] = []
        for arc in range(starts[node], starts[node + 1]):
            cost = costs[arc]
            reached += [label + cost for label in labels[tails[arc]]]
        labels[node] = _undominated(reached) if weights is None else _best(reached, *weights)
    return Labels(labels)


def _undominated(labels: list[int]) -> list[int]:
    labels.sort()
    kept = []
    least = ENERGY + 1
    for label in labels:
        energy = label & ENERGY
        if energy < least:
            kept.append(label)
            least = energy
    return kept


def _best(labels: list[int], per_ps: int, per_pj: int) -> list[int]:
    def value(label: int) -> tuple[int, int]:
        return per_ps * (label >> BITS) + per_pj * (label & ENERGY), label

    return [min(labels, key=value)] if labels else []
