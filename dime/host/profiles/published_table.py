"""Published tables as people have them: which format a file is, by its content, and text tables in any dialect.

A text table may have commas, semicolons, tabs or bars between its columns, decimal commas, UTF-8, UTF-16 or Latin-1,
lines of comment, spaces around names, and names in another case. What was found is told.
"""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from dime.contract.errors import TableError
from dime.contract.run import RUN
from dime.host.common.stats import Floats
from dime.host.common.units import plain

if TYPE_CHECKING:
    import pyarrow

TEXTS = ("layers",)
NUMBERS = ("frequency", "durs", "duration_s", "run_energy", "energy_j", "input_bytes", "output_bytes")
COUNTERS = ("iter", "run")  # of use where they are whole numbers
COLUMNS = (*TEXTS, *NUMBERS, *COUNTERS)
DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
PARQUET = b"PAR1"
OTHER_FORMATS = {
    b"PK\x03\x04": "a spreadsheet or archive; save the table as CSV",
    b"\xd0\xcf\x11\xe0": "a spreadsheet; save the table as CSV",
    b"\x1f\x8b": "compressed; unpack it first (gunzip)",
    b"BZh": "compressed; unpack it first (bunzip2)",
    b"\xfd7zXZ": "compressed; unpack it first (unxz)",
    b"\x28\xb5\x2f\xfd": "compressed; unpack it first (unzstd)",
    b"ARROW1": "a Feather table; save it as parquet or CSV",
    b"\x89HDF": "an HDF5 file; save the table as parquet or CSV",
    b"\x80\x04": "a pickle, which could run code; save the table as parquet or CSV",
    b"\x80\x05": "a pickle, which could run code; save the table as parquet or CSV",
}
MOST_SHOWN = 60
MOST_LINES_BEFORE = 200


class PublishedTable(NamedTuple):
    """A table and how it was read.

    Attributes:
        table: Of pyarrow, with the columns of COLUMNS that are there, under these names.
        is_parquet: Whether the file is a parquet, whose durations are in s.
        dialect: What differs from a plain CSV, such as ``semicolons, decimal commas``; empty where nothing does.
        ends_open: Whether a text table's last line lacks its newline.
    """

    table: pyarrow.Table
    is_parquet: bool
    dialect: str
    ends_open: bool


def read(path: str) -> PublishedTable:
    """Reads a parquet or a text table; the file's content says which it is, not its name.

    Raises:
        TableError: The file is neither, or is damaged, or has a column twice.
    """
    if not os.path.isfile(path):
        raise TableError(f"{path} is neither a file nor a folder")
    try:
        with open(path, "rb") as stream:
            content = stream.read()
    except OSError as error:
        raise TableError(f"{path}: {error.strerror}") from None
    if not content.strip():
        raise TableError(f"{path} is empty")
    if content.startswith(PARQUET):
        return PublishedTable(_known(read_parquet(path), path), True, "", False)
    for mark, what in OTHER_FORMATS.items():
        if content.startswith(mark):
            raise TableError(f"{path} is {what}")
    table, dialect = _read_text(content, path)
    return PublishedTable(table, False, dialect, not content.rstrip(b"\x00 ").endswith((b"\n", b"\r")))


def read_parquet(path: str) -> pyarrow.Table:
    """Reads a parquet.

    Raises:
        TableError: It is damaged, or without rows.
    """
    from pyarrow import parquet

    # read_table would import pandas, which takes a second
    with library_errors(f"{path} is not a whole parquet table"), parquet.ParquetFile(path) as file:
        table = file.read()
    if table.num_rows == 0:
        raise TableError(f"{path} is a table without rows")
    return table


@contextmanager
def library_errors(what: str) -> Iterator[None]:
    """Turns whatever the table library raises into one line that begins with ``what``."""
    from pyarrow import ArrowException

    try:
        yield
    except (ArrowException, ValueError, TypeError, LookupError, OSError, OverflowError, MemoryError) as error:
        lines = str(error).splitlines() or [type(error).__name__]
        raise TableError(f"{what}: {shown(lines[0], 200)}") from None


def shown(text: object, most: int = MOST_SHOWN) -> str:
    """A text of the table fit for a message: printable, and not longer than that."""
    printable = plain(text)
    return printable if len(printable) <= most else printable[: most - 1] + "…"


def listed(names: Sequence[object], most: int = 20) -> str:
    """Names for a message, the first of many."""
    return ", ".join([shown(name) for name in names[:most]] + ([f"{len(names) - most} more"] if names[most:] else []))


def _known(table: pyarrow.Table, path: str) -> pyarrow.Table:
    """The columns that are read, under their names."""
    places = _places(table.column_names, path)
    return table.select(list(places.values())).rename_columns(list(places))


def _places(names: Sequence[str], path: str) -> dict[str, int]:
    """Where the columns that are read stand; spaces around a name and its case do not matter."""
    bare = [_bare(name) for name in names]
    for name in COLUMNS:
        if bare.count(name) > 1:
            raise TableError(f"{path} has the column {name} {bare.count(name)} times; leave one")
    if "layers" not in bare or not {"durs", "duration_s"} & set(bare):
        missing = "layers" if "layers" not in bare else "durs"
        hint = " (columns are told apart by commas, semicolons, tabs or bars)" if len(names) == 1 else ""
        if {"bundle", "first_layer"} <= set(bare):
            hint = f"; a run's own table is read in its folder, beside its {RUN}"
        raise TableError(f"{path} lacks the column {missing}; it has {listed(names) or 'none'}{hint}")
    return {name: bare.index(name) for name in COLUMNS if name in bare}


def _bare(name: str) -> str:
    return name.strip().lstrip("#").strip().strip("\"'").strip().casefold()


def _decode(content: bytes, path: str) -> tuple[str, str]:
    """The text, and its encoding where it is worth a word."""
    head = content[:400]
    encoding = "utf-8-sig"
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        encoding = "utf-16"
    elif head[1::2].count(0) > len(head) / 4:
        encoding = "utf-16-le"
    elif head[::2].count(0) > len(head) / 4:
        encoding = "utf-16-be"
    named = "UTF-16" if "16" in encoding else ""
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError:
        if named:
            raise TableError(f"{path} is truncated or damaged UTF-16; save it as UTF-8") from None
        text, named = content.decode("latin-1"), "Latin-1"
    control = re.search("[\\x00-\\x08\\x0e-\\x1f]", text)
    if control:
        line = text.count("\n", 0, control.start()) + 1
        raise TableError(f"{path} is not a whole text table: a control character in line {line}")
    return text, named


def _read_text(content: bytes, path: str) -> tuple[pyarrow.Table, str]:
    text, encoding = _decode(content, path)
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    at, delimiter = _header(lines)
    names, places = [], {}
    columns: dict[str, list[str] | Floats] = {}
    try:
        names = next(csv.reader([lines[at]], delimiter=delimiter), [])
        places = _places(names, path)
        rows, numbers, remarks = _rows(lines, at, delimiter, names, path)
    except csv.Error as error:
        raise TableError(f"{path} is not a whole text table: {error}") from None
    if not rows:
        raise TableError(f"{path} has a header but no rows")
    marks: dict[str, str] = {}  # a decimal comma or point -> a column that has it
    for name, place in places.items():
        cells = [row[place].strip() for row in rows]
        if name in NUMBERS:
            columns[name], mark = _floats(cells, numbers, name, delimiter, path)
            marks.setdefault(mark, name)
        elif name in TEXTS or all(cell.isdecimal() and len(cell) < 16 for cell in cells):
            columns[name] = cells if name in TEXTS else np.array(cells, dtype=np.float64)
    if {",", "."} <= set(marks):
        raise TableError(f"{path}: {marks[',']} has decimal commas, {marks['.']} has points; write all numbers alike")
    import pyarrow

    remarks += sum(1 for line in lines[:at] if line.strip())
    told = [
        DELIMITERS[delimiter] if delimiter != "," else "",
        "decimal commas" if "," in marks else "",
        encoding,
        f"{remarks} lines of comment" if remarks > 1 else "a line of comment" if remarks else "",
    ]
    return pyarrow.table(columns), ", ".join(filter(None, told))


def _header(lines: Sequence[str]) -> tuple[int, str]:
    """The line that names the columns, and what stands between them; whatever comes before it is comment."""
    first = next((at for at, line in enumerate(lines) if line.strip() and not line.lstrip().startswith("#")), 0)
    most, best = 0, (first, ",")
    for at, line in enumerate(lines[: first + MOST_LINES_BEFORE]):
        for delimiter in DELIMITERS:
            bare = {_bare(name) for name in line.split(delimiter)}
            known = len(bare & set(COLUMNS)) if "layers" in bare else 0
            if known > most:
                most, best = known, (at, delimiter)
        if most > 1:
            break
    return best


def _rows(
    lines: Sequence[str], at: int, delimiter: str, names: Sequence[str], path: str
) -> tuple[list[list[str]], list[int], int]:
    """The rows below the header, the line that each ends in, and how many lines of comment stand between them."""
    rows, numbers, remarks = [], [], 0
    reader = csv.reader(lines[at + 1 :], delimiter=delimiter, strict=True)
    for row in reader:
        number = at + 1 + reader.line_num
        if not "".join(row).strip():
            continue
        if row[0].lstrip()[:1] == "#":
            remarks += 1
            continue
        if len(row) != len(names):
            if number == len(lines):
                raise TableError(f"{path} is truncated: its last line is incomplete")
            hint = "; with decimal commas, put semicolons between the columns" if len(row) > len(names) else ""
            raise TableError(
                f"{path} is not a whole CSV table: line {number} has {len(row)} values for {len(names)} columns{hint}"
            )
        rows.append(row)
        numbers.append(number)
    return rows, numbers, remarks


def _floats(cells: Sequence[str], numbers: Sequence[int], name: str, delimiter: str, path: str) -> tuple[Floats, str]:
    """A column's numbers, and what stands before their decimals; empty where there are none."""
    mark = next((mark for mark in ",." if any(mark in cell for cell in cells)), "")
    if mark == ",":
        if delimiter == "," or any("." in cell for cell in cells):
            at = next(at for at, cell in enumerate(cells) if "," in cell)
            raise TableError(
                f"{path} line {numbers[at]}: {name} is '{shown(cells[at])}'; write numbers without commas, or with"
                " decimal commas only and semicolons between the columns"
            )
        cells = [cell.replace(",", ".") for cell in cells]
    try:
        values = np.array([float(cell) for cell in cells])
        bad = next((at for at, cell in enumerate(cells) if "_" in cell), None)
    except ValueError:
        bad = next(at for at, cell in enumerate(cells) if "_" in cell or not _is_number(cell))
    if bad is not None:
        what = f"'{shown(cells[bad])}', which is no number" if cells[bad] else "empty"
        raise TableError(f"{path} line {numbers[bad]}: {name} is {what}")
    return values, mark


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
