"""A link between two containers, on engines of this process whose containers are processes of this computer."""

import pytest

from dime.contract.errors import DeviceError, InputError
from dime.host.bench import link_ends
from dime.host.bench.lab import LabDevice
from dime.host.campaign import link as campaign
from dime.host.profiles import link_profile
from dime.testing import fake_engine
from tests.host.bench import contained


@pytest.fixture
def engines(tmp_path):
    """Two engines; a container's command is run here, with its files in a folder of its own."""
    with contained.hosts(tmp_path, "nano", "pc") as found:
        yield {name: host.engine for name, host in found.items()}


def lab(tmp_path, engines):
    entries = [
        f'[{name}]\nengine = "{engine.address}"\nimage = "dime-host:latest"\n' for name, engine in engines.items()
    ]
    (tmp_path / "lab.toml").write_text("\n".join(entries))
    return str(tmp_path / "lab.toml")


def measured(tmp_path, engines, **how):
    options = {"iterations": 2, "runs": 1, "largest_bytes": 10_000, "results": str(tmp_path / "results")}
    return campaign.measure("nano", "pc", lab=lab(tmp_path, engines), **{**options, **how})


def test_a_link_between_two_containers_is_measured_and_nothing_is_left(tmp_path, engines):
    found = measured(tmp_path, engines)
    assert (found.origin, len(found.passes)) == ("measured", 2)
    assert link_profile.read(tmp_path / "results/links/nano-pc/001").passes == found.passes
    for engine in engines.values():
        assert engine.leftovers() == []
        assert engine.unlabelled() == []


def test_containers_of_one_engine_do_not_wait_for_each_other(tmp_path, engines):
    engines["pc"] = engines["nano"]
    assert len(measured(tmp_path, engines).passes) == 2
    assert engines["nano"].leftovers() == []


def test_a_device_that_is_held_is_not_taken(tmp_path, engines):
    engines["pc"].run().status = "running"
    with pytest.raises(DeviceError, match="pc: is held by me@here since then"):
        measured(tmp_path, engines)
    assert engines["nano"].leftovers() == []


@pytest.mark.parametrize("name", ["nano", "pc"])
def test_an_end_that_fails_is_said_in_one_line_and_nothing_is_left(tmp_path, engines, name):
    def fail(container):
        container.say(fake_engine.messages.encode("error", text="no such verb here"))
        container.end(1)

    engines[name].work = fail
    with pytest.raises(DeviceError, match="no such verb here") as told:
        measured(tmp_path, engines)
    assert "\n" not in str(told.value)
    assert [engine.leftovers() for engine in engines.values()] == [[], []]


def test_an_end_that_ends_without_a_word_is_said(tmp_path, engines):
    engines["pc"].work = lambda container: container.end(1)
    with pytest.raises(DeviceError, match="pc: its end of the link does not say where it listens"):
        measured(tmp_path, engines)


def test_an_emulated_link_is_between_processes(tmp_path, engines):
    with pytest.raises(InputError, match="between processes of this computer"):
        measured(tmp_path, engines, emulate="WiFi")


def test_who_listens_does_so_where_it_is_called():
    here, there = LabDevice("a"), LabDevice("b", "unix:///var/run/docker.sock")
    far = LabDevice("c", "ssh://dime@127.0.0.9")
    assert link_ends.address(here, there) == "127.0.0.1"
    assert link_ends.address(here, far) == "127.0.0.9"
    assert link_ends.address(far, LabDevice("d", "ssh://dime@127.0.0.9")) == "127.0.0.1"
