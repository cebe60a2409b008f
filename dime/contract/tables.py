"""Every table that crosses between device and host: its columns with unit, type and meaning, and one gate for all.

Tables are CSV with a header line. Rows are checked when written and when read by the same rules.
"""

import csv
import math
import os
import re
from collections import OrderedDict
from functools import lru_cache, partial
from typing import (
    TYPE_CHECKING,
    Any,
    Callable,
    Dict,
    Iterable,
    List,
    Mapping,
    NamedTuple,
    Optional,
    Sequence,
    Tuple,
    Type,
    TypeVar,
    Union,
)

from dime.contract import files
from dime.contract.errors import TableError

Cell = Union[None, str, int, float]
Row = Dict[str, Any]  # Any: a cell's type is its column's kind; `Timing` says it for timings.csv.
Kind = TypeVar("Kind", str, int, float)

Column = NamedTuple(
    "Column",
    [
        ("name", str),
        ("kind", Union[Type[str], Type[int], Type[float]]),
        ("meaning", str),
        ("valid", Optional[Callable[[Any], object]]),  # Any: it takes what its kind makes
        ("rule", str),
        ("optional", bool),
    ],
)
Column.__doc__ = """A column: name (with its unit), type, meaning, and the rule its values keep.

Where it is optional a table may lack it, and a value may be None, which is written as nothing: it was not measured.
"""

if TYPE_CHECKING:
    from typing import TypedDict  # novm

    Timing = TypedDict(
        "Timing",
        {
            "bundle": str,
            "first_layer": str,
            "last_layer": str,
            "frequency_hz": int,
            "iteration": int,
            "run": int,
            "image": str,
            "repeats": int,
            "duration_s": float,
            "start_ns": int,
            "end_ns": int,
            "input_bytes": int,
            "output_bytes": int,
            "input_shape": str,
            "output_shape": str,
            "single_s": Optional[float],
            "copy_in_s": Optional[float],
            "copy_out_s": Optional[float],
            "waited_s": Optional[float],
        },
    )


def _any(value: object) -> bool:
    return True


def _column(
    name: str,
    kind: Type[Kind],
    meaning: str,
    valid: Callable[[Kind], object] = _any,
    rule: str = "",
    optional: bool = False,
) -> Column:
    return Column(name, kind, meaning, valid, rule, optional)


def _is_way(text: str) -> bool:
    return text in ("up", "down")


def _shape(text: str) -> bool:
    one = "0*[1-9][0-9]{0,99}(x0*[1-9][0-9]{0,99})*"
    return re.match("{0}(\\+{0})*$".format(one), text) is not None


# One row a timed run (or, when power is measured, one row a burst of `repeats` runs back to back).
TIMINGS = (
    _column("bundle", str, "the bundle's name", bool, "not empty"),
    _column("first_layer", str, "its first layer", bool, "not empty"),
    _column("last_layer", str, "its last layer", bool, "not empty"),
    _column("frequency_hz", int, "clock that was fixed; -1: left alone", lambda v: v > 0 or v == -1, "> 0 or -1"),
    _column("iteration", int, "pass over all bundles, from 0", lambda v: v >= 0, ">= 0"),
    _column("run", int, "run in that pass, from 0", lambda v: v >= 0, ">= 0"),
    _column("image", str, "image whose feature map was the input", bool, "not empty"),
    _column("repeats", int, "runs between start and end; 1 unless power was measured", lambda v: v >= 1, ">= 1"),
    _column("duration_s", float, "time of one run: the span divided by repeats", lambda v: v > 0, "> 0"),
    _column("start_ns", int, "start, on the device's monotonic clock", lambda v: v >= 0, ">= 0"),
    _column("end_ns", int, "end, on the same clock", lambda v: v > 0, "> 0"),
    _column("input_bytes", int, "size of the tensor that enters", lambda v: v > 0, "> 0"),
    _column("output_bytes", int, "size of the tensor that leaves", lambda v: v > 0, "> 0"),
    _column("input_shape", str, "its shape, such as 1x3x224x224", _shape, "sizes joined by x, tensors by +"),
    _column("output_shape", str, "its shape", _shape, "sizes joined by x, tensors by +"),
    _column(
        "single_s",
        float,
        "time of one run by itself, drawn evenly from those of the span: its rows are a sample of single runs",
        lambda v: v > 0,
        "> 0",
        optional=True,
    ),
    _column(
        "copy_in_s",
        float,
        "time to copy the tensor that enters to the GPU, outside the span; 0 on a CPU, which takes it where it lies",
        lambda v: v >= 0,
        ">= 0",
        optional=True,
    ),
    _column(
        "copy_out_s",
        float,
        "time to copy the tensor that leaves from the GPU, outside the span; 0 on a CPU",
        lambda v: v >= 0,
        ">= 0",
        optional=True,
    ),
    _column(
        "waited_s",
        float,
        "time of one more run behind a wait of 50 ms, after the span; in one row of some bundles of each pass",
        lambda v: v > 0,
        "> 0",
        optional=True,
    ),
)

# One row an exchange over a link: a message of so many bytes one way, and an empty one back.
TRANSFERS = (
    _column("iteration", int, "pass over all sizes and directions, from 0", lambda v: v >= 0, ">= 0"),
    _column("run", int, "exchange of that size and direction in that pass, from 0", lambda v: v >= 0, ">= 0"),
    _column("direction", str, "the way of the bytes: up, from the edge device, or down", _is_way, "up or down"),
    _column("size_bytes", int, "bytes beside the frame's own", lambda v: 0 < v < 1 << 48, "> 0"),
    _column("duration_s", float, "from the first byte out to the last one in, less held_s", lambda v: v > 0, "> 0"),
    _column("held_s", float, "what the other side took between the two, on its own clock", lambda v: v >= 0, ">= 0"),
    _column("start_ns", int, "start, on the edge device's monotonic clock", lambda v: v >= 0, ">= 0"),
)

# One row an encoding, and decoding, of what enters a layer, from and to the host's memory.
ENCODINGS = (
    _column("boundary", int, "layer that it enters, from 0: the network's input", lambda v: v >= 0, ">= 0"),
    _column("layer", str, "that layer's name", bool, "not empty"),
    _column("encoding", str, "such as float16, uint8 or jpeg90", bool, "not empty"),
    _column("frequency_hz", int, "clock that was fixed; -1: left alone", lambda v: v > 0 or v == -1, "> 0 or -1"),
    _column("image", str, "image whose feature map was encoded", bool, "not empty"),
    _column("run", int, "round over all encodings, from 0", lambda v: v >= 0, ">= 0"),
    _column("encode_s", float, "time to encode", lambda v: v > 0, "> 0"),
    _column("decode_s", float, "time to decode", lambda v: v > 0, "> 0"),
    _column("encoded_bytes", int, "bytes that were made", lambda v: v > 0, "> 0"),
    _column("plain_bytes", int, "bytes of what was encoded", lambda v: v > 0, "> 0"),
    _column(
        "same_class",
        int,
        "1 if the network's first class stays the same, else 0; empty: its result is no classes",
        lambda v: v in (0, 1),
        "0 or 1",
        optional=True,
    ),
    _column(
        "distance",
        float,
        "length of the result's difference as a part of the result's; empty: no number",
        lambda v: v >= 0,
        ">= 0",
        optional=True,
    ),
)

# What a request of a plan takes beside computing, copies, encodings and changes of clock.
OVERHEAD_KINDS = ("begin", "enter", "leave", "forward", "finish", "cold", "hop")

# One row a part of a request over the loopback.
OVERHEADS = (
    _column("frequency_hz", int, "clock that was fixed; -1: left alone", lambda v: v > 0 or v == -1, "> 0 or -1"),
    _column("run", int, "round over all cuts, from 0", lambda v: v >= 0, ">= 0"),
    _column("boundary", int, "layer before which the network was cut, from 0: its input", lambda v: v >= 0, ">= 0"),
    _column(
        "what",
        str,
        "begin: a request's start until its first bundle starts, where the picture is; enter: the last byte in until"
        " the first bundle starts; leave: the last bundle's end until the first byte out; forward: a request's start"
        " until its first byte out, where nothing is computed; finish: the result's last byte in until the request is"
        " done; hop: the first byte out until the last one in, on one device; cold, of an earlier version: what a first"
        " layer took longer than right after, which waited_s of timings.csv now tells of all bundles",
        lambda v: v in OVERHEAD_KINDS,
        "one of " + ", ".join(OVERHEAD_KINDS),
    ),
    _column("size_bytes", int, "bytes that crossed, of a hop; else 0", lambda v: v >= 0, ">= 0"),
    _column("seconds", float, "how long; cold may be less than 0"),
)


def header(columns: Sequence[Column]) -> List[str]:
    """Names of a table's columns, in order."""
    return [column.name for column in columns]


def format_row(columns: Sequence[Column], row: Mapping[str, object]) -> List[str]:
    """Checks one row and renders it as the texts that are written.

    Args:
        columns: The table's columns.
        row: Mapping from column name to value.

    Returns:
        list: One text a column; floats keep every digit.

    Raises:
        TableError: A value is missing, of the wrong type, not finite, or breaks the column's rule.
    """
    return [_render(column, _check(column, row.get(column.name))) for column in columns]


def _render(column: Column, value: Cell) -> str:
    if value is None:
        return ""
    return repr(float(value)) if column.kind is float else str(value)


def _check(column: Column, value: Any) -> Cell:  # Any: until it is checked
    if column.optional and value in (None, ""):
        return None
    try:
        if value is None or (column.kind is int and isinstance(value, float) and value != int(value)):
            raise ValueError
        cell = column.kind(value)
    except (TypeError, ValueError, OverflowError):
        raise TableError("{}: {!r} is not {}".format(column.name, value, column.kind.__name__))
    if isinstance(cell, float) and not math.isfinite(cell):
        raise TableError("{}: {} is not a finite number".format(column.name, cell))
    if column.valid is not None and not column.valid(cell):
        raise TableError("{}: {} breaks the rule {}".format(column.name, cell, column.rule))
    return cell


class Writer(object):
    """Appends checked rows to a CSV table; whole groups of rows reach the disk together.

    Args:
        path: The table's file. It is created with its header, or continued if ``append``.
        columns: The table's columns.
        append: Continue a file that `recover` has mended; without it an existing file is an error.
    """

    def __init__(self, path: files.Name, columns: Sequence[Column], append: bool = False) -> None:
        if os.path.exists(path) and not append:
            raise TableError("{} exists already; nothing was overwritten".format(path))
        self._columns = columns
        fresh = not os.path.exists(path)
        # An image's name may hold what Python 3.6 cannot decode in a container without a locale.
        self._stream = open(path, "a", newline="", encoding="utf-8", errors="surrogateescape")
        self._csv = csv.writer(self._stream, lineterminator="\n")
        if fresh:
            self._csv.writerow(header(columns))

    def write(self, rows: Iterable[Mapping[str, object]]) -> None:
        """Writes rows and waits until they are on the disk.

        Args:
            rows: Iterable of mappings from column name to value.

        Raises:
            TableError: A row breaks the table's rules; none of the rows is written then.
            OSError: The disk would not take them.
        """
        self._csv.writerows([format_row(self._columns, row) for row in rows])
        self._stream.flush()
        os.fsync(self._stream.fileno())

    def close(self) -> None:
        self._stream.close()

    def __enter__(self) -> "Writer":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def read(path: files.Name, columns: Sequence[Column]) -> List[Row]:
    """Reads a whole table.

    Args:
        path: The table's file.
        columns: The columns it must have, but for optional ones; others are ignored.

    Returns:
        list: One OrderedDict a row, with values of the columns' types, None for what was not measured.

    Raises:
        TableError: The file is missing, empty or truncated, or a value breaks a rule; it names file, line and column.
    """
    rows, problem = _scan(path, columns)
    if problem:
        raise TableError(problem)
    if not rows:
        raise TableError("{} has a header but no rows".format(path))
    return rows


def is_current(path: files.Name, columns: Sequence[Column]) -> bool:
    """Whether a table has just these columns: one of an earlier version lacks optional ones."""
    with open(path, newline="", encoding="utf-8", errors="surrogateescape") as stream:
        return stream.readline().rstrip("\r\n") == ",".join(header(columns))


def recover(path: files.Name, columns: Sequence[Column]) -> List[Row]:
    """Drops the half-written row that an interrupted run may have left at the end of a table.

    Args:
        path: The table's file, which is rewritten only if its last line has no newline.
        columns: Its columns.

    Returns:
        list: The rows that remain, possibly none.

    Raises:
        TableError: The table is damaged anywhere else.
    """
    try:
        with open(path, "rb+") as stream:
            content = stream.read()
            if content and not content.endswith(b"\n"):
                stream.truncate(content.rfind(b"\n") + 1)
    except EnvironmentError as error:
        raise TableError("{}: {}".format(path, error.strerror))
    if b"\n" not in content:
        os.remove(path)
        return []
    rows, problem = _scan(path, columns)
    if problem:
        raise TableError(problem)
    return rows


def _scan(path: files.Name, columns: Sequence[Column]) -> Tuple[List[Row], Optional[str]]:
    """Reads rows up to the first problem; returns them with its description, or with None."""
    rows: List[Row] = []
    try:
        with open(path, newline="", encoding="utf-8") as stream:
            content = stream.read()
    except EnvironmentError as error:
        raise TableError("{}: {}".format(path, error.strerror))
    except UnicodeDecodeError:
        raise TableError("{} is not a text table".format(path))
    if not content.strip():
        return rows, "{} is empty".format(path)
    if not content.endswith("\n"):
        return rows, "{} is truncated: its last line is incomplete".format(path)
    if "\0" in content:
        return rows, "{} line {}: a zero byte".format(path, content.count("\n", 0, content.index("\0")) + 1)
    lines = csv.reader(content.splitlines())
    try:
        names = next(lines)
        problem = _header_problem(names, columns)
        if problem:
            return rows, "{} {}".format(path, problem)
        # Most texts occur in many rows: each is checked once.
        checks = [
            (one.name, names.index(one.name) if one.name in names else None, lru_cache(1024)(partial(_check, one)))
            for one in columns
        ]
        for line in lines:
            if len(line) != len(names):
                raise TableError("{} values for {} columns".format(len(line), len(names)))
            rows.append(
                OrderedDict((name, None if place is None else check(line[place])) for name, place, check in checks)
            )
    except (TableError, csv.Error) as error:
        return rows, "{} line {}: {}".format(path, lines.line_num, error)
    return rows, None


def _header_problem(names: Sequence[str], columns: Sequence[Column]) -> Optional[str]:
    """What is wrong with a header, or None."""
    missing = [one.name for one in columns if one.name not in names and not one.optional]
    if missing:
        return "lacks the columns {}".format(", ".join(missing))
    twice = [name for name in header(columns) if names.count(name) > 1]
    return "has the column {} {} times".format(twice[0], names.count(twice[0])) if twice else None
