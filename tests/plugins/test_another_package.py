"""Plug-ins of another package, found by its entry points, pass the suites that ship."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
METER = """
import time
from dataclasses import dataclass

from dime.contract.errors import DimeError
from dime.host.metering.gain import Gain
from dime.host.common.options import option
from dime.host.metering.api import ENERGY, Counters, Polled, PolledOptions, choose_counters
from dime.host.metering.api import counter_reading as reading
from dime.host.metering.api import counter_series as series

GAIN = Gain(source="its data sheet")


@dataclass(frozen=True)
class Options(PolledOptions):
    address: str = option("Where it listens.", "192.0.2.1")


def available(options):
    try:
        choose_counters(["wall"], options.channel)
    except DimeError as error:
        return str(error)
    return ""


def open_meter(options):
    parts = choose_counters(["wall"], options.channel)
    columns = [part + ENERGY for part in parts]
    ask = lambda: [int(time.monotonic() * WATTS * 1e6)]
    return Polled("wattsup", columns, ask, options.period_s, "+".join(parts), Counters([0]))
"""
BOARD = """
from dime.device.boards.generic import describe, fixed, frequencies_hz

SWEEPS = SWEPT
"""
TESTS = {
    "test_my_meter.py": """
import pytest

from dime.testing.meters import *


@pytest.fixture
def present():
    return Present("wattsup", {"address": "192.0.2.7"}, power_w=2.5)
""",
    "test_my_board.py": """
import pytest

import dime.device.boards
from dime.contract import plugins
from dime.testing.boards import *


@pytest.fixture
def board():
    return plugins.load(dime.device.boards, "pineapple")
""",
}


def suites_in(folder, **words):
    """What pytest says of a package's own tests; words are put into its plug-ins."""
    about = folder / "my_lab-1.0.dist-info"
    about.mkdir(exist_ok=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: my-lab\nVersion: 1.0\n")
    groups = "[dime.meters]\nwattsup = my_lab.wattsup\n[dime.boards]\npineapple = my_lab.pineapple\n"
    (about / "entry_points.txt").write_text(groups)
    (folder / "my_lab").mkdir(exist_ok=True)
    (folder / "my_lab/__init__.py").touch()
    meter, board = METER, BOARD
    for name, word in words.items():
        meter, board = meter.replace(name, word), board.replace(name, word)
    (folder / "my_lab/wattsup.py").write_text(meter)
    (folder / "my_lab/pineapple.py").write_text(board)
    for name, content in TESTS.items():
        (folder / name).write_text(content)
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--tb=short", str(folder)]
    path = os.pathsep.join([str(folder), str(ROOT)])
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": path}
    )


def test_a_meter_and_a_board_of_another_package_pass(tmp_path):
    done = suites_in(tmp_path, WATTS="2.5", SWEPT="False")
    assert done.returncode == 0, done.stdout[-3000:]
    assert "10 passed" in done.stdout


def test_ones_that_are_wrong_do_not_and_it_is_said_where(tmp_path):
    done = suites_in(tmp_path, WATTS="2.0", SWEPT="None")
    assert done.returncode == 1
    assert "2 failed, 8 passed" in done.stdout, done.stdout[-3000:]
    assert "test_usable_meters_give_the_true_power" in done.stdout and "assert None in (True, False)" in done.stdout
