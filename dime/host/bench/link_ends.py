"""The two ends of a link that is measured, each where its device's engine runs things: a process here, or a container.

A container is in its host's network, holds its device meanwhile, and is gone afterwards whatever ended it. The device
that answers listens at the loopback where both are on one computer, else at the address by which it is reached.
"""

from __future__ import annotations

import math
import secrets
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from dime.contract import files, messages
from dime.contract.errors import DeviceError
from dime.contract.frames import LOOPBACK
from dime.host.bench import answers, clients, engines, lock, ssh, transfer
from dime.host.bench.engines import process
from dime.host.bench.images import deliver
from dime.host.bench.lab import LabDevice
from dime.host.bench.session.judge import ENDED
from dime.host.common import console, progress

if TYPE_CHECKING:
    from docker.models.containers import Container

TOKEN, OUT = "/volume/token", "/tmp/out"
WHAT = "a link's measurement"
START_S, POLL_S = 60.0, 0.2


def address(edge: LabDevice, server: LabDevice) -> str:
    """Where the server listens, and the edge device calls it.

    Raises:
        DeviceError: The server's name is not known, or it is only reached through another host.
    """
    if edge.host == server.host:
        return LOOPBACK
    if not server.host:
        return clients.address_towards(edge)
    login = ssh.login(server)
    if login.proxy:
        raise DeviceError(f"{server.name}: is behind another host, through which {edge.name} cannot call it")
    try:
        return str(socket.getaddrinfo(login.host, None, type=socket.SOCK_STREAM)[0][4][0])
    except OSError:
        raise DeviceError(f"{server.name}: the name {login.host} is not known") from None


@contextmanager
def answering(
    device: LabDevice, words: Sequence[str], token: Path, registry: str, holds: bool = True
) -> Iterator[object]:
    """The device that answers; gives the port at which it says that it listens.

    Args:
        device: The device.
        words: The device side's arguments without the token's file.
        token: The file on this computer that holds the token.
        registry: The lab's registry; empty for none.
        holds: Whether it holds its engine; not where the other end does.
    """
    if not engines.of(device).is_apart:
        with process.serving([*words, f"--token={token}"], device.name) as said:
            yield said[0].get("port")
        return
    with _container(device, words, token, registry, holds) as container:
        for line in _lines(container, time.monotonic() + START_S):
            message = messages.decode(line)
            if message is not None and message["kind"] == "error":
                raise DeviceError(f"{device.name}: {message['text'][: answers.ERROR_WORDS]}")
            if message is not None and message["kind"] == "description":
                yield message["facts"].get("port")
                return
        raise DeviceError(f"{device.name}: its end of the link does not say where it listens")


def measure(device: LabDevice, words: Sequence[str], token: Path, registry: str, table: Path, label: str) -> None:
    """Has the other device send, and brings the table home.

    Args:
        device: The device.
        words: The device side's arguments without the token's file and the folder.
        token: The file on this computer that holds the token.
        registry: The lab's registry; empty for none.
        table: Where the table goes; its folder is made.
        label: What the progress is called.

    Raises:
        DeviceError: It failed; the message has its last words.
    """
    if not engines.of(device).is_apart:
        process.run([*words, f"--token={token}", f"--out={table.parent}"], label, "exchange")
        return
    with _container(device, [*words, f"--out={OUT}"], token, registry, True) as container:
        heard = answers.Messages()
        progress.follow((heard.take(line)[1] for line in _lines(container)), label, "exchange")
        content = transfer.read(container, f"{OUT}/{table.name}")
    if content is None:
        raise DeviceError(f"{device.name}: its table of the link is not there")
    table.parent.mkdir()
    files.new(table, content)


@contextmanager
def _container(device: LabDevice, words: Sequence[str], token: Path, registry: str, holds: bool) -> Iterator[Container]:
    """A container that runs a verb in its host's network."""

    def say(text: str) -> None:
        console.tell(f"{device.name}: {text}")

    with clients.connect(device) as client, clients.translated(device):
        image = deliver.ensure(client, device, registry, say)
        if holds:
            lock.make_way(client, device)
        volume = f"{transfer.RESULTS}link-{secrets.token_hex(6)}"
        client.volumes.create(volume, labels={transfer.LABEL: "results"})
        try:
            with transfer.helper(
                client,
                image,
                volume,
                False,
                lock.HOLD if holds else "",
                lock.marks(WHAT),
                entrypoint=[*transfer.ENTRY, *words, f"--token={TOKEN}"],
                network_mode="host",
            ) as container:
                transfer.put(container, TOKEN, token.read_bytes())
                container.start()
                yield container
        finally:
            transfer.discard(client, volume)


def _lines(container: Container, until_s: float = math.inf) -> Iterator[str]:
    """What it says until it has ended, or until then."""
    place = answers.Place()
    while True:
        container.reload()
        ended = answers.state(container).status in ENDED
        yield from place.new(container)
        if ended or time.monotonic() > until_s:
            return
        time.sleep(POLL_S)
