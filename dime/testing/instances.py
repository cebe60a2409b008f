"""Small random problems with coarse costs, so that ties and exact limits are common; what enumeration says of them."""

import os
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from dime.contract.bundles import enumerate_bundles
from dime.host.planning.evaluation import evaluate
from dime.host.planning.goals import RULES, Goal, Limits
from dime.host.planning.links import Link
from dime.host.planning.problem import Device, Problem
from dime.host.planning.terms import COPIES, ENCODING, OVERHEAD, PROTOCOL, TERMS, Radio, Terms
from dime.host.search.solvers import brute_force

UNIT = 10**6
# The full run takes larger instances and asks the integer programs about every one of them.
FULL = bool(os.environ.get("DIME_FULL_PROOF"))
MOST_PLANS = 20_000 if FULL else 1_500
GOALS = (Goal("latency"), Goal("energy"), Goal("throughput"), Goal("weighted", 1.0, 0.375))


def random_problem(seed: int, goal: Goal | None = None, limits: Limits | None = None) -> Problem:
    """A problem of 1 to 7 layers on 1 to 4 devices, with limits of every kind now and then."""
    generator = np.random.default_rng(seed)
    while True:
        problem = _draw(generator)
        if brute_force.count_plans(problem) <= MOST_PLANS:
            break
    chosen = GOALS[int(generator.integers(len(GOALS)))] if goal is None else goal
    return replace(problem, goal=chosen, limits=_draw_limits(problem, generator) if limits is None else limits)


def with_terms(problem: Problem, seed: int, names: Sequence[str] = ()) -> Problem:
    """The same problem with terms of coarse amounts: those named, or some at random.

    Args:
        problem: The problem.
        seed: Seed of the amounts.
        names: Some of TERMS, or ``half duplex``.
    """
    generator = np.random.default_rng([seed, 1])
    drawn = [name for name in (*TERMS, "half duplex") if generator.random() < 0.5]
    chosen = set(names or drawn)
    count, many = problem.crossing_ps.shape[:2]
    devices = problem.devices
    counted = tuple(at == 0 or bool(generator.random() < 0.5) for at in range(many))
    watts = tuple(
        tuple(float(w) / 4 for w in generator.integers(0, 5, len(device.frequencies_hz))) if counts else None
        for device, counts in zip(devices, counted, strict=True)
    )

    def ends() -> tuple[np.ndarray | None, ...]:
        return tuple(
            generator.integers(0, 4, (count, len(device.frequencies_hz))) * UNIT if generator.random() < 0.7 else None
            for device in devices
        )

    radios = []
    pairs = [(a, b) for a in range(many) for b in range(a + 1, many)]
    while pairs:
        first, rest = pairs[0], pairs[1:]
        same = tuple(pair for pair in rest if pair[0] == first[0] and generator.random() < 0.5)
        pairs = [pair for pair in rest if pair not in same]
        promotion, tail = int(generator.integers(0, 6)) * UNIT, int(generator.integers(0, 40)) * UNIT
        up, after = int(generator.integers(0, 9)) * UNIT, float(generator.integers(0, 5)) / 4
        radios.append(Radio(first[0], (first, *same), promotion, up, tail, after))
    added = [np.where(problem.crossing_ps > 0, generator.integers(0, 3, problem.crossing_ps.shape), 0) for _ in "sj"]
    terms = Terms(
        counted=counted,
        idle_w=watts if "waiting" in chosen else (None,) * many,
        working_w=tuple(one and tuple(w + 1 for w in one) for one in watts),
        radios=tuple(radios) if "radio states" in chosen else (),
        first_ps={name: ends() for name in (COPIES, ENCODING, OVERHEAD) if name in chosen},
        last_ps={name: ends() for name in (COPIES, ENCODING, OVERHEAD) if name in chosen},
        change_ps=tuple(
            generator.integers(0, 5, len(device.frequencies_hz)) * UNIT if "frequency change" in chosen else None
            for device in devices
        ),
        crossing={name: (added[0] * UNIT, added[1] * UNIT) for name in (PROTOCOL, OVERHEAD) if name in chosen},
        input_ps=generator.integers(0, 15, len(devices[0].frequencies_hz)) * UNIT if ENCODING in chosen else None,
        waited_ps=tuple(generator.integers(0, 4, device.latency_ps.shape) * UNIT for device in devices)
        if OVERHEAD in chosen
        else (),
        beyond_ps=tuple(generator.integers(0, 4, device.latency_ps.shape) * UNIT for device in devices),
    )
    joined = {
        (a, b): Link("x", 1e6, 1e6, duplex="half duplex" not in chosen) for a in range(many) for b in range(a + 1, many)
    }
    return replace(problem, terms=terms, joined=joined)


def _draw(generator: np.random.Generator) -> Problem:
    count, many = int(generator.integers(1, 8)), int(generator.choice([1, 2, 2, 3, 3, 4]))
    longest = int(generator.choice([count, count, int(generator.integers(1, count + 1))]))
    bundles = enumerate_bundles(count, longest)
    devices = []
    for at in range(many):
        frequencies = int(generator.integers(1, 4))
        shape = (len(bundles), frequencies)
        latency = generator.integers(0, 25, shape)
        energy = np.maximum(0, 60 // (latency + 2) + generator.integers(-2, 3, shape))
        energy *= UNIT * int(at == 0 or generator.random() < 0.7)
        latency = np.where(generator.random(shape) < 0.05, -1, latency * UNIT)
        own = int(generator.choice([longest, int(generator.integers(1, longest + 1))]))  # its own largest bundle
        latency[[bundle.last - bundle.first >= own for bundle in bundles]] = -1
        clocks = tuple(10 * (1 + k) for k in range(frequencies))
        devices.append(Device(f"d{at}", clocks, latency, energy, max_layers=own))
    crossing_ps = generator.integers(0, 6, (count + 1, many, many)) * UNIT
    crossing_pj = generator.integers(0, 6, (count + 1, many, many)) * UNIT
    for a in range(many):
        for b in range(many):
            if a == b:
                crossing_ps[:, a, b] = crossing_pj[:, a, b] = 0
            elif generator.random() < 0.1:
                crossing_ps[:, a, b] = -1
    return Problem(
        "random",
        tuple(f"l{at}" for at in range(count)),
        longest,
        tuple(devices),
        crossing_ps,
        crossing_pj,
        tuple(int(size) for size in generator.integers(1, 100, count + 1)),
        layer_bytes=tuple(int(size) for size in generator.integers(1, 9, count)),
    )


def _draw_limits(problem: Problem, generator: np.random.Generator) -> Limits:
    def now_and_then(share: float = 0.2) -> bool:
        return bool(generator.random() < share)

    count = len(problem.layers)
    total = sum(problem.layer_bytes or ())
    first = problem.devices[0]
    return Limits(
        latency_s=int(generator.integers(10, 80)) * UNIT / 1e12 if now_and_then() else None,
        energy_j=int(generator.integers(10, 80)) * UNIT / 1e12 if now_and_then() else None,
        private_layers=int(generator.integers(0, count + 1)) if now_and_then() else 0,
        memory_bytes={
            device.name: int(generator.integers(total // 3, total + 1)) for device in problem.devices if now_and_then()
        },
        frequencies_hz={first.name: first.frequencies_hz[:1]} if now_and_then(0.15) else {},
        max_bundle=int(generator.integers(1, count + 1)) if now_and_then() else None,
        rule=str(generator.choice(RULES)),
    )


def enumerated(problem: Problem) -> tuple[list[tuple[int, int]], int | None]:
    """The frontier (time, energy) and the best value, as integers, by looking at every plan."""
    pipeline = problem.goal.is_pipeline
    points = set()
    for choices in brute_force.plans(problem):
        totals = evaluate(problem, choices)
        if not totals.broken:
            points.add((totals.period_ps if pipeline else totals.latency_ps, totals.energy_pj))
    front, least = [], None
    for time, energy in sorted(points):
        if least is None or energy < least:
            front.append((time, energy))
            least = energy
    a, b = (1, 0) if pipeline else problem.goal.weights
    return front, min((a * time + b * energy for time, energy in points), default=None)
