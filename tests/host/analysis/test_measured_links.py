"""A link that was measured varies: in intervals, draws and limits that hold with a probability."""

import math
from dataclasses import replace

import numpy as np
import pytest

from dime.contract.errors import InputError
from dime.host.analysis import chance_limits, resampling
from dime.host.analysis.uncertainty import bootstrap
from dime.host.common import student
from dime.host.planning.accounting import Accounting
from dime.host.planning.evaluation import evaluate
from dime.host.planning.formulation import build_problem
from dime.host.planning.goals import Limits
from dime.host.planning.links import Link
from dime.host.planning.problem import PER_S
from dime.host.search.solvers import exact
from dime.host.studies.study import make_study
from tests.host import small

RADIO = 0.0, 0.0, 0.0  # a link that takes no energy
SIZES = (20_000, 8_000, 4_000, 1_000)


def link(passes=5, between=0.2, seed=0, spread_s=0.0, spread_share=0.0, times=1.0):
    """8 and 24 Mbit/s, a round trip of 1 ms, or so many times faster, by passes that differ."""
    rng = np.random.default_rng(seed)
    found = np.array([1e-3, 1 / 8e6, 1 / 24e6]) / times * (1 + between * rng.normal(size=(passes, 1)))
    trip_s, up, down = found.mean(axis=0)
    return Link(
        "a-b", 1 / up, 1 / down, trip_s, *RADIO, origin="measured", passes=tuple(map(tuple, found)), spread_s=spread_s,
        spread_share=spread_share,
    )  # fmt: skip


def made(one, seed=1, spread=0.0, runs=6, goal="latency", limits=None, **terms):
    profiles = small.profiles(3, 2, seed, spread, runs)
    limits, known = limits or Limits(rule="free"), Accounting(**terms)
    return profiles, build_problem(profiles, one, goal, limits, sizes_bytes=SIZES, accounting=known)


def crossing(problem):
    """A plan that sends the input and gets the result back, and one that stays."""
    plans = [choices for _, _, choices in small.all_plans(problem)]
    there = next(plan for plan in plans if len(plan) == 1 and plan[0].device == 1)
    return there, next(plan for plan in plans if len(plan) == 1 and plan[0].device == 0)


def test_a_plans_interval_is_that_of_its_links_passes():
    one = link()
    profiles, problem = made(one)
    samples = resampling.resample(problem, profiles, 20)
    there, here = crossing(problem)
    totals = one.passes_s(SIZES[0], True) + one.passes_s(4, False)
    half = student.quantile(0.975, 4) * totals.std(ddof=1) / math.sqrt(5)
    center = evaluate(problem, there).latency_ps / PER_S
    assert samples.interval(there, (), "latency") == pytest.approx((center - half, center + half), rel=1e-6)
    low, high = samples.interval(here, (), "latency")
    assert high - low == pytest.approx(0, abs=1e-9)
    assert samples.interval(there, there) == pytest.approx((0, 0), abs=1e-12), "what two plans share cancels"


@pytest.mark.parametrize("terms", [{}, {"idle_power_w": 2.0}, {"connection": "new", "idle_power_w": 2.0}])
@pytest.mark.parametrize("goal", ["latency", "throughput", "weighted:1,0.5"])
def test_a_replicates_costs_are_those_of_its_own_link(goal, terms):
    """So are the joules of a device that waits while bits are on their way."""
    profiles, problem = made(link(), spread=0.1, goal=goal, **terms)
    samples = resampling.resample(problem, profiles, 8)
    own = [
        replace(
            problem.with_costs([d[at] for d in samples.latency_ps], [d[at] for d in samples.energy_pj]),
            crossing_ps=samples.crossing_ps[at],
        )
        for at in range(8)
    ]
    for _, _, choices in small.all_plans(problem)[::7]:
        costs = samples.costs(choices)
        for at in range(8):
            again = evaluate(own[at], choices)
            assert (costs.latency_ps[at], costs.period_ps[at]) == (again.latency_ps, again.period_ps)
            assert costs.energy_pj[at] == again.energy_pj
    for at, found in enumerate(samples.trade_offs(60.0)):
        assert sorted(found.values) == sorted(exact.trade_offs(own[at], 60.0).values)


@pytest.mark.parametrize(("connection", "trips"), [("kept", 0), ("new", 1)])
def test_the_round_trip_of_a_new_connection_varies_too(connection, trips):
    one = link()
    profiles, problem = made(one, connection=connection)
    samples = resampling.resample(problem, profiles, 20)
    there, _ = crossing(problem)
    totals = one.passes_s(SIZES[0], True) + one.passes_s(4, False) + 2 * trips * np.array(one.passes)[:, 0]
    half = student.quantile(0.975, 4) * totals.std(ddof=1) / math.sqrt(5)
    low, high = samples.interval(there, (), "latency")
    assert (high - low) / 2 == pytest.approx(half, rel=1e-6)


def test_draws_of_a_link_have_its_t_distribution():
    one = link(passes=4)
    drawn = resampling._draw_link(one, 20_000) @ [0.5, 8.0 * SIZES[0], 0.0]
    totals = one.passes_s(SIZES[0], True)
    half = student.quantile(0.975, 3) * totals.std(ddof=1) / 2
    outside = np.abs(drawn - totals.mean()) > half
    assert outside.mean() == pytest.approx(0.05, abs=0.006)


@pytest.mark.parametrize("between", [0.0, 0.3])
def test_the_best_plan_is_less_sure_the_less_the_link_is_known(between):
    profiles, problem = made(link(between=between, passes=3, times=10), seed=2)
    plans = [tuple(choices) for _, _, choices in small.all_plans(problem)]
    best = min(plans, key=lambda plan: evaluate(problem, plan).latency_ps)
    share = bootstrap(resampling.resample(problem, profiles, 100), [best]).chosen.best_share
    assert (share == 1) == (between == 0)


def test_a_link_that_is_modelled_does_not_vary():
    profiles, problem = made(small.LINK)
    samples = resampling.resample(problem, profiles, 5)
    assert samples.crossing_ps is None
    assert samples.interval(crossing(problem)[0], (), "latency") is not None


def test_a_link_of_one_pass_has_no_interval_and_says_so():
    profiles, problem = made(link(passes=1), limits=Limits(latency_s=1.0, rule="free"))
    assert "was measured in one pass" in resampling.unknown_link(problem)
    with pytest.raises(InputError, match="link a-b was measured in one pass"):
        chance_limits.plan_with_confidence(problem, profiles, 0.9)


@pytest.mark.parametrize("noise", ["exponential", "normal", "uniform"])
@pytest.mark.parametrize("probability", [0.9, 0.95, 0.99])
def test_single_transfers_end_as_late_as_is_said(noise, probability):
    rng = np.random.default_rng(0)
    drawn = {
        "exponential": lambda: rng.exponential(size=(2, 100_000)) - 1,
        "normal": lambda: rng.normal(size=(2, 100_000)),
        "uniform": lambda: rng.uniform(-1, 1, (2, 100_000)) * 3**0.5,
    }[noise]()
    one = link(between=0.0, spread_s=1e-3, spread_share=0.3)
    _, problem = made(one)
    _, late_s = chance_limits.crossing_tails(problem, probability)
    bound_s = math.hypot(late_s[0, 0, 1], late_s[3, 1, 0])
    spreads = one.deviation_s(SIZES[0], True), one.deviation_s(4, False)
    late = drawn[0] * spreads[0] + drawn[1] * spreads[1]
    assert (late <= bound_s).mean() >= probability - 0.002


def test_a_limit_with_a_probability_allows_for_the_links_spread():
    steady, varying = link(between=0.02), link(between=0.02, spread_s=4e-3, spread_share=0.3)
    bounds = []
    for one in (steady, varying):
        profiles, problem = made(one, spread=0.05, runs=20, limits=Limits(latency_s=1.0, rule="free"))
        there = crossing(problem)[0]
        known = chance_limits._Known.of(problem, profiles, ["latency"])
        model = chance_limits._Model(problem, *known.tails(["latency"], 0.9), 0.0)
        bounds.append(model.bound("latency", there))
        drawn = known.draw(there, "latency")
        assert (drawn <= bounds[-1]).mean() >= 0.84  # of 20 runs a cell
    assert bounds[1] > bounds[0] + 4e-3
    found = chance_limits.plan_with_confidence(problem, profiles, 0.9)
    assert found.limits[0].bound <= 1.0


def test_the_best_plan_within_such_a_limit_is_that_of_enumeration():
    one = link(between=0.1, spread_s=2e-3, spread_share=0.3)
    for seed in range(6):
        profiles, problem = made(one, seed=seed, spread=0.1, runs=20)
        known = chance_limits._Known.of(problem, profiles, ["latency"])
        model = chance_limits._Model(problem, *known.tails(["latency"], 0.9), math.inf)
        plans = [tuple(choices) for _, _, choices in small.all_plans(problem)]
        bounds = {plan: model.bound("latency", plan) for plan in plans}
        limit = float(np.quantile(list(bounds.values()), 0.2))
        limited = build_problem(profiles, one, "energy", Limits(latency_s=limit, rule="free"), sizes_bytes=SIZES)
        kept = [plan for plan in plans if bounds[plan] <= limit]
        least = min(evaluate(limited, plan).energy_pj for plan in kept)
        found = chance_limits.plan_with_confidence(limited, profiles, 0.9)
        assert evaluate(limited, found.choices).energy_pj == least


def test_a_study_of_a_measured_link_says_how_sure_it_is(tmp_path, monkeypatch):
    from dime.host.profiles import link_profile
    from tests.host import links

    monkeypatch.chdir(tmp_path)
    profiles = [replace(one, sizes_bytes=SIZES) for one in small.profiles(3, 2, 1, 0.05, 6)]
    for name, passes in (("sure", 5), ("unsure", 1)):
        folder = tmp_path / "results/links" / name / "001"
        folder.mkdir(parents=True)
        rows = links.exchanges(passes=passes, between=0.1, truth=(1e-3, 8e6, 24e6), largest=20_000)
        link_profile.write(link_profile.fit(rows, name, "d0", "d1", "measured"), folder)
    sure, unsure = make_study(profiles, "sure,unsure", replicates=20).links
    assert sure.uncertainty is not None
    assert unsure.uncertainty is None
    assert any("link unsure was measured in one pass" in note for note in unsure.notes)
