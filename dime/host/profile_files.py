"""The files a profile may be read from, and how each of them names bundles, units and sizes.

| file | bundle | frequency | duration | energy |
|---|---|---|---|---|
| timings.csv in a run's folder | bundle, first_layer, last_layer | frequency_hz | duration_s | |
| joint_profile.parquet in a run's folder | layers | frequency | duration_s | energy_j |
| published device parquet | layers | frequency | durs, s | run_energy, uJ |
| published server CSV | layers | frequency, or -1 | durs, ms (s by option) | run_energy, uJ, if there |
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from dime.contract import run, tables
from dime.contract.bundles import canonical, parse
from dime.contract.errors import InputError, TableError, unknown
from dime.host.profiles import Profile, RawRuns, from_runs
from dime.host.statistics import Floats, Ints

SECONDS = {"s": 1.0, "ms": 1e-3}
JOULES_PER_PUBLISHED = 1e-6


def load(
    path: str, device: str | None, network: str | None, layers: Sequence[str] | None, duration_unit: str
) -> Profile:
    """Does the work of ``profiles.load_profile``, which documents it."""
    if duration_unit not in SECONDS:
        raise unknown("unit of durations", duration_unit, SECONDS)
    if os.path.isdir(path):
        return _load_run(path, device)
    if not os.path.exists(path):
        raise TableError(f"{path}: no such file or folder; give a run's folder, a parquet or a CSV")
    folder = os.path.dirname(path) or "."
    if os.path.basename(path) in (run.TIMINGS, run.JOINT_PROFILE) and os.path.exists(os.path.join(folder, run.RUN)):
        return _load_run(folder, device, os.path.basename(path))
    table = _read_parquet(path) if path.endswith((".parquet", ".pq")) else _read_csv(path, None)
    texts = _texts(table, "layers", path)
    canonical_names = {name: canonical(name) for name in set(texts)}
    names = [canonical_names[name] for name in texts]
    chain = tuple(layers) if layers else infer_layers(names, path)
    stem = os.path.splitext(os.path.basename(path))[0]
    return from_runs(
        _joined_runs(table, names, chain, path, SECONDS["s"] if path.endswith(".parquet") else SECONDS[duration_unit]),
        device=device or stem,
        network=network or stem,
        layers=chain,
        path=path,
    )


def _load_run(folder: str, device: str | None, table_name: str | None = None) -> Profile:
    spec: Any = run.RunSpec.read(folder)
    if table_name is None:
        joined = os.path.exists(os.path.join(folder, run.JOINT_PROFILE))
        table_name = run.JOINT_PROFILE if joined else run.TIMINGS
    path = os.path.join(folder, table_name)
    if not os.path.exists(path):
        raise TableError(f"{folder} has a {run.RUN} but no {table_name}; profile again, or resume the run")
    chain = tuple(spec.layers)
    if table_name == run.TIMINGS:
        runs = _timed_runs(path, chain)
    else:
        table = _read_parquet(path)
        runs = _joined_runs(table, _texts(table, "layers", path), chain, path, SECONDS["s"])
    return from_runs(
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
    key = [first, last, frequency_hz, _integers(table, "iteration", path), _integers(table, "run", path)]
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
    )


def _joined_runs(table: Any, names: Sequence[str], layers: tuple[str, ...], path: str, unit_s: float) -> RawRuns:
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
    return RawRuns(
        first,
        last,
        _integers(table, "frequency", path) if "frequency" in present else np.full(len(first), -1),
        duration_s,
        energy_j,
        _integers(table, "input_bytes", path) if sized else None,
        _integers(table, "output_bytes", path) if sized else None,
    )


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


def infer_layers(names: Sequence[str], path: str) -> tuple[str, ...]:
    """Finds the layers of a chain, in order, from the names of all its bundles.

    A layer is a name that no other names make up. Their order is that of the longest name that joins them all, or,
    where names give only first and last layer, follows from how many bundles start with each.

    Args:
        names: Names in the table, each as often as it occurs.
        path: The table, for the message.

    Returns:
        The layers.

    Raises:
        TableError: The names do not tell.
    """
    distinct = set(names)
    joined = {name for name in distinct if "__" in name}
    layers = {name for name in distinct - joined if len(_pieces(name, distinct - joined)) <= 1}
    if joined:
        starts = [name.partition("__")[0] for name in joined]
        chain = tuple(sorted(layers, key=starts.count, reverse=True))
        expected = {f"{first}__{last}" for at, first in enumerate(chain) for last in chain[at + 1 :]}
        known = joined <= expected and len({starts.count(layer) for layer in chain}) == len(chain)
    else:
        chain = max((tuple(_pieces(name, layers)) for name in distinct), key=len, default=())
        known = len(chain) == len(layers)
    if not known or not chain:
        raise TableError(f"{path}: the order of the layers does not follow from the names of the bundles; give layers=")
    return chain


def _pieces(name: str, parts: set[str]) -> list[str]:
    """Splits a name into as many of the parts, joined by underscores, as possible; empty if it cannot be."""
    best: dict[int, list[str]] = {0: []}
    for end in range(1, len(name) + 1):
        if end < len(name) and name[end] != "_":
            continue
        for start, pieces in list(best.items()):
            piece = name[start:end]
            if piece in parts and (end + 1 not in best or len(best[end + 1]) <= len(pieces)):
                best[end + 1] = [*pieces, piece]
    return best.get(len(name) + 1, [])


def _read_parquet(path: str) -> Any:
    from pyarrow import ArrowException, parquet

    try:
        with parquet.ParquetFile(path) as file:  # read_table would import pandas, which takes a second
            table = file.read()
    except (ArrowException, OSError) as error:
        raise TableError(f"{path} is not a whole parquet table: {str(error).splitlines()[0]}") from None
    if table.num_rows == 0:
        raise TableError(f"{path} is a table without rows")
    return table


def _read_csv(path: str, columns: Sequence[tables.Column] | None) -> Any:
    """Reads a CSV fast; whatever is wrong with one of our own tables is told by the contract's exact reader."""
    from pyarrow import ArrowException, csv

    types = {"int": "int64", "float": "float64", "str": "string"}
    wanted = {column.name: types[column.kind.__name__] for column in columns or ()}
    convert = csv.ConvertOptions(column_types=_arrow_types(wanted), null_values=[], strings_can_be_null=False)
    try:
        with open(path, "rb") as stream:
            content = stream.read()
    except OSError as error:
        raise TableError(f"{path}: {error.strerror}") from None
    problem = ""
    if not content.strip():
        problem = "is empty"
    elif not content.endswith(b"\n"):
        problem = "is truncated: its last line is incomplete"
    else:
        try:
            table = csv.read_csv(path, convert_options=convert)
            if table.num_rows == 0:
                problem = "has a header but no rows"
            elif columns is None or _keeps_rules(table, columns):
                return table
        except (ArrowException, UnicodeDecodeError) as error:
            problem = f"is not a whole CSV table: {str(error).splitlines()[0]}"
    if columns is not None:
        tables.read(path, columns)
        problem = problem or "breaks a rule of its columns"
    raise TableError(f"{path} {problem}")


def _arrow_types(wanted: dict[str, str]) -> dict[str, Any]:
    import pyarrow

    return {name: getattr(pyarrow, kind)() for name, kind in wanted.items()}


def _keeps_rules(table: Any, columns: Sequence[tables.Column]) -> bool:
    """Whether all values keep the contract's rules, asked once for each distinct value."""
    for column in columns:
        if column.name not in table.column_names or table[column.name].null_count:
            return False
        values = table[column.name].unique().to_pylist() if column.kind is not float else None
        if values is None:
            numbers = _numbers(table[column.name])
            if not np.isfinite(numbers).all():
                return False
            values = [numbers.min(), numbers.max()]
        if column.valid is not None and not all(column.valid(value) for value in values):
            return False
    return True


def _column(table: Any, name: str, path: str) -> Any:
    if name not in table.column_names:
        raise TableError(f"{path} lacks the column {name}; it has {', '.join(table.column_names)}")
    return table[name]


def _texts(table: Any, name: str, path: str) -> list[str]:
    return [str(value) for value in _column(table, name, path).to_pylist()]


def _positions(table: Any, name: str, layers: tuple[str, ...], path: str) -> Ints:
    index = {layer: position for position, layer in enumerate(layers)}
    try:
        return np.array([index[text] for text in _texts(table, name, path)], dtype=np.int64)
    except KeyError as error:
        raise TableError(f"{path}: {name} {error} is not among the layers {', '.join(layers)}") from None


def _floats(table: Any, name: str, path: str) -> Floats:
    values = _column(table, name, path)
    try:
        return _numbers(values)
    except (TypeError, ValueError) as error:
        raise TableError(f"{path}: column {name} is not numbers: {str(error).splitlines()[0]}") from None


def _numbers(column: Any) -> Floats:
    """A column as floats; numbers without gaps by a way that does not import pandas, which would take a second."""
    from pyarrow import types

    if column.null_count or not (types.is_floating(column.type) or types.is_integer(column.type)):
        return np.asarray(column.cast("float64").to_numpy(), dtype=np.float64)
    return np.from_dlpack(column.combine_chunks()).astype(np.float64, copy=False)


def _integers(table: Any, name: str, path: str) -> Ints:
    values = _floats(table, name, path)
    whole = np.where(np.isfinite(values), values, 0.5).astype(np.int64)
    differing = np.flatnonzero(whole != values)
    if len(differing):
        raise TableError(f"{path}: {name} {values[differing[0]]} in row {differing[0] + 1} is not a whole number")
    return whole
