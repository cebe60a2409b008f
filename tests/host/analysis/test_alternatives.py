"""Margins against enumeration of every plan; slacks and prices of limits."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings

from dime.host.analysis import alternatives, resampling
from dime.host.planning.evaluation import evaluate, value
from dime.host.planning.formulation import build_problem
from dime.host.planning.goals import Limits
from dime.host.search.solvers import solve
from dime.testing import synthetic
from tests.host import small


def placement(choices):
    return [c.device for c in choices for _ in range(c.bundle.first, c.bundle.last + 1)]


@settings(max_examples=60, deadline=None)
@given(small.problems(goals=("latency", "energy", "weighted:1,0.5", "throughput")))
def test_margins_are_those_of_all_plans(problem):
    plans = small.all_plans(problem)
    chosen = solve(problem).choices
    best = value(problem, evaluate(problem, chosen))
    assert best == pytest.approx(plans[0][0], rel=1e-15)
    found = {rival.what: rival for rival in alternatives.explain(problem, chosen).rivals}
    others = [plan[0] for plan in plans if plan[2] != chosen]
    moved = [plan[0] for plan in plans if placement(plan[2]) != placement(chosen)]
    for what, rest in (("any step", others), ("placement", moved)):
        if not rest:
            assert what not in found
            continue
        rival = found[what]
        assert rival.value == pytest.approx(rest[0], rel=1e-15)
        assert rival.margin == pytest.approx(rest[0] - best, abs=1e-15)
        assert rival.choices != chosen
        assert not evaluate(problem, rival.choices).broken
        assert rival.interval is None
        assert rival.sure is None
    if moved:
        assert placement(found["placement"].choices) != placement(chosen)


@settings(max_examples=30, deadline=None)
@given(small.problems(goals=("latency", "energy")))
def test_margins_within_limits_that_cut_across_the_goal(problem):
    everything = small.all_plans(problem)
    half = np.median(
        [plan[1].energy_pj if problem.goal.kind == "latency" else plan[1].latency_ps for plan in everything]
    )
    cut = {"energy_j": half / 1e12} if problem.goal.kind == "latency" else {"latency_s": half / 1e12}
    problem = problem.with_limits(replace(problem.limits, **cut))
    plans = small.all_plans(problem)
    chosen = solve(problem).choices
    others = [plan[0] for plan in plans if plan[2] != chosen]
    second = alternatives.second_best(problem, chosen)
    if others:
        assert value(problem, evaluate(problem, second)) == others[0]
    else:
        assert second is None
    slack = next(s for s in alternatives.slacks(problem, chosen) if s.unit in ("s", "J"))
    assert slack.slack >= 0
    assert slack.used + slack.slack == pytest.approx(slack.most)
    assert slack.price == pytest.approx(plans[0][0] - everything[0][0], abs=1e-15)


@pytest.mark.parametrize("rule", ["free", "published"])
def test_every_limit_has_its_slack_and_price(rule):
    problem = small.problem(4, 2, 3)
    free = solve(problem)
    limits = Limits(
        latency_s=10.0,
        energy_j=9.0,
        private_layers=2,
        memory_bytes={"d0": 6000},
        frequencies_hz={"d0": (1000, 2000)},
        max_bundle=3,
        rule=rule,
    )
    problem = problem.with_limits(limits)
    chosen = solve(problem)
    found = {slack.limit: slack for slack in alternatives.slacks(problem, chosen.choices)}
    expected = ["latency", "energy", "memory of d0", "layers away from d0", "largest bundle", "frequencies of d0"]
    assert list(found)[:6] == expected
    assert list(found)[6:] == (["bundles on d0", "bundles on d1"] if rule == "published" else [])
    assert all(slack.slack >= 0 for slack in found.values())
    assert found["latency"].most == 10
    assert found["latency"].price == found["energy"].price == 0
    without = solve(problem.with_limits(replace(limits, private_layers=0))).objective
    assert found["layers away from d0"].price == pytest.approx(chosen.objective - without, abs=1e-15)
    assert all(slack.price <= chosen.objective - free.objective + 1e-15 for slack in found.values())
    table = alternatives.explain(problem, chosen.choices).table()
    assert list(table["limit"]) == list(found)


def test_whether_a_margin_exceeds_the_measurement():
    chain = synthetic.ALEXNET
    profiles = [synthetic.profile(chain), synthetic.server(chain)]
    problem = build_problem(profiles, "4G", "energy", Limits(latency_s=0.1, rule="merged"))
    samples = resampling.resample(problem, profiles, 300)
    found = alternatives.explain(problem, solve(problem).choices, samples)
    for rival in found.rivals:
        low, high = rival.interval
        assert low < rival.margin < high
        assert rival.sure == (low > 0)
        assert rival.share == pytest.approx(rival.margin / found.value)
    text = str(found)
    assert "second best:" in text
    assert "best with another placement:" in text
    assert "95% interval" in text
    assert f"latency: {found.slacks[0].used:.6g} of 0.1 s" in text
    # A plan against its own twin: the clocks' costs are the same, and nothing tells them apart.
    twins = problem.with_costs(
        [np.repeat(d.latency_ps[:, :1], d.latency_ps.shape[1], axis=1) for d in problem.devices],
        [np.repeat(d.energy_pj[:, :1], d.energy_pj.shape[1], axis=1) for d in problem.devices],
    )
    twins = twins.with_limits(Limits(rule="merged"))
    rival = alternatives.explain(twins, solve(twins).choices).rivals[0]
    assert rival.margin == 0


def test_one_plan_has_no_rival_and_a_late_search_gives_none():
    only = small.problem(1, 2, 1, limits=Limits(private_layers=1, frequencies_hz={"d0": (1000,)}))
    chosen = solve(only).choices
    assert alternatives.explain(only, chosen).rivals == ()
    several = small.problem(3, 2, 1, limits=Limits(energy_j=9.0))
    late = alternatives.explain(several, solve(several).choices, time_limit_s=0)
    assert late.rivals == ()
    assert [slack.price for slack in late.slacks] == [None]
    assert str(late).startswith("energy: ")


def test_a_plan_that_is_not_the_best_has_a_negative_margin():
    problem = small.problem(3, 2, 1)
    plans = small.all_plans(problem)
    found = alternatives.explain(problem, plans[-1][2])
    assert found.rivals[0].value == plans[0][0]
    assert found.rivals[0].margin < 0
