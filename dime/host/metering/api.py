"""What every meter's module offers, and what several of them share.

A meter's module is a plug-in with

* ``Options``: a class made from `Options`, where it can be told more than every meter,
* ``available(options)``: why it cannot be used here, or an empty text,
* ``open_meter(options)``: an open `Meter`,
* ``reading(columns, channel)``: a function from the texts of one row of its log to W or J and the step between values,
* ``series(columns, read, channel)``: the same for a whole log at once,
* ``GAIN``: how far all its joules may be off together, with the source that states it (`dime.host.metering.gain`).
"""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from dime.contract.errors import InputError, TableError, unknown
from dime.contract.timebase import monotonic_ns
from dime.host.common.options import option
from dime.host.metering.gain import Gain

if TYPE_CHECKING:
    from typing_extensions import Self

TIME = "time (ms)"
TIMESTAMP = "timestamp"
FLOAT = NDArray[np.float64]
Reader = Callable[[Sequence[str]], Mapping[str, FLOAT]]
Reading = Callable[[Sequence[str]], tuple[float, float]]

# A Unix time that is never set: read once, and carried on by the monotonic clock, which all of DIME's times are on.
UNIX_MINUS_MONOTONIC_NS: int = time.time_ns() - monotonic_ns()


def now_ns() -> int:
    """The logger's clock: nanoseconds since 1970 as of this process's start, counted on by the monotonic clock."""
    return int(monotonic_ns() + UNIX_MINUS_MONOTONIC_NS)


class Sample(NamedTuple):
    """One row of a log: all columns but the timestamp, joined by commas; the column `TIME`; the arrival here.

    ``breaks`` where nothing is known of the time since the row before: the meter was opened anew, or its count began
    anew.
    """

    text: str
    time_ms: int
    timestamp_ns: int
    breaks: bool = False


class Series(NamedTuple):
    """One channel of a log, row by row.

    Attributes:
        channel: Its name.
        kind: ``power``: W at the row's time; ``energy``: J so far.
        own_clock: Whether the column `TIME` is a clock of the meter's own; else the timestamp is the row's time.
        value: W or J.
        step: Difference between neighbouring values that the meter can tell apart, W or J.
        on: Whether the channel was on.
    """

    channel: str
    kind: str
    own_clock: bool
    value: FLOAT
    step: FLOAT
    on: NDArray[np.bool_]


class RecordingEndedError(Exception):
    """A meter that has nothing more to give: a recording at its end."""


class Meter(Protocol):
    """An open meter.

    Attributes:
        writes: Name of the plug-in that reads the log which this meter's rows make.
        kind: As in `Series`.
        own_clock: As in `Series`.
        origin: ``measured`` or ``replayed``.
        columns: Names of the log's columns that `Sample.text` fills.
        channel: The parts that are meant, joined by ``+``; empty where only the rows can tell.
        wire_s: Least time from a reading's end to its arrival here.
        gain: The gain that a recording's quality file holds; None for a meter.
        faults: How often each named fault was met; ``lines read`` counts everything, good or bad.
    """

    writes: str
    kind: str
    own_clock: bool
    origin: str
    columns: Sequence[str]
    channel: str
    wire_s: float
    gain: Gain | None
    faults: Counter[str]

    def read(self) -> list[Sample]:
        """Waits at most a quarter of a second for new readings.

        Returns:
            The readings, possibly none.

        Raises:
            DeviceError: The meter is gone.
            RecordingEndedError: There will be no more.
        """

    def silence(self) -> str:
        """Says in one line what was received, for a person who wonders why there is no reading."""

    def close(self) -> None:
        """Lets go of the meter."""


BOOLS = {"true": True, "false": False}


@dataclass(frozen=True)
class Options:
    """What every meter can be told. A meter's module adds what concerns it alone in a class ``Options`` of its own."""

    OTHER_NAMES: ClassVar[Mapping[str, str]] = {}  # of options, as lab files may have them

    channel: str = option("The channel that feeds the device, or several joined by +; empty: the one that can be.", "")
    calibration: str = option("A file of power calibrate, whose gain goes into the log's quality file.", "")

    @classmethod
    def names(cls) -> list[str]:
        """The options that there are."""
        return [field.name for field in fields(cls)]

    @classmethod
    def has(cls, name: str) -> bool:
        """Whether there is an option of this name."""
        return cls.OTHER_NAMES.get(name, name) in cls.names()

    @classmethod
    def of(cls, **given: object) -> Self:
        """Checks options by name; None leaves the default.

        Raises:
            InputError: An unknown option, or a value of the wrong type.
        """
        values: dict[str, Any] = {}  # Any: each of its field's type, which a keyword's name does not tell mypy
        for key, value in given.items():
            name = cls.OTHER_NAMES.get(key, key)
            if value is None:
                continue
            if not cls.has(key):
                raise unknown("meter option", key, cls.names())
            kind = type(getattr(cls, name))
            try:
                values[name] = BOOLS[str(value).lower()] if kind is bool else kind(value)
            except (KeyError, TypeError, ValueError, OverflowError):
                raise InputError(f"meter option {key}: {value!r} is not {kind.__name__}") from None
            if name.endswith("_s") and not values[name] > 0:
                raise InputError(f"meter option {name}: {values[name]} is not a time above 0")
        return cls(**values)


@dataclass(frozen=True)
class PolledOptions(Options):
    """Of a meter whose readings are asked for."""

    period_s: float = option("Time between two readings, s.", 0.005)


def kind_of_options(module: ModuleType) -> type[Options]:
    """The class of a meter's options: its own, or what every meter has."""
    found: type[Options] = getattr(module, "Options", Options)
    return found


def choose_channel(wanted: str, known: Sequence[str], default: str) -> str:
    """Finds the channel that is meant.

    Raises:
        InputError: There is no such channel; the message lists those there are.
    """
    if not wanted:
        return default
    if wanted not in known:
        raise unknown("channel", wanted, known)
    return wanted


def choose_parts(wanted: str, known: Sequence[str], total: Sequence[str] = ()) -> list[str]:
    """Finds the parts of a meter whose sum is meant.

    Args:
        wanted: Their names, joined by ``+``; or empty.
        known: Names of all parts there are.
        total: Those that together are all of the device, if that is known.

    Returns:
        Their names. Nothing is guessed: with none named it is the total, or the only part there is.

    Raises:
        InputError: There is no such part, one is named twice, or several are there and none is named.
    """
    names = [wanted] if wanted in known else wanted.split("+") if wanted else list(total or known)
    if not wanted and not total and len(known) != 1:
        raise InputError(
            f"several could be meant and none is named: choose with --channel one of {', '.join(known)}, "
            "or several joined by +"
        )
    for name in names:
        choose_channel(name, known, "")
    if len(set(names)) < len(names) or "" in names:
        raise InputError(f"channel '{wanted}': each part is named once, joined by +")
    return names


class Counters:
    """Raw energy counters, counted on across wrap-arounds. Their counts never fall, and no joule is made up.

    A step that no device can make in its time is no energy: the counter began anew, and the row breaks.

    Args:
        ranges_uj: What each counter holds before it begins at 0 again; 0: more than it will ever count.
    """

    MOST_W = 3000.0
    SLACK_S = 0.25

    def __init__(self, ranges_uj: Sequence[int]) -> None:
        self._ranges_uj = ranges_uj
        self._raw: list[int] = []
        self._at_ns = 0
        self._counted = [0] * len(ranges_uj)

    def count(self, raw_uj: Sequence[int], at_ns: int) -> tuple[list[int], bool] | None:
        """Takes the counters' values; returns the counts and whether they broke, or None if nothing has moved."""
        if list(raw_uj) == self._raw:
            return None
        most_uj = self.MOST_W * ((at_ns - self._at_ns) * 1e-3 + self.SLACK_S * 1e6)
        breaks = False
        for place, (old, new) in enumerate(zip(self._raw, raw_uj, strict=False)):
            range_uj = self._ranges_uj[place]
            step = new - old if new >= old or new < 0 else new - old + range_uj
            if 0 <= step <= most_uj:
                self._counted[place] += step
            else:
                breaks = True
        self._raw, self._at_ns = list(raw_uj), at_ns
        return list(self._counted), breaks


class Polled:
    """A meter that is asked for its values in regular steps.

    Args:
        writes: The plug-in's name.
        columns: Names of the values that ``ask`` gives, as the log's columns.
        ask: Reads them once; whole numbers in the units of the columns.
        period_s: Time between two questions.
        channel: As in `Meter`.
        counters: What turns the values into the columns' where they are energy counters.
    """

    own_clock = False
    origin = "measured"
    wire_s = 0.0
    gain: Gain | None = None

    def __init__(
        self,
        writes: str,
        columns: Sequence[str],
        ask: Callable[[], Sequence[int]],
        period_s: float,
        channel: str,
        counters: Counters | None = None,
    ) -> None:
        self.writes, self.kind, self.channel = writes, "energy" if counters else "power", channel
        self._counters = counters
        self.columns: Sequence[str] = [TIME, *columns]
        self.faults: Counter[str] = Counter()
        self._ask, self._period_ns = ask, round(period_s * 1e9)
        self._opened_ns = self._next_ns = monotonic_ns()

    def read(self) -> list[Sample]:
        samples: list[Sample] = []
        until_ns = monotonic_ns() + 100_000_000
        while True:
            time.sleep(max(0.0, (min(self._next_ns, until_ns) - monotonic_ns()) / 1e9))
            if self._next_ns > until_ns:
                return samples
            self._next_ns = max(self._next_ns + self._period_ns, monotonic_ns())
            before_ns = monotonic_ns()
            values, breaks = self._ask(), False
            middle_ns = (before_ns + monotonic_ns()) // 2
            if self._counters is not None:
                counted = self._counters.count(values, middle_ns)
                if counted is None:
                    continue
                values, breaks = counted
            self.faults["lines read"] += 1
            time_ms = (middle_ns - self._opened_ns) // 1_000_000
            text = ",".join(map(str, (time_ms, *values)))
            if breaks:
                self.faults["counter began anew"] += 1
            samples.append(Sample(text, time_ms, middle_ns + UNIX_MINUS_MONOTONIC_NS, breaks))

    def silence(self) -> str:
        return f"asked every {self._period_ns / 1e6:g} ms, no new value"

    def close(self) -> None:
        pass


ENERGY = " energy (uJ)"


def choose_counters(known: Sequence[str], channel: str) -> list[str]:
    """Energy counters that a channel means; with none named all packages of a computer, which are its processors."""
    return choose_parts(channel, known, [name for name in known if name.startswith("package-")])


def counter_columns(columns: Sequence[str], channel: str) -> list[str]:
    """Columns of energy counters that a channel means: one counter's name, or several joined by ``+``."""
    known = [name.removesuffix(ENERGY) for name in columns if name.endswith(ENERGY)]
    if not known:
        raise TableError(f"no column ends with '{ENERGY}'")
    return [name + ENERGY for name in choose_counters(known, channel)]


def counter_reading(columns: Sequence[str], channel: str) -> Reading:
    """Reads rows of energy counters."""
    places = [list(columns).index(name) for name in counter_columns(columns, channel)]
    return lambda fields: (sum(int(fields[place]) for place in places) * 1e-6, 1e-6)


def counter_series(columns: Sequence[str], read: Reader, channel: str) -> Series:
    """Reads a log of energy counters."""
    names = counter_columns(columns, channel)
    table = read(names)
    value = np.sum([table[name] for name in names], axis=0) * 1e-6
    steps = np.diff(value)
    step = np.full(len(value), float(steps[steps > 0].min()) if (steps > 0).any() else 0.0)
    label = "+".join(name.removesuffix(ENERGY) for name in names)
    return Series(label, "energy", False, value, step, np.ones(len(value), bool))


def is_number(path: Path) -> bool:
    """Whether a file of the kernel's can be read and holds a whole number."""
    return re.fullmatch(r"-?[0-9]+", read_text(path)) is not None


def read_text(path: Path) -> str:
    """Reads a file of the kernel's; empty if it cannot be read."""
    try:
        return path.read_text().strip()
    except (OSError, UnicodeDecodeError):
        return ""
