"""Published tables as people have them: any dialect that has one meaning is read, the rest is refused in one line."""

import pickle
import zipfile

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import feather, parquet

from dime.contract.errors import InputError, TableError
from dime.host.profiles.profiles import load_profile

COLUMNS = {
    "layers": [
        name for name in ("conv1", "conv1_conv2", "conv1_conv2_fc1", "conv2", "conv2_fc1", "fc1") for _ in "123"
    ],
    "durs": [1.5 + 0.25 * at for at in range(18)],
    "iter": [0] * 18,
    "run": [0, 1, 2] * 6,
}
PLAIN = "".join(",".join(map(str, row)) + "\n" for row in [tuple(COLUMNS), *zip(*COLUMNS.values(), strict=True)])


@pytest.fixture
def load(tmp_path):
    """Writes a table, text or bytes, and reads it as a profile."""

    def write_and_load(content, name="server.csv", **options):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return load_profile(path, **options)

    return write_and_load


def refusal(load, content, **options):
    with pytest.raises(TableError) as raised:
        load(content, **options)
    assert str(raised.value).isprintable()
    return str(raised.value)


def shifted(text, delimiter, decimal="."):
    return text.replace(",", delimiter).replace(".", decimal)


@pytest.mark.parametrize("name", ["x.pq", "x.parquet", "x.csv", "x", "x.PARQUET"])
def test_the_content_says_the_format_and_so_the_unit(tmp_path, name):
    parquet.write_table(pa.table(COLUMNS), tmp_path / name)
    assert load_profile(tmp_path / name).run_duration_s[0] == 1.5


@pytest.mark.parametrize("name", ["x.pq", "x.parquet", "x.csv", "x"])
def test_so_for_text(load, name):
    assert load(PLAIN, name).run_duration_s[0] == 1.5e-3
    assert load(PLAIN, name, duration_unit="s").run_duration_s[0] == 1.5


DIALECTS = {
    "semicolons": shifted(PLAIN, ";"),
    "semicolons and decimal commas": shifted(PLAIN, ";", ","),
    "tabs": shifted(PLAIN, "\t"),
    "tabs and decimal commas": shifted(PLAIN, "\t", ","),
    "bars": shifted(PLAIN, "|"),
    "UTF-8 with a mark": PLAIN.encode("utf-8-sig"),
    "UTF-16": PLAIN.encode("utf-16"),
    "UTF-16 without a mark": PLAIN.encode("utf-16-le"),
    "UTF-16, the other way": PLAIN.encode("utf-16-be"),
    "UTF-16 and semicolons and decimal commas": shifted(PLAIN, ";", ",").encode("utf-16"),
    "Latin-1": ("# gemessen in Köln\n" + PLAIN).encode("latin-1"),
    "comment": "# made with a script, of mine\n#\n" + PLAIN,
    "a title": "Times of AlexNet; 3 runs, each in ms\n\n" + PLAIN,
    "a header that is comment": "# " + PLAIN,
    "comment between": PLAIN.replace("\nconv2,", "\n# now conv2\nconv2,", 1),
    "what a spreadsheet puts in front": "sep=;\n" + shifted(PLAIN, ";"),
    "spaces around names": PLAIN.replace("layers,durs", " layers , durs "),
    "spaces around values": PLAIN.replace(",", " , "),
    "another case": PLAIN.replace("layers,durs", "Layers,DURS"),
    "quotes": "".join(",".join(f'"{cell}"' for cell in line.split(",")) + "\n" for line in PLAIN.splitlines()),
    "CR LF": PLAIN.replace("\n", "\r\n"),
    "CR": PLAIN.replace("\n", "\r"),
    "blank lines": PLAIN.replace("\n", "\n\n"),
    "empty columns": PLAIN.replace("\n", ",,\n"),
    "an index": "".join((f"{at}," if at >= 0 else ",") + line + "\n" for at, line in enumerate(PLAIN.splitlines(), -1)),
    "no last newline": PLAIN[:-1],
    "no last newline in UTF-16": PLAIN[:-1].encode("utf-16"),
    "texts in iter": PLAIN.replace(",0,", ",[1],"),
}


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_dialect_with_one_meaning_is_read(load, dialect):
    profile, expected = load(DIALECTS[dialect]), load(PLAIN)
    assert profile.layers == ("conv1", "conv2", "fc1")
    assert np.array_equal(profile.run_duration_s, expected.run_duration_s)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (shifted(PLAIN, ",", ","), r"line 2 has 5 values for 4 columns; with decimal commas, put semicolons"),
        (PLAIN.replace("1.5", '"1,5"'), r"line 2: durs is '1,5'; write numbers without commas"),
        (shifted(PLAIN, ";", ",").replace("1,75", "1.75"), "decimal commas only"),
        (
            "layers;durs;run_energy\na;1,5;2.5\n",
            "durs has decimal commas, run_energy has points; write all numbers alike",
        ),
        ("bundle,first_layer,duration_s\na,a,1\n", "a run's own table is read in its folder, beside its run.json"),
        (PLAIN.replace("1.75", "x"), r"line 3: durs is 'x', which is no number"),
        (PLAIN.replace("1.75", ""), r"line 3: durs is empty"),
        (PLAIN.replace("1.75", "1_000"), "which is no number"),
        (PLAIN.replace("1.75", "1.75,9"), "line 3 has 5 values for 4 columns"),
        (PLAIN.replace("conv2_fc1,", '"conv2_fc1,'), "is not a whole text table"),
        (PLAIN.replace("run\n", "durs\n"), "has the column durs 2 times; leave one"),
        (PLAIN.replace("run\n", " Durs\n"), "has the column durs 2 times; leave one"),
        (PLAIN.replace("durs", "time"), "lacks the column durs; it has layers, time, iter, run"),
        (PLAIN.replace("layers", "bundle"), "lacks the column layers; it has bundle, durs"),
        (PLAIN.replace("conv2\x00", "") + "\x00\n", "control character in line 20"),
        (PLAIN[: PLAIN.rindex(",")], "is truncated: its last line is incomplete"),
        (
            PLAIN[: PLAIN.rindex("\n", 0, -1)],
            "truncated: its last line has no newline, and some bundles have 2 runs, others 3",
        ),
        (PLAIN.encode("utf-16")[:-1], "truncated or damaged UTF-16; save it as UTF-8"),
        (b"\x1f\x8b\x08\x00", "is compressed; unpack it first"),
        (pickle.dumps(COLUMNS), "is a pickle"),
        (" \n\n", "is empty"),
        (
            "# times\nlayers durs\na 1\n",
            "it has layers durs (columns are told apart by commas, semicolons, tabs or bars)",
        ),
        ("layers;durs\n", "has a header but no rows"),
    ],
)
def test_what_has_no_one_meaning_is_refused_with_the_cure(load, content, message):
    assert message in refusal(load, content)


def test_other_formats_are_named(tmp_path):
    feather.write_feather(pa.table(COLUMNS), tmp_path / "x.parquet")
    with zipfile.ZipFile(tmp_path / "x.csv", "w") as archive:
        archive.writestr("xl/workbook.xml", "")
    for name, message in (("x.parquet", "is a Feather table"), ("x.csv", "is a spreadsheet or archive")):
        with pytest.raises(TableError, match=message):
            load_profile(tmp_path / name)


def test_what_is_no_file_is_not_read_for_ever():
    with pytest.raises(TableError, match="/dev/zero is neither a file nor a folder"):
        load_profile("/dev/zero")


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (
            pa.Table.from_arrays([pa.array(["a"]), pa.array([1.0]), pa.array([2.0])], ["layers", "durs", "durs"]),
            "has the column durs 2",
        ),
        (pa.table({"layers": ["a", None], "durs": [1.0, 1.0]}), "layers in row 2 is no name: None"),
        (pa.table({"layers": [b"\xff"], "durs": [1.0]}), "column layers is not texts"),
        (pa.table({"layers": [["a"]], "durs": [1.0]}), "is no name"),
        (pa.table({"layers": ["a" * 20000], "durs": [1.0]}), "is no name"),
        (pa.table({"layers": ["a"], "durs": [[1.0]]}), "column durs is not numbers"),
        (pa.table({"layers": ["a"], "durs": [{"x": 1}]}), "column durs is not numbers"),
        (pa.table({"layers": ["a"], "durs": pa.nulls(1)}), "duration nan"),
        (pa.table({"layers": ["a"], "durs": [1.0], "frequency": [1e300]}), "is not a whole number"),
        (pa.table({"layers": ["a"], "durs": [1.0], "input_bytes": [-3], "output_bytes": [-3]}), "a tensor of -3 bytes"),
        (
            pa.table({"layers": ["a"], "durs": [1.0], "frequency": [-5]}),
            "frequency -5 in row 1 is neither in Hz nor -1",
        ),
        (pa.table({"layers": ["a"], "durs": [1.0], "frequency": [None]}), "is not a whole number"),
        (pa.table({"layers": ["\x1b[31mred\n"], "durs": [1.0]}).append_column("x", pa.array([1])), ""),
    ],
)
def test_odd_parquets_are_refused_in_one_line(tmp_path, table, message):
    parquet.write_table(table, tmp_path / "t.parquet")
    if not message:
        assert load_profile(tmp_path / "t.parquet").layers
        return
    with pytest.raises(TableError, match=message) as raised:
        load_profile(tmp_path / "t.parquet")
    assert str(raised.value).isprintable()


def test_no_message_holds_what_steers_a_terminal(load):
    for name in ("a_\x1b[31mb", "a_\u202eb", "a_\x9b31m"):
        path_free = refusal(load, f"layers,durs\n{name},1\n".encode("utf-16"), layers=("a", "b"))
        assert "is not a contiguous run" in path_free or "a control character in line 2" in path_free
    assert len(refusal(load, "layers,durs\n" + "a" * 9000 + ",1\n", layers=("b",))) == 1000


def test_layers_that_are_given(load):
    singles = "layers,durs\nb,1\nc,1\na,1\n"
    assert "give layers=a,b,c,..." in refusal(load, singles)
    assert load(singles, layers=("b", "c", "a")).layers == ("b", "c", "a")
    with pytest.raises(InputError, match="each needs a name, and another one"):
        load(singles, layers=("b", "", "a"))
    assert "'c' is not a contiguous run of the layers b, a" in refusal(load, singles, layers=("b", "a"))
