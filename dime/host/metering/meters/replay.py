"""A recorded log in place of a meter: at the pace it was recorded at, or all at once."""

from __future__ import annotations

import bisect
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from dime.contract.errors import DeviceError, TableError
from dime.contract.timebase import monotonic_ns
from dime.host.common.options import option
from dime.host.metering import api
from dime.host.metering.api import (
    ENERGY,
    TIME,
    TIMESTAMP,
    UNIX_MINUS_MONOTONIC_NS,
    Reader,
    Reading,
    RecordingEndedError,
    Sample,
    Series,
)
from dime.host.metering.gain import Gain
from dime.host.metering.meters import ina3221, rapl, smartpower3
from dime.host.metering.power_trace import breaks_ns, read_quality

GAIN = Gain(source="a recording; the meter that was recorded is not known")
_ROWS_AT_ONCE = 50


def writer(columns: Sequence[str]) -> ModuleType:
    """Finds the meter that writes logs with these columns.

    Raises:
        TableError: None does.
    """
    if "input voltage (mV)" in columns:
        return smartpower3
    for suffix, meter in ((ENERGY, rapl), (" current (mA)", ina3221)):
        if any(name.endswith(suffix) for name in columns):
            return meter
    raise TableError(f"its columns are no meter's: {', '.join(columns)}")


@dataclass(frozen=True)
class Options(api.Options):
    """What this meter can be told."""

    recording: str = option("The recorded log.", "")
    at_once: bool = option("Hands out everything without waiting.", False)


class Replay:
    """An open recording; damaged rows are counted and left out, as those of a meter are."""

    origin = "replayed"

    def __init__(self, options: Options) -> None:
        if not options.recording:
            raise DeviceError("which recording? give --recording, a power log")
        self._path, self._at_once = Path(options.recording), options.at_once
        try:
            self._stream = self._path.open(encoding="utf-8", errors="replace")
        except OSError as error:
            raise DeviceError(f"{self._path}: {error.strerror}") from None
        header = self._stream.readline().rstrip("\r\n").split(",")
        if header[-1] != TIMESTAMP or TIME not in header:
            self._stream.close()
            raise TableError(f"{self._path} is no power log: it needs the columns {TIME} and, as its last, {TIMESTAMP}")
        self.columns: Sequence[str] = header[:-1]
        quality = read_quality(self._path)
        self.channel = options.channel or str(quality.get("channel", ""))
        self._reading = reading(self.columns, self.channel)
        self.writes = writer(self.columns).__name__.rsplit(".", 1)[-1]
        self.own_clock = self.writes == "smartpower3"
        self.kind = "energy" if self.writes == "rapl" else "power"
        self.wire_s = float(quality.get("wire_s", 0.0))
        self.gain = Gain.checked(quality["gain"], str(self._path)) if quality.get("gain") else None
        self._breaks_ns = breaks_ns(quality, str(self._path)).tolist()
        self._parts = 0
        self.faults: Counter[str] = Counter()
        self._time_column = header.index(TIME)
        self._started_ns = monotonic_ns()
        self._first_ns: int | None = None
        self._waiting: Sample | None = None

    def read(self) -> list[Sample]:
        samples: list[Sample] = []
        until_ns = monotonic_ns() + 200_000_000
        while len(samples) < _ROWS_AT_ONCE:
            sample = self._waiting or self._next()
            if sample is None:
                if samples:
                    break
                raise RecordingEndedError
            self._waiting = None
            if self._at_once:
                samples.append(sample)
                continue
            due_ns = sample.timestamp_ns - UNIX_MINUS_MONOTONIC_NS
            if due_ns > until_ns or (samples and due_ns > monotonic_ns()):
                self._waiting = sample
                if not samples:
                    time.sleep(max(0.0, (until_ns - monotonic_ns()) / 1e9))
                break
            time.sleep(max(0.0, (due_ns - monotonic_ns()) / 1e9))
            samples.append(sample)
        return samples

    def _next(self) -> Sample | None:
        """The next good row, stamped as recorded, or as it would arrive if the recording began now."""
        for line in self._stream:
            self.faults["lines read"] += 1
            text, _, stamp = line.rstrip("\r\n").rpartition(",")
            fields = text.split(",")
            if not line.endswith("\n") or len(fields) != len(self.columns):
                self.faults["short lines"] += 1
                continue
            try:
                recorded_ns, time_ms = int(stamp), int(fields[self._time_column])
                self._reading(fields)
            except ValueError:
                self.faults["damaged rows"] += 1
                continue
            if self._first_ns is None:
                self._first_ns = recorded_ns
            parts = bisect.bisect_right(self._breaks_ns, recorded_ns)
            breaks, self._parts = parts > self._parts, max(parts, self._parts)
            shift_ns = 0 if self._at_once else self._started_ns + UNIX_MINUS_MONOTONIC_NS - self._first_ns
            return Sample(text, time_ms, recorded_ns + shift_ns, breaks)
        return None

    def silence(self) -> str:
        return f"{self._path} holds no rows"

    def close(self) -> None:
        self._stream.close()


def available(options: Options) -> str:
    if not options.recording:
        return "needs a recorded log: --recording"
    return "" if Path(options.recording).is_file() else f"{options.recording}: no such file"


def open_meter(options: Options) -> Replay:
    """Opens a recording.

    Raises:
        DeviceError: No such file.
        TableError: It is not a power log.
    """
    return Replay(options)


def reading(columns: Sequence[str], channel: str) -> Reading:
    """Reads rows as the meter that wrote them would."""
    found: Reading = writer(columns).reading(columns, channel)
    return found


def series(columns: Sequence[str], read: Reader, channel: str) -> Series:
    found: Series = writer(columns).series(columns, read, channel)
    return found
