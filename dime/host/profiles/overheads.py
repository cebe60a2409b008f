"""overheads.csv -> what a device takes beside computing: to begin, to hand over, to run what it has not just run."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from dime.contract import tables
from dime.contract.errors import TableError
from dime.host.common import stats
from dime.host.common.stats import Floats

HOP, COLD = "hop", "cold"
MOST_S = 2**60 / 1e12  # the check of a problem refuses sums of such


@dataclass(frozen=True)
class Overheads:
    """What one device takes beside computing, as its profile has measured it over its own loopback.

    Attributes:
        typical_s: Kind of overhead -> time at each of the profile's frequencies, s; NaN where it was not measured. See
            `dime.contract.tables.OVERHEADS` for the kinds, but ``hop``.
        hops: At each frequency what a message takes from one end to the other: s, and s a byte.
        rounds_s: Kind, but ``hop`` -> at each frequency the mean of each round, s.
    """

    typical_s: Mapping[str, tuple[float, ...]]
    hops: tuple[tuple[float, float], ...]
    rounds_s: Mapping[str, tuple[Floats, ...]] = field(default_factory=dict, compare=False)

    @property
    def is_whole(self) -> bool:
        """Whether it was measured at every frequency."""
        known = [seconds for kind, its in self.typical_s.items() if kind != "begin" for seconds in its]
        return not any(map(math.isnan, (*known, *(base_s for base_s, _ in self.hops))))

    def without_cold(self) -> Overheads:
        """The same without what first layers took longer: where each bundle's own part of that was measured."""
        kept = {kind: its for kind, its in self.typical_s.items() if kind != COLD}
        rounds_s = {kind: its for kind, its in self.rounds_s.items() if kind != COLD}
        return Overheads(kept, self.hops, rounds_s)

    def first_s(self, boundary: int, column: int, is_edge: bool) -> float:
        """Before the first bundle that a device runs in one go, and in it: what it takes longer than back to back."""
        return max(0.0, sum(self.typical_s[kind][column] for kind in self._first(boundary, column, is_edge)))

    def last_s(self, column: int) -> float:
        """Behind the last bundle that a device runs in one go, until its first byte is out."""
        return self.typical_s["leave"][column]

    def hop_s(self, size_bytes: int) -> float:
        """What the transport takes for a message, mean over the frequencies."""
        return sum(base_s + size_bytes * byte_s for base_s, byte_s in self.hops) / len(self.hops)

    def mean_s(self, kind: str) -> float:
        """A kind's time, mean over the frequencies."""
        times_s = self.typical_s[kind]
        return sum(times_s) / len(times_s)

    def first_rounds_s(self, boundary: int, column: int, is_edge: bool) -> Floats:
        """``first_s`` of each round."""
        kinds = self._first(boundary, column, is_edge)
        found: Floats = np.sum([self.rounds_s[kind][column] for kind in kinds], axis=0)
        return found

    def _first(self, boundary: int, column: int, is_edge: bool) -> tuple[str, ...]:
        begins = is_edge and boundary == 0 and not math.isnan(self.typical_s["begin"][column])
        return ("begin" if begins else "enter", *((COLD,) if COLD in self.typical_s else ()))


def read(path: str, frequencies_hz: Sequence[int]) -> Overheads:
    """Reads a run's overheads.

    Args:
        path: overheads.csv.
        frequencies_hz: The profile's frequencies.

    Raises:
        TableError: It is damaged.
    """
    rows = tables.read(path, tables.OVERHEADS)
    for row in rows:
        least_s = -MOST_S if row["what"] == COLD else 0.0
        if not least_s <= row["seconds"] < MOST_S:
            raise TableError(f"{path}: {row['seconds']} s is no overhead of the kind {row['what']}")
    by_kind = {kind: [row for row in rows if row["what"] == kind] for kind in tables.OVERHEAD_KINDS}
    if not by_kind[COLD]:  # only an earlier version measured it
        del by_kind[COLD]
    rounds_s = {
        kind: tuple(_rounds([row for row in its if row["frequency_hz"] == hertz]) for hertz in frequencies_hz)
        for kind, its in by_kind.items()
        if kind != HOP
    }
    for column, hertz in enumerate(frequencies_hz):
        if len({len(its[column]) for its in rounds_s.values()} - {0}) > 1:
            raise TableError(f"{path}: not every kind of overhead has all rounds at {hertz} Hz")
    typical_s = {
        kind: tuple(_typical([row for row in its if row["frequency_hz"] == hertz]) for hertz in frequencies_hz)
        for kind, its in by_kind.items()
        if kind != HOP
    }
    hops = tuple(_hop([row for row in by_kind[HOP] if row["frequency_hz"] == hertz]) for hertz in frequencies_hz)
    return Overheads(typical_s, hops, rounds_s)


def _typical(rows: Sequence[tables.Row]) -> float:
    values = np.array([row["seconds"] for row in rows], np.float64)
    return float(stats.trimmed_mean(values, np.array([0, len(values)]))[0]) if len(values) else math.nan


def _rounds(rows: Sequence[tables.Row]) -> Floats:
    of_round: dict[int, list[float]] = {}
    for row in rows:
        of_round.setdefault(row["run"], []).append(row["seconds"])
    return np.array([sum(its) / len(its) for _, its in sorted(of_round.items())])


def _hop(rows: Sequence[tables.Row]) -> tuple[float, float]:
    """Least squares over the typical times of all sizes: s, and s a byte; neither is negative."""
    sizes = sorted({row["size_bytes"] for row in rows})
    if not sizes:
        return math.nan, math.nan
    times_s = [_typical([row for row in rows if row["size_bytes"] == size]) for size in sizes]
    if len(sizes) > 1:
        byte_s, base_s = np.polyfit(sizes, times_s, 1).tolist()
        if byte_s >= 0 and base_s >= 0:
            return base_s, byte_s
    return max(0.0, float(np.mean(times_s))), 0.0
