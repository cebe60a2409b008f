"""Removes what is ours from a device: clocks are put back first, and what was saved of them goes last."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from dime.contract.errors import ConnectionLostError, DeviceError, DimeError
from dime.host.bench import answers, clients, transfer
from dime.host.bench.lab import LabDevice
from dime.host.bench.session import results
from dime.host.common import console

if TYPE_CHECKING:
    import docker
    from docker.models.containers import Container
    from docker.models.images import Image


def clean(device: LabDevice, caches: bool = True, told: Callable[[str], None] = lambda text: None) -> list[str]:
    """Removes what is ours from a device, running or not: containers, results, and the caches of samples and images.

    Where a board's clocks cannot be put back, the run that had fixed them stays, as does what it takes to try again.

    Args:
        device: The device.
        caches: Remove samples and images too.
        told: Told of each thing that was removed, in words.

    Returns:
        What was removed.

    Raises:
        DeviceError: The device cannot be reached, clocks could not be put back, or something could not be removed; all
            that can be removed was removed before.
    """
    removed, failures, kept = list[str](), list[DimeError](), set[str]()

    def done(what: str) -> None:
        removed.append(what)
        told(what)

    with _told_if_interrupted(device), clients.connect(device) as client, clients.translated(device):
        owned = set[str]()
        for container in transfer.ours(client, "run", "helper"):
            volume = f"{transfer.RESULTS}{answers.label(container, 'dime.key')}"
            owned.add(volume)
            with _noted(device, failures, kept, volume):
                if answers.label(container, transfer.LABEL) == "run":
                    transfer.end(container, results.STOP_S)
                    if (device.set_clock or answers.privileged(container)) and transfer.is_there(client, volume):
                        results.restore_clocks(client, _image(client, device, container), volume, device)
                container.remove(force=True)
                done(f"container {container.name}")
        for found in client.volumes.list(filters={"label": transfer.LABEL}):
            name = str(found.name)
            if name in kept or not (caches or name.startswith(transfer.RESULTS)):
                continue
            with _noted(device, failures, kept, name):
                if device.set_clock and name.startswith(transfer.RESULTS) and name not in owned:
                    results.restore_clocks(client, _image(client, device), name, device)
                found.remove(force=True)
                done(f"volume {name}")
        if caches and not failures:  # an image is what puts clocks back
            for what in _remove_images(client, device, failures):
                done(what)
    if failures:
        more = f"; {len(failures) - 1} more failed" if failures[1:] else ""
        raise DeviceError(f"{failures[0]}{more}")
    return removed


@contextmanager
def _told_if_interrupted(device: LabDevice) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        console.tell(f"{device.name}: what was not told as removed may still be there; the same command goes on")
        raise


@contextmanager
def _noted(device: LabDevice, failures: list[DimeError], kept: set[str], what: str) -> Iterator[None]:
    """Goes on after a failure, which is told at the end; a device that is gone ends it all."""
    try:
        with clients.translated(device):
            yield
    except ConnectionLostError:
        raise
    except DimeError as error:
        text = str(error)
        failures.append(DeviceError(text if text.startswith(f"{device.name}: ") else f"{device.name}: {text}"))
        kept.add(what)


def _image(client: docker.DockerClient, device: LabDevice, container: Container | None = None) -> Image:
    """An image that can put clocks back: the run's own, else another of ours."""
    import docker.errors

    try:
        if container is not None and container.image is not None:
            return container.image
    except docker.errors.NotFound:
        pass
    for image in client.images.list():
        if any(_is_ours(device, tag, ":") for tag in image.tags):
            return image
    raise DeviceError(
        f"{device.name}: a run may have left its clocks fixed, and no image is there that puts them back; "
        f"make doctor DEVICE={device.name} brings it, then give the same command again"
    )


def _is_ours(device: LabDevice, name: str, mark: str) -> bool:
    repository = device.image.partition(":")[0].rpartition("/")[2]
    return name.rpartition(mark)[0].rpartition("/")[2] == repository


def _remove_images(client: docker.DockerClient, device: LabDevice, failures: list[DimeError]) -> Iterator[str]:
    """Removes the device's image under every tag, and the earlier ones that a newer pull has left without any."""
    for image in client.images.list():
        for tag in image.tags:
            if _is_ours(device, tag, ":"):
                with _noted(device, failures, set(), tag):
                    client.images.remove(tag)
                    yield f"image {tag}"
        if not image.tags and any(_is_ours(device, name, "@") for name in image.attrs["RepoDigests"] or ()):
            with _noted(device, failures, set(), str(image.id)):
                client.images.remove(str(image.id), force=True)
                yield f"image {image.short_id}"
