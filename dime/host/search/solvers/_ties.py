"""Which of equally good plans is the plan: one rule for every solver, so that none of them decides by accident.

Of plans with the best value of the goal, first those that the frontier shows: least time (latency; of a pipeline the
slowest stage's), then least energy. Of these the least latency, then the fewest crossings, then the first in the order
of bundles, devices and frequencies.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from dime.host.common.stats import Ints
from dime.host.planning.evaluation import Totals, evaluate
from dime.host.planning.problem import Choice, Problem
from dime.host.search.graph import build

MOST_STEPS = 4_000  # of a search among equals; where there are more, the first ones decide
_NEVER = np.int64(2**62)
Key = tuple[int, int, int, int, int, tuple[Choice, ...]]


def key(problem: Problem, choices: Sequence[Choice], totals: Totals | None = None) -> Key:
    """What plans are ordered by; the least is the plan."""
    totals = totals or evaluate(problem, choices)
    time = totals.time_ps(problem)
    a, b = problem.goal.weights
    devices = [0, *(choice.device for choice in choices), 0]
    crossings = sum(a != b for a, b in pairwise(devices))
    return a * time + b * totals.energy_pj, time, totals.energy_pj, totals.latency_ps, crossings, tuple(choices)


def first(problem: Problem, choices: tuple[Choice, ...]) -> tuple[Choice, ...]:
    """The first of all plans with a plan's time and energy, which must be a best one's.

    Args:
        problem: The problem.
        choices: One of these plans.

    Returns:
        The first of them by ``key``; where MOST_STEPS were not enough, the first that was seen.
    """
    if problem.instead is not None or not problem.terms.is_empty:
        return _first_path(problem, choices)
    best = key(problem, choices)
    _, time, energy, _, _, _ = best
    to_go_ps, to_go_pj = _to_go(problem)
    starting = _starting(problem)
    count, steps = len(problem.layers), 0
    waiting: list[tuple[tuple[Choice, ...], int, int, int]] = [((), 0, 0, 0)]
    while waiting and steps < MOST_STEPS:
        done, ps, pj, here = waiting.pop()
        boundary = done[-1].bundle.last + 1 if done else 0
        if boundary == count:
            best = _better(problem, done, best)
            continue
        steps += 1
        following = []
        barred = _barred(problem, done)
        for choice, latency, joules in starting[boundary]:
            if choice.device == barred:
                continue
            crossing = problem.crossing(boundary, here, choice.device)
            if crossing is None:
                continue
            after_ps, after_pj = ps + crossing[0] + latency, pj + crossing[1] + joules
            end = choice.bundle.last + 1, choice.device
            most_ps = best[3] if problem.time.slowest else time
            if after_ps + int(to_go_ps[end]) <= most_ps and after_pj + int(to_go_pj[end]) <= energy:
                following.append(((*done, choice), after_ps, after_pj, choice.device))
        waiting += following[::-1]
    return best[-1]


def _first_path(problem: Problem, choices: tuple[Choice, ...]) -> tuple[Choice, ...]:
    """The same where the past changes what parts cost: a search backwards through the graph."""
    best = key(problem, choices)
    _, time, energy, _, _, _ = best
    graph = build(problem)
    costs = np.stack([graph.amounts(problem.latency), graph.amounts(problem.energy)], axis=1)
    ahead = np.full((graph.sink + 1, 2), _NEVER)
    ahead[graph.source] = 0
    for node in np.unique(np.flatnonzero(np.diff(graph.starts))).tolist():
        into = slice(graph.starts[node], graph.starts[node + 1])
        if node != graph.source:
            reached = ahead[graph.tail[into]]
            ahead[node] = np.where(reached >= _NEVER, _NEVER, reached + costs[into]).min(axis=0)
    steps, seen = 0, {choices}
    most_ps = best[3] if problem.time.slowest else time
    waiting: list[tuple[int, int, int, tuple[int, ...]]] = [(graph.sink, most_ps, energy, ())]
    while waiting and steps < MOST_STEPS:
        node, ps, pj, path = waiting.pop()
        if node == graph.source:
            plan = graph.choices(list(path))
            if plan not in seen:
                seen.add(plan)
                best = _better(problem, plan, best)
            continue
        steps += 1
        arcs = np.arange(graph.starts[node], graph.starts[node + 1])
        left = np.array([ps, pj]) - costs[arcs]
        for arc in arcs[(ahead[graph.tail[arcs]] <= left).all(axis=1)].tolist():
            waiting.append((int(graph.tail[arc]), ps - int(costs[arc, 0]), pj - int(costs[arc, 1]), (arc, *path)))
    return best[-1]


def _better(problem: Problem, choices: tuple[Choice, ...], best: Key) -> Key:
    """The key of a plan where it comes before the best one, whose time and energy it must have."""
    totals = evaluate(problem, choices)
    found = key(problem, choices, totals)
    return found if not totals.broken and found[1:3] == best[1:3] and found < best else best


def _barred(problem: Problem, done: tuple[Choice, ...]) -> int:
    """The device that may not go on, since the rule wants its bundle and the next one to be one; -1: none."""
    if not done or problem.limits.rule != "merged":
        return -1
    bundle, device, _ = done[-1]
    return device if bundle.last - bundle.first + 1 < problem.largest_bundles[device] else -1


def _starting(problem: Problem) -> list[list[tuple[Choice, int, int]]]:
    """For each boundary the usable options of bundles that begin there, in order."""
    starting: list[list[tuple[Choice, int, int]]] = [[] for _ in problem.layers]
    for bundle in problem.bundles:
        for device in range(len(problem.devices)):
            for hz, latency, joules in problem.options(bundle, device):
                starting[bundle.first].append((Choice(bundle, device, hz), latency, joules))
    return [sorted(options) for options in starting]


def _to_go(problem: Problem) -> tuple[Ints, Ints]:
    """Least latency and least energy from each boundary and device to the end, whatever the rules on whole plans."""
    count, devices = len(problem.layers), len(problem.devices)
    first, last = problem.bounds
    linked = problem.crossing_ps >= 0
    result = []
    for of_devices, crossing in (
        ([device.latency_ps for device in problem.devices], problem.crossing_ps),
        ([device.energy_pj for device in problem.devices], problem.crossing_pj),
    ):
        cheapest = [
            np.where(usable, costs, _NEVER).min(axis=1)
            for costs, usable in zip(of_devices, problem.usable, strict=True)
        ]
        to_go = np.full((count + 1, devices), _NEVER)
        to_go[count] = np.where(linked[count, :, 0], crossing[count, :, 0], _NEVER)
        starts = np.searchsorted(first, np.arange(count + 1))
        for boundary in range(count - 1, 0, -1):
            rows = slice(starts[boundary], starts[boundary + 1])
            enter = np.array(
                [_sum(cheapest[x][rows], to_go[last[rows] + 1, x]).min(initial=_NEVER) for x in range(devices)]
            )
            for here in range(devices):
                ways = np.where(linked[boundary, here], crossing[boundary, here], _NEVER)
                to_go[boundary, here] = _sum(ways, enter).min()
        result.append(to_go)
    return result[0], result[1]


def _sum(one: Ints, other: Ints) -> Ints:
    """The sum, _NEVER where either is."""
    never = (one >= _NEVER) | (other >= _NEVER)
    return np.where(never, _NEVER, np.where(never, 0, one) + np.where(never, 0, other))
