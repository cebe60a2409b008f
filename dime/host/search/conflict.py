"""Why no plan keeps the limits: which of them exclude each other, and what is possible nearest to them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from dime.host.planning.goals import Limits
from dime.host.planning.problem import PER_J, PER_S, Problem
from dime.host.search.solvers import exact


@dataclass(frozen=True)
class _Limit:
    """One limit: how it reads, the limits without it, and what is possible if it alone is given up."""

    text: str
    without: Callable[[Limits], Limits]
    nearest: Callable[[Problem, float], str | None]


def explain(problem: Problem, time_limit_s: float) -> str:
    """Says in one line which limits exclude each other and what is possible.

    Args:
        problem: A problem without a plan.
        time_limit_s: Longest time for each question that is asked about it.

    Returns:
        The line.
    """
    every = _limits(problem)

    def without(given_up: list[_Limit]) -> Problem:
        limits = problem.limits
        for limit in given_up:
            limits = limit.without(limits)
        return problem.with_limits(limits)

    if not exact.possible(without(every), time_limit_s):
        return "no plan exists at all, whatever the limits: a link or a bundle's options are missing"
    conflict = list(every)
    for limit in every:
        fewer = [other for other in conflict if other is not limit]
        if not exact.possible(without([other for other in every if other not in fewer]), time_limit_s):
            conflict = fewer
    options = []
    for limit in conflict:
        nearest = limit.nearest(without([limit]), time_limit_s)
        if nearest is not None:
            options.append(nearest)
    if len(conflict) == 1:
        told = f"no plan keeps the limit of {conflict[0].text}"
    else:
        told = f"these limits exclude each other: {' and '.join(limit.text for limit in conflict)}"
    if options:
        return f"{told}; possible with all other limits: {', or '.join(options)}"
    return f"{told}; give up {'it' if len(conflict) == 1 else 'one of them'}"


def _limits(problem: Problem) -> list[_Limit]:
    limits = problem.limits
    found = []
    if limits.latency_s is not None:
        text = f"latency <= {limits.latency_s:g} s"
        found.append(_Limit(text, lambda old: replace(old, latency_s=None), _least_latency))
    if limits.energy_j is not None:
        text = f"energy <= {limits.energy_j:g} J"
        found.append(_Limit(text, lambda old: replace(old, energy_j=None), _least_energy))
    if problem.private.any():
        names = ", ".join(name for name, private in zip(problem.layers, problem.private, strict=True) if private)
        text = f"{names} on {problem.devices[0].name}"
        found.append(_Limit(text, lambda old: replace(old, private_layers=0), _fewer_private(problem)))
    found += [_memory(problem, at, most) for at, most in problem.memory_limits.items()]
    for name, allowed in limits.frequencies_hz.items():
        found.append(_frequencies(name, list(allowed)))
    if limits.max_bundle is not None:
        text = f"bundles of at most {limits.max_bundle} layers"
        found.append(_Limit(text, lambda old: replace(old, max_bundle=None), _larger_bundle(problem)))
    if limits.rule != "free":
        text = f"the bundle-count rule '{limits.rule}'"
        found.append(
            _Limit(text, lambda old: replace(old, rule="free"), lambda *_: "any number of bundles (rule free)")
        )
    return found


def _least_latency(problem: Problem, time_limit_s: float) -> str | None:
    least = exact.least(problem, problem.latency, time_limit_s)
    return None if least is None else f"latency {_ceil(least / PER_S)} s"


def _least_energy(problem: Problem, time_limit_s: float) -> str | None:
    least = exact.least(problem, problem.energy, time_limit_s)
    return None if least is None else f"energy {_ceil(least / PER_J)} J"


def _ceil(value: float) -> str:
    """Six digits, rounded up, so that the printed value itself is possible."""
    digits = f"{value:.6g}"
    if float(digits) < value:
        digits = f"{value * (1 + 5e-6):.6g}"
    return digits


def _fewer_private(problem: Problem) -> Callable[[Problem, float], str | None]:
    def nearest(without: Problem, time_limit_s: float) -> str | None:
        for count in range(int(problem.private.sum()) - 1, 0, -1):
            kept = tuple(np.array(problem.layers)[problem.private][:count].tolist())
            if exact.possible(without.with_limits(replace(without.limits, private_layers=kept)), time_limit_s):
                return f"only {', '.join(kept)} on {problem.devices[0].name}"
        return f"none of them bound to {problem.devices[0].name}"

    return nearest


def _larger_bundle(problem: Problem) -> Callable[[Problem, float], str | None]:
    def nearest(without: Problem, time_limit_s: float) -> str | None:
        for size in range((problem.limits.max_bundle or 0) + 1, problem.max_layers + 1):
            if exact.possible(without.with_limits(replace(without.limits, max_bundle=size)), time_limit_s):
                return f"bundles of {size} layers"
        return None

    return nearest


def _frequencies(name: str, allowed: list[int]) -> _Limit:
    def without(old: Limits) -> Limits:
        return replace(old, frequencies_hz={key: value for key, value in old.frequencies_hz.items() if key != name})

    text = f"{name} at {', '.join(map(str, allowed)) or 'no frequency'}{' Hz' if allowed else ''}"
    return _Limit(text, without, lambda *_: f"{name} at any frequency")


def _memory(problem: Problem, device: int, most: int) -> _Limit:
    name = problem.devices[device].name

    def without(old: Limits) -> Limits:
        return replace(old, memory_bytes={key: value for key, value in old.memory_bytes.items() if key != name})

    def nearest(relaxed: Problem, time_limit_s: float) -> str | None:
        least = exact.least(relaxed, replace(problem.memory[device], most=None), time_limit_s)
        return None if least is None else f"{least} bytes on {name}"

    return _Limit(f"{most} bytes on {name}", without, nearest)
