"""Replicates of a problem: what each plan and the frontier would cost if the means were as they may truly be.

Each replicate draws the means of each device and frequency anew, off by as much as its passes differ (``scatter``); one
gain for each meter, by which all that it has measured is off together; round trip and rates of each link that was
measured, by its passes; and the times of copies, encodings, overheads and waits, by theirs (``handovers``). Other
transfers are modelled, and stay what they are. Intervals of sums of means need no draws: they are Student's t of the
passes' sums.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from statistics import NormalDist
from time import monotonic
from typing import NamedTuple

import numpy as np

from dime.contract.errors import InputError
from dime.host.common import stats, student
from dime.host.common.stats import Floats, Ints
from dime.host.planning.cost import Costs, bundle_w, costs_of, waiting_s, walk
from dime.host.planning.links import Link
from dime.host.planning.problem import PER_J, PER_S, Choice, Problem, bundle_bounds
from dime.host.planning.quantity import Quantity
from dime.host.planning.terms import COPIES, ENCODING, OVERHEAD, Terms
from dime.host.profiles.handovers import FIRST, LAST, Handover, OfDevice
from dime.host.profiles.profiles import Profile
from dime.host.profiles.published import averaged
from dime.host.profiles.scatter import Scatter
from dime.host.search.solvers import exact
from dime.host.search.solvers.exact import TradeOffs

Choices = tuple[Choice, ...]
LARGEST_SAMPLE = 50_000_000
WAITS = "waits"  # runs behind them, of the overhead
# A mean whose error is more skewed has no interval: where few of many runs take far longer, one such run more or less
# moves it, and Student's t covers it too seldom (tests/benchmarks/test_certainty.py has how seldom).
MOST_SKEWED = 0.3


class Weights(NamedTuple):
    """How often a bundle is in a sum: its time, its energy, and joules of what waits while it runs."""

    time: float = 0.0
    energy: float = 0.0
    waiting: float = 0.0


NOTHING = Weights()


@dataclass(frozen=True, eq=False)
class Samples:
    """Replicates of a problem's costs, and how far its means may be off.

    Attributes:
        problem: The problem, with the costs as measured.
        latency_ps: For each device (replicates, bundles, frequencies), negative where there is no option.
        energy_pj: The same of the energy, 0 where the profile has none.
        gains: For each device its meter's gain in each replicate, which is in the energies.
        scatters: For each device what is known of its means' errors.
        handovers: For each device what is known of its copies, encodings and overheads.
    """

    problem: Problem
    latency_ps: tuple[Ints, ...]
    energy_pj: tuple[Ints, ...]
    gains: tuple[Floats, ...]
    scatters: tuple[Scatter, ...]
    handovers: tuple[OfDevice, ...] = ()

    def __len__(self) -> int:
        return len(self.latency_ps[0])

    def trade_offs(self, time_limit_s: float) -> Iterator[TradeOffs]:
        """The frontier of each replicate, until time is out; at least one is given."""
        deadline = monotonic() + time_limit_s
        drawn = self.terms
        terms = None if drawn is None else (lambda at: _replicate(drawn, at))
        every = exact.replicated(self.problem, self.latency_ps, self.energy_pj, time_limit_s, self.crossing_ps, terms)
        for at, found in enumerate(every):
            if at and monotonic() > deadline:
                return
            yield found

    def costs(self, choices: Choices) -> Costs[Ints]:
        """What a plan costs in each replicate."""
        return costs_of(self.problem, choices, *self._quantities)

    @cached_property
    def _quantities(self) -> tuple[Quantity, Quantity]:
        problem = self.problem if self.terms is None else replace(self.problem, terms=self.terms)
        return problem.quantities(self.latency_ps, self.energy_pj, self.crossing_ps)

    @cached_property
    def terms(self) -> Terms | None:
        """The problem's terms with draws of times at hand-overs, (replicates, ...); None where none is known to vary.

        The edge device encodes the input at the frequency that is the fastest as measured: those of one draw are all
        off by the same part.
        """
        own = self.problem.terms
        count, varies = len(self), False
        ends: dict[str, dict[str, tuple[Ints | None, ...]]] = {FIRST: {}, LAST: {}}
        for way, of_terms in ((FIRST, own.first_ps), (LAST, own.last_ps)):
            for term, of_devices in of_terms.items():
                tables: list[Ints | None] = []
                for device, table in enumerate(of_devices):
                    its = of_term(self.handovers[device], term).get(way, ()) if self.handovers else ()
                    drawn = None if table is None else np.repeat(table[None], count, axis=0)
                    for column, one in enumerate(its if drawn is not None else ()):
                        assert drawn is not None
                        off_s = _draw_off(one, count, [stats.SEED, device, column, len(term), way == LAST])
                        varies |= bool(off_s.any())
                        drawn[:, :, column] = np.maximum(drawn[:, :, column] + np.rint(off_s * PER_S), 0)
                    tables.append(drawn)
                ends[way][term] = tuple(tables)
        input_ps = None if own.input_ps is None else np.repeat(own.input_ps[None], count, axis=0)
        of_input = self.handovers[0].of_input if self.handovers else ()
        if input_ps is not None and of_input and self.problem.edge_columns:
            column = own.input_column(self.problem.edge_columns)
            off_s = _draw_off(of_input[column], count, [stats.SEED, 0, column])[:, 0]
            varies |= bool(off_s.any())
            parts = np.maximum(1 + off_s * PER_S / max(int(input_ps[0, column]), 1), 0.0)
            input_ps = np.rint(input_ps * parts[:, None]).astype(np.int64)
        waited: list[Ints | None] = []
        for device, table in enumerate(own.waited_ps):
            drawn = None if table is None else np.repeat(table[None], count, axis=0)
            for column, one in enumerate(self.handovers[device].longer if drawn is not None and self.handovers else ()):
                assert drawn is not None
                off_s = _draw_off(one, count, [stats.SEED, device, column, len(WAITS)])
                varies |= bool(off_s.any())
                drawn[:, :, column] = np.maximum(drawn[:, :, column] + np.rint(off_s * PER_S), 0)
            waited.append(drawn)
        if not varies:
            return None
        return replace(own, first_ps=ends[FIRST], last_ps=ends[LAST], input_ps=input_ps, waited_ps=tuple(waited))

    def _handed(
        self, plans: Sequence[Choices], per_s: float, per_j: float
    ) -> dict[tuple[int, int], list[tuple[str, Handover, int, float]]]:
        """Device and column -> term, times, boundary and weight of each copy and encoding, the second plan's negative.

        A weight is what a second costs: the device's own power while it copies or encodes, and that of who waits.
        """
        problem, terms = self.problem, self.problem.acting
        found: dict[tuple[int, int], list[tuple[str, Handover, int, float]]] = {}

        def add(device: int, column: int, term: str, its: Sequence[Handover], boundary: int, weight: float) -> None:
            if its:
                found.setdefault((device, column), []).append((term, its[column], boundary, weight))

        def working_w(device: int, column: int) -> float:
            watts = terms.working_w[device] if device < len(terms.working_w) else None
            return 0.0 if watts is None else watts[column]

        for sign, chosen in zip((1.0, -1.0), plans if self.handovers else (), strict=False):
            for part in walk(problem, chosen):
                if part.choice is None:
                    if terms.input_ps is not None and part.row == 0 and part.target and problem.edge_columns:
                        column = terms.input_column(problem.edge_columns)
                        context = problem.states.crossings[part.context]
                        watts = working_w(0, column) + terms.waits_w(context.left_at, 0) + terms.tails_w(context.up)
                        its = self.handovers[0].of_input
                        add(0, column, ENCODING, its, 0, sign * (per_s + per_j * watts))
                    continue
                device, column = part.source, part.column
                state = problem.states.bundles[device][part.context]
                one_bundle = not problem.states.kind.ends[device]
                cost = sign * (per_s + per_j * (working_w(device, column) + bundle_w(problem, part)))
                if device < len(terms.waited_ps) and terms.waited_ps[device] is not None:
                    add(device, column, WAITS, self.handovers[device].longer, part.row, cost)
                for way, there, boundary, of_terms in (
                    (FIRST, state.first or one_bundle, part.choice.bundle.first, terms.first_ps),
                    (LAST, state.last or one_bundle, part.choice.bundle.last + 1, terms.last_ps),
                ):
                    for term, of_devices in of_terms.items() if there else ():
                        if of_devices[device] is not None:
                            its = of_term(self.handovers[device], term).get(way, ())
                            add(device, column, term, its, boundary, cost)
        return found

    @cached_property
    def crossing_ps(self) -> Ints | None:
        """(replicates, N + 1, devices, devices) of crossings; None where no link was measured."""
        problem = self.problem
        if not any(link is not None and link.passes for link in problem.joined.values()):
            return None
        drawn = np.repeat(problem.crossing_ps[None], len(self), axis=0)
        for (weaker, other), link in problem.joined.items():
            if link is None or not link.passes:
                continue
            trip_s, up, down = _draw_link(link, len(self)).T[:, :, None]
            bits = 8.0 * np.array(problem.sizes_bytes)
            more = problem.acting.connect_trips * (trip_s - link.round_trip_s)  # beside those that the protocol adds
            drawn[:, :, weaker, other] = np.rint((trip_s / 2 + more + bits * up) * PER_S)
            drawn[:, :, other, weaker] = np.rint((trip_s / 2 + more + bits * down) * PER_S)
        return drawn

    def _crossed(self, plans: Sequence[Choices]) -> dict[tuple[int, int], list[tuple[int, bool, float]]]:
        """Size, direction and sign of each crossing of a measured link, the second plan's taken off."""
        joined = self.problem.joined
        found: dict[tuple[int, int], list[tuple[int, bool, float]]] = {}
        for sign, chosen in zip((1.0, -1.0), plans, strict=False):
            for part in walk(self.problem, chosen):
                pair = part.source, part.target
                upload = pair in joined
                link = joined.get(pair if upload else pair[::-1])
                if part.choice is None and link is not None and link.passes:
                    size = self.problem.sizes_bytes[part.row]
                    found.setdefault(pair if upload else pair[::-1], []).append((size, upload, sign))
        return found

    @property
    def notes(self) -> tuple[str, ...]:
        """What the errors rest on where that is less than passes."""
        told = [scatter.note for scatter in self.scatters if scatter.note]
        names = {one.boundary: one.encoding for one in self.problem.terms.encoded}
        for device, its in enumerate(self.handovers):
            every = [one for of_way in its.encodings.values() for one in of_way] + list(its.of_input)
            rounds = [int((~np.isnan(one.passes_s)).any(axis=1).sum()) for one in every]
            if names and max(rounds, default=0) < 2:
                name = self.problem.devices[device].name
                told.append(f"{name} has measured each encoding once: their times do not vary here; profile more")
        return tuple(told)

    def interval(
        self,
        plan: Choices,
        other: Choices = (),
        quantity: str = "goal",
        confidence: float = stats.CONFIDENCE,
    ) -> tuple[float, float] | None:
        """The interval of what a plan costs, or of what it costs more than another; what the two share cancels.

        Args:
            plan: The plan.
            other: The plan whose costs are taken off; empty: none.
            quantity: ``latency`` (s), ``energy`` (J) or ``goal``, the goal's value.
            confidence: How often the interval holds the true mean.

        Returns:
            Its ends; None where no interval would hold so often.
        """
        problem, goal = self.problem, self.problem.goal
        plans = [chosen for chosen in (plan, other) if chosen]
        costs = [costs_of(problem, chosen) for chosen in plans]
        kind = goal.kind if quantity == "goal" else quantity
        if quantity == "goal" and goal.is_pipeline:  # the slowest stage is no sum
            drawn = [self.costs(chosen).value(problem) for chosen in plans]
            tails = (1 - confidence) / 2, (1 + confidence) / 2
            low, high = np.quantile(drawn[0] - drawn[1] if other else drawn[0], tails).tolist()
            return low, high
        per_s, per_j = {"latency": (1.0, 0.0), "energy": (0.0, 1.0)}.get(kind, (goal.per_s, goal.per_j))
        values = [per_s * (cost.latency_ps / PER_S) + per_j * (cost.energy_pj / PER_J) for cost in costs]
        weights: dict[Choice, Weights] = {}
        waits: dict[tuple[int, int], float] = {}
        for sign, chosen in zip((1.0, -1.0), plans, strict=False):
            parts = walk(problem, chosen)
            for part in parts:
                if part.choice is not None:  # what waits meanwhile makes its time cost energy, too
                    watts = bundle_w(problem, part)
                    before = weights.get(part.choice, NOTHING)
                    weights[part.choice] = Weights(
                        before.time + sign * per_s, before.energy + sign * per_j, before.waiting + sign * per_j * watts
                    )
            for place, seconds in waiting_s(problem, parts).items():
                waits[place] = waits.get(place, 0.0) + sign * per_j * seconds
        used = {choice: its for choice, its in weights.items() if its != NOTHING}
        while_sending = per_s + per_j * problem.acting.waits_w((-1,) * len(problem.devices), None)
        handed = self._handed(plans, per_s, per_j if problem.has_energy else 0.0)
        parts_of_links = list(_link_parts(problem, self._crossed(plans), while_sending, per_j))
        found = self._error(used, waits, parts_of_links, handed)
        if found is None:
            return None
        error, dof = found
        half = student.quantile((1 + confidence) / 2, dof) * error
        center = float(values[0] - values[1]) if other else float(values[0])
        return (center - half if other else max(center - half, 0.0)), center + half

    def _error(
        self,
        weights: Mapping[Choice, Weights],
        waits: Mapping[tuple[int, int], float],
        parts: list[tuple[float, float]],
        handed: Mapping[tuple[int, int], Sequence[tuple[str, Handover, int, float]]],
    ) -> tuple[float, float] | None:
        """Standard error of a sum of means, and its degrees of freedom (Welch and Satterthwaite); None: no interval.

        Args:
            weights: Step -> how often its time, its energy, and joules of what waits meanwhile are in the sum.
            waits: Device and frequency's column (-1: the most frugal) -> seconds for which it waits.
            parts: Variances, with their degrees of freedom, of what else is added.
            handed: Copies and encodings, see ``_handed``.
        """
        third = second = 0.0
        off_together: dict[str, float] = {}
        for device, scatter in enumerate(self.scatters):
            profile, per = scatter.profile, len(scatter.profile.frequencies_hz)
            gain = (profile.gain.error if profile.gain and not profile.energy_model else None) or 0.0
            counts = self.problem.has_energy and self.problem.devices[device].has_energy
            energies = profile.means.energy_j if counts else None
            for frequency, hertz in enumerate(profile.frequencies_hz):
                chosen = [(c, w) for c, w in weights.items() if (c.device, c.frequency_hz) == (device, hertz)]
                given = handed.get((device, frequency), ())
                copied = [(one, at, its) for term, one, at, its in given if term in (COPIES, WAITS)]
                for of in (ENCODING, OVERHEAD):  # each has rounds of its own
                    parts += _round_parts([(one, at, its) for term, one, at, its in given if term == of])
                if not chosen and not copied:
                    continue
                cells = np.array(
                    [profile.bundles.index(choice.bundle) * per + frequency for choice, _ in chosen], np.int64
                )
                of_time, of_energy, of_waiting = np.array([its for _, its in chosen]).reshape(-1, 3).T
                of_energy = of_energy if energies is not None else np.zeros(len(cells))
                parts += _parts(scatter, cells, of_time, of_energy, of_waiting, copied, frequency)
                joules = of_energy * energies.ravel()[cells] if energies is not None else of_energy
                runs = np.diff(profile.starts)[cells]
                for amounts, moments in zip(
                    (of_waiting * profile.plain_s.ravel()[cells], joules), scatter.moments, strict=True
                ):
                    second += float((amounts**2 / runs).sum()) * moments[0]
                    third += float((amounts**3 / runs**2).sum()) * moments[1]
                off_together[profile.meter] = off_together.get(profile.meter, 0.0) + gain * float(joules.sum())
            watts = self.problem.acting.waiting_w.get(device)
            errors = profile.idle_w_sd
            for (waiting, column), joule_seconds in waits.items():
                if waiting == device and watts is not None and errors is not None:
                    place = column if column >= 0 else watts.index(min(watts))
                    parts.append(((joule_seconds * float(np.nan_to_num(errors[place]))) ** 2, math.inf))
                    off = gain * joule_seconds * watts[place]
                    off_together[profile.meter] = off_together.get(profile.meter, 0.0) + off
        variance = sum(part for part, _ in parts)
        if not math.isfinite(variance) or abs(third) > MOST_SKEWED * max(variance, second) ** 1.5:
            return None
        squares = sum(part**2 / dof for part, dof in parts)
        variance += sum(joules**2 for joules in off_together.values())
        return math.sqrt(variance), variance**2 / squares if squares else math.inf


def _parts(
    scatter: Scatter,
    cells: Ints,
    of_time: Floats,
    of_energy: Floats,
    of_waiting: Floats,
    copied: Sequence[tuple[Handover, int, float]],
    frequency: int,
) -> Iterator[tuple[float, float]]:
    """Variances, each with its degrees of freedom, of a weighted sum of means that one frequency's passes have."""
    if scatter.passes is not None:
        time, energy, plain = scatter.passes
        totals = time[:, cells] @ of_time + plain[:, cells] @ of_waiting
        if energy is not None and of_energy.any():
            totals = totals + energy[:, cells] @ of_energy
        for one, boundary, its in copied:
            totals = totals + its * one.passes_s[:, boundary]
        weight = scatter.weight[:, cells if len(cells) else scatter.column(frequency)].min(axis=1)
        variance, dof = stats.error_of_passes(totals[:, None], weight[:, None] / max(weight.sum(), 1e-300))
        yield (float(variance[0]), int(dof[0])) if dof[0] else (math.inf, 1)
        return
    errors = scatter.error[0][cells] * of_time + scatter.error[2][cells] * of_waiting
    joules = np.zeros(len(cells))
    if scatter.error[1] is not None:
        joules = scatter.error[1][cells] * of_energy
    variances = errors**2 + joules**2 + 2 * scatter.correlation[cells] * errors * joules
    for variance, dof in zip(variances.tolist(), scatter.dof[cells].tolist(), strict=True):
        yield (variance, dof) if dof else (math.inf, 1)
    for given in copied:
        yield from _round_parts([given])


def _round_parts(handed: Sequence[tuple[Handover, int, float]]) -> list[tuple[float, float]]:
    """The variance, with its degrees of freedom, of a weighted sum of times that rounds of one frequency have."""
    totals = np.array([its * one.passes_s[:, boundary] for one, boundary, its in handed]).sum(axis=0)
    known = totals[~np.isnan(totals)] if len(handed) else np.zeros(0)
    return [(float(known.var(ddof=1)) / len(known), len(known) - 1)] if len(known) > 1 else []


def of_term(of_device: OfDevice, term: str) -> Mapping[str, Sequence[Handover]]:
    """What is known of a term."""
    return {COPIES: of_device.copies, ENCODING: of_device.encodings, OVERHEAD: of_device.overheads}.get(term, {})


def _replicate(terms: Terms, at: int) -> Terms:
    """One draw of terms that have several."""
    ends = [
        {term: tuple(None if one is None else one[at] for one in of_devices) for term, of_devices in of_terms.items()}
        for of_terms in (terms.first_ps, terms.last_ps)
    ]
    waited_ps = tuple(None if one is None else one[at] for one in terms.waited_ps)
    input_ps = None if terms.input_ps is None else terms.input_ps[at]
    return replace(terms, first_ps=ends[0], last_ps=ends[1], input_ps=input_ps, waited_ps=waited_ps)


def _draw_off(its: Handover, count: int, seed: Sequence[int]) -> Floats:
    """How far times at each boundary may be off, (count, boundaries), s; 0 where it is not known."""
    known = ~np.isnan(its.passes_s)
    passes = its.passes_s[known.any(axis=1)]
    if len(passes) < 2:
        return np.zeros((count, its.passes_s.shape[1]))
    known = ~np.isnan(passes)
    center = np.where(known, passes, 0.0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    off = np.where(known, passes - center, 0.0)
    return _t_of_passes(off, count, np.random.default_rng(seed))


def _t_of_passes(off: Floats, count: int, generator: np.random.Generator) -> Floats:
    """Draws of how far means of passes may be off: each sum of them has its t distribution, (count, columns)."""
    dof = len(off) - 1
    shared = generator.standard_normal((count, len(off)))
    shared /= np.sqrt(generator.chisquare(dof, (count, 1)) / dof)
    drawn: Floats = shared @ off / math.sqrt(len(off) * dof)
    return drawn


def _link_parts(
    problem: Problem, crossed: Mapping[tuple[int, int], Sequence[tuple[int, bool, float]]], per_s: float, per_j: float
) -> Iterator[tuple[float, float]]:
    """Variances, each with its degrees of freedom, of crossings' sums by the passes of their links."""
    counted = problem.acting.counted
    for pair, crossings in crossed.items():
        link = problem.joined[pair]
        assert link is not None
        trips = problem.acting.connect_trips
        of_passes = [sign * per_s * link.passes_s(size, upload, trips) for size, upload, sign in crossings]
        if problem.has_energy and (not counted or counted[pair[0]]):
            of_passes += [sign * per_j * link.passes_j(size, upload) for size, upload, sign in crossings]
        totals = np.sum(of_passes, axis=0)
        count, varies = len(totals), per_s or (per_j and link.radio_w)
        yield (float(totals.var(ddof=1)) / count, count - 1) if count > 1 else (math.inf if varies else 0.0, 1)


def _draw_link(link: Link, count: int) -> Floats:
    """Round trip and seconds a bit, up and down, as they may truly be: each sum of them has its t distribution."""
    passes = np.array(link.passes)
    mean, dof = passes.mean(axis=0), len(passes) - 1
    if not dof:
        return np.repeat(mean[None], count, axis=0)
    generator = np.random.default_rng([stats.SEED, *link.name.encode()])
    drawn: Floats = np.maximum(mean + _t_of_passes(passes - mean, count, generator), 0.0)
    return drawn


def unknown_link(problem: Problem) -> str:
    """Why nothing can be said of how far a measured link may be off; empty where it can."""
    for link in problem.joined.values():
        if link is not None and len(link.passes) == 1:
            return f"link {link.name} was measured in one pass, and how passes differ is not known: measure more"
    return ""


def unknown(profiles: Sequence[Profile]) -> str:
    """Why nothing can be said of how far these profiles' means may be off; empty where it can."""
    return next((reason for profile in profiles if (reason := Scatter.of(profile).unknown)), "")


def resample(
    problem: Problem,
    profiles: Sequence[Profile],
    replicates: int = stats.REPLICATES,
    seed: int = stats.SEED,
) -> Samples:
    """Draws replicates of all costs of a problem.

    Args:
        problem: The problem.
        profiles: The profiles it was built from, in the same order.
        replicates: How many; fewer where they would not fit into memory.
        seed: Seed; each device has its own stream.

    Returns:
        The replicates.

    Raises:
        InputError: The profiles are not those of the problem, one of them is of a single pass (or run), or there are
            fewer than two replicates.
    """
    check_profiles(problem, profiles)
    profiles = averaged(profiles, problem.arithmetic)
    if replicates < 2:
        raise InputError(f"a bootstrap needs at least 2 replicates, not {replicates}")
    scatters = tuple(map(Scatter.of, profiles))
    reason = next((scatter.unknown for scatter in scatters if scatter.unknown), "")
    if reason:
        raise InputError(reason)
    contexts = [len(one) for one in problem.states.bundles]
    cells = sum(device.latency_ps.size * count for device, count in zip(problem.devices, contexts, strict=True))
    count = max(2, min(replicates, LARGEST_SAMPLE // cells))
    first, last = bundle_bounds(len(problem.layers), problem.max_layers)
    latencies, energies, gains = [], [], list(draw_gains(profiles, count, seed))
    for at, (profile, device) in enumerate(zip(profiles, problem.devices, strict=True)):
        drawn = scatters[at].draw(count, seed + at)
        profiled = last - first < profile.max_layers
        latency = np.full((count, *device.latency_ps.shape), -1, np.int64)
        latency[:, profiled] = np.rint(drawn.duration_s * PER_S)
        energy = np.zeros_like(latency)
        if problem.has_energy and device.has_energy and drawn.energy_j is not None:
            energy[:, profiled] = np.rint(drawn.energy_j * gains[at][:, None, None] * PER_J)
        latency[:, device.latency_ps < 0] = -1
        latencies.append(latency)
        energies.append(energy)
    handovers = of_devices(problem, profiles, scatters)
    return Samples(problem, tuple(latencies), tuple(energies), tuple(gains), scatters, handovers)


def of_devices(problem: Problem, profiles: Sequence[Profile], scatters: Sequence[Scatter]) -> tuple[OfDevice, ...]:
    """What is known of each device's copies, encodings and overheads, of those that count."""
    encoded = {one.boundary: one.encoding for one in problem.terms.encoded}
    copied = problem.terms.first_ps.get(COPIES, (None,) * len(profiles))
    beside = problem.terms.first_ps.get(OVERHEAD, (None,) * len(profiles))
    waited = problem.terms.waited_ps or (None,) * len(profiles)
    longest = [None if table is None else problem.max_layers for table in waited]
    return tuple(
        OfDevice.of(profile, scatter, encoded, copied[at] is not None, beside[at] is not None, at == 0, longest[at])
        for at, (profile, scatter) in enumerate(zip(profiles, scatters, strict=True))
    )


def draw_gains(profiles: Sequence[Profile], count: int, seed: int) -> Iterator[Floats]:
    """Draws each device's meter's gain, ``count`` times: normal, the same for devices that share a kind of meter.

    The draws are the quantiles of the distribution in an order of their own, so that few of them have its spread.
    """
    places = [NormalDist().inv_cdf((place + 0.5) / count) for place in range(count)]
    for profile in profiles:
        error = profile.gain.error if profile.gain and not profile.energy_model else None
        shared = np.random.default_rng([seed, *profile.meter.encode()])
        yield 1 + (error or 0.0) * shared.permutation(places)


def check_profiles(problem: Problem, profiles: Sequence[Profile]) -> None:
    """Checks that these are the profiles that a problem was built from.

    Raises:
        InputError: They are not, or not in this order.
    """
    names = [device.name for device in problem.devices]
    if [profile.device for profile in profiles] != names:
        given = ", ".join(profile.device for profile in profiles) or "none"
        raise InputError(f"the problem needs the profiles of {', '.join(names)}, in this order, not {given}")
    for profile, device in zip(profiles, problem.devices, strict=True):
        if profile.layers != problem.layers or profile.frequencies_hz != device.frequencies_hz:
            raise InputError(f"{profile.path} is not the profile that the problem has for {device.name}")


def place(problem: Problem, choice: Choice) -> tuple[int, int, int]:
    """(bundle, device, column) of a step in the devices' arrays."""
    return (
        problem.index(choice.bundle),
        choice.device,
        problem.devices[choice.device].frequencies_hz.index(choice.frequency_hz),
    )
