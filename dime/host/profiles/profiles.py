"""Profiles: what each bundle costs on one device at each of its frequencies, with every raw run behind it.

Read from a run's folder (run.json with timings.csv, or with joint_profile.parquet once power has been joined), or from
the published formats: a device's parquet and a server's CSV.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from dime.contract.bundles import Bundle, enumerate_bundles, spell
from dime.contract.errors import DimeError, InputError, TableError
from dime.host.common import stats
from dime.host.common.stats import Bools, Floats, Ints
from dime.host.common.units import plain
from dime.host.metering.gain import Gain
from dime.host.profiles.encodings import Encoding
from dime.host.profiles.overheads import Overheads

if TYPE_CHECKING:
    import pandas as pd

    from dime.host.profiles.waits import Waited

# Of a run, in s or J: sums of what is larger may not be finite.
MOST = 1e300
LONGEST_MESSAGE = 1000
LONGEST_LINE = 200


@dataclass(frozen=True)
class Means:
    """Means of every cell: ``duration_s`` (typical runs) and ``energy_j`` (or None) are (bundles, frequencies)."""

    duration_s: Floats
    energy_j: Floats | None


@dataclass(frozen=True)
class Replicates:
    """Draws of the means: (replicates, bundles, frequencies); energy may be None."""

    duration_s: Floats
    energy_j: Floats | None


@dataclass(frozen=True, eq=False)
class Profile:
    """One device's measurements of one network.

    Attributes:
        device: Name of the device.
        network: Name of the network.
        layers: Names of all its layers, in order.
        origin: One of ``run.ORIGINS``; of durations, and of energies unless said otherwise.
        weights: Which weights the network had, or None where the table does not say.
        path: Where the profile was read from.
        frequencies_hz: Frequencies in ascending order; -1 is a clock left alone.
        max_layers: Largest bundle that was profiled. Bundles are those of ``enumerate_bundles``, in that order.
        starts: Offset of the runs of each cell; cell = bundle index x frequencies + frequency index.
        run_duration_s: Raw durations, s.
        run_energy_j: Raw energies, J, or None where power was not measured.
        sizes_bytes: Bytes of the tensor at each boundary of the chain (layers + 1: input, ..., output), or None.
        layer_bytes: Memory that each layer takes where it runs, or None where the table does not say.
        energy_model: The formula that the energies come from, or empty where they were measured as the durations were.
        run_iteration: The pass that each run belongs to, or None where the table does not say.
        run_session: The session, between which the device did something else, that each run belongs to, or None.
        trims: Share of the runs (of a pass, where passes are known) that the means of durations, and of energies, leave
            out at each end.
        pooled: Whether the means are of all runs at once; else each pass counts as much as any other.
        warnings: What is odd in the table, a line each.
        graph: SHA-256 of the network's document, where it was not a built-in one.
        batch: Inputs that a run computes at once.
        dialect: How a text table was read, where that differs from a plain CSV.
        unit_taken: Unit that the durations were taken to have; empty where the table says it.
        meter: The meter that measured the energies, with its channel; empty where the table does not say.
        gain: That meter's gain, whose error all energies share; None where they were not measured, or it is not told.
        run_single_s: A single run of those that each row is the mean of, s; rows' are a sample of single runs. None
            where the table does not tell them, which is where it has bursts of an earlier version.
        run_repeats: Runs that each row is the mean of; None where the table does not say, so of one.
        run_copy_in_s: Time to copy the bundle's input to the GPU, s, outside its duration; 0 on a CPU; NaN where it was
            not measured, None where the table does not say.
        run_copy_out_s: Time to copy its output from the GPU, likewise.
        run_waited_s: Time of one more run behind a wait, s; NaN where there was none, likewise.
        encodings: What encodings of a boundary's tensors (0 is the network's input) take, make and change, by boundary
            and encoding; None where none was measured.
        overheads: What the device takes beside computing; None where it was not measured.
        idle_w: Power at rest at each frequency, W; NaN where it was not measured, None where none was. Modelled where
            the energies are.
        idle_w_sd: Its standard uncertainty, the meter's gain apart.
        frequency_change_s: Time of a change to each frequency, s, until work is as fast as it stays; likewise.
        without_warm_up: Whether a first pass that is a warm-up has been looked for, found and dealt with.
    """

    device: str
    network: str
    layers: tuple[str, ...]
    origin: str
    weights: str | None
    path: str
    frequencies_hz: tuple[int, ...]
    max_layers: int
    starts: Ints
    run_duration_s: Floats
    run_energy_j: Floats | None
    sizes_bytes: tuple[int, ...] | None
    layer_bytes: tuple[int, ...] | None = None
    energy_model: str = ""
    run_iteration: Ints | None = None
    run_session: Ints | None = None
    trims: tuple[float, float] = (stats.TRIM, 0.0)
    pooled: bool = False
    warnings: tuple[str, ...] = ()
    graph: str | None = None
    batch: int = 1
    dialect: str = ""
    unit_taken: str = ""
    meter: str = ""
    gain: Gain | None = None
    run_single_s: Floats | None = None
    run_repeats: Ints | None = None
    run_copy_in_s: Floats | None = None
    run_copy_out_s: Floats | None = None
    run_waited_s: Floats | None = None
    encodings: Mapping[tuple[int, str], Encoding] | None = None
    overheads: Overheads | None = None
    idle_w: tuple[float, ...] | None = None
    idle_w_sd: tuple[float, ...] | None = None
    frequency_change_s: tuple[float, ...] | None = None
    without_warm_up: bool = False

    def __repr__(self) -> str:
        clocks = "a clock left alone" if self.frequencies_hz == (-1,) else f"{len(self.frequencies_hz)} clocks"
        energy = "no energy" if self.run_energy_j is None else f"energy {self.energy_origin}"
        size = f"{len(self.layers)} layers, {len(self.bundles)} bundles, {clocks}"
        lines = [
            f"Profile of {self.network} on {self.device}: {size}",
            f"  time {self.origin}, {energy}; {len(self.run_duration_s)} runs; {len(self.warnings)} warnings",
            f"  from {self.path}",
        ]
        return "\n".join(plain(line)[:LONGEST_LINE] for line in lines)

    @property
    def energy_origin(self) -> str:
        """``modelled`` where a formula gave the energies, else the durations' origin."""
        return "modelled" if self.energy_model else self.origin

    def only(self, used: Bools) -> Profile:
        """The profile with some of its runs; each cell keeps at least one."""
        columns = {
            field.name: values[used]
            for field in fields(self)
            if field.name.startswith("run_") and (values := getattr(self, field.name)) is not None
        }
        counts = np.add.reduceat(used.astype(np.int64), self.starts[:-1])
        return replace(self, starts=np.concatenate(([0], np.cumsum(counts))), **columns)

    def with_power(self, power_w: float) -> Profile:
        """The same profile with modelled energies: a constant power times each run's duration.

        Raises:
            InputError: The power is not a finite number >= 0, or energy was measured.
        """
        if not (math.isfinite(power_w) and power_w >= 0):
            raise InputError(f"a power must be a finite number of watts >= 0, not {power_w}")
        if self.run_energy_j is not None and not self.energy_model:
            raise InputError(f"{self.path} has measured energies; a model of {power_w:g} W would replace them")
        return replace(self, run_energy_j=self.run_duration_s * power_w, energy_model=f"{power_w:g} W x time")

    def with_powers(self, power_w: Mapping[int, float], told: str) -> Profile:
        """The same profile with modelled energies: a power for each frequency times each run's duration.

        Args:
            power_w: Frequency -> W.
            told: The formula in words.

        Raises:
            TableError: A frequency has none, or it is not a finite number >= 0.
        """
        powers = [power_w.get(frequency_hz, math.nan) for frequency_hz in self.frequencies_hz]
        for frequency_hz, power in zip(self.frequencies_hz, powers, strict=True):
            if not (math.isfinite(power) and power >= 0):
                raise TableError(f"{self.path}: its power model has no power at {frequency_hz} Hz that is >= 0")
        of_run = np.repeat(np.tile(powers, len(self.bundles)), np.diff(self.starts))
        return replace(self, run_energy_j=self.run_duration_s * of_run, energy_model=told)

    @cached_property
    def bundles(self) -> list[Bundle]:
        """The profiled bundles, ordered by first, then last layer."""
        return list(enumerate_bundles(len(self.layers), self.max_layers))

    @cached_property
    def bounds(self) -> tuple[Ints, Ints]:
        """First and last layer of each bundle, as arrays."""
        first, last = np.array(self.bundles, dtype=np.int64).T
        return first, last

    @cached_property
    def means(self) -> Means:
        """Means over the passes: of durations without each pass's extremes, so of typical runs; of energies plain."""
        passes = None if self.pooled else self.run_iteration
        duration_s = stats.mean_of_passes(self.run_duration_s, self.starts, passes, self.trims[0])
        if self.run_energy_j is None:
            return Means(self._by_bundle(duration_s), None)
        energy_j = stats.mean_of_passes(self.run_energy_j, self.starts, passes, self.trims[1])
        return Means(self._by_bundle(duration_s), self._by_bundle(energy_j))

    @cached_property
    def plain_s(self) -> Floats:
        """Plain means of durations, (bundles, frequencies): what others' joules add up over; see ``means``."""
        passes = None if self.pooled else self.run_iteration
        return self._by_bundle(stats.mean_of_passes(self.run_duration_s, self.starts, passes, 0.0))

    @cached_property
    def waited(self) -> tuple[Waited, ...] | None:
        """Runs behind a wait at each frequency; None where one has none; see ``waits``."""
        from dime.host.profiles import waits

        return waits.of_profile(self)

    @cached_property
    def copy_in_s(self) -> Floats | None:
        """Typical times to copy a boundary's tensor to the GPU: (layers + 1, frequencies), None where not measured.

        Boundary b is what layer b takes; nothing takes the last one, which is NaN.
        """
        return self._copy_s(self.run_copy_in_s, self.bounds[0])

    @cached_property
    def copy_out_s(self) -> Floats | None:
        """Typical times to copy a boundary's tensor from the GPU; nothing gives the first one, which is NaN."""
        return self._copy_s(self.run_copy_out_s, self.bounds[1] + 1)

    def _copy_s(self, values: Floats | None, boundary: Ints) -> Floats | None:
        if values is None or np.isnan(values).all():
            return None
        per = len(self.frequencies_hz)
        cells = (boundary[:, None] * per + np.arange(per)).ravel()
        place, there = np.repeat(cells, np.diff(self.starts)), ~np.isnan(values)
        order = np.argsort(place[there], kind="stable")
        labels, starts = np.unique(place[there][order], return_index=True)
        found = np.full((len(self.layers) + 1) * per, np.nan)
        found[labels] = stats.trimmed_mean(values[there][order], np.append(starts, len(order)), self.trims[0])
        return found.reshape(-1, per)

    def runs(self, bundle: Bundle, frequency_hz: int) -> tuple[Floats, Floats | None]:
        """Raw durations (s) and energies (J, or None) of one cell.

        Raises:
            InputError: The profile has no such bundle or frequency.
        """
        try:
            cell = self.bundles.index(bundle) * len(self.frequencies_hz) + self.frequencies_hz.index(frequency_hz)
        except ValueError:
            raise InputError(f"{self.path} has no bundle {tuple(bundle)} at {frequency_hz} Hz") from None
        part = slice(int(self.starts[cell]), int(self.starts[cell + 1]))
        return self.run_duration_s[part], None if self.run_energy_j is None else self.run_energy_j[part]

    def bootstrap(self, replicates: int = stats.REPLICATES, seed: int = stats.SEED) -> Replicates:
        """Draws the means as they may truly be, by how passes differ; see ``scatter``."""
        from dime.host.profiles.scatter import Scatter

        return Scatter.of(self).draw(replicates, seed)

    def summary(self, intervals: bool = True) -> pd.DataFrame:
        """One row a cell: means with number of runs, interquartile range and, if asked for, 95 % interval.

        Columns: bundle, first, last, frequency_hz, n, then for duration_s (that of a typical run) and energy_j (where
        measured; the plain mean) the mean under its own name and, with the suffixes ``_iqr``, ``_low`` and ``_high``,
        spread and interval; NaN where there is one pass only.
        """
        import pandas as pd

        from dime.host.profiles.scatter import Scatter

        per = len(self.frequencies_hz)
        columns: dict[str, Sequence[str] | Ints | Floats] = {
            "bundle": np.repeat([spell(bundle, list(self.layers)) for bundle in self.bundles], per),
            "first": np.repeat([bundle.first for bundle in self.bundles], per),
            "last": np.repeat([bundle.last for bundle in self.bundles], per),
            "frequency_hz": np.tile(self.frequencies_hz, len(self.bundles)),
            "n": np.diff(self.starts),
        }
        scatter = Scatter.of(self)
        for name, values, mean in (
            ("duration_s", self.run_duration_s, self.means.duration_s),
            ("energy_j", self.run_energy_j, self.means.energy_j),
        ):
            if values is None or mean is None:
                continue
            columns[name] = mean.ravel()
            columns[name + "_iqr"] = stats.interquartile_range(values, self.starts)
            if intervals:
                half = scatter.half_width(name == "energy_j")
                columns[name + "_low"], columns[name + "_high"] = mean.ravel() - half, mean.ravel() + half
        table: pd.DataFrame = pd.DataFrame(columns)
        return table

    def _by_bundle(self, cells: Floats) -> Floats:
        return cells.reshape(-1, len(self.frequencies_hz))


@dataclass(frozen=True)
class RawRuns:
    """Rows of a table before they are checked for completeness; all arrays have one entry a row.

    Attributes:
        first: Index of the bundle's first layer.
        last: Index of its last layer.
        frequency_hz: Frequency, or -1.
        duration_s: Duration, s.
        energy_j: Energy, J, or None.
        input_bytes: Size of the tensor that enters, or None where the table does not say.
        output_bytes: Size of the tensor that leaves, or None.
        iteration: The pass, or None where the table does not say.
        run: The run in that pass, or None.
        session: The session, from 0, or None.
        single_s: A single run of the row's, s, NaN where it was not timed, or None.
        repeats: Runs that the row is the mean of, or None.
        copy_in_s: Time to copy the input to the GPU, s, NaN where it was not timed, or None.
        copy_out_s: Time to copy the output from the GPU, likewise.
        waited_s: Time of one more run behind a wait, likewise.
    """

    first: Ints
    last: Ints
    frequency_hz: Ints
    duration_s: Floats
    energy_j: Floats | None
    input_bytes: Ints | None = None
    output_bytes: Ints | None = None
    iteration: Ints | None = None
    run: Ints | None = None
    session: Ints | None = None
    single_s: Floats | None = None
    repeats: Ints | None = None
    copy_in_s: Floats | None = None
    copy_out_s: Floats | None = None
    waited_s: Floats | None = None


def from_runs(
    runs: RawRuns,
    *,
    device: str,
    network: str,
    layers: tuple[str, ...],
    path: str,
    origin: str = "measured",
    weights: str | None = None,
    max_layers: int | None = None,
    layer_bytes: tuple[int, ...] | None = None,
) -> Profile:
    """Arranges raw runs by bundle and frequency and checks that nothing is missing.

    Args:
        runs: The rows.
        device: Name of the device.
        network: Name of the network.
        layers: All layers, in order.
        path: Where the rows came from, for messages.
        origin: One of ``run.ORIGINS``.
        weights: The weights' label.
        max_layers: Largest bundle there must be; None: the largest there is.
        layer_bytes: Memory that each layer takes.

    Returns:
        The profile.

    Raises:
        TableError: A number is not finite or negative, a bundle or one of its frequencies is missing, or the sizes
            of a boundary's tensor disagree.
    """
    check_numbers(runs, layers, path)
    longest = int((runs.last - runs.first).max()) + 1 if max_layers is None else min(max_layers, len(layers))
    bundles = enumerate_bundles(len(layers), longest)
    kept = runs.last - runs.first < longest
    frequencies, frequency = np.unique(runs.frequency_hz[kept], return_inverse=True)
    # Bundles that start before layer f: f full rows of `longest`, less what the chain's end cuts off.
    short = np.maximum(0, np.arange(len(layers)) + longest - len(layers))
    offset = np.arange(len(layers)) * longest - np.concatenate(([0], np.cumsum(short)[:-1]))
    cell = (offset[runs.first[kept]] + (runs.last - runs.first)[kept]) * len(frequencies) + frequency
    counts = np.bincount(cell, minlength=len(bundles) * len(frequencies))
    if not counts.all():
        missing = np.flatnonzero(counts == 0)
        row, column = divmod(int(missing[0]), len(frequencies))
        what = f"bundle '{spell(bundles[row], list(layers))}'"
        if counts.reshape(len(bundles), -1)[row].any():
            what += f" at {frequencies[column]} Hz"
        more = f" (and {len(missing) - 1} more of {len(counts)} combinations)" if len(missing) > 1 else ""
        raise TableError(f"{path} has no runs of {what}{more}; profile again, or resume the run that was cut off")
    order = np.argsort(cell, kind="stable") if runs.iteration is None else np.lexsort((runs.iteration[kept], cell))
    sorted_runs = np.flatnonzero(kept)[order]
    whole = runs.single_s is not None and not np.isnan(runs.single_s[sorted_runs]).any()
    return Profile(
        device=device,
        network=network,
        layers=layers,
        origin=origin,
        weights=weights,
        path=path,
        frequencies_hz=tuple(int(value) for value in frequencies),
        max_layers=longest,
        starts=np.concatenate(([0], np.cumsum(counts))),
        run_duration_s=runs.duration_s[kept][order],
        run_energy_j=None if runs.energy_j is None else runs.energy_j[kept][order],
        sizes_bytes=_sizes(runs, layers, path),
        layer_bytes=layer_bytes,
        run_iteration=None if runs.iteration is None else runs.iteration[kept][order],
        run_session=None if runs.session is None else runs.session[kept][order],
        run_single_s=runs.single_s[sorted_runs] if runs.single_s is not None and whole else None,
        run_repeats=None if runs.repeats is None else runs.repeats[sorted_runs],
        run_copy_in_s=None if runs.copy_in_s is None else runs.copy_in_s[sorted_runs],
        run_copy_out_s=None if runs.copy_out_s is None else runs.copy_out_s[sorted_runs],
        run_waited_s=None if runs.waited_s is None else runs.waited_s[sorted_runs],
    )


def check_numbers(runs: RawRuns, layers: tuple[str, ...], path: str) -> None:
    """Refuses durations and energies that are none, or so large that units must be wrong.

    Raises:
        TableError: A number is so; it names the row.
    """
    for name, values in (("duration", runs.duration_s), ("energy", runs.energy_j)):
        if values is None:
            continue
        good: Bools = (values <= MOST) & (values >= 0)  # false for nan, too
        bad = np.flatnonzero(~good)
        if len(bad):
            row = int(bad[0])
            bundle = spell(Bundle(int(runs.first[row]), int(runs.last[row])), list(layers))
            raise TableError(
                f"{path}: {name} {values[row]} of bundle '{bundle}' in row {row + 1} is not a finite number >= 0 and"
                f" <= {MOST:g} ({len(bad)} such of {len(values)} rows)"
            )


def _sizes(runs: RawRuns, layers: tuple[str, ...], path: str) -> tuple[int, ...] | None:
    """Sizes at the boundaries 0..N, where every one of them is known; each must be the same in all rows."""
    if runs.input_bytes is None or runs.output_bytes is None:
        return None
    boundary = np.concatenate((runs.first, runs.last + 1))
    size = np.concatenate((runs.input_bytes, runs.output_bytes))
    least = np.full(len(layers) + 1, np.iinfo(np.int64).max)
    greatest = np.zeros(len(layers) + 1, np.int64)
    np.minimum.at(least, boundary, size)
    np.maximum.at(greatest, boundary, size)
    if size.min() < 0:
        raise TableError(f"{path}: a tensor of {size.min()} bytes; sizes are >= 0")
    differing = np.flatnonzero(least != greatest)
    if len(differing):
        at = differing[0]
        where = f"into layer '{layers[at]}'" if at < len(layers) else f"out of layer '{layers[-1]}'"
        raise TableError(f"{path}: the tensor {where} has {least[at]} bytes in one row and {greatest[at]} in another")
    return tuple(int(value) for value in least)


def load_profile(
    path: str | os.PathLike[str],
    *,
    device: str | None = None,
    network: str | None = None,
    layers: tuple[str, ...] | None = None,
    duration_unit: str = "ms",
) -> Profile:
    """Reads a profile.

    Args:
        path: A run's folder (or a table inside it), a published device parquet, or a published server CSV.
        device: Name of the device; None: what run.json says, or else the file's name.
        network: Name of the network; None: what run.json says, or else the file's name.
        layers: All layers in order, for the published formats; None: found from the bundles' names.
        duration_unit: Unit of ``durs`` in a published CSV, ``ms`` or ``s``.

    Returns:
        The profile.

    Raises:
        TableError: A file is missing, empty, truncated or damaged, or lacks a column, a bundle or a frequency.
        InputError: The unit is not known.
    """
    from dime.host.profiles import profile_files
    from dime.host.profiles.published_table import shown

    try:
        return profile_files.load(os.fspath(path), device, network, layers, duration_unit)
    except DimeError as error:  # whose message may hold names from the file
        raise type(error)(shown(error, LONGEST_MESSAGE)) from None
