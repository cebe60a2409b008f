"""Images: built for their platforms, pushed to the lab's registry, brought to a device in the cheapest way."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

from dime.contract import messages
from dime.contract.errors import DeviceError, DimeError, InputError, nearest, unknown
from dime.host.bench import engines, volumes
from dime.host.bench.lab import BOARDS, BUILT_IN, IMAGE, IMAGES, Device, Lab, check_platform, check_registry

if TYPE_CHECKING:
    import docker
    from docker.models.images import Image

TARGETS = IMAGES
ABSENT = ("not found", "manifest unknown", "name unknown", "does not exist")  # a registry's words for what it lacks
REVISION = "org.opencontainers.image.revision"
BAKE_FILE = Path("docker/docker-bake.hcl")
SOURCE_ROOT = Path(__file__).resolve().parents[3]
PLATFORMS = {"host": "linux/amd64,linux/arm64", "jetson": "linux/arm64"}
# The oldest processor that an arm64 image must run on: newer wheels die there of an illegal instruction.
PROCESSORS = {"host": "cortex-a53", "jetson": "cortex-a57"}
SMOKE_S = 600.0
ILLEGAL_INSTRUCTION = 132
BLOCK = 1 << 20
Say = Callable[[str], None]


def build(
    image: str = "all",
    platform: str = "",
    registry: str = "",
    push: bool = False,
    no_cache: bool = False,
    tried: bool = True,
    **variables: str,
) -> None:
    """Builds images with docker buildx bake, and tries each of them.

    Args:
        image: host, jetson, or all.
        platform: Platforms joined by commas; empty for all of the image's.
        registry: The registry's host and port; the images are named for it.
        push: Send them to the registry, which several platforms at once need on older engines.
        no_cache: Build everything anew.
        tried: Whether each is tried; see ``smoke``.
        **variables: Further variables of docker/docker-bake.hcl, in any case, such as ``torch="1.10"``.

    Raises:
        InputError: There is no such image, or no checkout to build from.
        DeviceError: The builder failed, and its words were shown; or an image does not work.
    """
    if image != "all" and image not in TARGETS:
        raise unknown("image", image, [*TARGETS, "all"])
    registry = check_registry(registry)
    for one in platform.split(",") if platform else ():
        check_platform(one)
    if not (SOURCE_ROOT / BAKE_FILE).exists():
        raise InputError(f"{BAKE_FILE} is not there; images are built from a checkout of the source")
    command = [docker_command(), "buildx", "bake", "--file", str(BAKE_FILE)]
    if subprocess.run([*command[:2], "version"], capture_output=True, check=False).returncode:
        raise DeviceError("this docker has no buildx; scripts/computer.sh says what the lab's computer needs")
    settings = {name.upper(): value for name, value in variables.items()}
    settings |= {"REGISTRY": f"{registry}/"} if registry else {}
    settings = {
        "REVISION": _git("rev-parse", "HEAD"),
        "SOURCE_DATE_EPOCH": _git("log", "-1", "--format=%ct"),
        **settings,
    }
    for key in ("HOST_WHEELS", "JETSON_WHEELS"):
        if folder := settings.get(key, os.environ.get(key, "")):
            command.append(f"--allow=fs.read={folder}")
    if platform:
        command += [f"--set=*.platform={platform}"]
    if no_cache:
        command.append("--no-cache")
    command += [f"--set=*.output=type={'registry' if push else 'image'}", *(TARGETS if image == "all" else [image])]
    result = subprocess.run(command, cwd=SOURCE_ROOT, env={**os.environ, **settings}, check=False)
    if result.returncode:
        raise DeviceError(f"docker buildx bake ended with {result.returncode}; its last lines say why")
    tag = settings.get("TAG", os.environ.get("TAG", "latest"))
    for target in (TARGETS if image == "all" else [image]) if tried else ():
        name = f"{settings.get('REGISTRY', '')}{TARGETS[target]}:{tag}"
        for one in (platform or settings.get(f"{target.upper()}_PLATFORMS", PLATFORMS[target])).split(","):
            print(f"{name} for {one}: {smoke(target, name, one)}", file=sys.stderr)


def of_device(name: str, lab: Lab) -> tuple[str, str]:
    """Finds what is to be built for a device.

    Args:
        name: A device of the lab file, or a kind of board.
        lab: The lab.

    Returns:
        The image, host or jetson, and its platform; empty for all.

    Raises:
        InputError: There is neither such a device nor such a board, or its image is none of ours.
    """
    if name in lab.devices or name not in BOARDS:
        try:
            device = lab.choose(name)[0]
        except InputError as error:
            said, _, _ = str(error).partition("; did you mean")
            kinds = f"{said}; kinds of board: {', '.join(BOARDS)}"
            raise InputError(f"{kinds}{nearest(name, [*BOARDS, *lab.devices, *BUILT_IN])}") from None
        image, platform = device.image, device.platform
    else:
        image, platform = BOARDS[name]["image"], BOARDS[name]["platform"]
    repository = image.rpartition("/")[2].partition(":")[0] or TARGETS["host"]
    found = next((target for target, ours in TARGETS.items() if ours == repository), None)
    if found is None:
        raise InputError(f"{name} runs {image}, which is not built from here; ours are {', '.join(TARGETS.values())}")
    return found, platform


def smoke(target: str, name: str, platform: str) -> str:
    """Runs a built image's smoke test, on an emulated processor under the model of the oldest board.

    Args:
        target: host or jetson.
        name: The image.
        platform: One platform.

    Returns:
        What it ran on, or why it could not be tried here.

    Raises:
        DeviceError: The image does not work; the message says why.
    """
    command = ["--init", "--network=none", "--platform", platform]
    command += ["--env", f"QEMU_CPU={PROCESSORS[target]}"] if platform == "linux/arm64" else []
    command += ["--entrypoint", "python3", name, "-m", "dime.device", "smoke", f"--device={target}"]
    command += ["--board=nano"] if target == "jetson" else []
    try:
        with run_command() as run:
            done = subprocess.run([*run, *command], capture_output=True, text=True, timeout=SMOKE_S, check=False)
    except subprocess.TimeoutExpired:
        raise DeviceError(f"{name} for {platform}: its smoke test hangs") from None
    said = {message["kind"]: message for message in map(messages.decode, done.stdout.splitlines()) if message}
    if done.returncode == 0 and "description" in said:
        facts = said["description"]["facts"]
        return f"works: torch {facts['torch']} on {facts['gpu'] or facts['processor']}"
    words = " | ".join(done.stderr.strip().splitlines()[-2:])
    text = str(said.get("error", {}).get("text") or words)
    if "No module named 'torch'" in text:
        return "has no torch: it plans and logs, and profiles nothing"
    if "cannot open shared object file" in text:
        return "not tried here: NVIDIA's runtime mounts what torch needs on the board; there make doctor tries it"
    if "exec format error" in text:
        return "not tried here: this computer cannot run it; scripts/computer.sh adds the emulation"
    if done.returncode == ILLEGAL_INSTRUCTION:
        text = f"illegal instruction: its wheels are not for the board's processor ({PROCESSORS[target]})"
    raise DeviceError(f"{name} for {platform}: its smoke test failed: {text or f'exit code {done.returncode}'}")


def push(registry: str, image: str = "all", **variables: str) -> None:
    """Builds what has changed and sends it to the registry, with one manifest for all platforms.

    Args:
        registry: The registry's host and port.
        image: host, jetson, or all.
        **variables: As for `build`.

    Raises:
        InputError: No registry, or no such image.
        DeviceError: The builder failed, or an image does not work.
    """
    if not registry:
        raise InputError("no registry; type: make push REGISTRY=bench.lan:5000, or put registry = ... into lab.toml")
    build(image, "", registry, True, False, True, **variables)


def docker_command() -> str:
    """The docker command of this computer.

    Raises:
        DeviceError: There is none.
    """
    found = shutil.which("docker")
    if not found:
        raise DeviceError("the docker command is not installed; scripts/computer.sh says what the lab's computer needs")
    return found


@contextmanager
def run_command() -> Iterator[list[str]]:
    """The words of a `docker run` whose container has our label and a name of its own, and is gone whatever ends it."""
    docker, name = docker_command(), f"{volumes.LABEL}-{secrets.token_hex(6)}"
    try:
        yield [docker, "run", "--rm", "--name", name, "--label", f"{volumes.LABEL}=helper"]
    except BaseException:  # its client has gone, the container has not
        subprocess.run([docker, "rm", "--force", "--volumes", name], capture_output=True, check=False)
        raise


def _git(*words: str) -> str:
    result = subprocess.run(["git", *words], cwd=SOURCE_ROOT, capture_output=True, text=True, check=False)
    return result.stdout.strip() or "0"


def ensure(client: docker.DockerClient, device: Device, registry: str, say: Say, progress: Say | None = None) -> Image:
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
        with engines.translated(device):
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
    target = next((target for target, ours in TARGETS.items() if ours == repository), "")
    if target:
        return f"type: make build IMAGE={target}"
    return f"it is none of ours ({', '.join(TARGETS.values())}): push it to the registry, or load it there"


def _told(image: Image, name: str, whence: str) -> str:
    """Which image runs, whence, and of which revision of the source."""
    revision = (image.labels or {}).get(REVISION, "")
    known = f"revision {revision[:12]}" if revision not in ("", "0", "unknown") else "of no known revision"
    return f"runs {name} {whence}, {known}"


def _from_registry(
    client: docker.DockerClient, device: Device, name: str, registry: str, say: Say, progress: Say, tried: list[str]
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


def _pull_failure(device: Device, name: str, reason: str) -> str:
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
    client: docker.DockerClient, device: Device, name: str, registry: str, say: Say, progress: Say, tried: list[str]
) -> Image | None:
    """This computer's image, streamed over the connection to the device; a tag remembers which one it was."""
    import docker.errors

    try:
        here = engines.this_computer()
        if here.engine == device.engine:
            return None
        with engines.connect(here) as local:
            image = local.images.get(name)
            mark = f"{name.rpartition(':')[0]}:sent-{str(image.id).removeprefix('sha256:')[:12]}"
            if sent := _get(client, mark):
                say(_told(sent, name, "as it was sent from this computer"))
                return sent
            with tempfile.TemporaryFile() as archive:
                with engines.translated(here):
                    _save(local, name, device.platform, archive)
                ids = _ids(archive)
                sent = _first(client, ids)  # an earlier time may have got so far, and its answer not home
                if sent is None:
                    say(f"streams {name} from this computer")
                    archive.seek(0)
                    loaded = client.images.load(cast(Any, _counted(archive, progress)))
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


def _save(local: docker.DockerClient, name: str, platform: str, archive: IO[bytes]) -> None:
    """Writes an image of one platform as an archive that older engines can load."""
    parameters: Mapping[str, str] = {}
    if platform and tuple(map(int, local.api.api_version.split("."))) >= (1, 48):
        system, architecture = platform.split("/")[:2]
        parameters = {"platform": json.dumps({"os": system, "architecture": architecture})}
    api: Any = local.api
    answer = api._get(api._url("/images/{0}/get", name), params=parameters, stream=True)
    api._raise_for_status(answer)
    for block in answer.iter_content(BLOCK):
        with volumes.on_this_computer(Path(tempfile.gettempdir())):
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
    client: docker.DockerClient, device: Device, name: str, registry: str, say: Say, progress: Say, tried: list[str]
) -> Image | None:
    """The device's own image of that name, such as one that was built there."""
    image = _get(client, name)
    if image is None:
        tried.append("the device does not have it")
        return None
    say(_told(image, name, "as the device has it"))
    return image
