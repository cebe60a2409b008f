"""Damaged and odd tables of every kind: nothing but one line, or a result, ever comes out."""

import io
import json
import math
import shutil
import warnings
from contextlib import redirect_stderr, redirect_stdout

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from dime.contract import run, tables
from dime.contract.errors import DimeError
from dime.host.cli import main as cli
from dime.host.profiles.profiles import load_profile
from dime.testing import synthetic
from tests.host.profiles.test_profiles import DAMAGED

LAYERS = ("conv_1", "conv_2", "fc")
NAMES = [joint.join(LAYERS[a : b + 1]) for joint in ("_", "__") for a in range(3) for b in range(a, 3)]
COLUMNS = (
    "layers",
    "frequency",
    "iter",
    "run",
    "durs",
    "run_energy",
    "duration_s",
    "energy_j",
    "input_bytes",
    "output_bytes",
)
NUMBERS = st.one_of(
    st.sampled_from(
        ["", "0", "-0.0", "-1", "nan", "inf", "1e300", "1e-300", "5e-324", "1e308", "1e999", "1_0", "x", " 2 "]
    ),
    st.sampled_from(
        ["1,5", "1.234,5", "0x10", "٣", "[1]", "\x1b[31m", "9" * 5000, "1" + "\u202e", "=1+1", "1.5 ms", "None"]
    ),
    st.floats().map(repr),
    st.integers(-(2**70), 2**70).map(str),
)
FORGIVING = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))


def one_line_or_a_result(path, **options):
    """Reads a table; a warning of numpy's, an exception of a library's or a line that is none fails."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            profile = load_profile(path, **options)
            means = profile.means
        except DimeError as error:
            assert str(error).isprintable() and len(str(error)) < 1500, str(error)
            return None
    assert np.isfinite(means.duration_s).all() and profile.layers
    assert all(line.isprintable() for line in (*profile.warnings, profile.dialect))
    return profile


@st.composite
def rows(draw):
    """Rows of a table that is whole, but for what was done to it."""
    columns = ["layers", "durs", *draw(st.lists(st.sampled_from(COLUMNS), max_size=6))]
    if draw(st.integers(0, 3)):
        columns = list(dict.fromkeys(columns))
    columns = draw(st.permutations(columns))
    times = draw(st.integers(1, 3))
    values = {"frequency": "921600000", "iter": "1", "input_bytes": "8", "output_bytes": "8"}
    made = [
        [
            name if column == "layers" else str(at) if column == "run" else values.get(column, f"{1.5 + at}")
            for column in columns
        ]
        for name in NAMES[:6]
        for at in range(times)
    ]
    for _ in range(draw(st.integers(0, 3))):
        row, column = draw(st.integers(0, len(made) - 1)), draw(st.integers(0, len(columns) - 1))
        made[row][column] = draw(
            st.one_of(NUMBERS, st.sampled_from([*NAMES, "__", "_", "fc_conv_1", "conv_1__fc__conv_2"]))
        )
    for _ in range(draw(st.integers(0, 2))):
        at = draw(st.integers(0, len(made) - 1))
        action = draw(st.sampled_from(["drop", "repeat", "cut", "longer", "shuffle"]))
        if action == "drop":
            made = made[:at] + made[at + 1 :] or made
        elif action == "repeat":
            made = made + made[: at + 1]
        elif action == "cut":
            made[at] = made[at][: draw(st.integers(0, len(columns)))]
        elif action == "longer":
            made[at] = made[at] + [draw(NUMBERS)]
        else:
            made = draw(st.permutations(made))
    return columns, made


@st.composite
def texts(draw):
    columns, made = draw(rows())
    delimiter = draw(st.sampled_from([",", ";", "\t", "|", " ", ":"]))
    end = draw(st.sampled_from(["\n", "\r\n", "\r"]))
    cells = [[cell.replace(".", ",") if draw(st.just(delimiter == ";")) else cell for cell in row] for row in made]
    if draw(st.booleans()):
        columns = [
            draw(st.sampled_from([str.upper, str.title, " {} ".format, '"{}"'.format, "# {}".format]))(n)
            for n in columns
        ]
    lines = [draw(st.sampled_from([[], [""], ["# comment"], ["a; title, of mine"], ["sep=;"], ["\x00"]]))]
    text = end.join([*lines[0], *(delimiter.join(row) for row in [columns, *cells])]) + draw(
        st.sampled_from(["", end, end * 2])
    )
    content = text.encode(draw(st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])))
    return damaged(draw, content)


def damaged(draw, content):
    """Bytes with some cut out and others put in, at times."""
    for _ in range(draw(st.sampled_from([0, 0, 1, 2]))):
        at = draw(st.integers(0, len(content)))
        content = content[:at] + draw(st.binary(max_size=6)) + content[at + draw(st.integers(0, 60)) :]
    return content


@st.composite
def parquets(draw):
    columns, made = draw(rows())
    made = [(row + [""] * len(columns))[: len(columns)] for row in made]
    kinds = [
        pa.string(),
        pa.large_string(),
        pa.binary(),
        pa.list_(pa.string()),
        pa.dictionary(pa.int32(), pa.string()),
        pa.null(),
    ]
    arrays = []
    for at, name in enumerate(columns):
        cells = [row[at] for row in made]
        floats = [_float(cell) for cell in cells]
        kind = draw(st.sampled_from([None] * 9 + kinds))
        if kind is None and name != "layers":
            arrays.append(draw(st.sampled_from([_array, _nulls, _wholes, _bools, _decimals]))(floats))
        elif kind in (None, pa.string()):
            arrays.append(pa.array(cells, pa.string()))
        elif pa.types.is_list(kind):
            arrays.append(pa.array([[cell] for cell in cells]))
        elif pa.types.is_null(kind):
            arrays.append(pa.nulls(len(cells)))
        elif pa.types.is_dictionary(kind):
            arrays.append(pa.array(cells).dictionary_encode())
        else:
            arrays.append(
                pa.array([cell.encode() for cell in cells]).cast(pa.binary())
                if kind == pa.binary()
                else pa.array(cells, kind)
            )
    stream = pa.BufferOutputStream()
    parquet.write_table(pa.Table.from_arrays(arrays, columns), stream)
    return damaged(draw, stream.getvalue().to_pybytes())


def _float(cell):
    try:
        return float(cell)
    except ValueError:
        return 1.0


def _array(floats):
    return pa.array(floats, pa.float64())


def _nulls(floats):
    return pa.array([None, *floats[1:]], pa.float64())


def _wholes(floats):
    return pa.array([int(value) if abs(value) < 2**60 else 1 for value in floats], pa.int64())


def _bools(floats):
    return pa.array([bool(value) for value in floats])


def _decimals(floats):
    return pa.array([value if math.isfinite(value) and abs(value) < 1e6 else 1.0 for value in floats], pa.float32())


@FORGIVING
@given(texts(), st.sampled_from(["ms", "s"]), st.sampled_from([None, LAYERS, ("fc",), ("a", "a"), ("",)]))
def test_text_tables(tmp_path_factory, content, unit, layers):
    path = tmp_path_factory.getbasetemp() / "fuzz.csv"
    path.write_bytes(content)
    one_line_or_a_result(path, duration_unit=unit, layers=layers)


@FORGIVING
@given(parquets(), st.sampled_from([None, LAYERS]))
def test_parquets(tmp_path_factory, content, layers):
    path = tmp_path_factory.getbasetemp() / "fuzz.pq"
    path.write_bytes(content)
    one_line_or_a_result(path, layers=layers)


@FORGIVING
@given(parquets())
def test_joined_tables_in_a_run_s_folder(tmp_path_factory, content):
    folder = tmp_path_factory.getbasetemp() / "joined"
    folder.mkdir(exist_ok=True)
    spec = dict.fromkeys(run.SPEC_FIELDS)
    spec.update(network="net", layers=list(LAYERS), device="nano", max_layers=3)
    (folder / run.RUN).write_text(json.dumps(spec))
    (folder / run.JOINT_PROFILE).write_bytes(content)
    one_line_or_a_result(folder)


@FORGIVING
@given(st.binary(max_size=300), st.sampled_from([b"", b"PAR1", b"layers,durs\n", b"\xff\xfe", b"PK\x03\x04"]))
def test_bytes(tmp_path_factory, content, head):
    path = tmp_path_factory.getbasetemp() / "fuzz"
    path.write_bytes(head + content)
    one_line_or_a_result(path)


def test_what_is_not_damaged_gives_a_result(tmp_path):
    """So that the other tests can't pass by refusing everything."""
    columns = {"layers": NAMES[:6], "durs": [1.0, 2.0, 3.0, 1.0, 2.0, 1.0], "frequency": [-1] * 6}
    parquet.write_table(pa.table(columns), tmp_path / "x")
    assert one_line_or_a_result(tmp_path / "x").layers == LAYERS
    parquet.write_table(pa.table({**columns, "layers": [name.encode() for name in NAMES[6:]]}), tmp_path / "x")
    assert one_line_or_a_result(tmp_path / "x").layers == LAYERS
    for frequency in (-2, -(2**40)):
        parquet.write_table(pa.table({**columns, "frequency": [frequency] * 6}), tmp_path / "x")
        assert one_line_or_a_result(tmp_path / "x") is None


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.sampled_from(["", "x", "\x1b[31m", "measured", "[" * 9]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


@FORGIVING
@given(st.dictionaries(st.sampled_from([*run.SPEC_FIELDS, *run.OBSERVED_FIELDS]), JSON, max_size=4), st.data())
def test_run_folders(tmp_path_factory, changes, data):
    folder = tmp_path_factory.getbasetemp() / "run"
    folder.mkdir(exist_ok=True)
    spec = dict.fromkeys(run.SPEC_FIELDS)
    spec.update(network="alexnet", layers=list(synthetic.ALEXNET.layers), device="nano", max_layers=8, **{})
    (folder / run.RUN).write_bytes(
        damaged(data.draw, json.dumps({**spec, **changes}).encode()) if changes else json.dumps(spec).encode()
    )
    (folder / run.TIMINGS).write_bytes(damaged(data.draw, DAMAGED.encode()))
    one_line_or_a_result(folder)


@pytest.mark.parametrize(
    "content", ["[" * 100_000, '{"layers": ' * 50_000, "1" * 5000, "\ufeff{}", "\x00", "null", "[]"]
)
def test_run_json_that_is_no_description(tmp_path, content):
    (tmp_path / run.RUN).write_text(content)
    (tmp_path / run.TIMINGS).write_text(DAMAGED)
    assert one_line_or_a_result(tmp_path) is None


def test_a_header_twice_in_ours(tmp_path):
    spec = dict.fromkeys(run.SPEC_FIELDS)
    spec.update(network="alexnet", layers=list(synthetic.ALEXNET.layers), device="nano", max_layers=8)
    run.RunSpec(**spec).write(str(tmp_path))
    header = ",".join(tables.header(tables.TIMINGS))
    (tmp_path / run.TIMINGS).write_text(DAMAGED.replace(header, header + ",bundle").replace("1x4\n", "1x4,conv1\n"))
    assert one_line_or_a_result(tmp_path) is None


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.one_of(texts(), parquets()), st.sampled_from(["ms", "s"]))
def test_the_command(tmp_path_factory, content, unit):
    """`dime solve` on such a table as weak device and as server: exit 0 with a result, or 1 with one line."""
    folder = tmp_path_factory.getbasetemp() / "command"
    folder.mkdir(exist_ok=True)
    (folder / "edge.csv").write_bytes(content)
    (folder / "server.csv").write_text(
        "layers,durs\n" + "".join(f"{name},{at + 1}.5\n" for at, name in enumerate(NAMES[:6]))
    )
    words = ["solve", "--net=net", f"--edge={folder}/edge.csv", f"--server={folder}/server.csv", f"--csv-unit={unit}"]
    words += ["--sizes=4000,3000,2000,1000", "--link=WiFi", "--replicates=2", f"--out={folder}/out"]
    told, errors = io.StringIO(), io.StringIO()
    shutil.rmtree(folder / "out", ignore_errors=True)
    with redirect_stdout(told), redirect_stderr(errors):
        code = cli.main(words)
    if code:
        assert code == 1 and errors.getvalue().startswith("dime: ") and errors.getvalue()[:-1].isprintable()
        assert not (folder / "out").exists()
    else:
        assert (folder / "out" / "WiFi" / run.PLAN).exists() and errors.getvalue() == ""
