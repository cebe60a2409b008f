"""Enumeration of every plan, without any cleverness: what the other solvers are tested against."""

from __future__ import annotations

from collections.abc import Iterator
from time import monotonic

import dime
from dime.host.planning.evaluation import evaluate
from dime.host.planning.problem import Choice, Problem
from dime.host.planning.solution import Solution
from dime.host.search.solvers import Capabilities, _ties, conclude

CAPABILITIES = Capabilities()
MOST_PLANS = 2_000_000


def available() -> str | None:
    """It always is."""
    return None


def version() -> str:
    """Name and version."""
    return f"brute force {dime.__version__}"


def count_plans(problem: Problem) -> int:
    """Number of plans, whether or not they keep the limits."""
    ways = [1] + [0] * len(problem.layers)
    first, last = problem.bounds
    options = sum(usable.sum(axis=1) for usable in problem.usable)
    for a, b, n in sorted(zip(first.tolist(), last.tolist(), list(options), strict=True), key=lambda at: at[1]):
        ways[b + 1] += ways[a] * int(n)
    return ways[-1]


def refuses(problem: Problem) -> str | None:
    """More plans than it can look at in a minute or so."""
    count = count_plans(problem)
    return f"brute_force would look at {count:.1e} plans, it takes {MOST_PLANS:.0e}" if count > MOST_PLANS else None


def plans(problem: Problem) -> Iterator[tuple[Choice, ...]]:
    """Yields every tiling of the chain by usable options on linked devices."""
    starting: list[list[Choice]] = [[] for _ in problem.layers]
    for bundle in problem.bundles:
        for device in range(len(problem.devices)):
            starting[bundle.first] += [Choice(bundle, device, o.frequency_hz) for o in problem.options(bundle, device)]

    def extend(done: tuple[Choice, ...], here: int, boundary: int) -> Iterator[tuple[Choice, ...]]:
        if boundary == len(problem.layers):
            if problem.crossing(boundary, here, 0) is not None:
                yield done
            return
        for choice in starting[boundary]:
            if problem.crossing(boundary, here, choice.device) is not None:
                yield from extend((*done, choice), choice.device, choice.bundle.last + 1)

    return extend((), 0, 0)


def solve(problem: Problem, time_limit_s: float, gap: float) -> Solution:
    """Evaluates every plan and keeps the best; the time limit keeps the best so far."""
    began = monotonic()
    best: _ties.Key | None = None
    finished = False
    for choices in plans(problem):
        totals = evaluate(problem, choices)
        if not totals.broken:
            found = _ties.key(problem, choices, totals)
            best = found if best is None else min(best, found)
        if monotonic() - began > time_limit_s:
            break
    else:
        finished = True
    status = {(True, True): "optimal", (True, False): "infeasible", (False, True): "feasible"}.get(
        (finished, best is not None), "unknown"
    )
    return conclude(problem, status, best and best[-1], None, "brute_force", version(), monotonic() - began)
