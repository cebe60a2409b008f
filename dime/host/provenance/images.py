"""Container images that took part: their digests as the runs have noted them, and on request the images themselves."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from dime.contract.errors import DimeError
from dime.contract.run import RunSpec
from dime.host.bench import clients, engines
from dime.host.bench.images import deliver
from dime.host.bench.lab import Lab, LabDevice

if TYPE_CHECKING:
    from docker.models.images import Image

FOLDER = "images"


def of_runs(specs: Iterable[RunSpec]) -> dict[str, str]:
    """The images in which runs were made, NAME@DIGEST, by the device; those of a run's sessions, where they differ."""
    found: dict[str, dict[str, None]] = {}
    for spec in specs:
        for session in spec.sessions or []:
            if session.get("image"):
                found.setdefault(spec.device, {})[session["image"]] = None
    return {device: ", ".join(noted) for device, noted in sorted(found.items())}


def fetch(root: Path, noted: Mapping[str, str], bench: Lab, say: Callable[[str], None]) -> Iterator[str]:
    """Brings the images into an archive, from the engines of their devices.

    Args:
        root: The archive's folder.
        noted: The images, as ``of_runs`` gives them.
        bench: The lab.
        say: Told of each image how large it is, before it is fetched.

    Yields:
        A line for each that cannot be had.
    """
    for name, device in [(name, bench.devices.get(on)) for on, text in noted.items() for name in text.split(", ")]:
        target = place(root, name)
        if target.exists():
            continue
        if device is None or not engines.of(device).is_apart:
            yield f"the image {name}: no device of the lab file has the engine that it ran on"
            continue
        try:
            _fetch(device, name, target, say)
        except DimeError as error:
            target.unlink(missing_ok=True)
            yield f"the image {name}: {error}"


def place(root: Path, name: str) -> Path:
    """Where an image, NAME@DIGEST, lies in an archive."""
    repository, _, digest = name.partition("@")
    words = (re.sub(r"[^A-Za-z0-9._-]", "_", one) for one in (repository, digest.rpartition(":")[2][:12]))
    return root / FOLDER / f"{'-'.join(words)}.tar"


def _fetch(device: LabDevice, name: str, target: Path, say: Callable[[str], None]) -> None:
    digest = name.partition("@")[2]
    with clients.connect(device) as client, clients.translated(device):
        image: Image | None = next((one for one in client.images.list() if digest in deliver.digests(one)), None)
        if image is None:
            raise DimeError("its engine does not have it any more")
        say(f"image {name}: {int(image.attrs.get('Size') or 0) / 1e6:.0f} MB as the engine has it")
        target.parent.mkdir(exist_ok=True)
        with open(target, "xb") as archive:
            deliver.save(client, str(image.id), device.platform, archive)
