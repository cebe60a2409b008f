"""The rows of a joint profile -> each bundle's mean seconds and joules at each frequency, with a 95 % interval.

Standard uncertainties make an energy's interval (Guide to the Expression of Uncertainty in Measurement):

* repeats: the scatter of the means of the iterations (with one only there is no interval). All that is random
  from one repetition to the next is in it: the load's own variation, the meter's noise, where its readings fell.
* sampling: how the meter averages within its period, at edges where the load steps.
* resolution: values are cut to whole steps.
* clock: all windows of a run are displaced by the same unknown time. A window between steps of the load loses energy
  whichever way it is displaced, like the absolute value of a normal variable: the energies are corrected for its mean,
  its spread is the uncertainty.

The last three are shared by all repetitions and do not shrink with their number. A fifth, the gain of the meter, is
the same for every window that it has measured: it widens joules, and cancels in comparisons. The squares are added; the
factor is Student's t at the effective degrees of freedom (Welch and Satterthwaite).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from dime.contract.intervals import t95
from dime.host.metering.api import FLOAT
from dime.host.metering.integrate import Energies, locked
from dime.host.metering.meter_timebase import INTEGERS

SOURCES = ("repeats", "sampling", "resolution", "clock")
# Standard deviation of the absolute value of a standard normal variable.
HALF_NORMAL_SPREAD = math.sqrt(1 - 2 / math.pi)

Column = Sequence[str | int] | FLOAT | INTEGERS


class Groups(NamedTuple):
    """Rows sorted into bundles and frequencies.

    Attributes:
        row_group: Each row's group.
        row_cluster: Each row's cluster: an iteration of a group.
        cluster_group: Each cluster's group.
        groups: Number of groups.
        cluster_unit: What counts once, of each cluster: itself, or its session where a frequency has several.
        unit_group: Each such unit's group.
    """

    row_group: INTEGERS
    row_cluster: INTEGERS
    cluster_group: INTEGERS
    groups: int
    cluster_unit: INTEGERS
    unit_group: INTEGERS

    @classmethod
    def of(cls, group: INTEGERS, iteration: INTEGERS, unit: INTEGERS | None = None) -> Groups:
        """Sorts rows by their group and iteration.

        Args:
            group: Each row's group.
            iteration: Its iteration.
            unit: What counts once, the same for all rows of an iteration of a group; None: the iteration.
        """
        pairs, first, inverse = np.unique(np.stack([group, iteration]), axis=1, return_index=True, return_inverse=True)
        own = (iteration if unit is None else unit)[first]
        units, cluster_unit = np.unique(np.stack([pairs[0], own]), axis=1, return_inverse=True)
        return cls(
            group, np.ravel(inverse), pairs[0], int(group.max()) + 1, np.ravel(cluster_unit), np.asarray(units[0])
        )

    def rows(self) -> INTEGERS:
        """Rows in each group."""
        return np.bincount(self.row_group, minlength=self.groups)

    def mean_and_error(self, values: FLOAT) -> tuple[FLOAT, FLOAT, FLOAT]:
        """Mean of each group, its standard error, and its degrees of freedom; the error is NaN for a single iteration.

        The rows of one iteration follow each other within moments: how iterations differ is not in their scatter.
        """
        means = _means(self.row_cluster, values)
        number, units = np.bincount(self.cluster_group), np.bincount(self.unit_group)
        share = np.bincount(self.cluster_unit) / number[self.unit_group]
        of_units = _means(self.cluster_unit, means)
        off = of_units - _means(self.unit_group, of_units)[self.unit_group]
        with np.errstate(divide="ignore", invalid="ignore"):
            variance = np.bincount(self.unit_group, off**2) / (units - 1)
        error = np.sqrt(variance * np.bincount(self.unit_group, share**2))
        return _means(self.cluster_group, means), error, np.asarray(units - 1.0)

    def mean(self, values: FLOAT) -> FLOAT:
        """Mean over the rows of each group."""
        return _means(self.row_group, values)


def _means(group: INTEGERS, values: FLOAT) -> FLOAT:
    return np.asarray(np.bincount(group, values) / np.bincount(group))


def summarise(
    names: Sequence[Mapping[str, str | int]],
    groups: Groups,
    duration_s: FLOAT,
    repeats: INTEGERS,
    energies: Energies,
    idle_w: tuple[FLOAT, FLOAT],
    gain_error: float | None = None,
) -> dict[str, Column]:
    """Makes the summary's columns; one entry a group.

    Args:
        names: What identifies each group, as columns.
        groups: The rows' groups; rejected rows are left out.
        duration_s: Each row's duration of one run.
        repeats: Runs in each row's window.
        energies: Each row's window.
        idle_w: Power of the idle device and its standard uncertainty, by group; NaN where it was not seen.
        gain_error: Relative standard uncertainty of the meter's gain; None: not known.

    Returns:
        Columns by name. ``energy_low_j`` and ``energy_high_j`` are the 95 % interval, the meter's gain included where
        it is known; ``energy_one_meter_low_j`` and ``..._high_j`` are without it, for comparisons of what this meter
        has measured; ``energy_<source>_j`` the standard uncertainties; ``idle_j`` what an idle device would have used
        in the time of one run.
    """
    columns: dict[str, Column] = {key: [name[key] for name in names] for key in names[0]}
    columns["n"] = groups.rows()
    columns["iterations"] = np.bincount(groups.cluster_group, minlength=groups.groups)
    time = groups.mean_and_error(duration_s)
    columns["duration_mean_s"] = time[0]
    columns["duration_low_s"], columns["duration_high_s"] = _interval(*time, np.zeros(groups.groups))
    energy = groups.mean_and_error(energies.energy_j / repeats)
    early, late = groups.mean(energies.early_j / repeats), groups.mean(energies.late_j / repeats)
    shared = {
        "sampling": np.hypot(
            groups.mean(energies.sampling_j / repeats),
            np.sqrt(locked(energies.phase, groups.row_group) * groups.mean((energies.alias_j / repeats) ** 2)),
        ),
        "resolution": groups.mean(energies.resolution_j / repeats),
        "clock": np.hypot((late - early) / 2, HALF_NORMAL_SPREAD * (late + early) / 2),
    }
    systematic = np.sqrt(sum(np.square(value) for value in shared.values()))
    columns["energy_mean_j"] = energy[0]
    gain_j = np.abs(energy[0]) * (math.nan if gain_error is None else gain_error)
    columns["energy_low_j"], columns["energy_high_j"] = _interval(*energy, np.hypot(systematic, np.nan_to_num(gain_j)))
    columns["energy_one_meter_low_j"], columns["energy_one_meter_high_j"] = _interval(*energy, systematic)
    columns["energy_repeats_j"] = energy[1]
    for source, value in shared.items():
        columns[f"energy_{source}_j"] = value
    columns["energy_gain_j"] = gain_j
    columns["idle_w"], columns["idle_w_sd"] = idle_w
    columns["idle_j"] = idle_w[0] * time[0]
    return columns


def _interval(mean: FLOAT, error: FLOAT, dof: FLOAT, systematic: FLOAT) -> tuple[FLOAT, FLOAT]:
    total = np.hypot(error, systematic)
    half = np.array(
        [
            t95(one_dof * (one_total / one_error) ** 4 if one_error > 0 else math.inf) * one_total
            if math.isfinite(one_total)
            else math.nan
            for one_total, one_error, one_dof in zip(total.tolist(), error.tolist(), dof.tolist(), strict=True)
        ]
    )
    return mean - half, mean + half


def short_of(summary: Mapping[str, Column], target: float) -> list[str]:
    """Says which bundles miss a target and why.

    Args:
        summary: The summary's columns.
        target: Half-width of the energy's 95 % interval on one meter, its gain apart, as a part of its mean.

    Returns:
        One line for each that misses it: more repetitions help unless what they cannot reduce is too much by itself.
    """
    lines = []
    for place in range(len(summary["n"])):
        mean = float(summary["energy_mean_j"][place])
        ends = [float(summary[f"energy_one_meter_{end}_j"][place]) for end in ("low", "high")]
        half = (ends[1] - ends[0]) / 2
        if half <= target * mean:
            continue
        shared = {source: float(summary[f"energy_{source}_j"][place]) for source in SOURCES[1:]}
        floor = 1.96 * math.sqrt(sum(value**2 for value in shared.values()))
        if not math.isfinite(half):
            why = "unknown: measured once only, in one iteration; how iterations differ needs two or more"
        elif floor > target * mean:
            largest = max(shared, key=lambda source: shared[source])
            why = f"±{half / mean:.1%}: {largest} alone forbids it (±{floor / mean:.1%} however often it is repeated)"
        else:
            why = f"±{half / mean:.1%}: needs more repetitions than {summary['n'][place]}"
        lines.append(f"{summary['layers'][place]} at {summary['frequency_hz'][place]} Hz: {why}")
    return lines
