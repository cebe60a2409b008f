"""The exact frontier: complete and right, in each of its forms, against enumeration and the integer programs."""

from dataclasses import replace
from time import monotonic

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dime.host.planning.evaluation import evaluate
from dime.host.planning.goals import RULES, Goal, Limits
from dime.host.search import graph as graphs
from dime.host.search.backends import compiled, plain, vector
from dime.host.search.frontier import frontier
from dime.host.search.solvers import exact, gurobi, highs
from tests.host import synthetic
from tests.host.instances import FULL, enumerated, random_problem

INSTANCES = 500
ASKED = range(0, INSTANCES, 1 if FULL else 10)


def points(found):
    return list(zip(found.time_ps.tolist(), found.energy_pj.tolist(), strict=True))


def kept(problem, labels, node):
    most = [np.inf if limit is None else limit for limit in (problem.latency_limit_ps, problem.energy_limit_pj)]
    return [tuple(point) for point in labels.at(node).tolist() if point[0] <= most[0] and point[1] <= most[1]]


@pytest.mark.parametrize("block", range(10))
def test_every_point_of_500_random_frontiers_and_no_other(block):
    for seed in range(block * INSTANCES // 10, (block + 1) * INSTANCES // 10):
        problem = random_problem(seed)
        expected, best = enumerated(problem)
        found = exact.trade_offs(problem, 60)
        assert found.complete and points(found) == expected, seed
        for at, point in enumerate(expected):
            totals = evaluate(problem, found.choices(at))
            time = totals.period_ps if problem.goal.kind == "throughput" else totals.latency_ps
            assert (time, totals.energy_pj) == point and not totals.broken, seed
        solution = exact.solve(problem, 60, 0)
        assert solution.status == ("infeasible" if best is None else "optimal"), seed


@pytest.mark.parametrize("solver", [gurobi, highs])
def test_integer_programs_find_no_point_that_the_frontier_lacks(solver):
    """Least energy within each point's time is that point's; within anything less, the previous point's."""
    if solver.available():
        pytest.skip(solver.available())
    for seed in ASKED:
        problem = random_problem(seed)
        pipeline = problem.goal.kind == "throughput"
        if pipeline:
            problem = problem.with_goal("latency")
        found = points(exact.trade_offs(problem, 60))
        limit = problem.limits
        asked = [(time, energy) for time, energy in found]
        asked += [(time - 1, energy) for (time, _), (_, energy) in zip(found[1:], found, strict=False)]
        for time, energy in asked:
            narrow = problem.with_limits(replace(limit, latency_s=time / 1e12)).with_goal("energy")
            solution = solver.solve(narrow, 60, 0)
            assert solution.status == "optimal", seed
            assert evaluate(narrow, solution.choices).energy_pj == energy, seed
        first = found[0][0] - 1 if found else problem.latency_limit_ps
        if first is None or first >= 0:
            nothing = problem if first is None else problem.with_limits(replace(limit, latency_s=first / 1e12))
            assert solver.solve(nothing, 60, 0).status == "infeasible", seed


@given(st.integers(10_000, 20_000), st.sampled_from(RULES))
@settings(max_examples=60, deadline=None)
def test_all_forms_of_label_setting_agree(seed, rule):
    problem = random_problem(seed, Goal("latency"))
    problem = problem.with_limits(replace(problem.limits, rule=rule, memory_bytes={}))
    graph = graphs.build(problem)
    expected = kept(problem, plain.label(graph, np.inf), graph.sink)
    assert kept(problem, compiled.label(graph, np.inf), graph.sink) == expected
    limits = (np.inf if at is None else at for at in (problem.latency_limit_ps, problem.energy_limit_pj))
    bounds = compiled.find_bounds(graph, *limits)
    small = graph.keep(compiled.worthwhile(graph, bounds))
    assert kept(problem, compiled.label(small, np.inf, bounds), graph.sink) == expected
    labels, front, what, complete = vector.solve(problem, graph, np.inf, whole=True)
    assert complete and [tuple(at) for at in what.objectives(labels.costs[graph.sink][front]).tolist()] == expected


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("chain", [synthetic.ALEXNET, synthetic.VIT], ids=lambda chain: chain.network)
def test_forms_agree_on_whole_networks(chain, rule):
    graph = graphs.build(synthetic.problem(chain, limits=Limits(rule=rule)))
    expected = plain.label(graph, np.inf).at(graph.sink)
    bounds = compiled.find_bounds(graph)
    small = graph.keep(compiled.worthwhile(graph, bounds))
    assert np.array_equal(compiled.label(graph, np.inf).at(graph.sink), expected)
    assert np.array_equal(compiled.label(small, np.inf, bounds).at(graph.sink), expected)


@pytest.mark.parametrize("goal", ["latency", "throughput"])
def test_replicates_equal_one_problem_after_the_other(goal):
    problem = synthetic.problem(synthetic.ALEXNET, goal=goal)
    generator = np.random.default_rng(3)
    latency, energy = (
        [
            np.rint(costs * generator.normal(1, 0.1, (5, *costs.shape)).clip(0.5, 2)).astype(np.int64)
            for costs in (getattr(device, name) for device in problem.devices)
        ]
        for name in ("latency_ps", "energy_pj")
    )
    for at, found in enumerate(exact.replicated(problem, latency, energy, 60)):
        alone = problem.with_costs([costs[at] for costs in latency], [costs[at] for costs in energy])
        assert points(found) == points(exact.trade_offs(alone, 60))
        totals = evaluate(alone, found.choices(0))
        assert (totals.period_ps if goal == "throughput" else totals.latency_ps) == found.time_ps[0]


def test_memory_and_pipelines_keep_the_frontier_of_a_network_complete():
    problem = synthetic.problem(
        synthetic.ALEXNET,
        layer_bytes=[int(size) for size in synthetic.ALEXNET.weight_bytes],
        limits=Limits(memory_bytes={"nano": 100_000_000}),
    )
    found = exact.trade_offs(problem, 60)
    unlimited = points(exact.trade_offs(problem.with_limits(Limits()), 60))
    fits = [
        at
        for at, point in enumerate(unlimited)
        if not evaluate(problem, exact.trade_offs(problem.with_limits(Limits()), 60).choices(at)).broken
    ]
    assert set(unlimited[at] for at in fits) <= set(points(found))
    for time, energy in points(found):
        assert any(time >= other[0] and energy >= other[1] for other in unlimited)


class TestTimeAndSize:
    def test_a_frontier_that_takes_too_long_says_that_it_is_not_complete(self):
        problem = synthetic.large_problem(60, 3)
        graph = graphs.build(problem)
        assert plain.label(graph, monotonic() - 1) is None
        found = exact.trade_offs(problem, 1e-9)
        assert not found.complete and len(found.time_ps) > 1
        whole = exact.trade_offs(problem, 60)
        assert set(points(found)) <= set(points(whole))

    def test_a_solution_that_takes_too_long_is_feasible_with_a_bound(self):
        problem = synthetic.large_problem(60, 3, goal=Goal("latency"))
        fastest, cheapest = (exact.solve(problem.with_goal(goal), 60, 0) for goal in ("latency", "energy"))
        energies = [evaluate(problem, solution.choices).energy_pj for solution in (fastest, cheapest)]
        limited = problem.with_limits(Limits(energy_j=sum(energies) / 2e12))
        solution = exact.solve(limited, 1e-9, 0)
        assert solution.status == "feasible"
        assert solution.bound == pytest.approx(fastest.objective)
        assert solution.bound <= exact.solve(limited, 60, 0).objective <= solution.objective
        assert solution.gap > 0

    @pytest.mark.parametrize("goal", ["latency", "throughput"])
    def test_memory_limits_and_pipelines_keep_time_too(self, goal):
        problem = synthetic.large_problem(60, 3, goal=Goal(goal), layer_bytes=(1,) * 60)
        problem = problem.with_limits(Limits(memory_bytes={"d0": 30, "d1": 20}))
        solution = exact.solve(problem, 1e-9, 0)
        assert solution.status == "feasible" and solution.bound <= solution.objective

    def test_ten_thousand_layers_are_solved(self):
        problem = synthetic.thin_problem(10_000, 3)
        solution = exact.solve(problem, 60, 0)
        assert solution.status == "optimal"
        assert sum(choice.bundle.last - choice.bundle.first + 1 for choice in solution.choices) == 10_000

    def test_ten_thousand_layers_have_a_frontier_or_part_of_one(self):
        found = frontier(synthetic.thin_problem(10_000, 3), time_limit_s=2)
        assert len(found) > 1

    def test_a_state_space_too_large_is_refused(self):
        problem = synthetic.large_problem(40, 4, 1, limits=Limits(rule="published", max_bundle=30))
        assert "arcs" in exact.refuses(problem)

    def test_one_layer(self):
        problem = synthetic.large_problem(1, 2)
        assert len(frontier(problem)) >= 1


def test_a_search_out_of_time_keeps_what_is_known(monkeypatch):
    problem = synthetic.problem(synthetic.ALEXNET, limits=Limits(energy_j=0.5))
    monkeypatch.setattr(exact, "label", lambda graph, *_: (graph, None))
    solution = exact.solve(problem, 60, 0)
    assert solution.status == "feasible" and solution.bound < solution.objective
