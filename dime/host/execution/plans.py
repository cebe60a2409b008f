"""What is to be run of a study's link, and what was predicted of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dime.contract import stages
from dime.contract.bundles import spell
from dime.contract.errors import InputError
from dime.contract.stages import Segment
from dime.host.analysis import baselines, resampling
from dime.host.analysis.resampling import Samples
from dime.host.common.stats import CONFIDENCE
from dime.host.execution.comparison import OF_DEVICES, Interval, Part
from dime.host.execution.devices import Profiled
from dime.host.planning.plan import Plan, describe
from dime.host.planning.problem import Choice, Problem
from dime.host.profiles.published import averaged
from dime.host.studies.folder import SavedLink

Choices = tuple[Choice, ...]
FEW_DRAWS, DRAWS = 2, 200


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
        letter, name, also, choices, plan, segments, interval, tuple(_parts(problem, devices, plan, segments)), fallback
    )


def _parts(problem: Problem, devices: Sequence[Profiled], plan: Plan, segments: Sequence[Segment]) -> list[Part]:
    """Each stage of a plan with its prediction, in the order in which they come."""
    layers, names = list(problem.layers), [device.name for device in problem.devices]
    known = {one.name: _intervals(one) for one in devices}
    parts, steps, transfers = [], iter(plan.steps), iter(plan.transfers)
    for at, segment in enumerate(segments):
        if at:
            crossing = next(transfers)
            entered = layers[crossing.boundary] if crossing.boundary < len(layers) else "the result"
            parts.append(Part("crossing", entered, crossing.source, crossing.target, -1, crossing.size_bytes,
                              crossing.latency_s, None, "modelled", (at - 1, 0)))  # fmt: skip
        for number, one in enumerate(segment.steps):
            step = next(steps)
            interval = known[names[segment.device]].get((*one.bundle, one.frequency_hz))
            parts.append(Part("compute", spell(one.bundle, layers), step.device, "", step.frequency_hz, 0,
                              step.latency_s, interval, step.origin, (at, number)))  # fmt: skip
    for device in sorted({segment.device for segment in segments if segment.steps or segment.device == 0}):
        for cause in OF_DEVICES:
            parts.append(Part(cause, "", names[device], "", -1, 0, 0.0, None, "modelled", (device, 0)))
    return parts


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
