"""Joules of plans that are run, where a meter of this computer watches a device: by the lab file, or by who asks.

A container's clock is another than the logger's; how the two stand is asked behind each round. A round is one window:
its joules, shared out to its requests, hold what lies between two of them, too. Single requests and stages have joules
as far as the meter can tell such short windows.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from dime.contract.errors import DeviceError, InputError
from dime.host.bench.lab import Meter
from dime.host.common import console, stats
from dime.host.common.stats import Floats
from dime.host.execution.devices import Profiled
from dime.host.execution.stage_process import OWN, Clock
from dime.host.metering import integrate
from dime.host.metering.api import UNIX_MINUS_MONOTONIC_NS
from dime.host.metering.power_trace import Trace
from dime.host.metering.recorder import Recorder

if TYPE_CHECKING:
    from dime.contract.stages import Row, Segment

PATIENCE_S, EDGE_S = 5.0, 20e-6
Interval = tuple[float, float]


@dataclass(frozen=True)
class Round:
    """What a device took in one round of a plan.

    Attributes:
        request_j: Joules a request: the round's, by their number; NaN where the meter does not tell them.
        error_j: Standard uncertainty of that which all rounds share, the meter's gain apart.
        gain_error: Relative standard uncertainty of the meter's gain; None where nobody states one.
        alias_j: Standard deviation by what is not seen between two readings, which rounds at one place share.
        phase: Where in the meter's period the round begins, 0 to 1.
        steps_j: (segment, step) -> joules of each run of that bundle; NaN where it is too short for the meter.
        why_not: Why there are no joules.
    """

    request_j: float
    error_j: float
    gain_error: float | None
    alias_j: float = 0.0
    phase: float = 0.0
    steps_j: Mapping[tuple[int, int], Floats] = field(default_factory=dict)
    why_not: str = ""


@dataclass(frozen=True)
class Energy:
    """A plan's joules a request on one device.

    Attributes:
        device: The device.
        predicted_j: What the plan says, without the radio, which an emulated link has not; None where it does not.
        predicted_interval_j: Its interval.
        mean_j: Measured mean over the rounds; None where the meter told none.
        interval_j: Its interval, the meter's gain included; None where there is one round only.
        steps_j: (segment, step) -> mean joules of a bundle, where the meter tells any.
        why_not: Why there are no joules.
    """

    device: str
    predicted_j: float | None
    predicted_interval_j: Interval | None
    mean_j: float | None
    interval_j: Interval | None
    steps_j: Mapping[tuple[int, int], float] = field(default_factory=dict)
    why_not: str = ""

    @property
    def holds(self) -> bool | None:
        """The verdict, by the rule for times; None without an interval, or without a measurement."""
        if self.mean_j is None:
            return None
        half_j = 0.0 if self.interval_j is None else (self.interval_j[1] - self.interval_j[0]) / 2
        return stats.is_kept(self.predicted_interval_j, self.mean_j, half_j)


def metered(devices: Sequence[Profiled], text: str) -> tuple[Profiled, ...]:
    """The devices, the edge device with the meter that was typed: its name, then its options as NAME=VALUE, by commas.

    Raises:
        InputError: It is no such thing.
    """
    if not text:
        return tuple(devices)
    name, *parts = (part.strip() for part in text.split(","))
    options = {}
    for part in parts:
        option, equals, value = part.partition("=")
        if not option or not equals:
            raise InputError(f"METER: '{part}' is not NAME=VALUE")
        options[option] = value
    edge = devices[0]
    return replace(edge, device=replace(edge.device, meter=Meter(name, options))), *devices[1:]


@contextlib.contextmanager
def watching(devices: Sequence[Profiled]) -> Iterator[dict[int, Recorder]]:
    """Reads the meters of the devices that have one, all of which hang on this computer: their position -> the meter.

    Raises:
        DimeError: A meter cannot be opened, or gives no readings.
    """
    with contextlib.ExitStack() as stack:
        found = {}
        for at, one in enumerate(devices):
            meter = one.device.meter
            if meter is None:
                continue
            options = {"serial" if key == "port" else key: value for key, value in meter.options.items()}
            recorder = Recorder(meter.name, options, partial(_tell, one.device.name))
            stack.callback(recorder.close, "the end of the run")
            recorder.begin()
            recorder.wait_for_reading()
            found[at] = recorder
        yield found


def _tell(name: str, text: str) -> None:
    console.tell(f"{name}: {text}")


def of_round(
    meters: Mapping[int, Recorder], rows: Sequence[Row], segments: Sequence[Segment], clocks: Mapping[int, Clock]
) -> dict[int, Round]:
    """What each watched device took in a round that is just over; ``clocks`` has theirs and the edge device's."""
    found = {}
    for at, recorder in meters.items():
        since_ns, until_ns = (UNIX_MINUS_MONOTONIC_NS + clocks[0].offset_ns + edge for edge in _edges(rows))
        try:
            trace = recorder.trace(since_ns, until_ns, PATIENCE_S)
        except DeviceError as error:
            found[at] = Round(math.nan, math.nan, None, why_not=str(error))
        else:
            found[at] = measure(trace, rows, segments, at, clocks[0], clocks[at])
    return found


def measure(
    trace: Trace,
    rows: Sequence[Row],
    segments: Sequence[Segment],
    device: int,
    edge: Clock = OWN,
    own: Clock = OWN,
) -> Round:
    """A round's joules on one device, by the power meanwhile.

    Args:
        trace: The power, on this computer's clock.
        rows: The round's requests, whose stamps are on their devices' clocks.
        segments: The plan's segments.
        device: Position of the device.
        edge: How the edge device's clock stands to this computer's.
        own: How the device's does.
    """
    whole = _windows(trace, [_edges(rows)], edge)
    steps = {}
    for at, segment in enumerate(segments):
        for number in range(len(segment.steps)) if segment.device == device else ():
            stamps = [row["segments"][at]["steps"][number] for row in rows if not row["fallback"]]
            if stamps:
                steps[at, number] = _windows(trace, [(one["start"], one["end"]) for one in stamps], own).energy_j
    parts_j = (whole.sampling_j, whole.resolution_j, (whole.late_j - whole.early_j) / 2)
    energy_j, error_j, alias_j = (
        float(one) / len(rows) for one in (whole.energy_j[0], np.linalg.norm(parts_j), whole.alias_j[0])
    )
    phase, why_not = float(whole.phase[0]), str(whole.rejected[0])
    return Round(energy_j, error_j, trace.gain.error, alias_j, phase, steps, why_not)


def _edges(rows: Sequence[Row]) -> tuple[int, int]:
    return min(row["start_ns"] for row in rows), max(row["end_ns"] for row in rows)


def _windows(trace: Trace, windows: Sequence[tuple[int, int]], clock: Clock) -> integrate.Energies:
    edges_ns = np.array(windows, np.int64).reshape(-1, 2) + UNIX_MINUS_MONOTONIC_NS + clock.offset_ns
    error_s = math.hypot(EDGE_S, trace.clock_error_s, clock.error_s)
    return integrate.measure(trace, edges_ns[:, 0], edges_ns[:, 1], error_s)


def summed_up(
    device: str, rounds: Sequence[Round], predicted_j: float | None, predicted_interval_j: Interval | None
) -> Energy:
    """A plan's joules over its rounds, which count once each.

    The interval has how the rounds differ, and what they share: what the meter cannot tell of a window, and its gain.
    What it does not see between two readings is in how rounds differ that begin anywhere in its period, and counts by
    itself only as far as they all begin at one place. The gain's error is a standard uncertainty of any shape: where it
    is a limit, and more than all else, the interval takes in a little more than 95 %.
    """
    known = [one for one in rounds if math.isfinite(one.request_j)]
    if not known:
        why = next((one.why_not for one in rounds if one.why_not), "the meter told none")
        return Energy(device, predicted_j, predicted_interval_j, None, None, why_not=why)
    values = np.array([one.request_j for one in known])
    mean_j, interval = float(values.mean()), None
    if len(values) > 1:
        at_one = float(integrate.locked(np.array([one.phase for one in known]), np.zeros(len(known), np.intp))[0])
        shared_j = 1.96 * math.hypot(
            float(np.mean([one.error_j for one in known])),
            math.sqrt(at_one * float(np.mean([one.alias_j**2 for one in known]))),
            (known[0].gain_error or 0.0) * mean_j,
        )
        half_j = math.hypot(stats.half_of_mean(values), shared_j)
        interval = mean_j - half_j, mean_j + half_j
    steps = {}
    for key in known[0].steps_j:
        of_step = np.concatenate([one.steps_j[key] for one in known if key in one.steps_j])
        if np.isfinite(of_step).any():
            steps[key] = float(np.nanmean(of_step))
    return Energy(device, predicted_j, predicted_interval_j, mean_j, interval, steps)
