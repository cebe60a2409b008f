"""waited_s of timings -> what a bundle takes longer behind a wait, as a line over what it takes back to back.

A device that has part of a network waits for the others between its turns; caches cool down, clocks fall. What that
costs has a part that each bundle pays and one that grows with it. Some bundles of each pass have been run behind a wait
right after their own runs, so what the machine does from one hour to another is in both.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from dime.host.common import stats
from dime.host.common.stats import Bools, Floats, Ints
from dime.host.profiles.profiles import Profile

FEWEST = 5  # runs behind a wait of which extremes are left out


class Line(NamedTuple):
    """What a bundle takes longer behind a wait: s, and s for each second back to back; neither is negative."""

    base_s: float
    share: float

    def longer_s(self, times_s: Floats) -> Floats:
        """What bundles take longer that take these times back to back."""
        found: Floats = self.base_s + self.share * times_s
        return found


@dataclass(frozen=True, eq=False)
class Waited:
    """Runs behind a wait at one frequency, and what fits them.

    Attributes:
        times_s: What each one's bundle took back to back in the same pass, s.
        longer_s: What it took longer behind the wait, s.
        runs: Each one's place among the profile's runs.
    """

    times_s: Floats
    longer_s: Floats
    runs: Ints

    @property
    def typical(self) -> Line:
        """What a typical run takes longer: without the extremes, as of a typical time."""
        return _central(self.times_s, self.longer_s)

    @property
    def mean(self) -> Line:
        """What runs take longer on average."""
        return fit(self.times_s, self.longer_s)

    def without(self, some: Bools) -> Line:
        """``typical`` without some of the runs."""
        return _central(self.times_s[~some], self.longer_s[~some])

    def spread_s(self, times_s: Floats) -> Floats:
        """Standard deviation of what single runs of bundles take longer that take these times back to back."""
        off = self.longer_s - self.mean.longer_s(self.times_s)
        unit = float((off**2 * _weights(self.times_s, self.times_s)).sum()) / max(1, len(off) - 2)
        found: Floats = np.sqrt(unit / _weights(self.times_s, times_s))
        return found


def fit(times_s: Floats, longer_s: Floats) -> Line:
    """Weighted least squares; nothing is negative."""
    if not len(times_s):
        return Line(0.0, 0.0)
    weights = _weights(times_s, times_s)
    weights = weights / weights.sum()
    time_s, mean_s = float(weights @ times_s), float(weights @ longer_s)
    squares = float(weights @ (times_s - time_s) ** 2)
    share = float(weights @ ((times_s - time_s) * longer_s)) / squares if squares > 1e-12 * time_s**2 else 0.0
    base_s = mean_s - share * time_s
    if share < 0:
        return Line(max(0.0, mean_s), 0.0)
    if base_s < 0:
        return Line(0.0, max(0.0, float(weights @ (times_s * longer_s)) / float(weights @ times_s**2)))
    return Line(base_s, share)


def _weights(of_s: Floats, times_s: Floats) -> Floats:
    """The variance of a run grows with its time, from that of one that takes none; in the unit of 1 / s."""
    found: Floats = 1 / (times_s + of_s.mean())
    return found


def of_profile(profile: Profile) -> tuple[Waited, ...] | None:
    """Runs behind a wait at each frequency; None where a frequency has none."""
    waited_s, per = profile.run_waited_s, len(profile.frequencies_hz)
    if waited_s is None or profile.run_iteration is None:
        return None
    cell = np.repeat(np.arange(len(profile.starts) - 1), np.diff(profile.starts))
    passes = np.unique(profile.run_iteration)
    of_passes = stats.pass_means(profile.run_duration_s, profile.starts, profile.run_iteration, profile.trims[0])
    found = []
    for column in range(per):
        runs = np.flatnonzero((cell % per == column) & ~np.isnan(waited_s))
        times_s = of_passes[np.searchsorted(passes, profile.run_iteration[runs]), cell[runs]]
        runs, times_s = runs[times_s > 0], times_s[times_s > 0]
        if not len(runs):
            return None
        longer_s = waited_s[runs] - times_s
        found.append(Waited(times_s, longer_s, runs))
    return tuple(found)


def _central(times_s: Floats, longer_s: Floats) -> Line:
    """A fit without those farthest above and below a first one, as many as a typical time leaves out."""
    if len(times_s) < FEWEST:
        return fit(times_s, longer_s)
    off = (longer_s - fit(times_s, longer_s).longer_s(times_s)) * np.sqrt(_weights(times_s, times_s))
    at_each_end = int(stats.TRIM * len(off))
    used = np.sort(np.argsort(off, kind="stable")[at_each_end : len(off) - at_each_end])
    return fit(times_s[used], longer_s[used])
