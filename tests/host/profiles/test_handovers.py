"""Times of copies and encodings: what their passes and rounds say of how far they may be off."""

from dataclasses import replace

import numpy as np
import pytest

from dime.host.profiles import handovers
from dime.host.profiles.encodings import Encoding
from dime.host.profiles.handovers import FIRST, LAST
from dime.host.profiles.scatter import Scatter
from tests.host.analysis import noise


def copied(kind="normal", passes=4, runs=3):
    return noise.measured(kind, passes, runs, 1, terms=True).profiles[1]


def test_copies_have_the_passes_of_the_bundles():
    profile = copied()
    found = handovers.copies(profile, Scatter.of(profile))
    first, _ = profile.bounds
    cell = np.repeat(np.arange(len(profile.starts) - 1), np.diff(profile.starts))
    for boundary in range(3):
        its = found[FIRST][0]
        mine = first[cell] == boundary
        for number in range(4):
            of_pass = np.sort(profile.run_copy_in_s[mine & (profile.run_iteration == number)])
            cut = int(0.2 * len(of_pass))
            assert its.passes_s[number, boundary] == pytest.approx(of_pass[cut : len(of_pass) - cut].mean())
        assert its.mean_s[boundary] == pytest.approx(profile.run_copy_in_s[mine].mean())
        assert its.spread_s[boundary] >= profile.run_copy_in_s[mine].std(ddof=1) * (1 - 1e-9)
        error_s, dof = its.error_s(boundary)
        assert (error_s, dof) == (pytest.approx(its.passes_s[:, boundary].std(ddof=1) / 2), 3)
    assert np.isnan(found[FIRST][0].passes_s[:, 3]).all() and np.isnan(found[LAST][0].passes_s[:, 0]).all()


def test_copies_of_a_session_count_once():
    profile = copied(passes=6)
    of_two = replace(profile, run_session=profile.run_iteration // 4)
    scatter = Scatter.of(of_two)
    passes_s = handovers.copies(of_two, scatter)[FIRST][0].passes_s
    assert scatter.sessions == (2,)
    assert (~np.isnan(passes_s[:, 0])).tolist() == (~np.isnan(scatter.passes[0][:, 0])).tolist()


def test_copies_without_passes_are_independent():
    profile = replace(copied(), run_iteration=None)
    one = handovers.copies(profile, Scatter.of(profile))[LAST][0]
    error_s, dof = one.error_s(3)
    count = int((~np.isnan(one.passes_s[:, 3])).sum())
    assert dof == count - 1 and error_s == pytest.approx(one.spread_s[3] / count**0.5)


def test_copies_that_were_not_measured_are_not_known():
    profile = replace(copied(), run_copy_in_s=None)
    assert handovers.copies(profile, Scatter.of(profile)) == {}


def test_a_round_of_encodings_counts_once():
    rounds = np.array([[1.0, 2.0], [2.0, 3.0], [3.0, np.nan]])
    (found,) = handovers.encodings([(), (rounds,)])
    assert found.passes_s[:, 1].tolist() == [1.5, 2.5, 3.0] and np.isnan(found.passes_s[:, 0]).all()
    assert found.mean_s[1] == pytest.approx(2.2)
    assert found.error_s(1) == (pytest.approx(np.std([1.5, 2.5, 3.0], ddof=1) / 3**0.5), 2)
    assert found.error_s(0) == (0.0, 0)
    (once,) = handovers.encodings([(np.array([[0.5]]),)])
    assert once.error_s(0) == (0.0, 0) and once.spread_s[0] == 0.0


def test_one_that_takes_far_longer_is_told_by_all_boundaries_together():
    rounds = np.ones((4, 2)) + np.linspace(0, 0.01, 8).reshape(4, 2)
    late = rounds.copy()
    late[1, 1] = 3.0
    encoded = {
        at: Encoding((1.0,), (1.0,), 1, 1, 4, None, None, 2, (times,), (rounds,))
        for at, times in ((1, rounds), (2, late))
    }
    both, _ = handovers.of_encodings(encoded, 4, True)
    own = [float(np.std(times, ddof=1) / times.mean()) for times in (rounds, late)]
    together = float(np.sqrt((3 * own[0] ** 2 + own[1] ** 2) / 4))
    parts = both[LAST][0].spread_s[1:3] / both[LAST][0].mean_s[1:3]
    assert parts == pytest.approx([together, own[1]]) and own[0] < together < own[1]
    assert both[FIRST][0].spread_s[1] == pytest.approx(together * rounds.mean()) and both[FIRST][0].spread_s[0] == 0
