"""The way to an engine is the one that `ssh HOST` takes; the other side is a real ssh server of this machine."""

import os
import shutil
import socket
import subprocess
import threading
import time
from contextlib import closing, contextmanager, suppress

import paramiko
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dime.contract.errors import ConnectionLostError, DeviceError
from dime.host.bench import clients, ssh
from dime.host.bench.lab import LabDevice


@pytest.fixture(params=[True, False], ids=["with ssh", "without ssh"])
def home(request, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    (tmp_path / ".ssh").mkdir()
    if not request.param:
        monkeypatch.setenv("PATH", "")
    return tmp_path


def to(name):
    return LabDevice("nano", f"ssh://{name}")


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


@pytest.fixture
def agent(tmp_path):
    """An agent with two keys, of which neither has a file; gives its socket and the keys."""
    if not shutil.which("ssh-agent"):
        pytest.skip("there is no ssh-agent here")
    path = f"{tmp_path}/agent"
    process = subprocess.Popen(["ssh-agent", "-D", "-a", path], stdout=subprocess.DEVNULL)
    keys = [paramiko.RSAKey.generate(2048) for _ in range(2)]
    for key in keys:
        file = tmp_path / "key"
        key.write_private_key_file(str(file))
        for _ in range(100):
            if not subprocess.run(
                ["ssh-add", "-q", file], env={**os.environ, "SSH_AUTH_SOCK": path}, check=False
            ).returncode:
                break
            time.sleep(0.05)
        file.unlink()
    yield path, keys
    process.terminate()
    process.wait()


def test_the_agent_is_the_one_that_the_configuration_names(agent, home, monkeypatch):
    path, (other, key) = agent
    monkeypatch.setenv("MINE", path)
    with serving(key) as (server, port):
        (home / "mine.pub").write_text(f"ssh-rsa {key.get_base64()} me\n")
        (home / "other.pub").write_text(f"ssh-rsa {other.get_base64()} me\n")
        (home / ".ssh/config").write_text(
            f"Host right\n IdentityAgent {path}\n"
            "Host variable\n IdentityAgent $MINE\n"
            f"Host only\n IdentityAgent {path}\n IdentitiesOnly yes\n IdentityFile {home}/mine.pub\n"
            f"Host another\n IdentityAgent {path}\n IdentitiesOnly yes\n IdentityFile {home}/other\n"
            "Host none\n IdentityAgent none\n"
            f"Host gone\n IdentityAgent {home}/nobody\n"
            f"Host *\n HostName 127.0.0.1\n Port {port}\n User me\n"
        )
        (home / ".ssh/known_hosts").write_text(f"[127.0.0.1]:{port} ssh-rsa {server.host_key.get_base64()}\n")

        def tried(name):
            with closing(paramiko.SSHClient()) as client:
                try:
                    ssh.login(to(name)).connect(client, 5)
                except paramiko.AuthenticationException:
                    return "refused"
            return "in"

        names = ("right", "variable", "only", "another", "none", "gone")
        assert [tried(name) for name in names] == ["in", "in", "in", "refused", "refused", "refused"]
        monkeypatch.setenv("SSH_AUTH_SOCK", path)
        assert [tried(name) for name in ("unnamed", "none")] == ["in", "refused"]


def test_who_is_refused_is_told_for_which_user_and_which_key_is_missing(home):
    with serving(paramiko.RSAKey.generate(2048)) as (server, port):
        (home / ".ssh/config").write_text(
            f"Host nano\n HostName 127.0.0.1\n Port {port}\n User deployer\n IdentityFile {home}/absent\n"
        )
        (home / ".ssh/known_hosts").write_text(f"[127.0.0.1]:{port} ssh-rsa {server.host_key.get_base64()}\n")
        with (
            pytest.raises(DeviceError, match=r"keys for deployer .*absent is not there.*ssh-copy-id nano$"),
            clients.connect(to("nano")),
        ):
            pass


def test_a_changed_or_revoked_host_key_is_refused_with_what_to_type(home):
    with serving(paramiko.RSAKey.generate(2048)) as (server, port):
        key, known = server.host_key.get_base64(), home / ".ssh/known_hosts"
        known.write_text(f"[127.0.0.1]:{port} ssh-rsa {paramiko.RSAKey.generate(2048).get_base64()}\n")
        with pytest.raises(DeviceError, match=rf"ssh-keygen -R '\[127.0.0.1\]:{port}' && ssh -p {port} me@127"):
            clients.connect(to(f"me@127.0.0.1:{port}")).__enter__()
        known.write_text(f"127.0.0.1 ssh-rsa {key}\n@revoked * ssh-rsa {key}\n")
        with pytest.raises(DeviceError, match="is not known"):
            clients.connect(to(f"me@127.0.0.1:{port}")).__enter__()


def test_an_ipv6_address_reaches_its_socket_or_one_line(home):
    with pytest.raises((DeviceError, ConnectionLostError), match="nano: ::1 "):
        clients.connect(to("me@[::1]:1")).__enter__()


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


KEYWORDS = ("Host", "Match", "HostName", "Port", "User", "IdentityFile", "IdentityAgent", "ProxyJump", "ProxyCommand",
            "UserKnownHostsFile", "HostKeyAlias", "IdentitiesOnly", "Include")  # fmt: skip
WORDS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12) | st.sampled_from(
    ("nano", "*", "none", "%h", "%d/x", "${HOME}", "$X", "~/x", '"', "'", "all", "exec true", "[::1]", "99999", "-oX")
)
LINES = st.lists(st.tuples(st.sampled_from(KEYWORDS), st.sampled_from((" ", "=", "\t", "")), WORDS), max_size=6)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(LINES, st.binary(max_size=20))
def test_no_configuration_is_worse_than_a_line(home, lines, rest):
    text = "\n".join(f"{key}{between}{word}" for key, between, word in lines if "exec" not in word or key != "Match")
    (home / ".ssh/config").write_bytes(text.encode() + b"\n" + (rest if b"xec" not in rest else b""))
    try:
        found = ssh.login(to("nano"))
    except DeviceError as error:
        assert str(error).startswith("nano: ") and "\n" not in str(error)
    else:
        assert found.host and 0 < found.port < 65536
        list(found.host_keys())


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_no_line_of_known_hosts_is_worse_than_no_key(tmp_path_factory, content):
    known = tmp_path_factory.mktemp("ssh") / "hosts"
    known.write_bytes(b"nano ssh-rsa " + content + b"\n" + content)
    list(ssh.Login("nano", "nano", 22, "me", (), (), (known,), "nano", "", "nano").host_keys())


def test_a_hashed_name_and_a_pattern_are_found():
    hashed = paramiko.hostkeys.HostKeys.hash_host("nano")
    assert ssh._names(hashed, "nano") and not ssh._names(hashed, "mano")
    assert ssh._names("*.lan,[nano]:22??", "[nano]:2222") and not ssh._names("*,!nano", "nano")
