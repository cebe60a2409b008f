"""What goes wrong on the way to an engine, with real sockets of this machine."""

import contextlib
import socket
import threading
import time

import pytest

from dime.contract.errors import ConnectionLostError, DeviceError
from dime.host.bench import clients
from dime.host.bench.lab import LabDevice


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))


def refuse(engine):
    with clients.connect(LabDevice("nano", engine)):
        pass


def test_no_engine_behind_a_socket(home, tmp_path):
    with pytest.raises(ConnectionLostError, match=r"nano: no Docker engine answers at unix://.*is it running"):
        refuse(f"unix://{tmp_path}/docker.sock")


def test_nothing_listens(home):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(ConnectionLostError, match=rf"nano: 127.0.0.1 is on, but nothing listens at port {port}"):
        refuse(f"ssh://me@127.0.0.1:{port}")


def test_an_unknown_name(home):
    with pytest.raises(DeviceError, match=r"nano: the name nowhere.invalid is not known; give its address"):
        refuse("ssh://me@nowhere.invalid")


def test_something_that_accepts_and_says_nothing_ends_in_bounded_time(home, monkeypatch):
    monkeypatch.setattr(clients, "CONNECT_S", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as server:
        started = time.monotonic()
        with pytest.raises(ConnectionLostError, match=r"nano: ssh to 127\.0\.0\.1 failed"):
            refuse(f"ssh://me@127.0.0.1:{server.getsockname()[1]}")
        assert time.monotonic() - started < 15


def test_a_host_whose_key_is_not_known_is_refused(home):
    import paramiko

    class Host(paramiko.ServerInterface):
        pass

    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve():
            for _ in range(2):  # the first connection only asks whether somebody is there
                connection, _ = server.accept()
                transport = paramiko.Transport(connection)
                transport.add_server_key(paramiko.RSAKey.generate(2048))
                with contextlib.suppress(paramiko.SSHException, EOFError):
                    transport.start_server(server=Host())

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        with pytest.raises(
            DeviceError, match=r"nano: the host key of 127.0.0.1 is not known; type: ssh -p \d+ me@127.0.0.1"
        ):
            refuse(f"ssh://me@127.0.0.1:{server.getsockname()[1]}")


def test_our_address_is_found_through_what_ssh_knows_of_a_name(home, tmp_path):
    (tmp_path / ".ssh").mkdir()
    with socket.create_server(("127.0.0.1", 0)) as server:
        text = f"Host nano\n  HostName 127.0.0.1\n  Port {server.getsockname()[1]}\nHost far\n  ProxyJump nano\n"
        (tmp_path / ".ssh/config").write_text(text)
        assert clients.address_towards(LabDevice("nano", "ssh://me@nano")) == "127.0.0.1"
    assert clients.address_towards(LabDevice("here", "unix:///var/run/docker.sock")) == "127.0.0.1"
    with pytest.raises(DeviceError, match="far: is behind another host"):
        clients.address_towards(LabDevice("far", "ssh://me@far"))
