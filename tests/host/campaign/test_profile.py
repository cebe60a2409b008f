"""Profiles through the command: with a meter, its log, the join and joules; and from published feature maps."""

import json
import shutil
import time

import pytest

from tests.host.conftest import dime
from tests.lab.loads import Load
from tests.lab.meter import StandInMeter


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_device_with_a_meter_is_profiled_in_joules_by_one_command(tmp_path, profiled, monkeypatch):
    monkeypatch.delenv("DIME_POWER_TOKEN", raising=False)
    load = Load(idle_w=3.0)
    (tmp_path / "samples").symlink_to(profiled / "samples")
    with StandInMeter(load, baud=500000) as meter:
        (tmp_path / "lab.toml").write_text(
            '[metered]\nengine = "local"\nthreads = 1\n'
            f'meter = {{name = "smartpower3", port = "{meter.port}", baud = 500000}}\n'
        )
        time.sleep(0.2)
        options = ["--runs=2", "--iterations=1", "--warmups=0", "--max-layers=1", "--energy-error=25%"]
        said = dime("profile", "--net=alexnet", "--device=metered", *options, folder=tmp_path).stderr
    assert "bundles have not reached ±25.0% after 1 passes" in said, "one pass has no scatter to judge by"
    folder = tmp_path / "results/metered/alexnet"
    assert (folder / "joint_profile.parquet").exists()
    quality = [json.loads(path.read_text()) for path in sorted((folder / "power").glob("*.json"))]
    assert quality
    (session,) = json.loads((folder / "clock.json").read_text())["sessions"]
    taken = {"name": "smartpower3", "channel": "0"}
    assert session["meter"] == taken, "reached with a token of the run's own; the only channel that is on"
    assert json.loads((folder / "run.json").read_text())["sessions"][0]["meter"] == taken
    joined = json.loads((folder / "joint_quality.json").read_text())
    assert (joined["meter"], joined["channel"]) == ("smartpower3", "0")
    result = dime("solve", "--net=alexnet", "--edge=metered", "--server=metered", folder=tmp_path, check=False)
    assert "named twice" in result.stderr
    from dime.host.profiles.profiles import load_profile

    profile = load_profile(str(folder))
    assert profile.energy_origin == "measured"
    watts = profile.means.energy_j / profile.means.duration_s
    assert watts == pytest.approx(3.0, rel=0.02)


@pytest.mark.slow
@pytest.mark.parametrize("place", [".", "alexnet_samples"])
def test_published_feature_maps_are_read_as_they_are(tmp_path, profiled, place):
    shutil.copytree(profiled / "samples/alexnet", tmp_path / "alexnet_samples")
    (tmp_path / "alexnet_samples/manifest.json").unlink()
    for path in tmp_path.glob("alexnet_samples/*/*.pt"):
        path.rename(path.with_name(f"n0{path.name}"))
    options = ["--runs=1", "--iterations=1", "--warmups=0", "--max-layers=1", "--threads=1", "--weights=seeded"]
    dime("profile", "--net=alexnet", f"--samples={place}", *options, folder=tmp_path)
    rows = (tmp_path / "results/edge/alexnet/timings.csv").read_text().splitlines()[1:]
    assert len(rows) == 8 and all(",n0" in row for row in rows)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["alexnet_samples", "results"]
    assert len(list((tmp_path / "alexnet_samples").iterdir())) == 8


def test_a_meters_mistyped_option_is_told_before_anything_runs(tmp_path):
    (tmp_path / "lab.toml").write_text('[a]\nengine = "local"\nmeter = { name = "smartpower3", bauds = 500000 }\n')
    said = dime("profile", "--net=alexnet", "--device=a", folder=tmp_path, check=False).stderr
    assert "lab.toml [a]: unknown meter option 'bauds'; known: " in said and "did you mean 'baud'" in said
    assert [path.name for path in tmp_path.iterdir()] == ["lab.toml"]
