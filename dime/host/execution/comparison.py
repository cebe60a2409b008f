"""What was predicted of a plan beside what was measured, as a whole and by cause.

The verdict is fixed before the run: a prediction holds if the measured mean lies in its 95 % interval, widened by the
half-width of the measurement's own. Both means are of a typical run: over the rounds (a profile's passes), of each
round's mean without its lowest and highest 20 %. A round counts once, as a pass does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from dime.contract.stages import Segment
from dime.host.common import stats
from dime.host.common.stats import Floats
from dime.host.execution.joules import Energy
from dime.host.planning import encoded

if TYPE_CHECKING:
    from dime.contract.stages import Row

OF_DEVICES = ("copies", "clock", "encoding", "overhead")  # which are of a device altogether
Interval = tuple[float, float]


@dataclass(frozen=True)
class Part:
    """One stage of a plan: a bundle, what crosses, or what else takes time.

    Attributes:
        cause: compute, crossing, copies, clock (a change of frequency), encoding, or overhead.
        what: The bundle, or the layer that a tensor enters.
        device: The device that computes, or sends.
        target: The device that receives; empty for all but crossings.
        frequency_hz: The clock; -1 is one left alone.
        size_bytes: What crosses.
        predicted_s: Predicted mean, s.
        interval_s: Its interval; None where nothing is known of it.
        origin: Where the prediction comes from.
        at: Position of the segment, and of the step in it; of the hop; or of the device.
        waited_s: What of the prediction is for the wait before it, s.
    """

    cause: str
    what: str
    device: str
    target: str
    frequency_hz: int
    size_bytes: int
    predicted_s: float
    interval_s: Interval | None
    origin: str
    at: tuple[int, int] = (0, 0)
    waited_s: float = 0.0


@dataclass(frozen=True)
class Measured:
    """A measured time.

    Attributes:
        mean_s: Mean over the rounds of typical requests, s.
        interval_s: Its interval; None where there is one round only.
        median_s: Median of all requests.
        p95_s: What 95 % of the requests keep.
        count: How many requests.
        rounds: In how many rounds.
    """

    mean_s: float
    interval_s: Interval | None
    median_s: float
    p95_s: float
    count: int
    rounds: int

    @property
    def half_s(self) -> float:
        """Half of the interval; 0 where there is none."""
        return 0.0 if self.interval_s is None else (self.interval_s[1] - self.interval_s[0]) / 2


@dataclass(frozen=True)
class Told:
    """One stage, predicted and measured.

    Attributes:
        part: The stage.
        measured: What it took.
        back_to_back: What its bundle took one run after the other, as in a profile, in the same minutes: what differs
            from it is the plan's doing (a device that waits between requests), the rest is the device's.
    """

    part: Part
    measured: Measured
    back_to_back: Measured | None = None


@dataclass(frozen=True)
class Effect:
    """What encodings did to the results of a plan, beside the network's without any.

    Attributes:
        same_class: Share of the pictures whose first class stayed the same; None where the result is no classes.
        distance: How far the result is from that without them, as a part of it, the mean; None where it is no number.
        images: How many pictures there were.
    """

    same_class: float | None
    distance: float | None
    images: int

    def __str__(self) -> str:
        return encoded.effect(self.same_class, self.distance, self.images)


@dataclass(frozen=True)
class Compared:
    """A plan that was run.

    Attributes:
        name: Its name.
        also: Others that have the same plan.
        predicted_s: Predicted latency (of a pipeline: the slowest stage's time), s.
        predicted_interval_s: Its interval; None where the profiles tell none.
        measured: The same, measured.
        stages: Each stage.
        fallbacks: Requests that the edge device finished by itself.
        distance: How far its results are from the whole network's, as a part of the largest value. Where something is
            encoded on the way, that is the whole network with the same encodings.
        effect: What the encodings on the way did to its results; None where nothing was encoded.
        notes: What else there is to say.
        energies: Its joules on each device that a meter watches.
    """

    name: str
    also: tuple[str, ...]
    predicted_s: float
    predicted_interval_s: Interval | None
    measured: Measured
    stages: tuple[Told, ...]
    fallbacks: int = 0
    distance: float | None = None
    effect: Effect | None = None
    notes: tuple[str, ...] = field(default=())
    energies: tuple[Energy, ...] = ()

    @property
    def holds(self) -> bool | None:
        """Whether the prediction holds; None where it has no interval."""
        return stats.is_kept(self.predicted_interval_s, self.measured.mean_s, self.measured.half_s)

    @property
    def error(self) -> float:
        """Measured over predicted, less one."""
        return self.measured.mean_s / self.predicted_s - 1

    @property
    def meanwhile_s(self) -> float | None:
        """The prediction, had each bundle taken what it took back to back in the minutes of the run.

        How far the measured time is from it is the model's doing; how far it is from what was predicted is that of the
        devices, whose own speed has changed since they were profiled. None where no bundle was run so.
        """
        changes_s = [
            told.back_to_back.mean_s + told.part.waited_s - told.part.predicted_s
            for told in self.stages
            if told.back_to_back is not None
        ]
        return self.predicted_s + sum(changes_s) if changes_s else None

    @property
    def cause(self) -> Told | None:
        """The stage that explains most of the difference."""
        return max(self.stages, key=lambda told: abs(told.measured.mean_s - told.part.predicted_s), default=None)


def measure(values: Sequence[Floats]) -> Measured:
    """Describes times.

    Args:
        values: Those of each round, s.
    """
    every = np.concatenate(values)
    means = np.array([_typical(one) for one in values])
    interval = None
    if len(means) > 1:
        half = stats.half_of_mean(means)
        interval = float(means.mean()) - half, float(means.mean()) + half
    return Measured(
        float(means.mean()),
        interval,
        float(np.median(every)),
        float(np.quantile(every, 0.95)),
        len(every),
        len(values),
    )


def _typical(values: Floats) -> float:
    return float(stats.trimmed_mean(values, np.array([0, len(values)]))[0])


def stage_times(row: Row, segments: Sequence[Segment], delays_s: Sequence[float]) -> dict[tuple[str, int, int], float]:
    """What a request's stages took, s, by cause and place.

    No two devices' clocks are compared: what passes between a device's own stamps is known exactly, and so is the sum
    of all crossings between leaving the edge device and coming back. Of that sum each crossing has the time in which
    its bytes arrived, and of the rest its part of the predicted delays.

    Args:
        row: The request.
        segments: The plan's segments.
        delays_s: For each hop the predicted delay before its first byte arrives.

    Returns:
        (cause, segment or hop, step) -> seconds.
    """
    told = row["segments"]
    found: dict[tuple[str, int, int], float] = {}
    within = [0.0] * len(segments)
    for at, (segment, stamps) in enumerate(zip(segments, told, strict=True)):
        copies, coding = stamps["copy_in"] + stamps["copy_out"], stamps["decode"] + stamps["encode"]
        known = copies + coding
        for number, step in enumerate(stamps["steps"]):
            found["compute", at, number] = step["compute"] / 1e9
            found["clock", at, number] = step["change"] / 1e9
            known += step["compute"] + step["change"]
        found["copies", at, 0] = copies / 1e9
        found["encoding", at, 0] = coding / 1e9
        within[at] = (stamps["out_first"] - stamps["in_last"]) / 1e9
        found["overhead", at, 0] = within[at] - known / 1e9
        assert len(segment.steps) == len(stamps["steps"])
    left = 0
    for at in range(1, len(segments)):
        if segments[at].device:
            continue
        hops = range(left, at)
        total = (told[at]["in_last"] - told[left]["out_first"]) / 1e9 - sum(within[left + 1 : at])
        arriving = [(told[hop + 1]["in_last"] - told[hop + 1]["in_first"]) / 1e9 for hop in hops]
        rest = total - sum(arriving)
        weights = [delays_s[hop] for hop in hops]
        whole = sum(weights)
        for place, hop in enumerate(hops):
            part = weights[place] / whole if whole else 1 / len(weights)
            found["crossing", hop, 0] = arriving[place] + rest * part
        left = at
    return found


def by_stage(
    parts: Sequence[Part],
    rounds: Sequence[Sequence[Row]],
    segments: Sequence[Segment],
    delays_s: Sequence[float],
    alone: Sequence[Mapping[tuple[int, int], Sequence[float]]] = (),
) -> tuple[Told, ...]:
    """Each part of a plan beside what it took; requests that the edge device finished by itself do not count."""
    times = [[stage_times(row, segments, delays_s) for row in rows if not row["fallback"]] for rows in rounds]
    times = [one for one in times if one]
    told = []
    for part in parts:
        if not times:
            continue
        key = (part.cause, *part.at)
        if part.cause in OF_DEVICES:
            values = [np.array([of_device(one, part, segments) for one in of]) for of in times]
        else:
            values = [np.array([one[key] for one in of]) for of in times]
        before = [np.array(one[part.at]) for one in alone if part.cause == "compute" and part.at in one]
        told.append(Told(part, measure(values), measure(before) if before else None))
    return tuple(told)


def of_device(times: Mapping[tuple[str, int, int], float], part: Part, segments: Sequence[Segment]) -> float:
    """All that a cause takes on one device."""
    return sum(
        seconds
        for (cause, at, _), seconds in times.items()
        if cause == part.cause and segments[at].device == part.at[0]
    )


def farthest(rows: Sequence[Row]) -> float | None:
    """How far the results of a check are from the whole network's, as a part of the largest value."""
    found = [row["distance"] for row in rows if row["distance"] is not None]
    return max(found) if found else None


def effect(rows: Sequence[Row]) -> Effect | None:
    """What encodings did to the results of a check; None where nothing was encoded."""
    same = [row["same_class"] for row in rows]
    off = [row["off"] for row in rows]
    if not any(one is not None for one in (*same, *off)):
        return None
    shares, distances = ([one for one in several if one is not None] for several in (same, off))
    return Effect(
        sum(shares) / len(shares) if len(shares) == len(rows) else None,
        sum(distances) / len(distances) if len(distances) == len(rows) else None,
        len(rows),
    )
