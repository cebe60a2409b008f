"""What is told and what is left when something fails on the way out."""

import pytest

from dime.contract import messages
from dime.contract.errors import DeviceError
from dime.host.bench import cleanup, connection, fleet, transfer
from dime.host.bench.engines import docker
from dime.host.bench.session import results
from dime.testing import fake_engine

LEDGER = {"clocks_to_restore.json": b"[]"}


@pytest.fixture(autouse=True)
def soon(monkeypatch):
    monkeypatch.setattr(docker, "POLL_S", 0.02)
    monkeypatch.setattr(results, "STOP_S", 0.5)
    monkeypatch.setattr(transfer, "END_POLL_S", 0.02)
    monkeypatch.setattr(connection, "RETRY_S", 0.02)


def left(engine):
    return [name for name in engine.leftovers() if "results" in name or name == "dime-profile"]


def fail(container):
    container.put(**fake_engine.files(2, "running"), **LEDGER)
    container.say(messages.encode("error", text="the disk is full"))
    container.end(1)


def test_why_a_run_failed_is_told_before_why_its_clocks_stay_fixed(engine, job):
    engine.profile, engine.restore_code = fail, 1
    with pytest.raises(DeviceError, match=r"^nano: the disk is full; and then: nano: its clocks .*the kernel refused"):
        fleet.profile([job(set_clock=True)])
    assert len(left(engine)) == 2, "what puts the clocks back is gone"


def test_why_a_run_does_not_start_is_told_whatever_the_clean_up_does(engine, job):
    def refuse(method, path):
        if path.endswith("/start"):
            tried.append(path)
            raise fake_engine.RefusalError("could not select device driver")
        if method == "DELETE" and tried:
            raise fake_engine.RefusalError("cannot remove")

    tried = []
    engine.before = refuse
    with pytest.raises(DeviceError, match=r"cannot hand out GPUs"):
        fleet.profile([job()])


def test_a_full_disk_is_told_whatever_the_clean_up_does(engine, job):
    def refuse(method, path):
        if method == "PUT":
            raise fake_engine.RefusalError("no space left on device")
        if path.startswith("/volumes/dime-samples"):
            raise fake_engine.RefusalError("cannot remove")

    engine.before = refuse
    with pytest.raises(DeviceError, match=r"nano: the disk is full"):
        fleet.profile([job()])


def test_clocks_are_put_back_before_anything_is_removed(engine):
    run = engine.run()
    run.put(**LEDGER)
    run.status = "running"
    engine.on_kill = lambda container, wish: container.end(143)
    cleanup.clean(engine.device(set_clock=True))
    order = [next((n for n, e in enumerate(engine.events) if e.startswith(start)), None) for start in (
        "kill dime-profile SIGTERM", "start restore", "remove restore", "remove profile", "remove volume dime-results",
        "remove image",
    )]  # fmt: skip
    assert order == sorted(order), engine.events
    assert engine.leftovers() == []


def test_a_run_that_does_not_hear_is_killed(engine, monkeypatch):
    run = engine.run()
    run.status = "running"
    engine.on_kill = lambda container, wish: container.end(137) if wish == "SIGKILL" else None
    monkeypatch.setattr(results, "STOP_S", 0.1)
    assert "container dime-profile" in cleanup.clean(engine.device())


def test_where_clocks_cannot_be_put_back_what_was_saved_of_them_stays(engine):
    engine.run().put(**LEDGER)
    engine.volumes["dime-samples-x"] = fake_engine.Volume({"dime": "samples"})
    engine.volumes["somebodys"] = fake_engine.Volume({})
    engine.restore_code = 1
    told = []
    with pytest.raises(DeviceError, match=r"nano: its clocks could not be .*; reboot it, then type: make clean"):
        cleanup.clean(engine.device(set_clock=True), told=told.append)
    assert told == ["volume dime-samples-x"]
    assert sorted(left(engine)) == ["dime-profile", "dime-results-0123456789ab"]
    assert engine.images
    engine.restore_code = 0
    cleanup.clean(engine.device(set_clock=True))
    assert engine.leftovers() == ["somebodys"]
    assert engine.images == []


def test_a_volume_whose_container_is_gone_may_hold_clocks_too(engine):
    engine.containers.pop(engine.run().id)
    engine.restore_code = 1
    with pytest.raises(DeviceError, match="its clocks could not be put back"):
        cleanup.clean(engine.device(set_clock=True))
    assert left(engine) == ["dime-results-0123456789ab"]
    engine.images, images = [], engine.images
    with pytest.raises(DeviceError, match="no image is there that puts them back; make doctor DEVICE=nano brings it"):
        cleanup.clean(engine.device(set_clock=True))
    engine.images, engine.restore_code = images, 0
    cleanup.clean(engine.device(set_clock=True))
    assert left(engine) == []


def test_a_run_that_could_change_clocks_is_known_by_itself(engine):
    run = engine.run()
    run.config["HostConfig"]["Privileged"] = True
    cleanup.clean(engine.device(set_clock=False))
    assert any(event.startswith("start restore") for event in engine.events)


@pytest.mark.parametrize("by", ["profile", "collect"])
def test_a_complete_run_that_left_clocks_fixed_is_not_removed_before_they_are_back(engine, job, by):
    def work(container):
        container.put(**fake_engine.files(), **LEDGER)
        container.end()

    def fetch():
        if by == "profile":
            engine.profile = work
            fleet.profile([job(set_clock=True)])
        else:
            if not engine.containers:
                work(engine.run())
            fleet.collect(engine.device(set_clock=True), job().out.parents[1])

    engine.restore_code = 1
    with pytest.raises(DeviceError, match="its clocks could not be put back"):
        fetch()
    assert left(engine)
    engine.restore_code = 0
    fetch()
    assert left(engine) == []
    assert {path.name for path in job().out.iterdir()} == {"run.json", "timings.csv"}
