"""A board that was taken over: its engine says what it likes, and this computer keeps its files, disk and terminal."""

import io
import json
import os
import tarfile
import tempfile
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dime.contract import messages
from dime.contract.errors import DeviceError, DimeError
from dime.contract.run import FROM_DEVICE
from dime.host.bench import answers, fleet
from dime.host.bench.engines import docker
from dime.host.bench.lab import LabDevice
from dime.host.bench.session import results
from dime.host.bench.session.job import Job
from dime.testing import fake_engine
from dime.testing.fake_engine import FakeEngine

PARTS = st.sampled_from([
    "..", ".", "", "/", "nano", "nano2", "nano-4threads", "alexnet", "run", "run.json", "timings.csv", "clock.json",
    ".ssh", "authorized_keys", "joint_profile.parquet", "power", "\0", "a\nb", "\x1b[2J", "é", "\ud800", "x" * 300,
])  # fmt: skip
PATHS = st.lists(PARTS, min_size=1, max_size=4).map("/".join) | st.text(max_size=12)
ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=5,
)
LABELS = st.dictionaries(
    st.sampled_from(["dime.folder", "dime.key", "dime.what", "dime.holder", "dime.started"]), PATHS | ANY, max_size=5
)
VALUES = PATHS | st.integers(-1, 10**20) | ANY
FIELDS = st.sampled_from(["done", "total", "what", "text", "unit", "folder", "facts", "version", "device", "network"])
LINES = st.one_of(
    st.binary(max_size=30),
    st.sampled_from(sorted(messages.KINDS)).flatmap(
        lambda kind: st.fixed_dictionaries({name: VALUES for name in messages.KINDS[kind]}).map(
            lambda fields: json.dumps({**fields, "kind": kind}).encode()
        )
    ),
    st.dictionaries(FIELDS, ANY, max_size=4).map(lambda fields: json.dumps(fields).encode()),
)
KINDS = st.sampled_from([tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE,
                         tarfile.CHRTYPE, tarfile.GNUTYPE_SPARSE, tarfile.CONTTYPE])  # fmt: skip
MEMBERS = st.lists(st.tuples(PATHS.map("run/{}".format) | PATHS, KINDS, PATHS), max_size=5)
GOOD = {name: fake_engine.files()[name] for name in fake_engine.files()}


def packed(members, damage=b"", at=0):
    """An archive of such members, with some bytes of it replaced."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for name, kind, target in members:
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, target
            content = target.encode(errors="replace")
            member.size = len(content) if kind in (tarfile.REGTYPE, tarfile.CONTTYPE) else 0
            with suppress(ValueError, UnicodeError):
                archive.addfile(member, io.BytesIO(content))
    data = bytearray(stream.getvalue())
    at %= len(data)
    data[at : at + len(damage)] = damage
    return bytes(data)


ARCHIVES = st.builds(packed, MEMBERS, st.binary(max_size=8), st.integers(0, 5000)) | st.binary(max_size=2000)


def tree(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()}


def is_a_runs(path):
    parts = Path(path).parts
    return (
        parts[0] == "results" and parts[1].startswith("nano") and ".." not in parts
        and (len(parts) == 3 or (len(parts) == 4 and parts[3] in FROM_DEVICE))
    )  # fmt: skip


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(labels=LABELS, archive=st.none() | ARCHIVES, hashed=st.lists(PATHS, max_size=3), state=st.none() | ANY)
def test_collect_writes_runs_and_nothing_else(labels, archive, hashed, state):
    with tempfile.TemporaryDirectory() as folder, FakeEngine(folder, "dime-host:latest") as engine:
        home = Path(folder, "home")
        (home / "results").mkdir(parents=True)
        container = engine.run()
        container.put(**GOOD)
        container.labels |= labels
        engine.volumes[container.mounts["/results"]].files |= {f"run/{name}": b"x" for name in hashed}
        engine.archive = lambda container, path: None if archive is None else [archive]
        if state is not None:
            answer = container.answer()
            container.answer = lambda: {**answer, "State": {**answer["State"], "StartedAt": state, "ExitCode": state}}
        try:
            fleet.collect(engine.device(), home / "results")
        except DimeError as error:
            assert "\n" not in str(error) or "\\n" in repr(hashed)
        assert all(is_a_runs(f"results/{path}") for path in tree(home / "results")), tree(home)
        assert tree(home) == {f"results/{path}" for path in tree(home / "results")}


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(said=st.lists(LINES, max_size=8), code=st.integers(-5, 300) | ANY, archive=st.none() | ARCHIVES, labels=LABELS)
def test_a_profile_ends_in_a_run_or_in_one_line(said, code, archive, labels):
    def work(container):
        container.say(*said)
        container.put(**GOOD)
        container.labels |= labels
        container.end(code)

    with tempfile.TemporaryDirectory() as folder, FakeEngine(folder, "dime-host:latest") as engine:
        engine.profile = work
        engine.archive = lambda container, path: [archive] if archive is not None and path == "/results/run" else None
        maps = Path(folder, "samples/alexnet/conv1")
        maps.mkdir(parents=True)
        (maps / "a.pt").write_bytes(b"map")
        out = Path(folder, "home/results/nano/alexnet")
        with suppress(DimeError), pytest.MonkeyPatch.context() as patch:
            patch.setattr(docker, "POLL_S", 0.01)
            patch.setattr(results, "STOP_S", 0.3)
            patch.setenv("DOCKER_HOST", f"unix://{folder}/none.sock")
            fleet.profile([Job(engine.device(), "alexnet", ("profile",), maps.parent, out)])
        assert all(is_a_runs(path) for path in tree(Path(folder, "home"))), tree(Path(folder))


@pytest.mark.parametrize(
    "folder",
    ["../../home/.ssh", "/etc/cron.d", "nano/..", "nano/.ssh", "nano/a/b", "potato/alexnet", "nano", "", "nano/",
     "nano-threads/alexnet", "nano/alexnet\n", "nano2/alexnet", "nano/" + "x" * 101],
)  # fmt: skip
def test_a_label_that_names_another_folder_is_refused(engine, tmp_path, folder):
    engine.run(dime_folder=folder).put(**GOOD)
    with pytest.raises(DeviceError, match=r"nano: .* is not nano/NETWORK; refused\. make clean-device DEVICE=nano"):
        fleet.collect(engine.device(), tmp_path / "results")
    assert tree(tmp_path) == set()


def test_a_device_with_several_counts_of_threads_has_folders_of_its_own(engine):
    labelled = engine.run(dime_folder="nano-4threads/alexnet")
    labelled.client = None
    container = type("Container", (), {"attrs": labelled.answer(), "short_id": "0"})()
    assert answers.folder(container, LabDevice("nano")) == Path("nano-4threads/alexnet")


def test_of_several_runs_the_others_come_home_all_the_same(engine, tmp_path, capsys):
    engine.run(dime_folder="../evil").put(**GOOD)
    engine.run("ba9876543210").put(**GOOD)
    with pytest.raises(DeviceError, match="refused"):
        fleet.collect(engine.device(), tmp_path)
    assert tree(tmp_path) == {"nano/alexnet/run.json", "nano/alexnet/timings.csv"}


def endless():
    while True:
        yield os.urandom(1 << 16)


def test_an_endless_archive_ends_within_its_bound(engine, tmp_path, monkeypatch):
    monkeypatch.setattr(answers, "RUN_BYTES", 1 << 20)
    engine.run().put(**GOOD)
    engine.archive = lambda container, path: endless()
    with pytest.raises(DeviceError, match=r"/results/run there are over the 1 MB that a run may have; refused"):
        fleet.collect(engine.device(), tmp_path)
    assert tree(tmp_path) == set()


def test_no_archive_takes_all_of_the_disk(engine, tmp_path, monkeypatch):
    usage = answers.shutil.disk_usage(tmp_path)
    monkeypatch.setattr(answers.shutil, "disk_usage", lambda folder: usage._replace(free=3 << 20))
    engine.run().put(**GOOD)
    engine.archive = lambda container, path: endless()
    with pytest.raises(DeviceError, match=r"over the 1.05 MB that this computer's disk has room for; they are still"):
        fleet.collect(engine.device(), tmp_path)


def test_an_endless_log_ends_the_run_and_not_this_computer(engine, job, monkeypatch):
    monkeypatch.setattr(answers, "LOG_BYTES", 1 << 20)

    def shout(container):
        for _ in range(40):
            container.say(b"x" * 60_000)
        container.killed.wait()

    engine.profile = shout
    monkeypatch.setattr(docker, "POLL_S", 0.02)
    monkeypatch.setattr(results, "STOP_S", 0.1)
    with pytest.raises(DeviceError, match="its log is over 1 MiB; refused"):
        fleet.profile([job()])


def test_notes_without_end_are_shown_up_to_a_number(engine, job, monkeypatch, capsys):
    monkeypatch.setattr(docker, "POLL_S", 0.02)
    monkeypatch.setattr(answers, "NOTES", 5)

    def talk(container):
        container.say(*(messages.encode("note", text=f"note {number} {'y' * 5000}") for number in range(50)))
        fake_engine.complete(container)

    engine.profile = talk
    assert fleet.profile([job()]) == [job().out]
    text = capsys.readouterr().err
    shown = [line for line in text.splitlines() if "nano alexnet: " in line]
    assert len(shown) == 5
    assert "no more notes" in shown[-1]
    assert max(map(len, shown)) < 1000


def test_a_container_that_says_it_is_done_is_not_believed_before_it_has_ended(engine, job, monkeypatch):
    monkeypatch.setattr(docker, "POLL_S", 0.02)

    def lie(container):
        container.say(messages.encode("done", folder="/etc"))
        container.put(**fake_engine.files(2, "running"))
        container.end(0)

    engine.profile = lie
    with pytest.raises(DeviceError, match=r"nano: ended as if it were done, but run\.json there denies it"):
        fleet.profile([job()])
    assert engine.leftovers()[0] == "dime-profile"


def test_a_huge_header_is_not_taken_into_memory(engine, tmp_path):
    member = tarfile.TarInfo("././@LongLink")
    member.type, member.size = tarfile.GNUTYPE_LONGNAME, 3 << 30
    engine.run().put(**GOOD)
    engine.archive = lambda container, path: [member.tobuf(tarfile.GNU_FORMAT) + bytes(4096)]
    with pytest.raises(DeviceError, match="did not arrive intact"):
        fleet.collect(engine.device(), tmp_path)


def test_held_by_somebody_with_a_very_long_name_is_one_short_line(engine, job):
    holder = engine.run(dime_holder="h" * 10**6, dime_what="\x1b[2J")
    holder.status = "running"
    with pytest.raises(DeviceError) as caught:
        fleet.profile([replace(job(), network="alexnet")])
    assert len(str(caught.value)) < 500
    assert "\x1b" not in str(caught.value)
