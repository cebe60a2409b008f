"""A run from its start to its folder, on a fake engine that fails as asked."""

import errno
import tempfile

import pytest

from dime.contract.errors import ConnectionLostError, DeviceError
from dime.host.bench import connection, remote, runs

from . import board_engine


@pytest.fixture(autouse=True)
def soon(monkeypatch):
    monkeypatch.setattr(runs, "POLL_S", 0.02)
    monkeypatch.setattr(connection, "RETRY_S", 0.02)


def test_a_run_comes_home_and_leaves_nothing(engine, job):
    assert remote.profile([job()]) == [job().out]
    assert {path.name: path.read_bytes() for path in job().out.iterdir()} == board_engine.files()
    assert engine.leftovers() == []


def test_a_connection_that_is_lost_while_the_results_come_is_waited_for(engine, job, capsys):
    lost = []

    def cut(container, path):
        if lost:
            return None
        lost.append(path)
        return half()

    def half():
        yield board_engine.tar(board_engine.files(), "run")[:700]
        raise ConnectionResetError

    engine.archive = lambda container, path: cut(container, path) if path == "/results/run" else None
    assert remote.profile([job()]) == [job().out]
    assert lost == ["/results/run"]
    assert "stopped answering" in capsys.readouterr().err


def test_collect_tells_a_lost_connection_as_one(engine, tmp_path):
    def hang_up(method, path):
        if path.endswith("/archive"):
            raise ConnectionResetError

    engine.run().put(**board_engine.files())
    engine.before = hang_up
    with pytest.raises(ConnectionLostError, match=r"nano: the engine .* stopped answering"):
        remote.collect(engine.device(), tmp_path)
    engine.before = lambda method, path: None
    assert remote.collect(engine.device(), tmp_path) == [tmp_path / "nano/alexnet"]


@pytest.mark.parametrize("work", ["profile", "collect"])
def test_a_folder_that_cannot_be_made_is_this_computers_fault(engine, job, tmp_path, work):
    (tmp_path / "results").write_text("a file, no folder")
    engine.run().put(**board_engine.files())
    with pytest.raises(
        DeviceError, match=r"results\S*: (File exists|Not a directory); the results are still"
    ) as caught:
        if work == "profile":
            remote.profile([job()])
        else:
            remote.collect(engine.device(), tmp_path / "results")
    assert not isinstance(caught.value, ConnectionLostError)


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), OSError("something else")])
def test_a_full_disk_while_packing_samples_is_this_computers_fault(engine, job, monkeypatch, error):
    def full(*words, **options):
        raise error

    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    with pytest.raises(DeviceError, match=r"cannot use .*: (No space left on device|something else)") as caught:
        remote.profile([job()])
    assert not isinstance(caught.value, ConnectionLostError)
    assert engine.leftovers() == []
