"""Zips from anybody: what leads outside, links, bombs, other things."""

import io
import shutil
import stat
import zipfile
from types import SimpleNamespace

import pytest

from dime.contract.errors import InputError, TableError
from dime.host.provenance import archive, compare, document
from dime.host.provenance.archive import pack, unpack
from dime.host.provenance.check import check
from tests.host.provenance.test_artifact import edit


def zipped(path, *entries, compress=zipfile.ZIP_STORED, mode=0o100644):
    with zipfile.ZipFile(path, "w", compress) as into:
        for name, content in entries:
            entry = zipfile.ZipInfo(name)
            entry.external_attr, entry.compress_type = mode << 16, compress
            into.writestr(entry, content)
    return path


@pytest.mark.parametrize(
    "name", ["../x", "a/../../x", "/etc/x", "a/..", "C:/x", "a\\..\\x", "//server/x", "a/b/../../../x", ".", "./"]
)
def test_a_path_that_leads_outside_is_refused(tmp_path, name):
    path = zipped(tmp_path / "a.zip", ("a/ok", b"1"), (name, b"2"))
    (tmp_path / "in").mkdir()
    with pytest.raises(TableError, match="leads outside; nothing was unpacked"):
        unpack(path, tmp_path / "in")
    assert not list((tmp_path / "in").iterdir())


def test_bytes_that_no_compressor_made_are_one_line(tmp_path):
    path = zipped(tmp_path / "a.zip", ("a/ok", bytes(1000)), compress=zipfile.ZIP_DEFLATED)
    content = bytearray(path.read_bytes())
    at = content.index(b"a/ok") + 4
    content[at] = 0xFF
    path.write_bytes(content)
    (tmp_path / "in").mkdir()
    with pytest.raises(TableError, match="is no archive, or damaged"):
        unpack(path, tmp_path / "in")


@pytest.mark.parametrize("content", [b"", b"PK", b"PK\x03\x04" + bytes(100)])
def test_arrays_that_are_damaged_are_one_line(tmp_path, content):
    (tmp_path / "problem.npz").write_bytes(content)
    with pytest.raises(TableError, match=r"problem\.npz is damaged"):
        compare.read(tmp_path / "problem.npz")


def test_a_link_is_refused(tmp_path):
    path = zipped(tmp_path / "a.zip", ("a/link", b"/etc/passwd"), mode=stat.S_IFLNK | 0o777)
    with pytest.raises(TableError, match="is a link or no file"):
        unpack(path, tmp_path)


def test_a_bomb_is_refused(tmp_path):
    path = zipped(tmp_path / "a.zip", ("a/zeros", bytes(50_000_000)), compress=zipfile.ZIP_DEFLATED)
    with pytest.raises(TableError, match=r"would grow from \d+ to 50000000"):
        unpack(path, tmp_path)


def test_more_than_the_disk_has_is_refused(tmp_path, monkeypatch):
    path = zipped(tmp_path / "a.zip", ("a/x", bytes(1 << 20)))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=archive.FREE_BYTES + (1 << 19)))
    with pytest.raises(TableError, match="would take 1 MiB; there are 0 MiB to use"):
        unpack(path, tmp_path)


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ([("a/x", b"1"), ("a/x", b"2")], "twice"),
        ([("a/x", b"1"), ("b/x", b"2")], "does not hold one folder"),
        ([("x", b"1")], "does not hold one folder"),
        ([], "empty archive"),
        ([("a/x", b"1"), ("a/x/y", b"2")], "have one name|Not a directory"),
    ],
)
def test_what_no_archive_of_ours_holds_is_refused(tmp_path, entries, message):
    with pytest.raises(TableError, match=message):
        unpack(zipped(tmp_path / "a.zip", *entries), tmp_path)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"not a zip at all", bytes(1000)])
def test_no_archive_at_all_is_one_line(tmp_path, content):
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(TableError, match=r"a\.zip is no archive, or damaged"):
        check(tmp_path / "a.zip")


def test_nothing_there_is_one_line(tmp_path):
    with pytest.raises(TableError, match=r"a\.zip: no such file"):
        check(tmp_path / "a.zip")
    with pytest.raises(TableError, match="is no artifact: SHA256SUMS"):
        check(tmp_path)


def test_an_archive_of_a_newer_format_is_one_line(archive, tmp_path):
    edit(archive / document.DOCUMENT, version=99)
    from dime.host.provenance import manifest

    manifest.write(archive)
    with pytest.raises(TableError, match="was written by a later version of DIME"):
        check(archive)


@pytest.mark.parametrize(
    "step",
    [
        {"command": "profile", "options": {}, "inputs": [], "outputs": []},
        {"command": "solve", "options": {"edge": "a=/etc/passwd"}, "inputs": [], "outputs": []},
        {"command": "solve", "options": {"out": "../x"}, "inputs": [], "outputs": []},
        {"command": "solve", "options": {"--out": "x"}, "inputs": [], "outputs": []},
        {"command": "solve", "options": {}, "inputs": ["../../x"], "outputs": []},
        {"command": "solve", "options": {}, "inputs": [], "outputs": ["/x"]},
        {"command": "join", "options": {"run": ["x"]}, "inputs": [], "outputs": []},
        {"command": "join"},
        7,
    ],
)
def test_a_step_that_leads_out_of_the_archive_is_not_run(archive, step):
    from dime.host.provenance import manifest

    edit(archive / document.DOCUMENT, steps=[step])
    manifest.write(archive)
    with pytest.raises(TableError, match=r"artifact\.json is damaged: a step"):
        check(archive)


def test_a_full_disk_leaves_nothing(archive, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shutil, "copyfileobj", full)
    with pytest.raises(InputError, match="No space left on device"):
        pack(archive, tmp_path / "a.zip", "a")
    assert not list(tmp_path.glob("a.zip*"))


def test_the_same_files_give_the_same_bytes(archive, tmp_path):
    pack(archive, tmp_path / "a.zip", "top")
    for path in archive.rglob("*"):
        path.chmod(0o700)
    pack(archive, tmp_path / "b.zip", "top")
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()
    assert zipfile.ZipFile(io.BytesIO((tmp_path / "a.zip").read_bytes())).testzip() is None
