"""Plans for limits that single runs keep with a given probability.

Where single runs end is told by the runs (``single_runs``): with probability p a plan's total stays below m + sqrt(v).
m is the mean with what a whole pass may be off, v the square of how far the rest may take a run; both add up along a
plan, their combination does not. Transfers vary where their link was measured (``crossing_tails``). Two exact ways to
the plan whose goal, which stays one of the means that plans are compared by, is best:

One limit: a branch and bound over s = sqrt(v). Between s1 and s2 the chord (v + s1 s2) / (s1 + s2) lies below sqrt(v),
so m + (v + s1 s2) / (s1 + s2) <= L keeps every plan of that range that the limit allows, and is a limit on a plain sum:
one problem for the solver. Outside of the range the chord lies above. If the best plan of a range breaks the limit, its
s lies inside, and the range is split there; both new chords touch the curve at that point and so exclude it. The first
plan to come up, best goal first, that keeps the limit is the answer.

Two limits: the best plan within one of them, if it keeps the other; else all plans that are not dominated in goal, m
and v, by label setting.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from heapq import heappop, heappush
from statistics import NormalDist
from time import monotonic

import numpy as np

from dime.contract.errors import InfeasibleError, InputError, OutOfTimeError
from dime.host.analysis.resampling import Choices, check_profiles, unknown_link
from dime.host.common import stats, student
from dime.host.common.stats import Floats, Ints
from dime.host.planning.certificate import Certificate
from dime.host.planning.cost import add_up, walk
from dime.host.planning.evaluation import evaluate, value
from dime.host.planning.plan import Plan, describe
from dime.host.planning.problem import PER_S, Choice, Problem, bundle_bounds, integer
from dime.host.planning.quantity import Quantity
from dime.host.profiles.profiles import Profile
from dime.host.profiles.published import averaged
from dime.host.profiles.single_runs import SingleRuns
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
        mean: Mean of the plan's total, over all runs.
        sd: Standard deviation of single runs.
        bound: What the total stays below with the probability asked for.
        share: The largest probability with which the limit can be said to hold.
        drawn_share: Share of plans made of the profiles' single runs, drawn at random, that keep it.
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
                f"    {held.name} <= {held.limit:g} {held.unit} holds for {held.share:.2%} of single runs, for"
                f" {held.drawn_share:.2%} of those drawn from the profiles; {self.confidence:.4g} of runs take at most"
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
        InputError: There is no such limit, the goal is throughput, the probability is outside of 0.5..1, or the runs
            do not tell where single ones end.
        InfeasibleError: No plan keeps a limit with that probability; the message says what is possible.
    """
    if not 0.5 <= confidence < 1:
        raise InputError(f"a confidence must be a probability from 0.5 to below 1, not {confidence:g}")
    if problem.goal.is_pipeline:
        raise InputError("a limit that holds with a probability is for the goals latency, energy and weighted")
    limits = _limits(problem)
    if not limits:
        raise InputError("a confidence needs a limit that is to hold with it: give one on latency or energy")
    runs = single_runs(problem, profiles, list(limits))
    model = _Model(problem, *tails(problem, runs, confidence), monotonic() + time_limit_s, confidence)
    best = model.within_one(*limits.popitem()) if len(limits) == 1 else model.within_all(limits)
    limits = _limits(problem)
    if best is None:
        raise InfeasibleError(_explain(model, confidence, limits))
    held = []
    for name, limit in limits.items():
        mean, spread = _mean_and_spread(problem, best, name, runs[name])
        shown, bound = float((draw(problem, best, name, runs[name]) <= limit).mean()), model.bound(name, best)
        held.append(Held(name, limit, mean, spread, bound, _share(problem, best, name, runs, limit), shown))
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


def single_runs(
    problem: Problem, profiles: Sequence[Profile], names: Sequence[str]
) -> dict[str, list[SingleRuns | None]]:
    """What the profiles' runs say of single ones, for each of ``latency`` and ``energy`` that is asked for.

    Returns:
        For each name one entry a device; None where it has no energy.

    Raises:
        InputError: The profiles are not the problem's, or nothing can be said.
    """
    check_profiles(problem, profiles)
    used = averaged(profiles, problem.arithmetic)
    return {
        name: [
            None if name == "energy" and not device.has_energy else SingleRuns.of(profile, name)
            for profile, device in zip(used, problem.devices, strict=True)
        ]
        for name in names
    }


def tails(
    problem: Problem, runs: Mapping[str, Sequence[SingleRuns | None]], probability: float
) -> tuple[dict[str, list[Ints]], dict[str, list[Floats]]]:
    """The two addends, of every cell, of where single runs end: means with what passes share, and squares of the rest.

    Returns:
        For each name: for each device (bundles, frequencies), ps or pJ, and s^2 or J^2.

    Raises:
        InputError: There are too few runs for that probability.
    """
    means: dict[str, list[Ints]] = {}
    squares: dict[str, list[Floats]] = {}
    for name, of_devices in runs.items():
        upper = [None if one is None else one.mean + one.together(probability) for one in of_devices]
        rest = [None if one is None else one.alone(probability) for one in of_devices]
        means[name] = [np.rint(grid * PER_S).astype(np.int64) for grid in _grids(problem, of_devices, upper)]
        squares[name] = _grids(problem, of_devices, rest)
    return means, squares


def crossing_tails(problem: Problem, probability: float) -> tuple[Ints, Floats]:
    """The two addends of where crossings of measured links end: what their passes leave open, ps, and squares, s^2.

    Single transfers are taken to end as late as those of an exponential, a normal or a uniform distribution of their
    spread, whichever ends last: how delays on a link are distributed is not known, and they may have a long tail.

    Raises:
        InputError: A link was measured in one pass.
    """
    open_ps = np.zeros(problem.crossing_ps.shape, np.int64)
    trips = problem.acting.connect_trips
    for (weaker, other), link in problem.joined.items():
        if link is None or not link.passes:
            continue
        count = len(link.passes)
        if count < 2:
            raise InputError(f"no limit holds with a probability: {unknown_link(problem)}")
        times = student.quantile(probability, count - 1) / math.sqrt(count)
        for boundary, size in enumerate(problem.sizes_bytes):
            for upload, source, target in ((True, weaker, other), (False, other, weaker)):
                error_s = times * float(link.passes_s(size, upload, trips).std(ddof=1))
                open_ps[boundary, source, target] = round(error_s * PER_S)
    spreads = crossing_spreads(problem)
    varies = spreads > 0
    spreads[varies] *= late(probability)
    return open_ps, spreads**2


def crossing_spreads(problem: Problem) -> Floats:
    """Standard deviation of each crossing from one run to another, s; 0 where its link was not measured."""
    spreads = np.zeros(problem.crossing_ps.shape)
    for (weaker, other), link in problem.joined.items():
        for boundary, size in enumerate(problem.sizes_bytes if link is not None else ()):
            for upload, source, target in ((True, weaker, other), (False, other, weaker)):
                assert link is not None
                spreads[boundary, source, target] = link.deviation_s(size, upload, problem.acting.connect_trips)
    return spreads


def late(probability: float) -> float:
    """How many spreads a transfer may be late with a probability."""
    if probability >= 1:
        return math.inf
    return max(-math.log(1 - probability) - 1, NormalDist().inv_cdf(probability), math.sqrt(3) * (2 * probability - 1))


def _grids(problem: Problem, runs: Sequence[SingleRuns | None], cells: Sequence[Floats | None]) -> list[Floats]:
    """Values of profiles' cells in the places of the problem's; 0 elsewhere."""
    first, last = bundle_bounds(len(problem.layers), problem.max_layers)
    grids = []
    for device, single, values in zip(problem.devices, runs, cells, strict=True):
        grid = np.zeros(device.latency_ps.shape)
        if single is not None and values is not None:
            grid[last - first < single.profile.max_layers] = values.reshape(-1, len(device.frequencies_hz))
        grids.append(grid)
    return grids


def _mean_and_spread(
    problem: Problem, choices: Choices, name: str, runs: Sequence[SingleRuns | None]
) -> tuple[float, float]:
    """Mean and standard deviation of a plan's single runs."""
    parts = walk(problem, choices)
    still = np.zeros(problem.crossing_ps.shape)
    vary = crossing_spreads(problem) ** 2 if name == "latency" else still
    means = _grids(problem, runs, [None if one is None else one.mean for one in runs])
    with_terms = _with_terms(problem, name, [np.rint(mean * PER_S).astype(np.int64) for mean in means])
    sums = []
    for values, moved in (
        ([None if one is None else one.spread**2 for one in runs], vary),
        ([None if one is None else one.shared for one in runs], still),
    ):
        sums.append(float(add_up(parts, Quantity(name, "", _grids(problem, runs, values), moved)).total))
    return add_up(parts, with_terms).total / PER_S, math.hypot(math.sqrt(sums[0]), sums[1])


def _with_terms(problem: Problem, name: str, of_devices: Sequence[Ints]) -> Quantity:
    """Latency or energy, where bundles alone cost what is given, with all terms; times that cost energy are means."""
    latencies = [device.latency_ps for device in problem.devices]
    if name == "latency":
        return problem.quantities(of_devices, [device.energy_pj for device in problem.devices])[0]
    counted = [
        cost if device.has_energy else np.zeros_like(cost)
        for cost, device in zip(of_devices, problem.devices, strict=True)
    ]
    return problem.quantities(latencies, counted)[1]


def _share(
    problem: Problem, choices: Choices, name: str, runs: Mapping[str, Sequence[SingleRuns | None]], limit: float
) -> float:
    """The largest probability, to 1e-4 of what is left to 1, with which a limit can be said to hold."""
    low, high = 0.5, 1.0
    for _ in range(40):
        middle = (low + high) / 2
        try:
            keeps = (
                _Model(problem, *tails(problem, {name: runs[name]}, middle), 0.0, middle).bound(name, choices) <= limit
            )
        except InputError:
            keeps = False
        low, high = (middle, high) if keeps else (low, middle)
    return low


def draw(
    problem: Problem,
    choices: Choices,
    name: str,
    runs: Sequence[SingleRuns | None],
    draws: int = DRAWS,
    seed: int = stats.SEED,
) -> Floats:
    """Totals (s or J) of a plan whose steps each take one of their single runs at random."""
    generator = np.random.default_rng(seed)
    drawn: dict[Choice, Floats] = {}
    for choice in choices:
        single = runs[choice.device]
        drawn[choice] = np.zeros(draws)
        if single is not None and (name == "latency" or problem.devices[choice.device].has_energy):
            profile = single.profile
            cell = profile.bundles.index(choice.bundle) * len(profile.frequencies_hz)
            cell += profile.frequencies_hz.index(choice.frequency_hz)
            drawn[choice] = single.sample[generator.integers(profile.starts[cell], profile.starts[cell + 1], draws)]
    parts = walk(problem, choices)
    own, alone = problem.true_costs[name == "energy"], ("latency_ps", "energy_pj")[name == "energy"]
    for part in parts:
        if part.choice is not None:  # a bundle's draws are of it alone, its terms come on top
            place = part.row, part.column
            priced = own.of_devices[part.source][(part.context, *place) if own.contextual else place]
            drawn[part.choice] += (int(priced) - int(getattr(problem.devices[part.source], alone)[place])) / PER_S
    totals: Floats = add_up(parts, replace(own, crossing=own.crossing / PER_S), drawn).total
    if name == "latency":
        spread_s = crossing_spreads(problem)
        for part in parts:
            if part.choice is None and spread_s[part.row, part.source, part.target] > 0:
                off = generator.exponential(size=draws) - 1
                totals = totals + off * spread_s[part.row, part.source, part.target]
    return totals


def _limits(problem: Problem) -> dict[str, float]:
    limits = {"latency": problem.limits.latency_s, "energy": problem.limits.energy_j}
    return {name: limit for name, limit in limits.items() if limit is not None}


@dataclass(frozen=True, eq=False)
class _Model:
    """Where single runs end: a mean and the root of a sum of squares.

    Attributes:
        problem: The problem.
        means: Of every cell, as ``tails`` gives them.
        squares: The squares.
        deadline: ``time.monotonic()`` after which to give up.
        probability: That with which runs end there.
    """

    problem: Problem
    means: dict[str, list[Ints]]
    squares: dict[str, list[Floats]]
    deadline: float
    probability: float

    @cached_property
    def crossings(self) -> tuple[Ints, Floats]:
        """The same two addends of crossings' latencies: what a link's passes leave open (ps), and squares (s^2)."""
        return crossing_tails(self.problem, self.probability)

    def total(self, name: str, choices: Sequence[Choice]) -> tuple[float, float]:
        """A plan's two addends, of its latency (s and s^2) or energy (J and J^2)."""
        parts = walk(self.problem, choices)
        return add_up(parts, self._mean(name)).total / PER_S, float(add_up(parts, self._spread(name)).total)

    def bound(self, name: str, choices: Sequence[Choice]) -> float:
        """What the total stays below with the probability asked for."""
        mean, variance = self.total(name, choices)
        return mean + math.sqrt(variance)

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

        branch(0.0, limit)
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
        slope = 1 / (low + high) if high else 0.0
        most = math.ceil((limit - slope * low * high) * PER_S)
        if most < 0:
            return None
        mean = self._mean(name)
        chords = [
            costs + np.floor(slope * spread * PER_S).astype(np.int64)  # in every context
            for costs, spread in zip(mean.of_devices, self.squares[name], strict=True)
        ]
        (goal,), _ = of_goal(self.problem, (self.problem.latency, self.problem.energy))
        sent = mean.crossing + np.floor(slope * self._spread(name).crossing * PER_S).astype(np.int64)
        relaxed = as_problem(self.problem, replace(mean, of_devices=chords, crossing=sent), goal, "energy", most)
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
        return self._means[name]

    @cached_property
    def _means(self) -> dict[str, Quantity]:
        return {name: self._priced(name) for name in self.means}

    def _priced(self, name: str) -> Quantity:
        own = _with_terms(self.problem, name, self.means[name])
        more = self.crossings[0] if name == "latency" else 0
        return replace(own, name=f"mean {name}", crossing=own.crossing + more, most=None)

    def _spread(self, name: str) -> Quantity:
        """Variances, s^2 or J^2."""
        unit = "s^2" if name == "latency" else "J^2"
        crossing = self.crossings[1] if name == "latency" else np.zeros(self.problem.crossing_ps.shape)
        return Quantity(f"rest of {name}", unit, self.squares[name], crossing)

    def _variance(self, name: str) -> Quantity:
        """Variances as integers, rounded up, in a unit so small that no plan's sum overflows."""
        greatest = np.zeros(len(self.problem.layers))
        for spread in self.squares[name]:
            np.maximum.at(greatest, self.problem.bounds[1], spread.max(axis=1))
        own = self._spread(name)
        unit = (greatest.sum() + own.crossing.reshape(len(own.crossing), -1).max(axis=1).sum()) / LARGEST or 1.0
        scaled = [np.ceil(spread / unit).astype(np.int64) for spread in self.squares[name]]
        return replace(own, of_devices=scaled, crossing=np.ceil(own.crossing / unit).astype(np.int64))

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
