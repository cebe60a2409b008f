"""A call may take as long as its engine is alive, and no longer: over a socket of this machine, and over ssh."""

import socket
import threading
import time
from contextlib import contextmanager, suppress

import paramiko
import pytest

from dime.contract.errors import ConnectionLostError
from dime.host.bench import clients, pulse
from dime.host.bench.lab import LabDevice
from dime.testing.fake_engine import FakeEngine
from tests.host.bench.test_ssh import Server


@pytest.fixture
def quick(monkeypatch):
    """Everything 50 times as fast."""
    monkeypatch.setattr(pulse, "BEAT_S", 0.1)
    monkeypatch.setattr(pulse, "ANSWER_S", 0.3)
    monkeypatch.setattr(pulse, "SAY_S", 0.4)


class Bridge(Server):
    """An ssh server whose commands speak to an engine's socket."""

    def __init__(self, key, path):
        super().__init__(key)
        self.path = path

    def check_channel_request(self, kind, chanid):
        return paramiko.OPEN_SUCCEEDED

    def check_channel_exec_request(self, channel, command):
        engine = socket.socket(socket.AF_UNIX)
        engine.connect(self.path)

        def carry(source, target):
            with suppress(OSError, EOFError):
                while block := source.recv(65536):
                    target.sendall(block)

        for ends in ((channel, engine), (engine, channel)):
            threading.Thread(target=carry, args=ends, daemon=True).start()
        return True


@contextmanager
def over_ssh(engine, folder):
    """The address of an ssh server in front of an engine."""
    key = paramiko.RSAKey.generate(2048)
    key.write_private_key_file(str(folder / "key"))
    server, transports = Bridge(key, engine.path), []
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        (folder / ".ssh").mkdir()
        (folder / ".ssh/config").write_text(
            f"Host board\n HostName 127.0.0.1\n Port {port}\n User me\n IdentityFile {folder}/key\n"
        )
        (folder / ".ssh/known_hosts").write_text(f"[127.0.0.1]:{port} ssh-rsa {server.host_key.get_base64()}\n")

        def serve():
            with suppress(OSError, paramiko.SSHException, EOFError):
                while True:
                    connection = listening.accept()[0]
                    transports.append(paramiko.Transport(connection))
                    transports[-1].add_server_key(server.host_key)
                    with suppress(paramiko.SSHException, EOFError):  # the first only asks whether somebody is there
                        transports[-1].start_server(server=server)

        threading.Thread(target=serve, daemon=True).start()
        yield "ssh://board"
        listening.shutdown(socket.SHUT_RDWR)
    for transport in transports:
        transport.close()


@pytest.fixture(params=["unix", "ssh"])
def board(request, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    with FakeEngine(tmp_path, "dime-host:latest") as engine:
        if request.param == "unix":
            yield engine, LabDevice("nano", engine=engine.address)
        else:
            with over_ssh(engine, tmp_path) as address:
                yield engine, LabDevice("nano", engine=address)


def test_a_long_call_goes_on_while_the_engine_is_alive(board, quick, capsys, monkeypatch):
    """Thirty beats, four times what a dead engine is given."""
    engine, device = board
    monkeypatch.setattr(clients, "GREETING_S", 1.0)
    with clients.connect(device) as client, clients.translated(device):
        engine.before = lambda method, path: time.sleep(3) if path == "/containers/create" else None
        client.containers.create("dime-host:latest", name="x")
    assert "nano: making a container takes its time, " in capsys.readouterr().err
    assert engine.leftovers() == ["x"]


@pytest.mark.parametrize("moment", ["before", "while it answers"])
def test_a_dead_engine_ends_the_call(board, quick, moment):
    engine, device = board
    hung = threading.Event()
    started = time.monotonic()

    def wait():
        with clients.connect(device) as client, clients.translated(device):
            if moment == "before":
                engine.before = lambda method, path: hung.wait(20)
                client.images.list()
            engine.stall = hung
            for _ in client.api.pull("dime-host", "x", stream=True, decode=True):
                engine.before = lambda method, path: hung.wait(20)

    with pytest.raises(ConnectionLostError, match="nano: "):
        wait()
    hung.set()
    assert time.monotonic() - started < 10


def test_nothing_is_asked_of_an_engine_while_nothing_is_wanted(board, quick):
    engine, device = board
    with clients.connect(device) as client:
        client.images.list()
        engine.calls.clear()
        time.sleep(0.6)
    assert engine.calls == []
