"""Trimmed means by value, spreads and bootstrap intervals of many cells of raw runs at once.

A *cell* is one bundle at one frequency. Its runs lie side by side in a flat array, and ``starts`` (cells + 1 offsets)
says where each cell begins.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Counts = npt.NDArray[np.int32]

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


def _trimmed_means(drawn: Counts, ascending: Floats, trim: float = TRIM) -> Floats:
    """Trimmed means of resamples.

    The mean of the kept places is summed by parts: runs in ascending order, each times how many places its resamples
    fill between the cuts, which is the step of a clipped running count.

    Args:
        drawn: How often each run was drawn, (runs in ascending order, replicates).
        ascending: The runs' values, (n,) or (n, cells).
        trim: Share of the runs that is left out at each end.

    Returns:
        (replicates,) or (cells, replicates).
    """
    count = len(drawn)
    cut = int(trim * count)
    reached = np.clip(np.cumsum(drawn, axis=0, dtype=np.int32), cut, count - cut).astype(np.float64)
    inner: Floats = np.diff(ascending, axis=0).T @ reached[:-1]
    ends = (count - cut) * ascending[-1] - cut * ascending[0]
    means: Floats = (np.asarray(ends)[..., None] - inner) / (count - 2 * cut)
    return means


def _resamples(count: int, replicates: int, generator: np.random.Generator) -> Counts:
    """How often each of ``count`` runs is drawn in each replicate: (count, replicates)."""
    drawn = generator.multinomial(count, np.full(count, 1.0 / count), size=replicates)
    return np.ascontiguousarray(drawn.T, dtype=np.int32)


def interval(
    values: Floats,
    starts: Ints,
    confidence: float = CONFIDENCE,
    replicates: int = REPLICATES,
    seed: int = SEED,
    trim: float = TRIM,
) -> tuple[Floats, Floats]:
    """Percentile bootstrap interval of the trimmed mean of each cell.

    Cells with equally many runs share one pool of resamples, which leaves each cell's own interval what it is.

    Args:
        values: Raw runs.
        starts: Offsets of the cells.
        confidence: Share of the replicates that lie inside.
        replicates: Number of resamples.
        seed: Seed of the resampling.
        trim: Share of a cell's runs that its mean leaves out at each end.

    Returns:
        Lower and upper ends, one a cell.
    """
    generator = np.random.default_rng(seed)
    low, high = np.empty(len(starts) - 1), np.empty(len(starts) - 1)
    tails = ((1 - confidence) / 2, (1 + confidence) / 2)
    for cells, positions in _blocks(starts):
        drawn = _resamples(positions.shape[1], replicates, generator)
        means = _trimmed_means(drawn, np.sort(values[positions], axis=1).T, trim)
        low[cells], high[cells] = np.quantile(means, tails, axis=1)
    return low, high


def bootstrap(
    quantities: list[Floats],
    starts: Ints,
    replicates: int = REPLICATES,
    seed: int = SEED,
    trims: Sequence[float] = (TRIM, TRIM),
) -> list[Floats]:
    """Resamples the runs of every cell, independently from cell to cell, jointly over the quantities of a run.

    Args:
        quantities: Raw runs of each quantity (such as duration and energy), in the same order.
        starts: Offsets of the cells.
        replicates: Number of resamples.
        seed: Seed of the resampling.
        trims: For each quantity the share of a cell's runs that its mean leaves out at each end.

    Returns:
        For each quantity the trimmed means, (replicates, cells).
    """
    generator = np.random.default_rng(seed)
    means = [np.empty((replicates, len(starts) - 1)) for _ in quantities]
    for cells, positions in _blocks(starts):
        pool = _resamples(positions.shape[1], replicates, generator)
        for cell, run in zip(cells, positions, strict=True):
            drawn = generator.permutation(replicates)
            for values, result, trim in zip(quantities, means, trims, strict=False):
                order = np.argsort(values[run])
                result[drawn, cell] = _trimmed_means(pool[order], values[run][order], trim)
    return means
