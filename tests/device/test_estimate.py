"""A profile says how long it will take."""

import re
import time

import pytest
from torch import nn

from dime.contract.bundles import enumerate_bundles
from dime.device import estimate, timings
from dime.device.estimate import Shape, bundle_s, profile_s, spell_s, told
from dime.device.networks import Network
from dime.device.power_log import PowerLog
from dime.device.processor import Cpu
from tests.device.power_logger import Logger

PLAIN = Shape(16, 5, 2, 0.0, 0.1, 0, 0.0, lambda whole_s: 0.0)
METERED = Shape(16, 5, 2, 0.5, 0.1, 0, 0.0, lambda whole_s: 30.0)


def test_a_bundle_runs_so_often_for_so_long():
    assert bundle_s(0.01, PLAIN) == pytest.approx(16 * 7 * 0.01)
    assert bundle_s(0.01, METERED) == pytest.approx(16 * (5 * 0.5 + 3 * 0.05)), "windows are filled"
    assert bundle_s(2.0, METERED) == pytest.approx(16 * 8 * 2.0), "a run that is longer than a window"


def test_half_the_clock_takes_twice_the_time():
    layers_s, bundles = [0.01, 0.02], enumerate_bundles(2, 2)
    once = profile_s(layers_s, bundles, PLAIN, [100], 100)
    assert once == pytest.approx(16 * 7 * 0.06)
    assert profile_s(layers_s, bundles, PLAIN, [50, 100], 100) == pytest.approx(3 * once)
    assert profile_s(layers_s, bundles, PLAIN, [-1], -1) == pytest.approx(once)
    no_rests = METERED._replace(beside_s=PLAIN.beside_s)
    rests = profile_s(layers_s, bundles, METERED, [50, 100], 100) - profile_s(
        layers_s, bundles, no_rests, [50, 100], 100
    )
    assert rests == pytest.approx(60)


def test_what_runs_behind_waits_and_beside_the_passes_is_counted():
    layers_s, bundles = [0.01, 0.02], enumerate_bundles(2, 2)
    waiting = PLAIN._replace(waits=5, wait_s=0.05, beside_s=lambda whole_s: 10 * whole_s)
    more_s = profile_s(layers_s, bundles, waiting, [50, 100], 100) - profile_s(layers_s, bundles, PLAIN, [50, 100], 100)
    assert more_s == pytest.approx(16 * 3 * (0.05 + 0.04 + 0.05 + 0.02) + 10 * (0.06 + 0.03)), "all three bundles wait"


def test_what_is_said_and_how_to_take_less():
    assert told([0.01] * 8, 8, PLAIN, [-1], -1) == (
        "36 bundles x 16 passes x 5 runs take about 2 minutes; shorter: --iterations=8 (67 s, and wider intervals) or"
        " --max-layers=4 (67 s)"
    )
    assert " x 2 frequencies take about 7 minutes; " in told([0.01] * 8, 8, PLAIN, [50, 100], 100)
    assert told([0.0005] * 8, 8, PLAIN, [-1], -1) == "", "a short one says nothing"
    assert [spell_s(seconds) for seconds in (72.4, 720, 12600)] == ["72 s", "12 minutes", "3.5 hours"]


class Sleeps(nn.Module):
    def forward(self, x):
        time.sleep(0.004)
        return x


@pytest.mark.alone
def test_it_is_said_before_the_first_pass_and_comes_true(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(estimate, "LEAST_TOLD_S", 0.0)
    said_s = []
    monkeypatch.setattr(estimate, "spell_s", lambda seconds: said_s.append(seconds) or "{:.3f} s".format(seconds))
    tiny.network = Network("tiny", tiny.layers, [Sleeps(), Sleeps(), Sleeps()], (1, 4), "seeded 0")
    for layer in tiny.layers:
        for image in ("left", "right"):
            source = tmp_path / "tiny_samples" / "a" / (image + ".pt")
            (tmp_path / "tiny_samples" / layer / (image + ".pt")).write_bytes(source.read_bytes())
    start_s = time.perf_counter()
    tiny.profile(tmp_path / "out", iterations=5, runs=4)
    took_s = time.perf_counter() - start_s
    (text,) = [text for text in tiny.heard.texts("note") if "take about" in text]
    assert re.match(r"6 bundles x 5 passes x 4 runs take about [\d.]+ s; shorter: --iterations=2", text)
    kinds = [kind for kind in tiny.heard.kinds() if kind in ("note", "progress")]
    assert kinds[0] == "note" and kinds.count("note") == 1
    assert took_s == pytest.approx(said_s[0], rel=0.5)


def test_a_frequencys_rests_and_patterns_are_counted(tmp_path):
    with Logger(period_s=0.01) as logger:
        log = PowerLog("127.0.0.1", logger.port, str(tmp_path), "nano", "tiny")
        assert log.rest_s == pytest.approx(2 * (10 + 63 * 0.06382 + 0.5), rel=0.01)


def test_the_trial_leaves_each_layers_first_run_out(tiny, tmp_path, monkeypatch):
    ran, burst = [], Cpu.burst
    monkeypatch.setattr(Cpu, "burst", lambda self, *given: ran.append(len(given)) or burst(self, *given))
    monkeypatch.setattr(timings._Run, "measure", lambda self, *given: 0.0)
    monkeypatch.setattr(timings.overheads.Overheads, "measure", lambda self, frequency_hz: None)
    tiny.profile(tmp_path / "out")
    assert ran == [2] * 6
