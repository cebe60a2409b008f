"""A link as it changes over time: a table of its rates and its round trip, and what a plan costs over it.

A row holds until the next one does, the last one as long as the one before. A plan is made for the mean over that
time, which is that of rates and round trip as well, since a transfer's time is a sum; quantiles say what it takes then.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np

from dime.contract import tables
from dime.contract.errors import TableError
from dime.host.common.stats import Floats

MOST_ROWS = 10_000
LARGEST_BYTES = 1 << 23
SHARES = (0.05, 0.25, 0.5, 0.75, 0.95)
LEAST_MBIT_S = 1e-6


def _column(name: str, meaning: str, least: float) -> tables.Column:
    return tables.Column(name, float, meaning, lambda value: least <= value <= 1e12, f">= {least:g}", False)


COLUMNS = (
    _column("time", "s", -1e12),
    _column("up", "Mbit/s away from the weaker device", LEAST_MBIT_S),
    _column("down", "Mbit/s towards it", LEAST_MBIT_S),
    _column("rtt", "round trip, s", 0.0),
)
Rows = tuple[tuple[float, float, float, float], ...]
"""Share of the time, round trip (s), and seconds a bit up and down."""


def read(path: str) -> Rows:
    """Reads a trace: a CSV with the columns time (s), up and down (Mbit/s) and rtt (s).

    Raises:
        TableError: It is missing or damaged, has no two rows or too many, or its time does not go on.
    """
    try:
        size = os.path.getsize(path)
    except OSError as error:
        raise TableError(f"{path}: {error.strerror}") from None
    if size > LARGEST_BYTES:
        raise TableError(f"{path} is no trace of a link: it is larger than {LARGEST_BYTES >> 20} MiB")
    rows = tables.read(path, COLUMNS)
    if not 2 <= len(rows) <= MOST_ROWS:
        raise TableError(f"{path} has {len(rows)} rows; a trace has 2 to {MOST_ROWS}")
    times = np.array([row["time"] for row in rows])
    lasts = np.diff(times)
    if not (lasts > 0).all():
        at = int(np.flatnonzero(lasts <= 0)[0])
        raise TableError(f"{path} line {at + 3}: time does not go on, {times[at]:g} is followed by {times[at + 1]:g}")
    shares = np.concatenate((lasts, lasts[-1:]))
    shares /= shares.sum()
    return tuple(
        (float(share), row["rtt"], 1e-6 / row["up"], 1e-6 / row["down"])
        for share, row in zip(shares, rows, strict=True)
    )


def mean(rows: Rows) -> tuple[float, float, float]:
    """Round trip and seconds a bit up and down, on average over the time."""
    shares, *of = np.array(rows).T
    trip_s, up, down = (float(shares @ values) for values in of)
    return trip_s, up, down


def transfer_s(rows: Rows, size_bytes: int, upload: bool, trips: int = 0) -> Floats:
    """Time of one transfer at each row, after so many round trips."""
    _, trip_s, up, down = np.array(rows).T
    found: Floats = trip_s * (0.5 + trips) + 8 * size_bytes * (up if upload else down)
    return found


def quantiles(rows: Rows, values: Floats, shares: Sequence[float] = SHARES) -> tuple[tuple[float, float], ...]:
    """Each share, and the value that is not exceeded in so much of the time."""
    order = np.argsort(values, kind="stable")
    reached = np.cumsum(np.array(rows)[order, 0])
    places = np.minimum(np.searchsorted(reached, np.array(shares) - 1e-12), len(values) - 1)
    return tuple((share, float(values[order[place]])) for share, place in zip(shares, places, strict=True))
