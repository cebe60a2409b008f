"""Plans run in containers, on engines of this process whose containers are processes of this computer."""

import shutil
import tempfile
import threading
import time
from pathlib import Path

import pytest

from dime.contract.errors import DeviceError, InputError
from dime.host.bench import attended, transfer
from dime.host.bench.lock import HOLD
from dime.host.campaign import link as campaign
from dime.host.execution import running, runs
from dime.testing import fake_engine
from tests.host.bench import contained
from tests.host.conftest import dime
from tests.host.execution import made
from tests.host.execution.test_verify import NAMED
from tests.sharing import once

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="session")
def planned(mine, tmp_path_factory):
    return once(tmp_path_factory, "between", lambda folder: plan_between(mine, folder))


def plan_between(mine, folder):
    """The studies of two devices, and one over a link between them that was measured."""
    shutil.copytree(mine, folder, dirs_exist_ok=True)
    campaign.measure("edge", "server", iterations=3, runs=1, largest_bytes=20_000, results=str(folder / "results"))
    dime("solve", "--net=mine", "--edge-power=5", "--replicates=20", "--link=WiFi,edge-server", folder=folder)


@pytest.fixture
def study(planned, tmp_path, monkeypatch):
    """A copy of the planned folder, to write into."""
    made.copied(planned, tmp_path, monkeypatch)
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    return Path("results/plans/mine/001")


@pytest.fixture
def lab(study):
    """Both devices of the plan with an engine each."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder, contained.hosts(Path(folder), "edge", "server") as found:
        contained.write_lab(Path("lab.toml"), found)
        yield found


@pytest.fixture
def on_the_server(monkeypatch):
    made.only(monkeypatch, "all on server")


def left(lab):
    return [host.engine.leftovers() for host in lab.values()]


def stage(host):
    return next(one for one in host.engine.containers.values() if one.name == HOLD)


def test_plans_are_run_in_containers_and_nothing_is_left(study, lab):
    seen = []

    def look(container, process):
        options = container.config["HostConfig"]
        seen.append((container.name, container.labels["dime"], options["NetworkMode"], options.get("Privileged")))
        assert container.labels["dime.what"] and container.labels["dime.holder"] and container.labels["dime.by"]
        shown = repr((container.config, container.labels))
        token = container.found("/results")[0].files.get(".token")
        assert token is None or token.decode() not in shown

    for host in lab.values():
        host.started = look
    found = runs.verify(study, runs=3)
    (link,) = found.links
    assert (link.name, link.origin) == (NAMED, "emulated")
    assert {one.fallbacks for one in link.compared} == {0}
    assert link.kept["edge", "server"]["up"]["bytes"] > 0 and link.late_s is not None
    assert sorted(one[0] == HOLD for one in seen) == [False, True, True]  # a shaper beside the server's stage
    assert {one[1:] for one in seen} == {("helper", "host", None)}
    assert [words[0] for words in lab["edge"].words] == ["stage"]
    assert [words[0] for words in lab["server"].words] == ["stage", "shape"]
    assert left(lab) == [[], []]
    for host in lab.values():
        assert host.engine.unlabelled() == []
        assert [name for name in host.engine.volumes if name.startswith("dime-samples-mine-")]


@pytest.mark.slow
def test_a_link_that_was_measured_between_the_devices_is_not_emulated(study, lab):
    wifi, own = runs.verify(study.with_name("003"), runs=3).links
    assert (own.name, own.origin, dict(own.kept)) == ("edge-server", "measured", {})
    assert (wifi.name, wifi.origin, list(wifi.kept)) == ("WiFi", "emulated", [("edge", "server")])
    assert own.checked["edge", "server"].after is not None  # measured before and behind, by two ends of a link
    assert [words[0] for words in lab["server"].words] == ["answer", "stage", "shape", "answer"]
    assert left(lab) == [[], []]


@pytest.mark.slow
def test_a_plan_that_encodes_is_run_in_containers(study, lab):
    coded = ("--encode=features:float16", "--private=2", "--memory=edge=22000", "--replicates=0")
    dime("solve", "--net=mine", "--edge-power=5", "--link=edge-server,WiFi", *coded, folder=".")
    for link in runs.verify(study.with_name("004"), runs=3).links:
        (one, told) = link.candidates[0], link.compared[0]
        assert [each.encoding for each in one.encoded] == ["float16"] and told.fallbacks == 0
        assert told.distance == 0.0 and told.effect.same_class == 1 and 0 < told.effect.distance < 1e-2
        coding = {stage.part.device: stage for stage in told.stages if stage.part.cause == "encoding"}
        assert all(coding[name].measured.mean_s > 0 for name in ("edge", "server"))
    assert left(lab) == [[], []]


@pytest.mark.slow
def test_one_in_a_container_and_one_here(study, lab):
    Path("lab.toml").write_text(Path("lab.toml").read_text().partition("[server]")[0])
    (link,) = runs.verify(study, runs=3).links
    assert {one.fallbacks for one in link.compared} == {0}
    assert lab["server"].words == [] and left(lab) == [[], []]


@pytest.mark.slow
def test_both_devices_on_one_engine(study, lab):
    contained.write_lab(Path("lab.toml"), {"edge": lab["edge"], "server": lab["edge"]})
    runs.verify(study, runs=1)
    assert [words[0] for words in lab["edge"].words] == ["stage", "stage", "shape"]
    assert left(lab) == [[], []]


@pytest.mark.parametrize("name", ["edge", pytest.param("server", marks=pytest.mark.slow)])
def test_a_board_that_is_held_is_not_taken(study, lab, name):
    lab[name].engine.run().status = "running"
    with pytest.raises(DeviceError, match=rf"^{name}: is held by me@here since then \(alexnet on nano\); wait") as told:
        runs.verify(study, runs=1)
    assert "\n" not in str(told.value)
    lab[name].engine.containers.clear()
    lab[name].engine.volumes.pop("dime-results-0123456789ab")
    assert left(lab) == [[], []]


@pytest.mark.slow
def test_two_at_once_on_one_board_are_refused(study, lab):
    second = []

    def again(container, process):
        if not second:
            second.append("")
            with pytest.raises(DeviceError, match=r"edge: is held by .* \(a plan that is run\)") as told:
                runs.verify(study, runs=1)
            second[0] = str(told.value)

    lab["edge"].started = again
    runs.verify(study, runs=1)
    assert second[0] and left(lab) == [[], []]


@pytest.mark.slow
def test_a_server_that_is_killed_is_told_and_its_requests_are_finished_on_the_edge(
    study, lab, on_the_server, monkeypatch
):
    killed, gone, asked = [], [], running.StageProcess.ask

    def kill():
        time.sleep(0.05)  # a round takes half a second and more
        killed.append(time.monotonic())
        lab["server"].processes[stage(lab["server"]).id].kill()

    def ask(one, said, within_s):
        if "go" in said:
            gone.append(said)
            if len(gone) == 2:  # behind the one that is checked
                threading.Thread(target=kill).start()
        return asked(one, said, within_s)

    monkeypatch.setattr(running.StageProcess, "ask", ask)
    monkeypatch.setattr(running, "GRACE_S", 60.0)  # other tests may keep the machine busy
    with pytest.raises(
        DeviceError,
        match=r"^server: its stage has ended, killed by signal 9; [0-9]+ requests were finished on edge alone$",
    ) as told:
        runs.verify(study, runs=10000)
    assert "\n" not in str(told.value) and left(lab) == [[], []]


@pytest.mark.slow
def test_an_engine_that_is_away_for_a_while_is_waited_for(study, lab):
    away = []

    def hang_up(method, path):
        if away and time.monotonic() < away[0]:
            raise ConnectionError

    lab["server"].engine.before = hang_up
    runs.verify(study, runs=20, say=lambda text: away or away.append(time.monotonic() + 2.0))
    assert time.monotonic() > away[0]
    assert left(lab) == [[], []]


@pytest.mark.slow
def test_an_engine_that_is_gone_ends_the_run_in_one_line(study, lab, capfd, monkeypatch):
    gone = []

    def hang_up(method, path):
        if gone:
            raise ConnectionError

    def go(text):
        if not gone:
            gone.append(time.monotonic())

    lab["server"].engine.before = hang_up
    monkeypatch.setattr(attended, "PATIENCE_S", 1.0)
    with pytest.raises(DeviceError, match=r"^server: no Docker engine answers|^server: .* stopped answering"):
        runs.verify(study, runs=100000, say=go)
    assert time.monotonic() - gone[0] < 30
    said = capfd.readouterr().err
    assert "; it is waited for, 1 s at most, so that nothing stays there\n" in said
    assert "ends by itself; make clean-device DEVICE=server removes what it leaves" in said


def test_an_image_of_another_version_is_told(study, lab):
    def fail(container):
        container.say(fake_engine.messages.encode("error", text="argument verb: invalid choice: 'stage' (choose from)"))
        container.end(2)

    lab["server"].engine.work = fail
    with pytest.raises(DeviceError, match=r"^server: its image is of another version of DIME"):
        runs.verify(study, runs=1)
    assert left(lab) == [[], []]


@pytest.mark.slow
def test_one_that_speaks_another_protocol_is_told(study, lab):
    lab["server"].environment = {"PYTHONPATH": _older(lab["server"].folder)}
    with pytest.raises(DeviceError, match=r"^server: .* speaks version 9 of the protocol"):
        runs.verify(study, runs=1)
    assert left(lab) == [[], []]


def _older(folder):
    """A folder in which Python finds what makes DIME one of another version."""
    (folder / "sitecustomize.py").write_text(
        f"import sys\nsys.path.insert(0, {str(ROOT)!r})\n"
        "import dime.contract.frames\n\ndime.contract.frames.VERSION = 9\n"
    )
    return str(folder)


@pytest.mark.slow
def test_feature_maps_of_another_hash_are_refused_there(study, lab):
    named = ("--net=mine.py:build", "--input=1x3x32x32", "--cuts=all", "--name=mine")
    dime("samples", *named, "--samples=others", "--source=random", folder=".")
    with pytest.raises(DeviceError, match="feature maps here are others than those that were profiled"):
        runs.verify(study, samples="others")
    assert left(lab) == [[], []]


def test_a_file_of_weights_is_no_container_s(study, lab):
    with pytest.raises(InputError, match="WEIGHTS is a file of this computer"):
        runs.verify(study, weights="mine.pt")


@pytest.mark.slow
def test_who_interrupts_leaves_nothing(study, lab):
    def interrupt(text):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        runs.verify(study, runs=100, say=interrupt)
    assert left(lab) == [[], []]


@pytest.mark.slow
def test_what_a_killed_command_has_left_is_removed_by_the_next(study, lab, monkeypatch):
    engine = lab["server"].engine
    dead = transfer.by().rpartition(":")[0] + ":999999999"
    labels = {"dime": "helper", "dime.key": "0123456789ab", "dime.by": dead}
    container = engine.create(HOLD, {"HostConfig": {"Binds": ["dime-results-0123456789ab:/results"]}, "Labels": labels})
    engine.volumes["dime-results-0123456789ab"].labels = {"dime": "results", "dime.by": dead}
    container.status = "running"
    engine.on_kill = lambda one, wish: one.end(143)
    runs.verify(study, runs=1)
    assert "remove volume dime-results-0123456789ab" in engine.events
    assert left(lab) == [[], []]
