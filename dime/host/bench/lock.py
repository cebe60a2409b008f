"""Who holds a device: one run at a time, and the name of its container is the lock, which the engine itself keeps."""

from __future__ import annotations

import getpass
import socket
import time
from typing import TYPE_CHECKING

from dime.contract.errors import DeviceError
from dime.host.bench import answers
from dime.host.bench.lab import LabDevice
from dime.host.bench.session.judge import ENDED

if TYPE_CHECKING:
    import docker
    from docker.models.containers import Container

HOLD = "dime-profile"  # the container's name while its run holds the device


def make_way(client: docker.DockerClient, device: LabDevice, ours: Container | None = None) -> None:
    """Gives a run the device; another one that has ended gives it up, its results stay.

    Args:
        client: The device's engine.
        device: The device.
        ours: The run's container; None if it is to be created.

    Raises:
        DeviceError: Another run holds it; the message says whose.
    """
    import docker.errors

    try:
        other = client.containers.get(HOLD)
    except docker.errors.NotFound:
        other = None
    if other is not None and (ours is None or other.id != ours.id):
        if other.status not in ENDED:
            holder, started, what = (
                answers.label(other, f"dime.{name}", "?") for name in ("holder", "started", "what")
            )
            raise DeviceError(
                f"{device.name}: is held by {holder} since {started} ({what}); wait, or ask; "
                f"make clean-device DEVICE={device.name} ends that run"
            )
        other.rename(f"dime-{answers.key(other)}")
    if ours is not None and ours.name != HOLD:
        ours.rename(HOLD)


def holder(client: docker.DockerClient) -> str:
    """Who holds a device now; empty for nobody."""
    import docker.errors

    try:
        container = client.containers.get(HOLD)
    except docker.errors.NotFound:
        return ""
    return "" if container.status in ENDED else answers.label(container, "dime.holder", "somebody")


def marks(what: str) -> dict[str, str]:
    """The labels by which a person finds out who holds a device, since when, and what for."""
    return {
        "dime.what": what,
        "dime.holder": f"{getpass.getuser()}@{socket.gethostname()}",
        "dime.started": time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime()),
    }
