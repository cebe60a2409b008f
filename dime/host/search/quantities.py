"""A problem's plans as paths to which costs can be given from outside.

For everything that needs other costs than the problem's own: bootstrap replicates, spreads, and how costs grow when a
link gets slower. No option is left out for being dominated, since it may not be under those costs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from time import monotonic

import numpy as np

from dime.contract.errors import InputError
from dime.host.common.statistics import Ints
from dime.host.planning.goals import Goal
from dime.host.planning.problem import LARGEST_SUM, PER_S, Choice, Problem
from dime.host.planning.quantity import Quantity
from dime.host.search import graph as graphs
from dime.host.search.backends import vector
from dime.host.search.backends.vector import UNLIMITED
from dime.host.search.graph import Graph
from dime.host.search.solvers import TIME_LIMIT_S

__all__ = [
    "UNLIMITED",
    "Paths",
    "as_problem",
    "of_goal",
    "paths",
    "shortest_through",
    "undominated",
]


@dataclass(frozen=True, eq=False)
class Paths:
    """The graph of a problem with every usable option.

    Attributes:
        problem: The problem.
        graph: Its graph; the costs in it mean nothing.
        cell: For each arc the place of its cost in ``flat``.
    """

    problem: Problem
    graph: Graph
    cell: Ints

    def flat(self, of_devices: Sequence[Ints], crossing: Ints) -> Ints:
        """Joins costs so that ``flat[cell]`` are the arcs'; leading axes (of replicates) are kept.

        Args:
            of_devices: For each device (..., bundles, frequencies).
            crossing: (N + 1, devices, devices).
        """
        lead = of_devices[0].shape[:-2]
        parts = [costs.reshape(*lead, -1) for costs in of_devices]
        parts.append(np.broadcast_to(crossing.ravel(), (*lead, crossing.size)))
        joined: Ints = np.concatenate(parts, axis=-1)
        return joined

    def with_costs(self, latency_ps: Ints, energy_pj: Ints) -> Graph:
        """The graph with costs, one an arc."""
        return replace(self.graph, latency_ps=latency_ps, energy_pj=energy_pj)


def paths(problem: Problem) -> Paths:
    """Builds the graph with every usable option of a problem; numbers in place of costs tell the crossings apart."""
    numbers = np.arange(problem.crossing_ps.size).reshape(problem.crossing_ps.shape)
    graph = graphs.build(replace(problem, crossing_ps=np.where(problem.crossing_ps >= 0, numbers, -1)), prune=False)
    widths = np.array([len(device.frequencies_hz) for device in problem.devices])
    sizes = np.cumsum([0, *(device.latency_ps.size for device in problem.devices)])
    computing = sizes[graph.device] + graph.bundle * widths[graph.device] + graph.column
    return Paths(problem, graph, np.where(graph.device >= 0, computing, sizes[-1] + graph.latency_ps))


def shortest_through(all_paths: Paths, costs: Ints) -> Ints:
    """For each arc the least cost of a whole plan that takes it; ``UNLIMITED`` where none does.

    Args:
        all_paths: The paths.
        costs: Cost of each arc.
    """
    graph = all_paths.graph
    reached = np.full(graph.sink + 1, UNLIMITED)
    reached[0] = 0
    for node in range(1, graph.sink + 1):
        arcs = slice(graph.starts[node], graph.starts[node + 1])
        if arcs.start < arcs.stop:
            reached[node] = min(UNLIMITED, int((reached[graph.tail[arcs]] + costs[arcs]).min()))
    to_go = vector.least_to_go(graph, costs[:, None])[:, 0]
    head = np.repeat(np.arange(graph.sink + 1), np.diff(graph.starts))
    through: Ints = np.where(
        (reached[graph.tail] < UNLIMITED) & (to_go[head] < UNLIMITED),
        reached[graph.tail] + costs + np.where(to_go[head] < UNLIMITED, to_go[head], 0),
        UNLIMITED,
    )
    return through


def undominated(
    problem: Problem, quantities: Sequence[Quantity], time_limit_s: float = TIME_LIMIT_S
) -> list[tuple[tuple[int, ...], tuple[Choice, ...]]]:
    """Finds every plan that no other one is at least as good as in all of some quantities.

    Args:
        problem: The problem. Its limits on single bundles, on memory and on the count of bundles hold; its goal and its
            limits on latency and energy are not looked at.
        quantities: The quantities.
        time_limit_s: Longest time.

    Returns:
        (sums of the quantities, plan) of each.

    Raises:
        InputError: Time ran out.
    """
    bare = problem.with_goal("latency").with_limits(replace(problem.limits, latency_s=None, energy_j=None))
    all_paths = paths(bare)
    memory = tuple(bare.memory.values())
    columns = [all_paths.flat(q.of_devices, q.crossing)[all_paths.cell] for q in (*quantities, *memory)]
    steps = np.stack(columns, axis=1)
    most = np.array([UNLIMITED if q.most is None else q.most for q in (*quantities, *memory)])
    graph = all_paths.graph
    what = vector.Quantities(-1, -1, -1, steps, most, vector.least_to_go(graph, steps))
    try:
        labels = vector.label(graph, what, monotonic() + time_limit_s)
    except vector.OutOfTimeError:
        raise InputError(
            f"{len(problem.layers)} layers have too many trade-offs to list in {time_limit_s:g} s"
        ) from None
    found: dict[tuple[int, ...], tuple[Choice, ...]] = {}
    for at, costs in enumerate(labels.costs[graph.sink].tolist()):
        found.setdefault(tuple(costs[: len(quantities)]), graph.choices(problem, labels.path(graph, at)))
    kept = vector.undominated(np.array(list(found), np.int64).reshape(len(found), len(quantities))) if found else ()
    every = list(found.items())
    return [every[at] for at in kept]


def of_goal(problem: Problem, *pairs: tuple[Quantity, Quantity]) -> tuple[list[Quantity], Fraction]:
    """Joins latencies and energies into what the goal counts, as integers of one unit for all the pairs.

    Exact, unless a weighted goal's weights are so fine that sums would not fit into 62 bits; then each cost is rounded,
    by 1e-18 of the largest sum or so.

    Returns:
        One quantity a pair, and what one of their units is worth in the goal's unit.

    Raises:
        InputError: The goal is throughput, which is no sum.
    """
    goal = problem.goal
    if goal.kind == "throughput":
        raise InputError("the goal throughput is no sum over the steps of a plan; use latency, energy or weighted")
    a, b = goal.weights
    worth = Fraction(1, PER_S)
    if goal.kind == "weighted":
        worth *= Fraction(goal.per_s) / a if a else Fraction(goal.per_j) / b
    largest = sum(a * _largest(problem, latency) + b * _largest(problem, energy) for latency, energy in pairs)
    scale = Fraction(1) if largest < LARGEST_SUM else Fraction(LARGEST_SUM // 4, largest)

    def join(latency: Ints, energy: Ints) -> Ints:
        missing = latency < 0
        if scale == 1:
            return np.where(missing, -1, a * latency + b * energy)
        weights = float(a * scale), float(b * scale)
        return np.where(missing, -1, np.rint(weights[0] * latency + weights[1] * energy)).astype(np.int64)

    joined = [
        Quantity(
            "goal",
            problem.goal.unit,
            [join(*costs) for costs in zip(latency.of_devices, energy.of_devices, strict=True)],
            join(latency.crossing, energy.crossing),
        )
        for latency, energy in pairs
    ]
    return joined, worth / scale


def as_problem(
    problem: Problem, first: Quantity, second: Quantity, goal: str | Goal, most: int | None = None
) -> Problem:
    """The same problem with two other quantities in the places of latency and energy.

    Args:
        problem: The problem. Its limits on latency and energy are dropped.
        first: Takes the place of the latency.
        second: Takes the place of the energy.
        goal: What to make small, in terms of those places.
        most: A limit on the first.
    """
    limits = replace(problem.limits, latency_s=None if most is None else most / PER_S, energy_j=None)
    latency = [
        np.where(device.latency_ps >= 0, costs, -1)
        for device, costs in zip(problem.devices, first.of_devices, strict=True)
    ]
    return replace(
        problem.with_goal("latency").with_limits(limits).with_costs(latency, list(second.of_devices)),
        crossing_ps=np.where(problem.crossing_ps >= 0, first.crossing, -1),
        crossing_pj=np.where(problem.crossing_ps >= 0, second.crossing, 0),
        has_energy=True,
        goal=Goal.parse(goal) if isinstance(goal, str) else goal,
    )


def _largest(problem: Problem, quantity: Quantity) -> int:
    """An upper bound on a quantity's sum over any plan."""
    greatest = np.zeros(len(problem.layers), np.int64)
    for costs in quantity.of_devices:
        np.maximum.at(greatest, problem.bounds[1], costs.max(axis=1))
    return int(greatest.sum()) + int(quantity.crossing.reshape(len(quantity.crossing), -1).max(axis=1).sum())
