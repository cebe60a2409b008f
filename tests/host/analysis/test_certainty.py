"""What is said of a plan is true: a few seeds of the noises whose 400 seeds tests/benchmarks/test_certainty.py has."""

from dataclasses import replace

import numpy as np
import pytest

from dime.contract.errors import InputError
from dime.host.analysis import resampling, uncertainty
from dime.host.profiles.scatter import Scatter
from dime.host.search.solvers import solve
from tests.host.analysis import noise


@pytest.mark.parametrize("kind", ["drift 3 %", "lognormal 25 %", "outliers"])
def test_intervals_cover_the_truth(kind):
    """Runs taken one by one as independent cover it in half of the cases with drift, a trimmed mean no energy."""
    score = noise.judge(kind, 5, 10, range(40), replicates=20)
    for what in ("latency", "energy", "difference"):
        assert score.given.get(what, 0) < 5 or score.share(what) >= 0.85, what


def test_sessions_that_differ_have_no_interval():
    refused = [resampling.unknown(noise.measured("two sessions", 10, 3, seed).profiles) for seed in range(10)]
    told = [reason for reason in refused if reason]
    assert len(told) >= 8
    assert "is of two sessions that differ by" in told[0]


def test_one_pass_has_no_interval_and_says_why():
    made = noise.measured("normal", 1, 20, 1)
    with pytest.raises(InputError, match="edge is of one pass, and how passes differ is not known: profile more"):
        resampling.resample(made.problem, made.profiles)
    summary = made.profiles[0].summary()
    assert np.isnan(summary["duration_s_low"]).all() and np.isnan(summary["energy_j_high"]).all()


def test_a_table_without_passes_takes_its_runs_as_independent_and_says_so():
    made = noise.measured("normal", 5, 10, 1)
    profiles = [replace(profile, run_iteration=None) for profile in made.profiles]
    samples = resampling.resample(made.problem, profiles, 50)
    found = uncertainty.bootstrap(samples, [solve(made.problem).choices])
    assert "edge does not say in which pass a run was: its runs are taken as independent" in found.notes
    once = [replace(profiles[0], run_duration_s=profiles[0].run_duration_s[::50], run_energy_j=None), profiles[1]]
    once[0] = replace(once[0], starts=np.arange(len(once[0].run_duration_s) + 1))
    assert "edge has one run of bundle 'a', and how runs differ is not known" in resampling.unknown(once)


def test_energies_are_plain_means_and_skewed_ones_have_no_interval():
    made = noise.measured("outliers", 5, 10, 3)
    profile = made.profiles[0]
    plain = np.add.reduceat(profile.run_energy_j, profile.starts[:-1]) / np.diff(profile.starts)
    assert profile.means.energy_j.ravel() == pytest.approx(plain)
    assert (profile.means.duration_s.ravel() * 4.9 < plain).any()
    samples = resampling.resample(made.problem, made.profiles, 50)
    choices = solve(made.problem.with_limits(replace(made.problem.limits, private_layers=3))).choices
    assert samples.interval(choices, (), "energy") is None and samples.interval(choices, (), "latency")
    told = uncertainty.bootstrap(samples, [choices]).notes
    assert "no interval of the energy would hold: few runs take far more than the others; profile more" in told


@pytest.mark.parametrize("kind", ["drift 3 %", "normal"])
def test_draws_have_the_spread_of_the_intervals(kind):
    """What passes share adds up over a plan's steps, the rest evens out."""
    made = noise.measured(kind, 8, 10, 4)
    scatter = Scatter.of(made.profiles[0])
    cells = scatter.column(0)
    drawn = scatter.draw(4000, 1).duration_s[:, :, 0].sum(axis=1)
    passes = scatter.passes[0][:, cells].sum(axis=1)
    quarters = np.quantile(drawn, (0.25, 0.75))
    expected = 2 * 0.7111 * passes.std(ddof=1) / 8**0.5
    assert quarters[1] - quarters[0] == pytest.approx(expected, rel=0.5 if kind == "normal" else 0.1)
