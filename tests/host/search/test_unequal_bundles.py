"""Devices profiled with different largest bundles: M is each device's own, counted here without the planner."""

from itertools import groupby

import numpy as np
import pytest

from dime.host.analysis.baselines import all_on, compare
from dime.host.planning.formulation import build_problem
from dime.host.planning.goals import Limits
from dime.host.profiles.profiles import RawRuns, from_runs
from dime.host.search.cross_check import confirm
from dime.host.search.frontier import frontier
from dime.host.search.solvers import brute_force, solve
from dime.testing import synthetic
from dime.testing.instances import random_problem

LAYERS = synthetic.ALEXNET.layers
SEEDS = [seed for seed in range(400) if len(set(random_problem(seed, limits=Limits()).largest_bundles)) > 1][:60]


def allowed(problem, choices):
    """The rules as README states them, with plain loops over what a device runs in one go and in all."""
    largest = problem.largest_bundles
    if any(bundle.last - bundle.first + 1 > largest[device] for bundle, device, _ in choices):
        return False
    if problem.limits.rule == "merged":
        for device, group in groupby(choices, key=lambda choice: choice.device):
            sizes = [bundle.last - bundle.first + 1 for bundle, _, _ in group]
            if any(size != largest[device] for size in sizes[:-1]):
                return False
    if problem.limits.rule == "published":
        for device in {choice.device for choice in choices}:
            sizes = [bundle.last - bundle.first + 1 for bundle, at, _ in choices if at == device]
            if len(sizes) > (sum(sizes) + largest[device] - 1) // largest[device]:
                return False
    return True


def cost(problem, choices):
    """Latency and energy of a plan, added up by hand."""
    ps = pj = here = 0
    for bundle, device, frequency_hz in [*choices, (None, 0, None)]:
        boundary = len(problem.layers) if bundle is None else bundle.first
        ps += int(problem.crossing_ps[boundary, here, device])
        pj += int(problem.crossing_pj[boundary, here, device])
        here = device
        if bundle is not None:
            row = problem.bundles.index(bundle)
            column = problem.devices[device].frequencies_hz.index(frequency_hz)
            ps += int(problem.devices[device].latency_ps[row, column])
            pj += int(problem.devices[device].energy_pj[row, column])
    return ps, pj


@pytest.mark.parametrize("rule", ["merged", "published", "free"])
def test_the_frontier_is_what_counting_by_hand_gives(rule):
    for seed in SEEDS:
        problem = random_problem(seed, limits=Limits(rule=rule)).with_goal("latency")
        points = {cost(problem, plan) for plan in brute_force.plans(problem) if allowed(problem, plan)}
        best = [p for p in sorted(points) if not any(q != p and q[0] <= p[0] and q[1] <= p[1] for q in points)]
        found = frontier(problem) if points else None
        pairs = [] if found is None else list(zip(found.time_ps.tolist(), found.energy_pj.tolist(), strict=True))
        assert pairs == best, seed


def cut_down(profile, longest):
    """The same profile without its larger bundles."""
    first, last = (np.repeat(ends, np.diff(profile.starts)) for ends in zip(*profile.bundles, strict=True))
    kept = last - first < longest
    return from_runs(
        RawRuns(
            first[kept], last[kept], np.full(kept.sum(), -1), profile.run_duration_s[kept], profile.run_energy_j[kept]
        ),
        device=profile.device,
        network=profile.network,
        layers=profile.layers,
        path=profile.path,
        max_layers=longest,
    )


def demo(longest):
    """AlexNet as the demo has it, whose edge was profiled with bundles of at most so many layers."""
    edge = synthetic.profile(synthetic.ALEXNET, "edge", (-1,))
    if longest:
        edge = cut_down(edge, longest)
    return build_problem([edge, synthetic.server(synthetic.ALEXNET)], "3G", limits=Limits(rule="merged"))


def test_all_on_the_edge_needs_no_bundle_of_the_whole_network():
    problem = demo(4)
    assert problem.largest_bundles == (4, len(LAYERS))
    solution = solve(problem)
    assert [choice.device for choice in solution.choices] == [0, 0]
    assert solution.objective == pytest.approx(solve(demo(None)).objective, rel=0.2)
    assert confirm(problem, solution, "highs").confirmed_by
    assert all_on(problem) == solution.choices
    rows = {row.name: row for row in compare(problem, solution.choices)}
    assert abs(rows["JointDNN"].gain) < 0.5
