"""The two ends of a link that is measured, each where its device's engine runs things: a process here, or a container.

A container is in its host's network, holds its device meanwhile, and is gone afterwards whatever ended it. The device
that answers listens at the loopback where both are on one computer, else at the address by which it is reached.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from dime.contract import files, messages
from dime.contract.errors import DeviceError
from dime.contract.frames import LOOPBACK
from dime.host.bench import answers, clients, engines, ssh
from dime.host.bench.attended import OUT, Attended, Errand
from dime.host.bench.engines import process
from dime.host.bench.lab import LabDevice
from dime.host.common import progress

WHAT = "a link's measurement"
START_S = 60.0


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
    with Attended(Errand(device, words, WHAT, token.read_text(), holds), registry) as end:
        end.start()
        for line in end.lines(time.monotonic() + START_S):
            message = messages.decode(line)
            if message is not None and message["kind"] == "error":
                raise DeviceError(f"{device.name}: {message['text'][: answers.ERROR_WORDS]}")
            if message is not None and message["kind"] == "description":
                yield message["facts"].get("port")
                return
        raise DeviceError(f"{device.name}: its end of the link does not say where it listens")


@contextmanager
def serving(device: LabDevice, words: Sequence[str], label: str, registry: str) -> Iterator[list[dict[str, object]]]:
    """A verb that goes on until the block ends, on a device that this command holds already.

    Returns:
        The facts that it has said, one when it begins and more when it has ended.

    Raises:
        DeviceError: It reported an error, or ended before it said any.
    """
    if not engines.of(device).is_apart:
        with process.serving(words, label) as said:
            yield said
        return
    with Attended(Errand(device, words, label, holds=False, listens=True), registry) as one:
        one.start()
        said = []
        last = process.facts(one.lines(time.monotonic() + START_S), said, label, 1)
        if not said:
            raise DeviceError(f"{device.name}: {label} ended before it began{'; last line: ' + last if last else ''}")
        yield said
        one.stop()
        process.facts(one.lines(), said, label)


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
    with Attended(Errand(device, words, WHAT, token.read_text(), writes=True), registry) as end:
        end.start()
        heard = answers.Messages()
        progress.follow((heard.take(line)[1] for line in end.lines()), label, "exchange")
        content = end.read(f"{OUT}/{table.name}")
    if content is None:
        raise DeviceError(f"{device.name}: its table of the link is not there")
    table.parent.mkdir()
    files.new(table, content)
