"""A port of a device, reached from this computer: through ssh to its engine's host, or directly where that is here."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from dime.contract.errors import DeviceError
from dime.contract.frames import LOOPBACK
from dime.host.bench import clients
from dime.host.bench.lab import LabDevice

if TYPE_CHECKING:
    import paramiko

PROHIBITED = 1  # SSH_OPEN_ADMINISTRATIVELY_PROHIBITED, RFC 4254
PIECE_BYTES = 1 << 16
LOOK_S = 0.5
DEAD_S = 6.0  # so that whoever waits for the far side knows soon that it is gone
CALLS = 8


@contextmanager
def opened(device: LabDevice, address: str, port: int) -> Iterator[tuple[str, int]]:
    """Where this computer reaches a port that something listens at on a device.

    Args:
        device: The device.
        address: The device's address at which it is listened.
        port: The port.

    Yields:
        An address and a port for this computer's own calls.

    Raises:
        ConnectionLostError: The device's host does not answer.
        DeviceError: Its ssh server forwards no ports.
    """
    if not device.host:
        yield address, port
        return
    import paramiko

    client = paramiko.SSHClient()
    try:
        with clients.translated(device):
            clients.log_in(device, client, DEAD_S)
        transport = client.get_transport()
        assert transport is not None
        _try(device, transport, (address, port))
        with socket.create_server((LOOPBACK, 0), backlog=CALLS) as listener:
            listener.settimeout(LOOK_S)
            over = threading.Event()
            calls = threading.Thread(target=_accept, args=(listener, transport, (address, port), over), daemon=True)
            calls.start()
            try:
                yield LOOPBACK, int(listener.getsockname()[1])
            finally:
                over.set()
                calls.join()
    finally:
        client.close()


def _try(device: LabDevice, transport: paramiko.Transport, target: tuple[str, int]) -> None:
    """Finds out whether the ssh server forwards, before a caller is left without an answer."""
    import paramiko

    try:
        with clients.translated(device):
            _channel(transport, target).close()
    except DeviceError as error:
        cause = error.__context__
        if isinstance(cause, paramiko.ChannelException) and cause.code == PROHIBITED:
            raise DeviceError(
                f"{device.name}: its ssh server forwards no ports; set AllowTcpForwarding there to yes or local"
            ) from None
        raise


def _channel(transport: paramiko.Transport, target: tuple[str, int]) -> paramiko.Channel:
    return transport.open_channel("direct-tcpip", target, (LOOPBACK, 0), timeout=clients.CONNECT_S)


def _accept(
    listener: socket.socket, transport: paramiko.Transport, target: tuple[str, int], over: threading.Event
) -> None:
    """Joins every call to a connection of its own on the device."""
    while not over.is_set():
        try:
            caller = listener.accept()[0]
        except TimeoutError:
            continue
        except OSError:
            return
        threading.Thread(target=_join, args=(caller, transport, target), daemon=True).start()


def _join(caller: socket.socket, transport: paramiko.Transport, target: tuple[str, int]) -> None:
    with caller, suppress(Exception):  # whoever called sees that the connection ended
        caller.setblocking(True)
        channel = _channel(transport, target)
        back = threading.Thread(target=_carry_back, args=(channel, caller), daemon=True)
        back.start()
        try:
            while data := caller.recv(PIECE_BYTES):
                channel.sendall(data)
        finally:
            channel.close()
            back.join()


def _carry_back(channel: paramiko.Channel, caller: socket.socket) -> None:
    with suppress(Exception):
        while data := channel.recv(PIECE_BYTES):
            caller.sendall(data)
    with suppress(OSError):
        caller.shutdown(socket.SHUT_RDWR)
