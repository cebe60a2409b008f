"""How single runs vary: what one profile's runs say of a run that is still to come.

A run is off its bundle's mean by what its whole pass is off, which all bundles of one clock share, and by what is its
own. How far the second goes is learned from the runs themselves: each is held against the mean and the spread that the
other passes of its bundle give. So the factor between spread and bound has the noise's own shape, its tails and what
few runs leave open in it; no distribution is assumed. The first goes as far as Student's t says of few passes.

A row of a burst is a mean of runs; what counts there is the one that was timed by itself.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from dime.contract.errors import InputError
from dime.host.common import stats, student
from dime.host.common.stats import Floats, Ints
from dime.host.profiles.profiles import Profile
from dime.host.profiles.scatter import Scatter, split

# A bundle's own variance counts as its runs do, that of the others as so many more.
OTHERS = 3
DRAWS = 20_000
# Sums of so many bundles are held against the runs; those of more are closer to a normal distribution.
SUMS = (1, 2, 3, 5, 8)


@dataclass(frozen=True, eq=False)
class SingleRuns:
    """What is known of one quantity's single runs; arrays have one entry a cell unless said otherwise.

    Attributes:
        sample: The runs; one entry a run.
        mean: Over the passes.
        spread: Standard deviation of a run's own part.
        shared: Standard deviation of what all runs of a pass share.
        shared_dof: Its degrees of freedom; 0 where passes are not known.
        gain: The error of the meter's gain, as a part of the mean.
        off: How far each run is from the mean that the other passes give, as a part of it; one entry a run.
        by: The spread that the other passes give, as a part of the mean; one entry a run.
        profile: The profile.
    """

    sample: Floats
    mean: Floats
    spread: Floats
    shared: Floats
    shared_dof: Ints
    gain: float
    off: Floats
    by: Floats
    profile: Profile

    @classmethod
    def of(cls, profile: Profile, quantity: str, limited: str = "") -> SingleRuns:
        """Looks at a profile's runs.

        Args:
            profile: The profile.
            quantity: ``latency`` or ``energy``; the profile has it.
            limited: What the limit is on, for messages; empty: the same.

        Raises:
            InputError: Nothing can be said of single runs.
        """
        scatter = Scatter.of(profile)
        reason = scatter.unknown
        if 2 in scatter.sessions and not reason:
            reason = (
                f"{profile.path} is of two sessions, and how far a third would be off is not known: profile in one go"
            )
        if reason:
            raise InputError(f"no limit holds with a probability: {reason}")
        values = _values(profile, quantity, limited or quantity)
        starts, per = profile.starts, len(profile.frequencies_hz)
        cells = len(starts) - 1
        cell = np.repeat(np.arange(cells), np.diff(starts))
        mean = stats.mean_of_passes(values, starts, scatter.of_pass, 0.0)
        parts = np.divide(values, mean[cell], out=np.ones_like(values), where=mean[cell] > 0) - 1
        shared, dof = np.zeros(cells), np.zeros(cells, np.int64)
        passes = scatter.of_pass
        if passes is None:
            passes = np.arange(len(values)) - starts[cell]
        else:
            means = stats.pass_means(values, starts, passes, 0.0)
            place = np.unique(passes, return_inverse=True)[1]
            for column in map(scatter.column, range(per)):
                there = np.flatnonzero(np.isfinite(means[:, column]).any(axis=1))
                common = np.zeros(len(means))
                common[there] = split(means[:, column])[0]
                dof[column] = len(there) - 1
                shared[column] = math.sqrt((common**2).sum() / max(len(there) - 1, 1))
                mine = cell % per == column[0]
                parts[mine] -= common[place[mine]]
        spread, off, by = _held_out(parts, cell, passes, cells)
        gain = profile.gain.error if quantity == "energy" and profile.gain and not profile.energy_model else None
        return cls(values, mean, spread * mean, shared * mean, dof, gain or 0.0, off, by, profile)

    def together(self, probability: float) -> Floats:
        """How far what passes share, and the meter's gain, may take a run above the mean with a probability."""
        factors = np.zeros(len(self.shared))
        for dof in np.unique(self.shared_dof).tolist():
            if dof > 0:
                factor = student.quantile(probability, dof) * math.sqrt(1 + 1 / (dof + 1))
                factors[self.shared_dof == dof] = factor
        gain = student.quantile(probability, math.inf) * self.gain * self.mean
        found: Floats = np.hypot(factors * self.shared, gain)
        return found

    def alone(self, probability: float) -> Floats:
        """Squares of how far the rest may take a run above that with a probability; they add up along a plan.

        Raises:
            InputError: There are too few runs for that probability.
        """
        found: Floats = (self._factor(probability) * self.spread) ** 2
        return found

    def _factor(self, probability: float) -> float:
        count = len(self.off)
        if probability * (count + 1) > count:
            raise InputError(
                f"{self.profile.path} has {count} runs, too few to say what {probability:.6g} of them stay below:"
                f" profile more, or take a probability up to {math.floor(1e4 * count / (count + 1)) / 1e4:g}"
            )
        level = min(1.0, probability * (1 + 1 / count))
        return max(0.0, *(float(ratios[math.ceil(level * len(ratios)) - 1]) for ratios in self._ratios))

    @cached_property
    def _ratios(self) -> list[Floats]:
        """How many of their spreads sums of one run, of two, ... are off, ascending."""
        generator, count = np.random.default_rng(stats.SEED), len(self.off)
        found = []
        for size in SUMS:
            at = np.arange(count)[None] if size == 1 else generator.integers(0, count, (size, DRAWS))
            off, by = self.off[at].sum(axis=0), np.sqrt((self.by[at] ** 2).sum(axis=0))
            found.append(np.sort(np.divide(off, by, out=np.zeros_like(off), where=by > 0)))
        return found


def _values(profile: Profile, quantity: str, limited: str) -> Floats:
    """A sample of single runs."""
    single_s = profile.run_duration_s
    if profile.run_repeats is not None and profile.run_repeats.max() > 1:
        if profile.run_single_s is None or (quantity == "energy" and not profile.energy_model):
            raise InputError(
                f"no limit on {limited} holds with a probability: {profile.path} has means of up to"
                f" {profile.run_repeats.max()} runs, and how single ones differ was not measured"
            )
        single_s = profile.run_single_s
    if quantity == "latency":
        return single_s
    assert profile.run_energy_j is not None
    if single_s is profile.run_duration_s:
        return profile.run_energy_j
    power_w = np.divide(profile.run_energy_j, profile.run_duration_s, out=np.zeros_like(single_s), where=single_s > 0)
    return single_s * power_w


def _held_out(parts: Floats, cell: Ints, passes: Ints, cells: int) -> tuple[Floats, Floats, Floats]:
    """The spread of each cell; and of each run how far it is off, and the spread, by the cell's other passes."""
    ascending = np.lexsort((passes, cell))
    begins = np.concatenate(([True], (np.diff(cell[ascending]) != 0) | (np.diff(passes[ascending]) != 0)))
    group = np.empty(len(parts), np.int64)
    group[ascending] = np.cumsum(begins) - 1
    of_group = cell[ascending][begins]
    moments: list[Floats] = [
        np.bincount(group, weight).astype(np.float64) for weight in (np.ones(len(parts)), parts, parts**2)
    ]
    sums: list[Floats] = [np.bincount(of_group, moment, cells).astype(np.float64) for moment in moments]
    own, dof = _variance(sums[0], sums[1], sums[2])
    pooled = (own.sum() - own) / (cells - 1) if cells > 1 else own
    spread = np.sqrt((OTHERS * pooled + dof * own) / (OTHERS + dof))
    others = [whole[of_group] - part for whole, part in zip(sums, moments, strict=True)]
    rest, rest_dof = _variance(others[0], others[1], others[2])
    by = np.sqrt((OTHERS * pooled[of_group] + rest_dof * rest) / (OTHERS + rest_dof))
    center = np.divide(others[1], others[0], out=np.zeros_like(by), where=others[0] > 0)
    return spread, parts - center[group], by[group]


def _variance(count: Floats, total: Floats, square: Floats) -> tuple[Floats, Floats]:
    dof = np.maximum(count - 1, 0.0)
    off = np.maximum(square - np.divide(total**2, count, out=np.zeros_like(total), where=count > 0), 0.0)
    return np.divide(off, dof, out=np.zeros_like(off), where=dof > 0), dof
