"""The default shape of a profile holds on a measured one, not only on assumed noise."""

import numpy as np

from dime.host.campaign.profile_options import ProfileOptions
from tests.host.analysis import shapes


def test_many_short_passes_choose_better_plans_in_the_same_time():
    """Drawn from a profile of 25 passes that was measured on a machine that other work shared."""
    table, default = shapes.read(), (ProfileOptions().iterations, ProfileOptions().runs)
    assert default in shapes.SHAPES
    found = {shape: shapes.worse(table, shape, 4000) for shape in shapes.SHAPES}
    costs = [passes * (runs + shapes.WARM_UPS) for passes, runs in found]
    assert max(costs) <= 1.05 * min(costs)
    assert found[default][0] < 0.8 * found[5, 20][0] and found[default][1] < 0.75 * found[5, 20][1]
    assert found[default][0] <= min(share for share, _ in found.values()) + 0.03


def test_passes_differ_by_more_than_runs_do():
    table = shapes.read()
    of_passes = shapes.typical(table.first_s)[:, 1:]
    between = of_passes.var(axis=0, ddof=1) / of_passes.mean(axis=0) ** 2
    within = table.first_s[:, 1:].var(axis=2, ddof=1).mean(axis=0) / of_passes.mean(axis=0) ** 2
    assert np.median(between / (between + within / table.first_s.shape[2])) > 0.5
