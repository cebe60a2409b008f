"""Docker engines, local or over ssh: connected within bounded time, no call waits for a dead one, failures in words."""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

from dime.contract.errors import ConnectionLostError, DeviceError, NotLetInError
from dime.host.bench import contexts, ssh
from dime.host.bench.containers import Rights
from dime.host.bench.lab import LabDevice
from dime.host.bench.pulse import Pulse

if TYPE_CHECKING:
    import docker
    import paramiko

CONNECT_S = 6.0  # for each of the steps of a connection: reaching the host, greeting, logging in
GREETING_S = 15.0  # for an engine that was reached to say what it is
DEAD_S = 15.0  # for the far side of a connection to acknowledge anything at all
LONG_S = 1800.0  # for one call without a byte, although the engine is alive


@contextmanager
def connect(device: LabDevice) -> Iterator[docker.DockerClient]:
    """Connects to a device's engine.

    Over ssh: as `ssh HOST` would connect (see ``dime.host.bench.ssh``), with the agent's keys too, and only to hosts
    whose key is known. A call may take as long as the engine shows signs of life (see ``dime.host.bench.pulse``).

    Args:
        device: An entry of the lab file with an engine of its own.

    Yields:
        The engine's client.

    Raises:
        ConnectionLostError: It does not answer; the same call may succeed later.
        DeviceError: It answers but does not let us in, or it speaks of something else than Docker.
    """
    import docker

    with translated(device):
        client = docker.DockerClient.__new__(docker.DockerClient)
        client.api = _over_ssh(device) if device.host else _directly(device)
    client.api.timeout = int(LONG_S)
    watch = Pulse(device.name, client.api)
    watch.start()
    try:
        yield client
    finally:
        watch.stop()
        client.close()


def gpus(device: LabDevice) -> Rights:
    """The options that hand a device's GPUs to a container; empty for none."""
    import docker.types

    if not device.gpus:
        return {}
    count = -1 if device.gpus == "all" else int(device.gpus)
    return {"device_requests": [docker.types.DeviceRequest(count=count, capabilities=[["gpu"]])]}


@contextmanager
def translated(device: LabDevice) -> Iterator[None]:
    """Turns what a lost connection, ssh or the engine raises into one clear line with the device's name.

    Args:
        device: Who was spoken to.

    Raises:
        ConnectionLostError: The connection was lost or refused.
        NotLetInError: The person is not let in, or the device is not who it was.
        DeviceError: The engine said no.
    """
    import docker.errors
    import paramiko
    import requests
    import urllib3

    name, host = device.name, device.host or device.engine
    try:
        yield
    except paramiko.BadHostKeyException:
        login = ssh.login(device)
        raise NotLetInError(
            f"{name}: the host key of {host} has changed. If the board was set up anew, type: {login.forget}"
            f" && ssh {login.typed}, and compare the key; if not, somebody may be in between"
        ) from None
    except paramiko.AuthenticationException as error:
        login = ssh.login(device)
        absent = f"; {', '.join(map(str, login.missing))} is not there" if login.missing else ""
        raise NotLetInError(
            f"{name}: {host} accepts none of your ssh keys for {login.user} ({error}{absent}); "
            f"type: ssh-copy-id {login.typed}"
        ) from None
    except paramiko.SSHException as error:
        if "known_hosts" in str(error):
            raise NotLetInError(
                f"{name}: the host key of {host} is not known; type: ssh {ssh.login(device).typed}, and compare the key"
            ) from None
        raise ConnectionLostError(f"{name}: ssh to {host} failed: {error}") from None
    except docker.errors.APIError as error:
        raise DeviceError(f"{name}: the engine refused: {error.explanation or error}") from None
    except docker.errors.DockerException as error:
        if "server API version" not in str(error):  # what the SDK raises before or instead of a question
            raise DeviceError(f"{name}: Docker's client refused: {error}") from None
        raise ConnectionLostError(
            f"{name}: no Docker engine answers at {device.engine}{_hint(device, error)}"
        ) from None
    except (requests.RequestException, urllib3.exceptions.HTTPError, EOFError) as error:
        raise ConnectionLostError(f"{name}: the engine at {host} stopped answering ({type(error).__name__})") from None
    except OSError as error:
        raise ConnectionLostError(
            f"{name}: {host} cannot be reached ({error.strerror or error or 'no answer'})"
        ) from None


def _hint(device: LabDevice, error: Exception) -> str:
    if device.host:
        return f"; type: ssh {ssh.login(device).typed} docker version"
    if "Permission denied" in str(error):
        return "; you may not use its socket: join the group docker, or name an engine of your own"
    return "; is it running?"


def _directly(device: LabDevice) -> docker.APIClient:
    """An API client over a socket of this computer, or over the network where the docker command goes there."""
    import docker

    encrypted = contexts.tls(contexts.endpoint()) if device == this_computer() else False
    return docker.APIClient(device.engine, timeout=int(GREETING_S), tls=encrypted)


def _over_ssh(device: LabDevice) -> docker.APIClient:
    """An API client over an ssh connection of ours: the SDK's own bounds neither the connection nor a dead one."""
    import docker
    import paramiko
    from docker.constants import MINIMUM_DOCKER_API_VERSION
    from docker.transport import SSHHTTPAdapter

    class Bounded(SSHHTTPAdapter):
        def _create_paramiko_client(self, base_url: str) -> None:
            logging.getLogger("paramiko").setLevel(logging.CRITICAL)
            self.ssh_client = paramiko.SSHClient()

        def _connect(self) -> None:
            assert self.ssh_client is not None
            log_in(device, self.ssh_client)

    # The client is made for an address that it never uses, since it would make the SDK's own connection otherwise.
    # Any: its types leave out what begins with an underscore.
    api: Any = docker.APIClient("tcp://ssh:22", version=MINIMUM_DOCKER_API_VERSION, timeout=int(GREETING_S))
    api._custom_adapter = Bounded(device.engine, timeout=int(GREETING_S), pool_connections=9)
    api.mount("http+docker://ssh", api._custom_adapter)
    api.base_url = "http+docker://ssh"
    try:
        api._version = api.version(api_version=False)["ApiVersion"]
    except BaseException:
        api.close()
        raise
    return cast("docker.APIClient", api)


def log_in(device: LabDevice, client: paramiko.SSHClient, dead_s: float = DEAD_S) -> None:
    """Connects to a device's host over ssh, within bounded time, so that no call waits for ever later.

    Args:
        device: The device.
        client: A client.
        dead_s: So long the far side may acknowledge nothing.

    Raises:
        ConnectionLostError: It does not answer.
        DeviceError: Its name is not known.
        paramiko.SSHException: As ``paramiko.SSHClient.connect``; see `translated`.
    """
    login = ssh.login(device)
    if not login.proxy:
        _reach(device, login.host, login.port)
    login.connect(client, CONNECT_S)
    _watch(client, dead_s)


def address_towards(device: LabDevice) -> str:
    """This computer's address as a device sees it, so that nothing else has to be listened at.

    Args:
        device: An entry of the lab file.

    Returns:
        The address; the loopback's for an engine on this computer.

    Raises:
        ConnectionLostError: It does not answer.
        DeviceError: Its name is not known, or it is only reached through another host.
    """
    if not device.host:
        return "127.0.0.1"
    login = ssh.login(device)
    if login.proxy:
        raise DeviceError(f"{device.name}: is behind another host, through which it cannot reach a power logger here")
    return _reach(device, login.host, login.port)


def _reach(device: LabDevice, host: str, port: int) -> str:
    """Fails within CONNECT_S when the host is off, before ssh waits for minutes; gives our address on the way there."""
    try:
        with socket.create_connection((host, port), timeout=CONNECT_S) as probe:
            return str(probe.getsockname()[0])
    except socket.gaierror:
        raise DeviceError(
            f"{device.name}: the name {host} is not known; give its address in lab.toml or in ~/.ssh/config"
        ) from None
    except ConnectionRefusedError:
        raise ConnectionLostError(
            f"{device.name}: {host} is on, but nothing listens at port {port}; is sshd running there?"
        ) from None
    except OSError as error:
        reason = error.strerror or f"no answer in {CONNECT_S:.0f} s"
        raise ConnectionLostError(
            f"{device.name}: {host} does not answer ({reason}); is it switched on and plugged in?"
        ) from None


def _watch(client: paramiko.SSHClient, dead_s: float) -> None:
    """Ends a connection within seconds when the far side is gone, so that no call waits for ever."""
    transport = client.get_transport()
    assert transport is not None
    transport.set_keepalive(max(1, int(dead_s / 3)))
    transport.channel_timeout = dead_s
    if isinstance(transport.sock, socket.socket) and hasattr(socket, "TCP_USER_TIMEOUT"):
        transport.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(dead_s * 1000))


def this_computer() -> LabDevice:
    """The engine of the lab's computer, where the docker command finds it.

    Raises:
        DeviceError: A docker context is chosen that cannot be used.
    """
    return LabDevice(contexts.NAME, engine=contexts.endpoint().address)
