"""The doctor judges a meter by its values, and says of what they are."""

import math

import pytest

from dime.host.bench.lab import Device, Meter
from dime.host.campaign import doctor
from tests.lab.meter import StandInMeter


def finding(monkeypatch, power_w, **options):
    monkeypatch.setattr(doctor, "METER_S", 0.5)
    with StandInMeter(lambda now_s: power_w) as meter:
        return doctor._meter(
            Device("nano", meter=Meter("smartpower3", {"port": meter.port, "baud": 500000, **options}))
        )


def test_watts_are_told_for_the_channel_that_was_taken(monkeypatch):
    found = finding(monkeypatch, 2.5, channel="0")
    assert (
        found.works and found.text.startswith("smartpower3 of 0: ") and found.text.endswith("readings a second, 2.5 W")
    )


def test_a_channel_that_is_off_is_no_meter(monkeypatch):
    found = finding(monkeypatch, 2.5, channel="1")
    assert not found.works and "none with a value: no single channel is on" in found.text


@pytest.mark.parametrize(
    ("kind", "values", "works"),
    [
        ("power", [5.0, 6.0], True),
        ("power", [math.nan, math.nan], False),
        ("power", [0.0, 0.0], False),
        ("power", [9e4, 9e4], False),
        ("energy", [100.0, 100.5], True),
        ("energy", [100.0, 100.0], False),
    ],
)
def test_watts_that_no_device_uses_are_told(kind, values, works):
    rows = [(number * 100_000_000, value) for number, value in enumerate(values)]
    assert doctor._judge(kind, rows)[0] is works
