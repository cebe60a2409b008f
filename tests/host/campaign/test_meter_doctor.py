"""The doctor judges a meter by its values, and says of what they are."""

import math
import time

import numpy as np
import pytest

from dime.contract.errors import DeviceError
from dime.host.bench.lab import LabDevice, Meter
from dime.host.campaign import doctor
from dime.host.metering import judging
from dime.host.metering.api import Series
from tests.lab.loads import Load
from tests.lab.meter import StandInMeter


def finding(monkeypatch, power_w, **options):
    monkeypatch.setattr(doctor, "METER_S", 0.5)
    with StandInMeter(lambda now_s: power_w) as meter:
        return doctor._meter(
            LabDevice("nano", meter=Meter("smartpower3", {"port": meter.port, "baud": 500000, **options}))
        )


def test_watts_are_told_for_the_channel_that_was_taken(monkeypatch):
    found = finding(monkeypatch, 2.5, channel="0")
    assert (
        found.works and found.text.startswith("smartpower3 of 0: ") and found.text.endswith("readings a second, 2.5 W")
    )


def test_a_channel_that_is_off_is_no_meter(monkeypatch):
    found = finding(monkeypatch, 2.5, channel="1")
    assert not found.works and "channel 1 was off all the time" in found.text


@pytest.mark.parametrize(
    ("kind", "values", "works"),
    [
        ("power", [5.0, 6.0], True),
        ("power", [math.nan, math.nan], False),
        ("power", [0.0, 0.0], False),
        ("power", [9e4, 9e4], False),
        ("energy", [100.0, 100.5], True),
        ("energy", [100.0, 100.0], False),
        ("energy", [100.0], False),
    ],
)
def test_watts_that_no_device_uses_are_told(kind, values, works):
    assert judging.judge(series(kind, values), np.arange(len(values)) * 100_000_000).works is works


def series(kind, values):
    value = np.array(values)
    return Series("0", kind, False, value, np.zeros(len(value)), np.ones(len(value), bool))


@pytest.mark.parametrize("kind", ["power", "energy"])
def test_what_does_not_follow_the_load_is_not_the_devices(kind):
    times_ns = np.arange(0, 6_000_000_000, 5_000_000)
    noise = np.random.default_rng(1).normal(0, 0.1, len(times_ns))
    flat_w = 2.0 + noise
    # The container comes up for a second, works for two and ends.
    loaded_w = flat_w + 2.5 * ((times_ns > 4_000_000_000) & (times_ns < 5_500_000_000))
    for watts, works, words in (
        (loaded_w, True, "2 W at rest, 4.5 W with all processors busy"),
        (flat_w, False, "it does not follow the load; is it another device's, or another part's"),
    ):
        value = watts if kind == "power" else np.cumsum(watts) * 0.005
        found = judging.judge(series(kind, value), times_ns, 3_000_000_000)
        assert found.works is works and words in found.text
        assert judging.judge(series(kind, value), times_ns).works


def test_both_channels_on_and_none_named_is_told_as_a_join_would(monkeypatch):
    """A profile would log for hours, and its join refuse."""
    monkeypatch.setattr(doctor, "METER_S", 0.5)
    with StandInMeter(lambda now_s: 2.5) as meter:
        meter.states = (1, 1)
        time.sleep(0.1)
        found = doctor._meter(LabDevice("nano", meter=Meter("smartpower3", {"port": meter.port, "baud": 500000})))
    assert not found.works and "both channels were on: choose with --channel one of 0, 1, input" in found.text


def test_the_doctor_tries_a_meter_under_load_and_says_of_which_channel(monkeypatch):
    load = Load(1.5)
    monkeypatch.setattr(doctor, "METER_S", 1.0)

    def busy():
        load.change(time.monotonic(), 5.0)
        time.sleep(1.5)
        load.change(time.monotonic(), 1.5)

    with StandInMeter(load) as meter:
        device = LabDevice("nano", meter=Meter("smartpower3", {"port": meter.port, "baud": 500000}))
        found = doctor._meter(device, busy)
        assert found.works and found.text.startswith("smartpower3 of 0: ")
        assert found.text.endswith("1.5 W at rest, 5 W with all processors busy")
        found = doctor._meter(device, lambda: None)
        assert not found.works and "it does not follow the load" in found.text

        def held():
            raise DeviceError("held by bench2")

        found = doctor._meter(device, held)
        assert found.works and found.text.endswith("1.5 W; not tried under load: held by bench2")
    assert doctor._spin() is None


@pytest.mark.parametrize(
    ("name", "channel", "moves"),
    [
        ("ina3221", "POM_5V_IN", True),
        ("ina3221", "POM_5V_GPU", False),
        ("ina3221", "VDD_CPU_GPU_CV", True),
        ("ina3221", "VDD_GPU_SOC+VDD_CPU_CV", True),
        ("nvml", "gpu 0", False),
        ("rapl", "package-0", True),
    ],
)
def test_a_gpus_own_power_need_not_follow_the_processors(name, channel, moves):
    assert judging._moves(name, channel) is moves
