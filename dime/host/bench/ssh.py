"""What `ssh HOST` would do: whom it logs in as, where, with which keys, and which host keys it trusts."""

from __future__ import annotations

import fnmatch
import getpass
import os
import pwd
import shlex
import shutil
import socket
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dime.contract.errors import DeviceError
from dime.host.bench.lab import Address, LabDevice

if TYPE_CHECKING:
    import paramiko

CONFIG_S = 6.0  # for ssh to read its configuration, in which `Match exec` may run a program of the person's
PORT = 22
DEFAULT_KEYS = ("id_ed25519", "id_ecdsa", "id_rsa")


@dataclass(frozen=True)
class Login:
    """How a device's engine is reached over ssh.

    Attributes:
        device: The device's name.
        host: The host's name or address on the network.
        port: The port of its ssh server.
        user: Who logs in there.
        keys: Files of private keys that are there, in the order in which they are offered.
        missing: Files of private keys that the configuration names and that are not there.
        known_hosts: Files of the host keys that are trusted.
        key_name: The name under which its host key is filed.
        agent: The socket of the agent that holds keys; ``none`` for no agent, empty for the environment's.
        offered: The public halves of the only keys that the agent may offer; None for all that it has.
        proxy: A shell's command whose input and output are the connection; empty for a connection of our own.
        typed: What a person types after `ssh` to get there.
    """

    device: str
    host: str
    port: int
    user: str
    keys: tuple[Path, ...]
    missing: tuple[Path, ...]
    known_hosts: tuple[Path, ...]
    key_name: str
    proxy: str
    typed: str
    agent: str = ""
    offered: frozenset[str] | None = None

    def host_keys(self) -> Iterator[paramiko.PKey]:
        """The host's trusted keys; a line that cannot be read, or is of another host, is passed over as ssh does."""
        from paramiko.hostkeys import HostKeyEntry

        names = {f"[{self.key_name}]:{self.port}", self.key_name} if self.port != PORT else {self.key_name}
        trusted: list[paramiko.PKey] = []
        revoked: list[paramiko.PKey] = []
        for file in self.known_hosts:
            try:
                lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
            except OSError:
                continue
            for line in map(str.strip, lines):
                mark, _, rest = line.partition(" ") if line.startswith("@") else ("", "", line)
                fields = rest.split()
                if len(fields) < 3 or line.startswith("#") or not any(_names(fields[0], name) for name in names):
                    continue
                try:
                    entry = HostKeyEntry.from_line(" ".join(fields[:3]))
                except Exception:  # whatever a library makes of a damaged line
                    continue
                if entry is not None and entry.key is not None and mark in ("", "@revoked"):
                    (revoked if mark else trusted).append(entry.key)
        yield from (key for key in trusted if key not in revoked)

    def connect(self, client: paramiko.SSHClient, bound_s: float) -> None:
        """Connects and logs in, to a host whose key is trusted only.

        Args:
            client: A client; what it knew of hosts before is forgotten.
            bound_s: For each of reaching, greeting and logging in.

        Raises:
            DeviceError: A key's file made the library stumble.
            paramiko.SSHException: As ``paramiko.SSHClient.connect``.
        """
        import paramiko

        known = client.get_host_keys()
        known.clear()
        filed = self.host if self.port == PORT else f"[{self.host}]:{self.port}"
        for host_key in self.host_keys():
            known.add(filed, host_key.get_name(), host_key)
        client.set_missing_host_key_policy(paramiko.RejectPolicy())
        client._agent = _Agent(self)  # type: ignore[attr-defined] # what it would ask the environment's for
        sock = paramiko.ProxyCommand(shlex.join(["sh", "-c", f"exec {self.proxy}"])) if self.proxy else None
        try:
            client.connect(
                self.host,
                self.port,
                self.user,
                key_filename=[str(key) for key in self.keys if _readable(key)],  # type: ignore[arg-type] # it takes several
                look_for_keys=False,
                sock=sock,
                timeout=bound_s,
                banner_timeout=bound_s,
                auth_timeout=bound_s,
            )
        except paramiko.SSHException as error:
            if "No authentication methods" in str(error):  # neither a file nor the agent has a key
                raise paramiko.AuthenticationException("you have none that can be used") from None
            raise
        except (ValueError, TypeError, paramiko.pkey.UnknownKeyType) as error:
            raise DeviceError(f"{self.device}: ssh to {self.host} stumbled over a key: {error}") from None

    @property
    def forget(self) -> str:
        """What a person types to forget the host's key."""
        name = f"[{self.key_name}]:{self.port}" if self.port != PORT else self.key_name
        return shlex.join(["ssh-keygen", "-R", name])


class _Agent:
    """The agent that the configuration names, in the form in which paramiko asks the environment's for its keys."""

    def __init__(self, login: Login):
        self._login = login
        self._agent: paramiko.agent.AgentSSH | None = None

    def get_keys(self) -> Sequence[paramiko.AgentKey]:
        """Its keys, of which ssh would offer; none where it does not answer."""
        import paramiko.agent

        path = self._login.agent or os.environ.get("SSH_AUTH_SOCK", "")
        if path in ("", "none"):
            return ()
        agent = paramiko.agent.AgentSSH()
        sock = socket.socket(socket.AF_UNIX)
        try:
            sock.settimeout(CONFIG_S)
            sock.connect(path)
            agent._connect(sock)  # type: ignore[attr-defined] # to the one that the configuration names
            sock.settimeout(None)  # a person may have to touch something
        except Exception:  # no socket, or something else behind it: ssh goes on with the files
            sock.close()
            return ()
        self._agent = agent
        keys = agent.get_keys()
        offered = self._login.offered
        return tuple(key for key in keys if offered is None or key.get_base64() in offered)

    def close(self) -> None:
        """Lets go of it."""
        if self._agent is not None:
            self._agent._close()  # type: ignore[attr-defined] # as the library does with its own


def _public(path: Path) -> str:
    """The public half of a key's file, which stands beside it, or is the file itself; empty where there is none."""
    for file in (path.with_name(f"{path.name}.pub"), path):
        with suppress(OSError, IndexError, UnicodeDecodeError):
            words = file.read_text(encoding="ascii").split()
            if "-" in words[0] and not words[0].startswith("-"):
                return words[1]
    return ""


def login(device: LabDevice) -> Login:
    """Finds out what `ssh` would do for a device: asked of ssh itself; of ~/.ssh/config where there is no ssh.

    Args:
        device: An entry of the lab file whose engine is reached over ssh.

    Returns:
        The way there.

    Raises:
        DeviceError: ssh's configuration cannot be read; its own words say why.
    """
    address = device.address
    assert address is not None
    settings = _asked(device.name, address) if shutil.which("ssh") else _read(device.name, address.host)

    def last(key: str, default: str) -> str:
        return settings.get(key, [default])[-1]

    user = address.user or last("user", "") or getpass.getuser()
    host, port = last("hostname", address.host), address.port or int(last("port", str(PORT)))
    if not 0 < port < 65536:
        raise DeviceError(f"{device.name}: ssh's configuration says port {port}, which is none")
    alias = last("hostkeyalias", "none")
    named = [_expanded(text) for text in settings.get("identityfile", [])]
    agent = last("identityagent", "SSH_AUTH_SOCK").strip('"')
    agent = os.environ.get(agent[1:].strip("{}"), "") if agent.startswith("$") else agent
    return Login(
        device=device.name,
        host=host,
        port=port,
        user=user,
        keys=tuple(path for path in named if path.is_file()),
        missing=tuple(path for path in named if not path.is_file() and not path.name.startswith("id_")),
        known_hosts=tuple(
            _expanded(text)
            for key in ("userknownhostsfile", "globalknownhostsfile")
            for text in last(key, "").split()
            if text != "none"
        ),
        key_name=(host if alias == "none" else alias).lower(),
        proxy=_proxy(settings, address.host, host, port, user),
        agent="" if agent == "SSH_AUTH_SOCK" else agent if agent == "none" else str(_expanded(agent)),
        offered=frozenset(map(_public, named)) if last("identitiesonly", "no") == "yes" else None,
        typed="".join(
            (
                f"-p {address.port} " if address.port else "",
                f"{address.user}@" if address.user else "",
                address.host,
            )
        ),
    )


def _asked(name: str, address: Address) -> dict[str, list[str]]:
    """What `ssh -G` prints: each setting's values in their order."""
    user, host, port = address
    command = ["ssh", "-G", *(["-l", user] if user else []), *(["-p", str(port)] if port else [])]
    if _home() != _account():
        config = _home() / ".ssh/config"
        command += ["-F", str(config) if config.exists() else "none"]
    try:
        done = subprocess.run(
            [*command, "--", host], stdin=subprocess.DEVNULL, capture_output=True, timeout=CONFIG_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise DeviceError(f"{name}: ssh does not get done with its configuration; type: ssh -G {host}") from None
    except (OSError, ValueError) as error:
        raise DeviceError(f"{name}: ssh cannot be asked about {host}: {error}") from None
    if done.returncode:
        words = done.stderr.decode(errors="replace").strip().splitlines()
        reason = words[0] if words else f"exit status {done.returncode}"
        raise DeviceError(f"{name}: ssh cannot use its configuration ({reason}); type: ssh -G {host}")
    settings: dict[str, list[str]] = {}
    for line in done.stdout.decode(errors="replace").splitlines():
        key, _, value = line.partition(" ")
        settings.setdefault(key.lower(), []).append(value)
    return settings


def _read(name: str, host: str) -> dict[str, list[str]]:
    """Without ssh: ~/.ssh/config as paramiko understands it, which knows no Include."""
    import paramiko

    folder = _home() / ".ssh"
    found: Mapping[str, str | Sequence[str]] = {}
    try:
        if (folder / "config").exists():
            found = paramiko.SSHConfig.from_path(str(folder / "config")).lookup(host)
    except Exception as error:  # a person's file in a library's hands
        raise DeviceError(f"{name}: {folder / 'config'} cannot be read ({error}), and there is no ssh here") from None
    settings = {key: [value] if isinstance(value, str) else list(value) for key, value in found.items()}
    if not settings.get("port", ["22"])[-1].isdigit():
        raise DeviceError(f"{name}: {folder / 'config'}: port '{settings['port'][-1]}' is no number")
    settings.setdefault("identityfile", [str(folder / key) for key in DEFAULT_KEYS])
    settings.setdefault("userknownhostsfile", [str(folder / "known_hosts")])
    settings.setdefault("globalknownhostsfile", ["/etc/ssh/ssh_known_hosts"])
    return settings


def _proxy(settings: Mapping[str, list[str]], alias: str, host: str, port: int, user: str) -> str:
    """The command in place of a connection of our own; ssh itself goes through other hosts the same way."""
    jumps = settings.get("proxyjump", ["none"])[-1]
    if jumps != "none":
        hops = jumps.split(",")
        through = hops[-1] if hops[-1].startswith("ssh://") else f"ssh://{hops[-1]}"
        before = ["-J", ",".join(hops[:-1])] if hops[1:] else []
        config = ["-F", str(_home() / ".ssh/config")] if _home() != _account() else []
        bounds = ["-o", "BatchMode=yes", "-o", f"ConnectTimeout={CONFIG_S:.0f}"]
        return shlex.join(["ssh", *config, *bounds, *before, "-W", f"[{host}]:{port}", "--", through])
    command = settings.get("proxycommand", ["none"])[-1]
    if command == "none":
        return ""
    known = {"%%": "%", "%h": host, "%p": str(port), "%r": user, "%n": alias}
    parts, rest = [], command
    while rest:
        word = rest[:2] if rest[:2] in known else rest[:1]
        parts.append(known.get(word, word))
        rest = rest[len(word) :]
    return "".join(parts).removeprefix("exec ")


def _names(patterns: str, name: str) -> bool:
    """Whether a line of known_hosts is of this host: hashed, or patterns of which none refuses it."""
    from paramiko.hostkeys import HostKeys

    if patterns.startswith("|1|"):
        try:
            return HostKeys.hash_host(name, patterns) == patterns
        except Exception:  # a damaged salt
            return False
    words = [word.lower().replace("[", "[[]") for word in patterns.split(",")]
    if any(word.startswith("!") and fnmatch.fnmatchcase(name, word[1:]) for word in words):
        return False
    return any(fnmatch.fnmatchcase(name, word) for word in words)


def _readable(path: Path) -> bool:
    """Whether a private key's file can be used as it is; one with a passphrase is the agent's to hold."""
    import paramiko

    try:
        paramiko.PKey.from_path(str(path))
    except Exception:  # no key, one with a passphrase, of an unknown kind, or not ours to read: ssh passes over it
        return False
    return True


def _expanded(text: str) -> Path:
    """A path of ssh's. Where HOME names another folder than the account's, that one's .ssh is meant."""
    text = text.strip('"')
    home, account = _home(), _account()
    for start in ("~/", "%d/", f"{account}/.ssh/"):
        if text.startswith(start):
            return home / (".ssh/" if ".ssh" in start else "") / text[len(start) :]
    return Path(text)


def _home() -> Path:
    return Path(os.environ.get("HOME") or _account())


def _account() -> Path:
    try:
        return Path(pwd.getpwuid(os.getuid()).pw_dir)
    except KeyError:
        return Path("/nonexistent")
