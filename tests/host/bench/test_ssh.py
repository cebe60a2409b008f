"""The way to an engine is the one that `ssh HOST` takes; the other side is a real ssh server of this machine."""

import socket
import threading
from contextlib import closing, contextmanager, suppress

import paramiko
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dime.contract.errors import ConnectionLostError, DeviceError
from dime.host.bench import engines, ssh
from dime.host.bench.lab import Device


@pytest.fixture(params=[True, False], ids=["with ssh", "without ssh"])
def home(request, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    (tmp_path / ".ssh").mkdir()
    if not request.param:
        monkeypatch.setenv("PATH", "")
    return tmp_path


def to(name):
    return Device("nano", f"ssh://{name}")


class Server(paramiko.ServerInterface):
    """Lets one key in, and remembers who asked; it runs nothing."""

    def __init__(self, key):
        self.key, self.users, self.host_key = key, [], paramiko.RSAKey.generate(2048)

    def get_allowed_auths(self, username):
        return "publickey"

    def check_auth_publickey(self, username, key):
        self.users.append(username)
        return paramiko.AUTH_SUCCESSFUL if key == self.key else paramiko.AUTH_FAILED


@contextmanager
def serving(key):
    server, transports = Server(key), []
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve():
            with suppress(OSError):
                while True:
                    transports.append(paramiko.Transport(listening.accept()[0]))
                    transports[-1].add_server_key(server.host_key)
                    transports[-1].start_server(threading.Event(), server)

        threading.Thread(target=serve, daemon=True).start()
        yield server, listening.getsockname()[1]
        listening.shutdown(socket.SHUT_RDWR)
    for transport in transports:
        transport.close()


def test_user_keys_and_known_hosts_are_those_of_the_configuration(home):
    key = paramiko.RSAKey.generate(2048)
    key.write_private_key_file(str(home / "mine"))
    with serving(key) as (server, port):
        (home / ".ssh/config").write_text(
            f"Host NaNo\n HostName 127.0.0.1\n Port {port}\n User deployer\n IdentityFile {home}/absent\n"
            f" IdentityFile {home}/mine\n UserKnownHostsFile {home}/hosts\n"
        )
        (home / "hosts").write_text(
            "other ssh-rsa damaged!\n|1|bad|bad ssh-rsa AAAA\n\n# a remark\nhalf\n"
            f"[127.0.0.1]:{port} ssh-rsa {server.host_key.get_base64()}\n"
        )
        with closing(paramiko.SSHClient()) as client:
            ssh.login(to("NaNo")).connect(client, 5)
        assert server.users == ["deployer"]
        with closing(paramiko.SSHClient()) as client:
            ssh.login(to("somebody@NaNo")).connect(client, 5)
        assert server.users == ["deployer", "somebody"]


def test_who_is_refused_is_told_for_which_user_and_which_key_is_missing(home):
    with serving(paramiko.RSAKey.generate(2048)) as (server, port):
        (home / ".ssh/config").write_text(
            f"Host nano\n HostName 127.0.0.1\n Port {port}\n User deployer\n IdentityFile {home}/absent\n"
        )
        (home / ".ssh/known_hosts").write_text(f"[127.0.0.1]:{port} ssh-rsa {server.host_key.get_base64()}\n")
        with (
            pytest.raises(DeviceError, match=r"keys for deployer .*absent is not there.*ssh-copy-id nano$"),
            engines.connect(to("nano")),
        ):
            pass


def test_a_changed_or_revoked_host_key_is_refused_with_what_to_type(home):
    with serving(paramiko.RSAKey.generate(2048)) as (server, port):
        key, known = server.host_key.get_base64(), home / ".ssh/known_hosts"
        known.write_text(f"[127.0.0.1]:{port} ssh-rsa {paramiko.RSAKey.generate(2048).get_base64()}\n")
        with pytest.raises(DeviceError, match=rf"ssh-keygen -R '\[127.0.0.1\]:{port}' && ssh -p {port} me@127"):
            engines.connect(to(f"me@127.0.0.1:{port}")).__enter__()
        known.write_text(f"127.0.0.1 ssh-rsa {key}\n@revoked * ssh-rsa {key}\n")
        with pytest.raises(DeviceError, match="is not known"):
            engines.connect(to(f"me@127.0.0.1:{port}")).__enter__()


def test_an_ipv6_address_reaches_its_socket_or_one_line(home):
    with pytest.raises((DeviceError, ConnectionLostError), match="nano: ::1 "):
        engines.connect(to("me@[::1]:1")).__enter__()


def test_damaged_configuration_is_one_line(home):
    (home / ".ssh/config").write_text("Host nano\n Port notaport\n")
    with pytest.raises(DeviceError, match=r"^nano: .*config[^\n]*$"):
        ssh.login(to("nano"))


def test_includes_and_other_hosts_on_the_way_are_what_ssh_says(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh/config").write_text(f"Include {tmp_path}/more\nHost far\n ProxyJump a,me@b:2222\n")
    (tmp_path / "more").write_text("Host nano\n User deployer\n ProxyCommand reach %h %p %% %r\n")
    assert ssh.login(to("nano")).user == "deployer"
    assert ssh.login(to("nano")).proxy == "reach nano 22 % deployer"
    assert ssh.login(to("far")).proxy.endswith("-J a -W '[far]:22' -- ssh://me@b:2222")


@given(st.binary(max_size=200))
def test_no_line_of_known_hosts_is_worse_than_no_key(tmp_path_factory, content):
    known = tmp_path_factory.mktemp("ssh") / "hosts"
    known.write_bytes(b"nano ssh-rsa " + content + b"\n" + content)
    list(ssh.Login("nano", "nano", 22, "me", (), (), (known,), "nano", "", "nano").host_keys())


def test_a_hashed_name_and_a_pattern_are_found():
    hashed = paramiko.hostkeys.HostKeys.hash_host("nano")
    assert ssh._names(hashed, "nano") and not ssh._names(hashed, "mano")
    assert ssh._names("*.lan,[nano]:22??", "[nano]:2222") and not ssh._names("*,!nano", "nano")
