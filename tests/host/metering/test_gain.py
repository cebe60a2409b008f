"""A meter's gain: what makers state, what a known load says of it, and what becomes of it in logs, joins and plans."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dime.contract import plugins
from dime.contract.errors import DeviceError, DimeError, InputError, TableError
from dime.host.metering import gain as gains
from dime.host.metering import meters, power, power_trace
from dime.host.metering.gain import Calibration, Gain, Point
from dime.host.profiles.joint_profile import join
from dime.host.profiles.profiles import load_profile
from tests.host.conftest import dime
from tests.host.powered import quality_of
from tests.host.profiles.test_joint_profile import make
from tests.lab.meter import StandInMeter

UTC = "2026-01-01T00:00:00Z"
# A meter that tells 4 % too much.
HIGH = 1.04


def point(watts=5.0, limit=0.005, read_w=5.2, read_error_w=0.001):
    return Point(watts, limit, read_w, read_error_w, 10.0, UTC)


@pytest.mark.parametrize("name", plugins.names(meters))
def test_every_meter_says_what_is_stated_of_its_accuracy_and_where(name):
    stated = plugins.load(meters, name).GAIN
    assert stated.factor == 1.0 and len(stated.source) > 20
    expected = {"smartpower3": 0.03, "ina3221": 0.0025 * math.sqrt(2 / 3), "nvml": 0.05 / math.sqrt(3)}
    assert stated.error == (pytest.approx(expected[name]) if name in expected else None)


def test_the_gain_of_known_loads():
    one = Calibration("smartpower3", "0", (point(),)).gain()
    assert one.factor == pytest.approx(5 / 5.2) and one.error == pytest.approx(0.005 / math.sqrt(3), rel=0.01)
    assert one.source == "calibrated with 1 known load, 5 W"
    many = Calibration("smartpower3", "0", (point(), point(10.0, read_w=10.4), point(2.0, read_w=2.08))).gain()
    assert many.factor == pytest.approx(1 / HIGH) and many.source == "calibrated with 3 known loads, 2 to 10 W"
    bent = Calibration("smartpower3", "0", (point(), point(10.0, read_w=10.2))).gain()
    assert bent.error > 0.008, "one gain does not fit both loads: it depends on the load"


@given(st.lists(st.floats(0.5, 15.0), min_size=1, max_size=6), st.floats(0.7, 1.4))
def test_a_meter_that_is_off_by_one_factor_is_found_to_be(loads, factor):
    points = tuple(point(watts, 0.001, watts / factor, 1e-4 * watts) for watts in loads)
    found = Calibration("rapl", "", points).gain()
    assert found.factor == pytest.approx(factor, rel=1e-9) and found.error < 0.001


def test_a_stand_in_that_is_4_percent_high_is_calibrated_logged_and_joined(tmp_path):
    """Calibrated, its log says so, and the joules are right."""
    file = tmp_path / "cal.json"
    with StandInMeter(lambda _: 5.0 * HIGH) as meter:
        words = ["power", "calibrate", str(file), "--watts=5", "--watts-error=0.5%", "--seconds=2"]
        words += [f"--serial={meter.port}", "--baud=500000", "--channel=0"]
        said = dime(*words, folder=tmp_path).stdout
        made = gains.read(file)
        assert made.gain().factor == pytest.approx(1 / HIGH, rel=0.002) and made.channel == "0"
        assert "gain 0.96" in said and "calibrated with 1 known load, 5 W" in said
        options = {"serial": meter.port, "baud": 500000, "channel": "0", "calibration": str(file)}
        over = []
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(power, "_watch", lambda recorder, _: over.append(recorder.trace(0, power.now_ns(), 2.0)))
            power.log(tmp_path / "a.csv", **options)
    assert over[0].gain.factor == pytest.approx(1 / HIGH, rel=0.002)
    assert quality_of(tmp_path / "a.csv")["gain"]["factor"] == made.gain().factor
    trace = power_trace.load(tmp_path / "a.csv")
    assert trace.gain.error == made.gain().error and trace.value.mean() == pytest.approx(5.0, rel=0.003)


def test_a_load_that_is_not_steady_or_not_that_load_is_no_calibration(tmp_path):
    now = []

    def rising(now_s):
        now.append(now_s)
        return 2.0 + now_s - now[0]

    with StandInMeter(rising) as meter:
        options = {"serial": meter.port, "baud": 500000, "seconds": 1.0}
        with pytest.raises(DeviceError, match=r"the load is not steady: 2\.\d* to [23]\.\d* W"):
            power.calibrate(tmp_path / "a.json", 2.5, 0.01, **options)
    with StandInMeter(lambda _: 2.0) as meter:
        options = {"serial": meter.port, "baud": 500000, "seconds": 1.0}
        with pytest.raises(InputError, match=r"the meter reads [12]\.\d+ W where 5 W are said to be"):
            power.calibrate(tmp_path / "a.json", 5.0, 0.01, **options)
        Calibration("rapl", "", (point(),)).write(tmp_path / "b.json")
        with pytest.raises(InputError, match="is of rapl, not of smartpower3 0; take another file"):
            power.calibrate(tmp_path / "b.json", 2.0, 0.01, **options)
    for watts, limit, seconds in ((0.0, 0.01, 2), (math.nan, 0.01, 2), (5.0, -1, 2), (5.0, 0.1, 0), (1e300, 0.1, 2)):
        with pytest.raises(InputError, match="a load is more than 0"):
            power.calibrate(tmp_path / "c.json", watts, limit, seconds=seconds)
    assert [path.name for path in tmp_path.iterdir()] == ["b.json"]


def test_a_file_that_is_no_calibration_is_told_so(tmp_path):
    file = tmp_path / "cal.json"
    Calibration("smartpower3", "0", (point(),)).write(file)
    good = json.loads(file.read_text())
    with pytest.raises(InputError, match=r"cal\.json calibrates smartpower3 0, not ina3221 VDD_IN"):
        gains.of_file(file, "ina3221", "VDD_IN")
    with pytest.raises(InputError, match="calibrates smartpower3 0, not smartpower3 1"):
        gains.of_file(file, "smartpower3", "1")
    assert gains.of_file(file, "smartpower3", "").source.endswith("(cal.json)")
    damaged = [{}, [], {**good, "points": []}, {**good, "points": [{}]}, {**good, "points": None}, 7]
    for name, value in (("watts", -1), ("watts", math.nan), ("read_w", 0), ("limit", 2), ("read_error_w", math.inf)):
        damaged.append({**good, "points": [{**good["points"][0], name: value}]})
    damaged += [{**good, "points": [{**good["points"][0], "watts": 1e308}] * 2}]
    for content in damaged:
        file.write_text(json.dumps(content))
        with pytest.raises(TableError, match=r"cal\.json"):
            gains.read(file)
    file.write_text("{")
    with pytest.raises(TableError, match="is damaged"):
        gains.read(file)
    with pytest.raises(InputError, match="dime power calibrate makes one"):
        gains.read(tmp_path / "none.json")


@given(st.recursive(st.none() | st.floats() | st.text(), lambda inner: st.dictionaries(st.text(), inner), max_leaves=4))
def test_a_gain_from_a_file_is_one_or_refused(value):
    for content in (value, {"factor": value, "error": value, "source": value}):
        try:
            found = Gain.checked(content, "x")
        except DimeError:
            continue
        assert gains.LEAST <= found.factor <= gains.MOST and (found.error is None or 0 <= found.error <= 0.5)


def test_a_join_widens_joules_by_what_is_stated_or_calibrated(tmp_path):
    stated = join(make(tmp_path / "stated")[0])
    summary = stated.summary
    assert summary["energy_gain_j"] == pytest.approx(0.03 * summary["energy_mean_j"])
    half = (summary["energy_high_j"] - summary["energy_low_j"]) / 2
    one_meter = (summary["energy_one_meter_high_j"] - summary["energy_one_meter_low_j"]) / 2
    assert (half > 0.0587 * summary["energy_mean_j"]).all() and (one_meter < 0.03 * summary["energy_mean_j"]).all()
    Calibration("smartpower3", "0", (point(),)).write(tmp_path / "cal.json")
    calibrated = join(make(tmp_path / "calibrated")[0], calibration=tmp_path / "cal.json")
    ratio = calibrated.summary["energy_mean_j"] / summary["energy_mean_j"]
    assert ratio == pytest.approx(5 / 5.2) and calibrated.quality["gain"]["error"] == pytest.approx(0.0029, abs=1e-4)
    profile = load_profile(tmp_path / "calibrated")
    assert profile.meter == "smartpower3 0"
    assert profile.gain == Gain(**calibrated.quality["gain"])
    assert load_profile(tmp_path / "calibrated" / "joint_profile.parquet").gain == profile.gain


def test_a_meter_of_which_nobody_states_an_accuracy_is_told_so(tmp_path, monkeypatch):
    monkeypatch.setattr(plugins.load(meters, "smartpower3"), "GAIN", plugins.load(meters, "rapl").GAIN)
    found = join(make(tmp_path / "run")[0])
    expected = (
        "energies: the meter's own gain error is in no interval: neither Intel nor AMD states an accuracy of RAPL"
    )
    assert expected in found.notes and np.isnan(found.summary["energy_gain_j"]).all()
    assert np.isfinite(found.summary["energy_low_j"]).all()
