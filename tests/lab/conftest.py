"""The lab for tests: started once, with the images under test built from the real Dockerfiles and pushed."""

import os
import shutil
import sys

import pytest

from dime.host.bench import lab
from dime.host.bench.session.job import Job

from . import images, machine
from .__main__ import down, up
from .board import BOARDS, NANO, POTATO
from .place import HOME, REGISTRY, REPOSITORY, STATE, LabError, environment, run, say

SMALL = """
from torch import nn


def build():
    return nn.Sequential(nn.Conv2d(3, 24, 3, 1, 1), *(nn.Conv2d(24, 24, 3, 1, 1) for _ in range(7)))
"""
NAMED = ("--input=1x3x64x64", "--cuts=all", "--name=small")


def pytest_collection_modifyitems(items):
    asked = os.environ.get("CI") == "true" or os.environ.get("DIME_LAB")
    reason = machine.missing() or ("" if asked else "the lab is not asked for: set DIME_LAB=1")
    for item in items:
        if reason and item.get_closest_marker("lab"):
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session")
def at_length():
    """Skips what waits for minutes, or was not often seen to hold, unless it is asked for."""
    if os.environ.get("DIME_LAB") != "all":
        pytest.skip("DIME_LAB=all runs it, too")


@pytest.fixture(scope="package")
def bench():
    """The lab, up, with this process being a person at its computer."""
    up()
    patch = pytest.MonkeyPatch()
    for key in ("HOME", "DOCKER_HOST", "PATH"):
        patch.setenv(key, environment()[key])
    for board in BOARDS:
        board.shape(None)
        board.free_disk()
    yield
    patch.undo()
    if os.environ.get("CI") == "true":  # its images and disks take tens of GB, which the tests after it may lack
        try:
            down(purge=True)
        except (LabError, OSError) as error:
            say(f"is not wholly gone: {error}")


@pytest.fixture(scope="package")
def tried(bench):
    """Both images for their platforms, in the registry; what each said when it was tried there."""
    said = images.push()
    return said


@pytest.fixture(scope="package")
def built(tried):
    """By what the images were built; bases and wheels that cannot be pulled are stood in for."""
    return images.SETTINGS


@pytest.fixture(scope="package")
def samples(bench):
    """AlexNet's feature maps."""
    folder = STATE / "samples"
    run(sys.executable, "-m", "dime.device", "samples", "--network=alexnet", f"--samples={folder}", cwd=REPOSITORY)
    return folder / "alexnet"


@pytest.fixture(scope="package")
def small(tmp_path_factory):
    """Feature maps of a network whose layers take moments, of which there are as many as AlexNet has."""
    folder = tmp_path_factory.mktemp("small")
    (folder / "small.py").write_text(SMALL)
    words = ("--network=small.py:build", "--input=1x3x64x64", "--cuts=all", "--name=small", "--samples=samples")
    run(
        sys.executable, "-m", "dime.device", "samples", *words, cwd=folder, env={**os.environ, "PYTHONPATH": REPOSITORY}
    )
    return folder / "samples/small"


@pytest.fixture
def nano(built):
    NANO.up()
    yield NANO
    NANO.heal()
    NANO.up()


@pytest.fixture
def potato(built):
    POTATO.up()
    yield POTATO
    POTATO.heal()
    POTATO.up()


@pytest.fixture
def job(small, tmp_path):
    """Makes a short profile's job: single layers, one run each, unless words say otherwise."""

    def make(board, *words, **changes):
        device = lab.load(write_lab(tmp_path, **changes)).devices[board.name]
        all_words = (
            "profile", "--network=small", f"--device={board.name}", f"--board={device.board}", "--warmups=0",
            "--threads=1", *(words or ("--runs=1", "--iterations=1", "--max-layers=1", "--frequencies=-1")),
        )  # fmt: skip
        return Job(device, "small", all_words, small, tmp_path / "results" / board.name / "small", 1)

    return make


def write_lab(folder, **changes):
    """A lab file for both boards; ``nano_runtime="x"`` changes a key of one of them."""
    text = f'registry = "{REGISTRY}"\n'
    for board in BOARDS:
        keys = {"engine": board.engine, "board": board.name}
        keys |= {key.split("_", 1)[1]: value for key, value in changes.items() if key.startswith(board.name)}
        text += f"[{board.name}]\n" + "".join(f"{key} = {value!r}\n" for key, value in keys.items())
    path = folder / "lab.toml"
    path.write_text(text)
    return path


@pytest.fixture
def stranger(monkeypatch, tmp_path):
    """A person who knows no host keys."""
    (tmp_path / "home/.ssh").mkdir(parents=True)
    (tmp_path / "home/.docker").symlink_to(HOME / ".docker")
    for name in ("config", "id_ed25519"):
        shutil.copy(HOME / ".ssh" / name, tmp_path / "home/.ssh" / name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
