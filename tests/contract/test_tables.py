import os
import subprocess
import sys

import pytest

from dime.contract import tables
from dime.contract.errors import TableError
from dime.contract.tables import TIMINGS, Writer, read, recover

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
ROW = {
    "bundle": "conv1",
    "first_layer": "conv1",
    "last_layer": "conv1",
    "frequency_hz": -1,
    "iteration": 0,
    "run": 0,
    "image": "hills",
    "repeats": 1,
    "duration_s": 0.1 + 0.2,
    "start_ns": 10,
    "end_ns": 20,
    "input_bytes": 4,
    "output_bytes": 4,
    "input_shape": "1x3x224x224",
    "output_shape": "1x1000",
    "single_s": 0.25,
    "copy_in_s": 0.0,
    "copy_out_s": None,
    "waited_s": None,
}


@pytest.fixture
def table(tmp_path):
    path = str(tmp_path / "timings.csv")
    with Writer(path, TIMINGS) as writer:
        writer.write([dict(ROW, run=run) for run in range(3)])
    return path


def edit(path, change):
    with open(path, newline="") as stream:
        content = stream.read()
    with open(path, "w", newline="") as stream:
        stream.write(change(content))


def test_what_is_written_is_read_to_the_last_digit(table):
    assert [dict(row) for row in read(table, TIMINGS)] == [dict(ROW, run=run) for run in range(3)]


def test_what_was_not_measured_is_nothing_and_may_lack_its_column(table):
    edit(table, lambda content: content.replace(",0.25,0.0,", ",,0.0,"))
    assert [(row["single_s"], row["copy_in_s"], row["copy_out_s"]) for row in read(table, TIMINGS)] == [
        (None, 0.0, None)
    ] * 3
    assert tables.is_current(table, TIMINGS)
    edit(table, lambda content: "".join(",".join(line.split(",")[:-3]) + "\n" for line in content.splitlines()))
    assert [(row["single_s"], row["copy_in_s"]) for row in read(table, TIMINGS)] == [(None, None)] * 3
    assert not tables.is_current(table, TIMINGS)


@pytest.mark.parametrize("text", ["-1.0", "nan", "x"])
def test_what_is_there_of_an_optional_column_keeps_its_rule(table, text):
    edit(table, lambda content: content.replace(",0.25,0.0,", "," + text + ",0.0,"))
    with pytest.raises(TableError, match="line 2: single_s"):
        read(table, TIMINGS)


def test_a_table_is_not_overwritten(table):
    with pytest.raises(TableError, match="exists already; nothing was overwritten"):
        Writer(table, TIMINGS)
    assert len(read(table, TIMINGS)) == 3


def test_rows_are_appended_to_a_table_that_is_continued(table):
    with Writer(table, TIMINGS, append=True) as writer:
        writer.write([dict(ROW, run=3)])
    assert [row["run"] for row in read(table, TIMINGS)] == [0, 1, 2, 3]


@pytest.mark.parametrize(
    "column, value",
    [
        ("duration_s", 0.0),
        ("duration_s", -1.0),
        ("duration_s", float("nan")),
        ("duration_s", float("inf")),
        ("duration_s", "soon"),
        ("duration_s", None),
        ("frequency_hz", 0),
        ("frequency_hz", 1.5),
        ("repeats", 0),
        ("run", -1),
        ("bundle", ""),
        ("input_shape", "1xx3"),
        ("input_shape", "1x²"),
        ("input_shape", "9" * 5000),
        ("input_bytes", 0),
    ],
)
def test_a_bad_value_is_refused_and_nothing_of_its_group_is_written(table, column, value):
    with Writer(table, TIMINGS, append=True) as writer, pytest.raises(TableError, match=column):
        writer.write([dict(ROW, run=3), dict(ROW, **{column: value})])
    assert len(read(table, TIMINGS)) == 3


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda text: "", "is empty"),
        (lambda text: text.replace("output_shape", "bundle"), "lacks the columns output_shape"),
        (lambda text: text.replace("\n", ",run\n", 1).replace("0.0,\n", "0.0,,0\n"), "has the column run 2 times"),
        (lambda text: text[: text.index("\n") + 1], "a header but no rows"),
        (lambda text: text[:-5], "truncated"),
        (lambda text: text.replace("duration_s", "seconds"), "lacks the columns duration_s"),
        (lambda text: text.replace("1x1000", "1x1000,7", 1), "line 2: 20 values for 19 columns"),
        (lambda text: text.replace(",10,20,", ",ten,20,"), "line 2: start_ns: 'ten' is not int"),
        (lambda text: text.replace(",10,20,", ",1\0,20,"), "line 2: a zero byte"),
        (lambda text: text.replace("1x1000", "1x" + "1" * 200000, 1), "line 2: field larger than field limit"),
        (lambda text: text.replace("0.30000000000000004", "nan"), "line 2: duration_s: nan is not a finite"),
        (lambda text: text.replace("0.30000000000000004", "-0.3"), "line 2: duration_s: -0.3 breaks the rule > 0"),
    ],
)
def test_a_damaged_table_is_refused_with_its_place(table, change, message):
    edit(table, change)
    with pytest.raises(TableError, match=message) as failure:
        read(table, TIMINGS)
    assert table in str(failure.value)


def test_what_is_no_text_or_not_there_is_refused(tmp_path):
    with open(str(tmp_path / "binary"), "wb") as stream:
        stream.write(bytes(range(128, 256)))
    with pytest.raises(TableError, match="not a text table"):
        read(str(tmp_path / "binary"), TIMINGS)
    with pytest.raises(TableError, match="missing: No such file"):
        read(str(tmp_path / "missing"), TIMINGS)


def test_half_a_row_is_dropped(table):
    edit(table, lambda text: text[:-5])
    assert [row["run"] for row in recover(table, TIMINGS)] == [0, 1]
    assert [row["run"] for row in read(table, TIMINGS)] == [0, 1]


def test_what_a_power_cut_left_behind_the_last_row_is_dropped(table):
    edit(table, lambda text: text + "\0" * 300)
    assert [row["run"] for row in recover(table, TIMINGS)] == [0, 1, 2]
    assert [row["run"] for row in read(table, TIMINGS)] == [0, 1, 2]


def test_names_beyond_ascii_survive_a_machine_without_a_locale(tmp_path):
    code = "import sys; from tests.contract.test_tables import ROW, TIMINGS, Writer, read; name = sys.argv[2]\n"
    code += "with Writer(sys.argv[1], TIMINGS) as writer:\n    writer.write([dict(ROW, image=name)])\n"
    code += "assert read(sys.argv[1], TIMINGS)[0]['image'].encode('utf-8') == 'caf\\u00e9'.encode('utf-8')"
    words = [sys.executable, "-c", code, str(tmp_path / "table.csv"), "caf\u00e9"]
    environment = dict(os.environ, LC_ALL="C", LANG="C", PYTHONPATH=ROOT)
    subprocess.check_call(words, env=environment)


@pytest.mark.parametrize("kept", ["", "bundle,fir"])
def test_half_a_header_is_started_anew(table, kept):
    edit(table, lambda text: kept)
    assert recover(table, TIMINGS) == []
    assert not os.path.exists(table)


def test_damage_before_the_end_is_not_mended(table):
    edit(table, lambda text: text.replace(",10,20,", ",ten,20,", 1))
    with pytest.raises(TableError, match="line 2"):
        recover(table, TIMINGS)


def test_columns_are_in_the_order_of_their_description():
    assert tables.header(TIMINGS)[:4] == ["bundle", "first_layer", "last_layer", "frequency_hz"]
    assert sorted(tables.header(TIMINGS)) == sorted(ROW)
