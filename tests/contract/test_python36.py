"""What both sides and the device run on: no syntax and no library that Python 3.6 lacks."""

import os
import shutil
import subprocess
import sys

import pytest

import dime

ROOT = os.path.dirname(dime.__file__)
BESIDE = os.path.join(os.path.dirname(sys.executable), "vermin")
VERMIN = BESIDE if os.path.exists(BESIDE) else shutil.which("vermin")


def vermin(*paths):
    command = [VERMIN, "-t=3.6-", "--violations", "--no-tips"] + list(paths)
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    return process.communicate()[0].decode(), process.returncode


@pytest.mark.skipif(VERMIN is None, reason="vermin is not installed")
@pytest.mark.parametrize("side", ["contract", "device"])
def test_a_side_needs_no_newer_python(side):
    output, code = vermin(os.path.join(ROOT, side))
    assert code == 0, output


@pytest.mark.skipif(VERMIN is None, reason="vermin is not installed")
def test_a_newer_word_is_found(tmp_path):
    with open(str(tmp_path / "new.py"), "w") as stream:
        stream.write("import time\nprint(time.time_ns())\n")
    output, code = vermin(str(tmp_path / "new.py"))
    assert code == 1
    assert "time_ns" in output
