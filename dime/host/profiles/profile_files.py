"""The files a profile may be read from, and how each of them names bundles, units and sizes.

| file | bundle | frequency | duration | energy |
|---|---|---|---|---|
| timings.csv in a run's folder | bundle, first_layer, last_layer | frequency_hz | duration_s | |
| joint_profile.parquet in a run's folder | layers | frequency | duration_s | energy_j |
| published device parquet | layers | frequency | durs, s | run_energy, uJ |
| published server CSV | layers | frequency, or -1 | durs, ms (s by option) | run_energy, uJ, if there |
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, TypedDict, cast

import numpy as np

from dime.contract import emulation, run, schemas, surroundings, tables
from dime.contract.bundles import canonical, parse
from dime.contract.errors import InputError, TableError, unknown
from dime.host.common.stats import Floats, Ints
from dime.host.metering.gain import ENERGY_GAIN, Gain
from dime.host.profiles import encodings, oddities, overheads, published_table
from dime.host.profiles.layer_order import infer_layers
from dime.host.profiles.profiles import Profile, RawRuns, check_numbers, from_runs
from dime.host.profiles.published_table import library_errors, listed, read_parquet, shown

if TYPE_CHECKING:
    import pyarrow

SECONDS = {"s": 1.0, "ms": 1e-3}
JOULES_PER_PUBLISHED = 1e-6
LONGEST_NAME = 10_000
MEASURED_TOO = ("single_s", "copy_in_s", "copy_out_s", "waited_s")
OF_A_FREQUENCY = ("idle_w", "idle_w_sd", "frequency_change_s")


class _MeasuredToo(TypedDict, total=False):
    single_s: Floats
    copy_in_s: Floats
    copy_out_s: Floats
    waited_s: Floats


class _OfFrequencies(TypedDict, total=False):
    """A number for each frequency, NaN where it is not known; None where none is."""

    idle_w: tuple[float, ...] | None
    idle_w_sd: tuple[float, ...] | None
    frequency_change_s: tuple[float, ...] | None


class _Metered(TypedDict, total=False):
    """The meter of a joined table and its gain; nothing where the table does not say."""

    meter: str
    gain: Gain


def load(
    path: str, device: str | None, network: str | None, layers: Sequence[str] | None, duration_unit: str
) -> Profile:
    """Does the work of ``profiles.load_profile``, which documents it."""
    if duration_unit not in SECONDS:
        raise unknown("unit of durations", duration_unit, SECONDS)
    if os.path.isdir(path):
        return _load_run(path, device, layers)
    if not os.path.exists(path):
        raise TableError(f"{path}: no such file or folder; give a run's folder, a parquet or a CSV")
    folder = os.path.dirname(path) or "."
    if os.path.basename(path) in (run.TIMINGS, run.JOINT_PROFILE) and os.path.exists(os.path.join(folder, run.RUN)):
        return _load_run(folder, device, layers, os.path.basename(path))
    found = published_table.read(path)
    chain_given = _given_layers(layers, path) if layers else None
    texts = _texts(found.table, "layers", path)
    canonical_names = {name: canonical(name) for name in set(texts)}
    names = [canonical_names[name] for name in texts]
    chain = chain_given or infer_layers(names, path)
    unit = "s" if found.is_parquet else duration_unit
    runs = _joined_runs(found.table, names, chain, path, SECONDS[unit])
    if found.ends_open:
        _check_whole(runs, path)
    stem = os.path.splitext(os.path.basename(path))[0]
    taken = "" if "duration_s" in found.table.column_names else unit
    runs, warnings = _checked(runs, chain, path)
    profile = from_runs(runs, device=device or stem, network=network or stem, layers=chain, path=path)
    facts = _gain(found.table, path)
    at_rest = _of_frequencies(found.table, path, profile.frequencies_hz)
    return replace(profile, warnings=warnings, dialect=found.dialect, unit_taken=taken, **facts, **at_rest)


def _gain(table: pyarrow.Table, path: str) -> _Metered:
    """The meter of a joined table and its gain; nothing where the table does not say."""
    metadata = table.schema.metadata or {}
    schemas.version(schemas.JOINT_PROFILE, schemas.of_metadata(metadata), path)
    content = metadata.get(ENERGY_GAIN.encode())
    if content is None:
        return {}
    try:
        said = json.loads(content)
        meter = f"{said['meter']} {said['channel']}".strip()
    except (ValueError, KeyError, TypeError, RecursionError):
        raise TableError(f"{path} is damaged: its metadata do not tell the meter's gain") from None
    return {"meter": meter, "gain": Gain.checked(said, path)}


def _of_frequencies(table: pyarrow.Table, path: str, frequencies_hz: Sequence[int]) -> _OfFrequencies:
    """What a joint profile says of each frequency, in all of its rows."""
    found: dict[str, tuple[float, ...] | None] = {}
    of_row = _frequencies(table, path)
    for name in OF_A_FREQUENCY:
        if name not in table.column_names:
            continue
        values = _floats(table, name, path)
        if ((values < 0) | np.isinf(values)).any():
            raise TableError(f"{path}: {name} {values[(values < 0) | np.isinf(values)][0]} is no number >= 0")
        of_each = [values[(of_row == hertz) & ~np.isnan(values)] for hertz in frequencies_hz]
        if any(len(of_one) and of_one.min() != of_one.max() for of_one in of_each):
            raise TableError(f"{path}: {name} differs between rows of one frequency")
        found[name] = _known(float(of_one[0]) if len(of_one) else math.nan for of_one in of_each)
    return cast("_OfFrequencies", found)


def _frequencies(table: pyarrow.Table, path: str) -> Ints:
    """The frequency of each row; -1 where the table has none."""
    if "frequency" in table.column_names:
        return _integers(table, "frequency", path)
    return np.full(table.num_rows, -1)


def _known(values: Iterable[float]) -> tuple[float, ...] | None:
    """A number for each frequency, NaN where it is not known; None where none is."""
    numbers = tuple(values)
    return None if all(map(math.isnan, numbers)) else numbers


def _idle_of_quality(folder: str, frequencies_hz: Sequence[int]) -> _OfFrequencies:
    """The power at rest that an earlier version wrote into the quality file only."""
    path = os.path.join(folder, run.JOINT_QUALITY)
    try:
        with open(path, encoding="utf-8") as stream:
            said = json.load(stream)["idle_w"]
        watts = [float(said.get(str(hertz), math.nan)) for hertz in frequencies_hz]
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return {}  # nothing else is read from there
    return {"idle_w": _known(one if 0 <= one < math.inf else math.nan for one in watts)}


def _checked(runs: RawRuns, layers: tuple[str, ...], path: str) -> tuple[RawRuns, tuple[str, ...]]:
    """The runs, each once, and what is odd about them."""
    check_numbers(runs, layers, path)
    warnings = oddities.of_runs(runs, layers, path)
    runs, repeated = oddities.without_repeats(runs, layers, path)
    return runs, (*repeated, *warnings)


def _given_layers(layers: Sequence[str], path: str) -> tuple[str, ...]:
    chain = tuple(canonical(name) for name in layers)
    if not all(chain) or len(set(chain)) < len(chain):
        raise InputError(f"the layers of {path} are given as {listed(chain)}: each needs a name, and another one")
    return chain


def _check_whole(runs: RawRuns, path: str) -> None:
    """A last line without its newline may be half of one: then the bundles have unequal numbers of runs."""
    _, counts = np.unique(np.stack((runs.first, runs.last, runs.frequency_hz)), axis=1, return_counts=True)
    if counts.min() < counts.max():
        raise TableError(
            f"{path} is truncated: its last line has no newline, and some bundles have {counts.min()} runs, others"
            f" {counts.max()}; if it is whole, end its last line"
        )


def _load_run(folder: str, device: str | None, layers: Sequence[str] | None, table_name: str | None = None) -> Profile:
    spec = run.RunSpec.read(folder)
    if table_name is None:
        joined = os.path.exists(os.path.join(folder, run.JOINT_PROFILE))
        table_name = run.JOINT_PROFILE if joined else run.TIMINGS
    path = os.path.join(folder, table_name)
    if not os.path.exists(path):
        raise TableError(f"{folder} has a {run.RUN} but no {table_name}; profile again, or resume the run")
    chain = _run_layers(spec, folder)
    if layers and tuple(layers) != chain:
        raise InputError(f"layers are given for published tables; {folder} has its own: {listed(chain)}")
    facts: _Metered = {}
    of_frequencies: _OfFrequencies = {}
    table = None
    if table_name == run.TIMINGS:
        runs = _timed_runs(path, chain)
        runs = replace(runs, session=sessions_of(spec, len(runs.first)))
    else:
        table = read_parquet(path)
        runs = _joined_runs(table, _texts(table, "layers", path), chain, path, SECONDS["s"])
        facts = _gain(table, path)
    runs, warnings = _checked(runs, chain, path)
    profile = from_runs(
        runs,
        device=device or spec.device,
        network=spec.network,
        layers=chain,
        path=path,
        origin=spec.origin or "measured",
        weights=spec.weights,
        max_layers=spec.max_layers or len(chain),
        layer_bytes=None if spec.layer_bytes is None else tuple(spec.layer_bytes),
    )
    if profile.run_energy_j is None and spec.power_model:
        profile = profile.with_powers(*_power_model(spec.power_model, folder))
        of_frequencies |= _idle_of_model(spec.power_model, folder, profile.frequencies_hz)
    coded = os.path.join(folder, run.ENCODINGS)
    if os.path.exists(coded):
        profile = replace(profile, encodings=encodings.read(coded, chain, profile.frequencies_hz))
    beside = os.path.join(folder, run.OVERHEADS)
    if os.path.exists(beside):
        its = overheads.read(beside, profile.frequencies_hz)
        profile = replace(profile, overheads=its if profile.waited is None else its.without_cold())
    changes_s = run.frequency_change_s(spec.sessions)
    of_frequencies["frequency_change_s"] = _known(changes_s.get(hertz, math.nan) for hertz in profile.frequencies_hz)
    if table is not None:
        of_frequencies |= _of_frequencies(table, path, profile.frequencies_hz)
        if "idle_w" not in of_frequencies:
            of_frequencies |= _idle_of_quality(folder, profile.frequencies_hz)
    shared = surroundings.of_sessions(spec.sessions, spec.threads_used)
    if profile.origin == "emulated":
        shared = [emulation.told(profile.frequencies_hz), *shared]
    return replace(
        profile,
        graph=spec.graph if isinstance(spec.graph, str) else None,
        batch=1 if spec.batch is None else spec.batch,
        warnings=(*warnings, *(f"{profile.device}: {text}" for text in shared)),
        **facts,
        **of_frequencies,
    )


def _power_model(model: Mapping[str, object], folder: str) -> tuple[dict[int, float], str]:
    """What a formula takes the device to draw at each frequency, and the formula in words."""
    powers, told = model.get("watts"), model.get("told")
    try:
        watts = {int(hertz): float(power) for hertz, power in powers.items()} if isinstance(powers, dict) else {}
    except (TypeError, ValueError, OverflowError):
        raise TableError(f"{os.path.join(folder, run.RUN)} is damaged: its power_model is not watts by hertz") from None
    if not isinstance(told, str) or not told:
        raise TableError(f"{os.path.join(folder, run.RUN)} is damaged: its power_model does not tell its formula")
    return watts, shown(told, 200)


def _idle_of_model(model: Mapping[str, object], folder: str, frequencies_hz: Sequence[int]) -> _OfFrequencies:
    """What the formula takes the device to draw at rest, if it tells."""
    watts = model.get("idle_watts")
    if watts is None:
        return {}
    if isinstance(watts, bool) or not isinstance(watts, (int, float)) or not 0 <= watts < math.inf:
        raise TableError(f"{os.path.join(folder, run.RUN)} is damaged: its power_model's idle_watts are no power")
    return {"idle_w": (float(watts),) * len(frequencies_hz)}


def _run_layers(spec: run.RunSpec, folder: str) -> tuple[str, ...]:
    """The layers that run.json names; what it says of them is checked first."""
    names, memory, longest = spec.layers, spec.layer_bytes, spec.max_layers
    problem = ""
    if not (isinstance(names, list) and names and all(isinstance(name, str) and name for name in names)):
        problem = "layers are not a list of names"
    elif len(set(names)) < len(names):
        problem = "a layer is there twice"
    elif memory is not None and not (
        isinstance(memory, list) and len(memory) == len(names) and all(map(_is_count, memory))
    ):
        problem = "layer_bytes is not a size for each layer"
    elif longest is not None and not (_is_count(longest) and longest):
        problem = "max_layers is not a number of layers"
    elif spec.batch is not None and not (_is_count(spec.batch) and spec.batch):
        problem = "batch is not a number of inputs"
    elif not all(isinstance(text, str) and text for text in (spec.device, spec.network)):
        problem = "device or network is not a name"
    elif spec.origin is not None and spec.origin not in run.ORIGINS:
        problem = f"origin is none of {', '.join(run.ORIGINS)}"
    elif spec.weights is not None and not isinstance(spec.weights, str):
        problem = "weights is not a name"
    if problem:
        raise TableError(f"{os.path.join(folder, run.RUN)} is damaged: {problem}")
    return tuple(names)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**62


def _timed_runs(path: str, layers: tuple[str, ...]) -> RawRuns:
    table = _read_csv(path, tables.TIMINGS)
    first, last = (_positions(table, name, layers, path) for name in ("first_layer", "last_layer"))
    named = _bundles(_texts(table, "bundle", path), layers, path)
    differing = np.flatnonzero((named[0] != first) | (named[1] != last))
    if len(differing):
        row = int(differing[0])
        name, ends = table["bundle"][row].as_py(), f"{layers[first[row]]} to {layers[last[row]]}"
        raise TableError(f"{path} line {row + 2}: bundle '{name}' does not go from {ends}")
    frequency_hz = _integers(table, "frequency_hz", path)
    iteration, run_in_pass = _integers(table, "iteration", path), _integers(table, "run", path)
    key = [first, last, frequency_hz, iteration, run_in_pass]
    order = np.lexsort(key)
    again = np.flatnonzero((np.diff(np.stack(key)[:, order]) == 0).all(axis=0))
    if len(again):
        row = int(order[again[0] + 1])
        raise TableError(f"{path} line {row + 2}: this run of bundle '{table['bundle'][row].as_py()}' is there twice")
    return RawRuns(
        first,
        last,
        frequency_hz,
        _floats(table, "duration_s", path),
        None,
        _integers(table, "input_bytes", path),
        _integers(table, "output_bytes", path),
        iteration,
        run_in_pass,
        repeats=_integers(table, "repeats", path),
        **_measured_too(table, path),
    )


def _measured_too(table: pyarrow.Table, path: str) -> _MeasuredToo:
    """Columns that a table may lack, or have gaps in, where something was not measured."""
    found = {name: _floats(table, name, path) for name in MEASURED_TOO if name in table.column_names}
    for name, values in found.items():
        bad = np.flatnonzero((values < 0) | np.isinf(values))
        if len(bad):
            raise TableError(f"{path}: {name} {values[bad[0]]} in row {bad[0] + 1} is no time")
    return cast(_MeasuredToo, found)


def _joined_runs(
    table: pyarrow.Table, names: Sequence[str], layers: tuple[str, ...], path: str, unit_s: float
) -> RawRuns:
    """Rows of a joined or published table; SI columns are preferred where both are there."""
    present = set(table.column_names)
    if "duration_s" in present:
        duration_s = _floats(table, "duration_s", path)
    else:
        duration_s = _floats(table, "durs", path) * unit_s
    energy_j = None
    if "energy_j" in present:
        energy_j = _floats(table, "energy_j", path)
    elif "run_energy" in present:
        energy_j = _floats(table, "run_energy", path) * JOULES_PER_PUBLISHED
    sized = {"input_bytes", "output_bytes"} <= present
    first, last = _bundles(names, layers, path)
    frequency_hz = _frequencies(table, path)
    if frequency_hz.min() < -1:
        row = int(frequency_hz.argmin())
        raise TableError(
            f"{path}: frequency {frequency_hz[row]} in row {row + 1} is neither in Hz nor -1, a clock left alone"
        )
    return RawRuns(
        first,
        last,
        frequency_hz,
        duration_s,
        energy_j,
        _integers(table, "input_bytes", path) if sized else None,
        _integers(table, "output_bytes", path) if sized else None,
        _counter(table, "iter", path),
        _counter(table, "run", path),
        _counter(table, "session", path) if "session" in present else None,
        repeats=_counter(table, "repeats", path) if "repeats" in present else None,
        **_measured_too(table, path),
    )


def sessions_of(spec: run.RunSpec, rows: int) -> Ints | None:
    """The session of each row of timings.csv: run.json says how many rows there were when each began."""
    try:
        begins = [int(session["rows"]) for session in spec.sessions or []]
    except (TypeError, KeyError, ValueError):
        return None
    if not begins or begins != sorted(begins):
        return None
    return np.maximum(np.searchsorted(begins, np.arange(rows), side="right") - 1, 0).astype(np.int64)


def _counter(table: pyarrow.Table, name: str, path: str) -> Ints | None:
    """Numbers of passes or runs; published tables also hold texts there, which say nothing."""
    try:
        return _integers(table, name, path)
    except TableError:
        return None


def _bundles(names: Sequence[str], layers: tuple[str, ...], path: str) -> tuple[Ints, Ints]:
    """First and last layer of each row, by the bundle's name."""
    found = {}
    for name in dict.fromkeys(names):
        try:
            found[name] = parse(name, list(layers))
        except InputError as error:
            raise TableError(f"{path}: {error}") from None
    both = np.array([found[name] for name in names], dtype=np.int64)
    return both[:, 0], both[:, 1]


def _read_csv(path: str, columns: Sequence[tables.Column]) -> pyarrow.Table:
    """Reads one of our own tables fast; whatever is wrong with it is told by the contract's exact reader."""
    from pyarrow import ArrowException, csv

    types = {"int": "int64", "float": "float64", "str": "string"}
    wanted = {column.name: types[column.kind.__name__] for column in columns}
    convert = csv.ConvertOptions(column_types=_arrow_types(wanted), null_values=[""], strings_can_be_null=False)
    try:
        with open(path, "rb") as stream:
            ends = stream.seek(0, os.SEEK_END) and stream.seek(-1, os.SEEK_END) and stream.read() == b"\n"
        table = csv.read_csv(path, convert_options=convert) if ends else None
        if table is not None and table.num_rows and _keeps_rules(table, columns):
            return table
        problem = "breaks a rule of its columns"
    except (ArrowException, OSError, UnicodeDecodeError) as error:
        problem = f"is not a whole CSV table: {shown(str(error).splitlines()[0], 200)}"
    tables.read(path, columns)
    raise TableError(f"{path} {problem}")


def _arrow_types(wanted: dict[str, str]) -> dict[str, pyarrow.DataType]:
    import pyarrow

    return {name: getattr(pyarrow, kind)() for name, kind in wanted.items()}


def _keeps_rules(table: pyarrow.Table, columns: Sequence[tables.Column]) -> bool:
    """Whether all values keep the contract's rules, asked once for each distinct value."""
    for column in columns:
        there = table.column_names.count(column.name)
        if column.optional and (not there or table[column.name].null_count == table.num_rows):
            continue
        if there != 1 or (table[column.name].null_count and not column.optional):
            return False
        given = table[column.name].drop_null() if column.optional else table[column.name]
        values = given.unique().to_pylist() if column.kind is not float else None
        if values is None:
            numbers = _numbers(given)
            if not np.isfinite(numbers).all():
                return False
            values = [numbers.min(), numbers.max()]
        if column.valid is not None and not all(column.valid(value) for value in values):
            return False
    return True


def _column(table: pyarrow.Table, name: str, path: str) -> pyarrow.ChunkedArray:
    if table.column_names.count(name) != 1:
        what = "has twice" if name in table.column_names else "lacks"
        raise TableError(f"{path} {what} the column {name}; it has {listed(table.column_names)}")
    return table[name]


def _texts(table: pyarrow.Table, name: str, path: str) -> list[str]:
    with library_errors(f"{path}: column {name} is not texts"):
        values = [
            value.decode() if isinstance(value, bytes) else value for value in _column(table, name, path).to_pylist()
        ]
    for row, value in enumerate(values, 1):
        if not isinstance(value, str) or len(value) > LONGEST_NAME:
            raise TableError(f"{path}: {name} in row {row} is no name: {shown(value)}")
    return list(values)


def _positions(table: pyarrow.Table, name: str, layers: tuple[str, ...], path: str) -> Ints:
    index = {layer: position for position, layer in enumerate(layers)}
    try:
        return np.array([index[text] for text in _texts(table, name, path)], dtype=np.int64)
    except KeyError as error:
        raise TableError(f"{path}: {name} {error} is not among the layers {', '.join(layers)}") from None


def _floats(table: pyarrow.Table, name: str, path: str) -> Floats:
    with library_errors(f"{path}: column {name} is not numbers"):
        return _numbers(_column(table, name, path))


def _numbers(column: pyarrow.ChunkedArray) -> Floats:
    """A column as floats; numbers without gaps by a way that does not import pandas, which would take a second."""
    from pyarrow import types

    if column.null_count or not (types.is_floating(column.type) or types.is_integer(column.type)):
        return np.asarray(column.cast("float64").to_numpy(), dtype=np.float64)
    return np.from_dlpack(column.combine_chunks()).astype(np.float64, copy=False)


def _integers(table: pyarrow.Table, name: str, path: str) -> Ints:
    values = _floats(table, name, path)
    whole = np.where(np.abs(values) < 2**62, values, 0.5).astype(np.int64)  # false for nan, too
    differing = np.flatnonzero(whole != values)
    if len(differing):
        raise TableError(f"{path}: {name} {values[differing[0]]} in row {differing[0] + 1} is not a whole number")
    return whole
