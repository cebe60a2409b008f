"""Results of an earlier version are joined, solved and reported as that version did."""

import json
import shutil
from pathlib import Path

import pytest

from dime.host.planning.plan import read_plan
from dime.host.profiles.profiles import load_profile
from tests.host.conftest import dime

KEPT = Path(__file__).parents[1] / "data" / "older_results"


@pytest.fixture
def older(tmp_path):
    shutil.copytree(KEPT, tmp_path / "results")
    return tmp_path


def test_it_is_joined_to_the_same_energies(older):
    before = load_profile(str(older / "results/nano/tiny"))
    for path in (older / "results/nano/tiny").glob("joint_*"):
        path.unlink()
    assert dime("join", "results/nano/tiny", folder=older).returncode == 0
    after = load_profile(str(older / "results/nano/tiny"))
    assert after.run_energy_j == pytest.approx(before.run_energy_j, rel=1e-12)  # sums are in another order since
    assert _solve(older).energy_j == pytest.approx(read_plan(KEPT / "plans/4G/plan.json").energy_j, rel=1e-9)


def test_what_it_did_not_measure_is_not_known_and_its_power_at_rest_is_read(older):
    profile = load_profile(str(older / "results/nano/tiny"))
    said = json.loads((KEPT / "nano/tiny/joint_quality.json").read_text())["idle_w"]
    assert profile.idle_w == (said["921600000"],) and profile.idle_w_sd is None
    assert (profile.run_single_s, profile.copy_in_s, profile.run_session) == (None, None, None)
    assert profile.frequency_change_s is None
    assert load_profile(str(older / "results/pc/tiny")).idle_w is None


def _solve(older):
    words = ("--net=tiny", "--edge=nano", "--server=pc", "--link=4G", "--goal=energy", "--private=conv1", "--out=again")
    words += ("--terms=none", "--joules=all")  # what that version knew
    dime("solve", *words, folder=older)
    return read_plan(older / "again/4G/plan.json")


def test_it_is_solved_to_the_same_plan(older):
    before, after = read_plan(KEPT / "plans/4G/plan.json"), _solve(older)
    assert after.steps == before.steps
    assert (after.latency_s, after.energy_j) == (before.latency_s, before.energy_j)
    assert after.energy_j == json.loads((KEPT / "plans/4G/plan.json").read_text())["energy_j"]


def test_its_report_is_made_anew(older):
    done = dime("report", "results/plans", folder=older)
    assert done.returncode == 0, done.stderr
    assert "tiny" in (older / "results/plans/report.html").read_text()
