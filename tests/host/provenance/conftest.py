"""A small archive, made once: a profile with a meter and one without, plans for one link, and the sweeps."""

import shutil
from pathlib import Path

import pytest

from tests.host.conftest import dime
from tests.sharing import once

RAW = Path(__file__).parents[2] / "data" / "older_results"
LINK = "--link=up=20,down=50,rtt=0.01"
PLAN = ("--net=tiny", "--edge=nano", "--server=pc", LINK)


def studied(folder: Path) -> Path:
    """A folder with profiles, a study and sweeps of them."""
    shutil.copytree(RAW, folder / "results", ignore=shutil.ignore_patterns("joint_*", "plans", "*.md"))
    dime("join", "results/nano/tiny", folder=folder)
    dime("solve", *PLAN, "--goal=energy", "--replicates=20", folder=folder)
    dime("sweep", *PLAN, folder=folder)
    return folder


@pytest.fixture(scope="session")
def place(tmp_path_factory) -> Path:
    """The folder in which the archive was made: results, artifact, and the zip."""

    def make(folder):
        studies = "results/plans/tiny/001 results/plans/tiny/002"
        words = (f"--studies={studies}", "--title=A small study", "--authors=Ada Example")
        dime("artifact", *words, folder=studied(folder))

    return once(tmp_path_factory, "studied", make)


@pytest.fixture(scope="session")
def zipped(place) -> Path:
    return next(place.glob("dime-artifact-tiny-*.zip"))


@pytest.fixture
def archive(place, tmp_path) -> Path:
    """A copy of the archive's folder, to be changed."""
    return Path(shutil.copytree(place / "artifact", tmp_path / "archive"))
