"""A plan's joules against those of a device whose power is known; tests/benchmarks/test_metered.py has 400 seeds."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dime.host.analysis import resampling
from dime.host.planning.evaluation import evaluate
from tests.host import small
from tests.host.analysis import metered, noise

TABLE = Path(__file__).with_name("metered.csv")


@pytest.mark.parametrize("kind", ["normal", "lognormal 25 %", metered.MEASURED])
def test_a_plans_interval_holds_the_joules_of_a_run_of_it(tmp_path, kind):
    score = metered.judge(tmp_path, kind, range(8), replicates=10)
    for what in metered.PLANS:
        assert score.given[what] == 8 and score.share(what) >= 0.7, what


def test_joules_of_waiting_for_a_server_of_which_few_runs_take_far_longer_are_no_typical_ones(tmp_path):
    """By typical times the interval of a plan that leaves all to the server held in 3 of 25 cases."""
    score = metered.judge(tmp_path, "outliers", range(6), replicates=10)
    what = metered.PLANS[2]
    assert score.given.get(what, 0) < 4 or score.share(what) >= 0.7
    assert abs(np.mean(score.off[what])) < 0.003, "without what the mean is longer than a typical time it is 0.0045"


def test_the_joules_of_the_air_vary_with_a_measured_links_rates(tmp_path):
    true, profiles, problem = metered.measured(tmp_path / "run", metered.MEASURED, 5, 1)
    remote = next(plan[2] for plan in small.all_plans(problem) if len(plan[2]) == 1 and plan[2][0].device == 1)
    widths = []
    for radio_w in (true.link.radio_w, 20 * true.link.radio_w):
        joined = {pair: replace(link, radio_w=radio_w) for pair, link in problem.joined.items()}
        samples = resampling.resample(replace(problem, joined=joined), profiles, 2)
        low, high = samples.interval(remote, (), "energy")
        widths.append(high - low)
    assert widths[1] > 1.5 * widths[0]


def test_the_true_joules_of_a_plan_that_stays_are_those_of_its_bundles():
    true = metered.world(2)
    choices = [(bundle, 0, metered.CLOCKS[1]) for bundle in metered.BUNDLES if bundle.first == bundle.last]
    rows = [metered.BUNDLES.index(bundle) for bundle, _, _ in choices]
    assert metered.true_joules(true, choices) == pytest.approx((true.edge_s[rows, 1] * true.edge_w[rows, 1]).sum())


def test_the_table_holds():
    table = noise.read_rows(TABLE)
    assert metered.broken(table) == []
    for kind in metered.KINDS:
        of_kind = {row.statement: row.given for row in table if row.noise == kind}
        for what in metered.PLANS:
            assert of_kind[what] + of_kind.get(metered.REFUSED + what, 0) >= 400


def test_the_plan_and_its_run_agree_where_nothing_varies(tmp_path, monkeypatch):
    """Every plan's joules, as planned by a profile without noise, and as the run of it draws them."""
    monkeypatch.setattr(metered.noise, "factors", lambda kind, generator, shape: np.ones(shape))
    monkeypatch.setattr(metered, "GAIN_ERROR", 0.0)
    for seed in (0, 1):
        true, _, problem = metered.measured(tmp_path / str(seed), "normal", 4, seed)
        for _, totals, choices in small.all_plans(problem)[::5]:
            planned = evaluate(problem, choices).energy_pj / 1e12
            assert totals.energy_pj / 1e12 == planned
            assert planned == pytest.approx(metered.true_joules(true, choices), rel=0.01)
