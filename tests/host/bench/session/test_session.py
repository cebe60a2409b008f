"""A run from its start to its folder, on a fake engine that fails as asked."""

import errno
import json
import tempfile
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dime.contract import messages
from dime.contract.errors import ConnectionLostError, DeviceError, InputError, TableError
from dime.host.bench import answers, clients, connection, fleet, transfer
from dime.host.bench.engines import docker
from dime.host.bench.session import judge
from dime.testing import fake_engine


@pytest.fixture(autouse=True)
def soon(monkeypatch):
    monkeypatch.setattr(docker, "POLL_S", 0.02)
    monkeypatch.setattr(connection, "RETRY_S", 0.02)


def test_a_run_comes_home_and_leaves_nothing(engine, job):
    assert fleet.profile([job()]) == [job().out]
    assert {path.name: path.read_bytes() for path in job().out.iterdir()} == fake_engine.files()
    assert engine.leftovers() == []


def test_a_connection_that_is_lost_while_the_results_come_is_waited_for(engine, job, capsys):
    lost = []

    def cut(container, path):
        if lost:
            return None
        lost.append(path)
        return half()

    def half():
        yield fake_engine.tar(fake_engine.files(), "run")[:700]
        raise ConnectionResetError

    engine.archive = lambda container, path: cut(container, path) if path == "/results/run" else None
    assert fleet.profile([job()]) == [job().out]
    assert lost == ["/results/run"]
    assert "stopped answering" in capsys.readouterr().err


def test_collect_tells_a_lost_connection_as_one(engine, tmp_path):
    def hang_up(method, path):
        if path.endswith("/archive"):
            raise ConnectionResetError

    engine.run().put(**fake_engine.files())
    engine.before = hang_up
    with pytest.raises(ConnectionLostError, match=r"nano: the engine .* stopped answering"):
        fleet.collect(engine.device(), tmp_path)
    engine.before = lambda method, path: None
    assert fleet.collect(engine.device(), tmp_path) == [tmp_path / "nano/alexnet"]


def test_a_run_of_an_earlier_version_comes_home_by_a_later_image(engine, tmp_path):
    engine.run().put(**fake_engine.files())
    engine.earlier.add(engine.images[0]["Id"])
    with pytest.raises(DeviceError, match=r"nano: its image is of an earlier .* has no 'hashes'; type: make build"):
        fleet.collect(engine.device(), tmp_path)
    engine.add_image("bench:5000/dime-host:v2")
    assert fleet.collect(engine.device(), tmp_path) == [tmp_path / "nano/alexnet"]


def test_a_folder_that_cannot_be_made_is_this_computers_fault(engine, tmp_path):
    (tmp_path / "results").write_text("a file, no folder")
    engine.run().put(**fake_engine.files())
    with pytest.raises(
        DeviceError, match=r"results\S*: (File exists|Not a directory); the results are still"
    ) as caught:
        fleet.collect(engine.device(), tmp_path / "results")
    assert not isinstance(caught.value, ConnectionLostError)


def test_a_folder_that_cannot_take_the_run_is_told_before_the_measuring(engine, job, tmp_path):
    (tmp_path / "results").write_text("a file, no folder")
    with pytest.raises(InputError, match="results is no folder"):
        fleet.profile([job()])
    (tmp_path / "results").unlink()
    job().out.mkdir(parents=True)
    (job().out / "timings.csv").write_text("somebody's")
    with pytest.raises(TableError, match=r"alexnet holds timings\.csv without run\.json"):
        fleet.profile([job()])
    for name, content in fake_engine.files(2, "running", seed=7).items():
        (job().out / name).write_bytes(content)
    with pytest.raises(TableError, match=r"holds an unfinished run that .* no longer on nano"):
        fleet.profile([job()])
    for name, content in fake_engine.files(2, "complete", seed=7).items():
        (job().out / name).write_bytes(content)
    with pytest.raises(TableError, match="holds a complete run"):
        fleet.profile([job()])
    assert not [event for event in engine.events if event.startswith("start")]


def test_what_a_board_s_torch_cannot_run_is_told_before_anything_is_sent(engine, job):
    graph = {
        "name": "mine", "values": [[[1], "float32", 0]],
        "nodes": [{"operation": "tensor.mT", "module": "head", "arguments": [{"value": 0}], "keywords": {},
                   "outputs": [None]}],
    }  # fmt: skip
    folder = job().samples / "graph"
    folder.mkdir()
    (folder / "graph.json").write_text(json.dumps(graph))
    engine.images[0]["Config"]["Labels"] = {"dime.torch": "1.10"}
    with pytest.raises(DeviceError, match=r"torch 1\.10 of its image cannot run .*: tensor\.mT in head \(node 0\)"):
        fleet.profile([job()])
    assert not engine.volumes and not engine.containers
    engine.images[0]["Config"]["Labels"] = {"dime.torch": "2.13.0"}
    assert fleet.profile([job()]) == [job().out]


def half(container):
    """A run that the board's own owner ends after two of four bundles."""
    container.say(messages.encode("hello", version="1", device="nano", network="alexnet", total=4))
    container.progress(1, 2)
    container.put(**fake_engine.files(2, "running"))
    container.killed.wait(0.2)
    container.end(143)


def rest(container):
    container.progress(3, 4)
    container.put(**fake_engine.files(4, "complete", 2))
    container.end()


def test_a_run_that_was_collected_unfinished_goes_on_and_replaces_the_shorter_copy(engine, job, monkeypatch, tmp_path):
    monkeypatch.setattr(judge, "RESTARTS", 0)
    engine.profile = half
    with pytest.raises(DeviceError, match="ended 1 times"):
        fleet.profile([job()])
    assert fleet.collect(engine.device(), tmp_path / "results") == [job().out]
    (job().out / "joint_profile.parquet").write_text("of the shorter copy")
    (job().out / "power").mkdir()
    (job().out / "power/log.csv").write_text("ours")
    assert fleet.collect(engine.device(), tmp_path / "results") == [job().out]  # nothing new: nothing happens
    assert (job().out / "joint_profile.parquet").exists()
    engine.profile = rest
    assert fleet.profile([job()]) == [job().out]
    assert {path.name for path in job().out.iterdir()} == {"run.json", "timings.csv", "power"}
    assert (job().out / "timings.csv").read_bytes() == fake_engine.files(4)["timings.csv"]
    assert (job().out / "power/log.csv").read_text() == "ours"
    assert engine.leftovers() == []


def test_what_earlier_sessions_measured_is_kept_when_a_later_one_fails_at_once(engine, job, monkeypatch):
    monkeypatch.setattr(judge, "RESTARTS", 0)
    engine.profile = half
    with pytest.raises(DeviceError, match="2 of 4 bundles are kept on the device"):
        fleet.profile([job()])

    def fail(container):
        container.say(messages.encode("error", text="no room"))
        container.end(1)

    engine.profile = fail
    with pytest.raises(DeviceError, match=r"no room\. What was measured is kept on the device"):
        fleet.profile([job()])
    engine.profile = rest
    assert fleet.profile([job()]) == [job().out]


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), OSError("something else")])
def test_a_full_disk_while_packing_samples_is_this_computers_fault(engine, job, monkeypatch, error):
    def full(*words, **options):
        raise error

    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    with pytest.raises(DeviceError, match=r"cannot use .*: (No space left on device|something else)") as caught:
        fleet.profile([job()])
    assert not isinstance(caught.value, ConnectionLostError)
    assert engine.leftovers() == []


def test_a_clock_that_is_set_back_in_mid_run_hides_no_line(engine, job):
    """As on a board without a battery for its clock, when it hears of the network's time."""

    def work(container):
        container.progress(1, 2)
        time.sleep(0.1)
        engine.clock = lambda: time.time_ns() - 3600 * 10**9
        container.say(messages.encode("error", text="the disk is full"))
        container.end(1)

    engine.profile = work
    with pytest.raises(DeviceError, match="nano: the disk is full"):
        fleet.profile([job()])


class Log:
    """A container of which only the log is of interest."""

    def __init__(self, monkeypatch, started_ns=0):
        self.lines, self.asked, self.said = [], [], 0
        self.attrs = {"State": {"Status": "running", "StartedAt": fake_engine.stamp(started_ns)}}
        monkeypatch.setattr(answers, "lines", self._read)

    def _read(self, container, tail=None):
        self.asked.append(tail)
        return self.lines[:] if tail is None else self.lines[max(0, len(self.lines) - tail) :]

    def say(self, *moments_s):
        for moment_s in moments_s:
            self.lines.append((fake_engine.stamp(moment_s * 10**9), f"line {self.said}"))
            self.said += 1


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(-50, 50), st.booleans()), max_size=12))
def test_every_line_is_shown_once_whatever_the_clock_does(looks):
    with pytest.MonkeyPatch.context() as patch:
        log, place, now, seen, every = Log(patch), answers.Place(), 1000, [], []
        for count, step, rotated in looks:
            log.say(*range(now, now + count))
            every += [text for _, text in log.lines[len(log.lines) - count :]]
            now += count + step
            if rotated:
                del log.lines[: max(0, len(log.lines) - 60)]
            seen += place.new(log)
        assert seen == every


def test_what_an_earlier_start_said_is_not_shown_again(monkeypatch):
    log = Log(monkeypatch, started_ns=2000 * 10**9)
    log.say(1000, 1001, 1002)
    assert answers.Place().new(log) == ["line 0", "line 1", "line 2"]
    log.say(2001, 2002, 1500, 1501)  # set back after the start
    place = answers.Place()
    place.to_the_start(log)
    assert place.new(log) == ["line 3", "line 4", "line 5", "line 6"]
    log = Log(monkeypatch, started_ns=2000 * 10**9)
    log.say(5000, 5001, 2001)  # set back before it
    place.to_the_start(log)
    assert place.new(log) == ["line 2"]


def test_a_line_that_comes_in_pieces_is_shown_once_and_nothing_twice(engine):
    run = engine.run()
    with clients.connect(engine.device()) as client:
        container, place = client.containers.get("dime-profile"), answers.Place()
        run.say("one", b"x" * fake_engine.PIECE_BYTES)
        assert place.new(container) == ["one"]
        run.say("y" * 10)
        assert [line[:4] for line in place.new(container)] == ["xxxx"]
        run.say("two")
        assert place.new(container) == ["two"]


def test_of_a_long_log_only_the_end_is_asked_for(monkeypatch):
    log, place = Log(monkeypatch), answers.Place()
    log.say(*range(5000))
    place.new(log)
    log.say(6000)
    log.asked.clear()
    assert place.new(log) == ["line 5000"]
    place.new(log)
    assert log.asked[-1] < 30


def test_one_file_is_read_whole_or_not_at_all(engine, monkeypatch):
    engine.run().put(**{"run.json": b"x" * (3 << 20)})
    with clients.connect(engine.device()) as client:
        container = client.containers.get("dime-profile")
        assert transfer.read(container, "/results/run/run.json") == b"x" * (3 << 20)
        assert transfer.read(container, "/results/run/nothing") is None
        monkeypatch.setattr(transfer, "SMALL_BYTES", 1 << 20)
        with pytest.raises(DeviceError, match=r"run\.json there are over 1 MiB"):
            transfer.read(container, "/results/run/run.json")
