"""What is tried on a device before anything is measured, by the verbs that the host starts."""

import hashlib
import subprocess
import sys
import time

import pytest

from dime.contract.run import RUN, TIMINGS
from dime.device import boards, trials
from dime.device.boards import _sysfs
from dime.testing import board_trees
from tests.device.conftest import ROOT, device


def facts(*words):
    code, heard = device(*words)
    assert code == 0
    assert [message["kind"] for message in heard] == ["description"]
    return heard[0]["facts"]


def test_the_disk_and_the_clock_are_told():
    before_s = time.time()
    found = facts("probe")
    assert before_s <= found["time_s"] <= time.time()
    assert found["free_bytes"] > 0


def test_hashes_are_those_of_a_run_s_own_files(tmp_path):
    (tmp_path / RUN).write_bytes(b"{}")
    (tmp_path / TIMINGS).write_bytes(b"x" * (3 << 20))
    (tmp_path / "somebodys").write_bytes(b"secret")
    expected = {name: hashlib.sha256((tmp_path / name).read_bytes()).hexdigest() for name in (RUN, TIMINGS)}
    assert facts("hashes", "--out", tmp_path) == expected
    assert facts("hashes", "--out", tmp_path / "nowhere") == {}


def test_processors_are_busy_for_as_long_as_asked():
    started_s = time.monotonic()
    code, heard = device("busy", "--seconds=0.3")
    assert (code, heard) == (0, [])
    assert time.monotonic() - started_s >= 0.3


def test_busy_takes_every_processor():
    code = "import os; from dime.device import trials; trials.busy(0.1, 3); print(os.wait()[1], os.wait()[1])\n"
    code += "try: os.wait()\nexcept OSError: print('no more')"  # in a process of its own: this one may have children
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, cwd=ROOT, check=True)
    assert done.stdout.split() == [b"0", b"0", b"no", b"more"]


@pytest.mark.parametrize("name", ["nano", "potato"])
def test_a_board_s_clocks_are_tried_and_put_back(tmp_path, name, monkeypatch):
    monkeypatch.setattr(_sysfs, "_put", board_trees.Kernel().put)
    board_trees.plain(tmp_path)
    module = boards.choose(name)[1]
    steps = module.frequencies_hz(str(tmp_path))
    before = board_trees.state(str(tmp_path))
    found = trials.board(module, str(tmp_path), set_clocks=True)
    assert (found["steps"], found["error"]) == (len(steps), "")
    assert board_trees.state(str(tmp_path)) == before
    assert trials.board(module, str(tmp_path))["steps"] == 0


def test_why_clocks_cannot_be_set_is_told(tmp_path):
    board_trees.plain(tmp_path)
    found = facts("board", "--device=nano", "--board=generic", "--root", tmp_path)
    assert set(found) == {"model", "steps", "error"}
