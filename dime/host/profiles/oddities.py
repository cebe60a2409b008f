"""What is odd in tables of runs: each a line that names the row or the ratio, for terminal, plan and report.

Nothing here changes a number, but that a row which is there twice counts once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace

import numpy as np

from dime.contract.bundles import Bundle, spell
from dime.contract.errors import TableError
from dime.host.common.stats import Floats, Ints
from dime.host.common.units import quantity
from dime.host.profiles.profiles import Profile, RawRuns
from dime.host.profiles.published_table import shown

# A run so many times its bundle's median, and so much longer, is no noise; nor is one so many times shorter.
SPREAD = 100
SPREAD_S, SPREAD_J = 0.1, 0.1
# A bundle may be faster than what it contains, by what caches and noise do (0.56 was seen on a busy machine).
LEAST_OF_PART = 0.4
# No device's memory or caches deliver more.
MOST_BYTES_PER_S = 1e13
# Devices differ by less, as a rule; a wrong unit is a factor of 1000 beside what they differ by.
MOST_SPEED_RATIO = 200
NONE = np.empty(0, np.int64)


def without_repeats(runs: RawRuns, layers: tuple[str, ...], path: str) -> tuple[RawRuns, list[str]]:
    """Drops rows that are there twice, by iter and run where the table has both.

    Returns:
        The other rows, and a warning if there were any.

    Raises:
        TableError: Two rows are of one run, with different values.
    """
    if runs.iteration is None or runs.run is None:
        return runs, _copies(runs, path)
    key = np.stack((runs.first, runs.last, runs.frequency_hz, runs.iteration, runs.run))
    order = np.lexsort(key)
    again = np.flatnonzero((np.diff(key[:, order]) == 0).all(axis=0))
    if not len(again):
        return runs, []
    earlier, later = order[again], order[again + 1]
    for column in (runs.duration_s, runs.energy_j, runs.input_bytes, runs.output_bytes):
        differing = np.flatnonzero(column[earlier] != column[later]) if column is not None else NONE
        if len(differing):
            one, other = sorted((int(earlier[differing[0]]), int(later[differing[0]])))
            raise TableError(
                f"{path}: rows {one + 1} and {other + 1} are both run {runs.run[one]} of pass {runs.iteration[one]} of"
                f" {_bundle(runs, one, layers)}, with different values; number the runs in iter and run, or leave these"
                " columns out"
            )
    kept = np.ones(len(runs.first), np.bool_)
    kept[later] = False
    one, other = sorted((int(earlier[0]), int(later[0])))
    columns = {field.name: column[kept] for field in fields(runs) if (column := getattr(runs, field.name)) is not None}
    return (
        replace(runs, **columns),
        [f"{path}: row {other + 1} repeats row {one + 1}; {len(again)} of {len(kept)} rows do so and are left out"],
    )


def _copies(runs: RawRuns, path: str) -> list[str]:
    """A table without iter and run may be there several times as a whole."""
    cell, cells = _cells(runs)
    columns = [cell.astype(np.float64), runs.duration_s] + ([] if runs.energy_j is None else [runs.energy_j])
    distinct, times = np.unique(np.stack(columns), axis=1, return_counts=True)
    copies = int(np.gcd.reduce(times))
    if copies < 2 or distinct.shape[1] < 2 * cells:
        return []
    return [f"{path}: every row is there {copies} times; the intervals are then too narrow: leave one"]


def of_runs(runs: RawRuns, layers: tuple[str, ...], path: str) -> list[str]:
    """Values of 0, and runs that are far from all others of their bundle."""
    told = []
    for name, values in (("duration", runs.duration_s), ("energy", runs.energy_j)):
        zeros = np.flatnonzero(values == 0) if values is not None else NONE
        if len(zeros):
            told.append(
                f"{path}: the {name} in row {zeros[0] + 1}, of {_bundle(runs, int(zeros[0]), layers)}, is 0; so are"
                f" {len(zeros)} of {len(runs.first)}"
            )
    told += _spread(runs, runs.duration_s, SPREAD_S, "took {}", "s", layers, path)
    if runs.energy_j is not None:
        told += _spread(runs, runs.energy_j, SPREAD_J, "has {}", "J", layers, path)
    return told


def _spread(
    runs: RawRuns, values: Floats, least: float, says: str, unit: str, layers: tuple[str, ...], path: str
) -> list[str]:
    """Runs so far from the median of their bundle's that noise does not explain it."""
    cell, cells = _cells(runs)
    order = np.lexsort((values, cell))
    ends = np.concatenate(([0], np.cumsum(np.bincount(cell, minlength=cells))))
    median = values[order][(ends[:-1] + ends[1:] - 1) // 2][cell]
    ratio = _ratio(values, median)
    far = np.flatnonzero(((ratio >= SPREAD) & (values - median >= least)) | (ratio <= 1 / SPREAD))
    if not len(far):
        return []
    worst = int(far[np.abs(np.log(ratio[far])).argmax()])
    return [
        f"{path}: row {worst + 1}, of {_bundle(runs, worst, layers)}, {says.format(quantity(values[worst], unit))},"
        f" {_times(ratio[worst])} the median of its runs; {len(far)} of {len(ratio)} rows are so far off"
    ]


def of_profiles(
    profiles: Sequence[Profile], sizes_bytes: Sequence[int], layer_bytes: Sequence[int] | None
) -> tuple[str, ...]:
    """Everything odd in some profiles of a network, and between them; each line once."""
    told = [line for profile in profiles for line in profile.warnings]
    for profile in profiles:
        told += of_costs(profile, sizes_bytes, layer_bytes)
    return tuple(dict.fromkeys([*told, *of_pairs(profiles)]))


def of_costs(profile: Profile, sizes_bytes: Sequence[int], layer_bytes: Sequence[int] | None) -> list[str]:
    """Bundles that take less time than a part of them does, or than moving their bytes does."""
    told = []
    first, last = profile.bounds
    mean_s = profile.means.duration_s
    part_s = _longest_parts(mean_s, first, last, profile.max_layers)
    share = _ratio(mean_s, part_s)
    if share.min(initial=1.0) < LEAST_OF_PART:
        row, column = np.unravel_index(int(share.argmin()), share.shape)
        told.append(
            f"{profile.path}: {_named(profile, int(row))} takes {quantity(mean_s[row, column], 's')}"
            f"{_at(profile, int(column))}, {_times(share[row, column])} what a part of it takes;"
            f" {int((share < LEAST_OF_PART).sum())} of {share.size} bundles and frequencies are so"
        )
    parameters = np.zeros(len(profile.layers) + 1)
    if layer_bytes is not None:
        own = np.asarray(layer_bytes, np.float64) - np.asarray(sizes_bytes[:-1], np.float64)
        parameters[1:] = np.cumsum(np.maximum(own, 0))
    ends = np.asarray(sizes_bytes, np.float64)
    moved = ends[first] + ends[last + 1] + parameters[last + 1] - parameters[first]
    rate = _ratio(moved[:, None], mean_s)
    if rate.max(initial=0.0) > MOST_BYTES_PER_S:
        row, column = np.unravel_index(int(rate.argmax()), rate.shape)
        told.append(
            f"{profile.path}: {_named(profile, int(row))} takes {quantity(mean_s[row, column], 's')}"
            f"{_at(profile, int(column))} for {quantity(moved[row], 'B')}, more than any memory delivers;"
            f"{_unit(profile, faster=True)}"
        )
    return told


def of_pairs(profiles: Sequence[Profile]) -> list[str]:
    """Devices whose speeds differ by what a wrong unit makes, where a unit was taken and not read."""
    told = []
    for at, one in enumerate(profiles):
        for other in profiles[at + 1 :]:
            if not (one.unit_taken or other.unit_taken):
                continue
            longest = min(one.max_layers, other.max_layers)
            times = []
            for profile in (one, other):
                first, last = profile.bounds
                times.append(profile.means.duration_s.min(axis=1)[last - first < longest])
            known = (times[0] > 0) & (times[1] > 0)
            ratio = float(np.median(_ratio(times[0], times[1])[known])) if known.any() else 1.0
            if ratio >= MOST_SPEED_RATIO or ratio <= 1 / MOST_SPEED_RATIO:
                quick, slow = (other, one) if ratio > 1 else (one, other)
                hint = _unit(quick, faster=True) or _unit(slow, faster=False)
                told.append(f"{quick.device} is {_times(max(ratio, 1 / ratio))} as fast as {slow.device};{hint}")
    return told


def _unit(profile: Profile, faster: bool) -> str:
    """The question that a wrong unit calls for."""
    if not profile.unit_taken:
        return ""
    read = f" the durations of {profile.path} were read as {profile.unit_taken}"
    if faster == (profile.unit_taken == "ms"):
        return f"{read}: is it CSV_UNIT={'s' if faster else 'ms'}?"
    return f"{read}: are they?"


def _ratio(above: Floats, below: Floats) -> Floats:
    """Quotients, however large or small the numbers are; 1 where one of the two is 0, which is told as such."""
    above, below = np.broadcast_arrays(above, below)
    known = (above > 0) & (below > 0)
    exponent = np.log(above, where=known, out=np.zeros(above.shape)) - np.log(
        below, where=known, out=np.zeros(above.shape)
    )
    ratio: Floats = np.exp(np.clip(exponent, -600, 600))
    return ratio


def _cells(runs: RawRuns) -> tuple[Ints, int]:
    """The number of each row's bundle and frequency, and how many there are."""
    key = np.stack((runs.first, runs.last, runs.frequency_hz))
    order = np.lexsort(key)
    cell = np.empty(len(order), np.int64)
    cell[order] = np.concatenate(([0], np.cumsum((np.diff(key[:, order]) != 0).any(axis=0))))
    return cell, int(cell.max()) + 1


def _longest_parts(mean_s: Floats, first: Ints, last: Ints, longest: int) -> Floats:
    """For each bundle the time of the slowest bundle inside it; 0 for single layers."""
    count = int(first.max()) + 1
    slowest = np.zeros((count, longest, mean_s.shape[1]))  # of a bundle and all inside it, by first layer and length
    slowest[first, last - first] = mean_s
    parts = np.zeros_like(slowest)
    for length in range(1, longest):
        starts = count - length
        parts[:starts, length] = np.maximum(slowest[:starts, length - 1], slowest[1 : starts + 1, length - 1])
        slowest[:starts, length] = np.maximum(slowest[:starts, length], parts[:starts, length])
    found: Floats = parts[first, last - first]
    return found


def _times(ratio: float) -> str:
    digits = f"{max(ratio, 1 / ratio):.3g}"
    number = digits if "e" not in digits else f"{float(digits):.0f}"
    return f"{number} times" if ratio >= 1 else f"1/{number} of"


def _bundle(runs: RawRuns, row: int, layers: tuple[str, ...]) -> str:
    name = spell(Bundle(int(runs.first[row]), int(runs.last[row])), list(layers))
    hz = int(runs.frequency_hz[row])
    return f"bundle '{shown(name)}'" + (f" at {hz} Hz" if hz > 0 else "")


def _named(profile: Profile, row: int) -> str:
    return f"bundle '{shown(spell(profile.bundles[row], list(profile.layers)))}'"


def _at(profile: Profile, column: int) -> str:
    hz = profile.frequencies_hz[column]
    return f" at {hz} Hz" if hz > 0 else ""
