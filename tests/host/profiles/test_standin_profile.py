"""A stand-in's profile by the ordinary path: emulated times, modelled energies without a meter, words that say so."""

import json
import os
import shutil

import numpy as np
import pytest

from dime.contract import emulation
from dime.contract.errors import TableError
from dime.host.profiles.profiles import load_profile
from tests.host.conftest import dime

SHARES_HZ = [210_000_000, 500_000_000]
WORDS = "this machine held to 21 or 50 % of a core; not a board"


@pytest.fixture(scope="module")
def emulated(profiled, tmp_path_factory):
    """A profile of the stand-in, made without a lab file, beside those of this machine."""
    results = tmp_path_factory.mktemp("standin") / "results"
    shutil.copytree(profiled / "results/server", results / "server")
    words = ["--freqs=21%,50%", "--runs=1", "--iterations=2", "--warmups=0", f"--results={results}"]
    done = dime("profile", "--net=alexnet", "--device=standin", *words, folder=profiled)
    assert WORDS in done.stderr
    return results


def test_times_are_emulated_and_energies_modelled(emulated):
    profile = load_profile(emulated / "standin/alexnet")
    assert (profile.origin, profile.energy_origin) == ("emulated", "modelled")
    assert profile.energy_model == "(1.5 W + 2.5 W x (share / 21 %)^3) x time"
    assert list(profile.frequencies_hz) == SHARES_HZ
    watts = np.array([4.0, 1.5 + 2.5 * (50 / 21) ** 3])
    assert np.allclose(profile.means.energy_j, profile.means.duration_s * watts)
    assert any(WORDS in text for text in profile.warnings)
    assert profile.idle_w == (1.5, 1.5) and profile.idle_w_sd is None
    assert profile.with_power(5.0).energy_model == "5 W x time", "a formula may replace a formula"


@pytest.mark.slow
@pytest.mark.alone
def test_a_share_takes_so_much_longer(emulated):
    standin, server = (load_profile(emulated / name / "alexnet") for name in ("standin", "server"))
    slow_s, fast_s = standin.means.duration_s.T
    ratio = np.median(slow_s / fast_s)
    if server.warnings or os.getloadavg()[0] > (os.cpu_count() or 1):
        pytest.skip(f"this machine is busy: 21 and 50 % of a core differ by {ratio:.2f}")
    assert 1.9 < ratio < 2.9 and np.all(slow_s > fast_s)


def test_plan_report_and_terminal_say_it(emulated, profiled):
    words = ["--edge=standin", f"--results={emulated}", "--link=WiFi", "--replicates=0"]
    text = " ".join(dime("solve", "--net=alexnet", *words, folder=profiled).stdout.split())
    assert WORDS in text
    assert "standin: time emulated" in text and "energy modelled ((1.5 W" in text
    study = emulated / "plans/alexnet/001"
    plan = json.loads((study / "WiFi/plan.json").read_text())
    assert any(WORDS in warning for warning in plan["warnings"])
    origins = {step["origin"] for step in plan["steps"] if step["device"] == "standin"}
    assert origins <= {"emulated"}
    report = json.dumps(json.loads((study / "report.json").read_text()))
    assert WORDS in report and '"origin": "emulated"' in report


@pytest.mark.parametrize(
    "model",
    [{"watts": {"x": 1.0}}, {"watts": {"210000000": None}}, {"watts": {"210000000": 4.0}, "told": "a formula"}, []]
    + [{"watts": {"210000000": 4, "500000000": 9}, "told": "x", "idle_watts": one} for one in (-1, "1.5", True)],
)
def test_a_damaged_power_model_is_told_in_one_line(emulated, tmp_path, model):
    shutil.copytree(emulated / "standin/alexnet", tmp_path / "run")
    fields = json.loads((tmp_path / "run/run.json").read_text())
    (tmp_path / "run/run.json").write_text(json.dumps({**fields, "power_model": model}))
    with pytest.raises(TableError, match=r"power.model"):
        load_profile(tmp_path / "run")
    assert emulation.percent(210_000_000) == 21
