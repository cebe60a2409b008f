"""Limits that hold with a probability: against enumeration, and against runs drawn from the model."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dime.contract.errors import InfeasibleError, InputError
from dime.host.analysis import chance_limits
from dime.host.planning.evaluation import evaluate
from dime.host.planning.formulation import build_problem
from dime.host.planning.goals import Limits
from dime.host.profiles.single_runs import SingleRuns
from dime.testing import synthetic
from tests.host import small
from tests.host.analysis.test_uncertainty import made


def ends(profiles, probability):
    """(device, name) -> where single runs of each cell end: the mean with what passes share, the square of the rest."""
    found = {}
    for device, profile in enumerate(profiles):
        for name in ("latency", "energy") if profile.run_energy_j is not None else ("latency",):
            single = SingleRuns.of(profile, name)
            found[device, name] = single.mean + single.together(probability), single.alone(probability)
    return found


def bounds(problem, profiles, choices, of_cells):
    """Where a plan's single runs end, of latency and energy."""
    totals = evaluate(problem, choices)
    mean, squares = np.array([totals.communication_ps, totals.radio_pj]) / 1e12, np.zeros(2)  # with headers
    for bundle, device, frequency_hz in choices:
        profile = profiles[device]
        cell = profile.bundles.index(bundle) * len(profile.frequencies_hz) + profile.frequencies_hz.index(frequency_hz)
        for at, name in enumerate(("latency", "energy")):
            counts = name == "latency" or problem.devices[device].has_energy
            if counts and (device, name) in of_cells:
                mean[at] += of_cells[device, name][0][cell]
                squares[at] += of_cells[device, name][1][cell]
    return mean + np.sqrt(squares)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 10**6),
    st.sampled_from(["latency", "energy", "weighted:1,0.5"]),
    st.sampled_from(["latency", "energy", "both"]),
    st.sampled_from([0.5, 0.8, 0.9, 0.95]),
    st.floats(0, 1),
    st.sampled_from(["merged", "free", "published"]),
)
def test_the_best_plan_among_all_that_hold(seed, goal, limited, probability, tightness, rule):
    profiles, problem = made(seed, goal=goal, spread=0.4, limits=Limits(rule=rule), devices=2 + seed % 2)
    of_cells = ends(profiles, probability)
    plans = [(plan[0], bounds(problem, profiles, plan[2], of_cells)) for plan in small.all_plans(problem)]
    every = np.array([plan[1] for plan in plans])
    limit = np.quantile(every, tightness, axis=0)  # half of the time no plan keeps both
    limits = replace(
        problem.limits,
        latency_s=None if limited == "energy" else float(limit[0]) * (1 + 1e-9),
        energy_j=None if limited == "latency" else float(limit[1]) * (1 + 1e-9),
    )
    within = np.ones(len(plans), bool)
    for at, most in enumerate((limits.latency_s, limits.energy_j)):
        if most is not None:
            within &= every[:, at] <= most
    asked = problem.with_limits(limits)
    if not within.any():
        with pytest.raises(InfeasibleError, match=f"with probability {probability:g}"):
            chance_limits.plan_with_confidence(asked, profiles, probability)
        return
    found = chance_limits.plan_with_confidence(asked, profiles, probability)
    best = min(plan[0] for plan, kept in zip(plans, within, strict=True) if kept)
    assert found.plan.value == pytest.approx(best, rel=1e-9)
    for held in found.limits:
        assert held.bound <= held.limit + 1e-11
        assert held.share >= probability - 1e-9


@pytest.fixture(scope="module")
def alexnet():
    chain = synthetic.ALEXNET
    profiles = [synthetic.profile(chain), synthetic.server(chain)]
    return profiles, build_problem(profiles, "4G", "energy", Limits(latency_s=0.1, rule="free"))


def test_runs_drawn_from_the_model_keep_the_limit_as_often_as_promised(alexnet):
    profiles, problem = alexnet
    found = chance_limits.plan_with_confidence(problem, profiles, 0.95)
    generator = np.random.default_rng(1)
    draws = 40_000
    latency = np.full(draws, evaluate(problem, found.choices).communication_ps / 1e12)
    for bundle, device, frequency_hz in found.choices:
        runs = profiles[device].runs(bundle, frequency_hz)[0]
        latency += generator.normal(runs.mean(), runs.std(ddof=1), draws)
    error = math.sqrt(0.95 * 0.05 / draws)
    held = found.limits[0]
    assert 0.95 - 4 * error <= (latency <= held.bound).mean() <= 0.99
    assert (latency <= held.limit).mean() >= held.share - 4 * error
    assert held.share >= 0.95
    assert held.drawn_share == pytest.approx(held.share, abs=0.03)
    assert "0.95 of runs take at most" in str(found)


def test_more_confidence_costs_more(alexnet):
    profiles, problem = alexnet
    values = [chance_limits.plan_with_confidence(problem, profiles, p).plan.value for p in (0.5, 0.9, 0.99, 0.998)]
    assert values == sorted(values)
    assert values[0] < values[-1]


def test_impossible_limits_say_what_is_possible(alexnet):
    profiles, problem = alexnet
    tight = problem.with_limits(Limits(latency_s=0.05, rule="free"))
    with pytest.raises(
        InfeasibleError, match=r"no plan keeps latency <= 0\.05 s with probability 0\.95; the least"
    ) as info:
        chance_limits.plan_with_confidence(tight, profiles, 0.95)
    possible = float(str(info.value).rpartition("latency ")[2].split()[0])
    loose = problem.with_limits(Limits(latency_s=possible, rule="free"))
    assert chance_limits.plan_with_confidence(loose, profiles, 0.95).limits[0].bound <= possible


def test_bad_input(alexnet):
    profiles, problem = alexnet
    for wrong in (0.3, 1.0, 95.0):
        with pytest.raises(InputError, match=r"probability from 0\.5 to below 1"):
            chance_limits.plan_with_confidence(problem, profiles, wrong)
    with pytest.raises(InputError, match="needs a limit"):
        chance_limits.plan_with_confidence(problem.with_limits(Limits(rule="free")), profiles, 0.95)
    with pytest.raises(InputError, match="goals latency, energy and weighted"):
        chance_limits.plan_with_confidence(problem.with_goal("throughput"), profiles, 0.95)
    once = [synthetic.profile(synthetic.ALEXNET, runs=1), profiles[1]]
    with pytest.raises(InputError, match="one run of bundle 'conv1', and how runs differ is not known"):
        chance_limits.plan_with_confidence(problem, once, 0.95)
    with pytest.raises(InputError, match=r"has 8640 runs, too few to say .* or take a probability up to 0\.9998"):
        chance_limits.plan_with_confidence(problem, profiles, 0.9999)
    with pytest.raises(InputError, match="took too long"):
        chance_limits.plan_with_confidence(problem, profiles, 0.95, time_limit_s=0)


def test_a_probability_as_it_is_typed():
    assert chance_limits.parse("95%") == chance_limits.parse("0.95") == 0.95
    with pytest.raises(InputError, match=r"typed as 95% or 0\.95, not 'much'"):
        chance_limits.parse("much")
