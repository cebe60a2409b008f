"""A real profile of this machine, small enough for every test that needs one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.sharing import once


def dime(*arguments, folder, check=True):
    """Runs the command as a person does."""
    result = subprocess.run(
        [sys.executable, "-m", "dime.host", *map(str, arguments)],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    if check and result.returncode:
        raise AssertionError(f"dime {arguments}: {result.returncode}\n{result.stdout}\n{result.stderr}")
    return result


@pytest.fixture(scope="session")
def profiled(tmp_path_factory) -> Path:
    """A folder with AlexNet's feature maps and its profile as edge and as server."""

    def make(folder):
        dime("profile", "--net=alexnet", "--runs=2", "--iterations=2", "--warmups=1", "--threads=1", folder=folder)

    return once(tmp_path_factory, "profiled", make)
