"""Images are built from a checkout for their platforms, tried, and pushed to the lab's registry."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dime import __version__
from dime.contract import messages
from dime.contract.errors import DeviceError, InputError, nearest, unknown
from dime.host.bench import boards, transfer
from dime.host.bench.lab import BUILT_IN, IMAGES, Lab, check_platform, check_registry
from dime.host.bench.session.judge import ILLEGAL_INSTRUCTION

BAKE_FILE = Path("docker/docker-bake.hcl")
SOURCE_ROOT = Path(__file__).resolve().parents[4]
PLATFORMS = {"host": "linux/amd64,linux/arm64", "jetson": "linux/arm64"}
# The oldest processor that an arm64 image must run on: newer wheels die there of an illegal instruction.
PROCESSORS = {"host": "cortex-a53", "jetson": "cortex-a57"}
BASES = ("HOST_BASE", "JETSON_BASE")
SCANNER = "docker/buildkit-syft-scanner:stable-1"  # what the builder takes for a list of an image's packages
SMOKE_S = 600.0
REGISTRY_S = 20.0


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

    The host image is found on this computer as dime-host afterwards, whatever the registry that it is named for.

    Args:
        image: host, jetson, or all.
        platform: Platforms joined by commas; empty for all of the image's.
        registry: The registry's host and port; the images are named for it.
        push: Send them to the registry, under the tag and under their revision.
        no_cache: Build everything anew.
        tried: Whether each is tried; see ``smoke``.
        **variables: Further variables of docker/docker-bake.hcl, in any case, such as ``torch="1.10"``.

    Raises:
        InputError: There is no such image, or no checkout to build from.
        DeviceError: The builder failed, and its words were shown; or an image does not work.
    """
    if image != "all" and image not in IMAGES:
        raise unknown("image", image, [*IMAGES, "all"])
    registry = check_registry(registry)
    for one in platform.split(",") if platform else ():
        check_platform(one)
    if not (SOURCE_ROOT / BAKE_FILE).exists():
        raise InputError(f"{BAKE_FILE} is not there; images are built from a checkout of the source")
    docker = docker_command()
    if not _said("buildx", "version"):
        raise DeviceError("this docker has no buildx; scripts/computer.sh says what the lab's computer needs")
    targets = list(IMAGES) if image == "all" else [image]
    given = {**os.environ, **{name.upper(): value for name, value in variables.items()}}
    platforms = {one: platform or given.get(f"{one.upper()}_PLATFORMS", PLATFORMS[one]) for one in targets}
    settings = {**_facts(given), **({"REGISTRY": f"{registry}/"} if registry else {})}
    if not holds_several():
        settings |= {"ATTEST": "", "SBOM": ""}
        if wide := next((one for one in targets if "," in platforms[one]), ""):
            raise DeviceError(
                f"this engine's image store holds one platform a name, {wide}'s are {platforms[wide]}: give PLATFORM=, "
                'or turn on containerd\'s store: {"features": {"containerd-snapshotter": true}} in '
                "/etc/docker/daemon.json, then restart docker"
            )
    given |= settings
    command = [docker, "buildx", "bake", "--file", str(BAKE_FILE)]
    command += [f"--allow=fs.read={folder}" for one in targets if (folder := given.get(f"{one.upper()}_WHEELS"))]
    command += [f"--set=*.platform={platform}"] if platform else []
    command += ["--no-cache"] if no_cache else []
    command += [f"--set=*.output=type={'registry' if push else 'image'}", *targets]
    if returned := subprocess.run(command, cwd=SOURCE_ROOT, env=given, check=False).returncode:
        raise DeviceError(f"docker buildx bake ended with {returned}; its last lines say why")
    tag = given.get("TAG", "latest")
    for target in targets:
        name = f"{given.get('REGISTRY', '')}{IMAGES[target]}:{tag}"
        if target == "host" and name != f"{IMAGES[target]}:{tag}":
            _name_here(name, f"{IMAGES[target]}:{tag}")
        for one in platforms[target].split(",") if tried else ():
            print(f"{name} for {one}: {smoke(target, name, one)}", file=sys.stderr)


def _facts(given: dict[str, str]) -> dict[str, str]:
    """What is found out for the labels: the source's revision, date and place, digests of bases, a list of packages."""
    changed = "-dirty" if _git("status", "--porcelain", "--", "dime", "docker", "images") else ""
    revision = _git("rev-parse", "HEAD")
    facts = {
        "VERSION": given.get("VERSION") or __version__,
        "REVISION": f"{revision}{changed}" if revision else "unknown",
        "SOURCE_DATE_EPOCH": given.get("SOURCE_DATE_EPOCH") or _git("log", "-1", "--format=%ct") or "0",
        "SOURCE": given.get("SOURCE") or source_address(_git("remote", "get-url", "origin")) or "unknown",
    }
    for key in BASES:
        base = given.get(key) or _default(key)
        if "@" not in base and not given.get(f"{key}_DIGEST"):
            facts[f"{key}_DIGEST"] = _digest(base)
    if "SBOM" not in given:
        facts["SBOM"] = "1" if _digest(SCANNER) else ""
        if not facts["SBOM"]:
            print(f"no SBOM is attached: {SCANNER} cannot be reached", file=sys.stderr)
    return facts


def source_address(remote: str) -> str:
    """Where a checkout's source is found by others, without anybody's password; empty for a place of this computer."""
    if found := re.fullmatch(r"(?:[\w.-]+@)?([\w-][\w.-]*\.[\w.-]+):(?!/)([\w./~-]+)", remote, re.ASCII):
        return f"https://{found[1]}/{found[2].removesuffix('.git')}"
    if found := re.fullmatch(r"(?:https?|ssh|git)://(?:[^/@]*@)?([\w.-]+)(?::\d+)?/([\w./~-]+)", remote, re.ASCII):
        return f"https://{found[1]}/{found[2].removesuffix('.git')}"
    return ""


def _default(variable: str) -> str:
    found = re.search(rf'^variable "{variable}" {{ default = "([^"]*)"', (SOURCE_ROOT / BAKE_FILE).read_text(), re.M)
    return found[1] if found else ""


def _digest(name: str) -> str:
    """An image's digest, asked of its registry; empty where that does not answer."""
    said = _said("buildx", "imagetools", "inspect", name, "--format", "{{.Manifest.Digest}}")
    return said if re.fullmatch("sha256:[0-9a-f]{64}", said) else ""


def holds_several() -> bool:
    """Whether the builder's result may be of several platforms at once, and carry attestations."""
    driver = re.search(r"^Driver:\s*(\S+)", _said("buildx", "inspect"), re.MULTILINE)
    return (driver is not None and driver[1] != "docker") or "containerd.snapshotter" in _said(
        "info", "--format", "{{json .DriverStatus}}"
    )


def _name_here(name: str, short: str) -> None:
    """Gives the host image its short name on this computer, where RUNTIME=docker and compose look for it."""
    docker = docker_command()
    for words in (["image", "inspect", name], ["pull", "--quiet", name]):
        if not subprocess.run([docker, *words], capture_output=True, check=False).returncode:
            subprocess.run([docker, "tag", name, short], capture_output=True, check=False)
            return
    print(
        f"{name} is not on this computer; RUNTIME=docker pulls it if the lab file names its registry", file=sys.stderr
    )


def for_device(name: str, lab: Lab) -> list[tuple[str, str]]:
    """Finds what is to be built for a device, and for this computer beside it.

    Args:
        name: A device of the lab file, or a kind of board.
        lab: The lab.

    Returns:
        Images, host or jetson, with their platforms; an empty one is all.

    Raises:
        InputError: As `of_device`.
    """
    target, platform = of_device(name, lab)
    here = _said("version", "--format", "{{.Server.Os}}/{{.Server.Arch}}")
    if not platform or platform == here or here not in PLATFORMS["host"].split(","):
        return [(target, platform)] if target == "host" or not here else [(target, platform), ("host", "")]
    if target != "host":
        return [(target, platform), ("host", here)]
    if holds_several():
        return [(target, f"{platform},{here}")]
    print(f"the host image is built for {platform} only, and runs emulated here", file=sys.stderr)
    return [(target, platform)]


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
    if name in lab.devices or name not in boards.names():
        try:
            device = lab.choose(name)[0]
        except InputError as error:
            said, _, _ = str(error).partition("; did you mean")
            kinds = f"{said}; kinds of board: {', '.join(boards.names())}"
            raise InputError(f"{kinds}{nearest(name, [*boards.names(), *lab.devices, *BUILT_IN])}") from None
        image, platform = device.image, device.platform
    else:
        facts = boards.facts(name)
        image, platform = str(facts["image"]), str(facts["platform"])
    repository = image.rpartition("/")[2].partition(":")[0] or IMAGES["host"]
    found = next((target for target, ours in IMAGES.items() if ours == repository), None)
    if found is None:
        raise InputError(f"{name} runs {image}, which is not built from here; ours are {', '.join(IMAGES.values())}")
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
    said = [message for message in map(messages.decode, reversed(done.stdout.splitlines())) if message]
    facts = next((message["facts"] for message in said if message["kind"] == "description"), None)
    if done.returncode == 0 and facts is not None:
        return f"works: torch {facts['torch']} on {facts['gpu'] or facts['processor']}"
    words = " | ".join(done.stderr.strip().splitlines()[-2:])
    text = next((message["text"] for message in said if message["kind"] == "error"), "") or words
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
    docker, name = docker_command(), f"{transfer.LABEL}-{secrets.token_hex(6)}"
    try:
        yield [docker, "run", "--rm", "--name", name, "--label", f"{transfer.LABEL}=helper"]
    except BaseException:  # its client has gone, the container has not
        subprocess.run([docker, "rm", "--force", "--volumes", name], capture_output=True, check=False)
        raise


def _git(*words: str) -> str:
    result = subprocess.run(["git", *words], cwd=SOURCE_ROOT, capture_output=True, text=True, check=False)
    return result.stdout.strip()


def _said(*words: str) -> str:
    """What a short docker command prints; empty where it fails or takes too long."""
    try:
        done = subprocess.run(
            [docker_command(), *words], capture_output=True, text=True, check=False, timeout=REGISTRY_S,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return ""
    return "" if done.returncode else done.stdout.strip()
