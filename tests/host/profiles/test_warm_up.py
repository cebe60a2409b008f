"""A first pass that is slower than passes differ is found, said, and left out by a stated rule."""

from dataclasses import replace

import numpy as np
import pytest

from dime.host.planning.formulation import build_problem
from dime.host.profiles import warm_up
from dime.host.profiles.published import averaged
from tests.host.analysis import noise


def warmed(passes=5, by=0.2, network="net", seed=1):
    """Profiles whose first pass is slower by a part, and one device's of the other passes alone."""
    made = noise.measured("drift 1 %", passes, 10, seed)
    alike = [replace(profile, network=network) for profile in made.profiles]
    found = []
    for profile in alike:
        slower = np.where(profile.run_iteration == 0, 1 + by, 1.0)
        found.append(replace(profile, run_duration_s=profile.run_duration_s * slower))
    return found, alike[0].only(alike[0].run_iteration > 0)


def test_a_warm_up_is_left_out_and_said():
    profiles, others = warmed()
    problem = build_problem(profiles, noise.LINK, sizes_bytes=noise.SIZES)
    told = [line for line in problem.warnings if "first pass" in line]
    assert len(told) == 2
    assert "edge: the first pass is slower by 19.43%" in told[0] and told[0].endswith("it is a warm-up, and left out")
    used = averaged(profiles, "correct")
    assert used[0].means.duration_s == pytest.approx(others.means.duration_s)
    assert used[0].means.energy_j == pytest.approx(others.means.energy_j)
    assert averaged(used, "correct")[0] is used[0]


def test_passes_that_are_alike_are_all_used():
    """One in 200 would be left out by chance."""
    found = sum(
        warm_up.of_profile(noise.measured("drift 3 %", 5, 2, seed).profiles[1]) is not None for seed in range(80)
    )
    assert found <= 2
    profiles, _ = warmed(by=0.0)
    assert averaged(profiles, "correct")[0] is profiles[0]


def test_published_arithmetic_uses_it_and_says_so():
    profiles, _ = warmed()
    used = averaged(profiles, "published")[0]
    assert len(used.run_duration_s) == len(profiles[0].run_duration_s)
    assert used.warnings[-1].endswith("more than passes differ; the published code uses it")
    weak = averaged(warmed(network="alexnet")[0], "published")
    assert weak[0].warnings[-1].endswith("the published code leaves it out")
    assert weak[1].warnings[-1].endswith("the published code uses it")
    assert averaged(weak, "published")[0] is weak[0]


def test_three_passes_tell_nothing_and_three_must_be_left():
    assert warm_up.of_profile(warmed(passes=3, by=3.0)[0][0]) is None
    profile = warmed(passes=4, by=3.0)[0][0]
    assert len(warm_up.without(profile).run_duration_s) == 3 * len(profile.run_duration_s) // 4
    kept = np.ones(len(profile.run_duration_s), bool)
    kept[10:20] = False  # the second pass of the first cell
    few = warm_up.without(profile.only(kept))
    assert few.warnings[-1].endswith("it is used all the same") and len(few.run_duration_s) == kept.sum()
    assert warm_up.without(few) is few


def test_rows_of_a_table_in_any_order():
    generator = np.random.default_rng(1)
    cell, passes = (part.ravel() for part in np.meshgrid(np.arange(4), np.arange(5)))
    duration_s = (1.0 + cell) * np.where(passes == 0, 1.3, 1.0) * generator.normal(1, 0.01, 20)
    order = generator.permutation(20)
    assert warm_up.of_rows(cell[order], passes[order], duration_s[order]) == pytest.approx(0.3, abs=0.03)
    assert warm_up.of_rows(cell, passes, duration_s / np.where(passes == 0, 1.3, 1.0)) is None
