"""What bundles take longer behind a wait: found from runs whose truth is known, and counted where a device waits."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dime.host.analysis import resampling
from dime.host.planning.accounting import OVERHEAD
from dime.host.planning.evaluation import evaluate
from dime.host.planning.formulation import build_problem
from dime.host.planning.problem import Choice
from dime.host.profiles import handovers, waits
from dime.host.profiles.overheads import Overheads
from dime.host.profiles.scatter import Scatter
from dime.testing.synthetic import ALEXNET, profile
from tests.host import small
from tests.host.analysis import noise

BASE_S, SHARE = 3e-4, 0.08


def waited(profile, base_s=BASE_S, share=SHARE, noise=0.03, seed=0, of_pass=12):
    """The profile with runs behind a wait in each pass, of the bundles that come first in an order of its own."""
    generator = np.random.default_rng(seed)
    per, longer = len(profile.frequencies_hz), np.full(len(profile.run_duration_s), np.nan)
    cell = np.repeat(np.arange(len(profile.starts) - 1), np.diff(profile.starts))
    for column in range(per):
        for number in np.unique(profile.run_iteration):
            mine = np.flatnonzero((cell % per == column) & (profile.run_iteration == number))
            lasts = mine[np.append(cell[mine][1:] != cell[mine][:-1], True)]
            chosen = generator.permutation(lasts)[:of_pass]
            alone_s = profile.means.duration_s.ravel()[cell[chosen]]
            off = 1 + generator.normal(0, noise, len(chosen))
            longer[chosen] = profile.run_duration_s[chosen] * off + base_s + share * alone_s
    return replace(profile, run_waited_s=longer)


@pytest.fixture(scope="module")
def pair():
    """Two devices whose clocks are left alone, twenty runs of each bundle, four a pass."""
    both = profile(ALEXNET, "edge", (-1,), 4e10, None, seed=1), profile(ALEXNET, "server", (-1,), 8e11, None, seed=2)
    return [replace(one, run_iteration=np.arange(len(one.run_duration_s)) % 20 // 4) for one in both]


def test_a_line_is_found_from_runs_with_noise(pair):
    for one in pair:
        for its in waits.of_profile(waited(one)):
            mean_s = its.times_s.mean()
            assert its.typical.longer_s(mean_s) == pytest.approx(BASE_S + SHARE * mean_s, abs=0.015 * mean_s)


@given(base_s=st.floats(0, 1e-2), share=st.floats(0, 1), times_s=st.lists(st.floats(1e-5, 1), min_size=2, max_size=20))
@settings(max_examples=200, deadline=None)
def test_what_lies_on_a_line_is_that_line(base_s, share, times_s):
    times_s = np.array(times_s)
    found = waits.fit(times_s, base_s + share * times_s)
    assert found.longer_s(times_s) == pytest.approx(base_s + share * times_s, rel=1e-6, abs=1e-9)


@given(st.lists(st.tuples(st.floats(1e-6, 10), st.floats(-10, 10)), max_size=15))
@settings(max_examples=300, deadline=None)
def test_nothing_is_gained_by_waiting(points):
    times_s, longer_s = np.array(points).reshape(-1, 2).T
    found = waits.fit(times_s, longer_s)
    assert found.base_s >= 0 and found.share >= 0 and np.isfinite(found).all()


def test_extremes_move_what_is_typical_little_and_the_mean_as_they_are(pair):
    plain = waited(pair[1], noise=0)
    rare = plain.run_waited_s.copy()
    there = np.flatnonzero(~np.isnan(rare))
    rare[there[::12]] += 5.0
    (before, after) = (waits.of_profile(one)[0] for one in (plain, replace(plain, run_waited_s=rare)))
    middle_s = before.times_s.mean()
    assert after.typical.longer_s(middle_s) == pytest.approx(before.typical.longer_s(middle_s), rel=0.02)
    assert after.mean.longer_s(middle_s) > before.mean.longer_s(middle_s) + 5.0 / 24


def test_all_wait_but_the_whole_network_on_the_edge_device(pair):
    both = [waited(one) for one in pair]
    made = build_problem(both, "WiFi")
    whole = made.index(made.bundles[0]._replace(last=len(made.layers) - 1))
    for at, table in enumerate(made.terms.waited_ps):
        assert (table[whole] == 0).all() == (at == 0) and (np.delete(table, whole, axis=0) > 0).all()
        line = waits.of_profile(both[at])[0].typical
        expected_s = line.longer_s(both[at].means.duration_s[1, 0])
        assert table[1, 0] == round(expected_s * 1e12)
    told = [str(fact.source) for fact in made.terms.facts if fact.term == OVERHEAD]
    assert sum("behind a wait" in text for text in told) == 2


def test_a_split_takes_longer_by_what_its_bundles_do_and_a_pipeline_does_not(pair):
    both = [waited(one) for one in pair]
    made, without = (build_problem(several, "WiFi") for several in (both, pair))
    bundles = made.bundles
    split = [
        (bundles[made.index(bundles[0]._replace(last=2))], 0),
        (bundles[0]._replace(first=3, last=len(made.layers) - 1), 1),
    ]
    choices = made_choices(made, split)
    rows = [made.index(bundle) for bundle, _ in split]
    added = sum(int(made.terms.waited_ps[at][row, 0]) for row, (_, at) in zip(rows, split, strict=True))
    assert evaluate(made, choices).latency_ps - evaluate(without, choices).latency_ps == added > 0
    whole = made_choices(made, [(bundles[0]._replace(last=len(made.layers) - 1), 0)])
    assert evaluate(made, whole).latency_ps == evaluate(without, whole).latency_ps
    assert made.terms.overlapping().waited_ps == ()


def made_choices(problem, steps):
    return tuple(Choice(bundle, at, problem.devices[at].frequencies_hz[0]) for bundle, at in steps)


def test_passes_add_up_to_the_line_and_draws_have_their_spread(pair):
    one = waited(pair[1])
    its = handovers.longer(one, Scatter.of(one), one.max_layers, False)[0]
    line = waits.of_profile(one)[0].typical
    row = 5
    assert np.nanmean(its.passes_s[:, row]) == pytest.approx(line.longer_s(one.means.duration_s[row, 0]), rel=0.1)
    assert its.error_s(row)[0] > 0 and its.spread_s[row] > 0
    both = [waited(pair[0]), one]
    made = build_problem(both, "WiFi")
    drawn = resampling.resample(made, both, 200).terms.waited_ps[1]
    assert drawn.shape == (200, *made.devices[1].latency_ps.shape) and (drawn >= 0).all()
    assert drawn[:, row, 0].std() / 1e12 == pytest.approx(its.error_s(row)[0], rel=0.4)


def test_how_sure_a_plan_is_counts_what_is_open_about_waits(pair):
    calm, rough = ([waited(one, noise=noise) for one in pair] for noise in (0.0, 0.5))
    widths = []
    for both in (calm, rough):
        made = build_problem(both, "WiFi")
        last = len(made.layers) - 1
        choices = made_choices(
            made, [(made.bundles[0]._replace(last=2), 0), (made.bundles[0]._replace(first=3, last=last), 1)]
        )
        low, high = resampling.resample(made, both, 2).interval(choices, (), "latency")
        widths.append(high - low)
    assert widths[1] > widths[0]


def test_a_profile_of_an_earlier_version_is_told_to_be_made_again(pair):
    kinds = {kind: (1e-4,) for kind in ("begin", "enter", "leave", "forward", "finish", "cold")}
    beside = Overheads(kinds, ((1e-4, 0.0),), {})
    made = build_problem([replace(waited(pair[0]), overheads=None), replace(pair[1], overheads=beside)], "WiFi")
    assert made.terms.waited_ps[1] is None and made.terms.waited_ps[0] is not None
    assert [one.reason for one in made.terms.missing if one.term == OVERHEAD and one.of == pair[1].device] == [
        "what bundles take longer behind a wait: profile it again"
    ]


def test_a_pass_without_such_runs_leaves_no_gap(pair):
    one = waited(pair[1])
    cut = one.run_waited_s.copy()
    cut[one.run_iteration == one.run_iteration.max()] = np.nan
    its = handovers.longer(replace(one, run_waited_s=cut), Scatter.of(one), one.max_layers, False)[0]
    assert not np.isnan(its.passes_s).any()


@pytest.mark.parametrize("kind", ["normal", "drift 3 %", "three sessions"])
def test_intervals_of_splits_hold_their_true_latency(kind):
    held = []
    for seed in range(80):
        made = noise.measured(kind, 6, 3, seed, waits=True)
        samples = resampling.resample(made.problem, made.profiles, 2)
        for _, totals, choices in small.all_plans(made.true)[:12]:
            if len({choice.device for choice in choices}) > 1:
                low, high = samples.interval(choices, (), "latency")
                held.append(low <= totals.latency_ps / 1e12 <= high)
    assert 0.9 <= np.mean(held) <= 0.99 and len(held) > 200, "a wider one would say less than is known"
