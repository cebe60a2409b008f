"""power.csv as it is written, and the quality file beside it.

Rows reach the disk within a second, so that a crash or a power cut costs no more than that. The quality file says what
was read, rejected and missed, and where nothing is known between two rows (`breaks_ns`: the timestamps of the rows
after such a break); its size does not grow with the time logged.
"""

from __future__ import annotations

import contextlib
import errno
import os
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from dime.contract import files, schemas
from dime.contract.errors import InputError, TableError
from dime.contract.timebase import boot_id, monotonic_ns
from dime.host.metering.api import TIMESTAMP, UNIX_MINUS_MONOTONIC_NS, Meter, Sample
from dime.host.metering.gain import Gain
from dime.host.metering.meter_timebase import WRAP_MS, follows
from dime.host.metering.power_trace import QUALITY_SUFFIX, quality_path
from dime.host.metering.quality import PowerQuality, SleepNoted
from dime.host.metering.suspends import MOST_SLEEPS

SYNC_AFTER_S = 0.5
LONGEST_NAME_BYTES = 255
MOST_MARKS = 1000
MOST_BREAKS = 1000
_NANOSECONDS_A_STEP = 100_000
_MOST_STEPS = 10_000
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW


def check_name(name: str) -> str:
    """Accepts a log's name that came over the network.

    Args:
        name: The name.

    Returns:
        The same name.

    Raises:
        InputError: It would leave the output folder, hide there, or be no file's name; the message says why.
    """
    if not name:
        raise InputError("a log needs a file name")
    if not name.isprintable():  # also U+009B, which begins a terminal's escape, and U+202E, which turns the text around
        raise InputError("a file name has no control characters")
    if "/" in name or "\\" in name:
        raise InputError(f"'{name}' is a path; logs lie in the logger's own folder, give a plain file name")
    if name.startswith("."):
        raise InputError(f"'{name}' begins with a dot")
    try:
        size = len(name.encode()) + len(QUALITY_SUFFIX) + len(files.PART)
    except UnicodeEncodeError:
        raise InputError("the file name is no text") from None
    if size > LONGEST_NAME_BYTES:
        raise InputError(f"the file name is too long: {len(name)} characters")
    return name


class PowerFile:
    """A log that is being written.

    Args:
        path: The file; its folder must exist.
        meter: Where the rows come from.
        channel: The channel chosen for the device, or empty.
        gain: The meter's gain where it was calibrated; readers multiply by it.

    Raises:
        InputError: The file, or its quality file, is there already, or is a link.
        TableError: It cannot be created.
    """

    def __init__(self, path: Path, meter: Meter, channel: str, gain: Gain | None = None) -> None:
        self.path = path
        self._quality_path = quality_path(path)
        part = self._quality_path.with_name(self._quality_path.name + files.PART)
        if os.path.lexists(part):
            raise InputError(f"{part.name} is there already; nothing was overwritten")
        self._stream = os.fdopen(_create(path), "w", encoding="utf-8", newline="")
        try:
            os.close(_create(self._quality_path))
        except Exception:
            self._stream.close()
            path.unlink()
            raise
        self._own_clock = meter.own_clock
        self._facts: PowerQuality = {
            "state": "logging",
            "meter": meter.writes,
            "origin": meter.origin,
            "channel": channel,
            "wire_s": meter.wire_s,
            "gain": None if gain is None else gain.data(),
            "host_clock": {"boot_id": boot_id(), "unix_minus_monotonic_ns": UNIX_MINUS_MONOTONIC_NS},
            "started_utc": _utc(),
        }
        self.marks: list[dict[str, object]] = []
        self.marks_lost = 0
        self.breaks_ns: list[int] = []
        self.sleeps: list[SleepNoted] = []
        self.rows = 0
        self._steps: Counter[int] = Counter()
        self._events: Counter[str] = Counter()
        self._last: Sample | None = None
        self._span_ns = self._longest_ns = 0
        self._faults: Mapping[str, int] = {}
        self._synced_ns = monotonic_ns()
        try:
            self._stream.write(",".join([*meter.columns, TIMESTAMP]) + "\n")
            self.sync({})
            _sync_folder(path.parent)
        except OSError as error:
            with contextlib.suppress(OSError):
                self._stream.close()
            for begun in (path, self._quality_path):
                begun.unlink(missing_ok=True)
            raise TableError(f"{path}: {error.strerror}") from None

    def write(self, samples: Sequence[Sample]) -> None:
        """Appends rows.

        Raises:
            OSError: The disk would not take them, or there are too many breaks to note.
        """
        for sample in samples:
            if sample.breaks and self._last is not None:
                self._break(sample.timestamp_ns)
            self._stream.write(f"{sample.text},{sample.timestamp_ns}\n")
            self.rows += 1
            self._note(sample)

    def slept(self, after_ns: int, slept_s: float) -> None:
        """Notes that this computer slept before a row that is about to be written."""
        if self._last is not None and len(self.sleeps) < MOST_SLEEPS:
            self.sleeps.append({"before_ns": self._last.timestamp_ns, "after_ns": after_ns, "slept_s": slept_s})

    def _break(self, timestamp_ns: int) -> None:
        """Notes a break, on the disk before any row after it is there."""
        if len(self.breaks_ns) >= MOST_BREAKS:
            raise OSError(errno.EIO, f"the meter broke off {MOST_BREAKS} times")
        self.breaks_ns.append(timestamp_ns)
        self.sync(self._faults)

    def _note(self, sample: Sample) -> None:
        """Counts the distance to the row before."""
        last = self._last
        if last is None:
            self._last = sample
            return
        if self._own_clock:
            step_ms = sample.time_ms - last.time_ms
            if sample.breaks:
                step_ms = 0
            elif step_ms <= 0:
                why = follows(last.time_ms, sample.time_ms, (sample.timestamp_ns - last.timestamp_ns) * 1e-9)
                self._events[why] += 1
                if why == "late":
                    return
                step_ms = step_ms + WRAP_MS if why == "wrap" else 0
            step_ns = step_ms * 1_000_000 or (sample.timestamp_ns - last.timestamp_ns) * sample.breaks
        else:
            step_ns = sample.timestamp_ns - last.timestamp_ns
        self._last = sample
        if step_ns > 0:
            self._span_ns += step_ns
            self._longest_ns = max(self._longest_ns, step_ns)
            step = round(step_ns / _NANOSECONDS_A_STEP)
            self._steps[step if len(self._steps) < _MOST_STEPS or step in self._steps else 0] += 1

    def mark(self, mark: dict[str, object]) -> None:
        """Keeps a mark for the quality file; beyond the first thousand they are only counted."""
        if len(self.marks) < MOST_MARKS:
            self.marks.append(mark)
        else:
            self.marks_lost += 1

    def is_due(self) -> bool:
        """Whether rows have waited long enough to be forced onto the disk."""
        return bool(monotonic_ns() - self._synced_ns > SYNC_AFTER_S * 1e9)

    def sync(self, faults: Mapping[str, int]) -> None:
        """Forces everything onto the disk.

        Args:
            faults: What the meter has met since the log began, by name.

        Raises:
            OSError: The disk would not take it.
        """
        self._faults = faults
        self._stream.flush()
        os.fsync(self._stream.fileno())
        stamped = schemas.stamped(schemas.POWER_QUALITY, self.quality(), **{self.path.name: schemas.POWER})
        files.replace(self._quality_path, files.as_json(stamped))
        self._synced_ns = monotonic_ns()

    def abandon(self) -> None:
        """Lets go of a log that the disk would not take; what is there stays."""
        with contextlib.suppress(OSError):
            self._stream.close()

    def close(self, ended_by: str, faults: Mapping[str, int]) -> None:
        """Completes the log; when this returns it is safely on the disk."""
        self._facts |= {"state": "complete", "ended_by": ended_by, "ended_utc": _utc()}
        try:
            self.sync(faults)
            _sync_folder(self.path.parent)
        finally:
            self._stream.close()

    def quality(self) -> PowerQuality:
        """What is known of the log's quality."""
        steps = {step: count for step, count in self._steps.items() if step}
        usual = max(steps, key=lambda step: steps[step], default=0)
        gaps = {step: count for step, count in steps.items() if step >= 1.5 * usual}
        missing = sum(count * (round(step / usual) - 1) for step, count in gaps.items())
        number = sum(self._steps.values())
        return self._facts | {
            "rows": self.rows,
            "lines_read": self._faults.get("lines read", 0),
            "faults": {name: count for name, count in self._faults.items() if name != "lines read"},
            "gaps": sum(gaps.values()),
            "readings_missing_in_gaps": missing,
            "longest_gap_s": self._longest_ns * 1e-9 if gaps else 0.0,
            "usual_period_s": usual * _NANOSECONDS_A_STEP * 1e-9,
            "achieved_period_s": self._span_ns * 1e-9 / number if number else 0.0,
            "meter_reboots": self._events["reboot"],
            "clock_wraps": self._events["wrap"],
            "late_lines": self._events["late"],
            "breaks_ns": self.breaks_ns,
            "sleeps": self.sleeps,
            "marks": self.marks,
            "marks_lost": self.marks_lost,
        }


def _create(path: Path) -> int:
    """Creates a file that was not there before; links are not followed."""
    try:
        return os.open(path, _NEW, 0o644)
    except FileExistsError:
        raise InputError(f"{path.name} is there already; nothing was overwritten") from None
    except OSError as error:
        raise TableError(f"{path}: {error.strerror}") from None


def _sync_folder(folder: Path) -> None:
    """Forces the names of a folder's files onto the disk."""
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def _utc() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
