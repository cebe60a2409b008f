"""What is to be run of a study's link, and what was predicted of it."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from dime.contract import stages
from dime.contract.bundles import spell
from dime.contract.errors import InputError
from dime.contract.run import changes_s
from dime.contract.stages import Segment, Step
from dime.host.analysis import baselines, resampling
from dime.host.analysis.resampling import Samples
from dime.host.common.stats import CONFIDENCE, half_of_mean
from dime.host.execution.comparison import OF_DEVICES, Interval, Part
from dime.host.execution.devices import Profiled
from dime.host.planning.accounting import COPIES, ENCODING, FREQUENCY_CHANGE, OVERHEAD, PROTOCOL, RADIO_STATES
from dime.host.planning.cost import add_up, walk
from dime.host.planning.encoded import Encoded
from dime.host.planning.links import Link
from dime.host.planning.plan import Plan, describe
from dime.host.planning.problem import PER_S, Choice, Problem
from dime.host.profiles import handovers
from dime.host.profiles.handovers import Handover
from dime.host.profiles.overheads import COLD, Overheads
from dime.host.profiles.published import averaged
from dime.host.profiles.scatter import Scatter
from dime.host.studies.folder import SavedLink

Choices = tuple[Choice, ...]
FEW_DRAWS, DRAWS = 2, 200
TERM_OF = {
    "copies": COPIES,
    "clock": FREQUENCY_CHANGE,
    "encoding": ENCODING,
    "overhead": OVERHEAD,
}  # cause -> the plan's term


@dataclass(frozen=True, eq=False)
class Candidate:
    """A plan that is to be run.

    Attributes:
        letter: As the report calls it; empty for a point of the frontier.
        name: Its name.
        also: Others that have the same plan.
        choices: Its steps.
        plan: The plan, with what the problem says that it costs.
        segments: What is computed where.
        interval_s: The interval of its latency, or of its slowest stage's time.
        parts: Each stage with its prediction.
        fallback_s: What the edge device takes to finish by itself, for each hop; None where it was not profiled.
        delays_s: For each hop the delay that is predicted before its first byte arrives.
        predicted_j: Joules of a request without the radio's, which no meter of a device sees over an emulated link.
        interval_j: Their interval.
        encoded: How what crosses is sent, where it is encoded before.
    """

    letter: str
    name: str
    also: tuple[str, ...]
    choices: Choices
    plan: Plan
    segments: tuple[Segment, ...]
    interval_s: Interval | None
    parts: tuple[Part, ...]
    fallback_s: tuple[float | None, ...]
    delays_s: tuple[float, ...]
    predicted_j: float | None = None
    interval_j: Interval | None = None
    encoded: tuple[Encoded, ...] = ()

    @property
    def is_local(self) -> bool:
        """Whether nothing crosses."""
        return len(self.segments) == 1


def candidates(link: SavedLink, devices: Sequence[Profiled], frontier: int) -> tuple[tuple[Candidate, ...], str]:
    """DIME's plan, all baselines and evenly spread points of the frontier, each plan once.

    Args:
        link: What was found for the link.
        devices: Its devices.
        frontier: How many points of the frontier.

    Returns:
        The plans, DIME's first; and why nothing is known of how sure the predictions are, empty where it is.

    Raises:
        InputError: Points of a frontier are asked for, and there is none.
    """
    problem = link.problem
    named: list[tuple[str, str, Choices]] = []
    rows = baselines.compare(problem, link.plan.choices(problem))
    letters = "Dabcdefghijklmnopqrstuvwxyz"
    for at, row in enumerate(rows):
        if row.choices:
            named.append((letters[at] if at < len(letters) else "", row.name, row.choices))
    if frontier:
        if link.frontier is None:
            raise InputError(
                f"{problem.links or 'the link'} has no frontier: without energies there is nothing to trade"
            )
        count = len(link.frontier)
        for place in np.unique(np.linspace(0, count - 1, min(count, frontier)).round().astype(int)).tolist():
            named.append(("", f"point {place + 1} of {count}", link.frontier.choices(place)))
    samples, unknown = _samples(problem, devices)
    found: dict[Choices, tuple[str, str, list[str]]] = {}
    for letter, name, choices in named:
        if choices in found:
            found[choices][2].append(name)
        else:
            found[choices] = letter, name, []
    return tuple(
        _candidate(problem, devices, samples, choices, letter, name, tuple(also))
        for choices, (letter, name, also) in found.items()
    ), unknown


def _samples(problem: Problem, devices: Sequence[Profiled]) -> tuple[Samples | None, str]:
    profiles = averaged([one.profile for one in devices], problem.arithmetic)
    reason = resampling.unknown(profiles)
    if reason:
        return None, reason
    return resampling.resample(problem, profiles, DRAWS if problem.goal.is_pipeline else FEW_DRAWS), ""


def _candidate(
    problem: Problem,
    devices: Sequence[Profiled],
    samples: Samples | None,
    choices: Choices,
    letter: str,
    name: str,
    also: tuple[str, ...],
) -> Candidate:
    plan = describe(problem, choices)
    segments = tuple(stages.segments([(*one.bundle, one.device, one.frequency_hz) for one in choices]))
    interval = None
    if samples is not None:
        interval = samples.interval(choices, (), "goal" if problem.goal.is_pipeline else "latency", CONFIDENCE)
    fallback = tuple(_fallback_s(problem, segments, hop) for hop in range(len(segments) - 1))
    return Candidate(
        letter,
        name,
        also,
        choices,
        plan,
        segments,
        interval,
        tuple(parts_of(problem, devices, plan, choices)),
        fallback,
        delays_s(problem, segments),
        *_joules(problem, plan, choices, samples),
        _encoded(problem, segments),
    )


def _encoded(problem: Problem, segments: Sequence[Segment]) -> tuple[Encoded, ...]:
    """How what crosses in a plan is encoded, in the order in which it does."""
    firsts = [next((step.bundle.first for step in segment.steps), None) for segment in segments[1:]]
    crossing = {first for first in firsts if first is not None}
    return tuple(one for one in problem.terms.encoded if one.boundary in crossing)


def _joules(
    problem: Problem, plan: Plan, choices: Choices, samples: Samples | None
) -> tuple[float | None, Interval | None]:
    if plan.energy_j is None:
        return None, None
    radio_j = plan.radio_j or 0.0
    radio_j += sum(one.energy_j or 0.0 for one in plan.terms if one.term in (PROTOCOL, RADIO_STATES))
    interval = None if samples is None else samples.interval(choices, (), "energy", CONFIDENCE)
    shifted = None if interval is None else (interval[0] - radio_j, interval[1] - radio_j)
    return plan.energy_j - radio_j, shifted


def delays_s(problem: Problem, segments: Sequence[Segment]) -> tuple[float, ...]:
    """For each hop the delay that is predicted before its first byte arrives; 0 where no link is known."""
    found = []
    for a, b in pairwise(segments):
        link = _link(problem, (a.device, b.device))
        found.append(0.0 if link is None else link.round_trip_s / 2)
    return tuple(found)


def parts_of(problem: Problem, devices: Sequence[Profiled], plan: Plan, choices: Choices) -> list[Part]:
    """Each stage of a plan with its prediction, in the order in which they come: together they take its latency."""
    segments = stages.segments([(*one.bundle, one.device, one.frequency_hz) for one in choices])
    layers, names = list(problem.layers), [device.name for device in problem.devices]
    known = {one.name: _intervals(one) for one in devices}
    beside, waits = _overheads(problem, devices), _longer(problem, devices)
    terms = _terms_s(problem, choices, beside.get(0))
    parts, steps, transfers, crossings = [], iter(plan.steps), iter(plan.transfers), iter(terms.crossings_s)
    for at, segment in enumerate(segments):
        if at:
            crossing, more_s = next(transfers), next(crossings)
            entered = layers[crossing.boundary] if crossing.boundary < len(layers) else "the result"
            pair = segments[at - 1].device, segment.device
            interval, origin = _crossing_interval(problem, pair, crossing.size_bytes, more_s), _origin(problem, pair)
            parts.append(Part("crossing", entered, crossing.source, crossing.target, -1, crossing.size_bytes,
                              crossing.latency_s + more_s, interval, origin, (at - 1, 0)))  # fmt: skip
        for number, one in enumerate(segment.steps):
            step, own = next(steps), problem.devices[segment.device]
            # The planner counts what it takes longer behind a wait to what the device takes beside computing.
            waited = _waited_s(problem, segment.device, one, waits.get(segment.device, ()))
            if number == 0 and (its := beside.get(segment.device)) is not None and COLD in its.typical_s:
                cold_s = its.typical_s[COLD][own.frequencies_hz.index(one.frequency_hz)]
                waited = _Waited(waited.mean_s + cold_s, waited.half_s)
            terms.of_devices_s[segment.device, "overhead"] -= waited.mean_s
            interval = known[own.name].get((*one.bundle, one.frequency_hz))
            if interval is not None:
                half_s = math.hypot((interval[1] - interval[0]) / 2, waited.half_s)
                centre_s = (interval[0] + interval[1]) / 2 + waited.mean_s
                interval = centre_s - half_s, centre_s + half_s
            parts.append(Part("compute", spell(one.bundle, layers), step.device, "", step.frequency_hz, 0,
                              step.latency_s + waited.mean_s, interval, step.origin, (at, number),
                              waited.mean_s))  # fmt: skip
    origins = {fact.term: fact.origin for fact in problem.acting.joined_facts}
    for device in sorted({segment.device for segment in segments if segment.steps or segment.device == 0}):
        for cause in OF_DEVICES:
            predicted_s = terms.of_devices_s.get((device, cause), 0.0)
            if predicted_s or cause != "encoding":
                interval = None
                if cause == "clock":
                    interval = _change_interval(devices, names[device], terms.changes[device])
                elif cause == "encoding":
                    interval = _coding_interval(problem, devices, segments, device, predicted_s)
                elif cause == "overhead" and (its := beside.get(device)) is not None:
                    interval = _overhead_interval(problem, its, segments, device, predicted_s)
                origin = origins.get(TERM_OF.get(cause, ""), "modelled")
                parts.append(Part(cause, "", names[device], "", -1, 0, predicted_s, interval, origin, (device, 0)))
    return parts


class _Terms(NamedTuple):
    """What a plan's terms take.

    Attributes:
        crossings_s: On top of each transfer, in order.
        of_devices_s: (device, cause) -> seconds.
        changes: Device -> the frequencies that it changes to.
    """

    crossings_s: list[float]
    of_devices_s: dict[tuple[int, str], float]
    changes: dict[int, list[int]]


def _overheads(problem: Problem, devices: Sequence[Profiled]) -> dict[int, Overheads]:
    """Device -> what it takes beside computing, of those of which that counts."""
    counted = problem.acting.first_ps.get(OVERHEAD, ())
    return {
        at: one.profile.overheads
        for at, (one, table) in enumerate(zip(devices, counted, strict=False))
        if table is not None and one.profile.overheads is not None
    }


class _Waited(NamedTuple):
    """What a bundle takes longer behind a wait, s: half of its interval is 0 where that is not known."""

    mean_s: float
    half_s: float


def _longer(problem: Problem, devices: Sequence[Profiled]) -> dict[int, Sequence[Handover]]:
    """Device -> what its bundles take longer behind a wait at each frequency, of those of which that counts."""
    return {
        at: handovers.longer(one.profile, Scatter.of(one.profile), problem.max_layers, at == 0)
        for at, (one, table) in enumerate(zip(devices, problem.acting.waited_ps, strict=False))
        if table is not None and one.profile.run_waited_s is not None
    }


def _waited_s(problem: Problem, device: int, step: Step, its: Sequence[Handover]) -> _Waited:
    counted = problem.acting.waited_ps
    table = counted[device] if device < len(counted) else None
    if table is None:
        return _Waited(0.0, 0.0)
    row, column = problem.index(step.bundle), problem.devices[device].frequencies_hz.index(step.frequency_hz)
    passes_s = its[column].passes_s[:, row] if its else np.zeros(0)
    passes_s = passes_s[~np.isnan(passes_s)]
    return _Waited(int(table[row, column]) / PER_S, half_of_mean(passes_s) if len(passes_s) > 1 else 0.0)


def _terms_s(problem: Problem, choices: Choices, of_edge: Overheads | None = None) -> _Terms:
    found = _Terms([], defaultdict(float), defaultdict(list))
    times = {term: time for term, (time, _) in problem.by_term.items()}
    for part in walk(problem, choices):
        took = {term: add_up([part], time).total / PER_S for term, time in times.items()}
        if part.choice is None:
            if part.source != part.target:
                found.of_devices_s[part.source, "encoding"] += took.pop(ENCODING, 0.0)
                if of_edge is not None:  # which sends the input as it is, or does nothing with the result
                    own_s = of_edge.mean_s("forward") if part.row == 0 else 0.0
                    own_s += of_edge.mean_s("finish") if part.row == len(problem.layers) else 0.0
                    found.of_devices_s[0, "overhead"] += own_s
                    took[OVERHEAD] = took.get(OVERHEAD, 0.0) - own_s
                found.crossings_s.append(sum(took.values()))
            continue
        for cause, term in TERM_OF.items():
            found.of_devices_s[part.source, cause] += took.get(term, 0.0)
        if took.get(FREQUENCY_CHANGE):
            found.changes[part.source].append(part.choice.frequency_hz)
    return found


def _link(problem: Problem, pair: tuple[int, int]) -> Link | None:
    return problem.joined.get(pair) or problem.joined.get(pair[::-1])


def _origin(problem: Problem, pair: tuple[int, int]) -> str:
    link = _link(problem, pair)
    return "modelled" if link is None else link.origin


def _crossing_interval(problem: Problem, pair: tuple[int, int], size_bytes: int, more_s: float) -> Interval | None:
    """The interval of a crossing's mean, by the passes in which its link was measured; None where it was not."""
    link, upload = _link(problem, pair), pair in problem.joined
    if link is None or len(link.passes) < 2:
        return None
    passes_s = link.passes_s(size_bytes, upload, problem.acting.connect_trips)
    centre_s = link.latency_s(size_bytes, upload) + more_s
    half_s = half_of_mean(passes_s)
    return centre_s - half_s, centre_s + half_s


def _change_interval(devices: Sequence[Profiled], name: str, changes: Sequence[int]) -> Interval | None:
    """The interval of a device's changes of frequency together, by those that its profile timed."""
    run = next((one.run for one in devices if one.name == name), None)
    times = changes_s(run.sessions) if run is not None else {}
    if not changes or any(len(times.get(hertz, ())) < 2 for hertz in changes):
        return None
    centre_s = sum(float(np.mean(times[hertz])) for hertz in changes)
    half_s = math.hypot(*(changes.count(hertz) * half_of_mean(np.array(times[hertz])) for hertz in set(changes)))
    return centre_s - half_s, centre_s + half_s


def _coding_interval(
    problem: Problem, devices: Sequence[Profiled], segments: Sequence[Segment], device: int, predicted_s: float
) -> Interval | None:
    """The interval of what a device encodes and decodes together, by the rounds in which its profile timed that."""
    profile = next((one.profile for one in devices if one.name == problem.devices[device].name), None)
    names = {one.boundary: one.encoding for one in problem.terms.encoded}
    halves = []
    for before, after in pairwise(segments):
        boundary = after.steps[0].bundle.first if after.steps else len(problem.layers)
        encoding = names.get(boundary)
        for at, is_sender in ((before, True), (after, False)):
            if encoding is None or at.device != device:
                continue
            hertz = at.steps[-1 if is_sender else 0].frequency_hz if at.steps else problem.input_hz
            measured = None if profile is None else (profile.encodings or {}).get((boundary, encoding))
            if measured is None or profile is None or hertz not in profile.frequencies_hz:
                return None
            rounds_s = measured.encode_rounds_s if is_sender else measured.decode_rounds_s
            times_s = rounds_s[profile.frequencies_hz.index(hertz)].mean(axis=1) if rounds_s else np.zeros(0)
            if len(times_s) < 2 or np.isnan(times_s).any():
                return None
            halves.append(half_of_mean(times_s))
    half_s = math.hypot(*halves)
    return (predicted_s - half_s, predicted_s + half_s) if halves else None


def _overhead_interval(
    problem: Problem, its: Overheads, segments: Sequence[Segment], device: int, predicted_s: float
) -> Interval | None:
    """The interval of what a device takes beside computing, by the rounds in which its profile timed that."""
    halves = []
    for at, segment in enumerate(segments):
        if segment.device != device:
            continue
        columns = [problem.devices[device].frequencies_hz.index(step.frequency_hz) for step in segment.steps]
        kinds = (("begin" if at == 0 and its.rounds_s["begin"][columns[0]].size else "enter", columns[0]),
                 ("leave", columns[-1])) if columns else (("finish" if at else "forward", 0),)  # fmt: skip
        for kind, column in kinds:
            rounds_s = its.rounds_s[kind][column]
            if len(rounds_s) < 2:
                return None
            halves.append(half_of_mean(rounds_s))
    half_s = math.hypot(*halves)
    return (predicted_s - half_s, predicted_s + half_s) if halves else None


def _intervals(one: Profiled) -> dict[tuple[int, int, int], Interval]:
    """(first, last, frequency) -> the interval of a bundle's mean."""
    table = one.profile.summary()
    columns = ("first", "last", "frequency_hz", "duration_s_low", "duration_s_high")
    found = {}
    for first, last, hertz, low, high in zip(*(table[name] for name in columns), strict=True):
        if not math.isnan(low):
            found[int(first), int(last), int(hertz)] = float(low), float(high)
    return found


def _fallback_s(problem: Problem, segments: Sequence[Segment], hop: int) -> float | None:
    """What the edge device takes for the rest of the network from the last boundary that it had before a hop."""
    edge = max(at for at in range(hop + 1) if segments[at].device == 0)
    later = [step.bundle.first for segment in segments[edge + 1 :] for step in segment.steps]
    if not later:
        return 0.0
    best = [
        int(option.latency_ps) / 1e12
        for bundle in problem.bundles
        if bundle.first == later[0] and bundle.last == len(problem.layers) - 1
        for option in problem.options(bundle, 0)
    ]
    return min(best) if best else None
