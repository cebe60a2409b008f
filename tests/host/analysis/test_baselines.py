"""What the baselines plan, what they believe, and what it really costs."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dime.contract.bundles import Bundle
from dime.contract.errors import InfeasibleError
from dime.host.analysis import baselines
from dime.host.planning.evaluation import evaluate, value
from dime.host.planning.goals import Limits
from dime.host.planning.problem import Choice, Device, Problem
from dime.testing import synthetic
from tests.host import small


@pytest.fixture(scope="module")
def alexnet():
    return synthetic.problem(synthetic.ALEXNET)


def by_name(problem, **arguments):
    return {row.name: row for row in baselines.compare(problem, **arguments)}


def hand_made():
    """Three layers on two devices; only the whole network on the edge is far better than the sum of its layers."""
    single, sums = 10, np.array([[10], [20], [12], [10], [20], [10]])  # (0,0) (0,1) (0,2) (1,1) (1,2) (2,2)
    edge = Device("edge", (-1,), sums, np.ones_like(sums))
    server = Device("server", (-1,), np.full((6, 1), 1), np.zeros((6, 1), np.int64), has_energy=False)
    crossing = np.full((4, 2, 2), single - 4)
    crossing[:, [0, 1], [0, 1]] = 0
    return Problem("net", ("a", "b", "c"), 3, (edge, server), crossing, crossing, (1, 1, 1, 1))


def test_a_plan_that_sums_of_layers_cannot_find():
    rows = by_name(hand_made())
    everything = Bundle(0, 2)
    assert rows["DIME"].choices == (Choice(everything, 0, -1),)
    assert rows["all on edge"].choices == rows["best single cut"].choices == rows["DIME"].choices
    for name in ("single cut by layers", "JointDNN", "sum of layers"):
        assert rows[name].choices == (Choice(everything, 1, -1),)
        assert rows[name].believed_latency_s == pytest.approx(15e-12)  # three layers of 1 ps, two crossings of 6
        assert rows[name].plan.latency_s == pytest.approx(13e-12)
        assert rows[name].gain == pytest.approx(1 - 12 / 13)
    assert rows["all on server"].gain == rows["sum of layers"].gain


@settings(max_examples=40, deadline=None)
@given(small.problems(devices=(2,)))
def test_single_plans_are_the_best_of_their_kind(problem):
    def placed(choices):
        return [choice.device for choice in choices for _ in range(choice.bundle.first, choice.bundle.last + 1)]

    rule = "merged" if problem.limits.rule == "merged" else "published"
    counted = problem.with_limits(replace(problem.limits, rule=rule))
    plans = small.all_plans(counted)
    rows = by_name(problem)
    for name, allowed in (
        ("all on d0", lambda devices: set(devices) == {0}),
        ("all on d1", lambda devices: set(devices) == {1}),
        ("best single cut", lambda devices: devices == sorted(devices)),
    ):
        best = min((plan[0] for plan in plans if allowed(placed(plan[2]))), default=None)
        if best is None:
            assert not rows[name].feasible
            assert rows[name].gain is None
        else:
            assert rows[name].plan.value == pytest.approx(best, rel=1e-12)
            assert rows[name].believed_value == rows[name].plan.value


@settings(max_examples=40, deadline=None)
@given(small.problems())
def test_no_baseline_that_keeps_the_limits_beats_dime(problem):
    rows = baselines.compare(problem)
    best = small.all_plans(problem)[0][0]
    assert rows[0].plan.value == pytest.approx(best, rel=1e-12)
    for row in rows[1:]:
        if row.feasible and not (row.name == "JointDNN" and problem.limits.rule == "published"):
            assert row.gain >= -1e-12
            assert not evaluate(problem, row.choices).broken


@settings(max_examples=40, deadline=None)
@given(small.problems(goals=("latency",), limited=False), st.booleans())
def test_the_layer_based_plans_are_best_by_their_belief(problem, published):
    problem = problem.with_limits(Limits(rule="published" if published else "free"))
    sums = baselines.layer_sums(problem)
    best = small.all_plans(sums)[0][0]
    choices = baselines.sum_of_layers(problem)
    assert value(sums, evaluate(sums, choices)) == pytest.approx(best, rel=1e-12)
    rows = by_name(problem)
    assert rows["sum of layers"].believed_value == pytest.approx(best, rel=1e-12)
    if not published:
        assert rows["JointDNN"].believed_value >= best * (1 - 1e-12)


def test_joint_dnn_uses_one_clock_a_device_and_joins_neighbours(alexnet):
    choices = baselines.joint_dnn(alexnet.with_goal("energy"))
    for device in (0, 1):
        assert len({choice.frequency_hz for choice in choices if choice.device == device}) <= 1
    assert all(a.device != b.device for a, b in itertools.pairwise(choices))


def test_an_infeasible_baseline_is_shown_with_its_costs_and_the_limit_it_breaks(alexnet):
    rows = by_name(alexnet.with_goal("energy").with_limits(Limits(latency_s=0.1)))
    server = rows["all on wiscad"]
    assert not server.feasible
    assert server.gain is None
    assert server.plan.latency_s > 0.1
    assert server.reason == f"latency {server.plan.latency_s:g} s is over 0.1 s"
    assert rows["all on nano"].feasible


def test_belief_decides_what_a_baseline_dares():
    rows = by_name(hand_made().with_limits(Limits(latency_s=14e-12)))
    assert rows["all on server"].feasible
    assert rows["JointDNN"].choices == rows["all on server"].choices  # 13 ps, but it believes in 15
    assert not rows["JointDNN"].feasible
    slow = np.full((6, 1), 1)
    slow[2] = 9
    problem = hand_made()
    problem = problem.with_costs([problem.devices[0].latency_ps, slow], [d.energy_pj for d in problem.devices])
    rows = by_name(problem.with_limits(Limits(latency_s=18e-12)))
    assert rows["JointDNN"].believed_latency_s == pytest.approx(15e-12)
    assert rows["JointDNN"].reason == "latency 2.1e-11 s is over 1.8e-11 s"
    assert rows["JointDNN"].gain is None


def test_devices_without_a_link():
    problem = hand_made()
    crossing = problem.crossing_ps.copy()
    crossing[:, 0, 1] = crossing[:, 1, 0] = -1
    rows = by_name(replace(problem, crossing_ps=crossing))
    assert rows["all on server"].choices is None
    assert "link" in rows["all on server"].reason
    assert rows["best single cut"].choices == (Choice(Bundle(0, 2), 0, -1),)
    frame = baselines.table(baselines.compare(replace(problem, crossing_ps=crossing)))
    assert list(frame["name"])[:2] == ["DIME", "all on edge"]
    assert frame["gain"].isna().sum() == 1
    with pytest.raises(InfeasibleError, match="link"):
        baselines.all_on(replace(problem, crossing_ps=crossing), 1)


def test_without_energy_there_is_none_in_the_table():
    from dime.host.planning.formulation import build_problem

    chain = synthetic.ALEXNET
    problem = build_problem([synthetic.profile(chain, static_w=None), synthetic.server(chain)], "4G")
    frame = baselines.table(baselines.compare(problem))
    assert frame["energy_j"].isna().all()
    assert frame["believed_energy_j"].isna().all()
    assert (frame["gain"] >= 0).all()


def test_three_devices_and_a_given_plan(alexnet):
    chain = synthetic.ALEXNET
    from dime.host.planning.formulation import build_problem

    hub = synthetic.profile(chain, "hub", peak_flop_s=2e11, seed=3)
    problem = build_problem([synthetic.profile(chain), hub, synthetic.server(chain)], "WiFi")
    given_plan = baselines.all_on(problem, 1)
    rows = by_name(problem, choices=given_plan)
    assert rows["DIME"].choices == rows["all on hub"].choices == given_plan
    assert rows["all on hub"].gain == 0
    assert {"all on nano", "all on wiscad"} <= set(rows)


def test_what_is_not_found_in_time_says_so(alexnet):
    rows = baselines.compare(alexnet, baselines.all_on(alexnet), time_limit_s=0)
    assert rows[0].plan.value > 0
    assert {row.reason for row in rows[1:]} == {"not found in time"}
    assert baselines.table(rows)["plan"].iloc[1] == ""
