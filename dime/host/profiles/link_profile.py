"""A measured link: round trip and both rates from exchanges of many sizes, their intervals, and what the line misses.

An exchange of n bytes one way takes the round trip and n times that way's seconds a byte. In each pass the medians of
its exchanges are fitted, by relative differences and so that single odd ones hardly count (Huber). A pass counts once:
intervals are Student's t of the passes, as everywhere.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from dime.contract import files, schemas, tables
from dime.contract.errors import InputError, TableError
from dime.host.common import stats
from dime.host.common.stats import Floats, Ints
from dime.host.common.units import plain

TABLE, DOCUMENT = "transfers.csv", "link.json"
WAYS = ("up", "down")
OFF = 0.05
HUBER = 1.345  # of a spread: differences beyond it count by their sign
STEPS = 30
LEAST_S_BIT = 1e-15  # what is faster than that is not told apart from no time at all
LARGEST_JSON = 1 << 24
MOST_PASSES = 10_000


@dataclass(frozen=True)
class Estimate:
    """A number and its 95 % interval; without ends where a single pass was made."""

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Misfit:
    """How far the line is off what was measured at one size and direction.

    Attributes:
        direction: ``up`` or ``down``.
        size_bytes: The size.
        measured_s: Mean of the passes' medians.
        line_s: What the line says.
        off: How far the first is above the second, as a part of it.
        low: Lower end of its 95 % interval; None where a single pass was made.
        high: Upper end.
    """

    direction: str
    size_bytes: int
    measured_s: float
    line_s: float
    off: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class LinkProfile:
    """What a link's exchanges say.

    Attributes:
        name: The link's name.
        edge: The device that the bytes go up from.
        server: The other one.
        origin: ``measured``, or ``emulated`` where the link was.
        round_trip_s: Round trip of an empty message, the frames' own bytes in it.
        upload_bit_s: Rate away from the edge device.
        download_bit_s: Rate towards it.
        passes: Round trip (s) and seconds a bit up and down of each pass.
        spread_s: Standard deviation of the round trip, from one exchange to another.
        spread_share: The same of the time on the way, as a part of it.
        misfits: One for each direction and size.
        about: What else is known: when it was measured, how, with what.
        path: The document's file.
    """

    name: str
    edge: str
    server: str
    origin: str
    round_trip_s: Estimate
    upload_bit_s: Estimate
    download_bit_s: Estimate
    passes: tuple[tuple[float, float, float], ...]
    spread_s: float
    spread_share: float
    misfits: tuple[Misfit, ...]
    about: Mapping[str, object]
    path: str = ""

    @property
    def off(self) -> tuple[Misfit, ...]:
        """Where the line is off by more than 5 %."""
        return tuple(one for one in self.misfits if abs(one.off) > OFF)

    def lines(self) -> list[str]:
        """What a person should know of it."""
        up, down, trip = (
            _told(one, scale, unit)
            for one, scale, unit in (
                (self.upload_bit_s, 1e-6, "Mbit/s"),
                (self.download_bit_s, 1e-6, "Mbit/s"),
                (self.round_trip_s, 1e3, "ms"),
            )
        )
        count = len(self.passes)
        passes = f"{count} passes" if count > 1 else "one pass, so that there is no interval"
        found = [f"{self.name}: up {up}, down {down}, round trip {trip}; {self.origin} in {passes}"]
        clear = [one for one in self.off if one.low is None or one.high is None or one.low > 0 or one.high < 0]
        for one in clear:
            ends = "" if one.low is None or one.high is None else f" ({100 * one.low:+.1f} to {100 * one.high:+.1f} %)"
            found.append(
                f"{one.size_bytes} B {one.direction} take {1e3 * one.measured_s:.4g} ms, the straight line says"
                f" {1e3 * one.line_s:.4g} ms: off by {100 * one.off:+.1f} %{ends}"
            )
        rest = ", ".join(f"{one.size_bytes} B {one.direction}" for one in self.off if one not in clear)
        if rest:
            found.append(f"off the line by more than 5 %, which noise may be: {rest}; more passes tell")
        return found


def _told(one: Estimate, scale: float, unit: str) -> str:
    between = "" if one.low is None or one.high is None else f" ({one.low * scale:.4g} to {one.high * scale:.4g})"
    return f"{one.value * scale:.4g} {unit}{between}"


def read_transfers(path: str | os.PathLike[str]) -> list[tables.Row]:
    """Reads the raw rows of a measurement.

    Raises:
        TableError: The table is missing, damaged, or no fit can be made of it.
    """
    rows = tables.read(path, tables.TRANSFERS)
    for way in WAYS:
        if len({row["size_bytes"] for row in rows if row["direction"] == way}) < 2:
            raise TableError(f"{path} has fewer than two sizes {way}: nothing can be fitted")
    return rows


def fit(rows: Sequence[tables.Row], name: str, edge: str, server: str, origin: str, **about: object) -> LinkProfile:
    """Fits round trip and rates.

    Args:
        rows: The raw rows, as ``read_transfers`` gives them.
        name: The link's name.
        edge: The device that the bytes go up from.
        server: The other one.
        origin: ``measured`` or ``emulated``.
        **about: What else the document should say.
    """
    kinds = sorted({(WAYS.index(row["direction"]), row["size_bytes"]) for row in rows})
    labels = sorted({row["iteration"] for row in rows})
    times: dict[tuple[int, tuple[int, int]], list[float]] = {}
    for row in rows:
        kind = WAYS.index(row["direction"]), row["size_bytes"]
        times.setdefault((row["iteration"], kind), []).append(row["duration_s"])
    whole = [label for label in labels if all((label, kind) in times for kind in kinds)]
    if not whole:
        raise TableError(f"link {name}: no pass has all sizes in both directions")
    medians = np.array([[np.median(times[label, kind]) for kind in kinds] for label in whole])
    of = np.array([[1.0, 8.0 * size * (way == 0), 8.0 * size * (way == 1)] for way, size in kinds])
    passes = np.array([_line(of, one) for one in medians])
    trip, up, down = (_estimate(passes[:, at]) for at in range(3))
    line = of @ passes.mean(axis=0)
    misfits = [_misfit(kind, medians[:, at], passes @ of[at]) for at, kind in enumerate(kinds)]
    spread_s, spread_share = _spread(of, kinds, times, whole, line, trip.value)
    return LinkProfile(
        name,
        edge,
        server,
        origin,
        trip,
        _inverse(up),
        _inverse(down),
        tuple((float(a), float(b), float(c)) for a, b, c in passes),
        spread_s,
        spread_share,
        tuple(misfits),
        about,
    )


def _line(of: Floats, seconds: Floats) -> Floats:
    """The line through one pass, by relative differences, robust."""
    scaled = of / seconds[:, None]
    found: Floats = np.maximum(
        np.linalg.lstsq(scaled, np.ones(len(seconds)), rcond=None)[0], [1e-9, LEAST_S_BIT, LEAST_S_BIT]
    )
    for _ in range(STEPS):
        said = of @ found
        off = np.log(seconds / said)
        spread = float(np.median(np.abs(off))) / 0.6745
        weight = np.ones(len(off)) if spread < 1e-9 else np.minimum(1, HUBER * spread / np.maximum(np.abs(off), 1e-300))
        root = np.sqrt(weight)
        step = np.linalg.lstsq(of / said[:, None] * root[:, None], off * root, rcond=None)[0]
        after = np.maximum(found + step, np.maximum(found / 4, [1e-9, LEAST_S_BIT, LEAST_S_BIT]))
        settled = bool(np.all(np.abs(after - found) <= 1e-9 * found))
        found = after
        if settled:
            break
    return found


def _estimate(values: Floats, confidence: float = stats.CONFIDENCE) -> Estimate:
    mean = float(values.mean())
    if len(values) < 2:
        return Estimate(mean)
    half = stats.half_of_mean(values, confidence)
    return Estimate(mean, max(mean - half, 0.0), mean + half)


def _inverse(seconds_a_bit: Estimate) -> Estimate:
    """A rate; one whose time could be nothing has no upper end but the largest that is told."""
    ends = [None if one is None else 1 / max(one, LEAST_S_BIT) for one in (seconds_a_bit.high, seconds_a_bit.low)]
    return Estimate(1 / max(seconds_a_bit.value, LEAST_S_BIT), ends[0], ends[1])


def _misfit(kind: tuple[int, int], measured_s: Floats, line_s: Floats) -> Misfit:
    mean_s = float(line_s.mean())
    off = _estimate(measured_s / mean_s - 1)
    half = None if off.high is None else off.high - off.value
    ends = (None, None) if half is None else (off.value - half, off.value + half)
    return Misfit(WAYS[kind[0]], kind[1], float(measured_s.mean()), mean_s, off.value, *ends)


def _spread(
    of: Floats,
    kinds: Sequence[tuple[int, int]],
    times: Mapping[tuple[int, tuple[int, int]], Sequence[float]],
    whole: Sequence[int],
    line_s: Floats,
    round_trip_s: float,
) -> tuple[float, float]:
    """How single exchanges vary: of the round trip, s, and of the time on the way, as a part of it.

    Variances at each size are laid out as a^2 + (b x time on the way)^2, neither of which is negative.
    """
    variance = np.empty(len(kinds))
    for at, kind in enumerate(kinds):
        values = np.concatenate([times[label, kind] for label in whole])
        variance[at] = values.var(ddof=1) if len(values) > 1 else 0.0
    on_the_way = np.maximum(line_s - round_trip_s, 0.0)
    of_squares = np.stack([np.ones(len(kinds)), on_the_way**2], axis=1) / line_s[:, None] ** 2
    wanted = variance / line_s**2
    found = np.linalg.lstsq(of_squares, wanted, rcond=None)[0]
    for at in (0, 1):
        if found[at] < 0:
            other = 1 - at
            column = of_squares[:, other]
            found[other] = max(float(column @ wanted) / max(float(column @ column), 1e-300), 0.0)
            found[at] = 0.0
    return math.sqrt(float(found[0])), math.sqrt(float(found[1]))


def write(profile: LinkProfile, folder: str | os.PathLike[str]) -> None:
    """Writes the document beside its table.

    Raises:
        OSError: The disk would not take it.
    """
    content = {key: value for key, value in asdict(profile).items() if key != "path"}
    said = schemas.stamped(schemas.LINK, content, **{TABLE: schemas.TRANSFERS})
    files.new(Path(folder, DOCUMENT), files.as_json(said))


def read(folder: str | os.PathLike[str]) -> LinkProfile:
    """Reads a measured link.

    Raises:
        TableError: It is missing, damaged, or of a later version.
    """
    path = Path(folder, DOCUMENT)
    try:
        with open(path, encoding="utf-8") as stream:
            said = json.loads(stream.read(LARGEST_JSON))
        schemas.version(schemas.LINK, said, str(path))
        schemas.check_tables({TABLE: schemas.TRANSFERS}, said, str(path))
        passes = [tuple(float(value) for value in one) for one in said["passes"]]
        if not 1 <= len(passes) <= MOST_PASSES or any(len(one) != 3 or not _positive(one) for one in passes):
            raise ValueError("its passes are none")
        spread = float(said["spread_s"]), float(said["spread_share"])
        if not all(math.isfinite(one) and one >= 0 for one in spread) or said["origin"] not in ("measured", "emulated"):
            raise ValueError("its spread or its origin is none")
        return LinkProfile(
            name=plain(str(said["name"])),
            edge=plain(str(said["edge"])),
            server=plain(str(said["server"])),
            origin=said["origin"],
            round_trip_s=_checked(said["round_trip_s"]),
            upload_bit_s=_checked(said["upload_bit_s"]),
            download_bit_s=_checked(said["download_bit_s"]),
            passes=tuple((one[0], one[1], one[2]) for one in passes),
            spread_s=spread[0],
            spread_share=spread[1],
            misfits=tuple(Misfit(**one) for one in said["misfits"]),
            about=dict(said["about"]),
            path=str(path),
        )
    except OSError as error:
        raise TableError(f"{path}: {error.strerror}") from None
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError) as error:
        raise TableError(f"{path} is damaged: {' '.join(str(error).split())[:200]}") from None


def _positive(values: Sequence[float]) -> bool:
    return all(math.isfinite(one) and one >= 0 for one in values)


def _checked(said: Mapping[str, float | None]) -> Estimate:
    values = [None if one is None else float(one) for one in (said[key] for key in ("value", "low", "high"))]
    if values[0] is None or not _positive([one for one in values if one is not None]):
        raise ValueError("an estimate of it is none")
    return Estimate(values[0], values[1], values[2])


def sizes(largest_bytes: int, least_bytes: int = 64) -> list[int]:
    """Sizes from the least to the largest, each about four times the one before.

    Raises:
        InputError: The largest is no larger than the least.
    """
    if not least_bytes < largest_bytes <= 1 << 34:
        raise InputError(f"a link is measured with up to {largest_bytes} bytes, which must be more than {least_bytes}")
    steps = max(3, round(math.log(largest_bytes / least_bytes, 4)) + 1)
    found: Ints = np.unique(np.rint(np.geomspace(least_bytes, largest_bytes, steps)).astype(np.int64))
    return [int(size) for size in found]
