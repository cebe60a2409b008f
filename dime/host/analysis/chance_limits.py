"""Plans for limits that single runs keep with a given probability.

Where single runs end is told by the runs (``single_runs``): with probability p a plan's total stays below m + sqrt(v).
m is the mean with what a whole pass may be off, v the square of how far the rest may take a run; both add up along a
plan, their combination does not. Transfers vary where their link was measured (``crossing_tails``), copies and
encodings as they were timed, and joules of what waits with the time that it waits for. Two exact ways to the plan whose
goal, which stays one of the means that plans are compared by, is best:

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
from dime.host.analysis.resampling import Choices, check_profiles, of_devices, of_term, unknown_link
from dime.host.common import stats, student
from dime.host.common.stats import Floats, Ints
from dime.host.planning.certificate import Certificate
from dime.host.planning.cost import Part, add_up, walk
from dime.host.planning.evaluation import evaluate, value
from dime.host.planning.plan import Plan, describe
from dime.host.planning.problem import PER_S, Choice, Problem, bundle_bounds, integer
from dime.host.planning.quantity import Quantity
from dime.host.planning.terms import ENCODING, Terms
from dime.host.profiles.handovers import FIRST, LAST, Handover, OfDevice
from dime.host.profiles.profiles import Profile
from dime.host.profiles.published import averaged
from dime.host.profiles.scatter import Scatter
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
    known = _Known.of(problem, profiles, list(limits))
    model = _Model(problem, *known.tails(list(limits), confidence), monotonic() + time_limit_s)
    best = model.within_one(*limits.popitem()) if len(limits) == 1 else model.within_all(limits)
    limits = _limits(problem)
    if best is None:
        raise InfeasibleError(_explain(model, confidence, limits))
    held = []
    for name, limit in limits.items():
        mean, spread = known.mean_and_spread(best, name)
        shown, bound = float((known.draw(best, name) <= limit).mean()), model.bound(name, best)
        held.append(Held(name, limit, mean, spread, bound, known.share(best, name, limit), shown))
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


def crossing_tails(problem: Problem, probability: float) -> tuple[Ints, Floats]:
    """Where crossings of measured links end: what their passes leave open, ps, and how late a single one may be, s.

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
    return open_ps, spreads


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


@dataclass(frozen=True, eq=False)
class _Known:
    """What is known of single runs of a problem's parts.

    Attributes:
        problem: The problem.
        runs: For each of ``latency`` and ``energy`` that counts what each device's runs say; None for one without
            energy.
        handovers: For each device what is known of its copies and encodings.
        idle_error_w: For each device how far its power at rest may be off, by frequency: its standard error, with the
            meter's gain.
    """

    problem: Problem
    runs: Mapping[str, Sequence[SingleRuns | None]]
    handovers: Sequence[OfDevice]
    idle_error_w: Sequence[Floats | None]

    @classmethod
    def of(cls, problem: Problem, profiles: Sequence[Profile], names: Sequence[str]) -> _Known:
        """Looks at the profiles.

        Args:
            problem: The problem.
            profiles: Those that it was built from, in the same order.
            names: What is limited: ``latency``, ``energy``.

        Raises:
            InputError: The profiles are not the problem's, or nothing can be said.
        """
        check_profiles(problem, profiles)
        used = averaged(profiles, problem.arithmetic)
        acting = problem.acting
        waits = "energy" in names and bool(acting.waiting_w or acting.radios)
        runs: dict[str, list[SingleRuns | None]] = {}
        for name in names:
            runs[name] = [
                None if name == "energy" and not device.has_energy else SingleRuns.of(profile, name)
                for profile, device in zip(used, problem.devices, strict=True)
            ]
        if waits and "latency" not in runs:  # who waits takes joules for all of a run's time
            runs["latency"] = [SingleRuns.of(profile, "latency", "energy") for profile in used]
        errors: list[Floats | None] = []
        for at, profile in enumerate(used):
            watts = acting.waiting_w.get(at)
            gain = (profile.gain.error if profile.gain and not profile.energy_model else None) or 0.0
            known = np.nan_to_num(np.array(profile.idle_w_sd if profile.idle_w_sd is not None else (0.0,)))
            errors.append(None if watts is None else np.hypot(known, gain * np.array(watts)))
        scatters = tuple(map(Scatter.of, used))
        return cls(problem, runs, of_devices(problem, used, scatters), errors)

    def tails(self, names: Sequence[str], probability: float) -> tuple[dict[str, Quantity], dict[str, Quantity]]:
        """The two addends of where single runs end: means with what passes share, and squares of the rest.

        Returns:
            For each name both: in ps or pJ, and in s^2 or J^2.

        Raises:
            InputError: There are too few runs for that probability, or a link was measured in one pass.
        """
        upper = {
            name: self._grids([None if one is None else one.mean + one.together(probability) for one in its])
            for name, its in self.runs.items()
        }
        rest = {
            name: self._grids([None if one is None else np.sqrt(one.alone(probability)) for one in its])
            for name, its in self.runs.items()
        }
        open_ps, way_s = crossing_tails(self.problem, probability)
        acting = self._acting(probability)
        means, squares = {}, {}
        for name in names:
            means[name] = self._priced(name, upper, acting, open_ps)
            squares[name] = self._spread(name, rest, acting, way_s, late(probability))
        return means, squares

    def mean_and_spread(self, choices: Choices, name: str) -> tuple[float, float]:
        """Mean and standard deviation of a plan's single runs."""
        parts = walk(self.problem, choices)
        means, own, shared = (
            {
                which: self._grids([None if one is None else getattr(one, attribute) for one in its])
                for which, its in self.runs.items()
            }
            for attribute in ("mean", "spread", "shared")
        )
        acting, still = self._acting(None), np.zeros(self.problem.crossing_ps.shape)
        nothing = np.zeros_like(self.problem.crossing_ps)
        mean = add_up(parts, self._priced(name, means, acting, nothing)).total / PER_S
        alone = add_up(parts, self._spread(name, own, acting, crossing_spreads(self.problem), 1.0)).total
        together = add_up(parts, self._mixed(name, shared, acting, still)).total
        return mean, math.hypot(math.sqrt(float(alone)), float(together))

    def share(self, choices: Choices, name: str, limit: float) -> float:
        """The largest probability, to 1e-4 of what is left to 1, with which a limit can be said to hold."""
        low, high = 0.5, 1.0
        for _ in range(40):
            middle = (low + high) / 2
            try:
                keeps = _Model(self.problem, *self.tails([name], middle), 0.0).bound(name, choices) <= limit
            except InputError:
                keeps = False
            low, high = (middle, high) if keeps else (low, middle)
        return low

    def draw(self, choices: Choices, name: str, draws: int = DRAWS, seed: int = stats.SEED) -> Floats:
        """Totals (s or J) of a plan whose steps each take one of their single runs at random."""
        problem, generator = self.problem, np.random.default_rng(seed)
        parts, acting = walk(problem, choices), self._acting(None)
        own = self._priced(name, {which: self._grids([None] * len(its)) for which, its in self.runs.items()}, acting)
        spread_s = crossing_spreads(problem)
        total: Floats = np.zeros(draws)
        for part in parts:
            place = (part.row, part.source, part.target) if part.choice is None else (part.row, part.column)
            table = own.crossing if part.choice is None else own.of_devices[part.source]
            total += int(table[(part.context, *place) if own.contextual else place]) / PER_S
            watts = 1.0 if name == "latency" else self._waits_w(part, acting)
            if part.choice is None:
                late_s = spread_s[part.row, part.source, part.target]
                if late_s > 0:
                    total += watts * late_s * (generator.exponential(size=draws) - 1)
                continue
            its = [(1.0, self.runs[name][part.source])]
            if name == "energy" and "latency" in self.runs:
                its.append((watts, self.runs["latency"][part.source]))
            at: Ints | None = None
            for factor, single in its:
                if single is None:
                    continue
                profile = single.profile
                cell = profile.bundles.index(part.choice.bundle) * len(profile.frequencies_hz) + part.column
                if at is None:  # joules and time of the same run
                    at = generator.integers(profile.starts[cell], profile.starts[cell + 1], draws)
                total += factor * single.sample[at]
        return total

    def _grids(self, cells: Sequence[Floats | None]) -> list[Floats]:
        """Values of profiles' cells in the places of the problem's; 0 elsewhere."""
        problem = self.problem
        first, last = bundle_bounds(len(problem.layers), problem.max_layers)
        grids = []
        for device, values in zip(problem.devices, cells, strict=True):
            grid = np.zeros(device.latency_ps.shape)
            if values is not None:
                grid[last - first < (device.max_layers or problem.max_layers)] = values.reshape(
                    -1, len(device.frequencies_hz)
                )
            grids.append(grid)
        return grids

    def _acting(self, probability: float | None) -> Terms:
        """The terms by mean times, at the upper end of what is open about them; None: as measured."""
        problem = self.problem
        own = replace(problem.terms, beyond_ps=())
        ends: dict[str, dict[str, tuple[Ints | None, ...]]] = {}
        for way, of_terms in ((FIRST, own.first_ps), (LAST, own.last_ps)):
            ends[way] = {
                term: tuple(
                    None if table is None else _at_the_end(table, of_term(its, term).get(way, ()), probability)
                    for table, its in zip(of_each, self.handovers, strict=True)
                )
                for term, of_each in of_terms.items()
            }
        input_ps = own.input_ps
        if input_ps is not None and self.handovers[0].of_input:
            input_ps = _at_the_end(np.array([input_ps]), self.handovers[0].of_input, probability)[0]
        idle_w = list(own.idle_w)
        for at, error in enumerate(self.idle_error_w):
            watts = own.idle_w[at] if at < len(idle_w) else None
            if error is not None and watts is not None and probability is not None:
                idle_w[at] = tuple((np.array(watts) + NormalDist().inv_cdf(probability) * error).tolist())
        waited_ps = tuple(
            None if table is None else _at_the_end(table, its.longer, probability)
            for table, its in zip(own.waited_ps, self.handovers, strict=bool(own.waited_ps))
        )
        raised = replace(
            own,
            first_ps=ends[FIRST],
            last_ps=ends[LAST],
            input_ps=input_ps,
            idle_w=tuple(idle_w),
            waited_ps=waited_ps,
        )
        return raised.with_input(problem.crossing_ps.shape, problem.edge_columns)

    def _priced(
        self, name: str, grids: Mapping[str, Sequence[Floats]], acting: Terms, open_ps: Ints | int = 0
    ) -> Quantity:
        """Latency or energy, where bundles alone cost what is given, with all terms."""
        problem = self.problem
        costs = {which: [np.rint(grid * PER_S).astype(np.int64) for grid in its] for which, its in grids.items()}
        times = costs.get("latency", [device.latency_ps for device in problem.devices])
        joules = costs.get("energy", [device.energy_pj for device in problem.devices])
        linked = np.where(problem.crossing_ps < 0, problem.crossing_ps, problem.crossing_ps + open_ps)
        found = problem.quantities(times, joules, linked, acting)[name == "energy"]
        if name == "energy":
            found = replace(found, crossing=found.crossing + np.rint(self._radio_w * open_ps).astype(np.int64))
        return replace(found, name=f"mean {name}", most=None)

    @cached_property
    def _radio_w(self) -> Floats:
        """Power of the radio that a transfer holds longer where its link is slower, (devices, devices)."""
        problem = self.problem
        found = np.zeros(problem.crossing_ps.shape[1:])
        for (weaker, other), link in problem.joined.items():
            if link is not None and (not problem.acting.counted or problem.acting.counted[weaker]):
                found[weaker, other] = found[other, weaker] = link.radio_w or 0.0
        return found

    def _waits_w(self, part: Part, acting: Terms) -> float:
        """Power of all that waits, or stays up, during a part of a plan; of a transfer with the radio's own."""
        states = self.problem.states
        if part.choice is not None:
            return acting.bundle_w(part.source, states.bundles[part.source][part.context])
        context = states.crossings[part.context]
        radio_w = float(self._radio_w[part.source, part.target])
        return acting.waits_w(context.left_at, None) + acting.tails_w(context.up, context.radio) + radio_w

    def _mixed(self, name: str, grids: Mapping[str, Sequence[Floats]], acting: Terms, way_s: Floats) -> Quantity:
        """What parts alone may be off: of energies with the joules of who waits meanwhile, in every context."""
        problem, states = self.problem, self.problem.states
        times = grids.get("latency", [np.zeros(device.latency_ps.shape) for device in problem.devices])
        of_devices = []
        for device, contexts in enumerate(states.bundles):
            several = [
                times[device]
                if name == "latency"
                else grids[name][device] + acting.bundle_w(device, context) * times[device]
                for context in contexts
            ]
            of_devices.append(several[0] if states.is_single else np.stack(several))
        ways = []
        for crossing in states.crossings:
            watts = acting.waits_w(crossing.left_at, None) + acting.tails_w(crossing.up, crossing.radio)
            ways.append(way_s if name == "latency" else (watts + self._radio_w) * way_s)
        unit = "s" if name == "latency" else "J"
        still = ways[0] if states.is_single else np.stack(ways)
        return Quantity(name, unit, of_devices, still, contextual=not states.is_single)

    def _spread(
        self, name: str, grids: Mapping[str, Sequence[Floats]], acting: Terms, way_s: Floats, times: float
    ) -> Quantity:
        """Squares, s^2 or J^2: of bundles and transfers, and of copies and encodings, ``times`` their deviation."""
        problem, states = self.problem, self.problem.states
        mixed = self._mixed(name, grids, acting, way_s)
        first, last = problem.bounds
        of_devices = []
        for device, contexts in enumerate(states.bundles):
            alone = not states.kind.ends[device]
            works_w = acting.working_w[device] if device < len(acting.working_w) else None
            working_w = np.zeros(len(problem.devices[device].frequencies_hz)) if works_w is None else np.array(works_w)
            several = []
            for number, context in enumerate(contexts):
                grid = mixed.of_devices[device][number] if mixed.contextual else mixed.of_devices[device]
                squares = grid**2
                watts = 1.0 if name == "latency" else acting.bundle_w(device, context) + working_w
                for way, there, rows, of_terms in (
                    (FIRST, context.first or alone, first, acting.first_ps),
                    (LAST, context.last or alone, last + 1, acting.last_ps),
                ):
                    for term, of_each in of_terms.items() if there else ():
                        its = of_term(self.handovers[device], term).get(way, ()) if of_each[device] is not None else ()
                        if its:
                            deviations = np.array([one.spread_s for one in its]).T
                            squares = squares + (watts * times * deviations[rows]) ** 2
                if acting.waited_ps and acting.waited_ps[device] is not None and self.handovers[device].longer:
                    deviations = np.array([one.spread_s for one in self.handovers[device].longer]).T
                    squares = squares + (watts * times * deviations) ** 2
                several.append(squares)
            of_devices.append(np.stack(several) if mixed.contextual else several[0])
        crossing = mixed.crossing**2
        if ENCODING in acting.crossing and self.handovers[0].of_input and problem.edge_columns:
            column = acting.input_column(problem.edge_columns)
            deviation = times * float(self.handovers[0].of_input[column].spread_s[0])
            ways = []
            for state in states.crossings:
                watts = 1.0
                if name == "energy":
                    works_w = acting.working_w[0] if acting.working_w else None
                    watts = 0.0 if works_w is None else works_w[column]
                    watts += acting.waits_w(state.left_at, 0) + acting.tails_w(state.up)
                more = np.zeros(problem.crossing_ps.shape)
                more[0, 0, 1:] = (watts * deviation) ** 2
                ways.append(more)
            crossing = crossing + (np.stack(ways) if mixed.contextual else ways[0])
        return replace(mixed, name=f"rest of {name}", unit=f"{mixed.unit}^2", of_devices=of_devices, crossing=crossing)


def _at_the_end(table: Ints, its: Sequence[Handover], probability: float | None) -> Ints:
    """Times at hand-overs, (boundaries, frequencies): means, with what passes leave open about them."""
    found: Ints = table.copy()
    for column, one in enumerate(its):
        for boundary in range(len(table)):
            if np.isnan(one.mean_s[boundary]):
                continue
            error_s, dof = one.error_s(boundary)
            factor = 0.0 if probability is None or not dof else student.quantile(probability, dof)
            found[boundary, column] = max(0, round((float(one.mean_s[boundary]) + factor * error_s) * PER_S))
    return found


def _limits(problem: Problem) -> dict[str, float]:
    limits = {"latency": problem.limits.latency_s, "energy": problem.limits.energy_j}
    return {name: limit for name, limit in limits.items() if limit is not None}


@dataclass(frozen=True, eq=False)
class _Model:
    """Where single runs end: a mean and the root of a sum of squares.

    Attributes:
        problem: The problem.
        means: Of every part, as ``_Known.tails`` gives them.
        squares: The squares.
        deadline: ``time.monotonic()`` after which to give up.
    """

    problem: Problem
    means: dict[str, Quantity]
    squares: dict[str, Quantity]
    deadline: float

    def total(self, name: str, choices: Sequence[Choice]) -> tuple[float, float]:
        """A plan's two addends, of its latency (s and s^2) or energy (J and J^2)."""
        parts = walk(self.problem, choices)
        return add_up(parts, self.means[name]).total / PER_S, float(add_up(parts, self.squares[name]).total)

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
        mean, spreads = self.means[name], self.squares[name]
        chords = [
            costs + np.floor(slope * spread * PER_S).astype(np.int64)  # in every context
            for costs, spread in zip(mean.of_devices, spreads.of_devices, strict=True)
        ]
        (goal,), _ = of_goal(self.problem, (self.problem.latency, self.problem.energy))
        sent = mean.crossing + np.floor(slope * spreads.crossing * PER_S).astype(np.int64)
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
            quantities += [replace(self.means[name], most=integer(limit, PER_S)), self._variance(name)]
        kept = [
            choices
            for _, choices in undominated(self.problem, quantities, self._time_left())
            if self._keeps(choices, limits)
        ]
        return min(kept, key=lambda choices: value(self.problem, evaluate(self.problem, choices)), default=None)

    def least(self, name: str) -> float | None:
        """The least limit that some plan keeps with the probability asked for."""
        both = exact.trade_offs(
            as_problem(self.problem, self.means[name], self._variance(name), "latency"), self._time_left()
        )
        return min((self.bound(name, both.choices(at)) for at in range(len(both.time_ps))), default=None)

    def _variance(self, name: str) -> Quantity:
        """Variances as integers, rounded up, in a unit so small that no plan's sum overflows."""
        own, greatest = self.squares[name], np.zeros(len(self.problem.layers))
        for spread in own.of_devices:
            np.maximum.at(greatest, self.problem.bounds[1], spread.reshape(-1, *spread.shape[-2:]).max(axis=(0, 2)))
        crossing = own.crossing.reshape(-1, *self.problem.crossing_ps.shape).max(axis=(0, 2, 3))
        unit = (greatest.sum() + crossing.sum()) / LARGEST or 1.0
        scaled = [np.ceil(spread / unit).astype(np.int64) for spread in own.of_devices]
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
