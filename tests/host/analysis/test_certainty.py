"""What is said of a plan is true: a few seeds of the noises whose 400 seeds tests/benchmarks/test_certainty.py has."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dime.contract.errors import InputError
from dime.host.analysis import chance_limits, resampling, uncertainty
from dime.host.common import stats
from dime.host.profiles.scatter import Scatter
from dime.host.search.solvers import solve
from tests.host import small
from tests.host.analysis import noise

TABLE = Path(__file__).with_name("certainty.csv")


@pytest.mark.parametrize("kind", ["drift 3 %", "lognormal 25 %", "outliers"])
def test_intervals_cover_the_truth(kind):
    """Runs taken one by one as independent cover it in half of the cases with drift, a trimmed mean no energy."""
    score = noise.judge(kind, 5, 10, range(40), replicates=20)
    for what in ("latency", "energy", "difference"):
        assert score.given.get(what, 0) < 5 or score.share(what) >= 0.85, what


@pytest.mark.parametrize("kind", ["normal", "drift 3 %"])
def test_intervals_cover_the_truth_with_copies_encodings_and_waiting(kind):
    score = noise.judge(kind, 4, 5, range(24), replicates=5, terms=True)
    for what in ("latency", "energy", "difference", "chosen"):
        assert score.share(what) >= 0.8, what


def test_times_of_copies_and_encodings_are_in_intervals_and_draws():
    """Without them the interval of a plan that crosses three times was too narrow, and no draw had them."""
    made = noise.measured("lognormal 25 %", 6, 3, 1, terms=True)
    still = []
    for profile in made.profiles:
        once = {key: replace(one, encode_rounds_s=(), decode_rounds_s=()) for key, one in profile.encodings.items()}
        copies = {
            name: None if values is None else np.full(len(values), float(values.mean()))
            for name, values in (("run_copy_in_s", profile.run_copy_in_s), ("run_copy_out_s", profile.run_copy_out_s))
        }
        still.append(replace(profile, encodings=once, **copies))
    choices = next(
        plan[2] for plan in small.all_plans(made.problem) if [choice.device for choice in plan[2]] == [1, 0, 1]
    )
    samples, narrow = (resampling.resample(made.problem, its, 400) for its in (made.profiles, still))
    for quantity in ("latency", "energy"):
        low, high = samples.interval(choices, (), quantity)
        less = narrow.interval(choices, (), quantity)
        assert high - low > 1.02 * (less[1] - less[0]), quantity
    assert samples.terms is not None and narrow.terms is None
    drawn, kept = samples.costs(choices).latency_ps, narrow.costs(choices).latency_ps
    assert (drawn != kept).all() and np.var(drawn - kept) > 0
    extra = (drawn - kept) / 1e12
    ends = samples.interval(choices), narrow.interval(choices)
    expected = (((ends[0][1] - ends[0][0]) ** 2 - (ends[1][1] - ends[1][0]) ** 2) ** 0.5) / 4
    assert np.subtract(*np.quantile(extra, (0.75, 0.25))) / 1.349 == pytest.approx(expected, rel=0.6)
    one = next(samples.trade_offs(30.0))
    assert choices not in [one.choices(0)] or one.time_ps[0] == drawn[0]
    told = uncertainty.bootstrap(narrow, [choices]).notes
    assert "edge has measured each encoding once: their times do not vary here; profile more" in told
    assert not any("once" in note for note in uncertainty.bootstrap(samples, [choices]).notes)


def test_the_table_holds():
    """Made by tests/benchmarks/test_certainty.py; every noise and number of passes is told, or refused."""
    table = noise.read_rows(TABLE)
    assert noise.broken(table) == []
    for kind in noise.KINDS:
        for passes in noise.PASSES:
            of_intervals = [row for row in table if (row.noise, row.passes, row.runs) == (kind, passes, 10)]
            refused = next(row.given for row in of_intervals if row.statement == "refused")
            assert (refused > 0) == (passes == 1)
            seeds = refused + max(row.given for row in of_intervals if row.statement in noise.INTERVALS)
            assert seeds >= 400, (kind, passes)
            for name in ("latency", "difference", "chosen"):
                given = next(row.given for row in of_intervals if row.statement == name)
                assert refused + given >= 0.95 * seeds, (kind, passes, name)
    with_terms = [kind + noise.WITH_TERMS for kind in noise.TERMS_KINDS]
    for kind in (*noise.KINDS, *with_terms):
        for passes, runs in noise.LIMIT_SHAPES:
            limits = {
                row.statement: row.given for row in table if (row.noise, row.passes, row.runs) == (kind, passes, runs)
            }
            for limited, (refused, bound, _) in noise.LIMITED.items():
                least = 180 if limited == "latency" and kind in noise.KINDS else 30
                assert limits[refused] + limits[bound] >= least, (kind, passes, limited)
    for kind in with_terms:
        its = {row.statement: row.given for row in table if (row.noise, row.passes) == (kind, noise.TERMS_PASSES)}
        assert its["latency"] >= 50 and its["difference"] >= 50, kind


def test_the_chosen_plan_is_not_as_good_as_it_looks():
    """Taken as if it had been chosen before, its interval holds in 84 % of cases."""
    score = noise.judge("lognormal 25 %", 3, 10, range(40), replicates=50)
    assert score.share("chosen") >= 0.9 and score.share("its energy") >= 0.9
    made = noise.measured("lognormal 25 %", 3, 10, 1)
    samples = resampling.resample(made.problem, made.profiles, 50)
    choices, other = solve(made.problem).choices, small.all_plans(made.problem)[3][2]
    found = uncertainty.bootstrap(samples, [choices, other])
    low, high = samples.interval(choices)
    assert found.chosen.regret > 0 and found.chosen.value == pytest.approx((low, high + found.chosen.regret))
    assert found.plans[1].value == samples.interval(other)


def test_of_two_passes_the_chosen_plans_interval_goes_up_by_the_median_regret():
    """Their draws have no mean; by it the interval held in 98.5 and that of joules in 99 % of 200 cases."""
    made = noise.measured("lognormal 25 %", 2, 10, 1)
    samples = resampling.resample(made.problem, made.profiles, 50)
    choices = solve(made.problem).choices
    low, high = samples.interval(choices)
    least = [min(found.values) / 1e12 for found in samples.trade_offs(30.0)]
    regret = np.median(samples.costs(choices).value(made.problem) - least)
    found = uncertainty.bootstrap(samples, [choices])
    assert found.chosen.value == pytest.approx((low, high + regret)) and regret < 0.7 * found.chosen.regret
    assert Scatter.of(made.profiles[0]).fewest == 2
    assert Scatter.of(replace(made.profiles[0], run_iteration=None)).fewest == 0


@pytest.mark.parametrize("kind", list(noise.SESSIONS))
def test_a_session_counts_once_whether_it_looks_alike_or_not(kind):
    """Taken by their passes, sessions that happened to be alike had intervals that held in 11 to 54 % of cases."""
    score = noise.judge(kind, 7, 5, range(40), replicates=20)
    assert score.refused == 0
    for what in ("latency", "energy", "difference", "chosen"):
        assert score.share(what) >= 0.85, what
    alike = [noise.measured(kind, 10, 3, seed) for seed in range(60)]
    totals = [Scatter.of(made.profiles[0]).passes[0][: noise.SESSIONS[kind], 0] for made in alike]
    made = alike[int(np.argmin([np.ptp(one) / one.mean() for one in totals]))]
    samples = resampling.resample(made.problem, made.profiles, 20)
    choices = next(plan[2] for plan in small.all_plans(made.problem) if len(plan[2]) == 1 and plan[2][0].device == 0)
    _, dof = samples._error({choices[0]: resampling.Weights(1.0)}, {}, [], {})
    assert dof == noise.SESSIONS[kind] - 1
    told = uncertainty.bootstrap(samples, [choices]).notes
    assert f"edge is of {dof + 1:.0f} sessions, and the passes of one are alike: a session counts once" in told[0]


def test_sessions_count_by_their_passes_in_the_mean_and_its_error():
    """One of 14 passes and two of one each; the mean's error is what the passes' weights make of the sessions'."""
    passes = np.array([0] * 14 + [1, 2])
    made = noise.measured("normal", 16, 3, 1)
    profile = replace(made.profiles[1], run_session=passes[made.profiles[1].run_iteration])
    scatter, cells = Scatter.of(profile), len(profile.starts) - 1
    assert scatter.sessions == (3,)
    assert scatter.weight[:3, 0] == pytest.approx([14 / 16, 1 / 16, 1 / 16])
    means = profile.means.duration_s.ravel()
    assert (scatter.weight[:3] * scatter.passes[0][:3]).sum(axis=0) == pytest.approx(means)
    generator = np.random.default_rng(1)
    sessions = generator.normal(0, 1, (3, 20_000)) + generator.normal(0, 0.3, (3, 20_000)) / [[14**0.5], [1], [1]]
    weight = np.broadcast_to(scatter.weight[:3, :1], sessions.shape)
    variance, dof = stats.error_of_passes(sessions, weight)
    half = np.sqrt(variance) * stats.student_factors(dof)
    assert (np.abs((weight * sessions).sum(axis=0)) <= half).mean() == pytest.approx(0.95, abs=0.03)
    assert scatter.half_width(0).shape == (cells,)


def test_a_clock_of_one_session_has_its_passes():
    """A profile that was cut off between two clocks, and resumed: each is of one session."""
    made = noise.measured("normal", 5, 3, 1)
    profile = made.profiles[0]
    cell = np.repeat(np.arange(len(profile.starts) - 1), np.diff(profile.starts))
    split = replace(profile, run_session=np.where(cell % 2, 1, (profile.run_iteration == 4).astype(np.int64)))
    scatter = Scatter.of(split)
    assert scatter.sessions == (2, 1) and not scatter.unknown
    assert np.isfinite(scatter.passes[0][:, 0]).sum() == 2 and np.isfinite(scatter.passes[0][:, 1]).sum() == 5
    assert Scatter.of(replace(profile, run_session=cell % 2)).sessions == (1, 1)


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


@pytest.mark.parametrize("kind", ["normal", "lognormal 25 %", "drift 3 %"])
def test_single_runs_stay_below_the_bound_as_often_as_promised(kind):
    """Taken as normal, without what ten runs leave open, the bound held in 87 to 92 % instead of 95 %."""
    _, kept = noise.judge_limits(kind, 5, 2, range(12))
    assert len(kept["bound"]) >= 8
    assert np.mean(kept["bound"]) >= 0.94 and np.mean(kept["limit"]) >= 0.94


@pytest.mark.parametrize("kind", ["normal", "outliers"])
@pytest.mark.parametrize("limited", ["energy", "latency"])
def test_single_runs_with_terms_stay_below_the_bound(kind, limited):
    """Of energies, where who waits took joules for the mean of a run's time, the bound held in 39 to 65 %."""
    _, kept = noise.judge_limits(kind, 5, 2, range(6), limited=limited, terms=True)
    assert len(kept["bound"]) >= 3
    assert np.mean(kept["bound"]) >= 0.94 and np.mean(kept["limit"]) >= 0.94


@pytest.mark.parametrize("limited", ["energy", "latency"])
def test_with_terms_the_best_plan_among_all_that_hold_is_found(limited):
    for seed in range(4):
        goal = "latency" if limited == "energy" else "energy"
        made = noise.measured("lognormal 25 %", 4, 5, seed, goal, over="normal" if seed % 2 else "", terms=True)
        known = chance_limits._Known.of(made.problem, made.profiles, [limited])
        model = chance_limits._Model(made.problem, *known.tails([limited], 0.9), 0.0)
        plans = [(plan[0], model.bound(limited, plan[2])) for plan in small.all_plans(made.problem)]
        limit = float(np.quantile([bound for _, bound in plans], 0.3)) * (1 + 1e-9)
        asked = replace(made.problem.limits, **{"latency_s" if limited == "latency" else "energy_j": limit})
        found = chance_limits.plan_with_confidence(made.problem.with_limits(asked), made.profiles, 0.9)
        assert found.plan.value == pytest.approx(min(value for value, bound in plans if bound <= limit), rel=1e-9)
        held = found.limits[0]
        assert held.bound <= limit + 1e-11 and held.share >= 0.9 - 1e-9
        assert held.drawn_share >= 0.85 and held.mean < held.bound
        runs = noise.single_runs(
            "lognormal 25 %", made, found.choices, np.random.default_rng(1), quantity=limited,
            over="normal" if seed % 2 else "",
        )  # fmt: skip
        assert held.mean == pytest.approx(runs.mean(), rel=0.15) and held.sd == pytest.approx(runs.std(), rel=0.7)


def test_a_mean_of_many_runs_is_no_single_run():
    """The same load, in bursts or run by run, has the same bound; where single runs were not timed, it has none."""
    made = noise.measured("normal", 5, 10, 1)
    asked = made.problem.with_limits(replace(made.problem.limits, latency_s=1.0))
    alone = chance_limits.plan_with_confidence(asked, made.profiles, 0.95).limits[0].bound
    bursts, generator = [], np.random.default_rng(2)
    for profile in made.profiles:
        mean = np.repeat(profile.means.duration_s.ravel(), np.diff(profile.starts))
        runs = {"run_repeats": np.full(len(mean), 25), "run_single_s": profile.run_duration_s}
        bursts.append(replace(profile, run_duration_s=mean * generator.normal(1, 0.003, len(mean)), **runs))
    assert chance_limits.plan_with_confidence(asked, bursts, 0.95).limits[0].bound == pytest.approx(alone, rel=0.002)
    means = [replace(profile, run_single_s=None) for profile in bursts]
    with pytest.raises(InputError, match=r"limit on latency .* edge has means of up to 25 runs, and how single ones"):
        chance_limits.plan_with_confidence(asked, means, 0.95)
    both = asked.with_limits(replace(asked.limits, energy_j=1.0))
    with pytest.raises(InputError, match="limit on energy holds with a probability: edge has means of up to 25 runs"):
        chance_limits.plan_with_confidence(both, bursts, 0.95)


def test_two_sessions_tell_no_bound_of_single_runs():
    made = noise.measured("two sessions", 4, 3, 1)
    asked = made.problem.with_limits(replace(made.problem.limits, latency_s=1.0))
    with pytest.raises(InputError, match="no limit holds with a probability: edge is of two sessions"):
        chance_limits.plan_with_confidence(asked, made.profiles, 0.95)


@pytest.mark.parametrize("over", noise.OVER)
def test_single_runs_over_a_measured_link_stay_below_the_bound(over):
    made = noise.measured("normal", 5, 4, 1, "energy", over=over)
    assert made.problem.joined[0, 1].spread_s > 0
    score, kept = noise.judge_limits("normal", 5, 4, range(8), over=over)
    assert len(kept["bound"]) >= 6 and np.mean(kept["bound"]) >= 0.94, score
