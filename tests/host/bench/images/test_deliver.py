"""Which image runs on a device, and what is told of it, against an engine that is a stand-in."""

import errno
import io

import pytest

from dime.contract.errors import ConnectionLostError, DeviceError
from dime.host.bench import clients
from dime.host.bench.images import deliver
from dime.host.bench.lab import LabDevice
from dime.testing.fake_engine import FakeEngine, RefusalError

REGISTRY = "bench:5000"


@pytest.fixture
def board(tmp_path):
    (tmp_path / "board").mkdir()
    with FakeEngine(tmp_path / "board") as engine:
        yield engine


@pytest.fixture
def here(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    with FakeEngine(tmp_path / "here") as engine:
        monkeypatch.setenv("DOCKER_HOST", engine.address)
        yield engine


def labelled(revision):
    return {deliver.REVISION: revision}


def ensured(board, registry=REGISTRY, image="dime-host", **keys):
    """The image that a device gets, and what was said."""
    said = []
    device = LabDevice("nano", engine=board.address, image=image, **keys)
    with clients.connect(device) as client:
        return deliver.ensure(client, device, registry, said.append), said


def test_the_registrys_image_is_told_with_its_revision(board, here):
    board.registry = {"bench:5000/dime-host:latest": {"digest": "sha256:" + "a" * 64, "revision": "0123456789abcdef"}}
    assert ensured(board)[1] == [
        "pulls bench:5000/dime-host:latest",
        "runs dime-host:latest from the registry bench:5000, revision 0123456789ab",
    ]
    assert ensured(board)[1] == ["runs dime-host:latest from the registry bench:5000, revision 0123456789ab"]


def test_a_registry_that_does_not_answer_is_told_and_what_runs_instead(board, here):
    board.registry = "Get https://bench:5000/v2/: dial tcp: lookup bench: no such host"
    here.add_image("dime-host:latest", labels=labelled("of-archive"))
    said = ensured(board)[1]
    assert said[0].startswith("the registry bench:5000 does not answer the device (Get https://bench:5000/v2/: dial")
    assert said[0].endswith("looks elsewhere")
    assert said[1:] == [
        "streams dime-host:latest from this computer",
        "runs dime-host:latest as it was sent from this computer, revision of-archive",
    ]
    assert ensured(board)[1][1:] == said[2:]
    board.add_image("bench:5000/dime-host:latest", labels=labelled("feed"))
    assert ensured(board)[1][1] == (
        "runs dime-host:latest as it was pulled from the registry bench:5000 before, revision feed"
    )


def test_a_registry_that_lacks_the_image_is_told_as_such(board, here):
    board.registry = {}
    board.add_image("dime-host:latest")
    assert ensured(board)[1] == [
        "the registry bench:5000 has no dime-host:latest; looks elsewhere",
        "runs dime-host:latest as the device has it, of no known revision",
    ]


def test_a_registry_of_plain_http_is_told_with_what_the_device_lacks(board, here):
    board.registry = "http: server gave HTTP response to HTTPS client"
    board.add_image("dime-host:latest")
    assert '/etc/docker/daemon.json there needs "insecure-registries": ["bench:5000"]' in ensured(board)[1][0]


def test_an_image_that_names_its_own_registry_is_asked_for_there(board, here):
    board.registry = {"other.lan/tools/dime-host:v1": {"digest": "sha256:" + "b" * 64, "revision": "beef"}}
    said = ensured(board, image="other.lan/tools/dime-host:v1")[1]
    assert said[-1] == "runs tools/dime-host:v1 from the registry other.lan, revision beef"


@pytest.mark.parametrize(
    ("image", "advice"),
    [
        ("dime-jetson", "type: make build IMAGE=jetson"),
        ("mine/dime-jetson-2", r"none of ours \(dime-host, dime-jetson\)"),
    ],
)
def test_what_is_nowhere_says_how_it_is_made(board, here, image, advice):
    with pytest.raises(DeviceError, match=rf"nano: image {image}:latest is nowhere to be had .*{advice}"):
        ensured(board, registry="", image=image)


def test_a_platform_is_compared_by_its_parts(board, here):
    board.add_image("dime-host:latest", architecture="arm")
    with pytest.raises(DeviceError, match="is for linux/arm, the board needs linux/arm64"):
        ensured(board, registry="", platform="linux/arm64")


def test_what_the_client_refuses_is_no_dead_engine(board):
    from docker.utils import parse_bytes

    device = LabDevice("nano", engine=board.address)
    with pytest.raises(DeviceError, match=r"nano: Docker's client refused: .*8 gigs"), clients.translated(device):
        parse_bytes("8 gigs")


def test_what_an_engine_refuses_is_told_in_its_words(board):
    def refuse(method, path):
        raise RefusalError("out of cheese")

    device = LabDevice("nano", engine=board.address)
    with clients.connect(device) as client, pytest.raises(DeviceError, match="nano: the engine refused: out of cheese"):
        board.before = refuse
        with clients.translated(device):
            client.images.list()


def test_an_image_that_has_arrived_is_not_sent_again_although_the_answer_was_lost(board, here):
    here.add_image("dime-host:latest", labels=labelled("of-archive"))

    def lose(method, path):
        if path == "/images/load":
            raise ConnectionResetError

    board.after = lose
    with pytest.raises(ConnectionLostError, match=r"nano: the engine at .* stopped answering"):
        ensured(board, registry="")
    board.after = lambda method, path: None
    board.calls.clear()
    said = ensured(board, registry="")[1]
    assert said == ["runs dime-host:latest as it was sent from this computer, revision of-archive"]
    assert "POST /images/load" not in board.calls


def test_no_room_for_an_image_here_is_told_of_this_computer(board, here, monkeypatch):
    class Full(io.BytesIO):
        def write(self, block):
            raise OSError(errno.ENOSPC, "No space left on device")

    here.add_image("dime-host:latest")
    monkeypatch.setattr(deliver.tempfile, "TemporaryFile", Full)
    with pytest.raises(DeviceError, match=r"nowhere to be had .*cannot use /.*: No space left on device"):
        ensured(board, registry="")
