"""The images under test, built from the real Dockerfiles; bases and wheels that cannot be pulled are stood in for."""

import shutil
import sys
from typing import Any
from unittest.mock import patch

from dime.host.bench import lab
from dime.host.bench.images import build

from . import machine
from .place import REGISTRY, REPOSITORY, STATE, docker, run, say

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
    _wheels()
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


def _wheels() -> None:
    """PyTorch for old ARM processors, from the host image's own lock."""
    lock = REPOSITORY / "images/host/torch-arm64.lock"
    if (WHEELS / "requirements.lock").exists() and (WHEELS / "requirements.lock").read_bytes() == lock.read_bytes():
        return
    say("fetches wheels for arm64")
    shutil.rmtree(WHEELS, ignore_errors=True)
    WHEELS.mkdir(parents=True)
    platforms = [f"--platform=manylinux_2_{minor}_aarch64" for minor in (17, 27, 28)] + [
        "--platform=manylinux2014_aarch64"
    ]
    run(sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary=:all:", "--python-version=3.11",
        *platforms, "--require-hashes", "--requirement", lock, "--dest", WHEELS)  # fmt: skip
    shutil.copyfile(lock, WHEELS / "requirements.lock")
