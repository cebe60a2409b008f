"""The images under test, built from the real Dockerfiles; bases and wheels that cannot be pulled are stood in for."""

import re
import shutil
import sys
from pathlib import Path
from typing import Any
from unittest.mock import patch

from dime.host.bench import lab
from dime.host.bench.images import build

from . import machine
from .place import REGISTRY, REPOSITORY, STATE, LabError, docker, run, say

WHEELS = STATE / "wheels"
PYTHON = "python:3.11-slim-bookworm"  # through the mirror, which has another image of that name
SETTINGS: dict[str, Any] = {
    "host_base": PYTHON, "tools": PYTHON,
    "jetson_base": f"{REGISTRY}/{machine.BASE}", "jetson_python": "3.11", "jetson_packages": "",
    "jetson_wheels": str(WHEELS), "host_torch": "boards", "host_wheels": "",
}  # fmt: skip


def push() -> dict[tuple[str, str], str]:
    """Builds both images for their platforms, and pushes them into the lab's registry.

    Returns:
        What was said of each when it was tried, by its name here and its platform.
    """
    wheels("arm64")
    said: dict[tuple[str, str], str] = {}
    tried = build.smoke

    def smoke(target: str, name: str, platform: str) -> str:
        said[target, platform] = tried(target, name, platform)
        return said[target, platform]

    with patch.object(build, "smoke", smoke):
        for name in lab.IMAGES:
            build.push(REGISTRY, name, **SETTINGS)
    docker("image", "prune", "--force")  # what earlier sources have left would fill the disk in a day of work
    docker("buildx", "prune", "--force", "--max-used-space=6gb")
    return said


LOCKS = {"arm64": "torch-arm64.lock", "amd64": "torch-cpu.lock"}
MACHINES = {"arm64": "aarch64", "amd64": "x86_64"}
ELSEWHERE = ("torchvision", "numpy", "pillow")  # a device needs no torchvision; the host image has the others already
INDEX = "https://download.pytorch.org/whl/cpu"


def wheels(architecture: str) -> Path:
    """PyTorch for a processor, from the host image's own lock: for old ARM ones all of it, else what runs a network.

    Returns:
        The folder, with its requirements.lock.
    """
    folder = WHEELS if architecture == "arm64" else WHEELS.with_name(f"wheels-{architecture}")
    lock = (REPOSITORY / "images/host" / LOCKS[architecture]).read_text()
    if architecture != "arm64":
        lock = "".join(part for part in re.split(r"(?m)^(?=\S)", lock) if not part.startswith(ELSEWHERE))
    made = folder / "requirements.lock"
    if made.exists() and made.read_text() == lock:
        return folder
    say(f"fetches wheels for {architecture}")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    asked = folder / "asked.lock"
    asked.write_text(lock)
    machine = MACHINES[architecture]
    kinds = [f"manylinux_2_{minor}" for minor in (17, 27, 28)] + ["manylinux2014"]
    download = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary=:all:",
                "--python-version=3.11", *(f"--platform={kind}_{machine}" for kind in kinds), "--require-hashes",
                "--requirement", asked, "--dest", folder]  # fmt: skip
    try:
        run(*download)
    except LabError:
        if architecture == "arm64":
            raise
        run(*download, f"--extra-index-url={INDEX}")
    asked.rename(made)
    return folder
