"""Joules of a run against a power that is known."""

import time

import numpy as np
import pytest

from dime.contract import stages
from dime.host.execution import joules
from dime.host.execution.running import OWN
from dime.host.metering import power_trace
from dime.host.metering.api import UNIX_MINUS_MONOTONIC_NS, Series
from dime.host.metering.gain import Gain
from dime.host.metering.recorder import Recorder
from tests.host.execution import made
from tests.lab.meter import StandInMeter

SEGMENTS = stages.segments([(0, 0, 0, -1), (1, 1, 1, -1)])
BUSY_W, IDLE_W, BUSY_S, WAIT_S, REQUESTS = 5.0, 2.0, 0.025, 0.015, 20
TRUTH_J = BUSY_W * BUSY_S + IDLE_W * WAIT_S


def simulated(seed, rounds=5, period_s=0.005, drift=0.01):
    """A run's rounds by a meter that gives a value of each moment; rounds differ in how long they compute."""
    rng = np.random.default_rng(seed)
    found = []
    for turn in range(rounds):
        busy_s = BUSY_S * (1 + rng.normal(0, drift))
        begin_s = 100.0 + turn
        starts = begin_s + np.arange(REQUESTS) * (busy_s + WAIT_S)
        rows = []
        for start in starts:
            row = made.row()
            row["start_ns"], row["end_ns"] = int(start * 1e9), int((start + busy_s + WAIT_S) * 1e9)
            row["segments"][0]["steps"][0].update(start=int(start * 1e9), end=int((start + busy_s) * 1e9))
            rows.append(row)
        at_s = begin_s - 0.5 + rng.uniform(0, period_s) + np.arange(int(2.5 / period_s)) * period_s
        place = (at_s - begin_s) % (busy_s + WAIT_S)
        is_on = (at_s >= begin_s) & (at_s < starts[-1] + busy_s + WAIT_S) & (place < busy_s)
        watts = np.round(np.where(is_on, BUSY_W, IDLE_W) + rng.normal(0, 0.02, len(at_s)), 3)
        stamps_ns = (at_s * 1e9).astype(np.int64) + UNIX_MINUS_MONOTONIC_NS
        on = np.ones(len(at_s), bool)
        series = Series("", "power", False, watts, np.full(len(at_s), 0.001), on)
        trace = power_trace.build(series, np.zeros(len(at_s), np.int64), stamps_ns, "made", None, Gain())
        found.append(joules.measure(trace, rows, SEGMENTS, 0))
    return joules.summed_up("edge", found, TRUTH_J, (TRUTH_J * 0.99, TRUTH_J * 1.01))


def covered(seeds):
    found = [simulated(seed).interval_j for seed in range(seeds)]
    return np.mean([low <= TRUTH_J <= high for low, high in found]), np.median([high - low for low, high in found])


def test_joules_of_a_run_lie_within_their_interval():
    """A few seeds of what the benchmark has many of."""
    share, width_j = covered(60)
    assert share >= 0.88 and width_j < 0.1 * TRUTH_J


@pytest.mark.benchmark
def test_how_often_joules_of_a_run_lie_within_their_interval(figures):
    share, width_j = covered(400)
    figures(f"joules of a run: within their interval in {share:.1%} of 400, which is ±{width_j / TRUTH_J / 2:.1%} wide")
    assert share >= 0.92


def test_a_stage_has_joules_where_the_meter_can_tell_them():
    found = simulated(0)
    assert found.mean_j == pytest.approx(TRUTH_J, rel=0.03) and found.holds is True
    assert found.steps_j.get((0, 0), BUSY_W * BUSY_S) == pytest.approx(BUSY_W * BUSY_S, rel=0.1)
    assert (1, 0) not in found.steps_j, "it is another device's"


def test_what_a_meter_cannot_tell_has_a_reason():
    short = joules.Round(float("nan"), float("nan"), None, why_not="after the log ended")
    found = joules.summed_up("edge", [short], 1.0, None)
    assert (found.mean_j, found.holds, found.why_not) == (None, None, "after the log ended")


@pytest.mark.alone
def test_a_stand_in_meter_s_joules_of_a_round_are_found():
    with StandInMeter(lambda now_s: 4.0 if now_s % 0.2 < 0.1 else 1.0) as meter:
        recorder = Recorder("smartpower3", {"serial": meter.port, "baud": 500000}, lambda text: None)
        try:
            recorder.begin()
            recorder.wait_for_reading()
            time.sleep(1.0)
            begun_ns = time.monotonic_ns()
            time.sleep(2.0)
            row = {**made.row(), "start_ns": begun_ns, "end_ns": begun_ns + 2_000_000_000}
            for at, segment in enumerate(row["segments"]):
                for step in segment["steps"]:
                    step.update(start=begun_ns + at, end=begun_ns + at + 1000)
            found = joules.of_round({0: recorder}, [row], SEGMENTS, {0: OWN})[0]
        finally:
            recorder.close("end")
    assert found.request_j == pytest.approx(5.0, rel=0.03), found.why_not
