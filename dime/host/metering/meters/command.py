"""Any program that prints a time and watts: a line ``SECONDS WATTS`` for each reading, on a clock of the program's own.

The two numbers may be parted by blanks, a comma or a semicolon; lines that are none, such as a heading, are passed over
and counted. So a meter that DIME does not know needs a script and no plug-in.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import shlex
import shutil
import signal
import subprocess
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dime.contract.errors import DeviceError, TableError
from dime.contract.timebase import monotonic_ns
from dime.host.common.options import option
from dime.host.metering import api
from dime.host.metering.api import (
    TIME,
    UNIX_MINUS_MONOTONIC_NS,
    Reader,
    Reading,
    Sample,
    Series,
    choose_channel,
)
from dime.host.metering.gain import Gain

GAIN = Gain(source="what a program prints has no accuracy that DIME could know; calibrate it")
CHANNEL, POWER = "printed", "power (uW)"
COLUMNS = (TIME, POWER)
NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
LINE = re.compile(rf"\s*({NUMBER})\s*[\s,;]\s*({NUMBER})\s*\Z".encode())
LONGEST_LINE, MOST_TOLD = 200, 300
MOST_S, MOST_W = 4e9, 1e6
PATIENCE_S, GRACE_S = 0.25, 2.0


@dataclass(frozen=True)
class Options(api.Options):
    """What this meter can be told."""

    command: str = option("The program, with its options, that prints SECONDS WATTS, a line a reading.", "")


def available(options: Options) -> str:
    """Says why the program cannot be run."""
    try:
        words = shlex.split(options.command)
    except ValueError as error:
        return f"--command='{options.command}' is no command line: {error}"
    if not words:
        return "a program that prints SECONDS WATTS is needed: --command='PROGRAM OPTIONS'"
    return "" if shutil.which(words[0]) else f"--command: there is no program '{words[0]}'"


class Printed:
    """A running program whose lines are readings."""

    writes, kind, own_clock, origin = "command", "power", True, "measured"
    columns: Sequence[str] = COLUMNS
    wire_s = 0.0
    gain: Gain | None = None

    def __init__(self, options: Options) -> None:
        self.channel = choose_channel(options.channel, [CHANNEL], CHANNEL)
        self.faults: Counter[str] = Counter()
        self._first_s: float | None = None
        self._rest, self._last = b"", b""
        self._process = subprocess.Popen(
            shlex.split(options.command),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def read(self) -> list[Sample]:
        assert self._process.stdout is not None
        pipe = self._process.stdout.fileno()
        if not select.select([pipe], [], [], PATIENCE_S)[0]:
            return []
        received = os.read(pipe, 1 << 16)
        arrived_ns = monotonic_ns() + UNIX_MINUS_MONOTONIC_NS
        if not received:
            code = self._process.wait(GRACE_S)
            said = self._last.decode("utf-8", "replace").strip()[:MOST_TOLD]
            raise DeviceError(f"the meter's program ended with status {code}; it last said: {said or 'nothing'}")
        *lines, self._rest = (self._rest + received).split(b"\n")
        self._rest = self._rest[-LONGEST_LINE:]
        return [sample for line in lines if (sample := self._sample(line, arrived_ns)) is not None]

    def _sample(self, line: bytes, arrived_ns: int) -> Sample | None:
        self.faults["lines read"] += 1
        self._last = line or self._last
        found = LINE.match(line[: LONGEST_LINE + 1])
        numbers = [float(part) for part in found.groups()] if found else []
        if not numbers or abs(numbers[0]) > MOST_S or not 0 <= numbers[1] <= MOST_W:
            self.faults["lines that are no reading"] += 1
            return None
        at_s, power_w = numbers
        if self._first_s is None:
            self._first_s = at_s
        time_ms = round(1000 * (at_s - self._first_s))
        if time_ms < 0:
            self.faults["time ran backwards"] += 1
            return None
        return Sample(f"{time_ms},{round(1e6 * power_w)}", time_ms, arrived_ns)

    def silence(self) -> str:
        said = self._last.decode("utf-8", "replace").strip()[:MOST_TOLD]
        return f"the program printed {self.faults['lines read']} lines without a reading; the last: {said or 'nothing'}"

    def close(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGTERM)
        try:
            self._process.wait(GRACE_S)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()


def open_meter(options: Options) -> Printed:
    """Starts the program.

    Raises:
        DeviceError: There is none, or it cannot be started.
        InputError: A channel was named that there is not.
    """
    reason = available(options)
    if reason:
        raise DeviceError(reason)
    try:
        return Printed(options)
    except OSError as error:
        raise DeviceError(f"--command: {error.strerror}") from None


def reading(columns: Sequence[str], channel: str) -> Reading:
    """One row's W, and the step between values."""
    at = _column(columns, channel)
    return lambda row: (float(row[at]) * 1e-6, 1e-6)


def series(columns: Sequence[str], read: Reader, channel: str) -> Series:
    """A whole log's W; the step is the smallest one that the log has."""
    _column(columns, channel)
    value = read([POWER])[POWER] * 1e-6
    steps = np.diff(np.unique(value))
    step = float(steps.min()) if len(steps) else 1e-6
    return Series(CHANNEL, "power", True, value, np.full(len(value), step), np.ones(len(value), bool))


def _column(columns: Sequence[str], channel: str) -> int:
    choose_channel(channel, [CHANNEL], CHANNEL)
    if POWER not in columns:
        raise TableError(f"lacks the column {POWER}")
    return list(columns).index(POWER)
