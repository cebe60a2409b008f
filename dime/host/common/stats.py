"""Means, of passes and by value trimmed, and spreads of many cells of raw runs at once.

A *cell* is one bundle at one frequency. Its runs lie side by side in a flat array, and ``starts`` (cells + 1 offsets)
says where each cell begins.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from dime.host.common import student

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

TRIM = 0.2
CONFIDENCE = 0.95
REPLICATES = 1000
SEED = 20240629


def _blocks(starts: Ints) -> Iterator[tuple[Ints, Ints]]:
    """Yields (cells, positions of their runs) for every number of runs that occurs; positions are (cells, n)."""
    counts = np.diff(starts)
    for count in np.unique(counts):
        cells = np.flatnonzero(counts == count)
        yield cells, starts[cells, None] + np.arange(count)


def trimmed_mean(values: Floats, starts: Ints, trim: float = TRIM) -> Floats:
    """Means without the lowest and the highest runs, by value, of each cell.

    Args:
        values: Raw runs, in any unit.
        starts: Offsets of the cells.
        trim: Share of a cell's runs that is left out at each end.

    Returns:
        One mean a cell, in the same unit.
    """
    means = np.empty(len(starts) - 1)
    for cells, positions in _blocks(starts):
        count = positions.shape[1]
        cut = int(trim * count)
        means[cells] = np.sort(values[positions], axis=1)[:, cut : count - cut].mean(axis=1)
    return means


def interquartile_range(values: Floats, starts: Ints) -> Floats:
    """Distance between the upper and the lower quartile of each cell, in the unit of the values."""
    spreads = np.empty(len(starts) - 1)
    for cells, positions in _blocks(starts):
        low, high = np.quantile(values[positions], (0.25, 0.75), axis=1)
        spreads[cells] = high - low
    return spreads


def pass_means(values: Floats, starts: Ints, passes: Ints, trim: float = TRIM) -> Floats:
    """Trimmed means of the runs of each pass.

    Args:
        values: Raw runs, those of one pass of a cell side by side.
        starts: Offsets of the cells.
        passes: The pass of each run.
        trim: Share of the runs of a pass of a cell that is left out at each end.

    Returns:
        (passes, cells), the passes in ascending order; NaN where a cell has no runs of a pass.
    """
    cell = np.repeat(np.arange(len(starts) - 1), np.diff(starts))
    labels, place = np.unique(passes, return_inverse=True)
    begins = np.flatnonzero(np.concatenate(([True], (np.diff(cell) != 0) | (np.diff(place) != 0))))
    means = np.full((len(labels), len(starts) - 1), np.nan)
    means[place[begins], cell[begins]] = trimmed_mean(values, np.concatenate((begins, [len(values)])), trim)
    return means


def mean_of_passes(values: Floats, starts: Ints, passes: Ints | None, trim: float = TRIM) -> Floats:
    """Mean of each cell over its passes, each of which counts as much, of the trimmed means of their runs.

    Without passes it is the trimmed mean of all runs.
    """
    if passes is None:
        return trimmed_mean(values, starts, trim)
    means = pass_means(values, starts, passes, trim)
    there = ~np.isnan(means)
    found: Floats = np.where(there, means, 0.0).sum(axis=0) / there.sum(axis=0)
    return found


def trimmed_error(values: Floats, starts: Ints, trim: float = TRIM) -> tuple[Floats, Ints]:
    """Standard error of the trimmed mean of independent runs, and its degrees of freedom (Yuen, Biometrika 61, 1974).

    Returns:
        One of each a cell; NaN and 0 for a single run.
    """
    errors, dof = np.full(len(starts) - 1, np.nan), np.zeros(len(starts) - 1, np.int64)
    for cells, positions in _blocks(starts):
        count = positions.shape[1]
        cut = int(trim * count)
        kept = count - 2 * cut
        if kept < 2:
            continue
        ascending = np.sort(values[positions], axis=1)
        winsorized = np.clip(ascending, ascending[:, [cut]], ascending[:, [count - cut - 1]])
        errors[cells] = np.sqrt(winsorized.var(axis=1, ddof=1) * (count - 1) / (kept * (kept - 1)))
        dof[cells] = kept - 1
    return errors, dof


def counted_once(frequency: Ints, passes: Ints, sessions: Ints) -> tuple[Ints, tuple[int, ...]]:
    """What counts once of a table's runs: their pass, or their session where a frequency's passes are of several.

    A pass that was resumed belongs to the session that has most of it.

    Args:
        frequency: Index of the frequency of each run, from 0.
        passes: Its pass.
        sessions: Its session.

    Returns:
        A label for each run, to be compared within one frequency, and the number of each frequency's sessions.
    """
    labels, counts = passes.copy(), []
    for at in range(int(frequency.max()) + 1):
        mine = np.flatnonzero(frequency == at)
        names, session = np.unique(sessions[mine], return_inverse=True)
        place = np.unique(passes[mine], return_inverse=True)[1]
        shares = np.zeros((int(place.max(initial=0)) + 1, len(names)), np.int64)
        np.add.at(shares, (place, session), 1)
        most = shares.argmax(axis=1)
        counts.append(len(np.unique(most)))
        if counts[-1] > 1:
            labels[mine] = names[most[place]]
    return labels, tuple(counts)


def error_of_passes(means: Floats, weight: Floats) -> tuple[Floats, Ints]:
    """Variance of weighted means of passes that differ alike, and its degrees of freedom; NaN and 0 for a single one.

    Args:
        means: (passes, cells), NaN where a cell has no runs of a pass.
        weight: The share of each in its cell's mean.
    """
    there = ~np.isnan(means)
    count = there.sum(axis=0)
    center = np.where(there, means, 0.0).sum(axis=0) / np.maximum(count, 1)
    squares = np.where(there, (means - center) ** 2, 0.0).sum(axis=0)
    dof = np.maximum(count - 1, 0)
    variance = np.divide(squares, dof, out=np.full(len(count), np.nan), where=dof > 0) * (weight**2).sum(axis=0)
    return variance, dof


def half_of_mean(values: Floats, confidence: float = CONFIDENCE) -> float:
    """Half of the interval of the mean of values that count once each: Student's t; infinite for a single one."""
    if len(values) < 2:
        return math.inf
    return student.quantile((1 + confidence) / 2, len(values) - 1) * float(values.std(ddof=1)) / math.sqrt(len(values))


def is_kept(predicted: tuple[float, float] | None, mean: float, half: float) -> bool | None:
    """The verdict on a prediction: a mean lies in its interval, widened by half of the mean's own."""
    return None if predicted is None else predicted[0] - half <= mean <= predicted[1] + half


def student_factors(dof: Ints, confidence: float = CONFIDENCE) -> Floats:
    """What half of an interval is in standard errors, by their degrees of freedom; NaN for none."""
    factors = {one: student.quantile((1 + confidence) / 2, one) for one in np.unique(dof).tolist() if one > 0}
    return np.array([factors.get(one, np.nan) for one in dof.tolist()])
