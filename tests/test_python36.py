"""The device side and the contract pass their own tests on a real Python 3.6 with the oldest torch they support."""

import os
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SUITES = ("tests/contract", "tests/device", "tests/plugins/test_every_network.py", "tests/plugins/test_every_board.py")


def on_python36(python36, marks, tmp_path):
    """Runs what has these marks; gives how many tests passed and were skipped."""
    result = subprocess.run(
        [python36, "-m", "pytest", "-p", "no:cacheprovider", "-rs", f"--basetemp={tmp_path}/3.6", "-m", marks, *SUITES],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env={
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": str(ROOT),
            "PYTEST_ADDOPTS": "",
        },  # make's ARGS stay here
    )
    print(result.stdout[-2000:])  # how many, and what was skipped
    assert result.returncode == 0, result.stdout[-6000:] + result.stderr[-2000:]
    return {word: int(count) for count, word in re.findall(r"(\d+) (passed|skipped)", result.stdout)}


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_device_side_passes_its_tests_on_python_3_6(python36, tmp_path):
    counts = on_python36(python36, "not alone", tmp_path)
    assert counts["passed"] > 25 * counts.get("skipped", 0) and counts["passed"] > 600, "much did not run on Python 3.6"


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.timeout(1800)
def test_what_measures_time_passes_on_python_3_6(python36, tmp_path):
    assert on_python36(python36, "alone", tmp_path)["passed"] > 20
