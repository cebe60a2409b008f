"""Bootstrap replicates against enumeration of every plan in every one of them."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from dime.contract.errors import InputError
from dime.host.analysis import resampling, uncertainty
from dime.host.common import stats
from dime.host.metering.gain import Gain
from dime.host.planning.cost import costs_of
from dime.host.planning.evaluation import evaluate, value
from dime.host.planning.formulation import build_problem
from dime.host.planning.goals import Limits
from dime.host.search.frontier import frontier
from dime.host.search.solvers import solve
from dime.testing import synthetic
from tests.host import small
from tests.host.analysis import noise

FREE = Limits(rule="free")


def made(seed, layers=3, devices=2, goal="latency", limits=None, spread=0.2, runs=6):
    profiles = small.profiles(layers, devices, seed, spread, runs)
    sizes = [int(size) for size in np.random.default_rng(seed).integers(1, 20, layers + 1) * 1000]
    return profiles, build_problem(profiles, small.LINK, goal, limits or FREE, sizes_bytes=sizes)


def replica(samples, at):
    return samples.problem.with_costs([d[at] for d in samples.latency_ps], [d[at] for d in samples.energy_pj])


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(["latency", "energy", "throughput", "weighted:1,0.5"]))
def test_the_costs_of_a_plan_in_each_replicate_are_those_of_the_replicate(seed, goal):
    profiles, problem = made(seed, devices=3, goal=goal)
    samples = resampling.resample(problem, profiles, 5)
    plans = small.all_plans(problem)
    _, totals, choices = plans[seed % len(plans)]
    costs = samples.costs(choices)
    for at in range(5):
        again = evaluate(replica(samples, at), choices)
        assert (costs.latency_ps[at], costs.energy_pj[at]) == (again.latency_ps, again.energy_pj)
        assert costs.period_ps[at] == again.period_ps
        assert costs.value(problem)[at] == value(problem, again)
    fixed = costs_of(problem, choices)
    assert (int(fixed.latency_ps), int(fixed.energy_pj)) == (totals.latency_ps, totals.energy_pj)


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(["latency", "energy", "throughput"]), st.booleans())
def test_shares_and_regret_against_enumeration(seed, goal, limited):
    profiles, problem = made(seed, goal=goal, layers=2)
    if limited:
        # A limit near the chosen plan's own cost holds in some replicates only.
        best = small.all_plans(problem)[0][1]
        limits = (
            Limits(latency_s=best.latency_ps / 1e12) if goal == "energy" else Limits(energy_j=best.energy_pj / 1e12)
        )
        problem = problem.with_limits(limits)
    plans = [plan[2] for plan in small.all_plans(problem)][:3]
    assume(plans)
    samples = resampling.resample(problem, profiles, 12)
    found = uncertainty.bootstrap(samples, plans)
    assert found.solved == 12
    every = [small.all_plans(replica(samples, at)) for at in range(12)]
    solvable = [at for at in range(12) if every[at]]
    assert found.infeasible_share == pytest.approx(1 - len(solvable) / 12)
    assert sum(share for _, share in found.winners) == pytest.approx(len(solvable) / 12)
    for plan in found.plans:
        own = [evaluate(replica(samples, at), plan.choices) for at in range(12)]
        values = np.array([value(problem, totals) for totals in own])
        kept = [at for at in range(12) if not own[at].broken]
        assert plan.kept_share == pytest.approx(len(kept) / 12)
        regrets = [values[at] - every[at][0][0] for at in kept]
        assert plan.best_share == pytest.approx(sum(regret <= 0 for regret in regrets) / 12)
        assert plan.regret == (pytest.approx(np.mean(regrets), abs=1e-15) if regrets else None)
        now = value(problem, evaluate(problem, plan.choices))
        assert plan.value is None or plan.value[0] <= now <= plan.value[1]


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(["latency", "energy"]))
def test_what_to_measure_is_what_changes_the_answer(seed, goal):
    profiles, problem = made(seed, goal=goal)
    plans = small.all_plans(problem)
    samples = resampling.resample(problem, profiles, 10)
    found = uncertainty.measure_next(samples, plans[0][2], [plan[2] for plan in plans], few=1000)
    by_cell = {(cell.device, cell.bundle, cell.frequency_hz): cell for cell in found}
    assert len(by_cell) == len(found)
    for device, costs in enumerate(problem.devices):
        own = [
            samples.scatters[device].draw_parts(at, 10, stats.SEED + device)[0]
            for at in range(len(costs.frequencies_hz))
        ]
        for row, bundle in enumerate(problem.bundles):
            for column, frequency_hz in enumerate(costs.frequencies_hz):
                changed, gains = 0, []
                for at in range(10):
                    latency, energy = ([d.copy() for d in part] for part in zip(*_costs(problem), strict=True))
                    latency[device][row, column] = np.rint(own[column][0][at, row] * 1e12)
                    if len(own[column]) > 1:
                        energy[device][row, column] = np.rint(own[column][1][at, row] * 1e12)
                    known = problem.with_costs(latency, energy)
                    mine = value(known, evaluate(known, plans[0][2]))
                    best = small.all_plans(known)[0][0]
                    changed += best < mine
                    gains.append(mine - best)
                name = "_".join(problem.layers[bundle.first : bundle.last + 1])
                cell = by_cell.get((costs.name, name, frequency_hz))
                assert (cell.chance if cell else 0) == pytest.approx(changed / 10)
                assert (cell.gain if cell else 0) == pytest.approx(np.mean(gains), abs=1e-15)
    assert [cell.chance for cell in found] == sorted((cell.chance for cell in found), reverse=True)


def _costs(problem):
    return [(device.latency_ps, device.energy_pj) for device in problem.devices]


def test_what_all_bundles_share_only_more_passes_tell():
    """Passes that are off as a whole say little of one bundle beside another, and much of one device beside another."""
    shared = noise.measured("drift 3 %", 5, 20, 3)
    plans = [plan[2] for plan in small.all_plans(shared.problem)]
    on_one = next(plan for plan in plans if {choice.device for choice in plan} == {0} and len(plan) == 1)
    samples = resampling.resample(shared.problem, shared.profiles, 200)
    for frequency in (0, 1):
        own, together = samples.scatters[0].draw_parts(frequency, 2000, 1)
        assert together[0].std(axis=0) / together[0].mean(axis=0) == pytest.approx(0.03 / 5**0.5, rel=1.0)
        assert (own[0].std(axis=0) < together[0].std(axis=0)).all()
        assert np.corrcoef(together[0].T).min() > 0.999 and abs(np.corrcoef(own[0].T)[0, 1]) < 0.1
    found = uncertainty.measure_next(samples, on_one, plans, few=100)
    assert {cell.bundle for cell in found} >= {uncertainty.ALL_BUNDLES}
    alone = [replace(profile, run_iteration=None) for profile in shared.profiles]
    found = uncertainty.measure_next(resampling.resample(shared.problem, alone, 200), on_one, plans, few=100)
    assert uncertainty.ALL_BUNDLES not in {cell.bundle for cell in found}


def test_joules_that_do_not_count_are_not_worth_measuring():
    made_one = noise.measured("normal", 5, 10, 3, "energy")
    devices = tuple(replace(device, has_energy=False) for device in made_one.problem.devices)
    samples = resampling.resample(made_one.problem, made_one.profiles, 20)
    parts = samples.scatters[0].draw_parts(0, 20, 1)[0]
    assert uncertainty._drawn(made_one.problem, 0, parts, 0)[1].any()
    assert not uncertainty._drawn(replace(made_one.problem, devices=devices), 0, parts, 0)[1].any()


def test_the_noisy_bundle_comes_first():
    profiles, problem = made(11, spread=0.01, runs=8)
    chosen = solve(problem).choices
    noisy = chosen[0]
    profile = profiles[noisy.device]
    cell = profile.bundles.index(noisy.bundle) * len(profile.frequencies_hz)
    cell += profile.frequencies_hz.index(noisy.frequency_hz)
    runs = slice(profile.starts[cell], profile.starts[cell + 1])
    profile.run_duration_s[runs] *= np.linspace(0.05, 3, 8)  # about the same mean
    problem = build_problem(
        profiles, small.LINK, limits=FREE, sizes_bytes=problem.sizes_bytes, result_bytes=problem.sizes_bytes[-1]
    )
    chosen = solve(problem).choices
    samples = resampling.resample(problem, profiles, 200)
    found = uncertainty.bootstrap(samples, [chosen])
    assert 0 < found.chosen.best_share < 1
    first = found.measure_next[0]
    assert (first.device, first.frequency_hz) == (profile.device, noisy.frequency_hz)
    assert first.bundle == "_".join(problem.layers[noisy.bundle.first : noisy.bundle.last + 1])
    assert len(found.measure_next) <= uncertainty.FEW


def test_the_difference_of_two_plans_knows_what_they_share():
    profiles, problem = made(3, spread=0.3)
    plans = small.all_plans(problem)
    samples = resampling.resample(problem, profiles, 300)
    assert uncertainty.difference(samples, plans[0][2], plans[0][2]) == (0.0, 0.0)
    low, high = uncertainty.difference(samples, plans[0][2], plans[-1][2])
    assert low < plans[-1][0] - plans[0][0] < high


@pytest.fixture(scope="module")
def alexnet():
    chain = synthetic.ALEXNET
    profiles = [synthetic.profile(chain), synthetic.server(chain)]
    return profiles, build_problem(profiles, "4G", "energy", Limits(rule="merged"))


def test_intervals_of_the_whole_frontier(alexnet):
    profiles, problem = alexnet
    front = frontier(problem)
    samples = resampling.resample(problem, profiles, 60)
    found = uncertainty.bootstrap(samples, [front.choices(at) for at in range(len(front))], confidence=0.9)
    table = found.table()
    assert len(table) == len(front)
    assert (table["latency_s_low"] <= front.time_s * 1.01).all()
    assert (table["latency_s_high"] >= front.time_s * 0.99).all()
    assert (table["energy_j_low"] < table["energy_j_high"]).all()
    assert table["frontier_share"].max() == 1
    assert table["best_share"].sum() == pytest.approx(1)  # the goal is energy: one end of the frontier
    again = uncertainty.bootstrap(resampling.resample(problem, profiles, 60), [front.choices(0)], confidence=0.9)
    assert again.chosen == found.plans[0]


def test_time_runs_out(alexnet):
    profiles, problem = alexnet
    samples = resampling.resample(problem, profiles, 60)
    found = uncertainty.bootstrap(samples, [solve(problem).choices], time_limit_s=1e-9)
    assert (found.solved, found.cut_short) == (0, 1)
    assert "1 draws do not count: the search in them was cut short" in found.notes
    assert found.chosen.regret is None and not found.winners


def test_a_draw_whose_search_was_cut_short_does_not_count(alexnet, monkeypatch):
    """The plans that were known by then are worse than the best one, which would make every plan look good."""
    profiles, problem = alexnet
    samples = resampling.resample(problem, profiles, 40)
    chosen = solve(problem).choices
    whole = uncertainty.bootstrap(samples, [chosen])
    found = list(samples.trade_offs(60))
    half = [replace(one, complete=False) if at % 2 else one for at, one in enumerate(found)]
    monkeypatch.setattr(resampling.Samples, "trade_offs", lambda self, time_limit_s: iter(half))
    cut = uncertainty.bootstrap(samples, [chosen])
    monkeypatch.setattr(resampling.Samples, "trade_offs", lambda self, time_limit_s: iter(found[::2]))
    assert (whole.solved, cut.solved, cut.cut_short) == (40, 20, 20)
    assert "20 draws do not count: the search in them was cut short" in cut.notes
    assert sum(share for _, share in cut.winners) == pytest.approx(1)


def test_without_energy():
    chain = synthetic.ALEXNET
    profiles = [synthetic.profile(chain, static_w=None), synthetic.server(chain)]
    problem = build_problem(profiles, "4G")
    found = uncertainty.bootstrap(resampling.resample(problem, profiles, 20), [solve(problem).choices])
    assert found.chosen.energy_j is None
    assert found.chosen.frontier_share == found.chosen.best_share


def test_bad_input(alexnet):
    profiles, problem = alexnet
    with pytest.raises(InputError, match="needs the profiles of nano, wiscad, in this order, not wiscad, nano"):
        resampling.resample(problem, profiles[::-1])
    with pytest.raises(InputError, match="not the profile that the problem has for nano"):
        resampling.resample(problem, [synthetic.profile(synthetic.ALEXNET, frequencies_hz=(5,)), profiles[1]])
    with pytest.raises(InputError, match="at least 2 replicates"):
        resampling.resample(problem, profiles, 1)
    samples = resampling.resample(problem, profiles, 2)
    with pytest.raises(InputError, match="at least one plan"):
        uncertainty.bootstrap(samples, [])
    with pytest.raises(InputError, match=r"confidence in 0\.\.1, not 95"):
        uncertainty.bootstrap(samples, [solve(problem).choices], confidence=95)


def test_a_meters_gain_widens_joules_and_leaves_comparisons_on_it_alone():
    """What one meter measured is off together: the sign of a difference is as sure as without."""
    profiles, _ = made(3, layers=2, devices=1, goal="energy", spread=0.01, runs=20)
    told = [replace(profiles[0], meter="smartpower3 0", gain=gain) for gain in (None, Gain(1.0, 0.03, "made"))]
    spans, differences, shares = [], [], []
    for profile in told:
        problem = build_problem([profile], small.LINK, "energy", FREE, sizes_bytes=[1000, 1000, 1000])
        samples = resampling.resample(problem, [profile], 400)
        plans = [plan[2] for plan in small.all_plans(problem)][:2]
        found = uncertainty.bootstrap(samples, plans)
        low, high = found.chosen.energy_j
        spans.append((high - low) / (high + low))
        differences.append(np.array(uncertainty.difference(samples, plans[0], plans[1])))
        shares.append((found.plans[0].best_share, [(cell.bundle, cell.chance) for cell in found.measure_next]))
    assert spans[0] < 0.01 and 0.055 < spans[1] < 0.063
    assert np.sign(differences[0]).tolist() == np.sign(differences[1]).tolist() and shares[0] == shares[1]
