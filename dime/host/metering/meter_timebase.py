"""A meter's own clock and the arrivals of its lines -> its readings on the logger's clock, and where they part.

A meter with a clock of its own stamps its lines when it reads; they arrive later, sometimes several at once. So its
clock gives the distances, and the arrivals only give the offset: the line that no arrival lies below, which passes
through the quickest of them.
"""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

from dime.host.metering.api import FLOAT

INTEGERS = NDArray[np.int64]
WRAP_MS = 1 << 32
# Two quartz clocks differ by less than this; a steeper line through the arrivals is an accident of a short log.
MAX_DRIFT = 500e-6
_BLOCKS = 2000
# A line that comes this much later than the one before was held up, or the meter's count or this computer stood still.
_JUMP_S = 0.05
# Lines that are held up are followed by others that are not, within so many.
_ROWS_TO_CATCH_UP = 400


def follows(previous_ms: int, new_ms: int, elapsed_s: float) -> str:
    """Says how a meter's time that is not later than the one before came about.

    Args:
        previous_ms: The meter's time before.
        new_ms: Its time now, at most that.
        elapsed_s: Time between the two arrivals.

    Returns:
        ``wrap``: the 32-bit count ran over, for then it agrees with the arrivals to a second; ``reboot``: the count
        restarted, for it is shorter than the time that has passed; ``late``: datagrams overtook each other.
    """
    if abs((new_ms - previous_ms) % WRAP_MS - elapsed_s * 1e3) < 1000 and previous_ms != new_ms:
        return "wrap"
    return "late" if previous_ms - new_ms < new_ms - elapsed_s * 1e3 or previous_ms == new_ms else "reboot"


def unroll(
    time_ms: INTEGERS, timestamp_ns: INTEGERS, part: INTEGERS | None = None
) -> tuple[INTEGERS, INTEGERS, NDArray[np.bool_]]:
    """Makes a meter's times continuous.

    Args:
        time_ms: The meter's times, row by row.
        timestamp_ns: The rows' arrivals.
        part: A number for each row that changes where the logger noted a break.

    Returns:
        The times without wrap-arounds, each row's segment (a new one after each reboot), and which rows to keep: the
        others came late, after one that was read after them.
    """
    keep = np.ones(len(time_ms), bool)
    if part is None:
        part = np.zeros(len(time_ms), np.int64)
    while True:
        rows = np.flatnonzero(keep)
        times, arrivals = time_ms[rows], timestamp_ns[rows]
        back = np.flatnonzero((np.diff(times) <= 0) & (np.diff(part[rows]) == 0))
        elapsed_s = (arrivals[back + 1] - arrivals[back]) * 1e-9
        why = list(map(follows, times[back].tolist(), times[back + 1].tolist(), elapsed_s.tolist()))
        late = back[[reason == "late" for reason in why]] + 1 if why else back
        if not len(late):
            break
        keep[rows[late]] = False
    unrolled, segment = time_ms.copy(), np.zeros(len(time_ms), np.int64)
    for place, reason in zip(rows[back + 1].tolist(), why, strict=True):
        if reason == "wrap":
            unrolled[place:] += WRAP_MS
        else:
            segment[place:] += 1
    segment += part
    rows = np.flatnonzero(keep)
    delay_s = timestamp_ns[rows] * 1e-9 - unrolled[rows] * 1e-3
    segment[rows] += _jumps(delay_s - delay_s[0], segment[rows])
    return unrolled, np.maximum.accumulate(np.where(keep, segment, 0)), keep


def _jumps(delay_s: FLOAT, segment: INTEGERS) -> INTEGERS:
    """Counts, row by row, where the meter's time and the arrivals parted for good, in either direction.

    The meter restarted with a count ahead of its last one, or this computer slept. Where lines were only held up, the
    quickest of those before and of those after are under way equally long.
    """
    jumped = np.zeros(len(delay_s), np.int64)
    begin = 0
    for place in (np.flatnonzero((np.abs(np.diff(delay_s)) > _JUMP_S) & (np.diff(segment) == 0)) + 1).tolist():
        before = delay_s[max(begin, place - _ROWS_TO_CATCH_UP) : place]
        after = delay_s[place : place + _ROWS_TO_CATCH_UP]
        same = segment[place : place + _ROWS_TO_CATCH_UP] == segment[place]
        earlier = segment[max(begin, place - _ROWS_TO_CATCH_UP) : place] == segment[place]
        if abs(after[same].min() - before[earlier].min()) > _JUMP_S:
            jumped[place] = 1
            begin = place
    return np.cumsum(jumped)


def quickest_line(time_s: FLOAT, arrival_s: FLOAT) -> tuple[float, float]:
    """Finds the straight line below all arrivals that is nearest to them.

    Args:
        time_s: The meter's times, rising.
        arrival_s: When they arrived.

    Returns:
        Offset and slope of arrival minus time: on that line lie the readings that were under way for the least time.
    """
    delay = arrival_s - time_s
    edges = np.linspace(0, len(delay), min(len(delay), _BLOCKS) + 1).astype(int).tolist()
    lowest = [start + int(np.argmin(delay[start:end])) for start, end in itertools.pairwise(edges)]
    hull: list[tuple[float, float]] = []
    for x, y in zip(time_s[lowest].tolist(), delay[lowest].tolist(), strict=True):
        while len(hull) > 1 and (hull[-1][1] - hull[-2][1]) * (x - hull[-2][0]) >= (y - hull[-2][1]) * (
            hull[-1][0] - hull[-2][0]
        ):
            hull.pop()
        hull.append((x, y))
    slope, middle = 0.0, float(time_s.mean())
    for (x0, y0), (x1, y1) in itertools.pairwise(hull):
        if x0 <= middle <= x1 and x1 > x0:
            slope = (y1 - y0) / (x1 - x0)
    slope = float(np.clip(slope, -MAX_DRIFT, MAX_DRIFT))
    return float((delay - slope * time_s).min()), slope
