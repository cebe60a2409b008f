"""Limits that exclude each other: which of them, and the nearest that is possible."""

import re
from dataclasses import replace

import numpy as np
import pytest

from dime.contract.errors import InfeasibleError
from dime.host.planning.goals import Limits
from dime.host.search.conflict import explain
from dime.host.search.frontier import frontier
from dime.host.search.solvers import solve
from dime.testing import synthetic
from dime.testing.instances import enumerated, random_problem


@pytest.fixture(scope="module")
def problem():
    return synthetic.problem(synthetic.ALEXNET, layer_bytes=[10, 20, 30, 40, 50, 60, 70, 80])


@pytest.mark.parametrize("goal", ["latency", "energy", "weighted:1,1", "throughput"])
@pytest.mark.parametrize(("limit", "unit"), [("latency_s", "latency"), ("energy_j", "energy")])
def test_one_limit_by_itself_says_the_least_that_is_possible(problem, goal, limit, unit):
    asked = problem.with_goal(goal).with_limits(Limits(**{limit: 1e-3}))
    line = explain(asked, 60)
    assert line.startswith(f"no plan keeps the limit of {unit} <= 0.001 ")
    least = float(re.search(rf"possible with all other limits: {unit} ([\d.]+) ", line)[1])
    assert solve(asked.with_limits(Limits(**{limit: least}))).status == "optimal"
    with pytest.raises(InfeasibleError):
        solve(asked.with_limits(Limits(**{limit: least * 0.9999})))


def test_a_pair_of_limits_is_named_and_both_ways_out(problem):
    fastest = solve(problem)
    cheapest = solve(problem.with_goal("energy"))
    limits = Limits(latency_s=fastest.objective, energy_j=cheapest.objective, max_bundle=8, rule="free")
    with pytest.raises(InfeasibleError) as raised:
        frontier(problem.with_limits(limits))
    line = str(raised.value)
    assert "these limits exclude each other: latency <= " in line and " and energy <= " in line
    assert "bundles of at most" not in line and "\n" not in line
    latency, energy = (
        float(re.search(rf", or {what}|: {what}", line) and re.findall(rf"{what} ([\d.]+) [sJ]", line)[-1])
        for what in ("latency", "energy")
    )
    assert solve(problem.with_limits(replace(limits, latency_s=latency))).status == "optimal"
    assert solve(problem.with_limits(replace(limits, energy_j=energy))).status == "optimal"


def test_privacy_against_memory(problem):
    line = explain(problem.with_limits(Limits(private_layers=3, memory_bytes={"nano": 50})), 60)
    assert "conv1, conv2, conv3 on nano and 50 bytes on nano" in line
    assert "only conv1, conv2 on nano" in line and "60 bytes on nano" in line


def test_memory_of_both_devices(problem):
    line = explain(problem.with_limits(Limits(memory_bytes={"nano": 50, "wiscad": 100})), 60)
    assert "50 bytes on nano and 100 bytes on wiscad" in line
    needed = int(re.search(r"(\d+) bytes on nano,", line)[1])
    assert solve(problem.with_limits(Limits(memory_bytes={"nano": needed, "wiscad": 100}))).status == "optimal"
    with pytest.raises(InfeasibleError):
        solve(problem.with_limits(Limits(memory_bytes={"nano": needed - 1, "wiscad": 100})))


def test_a_device_without_a_frequency(problem):
    line = explain(problem.with_limits(Limits(private_layers=1, frequencies_hz={"nano": ()})), 60)
    assert "conv1 on nano and nano at no frequency" in line and "nano at any frequency" in line


def test_bundles_too_small_for_the_rule():
    problem = synthetic.problem(synthetic.ALEXNET)
    bundles = problem.devices[0].latency_ps.copy()
    bundles[:, :] = np.where((problem.bounds[1] - problem.bounds[0] == 0)[:, None], bundles, -1)
    single = replace(problem.devices[0], latency_ps=bundles)
    only_edge = replace(problem, devices=(single, replace(problem.devices[1], latency_ps=-np.ones((36, 1), np.int64))))
    line = explain(only_edge.with_limits(Limits(rule="published")), 60)
    assert "bundle-count rule 'published'" in line and "rule free" in line


def test_no_options_at_all():
    problem = synthetic.problem(synthetic.ALEXNET)
    gone = [replace(d, latency_ps=-np.ones_like(d.latency_ps)) for d in problem.devices]
    with pytest.raises(InfeasibleError, match="no plan exists at all, whatever the limits"):
        solve(replace(problem, devices=tuple(gone)))


def test_every_infeasible_random_problem_is_explained_in_one_line():
    explained = 0
    for seed in range(150):
        problem = random_problem(seed)
        if enumerated(problem)[1] is None:
            line = explain(problem, 60)
            assert line.startswith(("no plan", "these limits")) and "\n" not in line
            explained += 1
    assert explained > 5
