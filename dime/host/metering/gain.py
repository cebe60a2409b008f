"""A meter's gain: by what its joules are multiplied, and how far they may still all be off together.

What a meter's maker states is the start; a calibration against known loads takes its place. The error is the same for
all windows of one meter: it widens every joule and cancels where two joules of that meter are compared.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from dime.contract import files, schemas
from dime.contract.errors import InputError, TableError
from dime.host.metering.quality import GainData

# A gain farther from 1 is no gain error: another channel, or another load than was said.
LEAST, MOST = 0.5, 2.0
LARGEST_ERROR = 0.5
# Key of a joined table's metadata: the meter, its channel, and its gain, which all rows share.
ENERGY_GAIN = "dime.energy_gain"
MOST_POINTS = 1000
LONGEST_SOURCE = 500
_NUMBERS = ("watts", "limit", "read_w", "read_error_w", "seconds")


@dataclass(frozen=True)
class Gain:
    """A meter's gain.

    Attributes:
        factor: True joules for each joule that the meter tells.
        error: Relative standard uncertainty of all joules together; None where nobody states one.
        source: Where the two come from, in a few words.
    """

    factor: float = 1.0
    error: float | None = None
    source: str = "no accuracy is stated"

    @classmethod
    def within(cls, *limits: float, source: str) -> Gain:
        """What a maker gives limits for: each error lies anywhere within its own, so has a deviation of limit/sqrt(3).

        Args:
            *limits: Relative limits of errors that multiply, such as that of the voltage and of the current.
            source: Where they are stated.
        """
        return cls(1.0, math.hypot(*limits) / math.sqrt(3), source)

    @property
    def told(self) -> str:
        """The gain's error as a person reads it."""
        if self.error is None:
            return f"the meter's own gain error is in no interval: {self.source}"
        return f"all together may be off by ±{196 * self.error:.2g} % (95 %): {self.source}"

    @classmethod
    def checked(cls, value: object, where: str) -> Gain:
        """Takes a gain from a file.

        Raises:
            TableError: It is none.
        """
        try:
            if not isinstance(value, dict):
                raise TypeError
            error = value["error"]
            gain = cls(float(value["factor"]), None if error is None else float(error), str(value["source"]))
        except (KeyError, TypeError, ValueError, OverflowError):
            raise TableError(f"{where}: its gain is none: factor, error and source are needed") from None
        if not LEAST <= gain.factor <= MOST or not (gain.error is None or 0 <= gain.error <= LARGEST_ERROR):
            raise TableError(
                f"{where}: a gain of {gain.factor:g} with an error of {gain.error} is none; gains are {LEAST:g} to"
                f" {MOST:g}, errors 0 to {LARGEST_ERROR:g}"
            )
        return cls(gain.factor, gain.error, gain.source[:LONGEST_SOURCE])

    def data(self) -> GainData:
        """Plain values for a file; `checked` reads them."""
        return {"factor": self.factor, "error": self.error, "source": self.source}


@dataclass(frozen=True)
class Point:
    """A load whose power is known, as a meter saw it.

    Attributes:
        watts: The load's power.
        limit: Relative limit of the error of ``watts``: what the reference is known to.
        read_w: Mean of the meter's readings, as they were.
        read_error_w: Standard uncertainty of that mean.
        seconds: How long it was read.
        utc: When.
    """

    watts: float
    limit: float
    read_w: float
    read_error_w: float
    seconds: float
    utc: str


@dataclass(frozen=True)
class Calibration:
    """What known loads say of one meter.

    Attributes:
        meter: The plug-in's name.
        channel: The channel; empty for the only one that was on.
        points: The loads.
    """

    meter: str
    channel: str
    points: tuple[Point, ...]

    def gain(self) -> Gain:
        """The gain by least squares of the loads against the readings, through the origin.

        Three errors: the reference's, which all points share; the readings'; and how far the points lie off one gain,
        for then the gain depends on the load.
        """
        weights = [1 / max(point.read_error_w / point.read_w, 1e-4) ** 2 for point in self.points]
        ratios = [point.watts / point.read_w for point in self.points]
        factor = sum(w * r for w, r in zip(weights, ratios, strict=True)) / sum(weights)
        reference = max(point.limit for point in self.points) / math.sqrt(3)
        readings = 1 / math.sqrt(sum(weights))
        bent = max(abs(ratio / factor - 1) for ratio in ratios) / math.sqrt(3)
        loads = sorted(point.watts for point in self.points)
        span = f"{loads[0]:g} W" if loads[0] == loads[-1] else f"{loads[0]:g} to {loads[-1]:g} W"
        source = f"calibrated with {len(loads)} known load{'s' if len(loads) > 1 else ''}, {span}"
        return Gain(factor, math.hypot(reference, readings, bent), source)

    def write(self, path: Path) -> None:
        """Writes the file in one step."""
        points = [asdict(point) for point in self.points]
        content = {"meter": self.meter, "channel": self.channel, "gain": self.gain().data(), "points": points}
        try:
            files.replace(path, files.as_json(schemas.stamped(schemas.CALIBRATION, content)))
        except OSError as error:
            raise InputError(f"{path}: {error.strerror}") from None


def read(path: Path) -> Calibration:
    """Reads a calibration file; its gain is computed anew from its points.

    Raises:
        InputError: There is no such file.
        TableError: It is damaged.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; dime power calibrate makes one") from None
    except (ValueError, RecursionError) as error:
        raise TableError(f"{path} is damaged: {error}") from None
    try:
        schemas.version(schemas.CALIBRATION, content, path)
        given = content["points"]
        if not isinstance(given, list) or not 0 < len(given) <= MOST_POINTS:
            raise ValueError("no points")
        points = tuple(_point(one) for one in given)
        calibration = Calibration(str(content["meter"]), str(content["channel"]), points)
        gain = calibration.gain()
    except (KeyError, TypeError, ValueError, ArithmeticError) as error:
        raise TableError(f"{path} is damaged: {type(error).__name__}: {error}") from None
    Gain.checked(gain.data(), str(path))
    return calibration


def _point(value: Mapping[str, float | str]) -> Point:
    watts, limit, read_w, error_w, seconds = (float(value[name]) for name in _NUMBERS)
    point = Point(watts, limit, read_w, error_w, seconds, str(value["utc"]))
    if not (all(map(math.isfinite, (watts, limit, read_w, error_w, seconds))) and point.watts > 0 and point.read_w > 0):
        raise ValueError("a point without power")
    if not (0 <= point.limit < 1 and point.read_error_w >= 0):
        raise ValueError("a point whose errors are none")
    return point


def of_file(path: str | os.PathLike[str], meter: str, channel: str) -> Gain:
    """The gain that a calibration file gives a meter.

    Args:
        path: The file.
        meter: The meter it is used for.
        channel: Its channel; empty where only the rows can tell.

    Returns:
        The gain.

    Raises:
        InputError: No such file, or it belongs to another meter or channel.
        TableError: It is damaged.
    """
    found = read(Path(path))
    if found.meter != meter or (channel and found.channel and found.channel != channel):
        mine = f"{meter} {channel}".strip()
        raise InputError(f"{path} calibrates {f'{found.meter} {found.channel}'.strip()}, not {mine}")
    gain = found.gain()
    return Gain(gain.factor, gain.error, f"{gain.source} ({Path(path).name})")


def widest(gains: Sequence[Gain]) -> Gain:
    """The gain of joules of which each has one of several: their own factors are in them; the largest error counts."""
    return max(gains, key=lambda gain: math.inf if gain.error is None else gain.error)
