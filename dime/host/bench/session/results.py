"""A session's results in their volume on a device: brought home, compared, and only then removed; clocks put back."""

from __future__ import annotations

import os
import re
import tempfile
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from dime.contract.errors import DeviceError, TableError
from dime.contract.run import LEDGER, RUN, RunSpec
from dime.host.bench import answers, folders, transfer
from dime.host.bench.containers import Options
from dime.host.bench.images import deliver
from dime.host.bench.lab import LabDevice
from dime.host.common.units import plain

if TYPE_CHECKING:
    import docker
    from docker.models.containers import Container
    from docker.models.images import Image

FOLDER = "run"  # of the results in their volume
STOP_S = 60.0


def fetch(
    client: docker.DockerClient,
    container: Container,
    image: Image,
    volume: str,
    out: Path,
    watch: Callable[[], None] = lambda: None,
) -> None:
    """Brings a run's folder home; a folder that is there already must be the same run's.

    Args:
        client: The engine.
        container: The run's container.
        image: Its image.
        volume: The volume of its results.
        out: The folder on this computer.
        watch: Called now and then; what it raises ends it.

    Raises:
        DeviceError: Another run is in the folder, something did not arrive intact, or the disk is full.
    """
    expected = _expected(client, image, volume)
    aside = out.with_name(f".{out.name}.{os.getpid()}-{threading.get_ident()}")
    with transfer.on_this_computer(out, transfer.STILL_THERE):
        out.parent.mkdir(parents=True, exist_ok=True)
        for path in out.parent.iterdir():  # what a command has left that was ended before it could tidy up
            found = re.fullmatch(rf"\.+{re.escape(out.name)}\.([0-9]{{1,9}})-[0-9]+(\.part)?", path.name, re.ASCII)
            if found and not transfer.lives(int(found[1])):
                transfer.remove(path)
    transfer.receive(container, f"/results/{FOLDER}", aside, watch)
    try:
        transfer.verify(aside, expected)
        folders.merge(aside, out)
    finally:
        transfer.remove(aside)


def _expected(client: docker.DockerClient, image: Image, volume: str) -> dict[str, str]:
    """Hashes of a run's files by its own image; by another of ours, if that is of an earlier version."""
    try:
        return transfer.hashes(client, image, volume, FOLDER)
    except answers.EarlierImageError:
        for other in deliver.ours(client):
            with suppress(answers.EarlierImageError):
                return transfer.hashes(client, other, volume, FOLDER)
        raise


def settle(
    client: docker.DockerClient, container: Container, image: Image, volume: str, device: LabDevice, out: Path
) -> None:
    """Leaves nothing of a complete run that is home: clocks that it had still fixed are put back first."""
    if (out / LEDGER).exists():
        restore_clocks(client, image, volume, device)
        (out / LEDGER).unlink()
    discard(container, volume)


def discard(container: Container, volume: str) -> None:
    """Removes a run's container and the volume of its results; somebody may have been faster."""
    import docker.errors

    with suppress(docker.errors.NotFound):
        container.remove(force=True)
    assert container.client is not None
    transfer.discard(container.client, volume)


def described(container: Container) -> RunSpec | None:
    """A run's description as it is on the device; None before its first session."""
    text = transfer.read(container, f"/results/{FOLDER}/{RUN}")
    if text is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, RUN).write_bytes(text)
        try:
            return RunSpec.read(folder)
        except TableError:
            raise DeviceError(f"{RUN} of this run there is damaged; make clean-device discards the run") from None


def restore_clocks(client: docker.DockerClient, image: Image, volume: str, device: LabDevice) -> None:
    """Runs the device side's ``restore`` on a run's folder.

    Raises:
        DeviceError: The clocks could not be put back; it says what to do.
    """
    options: Options = {
        "command": ["restore", f"--out=/volume/{FOLDER}"],
        "entrypoint": transfer.ENTRY,
        "privileged": True,
        "cap_drop": None,
        "user": "0:0",
    }
    with transfer.helper(client, image, volume, run=True, **options) as container:
        code = transfer.wait(container, STOP_S)
        if code:
            words = plain(" ".join(line for _, line in answers.lines(container, 1))[: answers.WORDS])
            raise DeviceError(
                f"{device.name}: its clocks could not be put back ({words}); reboot it, then type: "
                f"make clean-device DEVICE={device.name}"
            )
