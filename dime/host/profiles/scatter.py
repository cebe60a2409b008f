"""How far a profile's means may be off, learned from how its passes differ; from its runs where a table has no passes.

The runs of one pass are alike: a machine that is slow in one moment is slow in all of it. So a pass counts once.
A mean of n passes is off by their standard error times Student's t with n - 1 degrees of freedom; so is any sum of
means that were measured in the same passes, where what the passes share adds up and the rest evens out.

The passes of one session are alike, too. So where the passes of a frequency are of two sessions or more, a session
counts once: two that happen to be close to each other are no proof that a third would be.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dime.contract.bundles import spell
from dime.host.common import stats
from dime.host.common.stats import Bools, Floats, Ints
from dime.host.profiles.profiles import Profile, Replicates

# A cell's own variance counts as its degrees of freedom say, that of the cells beside it as so many more.
OTHERS_DOF = 2
# No draw is so many times its mean: t with one degree of freedom has no bounds.
MOST_TIMES = 10.0


@dataclass(frozen=True, eq=False)
class Scatter:
    """What is known of the errors of one profile's means.

    Attributes:
        profile: The profile.
        passes: Means, of durations, energies, and durations without trimming, of each of what counts once, (passes,
            cells): a pass, or a session where a frequency has several; NaN where there is none. None where the table
            has no passes.
        weight: The share of each of them in its cell's mean, 0 where there is none.
        error: Standard errors of the same three where runs count by themselves.
        dof: Their degrees of freedom.
        correlation: Of a cell's durations and energies.
        moments: Variance and third moment of a run as a part of its mean, of durations and of energies.
        of_pass: What counts once: each run's pass, or session where its frequency has several; None: not known.
        sessions: How many each frequency has.
    """

    profile: Profile
    passes: tuple[Floats, Floats | None, Floats] | None
    error: tuple[Floats, Floats | None, Floats]
    dof: Ints
    correlation: Floats
    moments: tuple[tuple[float, float], tuple[float, float]]
    weight: Floats
    of_pass: Ints | None = None
    sessions: tuple[int, ...] = ()

    @classmethod
    def of(cls, profile: Profile) -> Scatter:
        """Looks at a profile's runs."""
        starts, of_pass, trims = profile.starts, profile.run_iteration, profile.trims
        duration_s, energy_j = profile.run_duration_s, profile.run_energy_j
        error, dof = stats.trimmed_error(duration_s, starts, trims[0])
        error_j = None if energy_j is None else stats.trimmed_error(energy_j, starts, trims[1])[0]
        errors = error, error_j, stats.trimmed_error(duration_s, starts, 0.0)[0]
        passes, weight, sessions = None, np.zeros((0, len(starts) - 1)), (1,) * len(profile.frequencies_hz)
        if of_pass is not None:
            times = stats.pass_means(duration_s, starts, of_pass, trims[0])
            joules = None if energy_j is None else stats.pass_means(energy_j, starts, of_pass, trims[1])
            plain = stats.pass_means(duration_s, starts, of_pass, 0.0)
            weight = (~np.isnan(times)).astype(np.float64)
            if profile.run_session is not None:
                frequency = np.repeat(np.arange(len(starts) - 1) % len(sessions), np.diff(starts))
                counts, sessions = stats.counted_once(frequency, of_pass, profile.run_session)
                for column in np.flatnonzero(np.array(sessions) > 1).tolist():
                    mine = frequency == column
                    rows = _rows(of_pass, counts, mine)
                    for means in (times, joules, plain):
                        if means is not None:
                            means[:, column :: len(sessions)] = _joined(means[:, column :: len(sessions)], rows)
                    weight[:, column :: len(sessions)] = _joined(weight[:, column :: len(sessions)], rows, sums=True)
                of_pass = counts
            passes, weight = (times, joules, plain), weight / weight.sum(axis=0)
        together, off_j = np.zeros(len(starts) - 1), np.zeros(1)
        time = _parts_off(duration_s, starts)
        if energy_j is not None:
            off_j = _parts_off(energy_j, starts)
            sums = [np.add.reduceat(product, starts[:-1]) for product in (time * off_j, time * time, off_j * off_j)]
            scale = np.sqrt(sums[1] * sums[2])
            together = np.clip(np.divide(sums[0], scale, out=together, where=scale > 0), -1.0, 1.0)
        times_off, joules_off = ((float((off**2).mean()), float((off**3).mean())) for off in (time, off_j))
        moments = times_off, joules_off
        return cls(profile, passes, errors, dof, together, moments, weight, of_pass, sessions)

    @property
    def unknown(self) -> str:
        """Why nothing can be said about the errors; empty where it can."""
        profile, per = self.profile, len(self.profile.frequencies_hz)
        count = np.diff(profile.starts) if self.passes is None else (~np.isnan(self.passes[0])).sum(axis=0)
        few = np.flatnonzero(count < 2)
        if not len(few):
            return ""
        if self.passes is not None and len(self.passes[0]) == 1:
            return f"{profile.path} is of one pass, and how passes differ is not known: profile more (ITERATIONS=)"
        name = spell(profile.bundles[int(few[0]) // per], list(profile.layers))
        what = "run" if self.passes is None else "session" if self.sessions[int(few[0]) % per] > 1 else "pass"
        return f"{profile.path} has one {what} of bundle '{name}', and how {what}s differ is not known: profile more"

    @property
    def fewest(self) -> int:
        """The least number of passes, or sessions, that a cell has; 0 where they are not known."""
        return 0 if self.passes is None else int((~np.isnan(self.passes[0])).sum(axis=0).min())

    @property
    def note(self) -> str:
        """What the errors rest on where that is less than passes."""
        several = [count for count in self.sessions if count > 1]
        if several:
            return (
                f"{self.profile.path} is of {min(several)} sessions, and the passes of one are alike: a session counts"
                " once, which makes intervals wide; profile in one go, or in more sessions"
            )
        if self.passes is not None:
            return ""
        return f"{self.profile.path} does not say in which pass a run was: its runs are taken as independent"

    def half_width(self, quantity: int, confidence: float = stats.CONFIDENCE) -> Floats:
        """Half of the interval of each cell's mean duration (0) or energy (1); NaN where it is not known."""
        error, dof = self.error[quantity], self.dof
        if self.passes is not None:
            means = self.passes[quantity]
            assert means is not None
            variance, dof = stats.error_of_passes(means, self.weight)
            error = np.sqrt(variance)
        assert error is not None
        half: Floats = error * stats.student_factors(dof, confidence)
        return half

    def column(self, frequency: int) -> Ints:
        """The cells of one frequency: what was measured in the same passes."""
        return np.arange(frequency, len(self.profile.starts) - 1, len(self.profile.frequencies_hz))

    def draw(self, count: int, seed: int) -> Replicates:
        """Draws means as they may truly be: each sum of them within one frequency has (about) its t distribution.

        What all cells of a pass share is drawn once for all, the rest of each cell by itself.
        """
        generator = np.random.default_rng(seed)
        shape = (count, len(self.profile.bundles), len(self.profile.frequencies_hz))
        drawn = [np.empty((count, len(self.profile.starts) - 1)) for quantity in self.error[:2] if quantity is not None]
        for frequency in range(shape[2]):
            for result, part in zip(drawn, self._column(frequency, count, generator), strict=True):
                result[:, self.column(frequency)] = part
        found = [part.reshape(shape) for part in drawn]
        return Replicates(found[0], found[1] if len(found) > 1 else None)

    def draw_parts(self, frequency: int, count: int, seed: int) -> tuple[list[Floats], list[Floats]]:
        """Draws the means of one frequency's cells by what is their own, and by what their passes share.

        Returns:
            For each of the two durations (count, bundles), and energies where there are any; nothing is shared where
            passes are not known.
        """
        own = self._column(frequency, count, np.random.default_rng(seed), shares=False)
        shared = self._column(frequency, count, np.random.default_rng(seed), is_own=False)
        return own, [] if self.passes is None else shared

    def _column(
        self, frequency: int, count: int, generator: np.random.Generator, is_own: bool = True, shares: bool = True
    ) -> list[Floats]:
        """Draws durations and energies of one frequency's cells, (count, cells)."""
        cells = self.column(frequency)
        own = generator.standard_normal((2, count, len(cells)))
        together = self.correlation[cells]
        own[1] = together * own[0] + np.sqrt(1 - together**2) * own[1]
        if self.passes is None:
            own /= np.sqrt(_chi_square(generator, self.dof[cells], (count, len(cells))))
            shared = None
        else:
            dof = np.maximum((~np.isnan(self.passes[0][:, cells])).sum(axis=0) - 1, 1) + OTHERS_DOF
            own /= np.sqrt(_chi_square(generator, dof, (count, len(cells))))
            there = int((~np.isnan(self.passes[0][:, cells])).any(axis=1).sum())
            shared = generator.standard_normal((count, there)) * shares
            shared /= np.sqrt(_chi_square(generator, np.array([max(there - 1, 1)]), (count, 1)))
        means = (self.profile.means.duration_s, self.profile.means.energy_j)
        return [
            mean[:, frequency] * self._factors(at, cells, own[at] * is_own, shared)
            for at, mean in enumerate(means)
            if mean is not None
        ]

    def _factors(self, quantity: int, cells: Ints, own: Floats, shared: Floats | None) -> Floats:
        if shared is None or self.passes is None:
            error, mean = self.error[quantity], (self.profile.means.duration_s, self.profile.means.energy_j)[quantity]
            assert error is not None and mean is not None
            center = mean.ravel()[cells]
            parts = np.divide(error[cells], center, out=np.zeros(len(cells)), where=center > 0)
            return np.clip(1 + own * parts, 0.0, MOST_TIMES)
        of_passes = self.passes[quantity]
        assert of_passes is not None
        common, rest, count = split(of_passes[:, cells])
        variance = (rest**2).sum(axis=0) / np.maximum(count - 1, 1) * len(cells) / max(len(cells) - 1, 1)
        dof = np.maximum(count - 1, 1)
        variance = (OTHERS_DOF * variance.mean() + dof * variance) / (OTHERS_DOF + dof)
        together = (shared @ common) / np.sqrt(max(len(common) - 1, 1))
        scale = np.sqrt((self.weight[:, cells] ** 2).sum(axis=0))
        off = together[:, None] * scale + own * np.sqrt(variance) * scale
        factors: Floats = np.clip(1 + off, 0.0, MOST_TIMES)
        return factors


def _parts_off(values: Floats, starts: Ints) -> Floats:
    """How far each run is from its cell's mean, as a part of it."""
    count = np.diff(starts)
    mean = np.repeat(np.add.reduceat(values, starts[:-1]) / count, count)
    return np.divide(values, mean, out=np.ones_like(values), where=mean > 0) - 1


def split(means: Floats) -> tuple[Floats, Floats, Ints]:
    """What the cells of each pass have in common, each cell's rest, and the number of each cell's passes."""
    there = ~np.isnan(means)
    kept = there.any(axis=1)
    means, there = np.where(there, means, 0.0)[kept], there[kept]
    count = np.maximum(there.sum(axis=0), 1)
    center = means.sum(axis=0) / count
    parts = np.where(there, np.divide(means, center, out=np.ones_like(means), where=center > 0) - 1, 0.0)
    common = parts.sum(axis=1) / np.maximum(there.sum(axis=1), 1)
    common -= common.mean()
    return common, np.where(there, parts - common[:, None], 0.0), count


def _rows(of_pass: Ints, counts: Ints, mine: Bools) -> list[Ints]:
    """For each session of one frequency's runs the places of its passes among all passes."""
    labels = np.unique(of_pass)
    return [
        np.searchsorted(labels, np.unique(of_pass[mine & (counts == name)]))
        for name in np.unique(counts[mine]).tolist()
    ]


def _joined(values: Floats, rows: Sequence[Ints], sums: bool = False) -> Floats:
    """Means, or sums, of some rows each in the first rows; NaN, or 0, in those that are left over."""
    found = np.full(values.shape, 0.0 if sums else np.nan)
    for at, its in enumerate(rows):
        there = ~np.isnan(values[its])
        total, count = np.where(there, values[its], 0.0).sum(axis=0), there.sum(axis=0)
        found[at] = total if sums else np.divide(total, count, out=found[at].copy(), where=count > 0)
    return found


def _chi_square(generator: np.random.Generator, dof: Ints, shape: tuple[int, int]) -> Floats:
    """Draws of chi-square by its degrees of freedom."""
    known = np.maximum(dof, 1)
    drawn: Floats = generator.chisquare(np.broadcast_to(known, shape)) / known
    return drawn
