"""Quantities made of a problem's own: what the goal counts, and others in the places of latency and energy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from time import monotonic

import numpy as np

from dime.contract.errors import InputError, OutOfTimeError
from dime.host.common.stats import Ints
from dime.host.planning.goals import Goal
from dime.host.planning.problem import LARGEST_SUM, PER_S, Choice, Problem
from dime.host.planning.quantity import Quantity
from dime.host.search.backends import vector
from dime.host.search.backends.vector import UNLIMITED
from dime.host.search.graph import Graph, build
from dime.host.search.pareto import pareto
from dime.host.search.solvers import TIME_LIMIT_S

__all__ = ["UNLIMITED", "as_problem", "of_goal", "shortest_through", "undominated"]


def shortest_through(graph: Graph, quantity: Quantity) -> Ints:
    """For each arc the least amount of a whole plan that takes it; ``UNLIMITED`` where none does."""
    costs = graph.amounts(quantity)
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
        OutOfTimeError: Time ran out; it carries the plan with the least of the first quantity found by then.
    """
    graph = build(problem.with_goal("latency"))
    front = pareto(graph, quantities, tuple(problem.memory.values()), monotonic() + time_limit_s, "vector")
    if not front.complete:
        raise OutOfTimeError(
            f"{len(problem.layers)} layers have too many trade-offs to list in {time_limit_s:g} s",
            front.choices(0) if len(front) else None,
        )
    return [(tuple(sums), front.choices(at)) for at, sums in enumerate(front.sums.tolist())]


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
    if goal.is_pipeline:
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
            contextual=latency.contextual,
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
    return replace(
        problem,
        goal=Goal.parse(goal) if isinstance(goal, str) else goal,
        limits=limits,
        has_energy=True,
        instead=(first, second),
    )


def _largest(problem: Problem, quantity: Quantity) -> int:
    """An upper bound on a quantity's sum over any plan."""
    greatest = np.zeros(len(problem.layers), np.int64)
    for costs in quantity.of_devices:
        np.maximum.at(greatest, problem.bounds[1], costs.max(axis=(0, 2) if quantity.contextual else 1))
    crossing = quantity.crossing.max(axis=(-2, -1))
    return int(greatest.sum()) + int((crossing.max(axis=0) if quantity.contextual else crossing).sum())
