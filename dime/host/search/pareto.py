"""Best plans of a graph by any quantities: the least one of a single quantity, and every best trade-off of several."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from dime.host.common.stats import Ints
from dime.host.planning.cost import amount, walk
from dime.host.planning.problem import Choice
from dime.host.planning.quantity import Quantity
from dime.host.search.backends import choose, plain
from dime.host.search.graph import Graph

# Up to so many arcs the bounds cost more than they save.
BOUNDED_ARCS = 30_000
SLOPES = (0.02, 0.1, 0.3, 1.0, 3.0, 10.0, 50.0)
Choices = tuple[Choice, ...]


class Labels(Protocol):
    """The labels of every node, whichever form found them."""

    def at(self, node: int) -> Ints: ...

    def has(self, node: int, first: int, second: int) -> bool: ...


@dataclass(frozen=True, eq=False)
class Front:
    """Plans that no other is at least as good as in all of some quantities.

    Attributes:
        sums: (plans, quantities), ascending by the first quantity, then the next.
        complete: Whether these are all there are; if not, they are what was found in time.
        backend: The form of label setting that found them, one of ``backends.BACKENDS``.
        choices: Gives the k-th plan.
    """

    sums: Ints
    complete: bool
    backend: str
    choices: Callable[[int], Choices]

    def __len__(self) -> int:
        return len(self.sums)


def pareto(
    graph: Graph,
    quantities: Sequence[Quantity],
    within: Sequence[Quantity] = (),
    deadline: float = np.inf,
    backend: str = "auto",
) -> Front:
    """Finds every plan that no other one is at least as good as in all of some quantities.

    Args:
        graph: The graph.
        quantities: The quantities; plans with more than their ``most`` do not count.
        within: Quantities that are not to be small, but within their ``most``.
        deadline: ``time.monotonic()`` after which to give up.
        backend: One of ``backends.BACKENDS``; ``auto``: what suits the graph. It changes the time taken, nothing else.

    Returns:
        The plans, of equally good ones one.
    """
    every = [*quantities, *within]
    slowest = any(quantity.slowest for quantity in every)
    form = choose(len(graph.tail), 3 if slowest or graph.gaps else len(every), backend)
    if form == "vector":
        return _of_many(graph, quantities, within, deadline)
    return _of_two(graph, quantities, within, deadline, form)


def shortest(
    graph: Graph, quantity: Quantity, then: Sequence[Quantity] = (), worth: Sequence[int] = ()
) -> Choices | None:
    """Finds the plan with the least amount of a quantity, whatever any limits on sums say; of a graph without gaps.

    Args:
        graph: The graph.
        quantity: The quantity; its sum counts, even of a ``slowest`` one.
        then: Quantities that decide among equals, in this order.
        worth: If given, what is small is the sum of the quantities, each times its entry here, before any decides.

    Returns:
        The plan, or None if there is none.
    """
    amounts = [graph.amounts(each).tolist() for each in (quantity, *then)]
    if worth:
        amounts.insert(0, [sum(map(int.__mul__, worth, arc)) for arc in zip(*amounts, strict=True)])
    costs = amounts[0]
    for following in amounts[1:]:
        costs = [cost << 62 | more for cost, more in zip(costs, following, strict=True)]
    starts, tails = graph.starts.tolist(), graph.tail.tolist()
    least: list[int | None] = [None] * (graph.sink + 1)
    least[graph.source] = 0
    for node in range(1, graph.sink + 1):
        best = None
        for arc in range(starts[node], starts[node + 1]):
            before = least[tails[arc]]
            if before is not None and (best is None or before + costs[arc] < best):
                best = before + costs[arc]
        least[node] = best
    if least[graph.sink] is None:
        return None
    arcs, node = [], graph.sink
    while node != graph.source:
        for arc in range(starts[node], starts[node + 1]):
            before = least[tails[arc]]
            if before is not None and before + costs[arc] == least[node]:
                arcs.append(arc)
                node = tails[arc]
                break
    return graph.choices(arcs[::-1])


def _of_two(
    graph: Graph, quantities: Sequence[Quantity], within: Sequence[Quantity], deadline: float, form: str
) -> Front:
    both = [*quantities, *within]
    first = graph.amounts(both[0])
    costs = first, graph.amounts(both[1]) if len(both) > 1 else np.zeros_like(first)
    most = tuple(np.inf if quantity.most is None else quantity.most for quantity in both)
    smaller, costs, labels = label(graph, costs, (most[0], most[-1]), deadline, form)
    if labels is None:
        return _known(graph, quantities, within, form)
    points = labels.at(graph.sink)
    points = points[(points[:, : len(both)] <= most).all(axis=1)]
    if len(quantities) == 1:
        points = points[:1]

    def choices(at: int) -> Choices:
        return smaller.choices(path(smaller, costs, labels, (int(points[at, 0]), int(points[at, 1]))))

    return Front(points[:, : len(quantities)], True, form, choices)


def label(
    graph: Graph, costs: tuple[Ints, Ints], most: tuple[float, float], deadline: float, form: str
) -> tuple[Graph, tuple[Ints, Ints], Labels | None]:
    """Labels a graph by two quantities.

    Returns:
        The graph and the amounts of its arcs, possibly of fewer, and its labels; None if the deadline passed.
    """
    if form == "plain":
        return graph, costs, plain.label(graph, costs, deadline)
    from dime.host.search.backends import compiled

    if len(graph.tail) <= BOUNDED_ARCS:
        return graph, costs, compiled.label(graph, costs, deadline)
    bounds = compiled.find_bounds(graph, costs, most)
    kept = compiled.worthwhile(graph, costs, bounds)
    smaller, fewer = graph.keep(kept), (costs[0][kept], costs[1][kept])
    return smaller, fewer, compiled.label(smaller, fewer, deadline, bounds)


def path(graph: Graph, costs: tuple[Ints, Ints], labels: Labels, sums: tuple[int, int]) -> list[int]:
    """Finds the arcs of a path that costs what a label of the sink says, by subtracting backwards."""
    arcs = []
    node = graph.sink
    while node != graph.source:
        for arc in range(graph.starts[node], graph.starts[node + 1]):
            before = sums[0] - int(costs[0][arc]), sums[1] - int(costs[1][arc])
            if min(before) >= 0 and labels.has(int(graph.tail[arc]), *before):
                arcs.append(arc)
                node, sums = int(graph.tail[arc]), before
                break
        else:
            raise AssertionError("a label has no predecessor")
    return arcs[::-1]


def _known(graph: Graph, quantities: Sequence[Quantity], within: Sequence[Quantity], form: str) -> Front:
    """Plans found by shortest paths in a few directions, of one or two quantities, that are within all limits."""
    both = [*quantities, *within]
    orders = [both, both[::-1]] if len(both) > 1 else [both]
    ends = [shortest(graph, order[0], order[1:]) for order in orders]
    found = {plan: _sums(graph, both, plan) for plan in ends if plan is not None}
    if len(found) == 2:
        fast, frugal = found.values()
        for slope in SLOPES:
            worth = fast[1] - frugal[1], int(slope * (frugal[0] - fast[0]))
            plan = shortest(graph, both[0], both[1:], worth)
            if plan is not None:
                found[plan] = _sums(graph, both, plan)
    kept = {
        sums: plan
        for plan, sums in found.items()
        if all(quantity.most is None or sum_ <= quantity.most for quantity, sum_ in zip(both, sums, strict=True))
    }
    plans = sorted(kept.items())[: None if len(quantities) > 1 else 1]
    sums = np.array([sums[: len(quantities)] for sums, _ in plans], np.int64).reshape(-1, len(quantities))
    return Front(sums, False, form, lambda at: plans[at][1])


def _sums(graph: Graph, quantities: Sequence[Quantity], plan: Choices) -> tuple[int, ...]:
    parts = walk(graph.problem, plan)
    return tuple(amount(parts, quantity) for quantity in quantities)


def _of_many(graph: Graph, quantities: Sequence[Quantity], within: Sequence[Quantity], deadline: float) -> Front:
    from dime.host.search.backends import vector

    what = vector.columns(graph, quantities, within)
    labels, front, complete = vector.solve(graph, what, deadline)

    def choices(at: int) -> Choices:
        return graph.choices(labels.path(graph, int(front[at])))

    return Front(what.points(labels.costs[graph.sink][front]), complete, "vector", choices)
