"""Plans for limits that hold with a given probability.

The model: the runs of a bundle are normal, with the mean (not trimmed) and the variance of the raw runs, and
independent from bundle to bundle; transfers do not vary. A plan's total is then normal too, with mean m and variance v,
and a limit L holds with probability p if m + z(p) sqrt(v) <= L. m and v add up along a plan, their combination does
not. Two exact ways to the plan whose goal, which stays one of trimmed means, is best:

One limit: a branch and bound over the standard deviation s = sqrt(v). Between s1 and s2 the chord
(v + s1 s2) / (s1 + s2) lies below sqrt(v), so m + z (v + s1 s2) / (s1 + s2) <= L keeps every plan of that range that
the limit allows, and is a limit on a plain sum: one problem for the solver. Outside of the range the chord lies above.
If the best plan of a range breaks the limit, its s lies inside, and the range is split there; both new chords touch
the curve at that point and so exclude it. The first plan to come up, best goal first, that keeps the limit is the
answer.

Two limits: the best plan within one of them, if it keeps the other; else all plans that are not dominated in goal,
means and variances, by label setting: for p >= 1/2 less of each never hurts.

Raw runs drawn at random say how well the model holds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from heapq import heappop, heappush
from statistics import NormalDist
from time import monotonic

import numpy as np

from dime.contract.bundles import spell
from dime.contract.errors import InfeasibleError, InputError, OutOfTimeError
from dime.host.analysis.resampling import Choices, check_profiles
from dime.host.common import stats
from dime.host.common.stats import Floats, Ints
from dime.host.planning.certificate import Certificate
from dime.host.planning.cost import add_up, walk
from dime.host.planning.evaluation import evaluate, value
from dime.host.planning.plan import Plan, describe
from dime.host.planning.problem import PER_J, PER_S, Choice, Problem, bundle_bounds, integer
from dime.host.planning.quantity import Quantity
from dime.host.profiles.profiles import Profile
from dime.host.profiles.published import averaged
from dime.host.search.quantities import as_problem, of_goal, undominated
from dime.host.search.solvers import TIME_LIMIT_S, exact

DRAWS = 20_000
LARGEST = float(2**60)


@dataclass(frozen=True)
class Held:
    """How a limit holds for single runs.

    Attributes:
        name: ``latency`` or ``energy``.
        limit: The limit, s or J.
        mean: Mean of the plan's total, over all raw runs.
        sd: Standard deviation of it.
        bound: What the total stays below with the probability asked for.
        share: Probability that the limit holds, by the model.
        drawn_share: Share of plans made of raw runs drawn at random that keep it.
    """

    name: str
    limit: float
    mean: float
    sd: float
    bound: float
    share: float
    drawn_share: float

    @property
    def unit(self) -> str:
        """The unit of limit, mean, sd and bound."""
        return "s" if self.name == "latency" else "J"


@dataclass(frozen=True)
class ConfidentPlan:
    """The best plan whose limits hold with a probability.

    Attributes:
        choices: Its steps.
        plan: The same, readable; its costs are trimmed means.
        confidence: The probability asked for, of each limit by itself.
        limits: How each limit holds.
    """

    choices: tuple[Choice, ...]
    plan: Plan
    confidence: float
    limits: tuple[Held, ...]

    def __str__(self) -> str:
        lines = [str(self.plan)]
        for held in self.limits:
            lines.append(
                f"    {held.name} <= {held.limit:g} {held.unit} holds for {held.share:.2%} of runs by the model, for"
                f" {held.drawn_share:.2%} of raw runs drawn at random; {self.confidence:.4g} of runs take at most"
                f" {held.bound:.6g} {held.unit}"
            )
        return "\n".join(lines)


def plan_with_confidence(
    problem: Problem, profiles: Sequence[Profile], confidence: float, time_limit_s: float = TIME_LIMIT_S
) -> ConfidentPlan:
    """Finds the best plan, by mean, whose limits on latency and energy hold with a probability.

    Args:
        problem: The problem, with at least one limit on latency or energy.
        profiles: The profiles it was built from, in the same order.
        confidence: The probability, for each limit by itself, in 0.5..1.
        time_limit_s: Longest time.

    Returns:
        The plan, and how its limits hold.

    Raises:
        InputError: There is no such limit, the goal is throughput, the probability is outside of 0.5..1, a bundle has
            a single run, or the problem is too large.
        InfeasibleError: No plan keeps a limit with that probability; the message says what is possible.
    """
    if not 0.5 <= confidence < 1:
        raise InputError(f"a confidence must be a probability from 0.5 to below 1, not {confidence:g}")
    if problem.goal.is_pipeline:
        raise InputError("a limit that holds with a probability is for the goals latency, energy and weighted")
    limits = _limits(problem)
    if not limits:
        raise InputError("a confidence needs a limit that is to hold with it: give one on latency or energy")
    model = _Model(problem, *moments(problem, profiles), NormalDist().inv_cdf(confidence), monotonic() + time_limit_s)
    best = model.within_one(*limits.popitem()) if len(limits) == 1 else model.within_all(limits)
    limits = _limits(problem)
    if best is None:
        raise InfeasibleError(_explain(model, confidence, limits))
    totals = {name: model.total(name, best) for name in limits}
    drawn = dict(zip(("latency", "energy"), draw(problem, profiles, best), strict=True))
    held = []
    for name, limit in limits.items():
        mean, variance = totals[name]
        share = NormalDist(mean, variance**0.5).cdf(limit) if variance else float(mean <= limit)
        shown = float((drawn[name] <= limit).mean())
        held.append(Held(name, limit, mean, variance**0.5, model.bound(name, best), share, shown))
    certificate = Certificate("optimal", "exact", exact.version(), chance=confidence)
    return ConfidentPlan(best, describe(problem, best, certificate), confidence, tuple(held))


def parse(text: str) -> float:
    """Reads a probability as it is typed: ``95%`` or ``0.95``.

    Raises:
        InputError: It is not a number.
    """
    try:
        return float(text[:-1]) / 100 if text.endswith("%") else float(text)
    except ValueError:
        raise InputError(f"a confidence is typed as 95% or 0.95, not '{text}'") from None


def moments(problem: Problem, profiles: Sequence[Profile]) -> tuple[dict[str, list[Ints]], dict[str, list[Floats]]]:
    """Means (ps and pJ) and variances (s^2 and J^2) of the raw runs of every cell, not trimmed.

    Returns:
        For each of the two: ``latency`` and ``energy`` -> for each device (bundles, frequencies).

    Raises:
        InputError: The profiles are not the problem's, or a cell has a single run.
    """
    check_profiles(problem, profiles)
    profiles = averaged(profiles, problem.arithmetic)
    first, last = bundle_bounds(len(problem.layers), problem.max_layers)
    means: dict[str, list[Ints]] = {"latency": [], "energy": []}
    variances: dict[str, list[Floats]] = {"latency": [], "energy": []}
    for profile, device in zip(profiles, problem.devices, strict=True):
        counts = np.diff(profile.starts)
        if (counts < 2).any():
            at = int(np.flatnonzero(counts < 2)[0]) // len(profile.frequencies_hz)
            name = spell(profile.bundles[at], list(profile.layers))
            raise InputError(
                f"{profile.path}: bundle '{name}' has a single run; how it varies is not known: profile more"
            )
        profiled = last - first < profile.max_layers
        for name, runs in (("latency", profile.run_duration_s), ("energy", profile.run_energy_j)):
            mean, variance = np.zeros(device.latency_ps.shape), np.zeros(device.latency_ps.shape)
            if runs is not None and (name == "latency" or problem.has_energy):
                of_cell = np.add.reduceat(runs, profile.starts[:-1]) / counts
                squares = np.add.reduceat((runs - np.repeat(of_cell, counts)) ** 2, profile.starts[:-1])
                mean[profiled] = of_cell.reshape(-1, len(profile.frequencies_hz))
                variance[profiled] = (squares / (counts - 1)).reshape(-1, len(profile.frequencies_hz))
            means[name].append(np.rint(mean * PER_S).astype(np.int64))
            variances[name].append(variance)
    return means, variances


def draw(
    problem: Problem,
    profiles: Sequence[Profile],
    choices: Sequence[Choice],
    draws: int = DRAWS,
    seed: int = stats.SEED,
) -> tuple[Floats, Floats]:
    """Totals of a plan whose steps each take one of their raw runs at random: latency (s) and energy (J)."""
    generator = np.random.default_rng(seed)
    profiles = averaged(profiles, problem.arithmetic)
    latency: dict[Choice, Floats] = {}
    energy: dict[Choice, Floats] = {}
    for choice in choices:
        duration_s, energy_j = profiles[choice.device].runs(choice.bundle, choice.frequency_hz)
        at = generator.integers(0, len(duration_s), draws)
        latency[choice] = duration_s[at]
        energy[choice] = energy_j[at] if energy_j is not None and problem.has_energy else np.zeros(draws)
    parts = walk(problem, choices)
    seconds = replace(problem.latency, unit="s", crossing=problem.crossing_ps / PER_S)
    joules = replace(problem.energy, unit="J", crossing=problem.crossing_pj / PER_J)
    return add_up(parts, seconds, latency).total, add_up(parts, joules, energy).total


def _limits(problem: Problem) -> dict[str, float]:
    limits = {"latency": problem.limits.latency_s, "energy": problem.limits.energy_j}
    return {name: limit for name, limit in limits.items() if limit is not None}


@dataclass(frozen=True, eq=False)
class _Model:
    """Independent normal runs.

    Attributes:
        problem: The problem.
        means: Of every cell, as ``moments`` gives them.
        variances: The same.
        z: Quantile of the normal distribution.
        deadline: ``time.monotonic()`` after which to give up.
    """

    problem: Problem
    means: dict[str, list[Ints]]
    variances: dict[str, list[Floats]]
    z: float
    deadline: float

    def total(self, name: str, choices: Sequence[Choice]) -> tuple[float, float]:
        """Mean and variance of a plan's latency (s) or energy (J)."""
        parts = walk(self.problem, choices)
        return add_up(parts, self._mean(name)).total / PER_S, float(add_up(parts, self._spread(name)).total)

    def bound(self, name: str, choices: Sequence[Choice]) -> float:
        """What the total stays below with the probability asked for."""
        mean, variance = self.total(name, choices)
        return mean + self.z * math.sqrt(variance)

    def _keeps(self, choices: Sequence[Choice], limits: dict[str, float]) -> bool:
        """Whether the limits hold, to within a picosecond or picojoule a step, to which costs are rounded."""
        slack = (len(choices) + 1) / PER_S
        return all(self.bound(name, choices) <= limit + slack for name, limit in limits.items())

    def within_one(self, name: str, limit: float) -> Choices | None:
        """The best plan within one limit, by branch and bound."""
        waiting: list[tuple[int, float, float, Choices]] = []

        def branch(low: float, high: float) -> None:
            found = self._relaxed(name, limit, low, high)
            if found is not None:
                heappush(waiting, (found[0], low, high, found[1]))

        branch(0.0, limit / self.z if self.z else 0.0)
        while waiting:
            _, low, high, choices = heappop(waiting)
            if self._keeps(choices, {name: limit}):
                return choices
            spread = math.sqrt(self.total(name, choices)[1])
            branch(low, spread)
            branch(spread, high)
        return None

    def _relaxed(self, name: str, limit: float, low: float, high: float) -> tuple[int, Choices] | None:
        """The best plan under the chord's limit, with the goal's value as an integer."""
        slope = self.z / (low + high) if high else 0.0
        most = math.ceil((limit - slope * low * high) * PER_S)
        if most < 0:
            return None
        mean = self._mean(name)
        chords = [
            costs + np.floor(slope * spread * PER_S).astype(np.int64)
            for costs, spread in zip(mean.of_devices, self.variances[name], strict=True)
        ]
        (goal,), _ = of_goal(self.problem, (self.problem.latency, self.problem.energy))
        relaxed = as_problem(self.problem, replace(mean, of_devices=chords), goal, "energy", most)
        choices = exact.solve(relaxed, self._time_left(), 0.0).choices
        return None if choices is None else (evaluate(relaxed, choices).energy_pj, choices)

    def within_all(self, limits: dict[str, float]) -> Choices | None:
        """The best plan within both limits."""
        for name, limit in limits.items():
            alone = self.within_one(name, limit)
            if alone is None or self._keeps(alone, limits):
                return alone
        quantities, _ = of_goal(self.problem, (self.problem.latency, self.problem.energy))
        for name, limit in limits.items():
            quantities += [replace(self._mean(name), most=integer(limit, PER_S)), self._variance(name)]
        kept = [
            choices
            for _, choices in undominated(self.problem, quantities, self._time_left())
            if self._keeps(choices, limits)
        ]
        return min(kept, key=lambda choices: value(self.problem, evaluate(self.problem, choices)), default=None)

    def least(self, name: str) -> float | None:
        """The least limit that some plan keeps with the probability asked for."""
        both = exact.trade_offs(
            as_problem(self.problem, self._mean(name), self._variance(name), "latency"), self._time_left()
        )
        return min((self.bound(name, both.choices(at)) for at in range(len(both.time_ps))), default=None)

    def _mean(self, name: str) -> Quantity:
        own = self.problem.latency if name == "latency" else self.problem.energy
        return replace(own, name=f"mean {name}", of_devices=self.means[name], most=None)

    def _spread(self, name: str) -> Quantity:
        """Variances, s^2 or J^2."""
        unit = "s^2" if name == "latency" else "J^2"
        still = np.zeros(self.problem.crossing_ps.shape)
        return Quantity(f"variance of {name}", unit, self.variances[name], still)

    def _variance(self, name: str) -> Quantity:
        """Variances as integers, rounded up, in a unit so small that no plan's sum overflows."""
        greatest = np.zeros(len(self.problem.layers))
        for spread in self.variances[name]:
            np.maximum.at(greatest, self.problem.bounds[1], spread.max(axis=1))
        unit = greatest.sum() / LARGEST or 1.0
        scaled = [np.ceil(spread / unit).astype(np.int64) for spread in self.variances[name]]
        return replace(self._spread(name), of_devices=scaled, crossing=np.zeros_like(self.problem.crossing_ps))

    def _time_left(self) -> float:
        left = self.deadline - monotonic()
        if left <= 0:
            raise OutOfTimeError("the search for a plan that holds with a probability took too long; give it more time")
        return left


def _explain(model: _Model, confidence: float, limits: dict[str, float]) -> str:
    units = {"latency": "s", "energy": "J"}
    least = {name: model.least(name) for name in limits}
    if None in least.values():
        return "no plan keeps the other limits, whatever latency and energy may be"
    asked = " and ".join(f"{name} <= {limit:g} {units[name]}" for name, limit in limits.items())
    possible = ", ".join(f"{name} {(most or 0.0) * (1 + 5e-6):.6g} {units[name]}" for name, most in least.items())
    alone = ", each by itself" if len(limits) > 1 else ""
    return f"no plan keeps {asked} with probability {confidence:g}; the least with it is {possible}{alone}"
