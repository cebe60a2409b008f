"""Meter, logger, device, clocks and join together, over a real pseudo-terminal and real sockets."""

import json

import numpy as np
import pytest
from pyarrow import parquet

from dime.contract.errors import TableError
from dime.host.profiles import joint_profile
from tests.host import powered
from tests.lab.loads import Load
from tests.lab.meter import StandInMeter

pytestmark = pytest.mark.alone


@pytest.fixture(scope="module")
def joined(tmp_path_factory):
    """A run on a device whose clock is 20 minutes off and 20 ppm fast, its logs, and what was true."""
    folder = tmp_path_factory.mktemp("powered")
    load = Load(powered.IDLE_W)
    device = powered.Device(load)
    patch = pytest.MonkeyPatch()
    with (
        patch.context() as patched,
        StandInMeter(load) as meter,
        powered.serving(meter, folder / "logs") as (port, thread),
    ):
        patched.setattr(powered.power_log, "REST_S", 0.5)
        device.run(folder / "run", port, patched)
        thread.join(10)
        assert not thread.is_alive(), "the device's shutdown ends the logger"
    return folder, device


def test_every_bundle_has_its_true_energy_within_the_interval(joined):
    folder, device = joined
    result = joint_profile.join(folder / "run", folder / "logs", clock="exchanges")
    assert result.rows == 6 * 2 * 2 and not result.quality["rejected"]
    truth = np.array([np.mean(device.truth_j[name]) for name in result.summary["layers"]])
    mean = result.summary["energy_mean_j"]
    assert np.abs(mean / truth - 1).max() < 0.02
    low, high = (result.summary[f"energy_one_meter_{end}_j"] for end in ("low", "high"))  # it has no gain error
    inside = (low <= truth) & (truth <= high)
    assert inside.sum() >= 5
    assert result.quality["idle_w"][921600000] == pytest.approx(powered.IDLE_W, rel=0.01)


def test_both_codes_are_found_and_agree_with_the_exchanges(joined):
    folder, _ = joined
    quality = json.loads((folder / "run" / joint_profile.QUALITY).read_text())
    assert [one["found"] for one in quality["codes"]] == [True, True]
    assert all(abs(one["difference_s"]) < min(0.005, one["allowed_s"]) for one in quality["codes"])
    assert quality["clocks"][0]["source"] == "exchanges"
    assert quality["clocks"][0]["half_width_95_s"] < 0.002
    (pattern,) = quality["clocks"][0]["others"]
    assert pattern["source"] == "pattern" and pattern["half_width_95_s"] < 0.01


def test_either_solver_can_read_it(joined):
    folder, _ = joined
    table = parquet.read_table(folder / "run" / "joint_profile.parquet").to_pydict()
    published = ("layers", "frequency", "durs", "run_energy", "iter", "run")
    assert all(name in table for name in published)
    assert table["run_energy"][0] == pytest.approx(table["energy_j"][0] * 1e6)
    assert table["durs"] == table["duration_s"] and set(table["origin"]) == {"measured"}


def test_the_pattern_alone_gives_nearly_the_same(joined, tmp_path):
    folder, _ = joined
    other = copy_of(folder / "run", tmp_path)
    before = parquet.read_table(folder / "run" / "joint_profile.parquet")["energy_j"].to_numpy()
    joint_profile.join(other, folder / "logs", clock="pattern")
    after = parquet.read_table(other / "joint_profile.parquet")["energy_j"].to_numpy()
    assert np.abs(after / before - 1).max() < 0.02


def test_clocks_that_disagree_are_refused_unless_forced(joined, tmp_path):
    folder, _ = joined
    other = copy_of(folder / "run", tmp_path)
    content = json.loads((other / "clock.json").read_text())
    for burst in content["sessions"][0]["bursts"]:
        for exchange in burst:
            exchange[1] += 30_000_000
            exchange[2] += 30_000_000
    (other / "clock.json").write_text(json.dumps(content))
    with pytest.raises(TableError, match=r"clocks disagree.*differ by -(29|30|31)\.\d ms, their error bars allow"):
        joint_profile.join(other, folder / "logs", clock="exchanges")
    with pytest.raises(TableError, match=r"clocks disagree: exchanges and the load pattern"):
        joint_profile.join(other, folder / "logs", clock="pattern")
    forced = joint_profile.join(other, folder / "logs", clock="exchanges", force=True)
    assert forced.quality["forced"]


def test_a_target_is_reached_by_repeating(tmp_path):
    load = Load(powered.IDLE_W)
    device = powered.Device(load)
    with (
        pytest.MonkeyPatch().context() as patched,
        StandInMeter(load) as meter,
        powered.serving(meter, tmp_path / "logs") as (port, _),
    ):
        patched.setattr(powered.power_log, "REST_S", 0.5)
        options = {"iterations": 1, "runs": 1, "target": 0.03, "most_passes": 40}
        device.run(tmp_path / "run", port, patched, **options)
    result = joint_profile.join(tmp_path / "run", tmp_path / "logs", target=0.035)
    assert (result.summary["iterations"] >= 2).all(), "one pass has no scatter to judge by"
    assert not [note for note in result.notes if "±" in note]
    half = (result.summary["energy_one_meter_high_j"] - result.summary["energy_one_meter_low_j"]) / 2
    assert (half <= 0.035 * result.summary["energy_mean_j"]).all()


def copy_of(run, folder):
    other = folder / "run"
    other.mkdir()
    for name in ("run.json", "timings.csv", "clock.json"):
        (other / name).write_bytes((run / name).read_bytes())
    return other
