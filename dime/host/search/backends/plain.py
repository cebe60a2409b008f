"""Label setting in plain Python: the complete set of best trade-offs at every node of a graph.

A label is what one way to reach a node takes of two quantities, packed into one integer, first << 62 | second.
Adding two labels is then one addition, and dropping what is dominated is a sort and a scan. This is the readable
reference; ``backends.compiled`` does the same, compiled, for large graphs.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from time import monotonic

import numpy as np

from dime.host.common.stats import Ints
from dime.host.search.graph import Graph

BITS = 62
SECOND = (1 << BITS) - 1


@dataclass(frozen=True)
class Labels:
    """Undominated labels of every node, in ascending order of the first quantity."""

    of: list[list[int]]

    def at(self, node: int) -> Ints:
        """(labels, 2): both sums of each label of a node."""
        return np.array([(label >> BITS, label & SECOND) for label in self.of[node]], np.int64).reshape(-1, 2)

    def has(self, node: int, first: int, second: int) -> bool:
        """Whether a node has exactly this label."""
        label = first << BITS | second
        place = bisect_left(self.of[node], label)
        return place < len(self.of[node]) and self.of[node][place] == label


def label(graph: Graph, costs: tuple[Ints, Ints], deadline: float) -> Labels | None:
    """Finds the labels of every node.

    Args:
        graph: The graph.
        costs: Of each arc the amounts of two quantities.
        deadline: ``time.monotonic()`` after which to give up.

    Returns:
        The labels, or None if the deadline passed.
    """
    starts, tails = graph.starts.tolist(), graph.tail.tolist()
    packed = [a << BITS | b for a, b in zip(costs[0].tolist(), costs[1].tolist(), strict=True)]
    labels: list[list[int]] = [[] for _ in range(len(starts) - 1)]
    labels[graph.source] = [0]
    for node in range(len(labels)):
        if starts[node] == starts[node + 1]:
            continue
        if monotonic() > deadline:
            return None
        reached: list[int] = []
        for arc in range(starts[node], starts[node + 1]):
            cost = packed[arc]
            reached += [label + cost for label in labels[tails[arc]]]
        labels[node] = _undominated(reached)
    return Labels(labels)


def _undominated(labels: list[int]) -> list[int]:
    labels.sort()
    kept = []
    least = SECOND + 1
    for label in labels:
        second = label & SECOND
        if second < least:
            kept.append(label)
            least = second
    return kept
