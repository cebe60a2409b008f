"""power.csv -> a trace: one channel's readings on the logger's clock, and what is wrong with them."""

from __future__ import annotations

import json
import math
import mmap
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dime.contract import plugins, schemas
from dime.contract.errors import DimeError, TableError
from dime.contract.run import ORIGINS
from dime.host.metering import gain as gains
from dime.host.metering import meters, suspends
from dime.host.metering.api import FLOAT, TIME, TIMESTAMP, Series
from dime.host.metering.gain import Gain
from dime.host.metering.meter_timebase import INTEGERS, quickest_line, unroll
from dime.host.metering.quality import HostClock, PowerQuality
from dime.host.metering.suspends import Sleep

LONGEST_WIRE_S = 10.0  # of a line on its way from the meter
QUALITY_SUFFIX = "_quality.json"
MOST = 1e12  # of a reading and its steps; what is more, or no number, is damaged
# Which moment a reading stands for is known to half its period: SmartPower 3 takes the mean of the last two of its own
# readings, which may have been made up to half a period before the line is written.
MOMENT_SPAN = 0.5
# Lines arrive in batches where there are so many of them at once on average.
LEAST_BATCH = 3


@dataclass(frozen=True)
class Trace:
    """One channel's readings.

    Attributes:
        name: The log it came from.
        meter: The meter that wrote it.
        channel: The channel's name.
        kind: ``power``: `value` is W at `time_s`; ``energy``: J so far.
        origin: ``measured`` or ``replayed``.
        epoch_ns: The logger's clock where `time_s` is 0.
        time_s: Rising times.
        value: W or J.
        step: Difference between neighbouring values that the meter can tell apart.
        on: Whether the channel was on.
        segment: A number that changes where the meter restarted, was opened anew or another log begins: nothing is
            known in between, and energy counters do not rise there.
        period_s: The usual time between two readings.
        clock_error_s: Standard uncertainty of `time_s`, the same for all readings: which moment within its period a
            reading stands for, and how long the quickest line was under way.
        counts: How often each named fault was met.
        sleeps: When the logger's computer slept, as its log tells.
        gain: By what the values were multiplied, and how far they may all be off together.
        host_clock: ``boot_id`` and ``unix_minus_monotonic_ns`` of the logger, where its quality file has them.
    """

    name: str
    meter: str
    channel: str
    kind: str
    origin: str
    epoch_ns: int
    time_s: FLOAT
    value: FLOAT
    step: FLOAT
    on: NDArray[np.bool_]
    segment: INTEGERS
    period_s: float
    clock_error_s: float
    counts: Mapping[str, int] = field(default_factory=dict)
    host_clock: HostClock = field(default_factory=HostClock)
    gain: Gain = field(default_factory=Gain)
    sleeps: tuple[Sleep, ...] = ()

    def seconds(self, time_ns: INTEGERS) -> FLOAT:
        """Times on the logger's clock -> seconds on this trace's."""
        return np.asarray((time_ns - self.epoch_ns) * 1e-9, dtype=np.float64)


def build(
    series: Series,
    time_ms: INTEGERS,
    timestamp_ns: INTEGERS,
    name: str = "",
    quality: PowerQuality | None = None,
    gain: Gain | None = None,
) -> Trace:
    """Puts a channel's readings on the logger's clock.

    Args:
        series: The readings.
        time_ms: The meter's times.
        timestamp_ns: The arrivals.
        name: What the trace is called in messages.
        quality: The log's quality file.
        gain: The meter's gain, by which the values are multiplied; None: not known.

    Returns:
        The trace.

    Raises:
        TableError: Fewer than two readings.
    """
    quality, gain = quality or {}, gain or Gain()
    part = np.searchsorted(breaks_ns(quality, name), timestamp_ns, side="right")
    if series.own_clock:
        unrolled, segment, keep = unroll(time_ms, timestamp_ns, part)
    else:
        keep = np.append(True, timestamp_ns[1:] > np.maximum.accumulate(timestamp_ns)[:-1])[: len(timestamp_ns)]
        unrolled, segment = timestamp_ns // 1_000_000, part
    sound = (np.abs(series.value) <= MOST) & (np.abs(series.step) <= MOST)  # false for nan, too
    rows = np.flatnonzero(keep & sound)
    if len(rows) < 2:
        raise TableError(f"{name} holds {len(rows)} readings: too few for a trace")
    segment = segment[rows]
    value = series.value[rows]
    if series.kind == "energy":
        rise_j = np.diff(value)
        segment = segment + np.append(0, np.cumsum(rise_j < 0))
        value = value - np.append(0.0, np.cumsum(np.where(np.diff(segment) != 0, rise_j, 0.0)))
    segment = np.unique(segment, return_inverse=True)[1]
    epoch_ns = int(timestamp_ns[rows[0]])
    arrival_s = (timestamp_ns[rows] - epoch_ns) * 1e-9
    inside = np.diff(segment) == 0
    held_s = 0.0
    if series.own_clock:
        time_s = np.empty(len(rows))
        wire_s = float(quality.get("wire_s", 0.0))
        for number in range(int(segment[-1]) + 1):
            part = segment == number
            own_s = (unrolled[rows][part] - unrolled[rows][part][0]) * 1e-3
            offset_s, slope = quickest_line(own_s, arrival_s[part])
            usual_s = float(np.median(np.diff(own_s))) if len(own_s) > 1 else 0.0
            # A line is stamped when it is written, and cut to whole ms: half a ms is missing on average. Its values are
            # means over the period before: they stand for the period's middle.
            hidden_s = held_up(arrival_s[part] - own_s * (1 + slope) - offset_s, arrival_s[part], usual_s)
            held_s = max(held_s, usual_s if hidden_s is not None else 0.0)
            time_s[part] = own_s * (1 + slope) + offset_s + 0.5e-3 - wire_s - usual_s / 2 - (hidden_s or 0.0) / 2
    else:
        time_s = np.asarray(arrival_s)
    # A part of few lines, all of them held up, is placed too late: what of the next one would lie before its end, goes.
    later = time_s > np.append(-np.inf, np.maximum.accumulate(time_s)[:-1])
    rows, value, segment, time_s = rows[later], value[later], segment[later], time_s[later]
    segment = np.unique(segment, return_inverse=True)[1]
    inside = np.diff(segment) == 0
    steps = np.diff(time_s)[inside]
    period_s = float(np.median(steps)) if len(steps) else 0.0
    late = int((sound & ~keep).sum()) + int(len(later) - later.sum())
    counts = {"rows": len(rows), "late lines": late, "restarts": int(segment[-1]), "damaged rows": int((~sound).sum())}
    return Trace(
        name=name,
        meter=str(quality.get("meter", "")),
        channel=series.channel,
        kind=series.kind,
        origin=str(quality.get("origin", "measured")),
        epoch_ns=epoch_ns,
        time_s=time_s,
        value=value * gain.factor,
        step=series.step[rows] * gain.factor,
        on=series.on[rows],
        segment=segment,
        period_s=period_s,
        clock_error_s=float(np.linalg.norm([period_s * MOMENT_SPAN, held_s, 1e-3 if series.own_clock else 0.0]))
        / math.sqrt(12),
        counts=counts,
        host_clock=quality.get("host_clock", {}),
        gain=gain,
        sleeps=suspends.sleeps(quality, name),
    )


def held_up(delay_s: FLOAT, arrival_s: FLOAT, usual_s: float) -> float | None:
    """How long even the quickest lines may have been under way where lines arrive in batches.

    The last line of a batch was written up to a period before it was handed on. Where the batches' last lines come late
    by everything up to that, the quickest of them tells; where they always come late alike, nothing does.

    Args:
        delay_s: How late each line came beside the quickest.
        arrival_s: When it came.
        usual_s: The usual time between two lines.

    Returns:
        The span in which that lies; None where lines come one by one.
    """
    last = np.append(np.diff(arrival_s) > usual_s / 4, True)
    if usual_s <= 0 or last.sum() * LEAST_BATCH > len(last):
        return None
    low, high = np.quantile(delay_s[last], (0.1, 0.9))
    return float(max(usual_s - 1.25 * (high - low), 0.0))


def breaks_ns(quality: PowerQuality, name: str) -> INTEGERS:
    """Where the logger noted breaks: the timestamps of the first row after each."""
    given = quality.get("breaks_ns", [])
    if not isinstance(given, list) or not all(type(one) is int and abs(one) < 2**63 for one in given):
        raise TableError(f"{name}: the quality file's breaks_ns are no times")
    return np.sort(np.array(given, dtype=np.int64))


def join(traces: Sequence[Trace]) -> Trace:
    """Puts several traces of one meter one after another; nothing is known between them."""
    if len(traces) == 1:
        return traces[0]
    ordered = sorted(traces, key=lambda trace: trace.epoch_ns + trace.time_s[0] * 1e9)
    first = ordered[0]
    kinds = {(trace.kind, trace.channel, trace.origin) for trace in ordered}
    if len(kinds) > 1:
        raise TableError(f"the power logs do not belong together: {', '.join(map(str, sorted(kinds)))}")
    times = [trace.time_s + (trace.epoch_ns - first.epoch_ns) * 1e-9 for trace in ordered]
    for before, after, late, early in zip(ordered, ordered[1:], times, times[1:], strict=False):
        if early[0] <= late[-1]:
            raise TableError(f"the power logs {before.name} and {after.name} overlap in time: name one of them")
    offsets = np.cumsum([0] + [int(trace.segment[-1]) + 1 for trace in ordered[:-1]])
    counts: dict[str, int] = {}
    for trace in ordered:
        for key, count in trace.counts.items():
            counts[key] = counts.get(key, 0) + count
    return Trace(
        name=", ".join(trace.name for trace in ordered),
        meter=first.meter,
        channel=first.channel,
        kind=first.kind,
        origin=first.origin,
        epoch_ns=first.epoch_ns,
        time_s=np.concatenate(times),
        value=np.concatenate([trace.value for trace in ordered]),
        step=np.concatenate([trace.step for trace in ordered]),
        on=np.concatenate([trace.on for trace in ordered]),
        segment=np.concatenate([trace.segment + n for trace, n in zip(ordered, offsets.tolist(), strict=True)]),
        period_s=float(np.median([trace.period_s for trace in ordered])),
        clock_error_s=max(trace.clock_error_s for trace in ordered),
        counts=counts,
        host_clock=first.host_clock,
        gain=gains.widest([trace.gain for trace in ordered]),
        sleeps=tuple(sleep for trace in ordered for sleep in trace.sleeps),
    )


def quality_path(log: Path) -> Path:
    """Where a log's quality file lies: ``power.csv`` has ``power_quality.json``."""
    return log.with_name(log.stem + QUALITY_SUFFIX)


def load(path: Path, channel: str = "", calibration: str | os.PathLike[str] | None = None) -> Trace:
    """Reads a power log. A last row that was cut off by a crash or a power cut is counted and left out.

    Args:
        path: The log.
        channel: The channel that feeds the device; empty: as the logger was told, or the only one that was on.
        calibration: A file of ``dime power calibrate``; None: as the logger was told, or what the maker states.

    Returns:
        The trace.

    Raises:
        TableError: No file, no power log, columns missing, damaged, or too few readings.
        InputError: No such channel, or it is not clear which one is meant.
    """
    import pyarrow
    from pyarrow import csv

    from dime.host.metering.meters import replay

    try:
        with path.open("rb") as stream:
            content = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
    except OSError as error:
        raise TableError(f"{path}: {error.strerror}") from None
    except ValueError:
        raise TableError(f"{path} is empty") from None
    end = content.rfind(b"\n") + 1
    columns = content[: content.find(b"\n") + 1].decode("utf-8", "replace").strip().split(",")
    missing = [name for name in (TIME, TIMESTAMP) if name not in columns]
    if missing:
        raise TableError(f"{path} lacks the columns {', '.join(missing)}")
    skipped = {"damaged rows": int(end < len(content))}

    def skip(_row: object) -> str:
        skipped["damaged rows"] += 1
        return "skip"

    def read(names: Sequence[str]) -> dict[str, INTEGERS]:
        skipped["damaged rows"] = int(end < len(content))
        table = csv.read_csv(
            pyarrow.py_buffer(memoryview(content)[:end]),
            parse_options=csv.ParseOptions(invalid_row_handler=skip),
            convert_options=csv.ConvertOptions(
                include_columns=list(names), column_types=dict.fromkeys(names, pyarrow.int64())
            ),
        )
        return {name: table[name].to_numpy() for name in names}

    quality = read_quality(path)
    writer = plugins.load(meters, quality["meter"]) if quality.get("meter") else replay.writer(columns)
    try:
        times = read([TIME, TIMESTAMP])
        for name, column in times.items():
            if column.dtype.kind != "i":  # a float's way of saying that one is missing
                raise TableError(f"is damaged: {name} has a row that is no whole number")
        if len(times[TIME]) < 2:
            raise TableError(f"holds {len(times[TIME])} readings: too few for a trace")
        series = writer.series(columns, read, channel or str(quality.get("channel", "")))
    except pyarrow.ArrowInvalid as error:
        raise TableError(f"{path} is damaged: {error}") from None
    except DimeError as error:
        raise type(error)(f"{path}: {error}") from None
    meter = writer.__name__.rsplit(".", 1)[-1]
    if calibration is not None:
        gain = gains.of_file(calibration, meter, series.channel)
    else:
        gain = Gain.checked(quality["gain"], str(quality_path(path))) if quality.get("gain") else writer.GAIN
    trace = build(series, times[TIME], times[TIMESTAMP], str(path), quality, gain)
    skipped["damaged rows"] += trace.counts["damaged rows"]
    return Trace(**{**vars(trace), "meter": meter, "counts": {**trace.counts, **skipped}})


def read_quality(path: Path) -> PowerQuality:
    """Reads a log's quality file; empty where there is none, as beside a published log.

    Raises:
        TableError: It is damaged.
    """
    try:
        content: PowerQuality = json.loads(quality_path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise TableError(f"{quality_path(path)} is damaged: {error}") from None
    if not isinstance(content, dict):
        return {}
    schemas.version(schemas.POWER_QUALITY, content, quality_path(path))
    schemas.check_tables({path.name: schemas.POWER}, content, str(quality_path(path)))
    wire_s = content.get("wire_s", 0.0)
    if isinstance(wire_s, bool) or not isinstance(wire_s, int | float) or not 0 <= wire_s < LONGEST_WIRE_S:
        raise TableError(f"{quality_path(path)} is damaged: wire_s is not a time")
    for name in ("meter", "channel", "origin"):
        if not isinstance(content.get(name, ""), str | None):
            raise TableError(f"{quality_path(path)} is damaged: {name} is not a name")
    if content.get("origin", "measured") not in ORIGINS:
        raise TableError(f"{quality_path(path)} is damaged: origin is none of {', '.join(ORIGINS)}")
    if not isinstance(content.get("host_clock", {}), dict):
        raise TableError(f"{quality_path(path)} is damaged: host_clock is not an object")
    return content
