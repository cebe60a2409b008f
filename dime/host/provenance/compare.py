"""Whether two results are the same: whole numbers and texts exactly, other numbers within a stated tolerance."""

from __future__ import annotations

import csv
import io
import json
import math
import re
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple, TypeAlias, TypeGuard

import numpy as np
from numpy.typing import NDArray

from dime.contract.errors import TableError

# Sums of floats may be made in another order by another processor or another version of a library.
TOLERANCE = 1e-9
# A page's data are those of the report, perhaps with nine digits.
OF_PAGE = 1e-8
# A number that is printed with three digits may round the other way.
PRINTED = 5e-3
# What a solver's version is called changes with the machine, what it has found does not.
VERSION = re.compile(r"\b(exact|brute_force|Gurobi|HiGHS) v?\d[\w.+-]*")
NUMBER = re.compile(r"[-+]?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?")
MOST_TOLD = 5
DAMAGE = csv.Error, zipfile.BadZipFile, zlib.error  # what readers of tables and arrays raise of their own
Cell: TypeAlias = "int | float | str"
Array: TypeAlias = "NDArray[np.generic]"
# Fields of documents that tell of the machine which made them, or follow from the rest; the report also says who has
# confirmed an optimum, which depends on the licences there.
ELSEWHERE = {
    "sha256",
    "arrays_sha256",
    "command",
    "versions",
    "version",
    "confirmed_by",
    "unconfirmed",
    "confirmation",
    "seconds",
}


class Difference(NamedTuple):
    """One place where two results differ."""

    where: str
    expected: object
    found: object


def of_files(expected: Path, found: Path, newer: bool = False) -> list[Difference]:
    """Compares two results by what their names say they are.

    Args:
        expected: The file in the archive.
        found: The one that was made again.
        newer: Whether another version of DIME has made that: a field that only one of them writes, and prose, which is
            worded anew, are no differences then.

    Raises:
        TableError: One cannot be read.
    """
    if not found.is_file():
        return [Difference("the file", "is made", "is not made")]
    return of_values(read(expected), read(found), newer, OF_PAGE if expected.suffix == ".html" else TOLERANCE)


def of_values(expected: object, found: object, newer: bool = False, tolerance: float = TOLERANCE) -> list[Difference]:
    """Compares two results that have been read; see ``of_files``."""
    return list(_differences(expected, found, "", newer, tolerance))


def read(path: Path) -> object:
    """The values of a result, by its name's ending; of a file that has none, such as a picture, its bytes.

    Raises:
        TableError: It cannot be read.
    """
    readers = {".json": _json, ".csv": _csv, ".parquet": _parquet, ".npz": _npz, ".html": _html}
    try:
        return readers.get(path.suffix, Path.read_bytes)(path)
    except (OSError, EOFError, ValueError, KeyError, TypeError, RecursionError, *DAMAGE) as error:
        raise TableError(f"{path.name} is damaged: {' '.join(str(error).split())[:200]}") from None


def told(differences: list[Difference]) -> str:
    """Differences in one line."""
    shown = [f"{one.where or 'it'}: {_brief(one.found)}, not {_brief(one.expected)}" for one in differences[:MOST_TOLD]]
    more = len(differences) - len(shown)
    return "; ".join(shown) + (f"; and {more} more" if more else "")


def _brief(value: object) -> str:
    text = str(value)
    return text if len(text) <= 60 else text[:57] + "..."


def same_number(expected: float, found: float, tolerance: float = TOLERANCE) -> bool:
    """Whether two numbers are the same within a relative tolerance; infinities and nan are the same as themselves."""
    if math.isnan(expected) or math.isnan(found):
        return math.isnan(expected) and math.isnan(found)
    return expected == found or abs(expected - found) <= tolerance * max(abs(expected), abs(found))


def is_number(value: object) -> TypeGuard[int | float]:
    """Whether a value is a number, which a truth value is not."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def column(path: Path, name: str) -> list[object]:
    """A table's column.

    Raises:
        TableError: There is none.
    """
    table = read(path)
    values = table.get(name) if isinstance(table, dict) else None
    if not isinstance(values, list):
        raise TableError(f"{path} lacks the column {name}")
    return values


def count(path: Path) -> int:
    """How many values of a result are compared."""
    return count_of(read(path))


def count_of(value: object) -> int:
    """The same of a result that has been read."""
    if isinstance(value, dict):
        return sum(count_of(one) for name, one in value.items() if name not in ELSEWHERE)
    if isinstance(value, list):
        return sum(map(count_of, value))
    return int(value.size) if isinstance(value, np.ndarray) else 1


def _differences(expected: object, found: object, where: str, newer: bool, tolerance: float) -> Iterator[Difference]:
    if isinstance(expected, dict) and isinstance(found, dict):
        for name in dict.fromkeys([*expected, *found]):
            if name in ELSEWHERE or (newer and _is_reworded(name, expected, found)):
                continue
            place = f"{where}.{name}" if where else str(name)
            if name not in expected or name not in found:
                yield Difference(place, expected.get(name, "nothing"), found.get(name, "nothing"))
            else:
                yield from _differences(expected[name], found[name], place, newer, tolerance)
    elif isinstance(expected, list) and isinstance(found, list):
        if len(expected) != len(found):
            yield Difference(where, f"{len(expected)} entries", f"{len(found)} entries")
        for at, (one, other) in enumerate(zip(expected, found, strict=False)):
            yield from _differences(one, other, f"{where}[{at}]", newer, tolerance)
    elif isinstance(expected, np.ndarray) and isinstance(found, np.ndarray):
        yield from _of_arrays(expected, found, where)
    elif isinstance(expected, bytes):
        if expected != found:
            yield Difference("the file", "the same bytes", "other bytes")
    elif not _same(expected, found, tolerance):
        yield Difference(where, expected, found)


def _is_reworded(name: object, expected: Mapping[str, object], found: Mapping[str, object]) -> bool:
    """Whether a field is one that another version adds, leaves out, or says in other words."""
    key = str(name)
    if key not in expected or key not in found:
        return True
    values = [value if isinstance(value, list) else [value] for value in (expected[key], found[key])]
    return all(isinstance(one, str) and " " in one and one[:1] not in "[{" for value in values for one in value)


def _same(expected: object, found: object, tolerance: float) -> bool:
    if isinstance(expected, float) or isinstance(found, float):
        return is_number(expected) and is_number(found) and same_number(expected, found, tolerance)
    if isinstance(expected, str) and isinstance(found, str):
        return expected == found or _same_text(VERSION.sub(r"\1", expected), VERSION.sub(r"\1", found))
    return type(expected) is type(found) and bool(expected == found)


def _same_text(expected: str, found: str) -> bool:
    """Whether two texts say the same, but for who has confirmed it and the last digit of what is rounded."""
    one, other = (
        [line for line in text.splitlines() if not re.search("confirmed", line)] for text in (expected, found)
    )
    if len(one) != len(other):
        return False
    for mine, theirs in zip(one, other, strict=True):
        if mine == theirs:
            continue
        numbers = [[float(number) for number in NUMBER.findall(line)] for line in (mine, theirs)]
        if NUMBER.sub("0", mine).split() != NUMBER.sub("0", theirs).split() or not all(
            same_number(a, b, PRINTED) for a, b in zip(*numbers, strict=True)
        ):
            return False
    return True


def _of_arrays(expected: Array, found: Array, where: str) -> Iterator[Difference]:
    if expected.shape != found.shape or expected.dtype.kind != found.dtype.kind:
        shapes = (f"{one.dtype} {one.shape}" for one in (expected, found))
        yield Difference(where, *shapes)
        return
    if expected.dtype.kind == "f":
        same = np.isclose(found, expected, rtol=TOLERANCE, atol=0, equal_nan=True)
    else:
        same = np.asarray(expected == found)
    for at in np.argwhere(~same)[:MOST_TOLD]:
        place = tuple(int(one) for one in at)
        yield Difference(f"{where}[{', '.join(map(str, place))}]", expected[place], found[place])


def _json(path: Path) -> object:
    return json.loads(path.read_text(encoding="utf-8"))


def _csv(path: Path) -> dict[str, list[Cell]]:
    """A table's columns, of numbers where all are."""
    with open(path, encoding="utf-8", newline="") as stream:
        rows = list(csv.reader(io.StringIO(stream.read())))
    columns: dict[str, list[Cell]] = {}
    for at, name in enumerate(rows[0] if rows else []):
        values = [row[at] if at < len(row) else "" for row in rows[1:]]
        columns[name] = [_number(value) for value in values]
    return columns


def _number(text: str) -> Cell:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    return text


def _parquet(path: Path) -> dict[str, object]:
    import pyarrow
    from pyarrow import parquet

    try:
        table = parquet.read_table(path)
    except pyarrow.ArrowException as error:
        raise ValueError(str(error)) from None
    said = {name.decode(): value.decode() for name, value in (table.schema.metadata or {}).items()}
    metadata = {name: value for name, value in said.items() if not name.startswith(("pandas", "ARROW"))}
    return {"metadata": metadata, **{name: table.column(name).to_pylist() for name in table.column_names}}


def _npz(path: Path) -> dict[str, Array]:
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def _html(path: Path) -> object:
    """What a report's page shows: the data that stand in it."""
    text = path.read_text(encoding="utf-8")
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    if not found:
        raise ValueError("it holds no data")
    return json.loads(found[1])
