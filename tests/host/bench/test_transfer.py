import io
import tarfile

import pytest

from dime.contract.errors import DeviceError, TableError
from dime.host.bench import transfer


def archive(*members):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for name, kind, target in members:
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, target
            member.size = len(target) if kind == tarfile.REGTYPE else 0
            tar.addfile(member, io.BytesIO(target.encode()))
    stream.seek(0)
    return tarfile.open(fileobj=stream)


def test_a_runs_files_are_unpacked_without_what_a_killed_run_left_half(tmp_path):
    half = ("run/clock.json.part", tarfile.REGTYPE, "y")
    tar = archive(("run", tarfile.DIRTYPE, ""), ("run/run.json", tarfile.REGTYPE, "x"), half)
    transfer.unpack(tar, "run", tmp_path / "out")
    assert [(path.name, path.read_text()) for path in (tmp_path / "out").iterdir()] == [("run.json", "x")]


def sparse():
    """Eight GiB of nothing in an archive of a few blocks."""
    member = tarfile.TarInfo("run/timings.csv")
    member.size = 512
    member.pax_headers = {
        "GNU.sparse.major": "0", "GNU.sparse.minor": "1", "GNU.sparse.size": str(8 << 30), "GNU.sparse.map": "0,512",
        "GNU.sparse.numblocks": "1",
    }  # fmt: skip
    return tarfile.open(fileobj=io.BytesIO(member.tobuf(tarfile.PAX_FORMAT) + bytes(512) + bytes(1024)))


def test_a_file_of_holes_is_refused(tmp_path):
    assert sparse().next().size == 8 << 30
    with pytest.raises(DeviceError, match="refused"):
        transfer.unpack(sparse(), "run", tmp_path / "out")


def test_a_large_file_that_is_no_table_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(transfer, "SMALL_BYTES", 10)
    transfer.unpack(archive(("run/timings.csv", tarfile.REGTYPE, "x" * 11)), "run", tmp_path / "table")
    with pytest.raises(DeviceError, match=r"run\.json is over 0 MiB; refused"):
        transfer.unpack(archive(("run/run.json", tarfile.REGTYPE, "x" * 11)), "run", tmp_path / "out")


@pytest.mark.parametrize(
    "member",
    [
        ("run/../../evil", tarfile.REGTYPE, "x"),
        ("/etc/evil", tarfile.REGTYPE, "x"),
        ("other/evil", tarfile.REGTYPE, "x"),
        ("run/link", tarfile.SYMTYPE, "/etc/passwd"),
        ("run/link", tarfile.LNKTYPE, "run/a"),
        ("run/fifo", tarfile.FIFOTYPE, ""),
        ("run/device", tarfile.CHRTYPE, ""),
        ("run/run.json", tarfile.SYMTYPE, "/etc/passwd"),
        ("run/joint_profile.parquet", tarfile.REGTYPE, "x"),
        ("run/power", tarfile.DIRTYPE, ""),
        ("run/power/evil.csv", tarfile.REGTYPE, "x"),
        ("run/.bashrc", tarfile.REGTYPE, "x"),
        ("run", tarfile.REGTYPE, "x"),
    ],
)
def test_whatever_else_a_device_sends_is_refused(tmp_path, member):
    with pytest.raises(DeviceError, match="refused"):
        transfer.unpack(archive(("run", tarfile.DIRTYPE, ""), member), "run", tmp_path / "out")
    assert not list(tmp_path.rglob("evil"))


def test_a_folder_is_known_by_names_and_contents(tmp_path):
    (tmp_path / "conv1").mkdir()
    (tmp_path / "conv1/a.pt").write_bytes(b"1")
    first, files = transfer.digest(tmp_path)
    assert list(files) == ["conv1/a.pt"]
    (tmp_path / "conv1/b.pt.part").write_bytes(b"half")
    assert transfer.digest(tmp_path)[0] == first
    (tmp_path / "conv1/a.pt").write_bytes(b"2")
    assert transfer.digest(tmp_path)[0] != first


def test_an_empty_folder_says_what_to_type(tmp_path):
    with pytest.raises(TableError, match="dime samples"):
        transfer.digest(tmp_path)


def test_what_did_not_arrive_intact_is_named(tmp_path):
    (tmp_path / "run.json").write_text("x")
    with pytest.raises(DeviceError, match=r"^run\.json did not arrive intact"):
        transfer.verify(tmp_path, {"run.json": "0" * 64})
    with pytest.raises(DeviceError, match=r"^run\.json did not arrive intact"):
        transfer.verify(tmp_path, {})
