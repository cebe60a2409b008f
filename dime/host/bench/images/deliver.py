"""Images: brought to a device in the cheapest way, and told whence they are and of which revision."""

from __future__ import annotations

import json
import os
import tarfile
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING

from dime.contract.errors import DeviceError, DimeError
from dime.host.bench import answers, clients, transfer
from dime.host.bench.lab import IMAGE, IMAGES, LabDevice

if TYPE_CHECKING:
    import docker
    from docker.models.images import Image

ABSENT = ("not found", "manifest unknown", "name unknown", "does not exist")  # a registry's words for what it lacks
REVISION = "org.opencontainers.image.revision"
BLOCK = 1 << 20
Say = Callable[[str], None]


def ensure(
    client: docker.DockerClient, device: LabDevice, registry: str, say: Say, progress: Say | None = None
) -> Image:
    """Brings a device's image to its engine, unless it is there: from the registry, else streamed from this computer.

    Args:
        client: The device's engine.
        device: The device.
        registry: The lab's registry; empty for none.
        say: Told in one line what is done.
        progress: Called with a short text while something is on its way.

    Returns:
        The image, checked to be of the device's platform.

    Raises:
        DeviceError: It is nowhere to be had, or of another platform; the message says how to make it.
    """
    name = device.image if ":" in device.image.rpartition("/")[2] else f"{device.image}:latest"
    tried: list[str] = []
    image = None
    for source in (_from_registry, _from_here, _already_there):
        with clients.translated(device):
            image = source(client, device, name, registry, say, progress or (lambda _: None), tried)
        if image is not None:
            break
    if image is None:
        raise DeviceError(
            f"{device.name}: image {name}{f' for {device.platform}' if device.platform else ''} is nowhere to be had "
            f"({'; '.join(tried)}); {_made(name)}"
        )
    found = [str(image.attrs[key]) for key in ("Os", "Architecture")]
    if device.platform and device.platform.split("/")[:2] != found:
        raise DeviceError(
            f"{device.name}: image {name} there is for {'/'.join(found)}, the board needs {device.platform}; "
            f"type: make push REGISTRY=..., which builds every platform, or make build PLATFORM={device.platform}"
        )
    return image


def _made(name: str) -> str:
    """How an image is made that is nowhere to be had."""
    repository = name.rpartition("/")[2].partition(":")[0]
    target = next((target for target, ours in IMAGES.items() if ours == repository), "")
    if target:
        return f"type: make build IMAGE={target}"
    return f"it is none of ours ({', '.join(IMAGES.values())}): push it to the registry, or load it there"


def _told(image: Image, name: str, whence: str) -> str:
    """Which image runs, whence, and of which revision of the source."""
    revision = (image.labels or {}).get(REVISION, "")
    known = f"revision {revision[:12]}" if revision not in ("", "0", "unknown") else "of no known revision"
    return f"runs {name} {whence}, {known}"


def _from_registry(
    client: docker.DockerClient, device: LabDevice, name: str, registry: str, say: Say, progress: Say, tried: list[str]
) -> Image | None:
    """The registry's image: compared by digest, pulled if the device has another."""
    import docker.errors
    import requests

    parts = IMAGE.fullmatch(name)
    if parts and parts["host"] and (set(parts["host"]) & set(".:") or parts["host"] == "localhost"):
        registry = parts["host"]
        name = name.removeprefix(f"{registry}/")
    if not registry:
        tried.append("no registry in the lab file")
        return None
    repository, _, tag = f"{registry.rstrip('/')}/{name}".rpartition(":")
    present = _get(client, f"{repository}:{tag}")
    try:
        digest = client.images.get_registry_data(f"{repository}:{tag}").id
    except (docker.errors.APIError, requests.Timeout) as error:
        reason = str(getattr(error, "explanation", None) or "no answer in time")
        if any(words in reason for words in ABSENT) and "no such host" not in reason:
            tried.append(f"the registry {registry} has no {name}")
        else:
            tried.append(
                f"the registry {registry} does not answer the device ({reason}{_plain_http(registry, reason)})"
            )
            if present is not None:
                say(tried[-1])
                say(_told(present, name, f"as it was pulled from the registry {registry} before"))
                return present
        say(f"{tried[-1]}; looks elsewhere")
        return None
    if present is None or f"{repository}@{digest}" not in present.attrs["RepoDigests"]:
        say(f"pulls {repository}:{tag}")
        try:
            for event in client.api.pull(repository, tag, stream=True, decode=True, platform=device.platform or None):
                if "error" in event:
                    raise DeviceError(_pull_failure(device, f"{repository}:{tag}", str(event["error"])))
                progress(f"{event.get('status', '')} {event.get('progress', '')}".strip())
        except docker.errors.APIError as error:
            raise DeviceError(_pull_failure(device, f"{repository}:{tag}", str(error.explanation))) from None
        present = client.images.get(f"{repository}:{tag}")
    say(_told(present, name, f"from the registry {registry}"))
    return present


def _plain_http(registry: str, reason: str) -> str:
    if "HTTP response to HTTPS client" not in reason:
        return ""
    return f'; it speaks plain http: /etc/docker/daemon.json there needs "insecure-registries": ["{registry}"]'


def _get(client: docker.DockerClient, name: str) -> Image | None:
    """An engine's image; None if it has none of that name."""
    import docker.errors

    try:
        return client.images.get(name)
    except docker.errors.ImageNotFound:
        return None


def _pull_failure(device: LabDevice, name: str, reason: str) -> str:
    if "no space left" in reason:
        return (
            f"{device.name}: its disk is full, image {name} does not fit; type: make clean-device DEVICE={device.name}"
        )
    if "no match" in reason or "no matching manifest" in reason:
        return (
            f"{device.name}: the registry's {name} is not for {device.platform or 'this board'}; "
            "type: make push REGISTRY=..., which builds every platform"
        )
    return f"{device.name}: cannot pull {name}: {reason}"


def _from_here(
    client: docker.DockerClient, device: LabDevice, name: str, registry: str, say: Say, progress: Say, tried: list[str]
) -> Image | None:
    """This computer's image, streamed over the connection to the device; a tag remembers which one it was."""
    import docker.errors

    try:
        here = clients.this_computer()
        if here.engine == device.engine:
            return None
        with clients.connect(here) as local:
            image = local.images.get(name)
            mark = f"{name.rpartition(':')[0]}:sent-{str(image.id).removeprefix('sha256:')[:12]}"
            if sent := _get(client, mark):
                say(_told(sent, name, "as it was sent from this computer"))
                return sent
            with tempfile.TemporaryFile() as archive:
                with clients.translated(here):
                    save(local, name, device.platform, archive)
                ids = _ids(archive)
                sent = _first(client, ids)  # an earlier time may have got so far, and its answer not home
                if sent is None:
                    say(f"streams {name} from this computer")
                    archive.seek(0)
                    loaded = client.images.load(_counted(archive, progress))  # type: ignore[arg-type] # blocks are sent
                    sent = _first(client, ids) or loaded[0]
            sent.tag(*mark.rsplit(":", 1))
            say(_told(sent, name, "as it was sent from this computer"))
            return sent
    except docker.errors.ImageNotFound:
        tried.append("this computer's engine does not have it")
    except docker.errors.APIError as error:
        if "no space left" in str(error.explanation):
            raise DeviceError(_pull_failure(device, name, "no space left")) from None
        tried.append(f"this computer: {error.explanation}")
    except DimeError as error:
        tried.append(str(error))
    return None


def identity(image: Image, name: str) -> str:
    """An image's name without its registry, and the digest by which it is found again: ``dime-host@sha256:...``."""
    return f"{name.rpartition('/')[2].partition(':')[0]}@{digests(image)[0]}"


def digests(image: Image) -> list[str]:
    """By what an image may be called: the digests of a registry, then its own id."""
    return [*(str(one).rpartition("@")[2] for one in image.attrs.get("RepoDigests") or ()), str(image.id)]


def save(local: docker.DockerClient, name: str, platform: str, archive: IO[bytes]) -> None:
    """Writes an image of one platform as an archive that older engines can load.

    Args:
        local: Its engine.
        name: Its name or id.
        platform: The platform; empty for what the engine has.
        archive: Receives it, and is at its beginning then. An engine of version 25 or later writes an OCI layout.
    """
    parameters: Mapping[str, str] = {}
    if platform and tuple(map(int, local.api.api_version.split("."))) >= (1, 48):
        system, architecture = platform.split("/")[:2]
        parameters = {"platform": json.dumps({"os": system, "architecture": architecture})}
    answer = answers.stream(local.api, "/images/{0}/get", name, parameters)
    for block in answer.iter_content(BLOCK):
        with transfer.on_this_computer(Path(tempfile.gettempdir())):
            archive.write(block)
    archive.seek(0)


def _ids(archive: IO[bytes]) -> list[str]:
    """The ids that an archive's image may get: an engine names it by its configuration, a newer one by its manifest."""
    found: list[str] = []
    with suppress(tarfile.TarError, KeyError, IndexError, TypeError, ValueError), tarfile.open(fileobj=archive) as tar:
        for name in ("manifest.json", "index.json"):
            if name not in tar.getnames() or (stream := tar.extractfile(name)) is None:
                continue
            content = json.load(stream)
            if name == "manifest.json":
                found.append("sha256:" + Path(content[0]["Config"]).stem)
            else:
                found += [str(one["digest"]) for one in content["manifests"]]
    return found


def ours(client: docker.DockerClient) -> list[Image]:
    """The images on an engine that are named as ours are."""
    names = (*IMAGES.values(),)
    return [
        image
        for image in client.images.list()
        if any(tag.rpartition(":")[0].rpartition("/")[2] in names for tag in image.tags)
    ]


def _first(client: docker.DockerClient, ids: Iterable[str]) -> Image | None:
    """The first image that an engine has of some ids."""
    return next(filter(None, (_get(client, one) for one in ids)), None)


def _counted(archive: IO[bytes], progress: Say) -> Iterator[bytes]:
    """An archive's blocks, with the share that is gone."""
    total = os.fstat(archive.fileno()).st_size
    sent = 0
    while block := archive.read(BLOCK):
        yield block
        sent += len(block)
        progress(f"{sent / total:.0%} of {total / 1e6:.0f} MB")


def _already_there(
    client: docker.DockerClient, device: LabDevice, name: str, registry: str, say: Say, progress: Say, tried: list[str]
) -> Image | None:
    """The device's own image of that name, such as one that was built there."""
    image = _get(client, name)
    if image is None:
        tried.append("the device does not have it")
        return None
    say(_told(image, name, "as the device has it"))
    return image
