"""What shape a profile should have, by a measured one: passes and runs are drawn from it anew, and a cut is chosen.

The table says where it comes from. A pass counts as measured: what its runs, and all bundles in it, share stays in it.
"""

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np

MEASURED = Path(__file__).parents[2] / "data" / "alexnet_passes.csv"
TRIM = 0.2
WARM_UPS = 2
# Passes x runs that take equally long, warm-ups too.
SHAPES = (5, 20), (7, 14), (9, 10), (16, 5), (22, 3), (28, 2)
SERVER = 4.0  # so many times faster
CHUNK = 200


@dataclass
class Table:
    """Durations of the first layers, and of the last ones, by pass: (passes, 2, cuts, runs), s; bytes at each cut."""

    first_s: np.ndarray
    last_s: np.ndarray
    sizes_bytes: np.ndarray


def read(path=MEASURED):
    """Reads the table; a cut's layers are those before it, and those from it on."""
    with path.open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(line for line in stream if not line.startswith("#")))
    count = 1 + max(int(row["last"]) for row in rows)
    passes = 1 + max(int(row["pass"]) for row in rows)
    runs = len(rows[0]["durations_us"].split())
    first_s, last_s = (np.zeros((passes, count + 1, runs)) for _ in "fl")
    sizes = np.zeros(count + 1, int)
    for row in rows:
        first, last, at = int(row["first"]), int(row["last"]), int(row["pass"])
        durations_s = np.array(row["durations_us"].split(), float) * 1e-6
        if first == 0:
            first_s[at, last + 1] = durations_s
        if last == count - 1:
            last_s[at, first] = durations_s
        sizes[first] = int(row["input_bytes"])
    return Table(first_s, last_s, sizes)


def means(values, generator, draws, shape):
    """Means as a profile of a shape would give them: (draws, cuts)."""
    passes, runs = shape
    chosen = generator.integers(0, len(values), (draws, passes, 1, 1))
    which = generator.integers(0, values.shape[2], (draws, passes, values.shape[1], runs))
    drawn = np.sort(values[chosen, np.arange(values.shape[1])[:, None], which], axis=3)
    cut = int(TRIM * runs)
    return drawn[..., cut : runs - cut].mean(axis=(1, 3))


def worse(table, shape, draws, seed=0, more=0.01):
    """How often the cut that is chosen by a profile of a shape is truly worse, and the 95 % width of a mean."""
    generator = np.random.default_rng([seed, *shape])
    true = [trimmed.mean(axis=0) for trimmed in map(typical, (table.first_s, table.last_s))]
    count, bad, off = 0, 0, []
    while count < draws:
        bit_s = 10 ** generator.uniform(np.log10(20e6), 9, (CHUNK, 1))
        sent_s = np.where(np.arange(len(table.sizes_bytes)) < len(table.sizes_bytes) - 1, table.sizes_bytes * 8, 0)
        found = [means(values, generator, CHUNK, shape) for values in (table.first_s, table.last_s)]
        chosen = (found[0] + sent_s / bit_s + found[1] / SERVER).argmin(axis=1)
        truly = true[0] + sent_s / bit_s + true[1] / SERVER
        excess = truly[np.arange(CHUNK), chosen] / truly.min(axis=1) - 1
        bad += int((excess > more).sum())
        off.append(found[0][:, -1] / true[0][-1] - 1)
        count += CHUNK
    return bad / count, float(1.96 * np.concatenate(off).std())


def typical(values):
    """Trimmed mean of each pass: (passes, cuts)."""
    runs = values.shape[2]
    cut = int(TRIM * runs)
    return np.sort(values, axis=2)[..., cut : runs - cut].mean(axis=2)
