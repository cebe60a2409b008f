"""The exact frontier: complete and right, in each of its forms, against enumeration and the integer programs."""

import subprocess
import sys
from dataclasses import replace
from time import monotonic

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import dime
from dime.contract.errors import InputError
from dime.host.planning.cost import add_up, amount, walk
from dime.host.planning.evaluation import evaluate
from dime.host.planning.goals import RULES, Goal, Limits
from dime.host.planning.solution import Solution
from dime.host.search import backends
from dime.host.search import graph as graphs
from dime.host.search import pareto as pareto_module
from dime.host.search.backends import BACKENDS, compiled, plain
from dime.host.search.frontier import frontier
from dime.host.search.pareto import pareto, shortest
from dime.host.search.quantities import undominated
from dime.host.search.solvers import exact, gurobi, highs
from dime.testing import synthetic
from dime.testing.instances import FULL, enumerated, random_problem
from tests.host import small

INSTANCES = 500
ASKED = range(0, INSTANCES, 1 if FULL else 10)


def points(found):
    return list(zip(found.time_ps.tolist(), found.energy_pj.tolist(), strict=True))


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
    found = {form: exact.trade_offs(problem, 60, form) for form in BACKENDS}
    assert {form: front.backend for form, front in found.items()} == {form: form for form in BACKENDS}
    assert all(front.complete and points(front) == points(found["plain"]) for front in found.values())
    solutions = [exact.solve(problem, 60, 0.0, form) for form in BACKENDS]
    assert {(solution.status, solution.choices) for solution in solutions} == {
        (solutions[0].status, solutions[0].choices)
    }
    graph = graphs.build(problem)
    costs = graph.amounts(problem.latency), graph.amounts(problem.energy)
    most = [np.inf if at is None else at for at in (problem.latency_limit_ps, problem.energy_limit_pj)]
    bounds = compiled.find_bounds(graph, costs, tuple(most))
    kept = compiled.worthwhile(graph, costs, bounds)
    labels = compiled.label(graph.keep(kept), (costs[0][kept], costs[1][kept]), np.inf, bounds).at(graph.sink)
    assert [tuple(sums) for sums in labels.tolist() if (sums <= np.array(most)).all()] == points(found["plain"])


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("chain", [synthetic.ALEXNET, synthetic.VIT], ids=lambda chain: chain.network)
def test_forms_agree_on_whole_networks(chain, rule):
    problem = synthetic.problem(chain, limits=Limits(rule=rule))
    expected = exact.trade_offs(problem, 60, "plain")
    found = exact.trade_offs(problem, 60, "compiled")
    assert points(found) == points(expected)
    graph = graphs.build(problem, (problem.latency, problem.energy))
    costs = graph.amounts(problem.latency), graph.amounts(problem.energy)
    assert [tuple(sums) for sums in compiled.label(graph, costs, np.inf).at(graph.sink).tolist()] == points(expected)


def test_the_form_is_chosen_by_size_whatever_is_imported():
    """In a process of its own: what is imported here, other tests decide."""
    code = (
        "from dime.host.search import backends, solvers; from dime.host.search.backends import compiled, vector;"
        "from dime.testing import synthetic; small = synthetic.problem(synthetic.ALEXNET);"
        "from dime.host.search.solvers import exact; print(exact.trade_offs(small, 60).backend,"
        "backends.choose(10**5, 2), backends.choose(10, 3), backends.choose(10, 2, 'compiled'))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["plain", "compiled", "vector", "compiled"]
    with pytest.raises(InputError, match="unknown form of label setting for 3 quantities 'plain'"):
        backends.choose(10, 3, "plain")


@given(st.integers(0, 10**6))
@settings(max_examples=30, deadline=None)
def test_any_quantity_can_be_made_small(seed):
    """Bytes, a mirrored cost and a slowest stage, against every plan."""
    problem = random_problem(seed, Goal("throughput"), Limits(rule="free"))
    plans = [choices for _, _, choices in small.all_plans(problem)]
    graph = graphs.build(problem)
    mirrored = replace(problem.energy, of_devices=[10**9 - e for e in problem.energy.of_devices])
    for asked in (
        [mirrored],
        [problem.period],
        [mirrored, problem.latency],
        [problem.period, problem.energy, mirrored],
    ):
        sums = {tuple(amount(walk(problem, plan), quantity) for quantity in asked) for plan in plans}
        best = [one for one in sums if not any(all(map(int.__le__, other, one)) for other in sums - {one})]
        front = pareto(graph, asked)
        assert [tuple(found) for found in front.sums.tolist()] == sorted(best)
        for at in range(len(front)):
            parts = walk(problem, front.choices(at))
            assert [amount(parts, quantity) for quantity in asked] == front.sums[at].tolist()
    least = shortest(graph, mirrored)
    if plans:
        assert add_up(walk(problem, least), mirrored).total == min(
            add_up(walk(problem, plan), mirrored).total for plan in plans
        )
    else:
        assert least is None


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
        assert plain.label(graph, (graph.cell, graph.cell), monotonic() - 1) is None
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
    monkeypatch.setattr(pareto_module, "label", lambda graph, costs, *_: (graph, costs, None))
    solution = exact.solve(problem, 60, 0)
    assert solution.status == "feasible" and solution.bound < solution.objective


def test_out_of_time_is_one_error_that_carries_what_was_found(monkeypatch):
    problem = synthetic.large_problem(60, 3)
    with pytest.raises(dime.OutOfTimeError, match="too many trade-offs") as late:
        undominated(problem, [problem.latency, problem.energy], 1e-9)
    assert late.value.plan and not evaluate(problem, late.value.plan).broken and late.value.gap is None
    nothing = Solution("unknown", None, None, 2.0, "exact", "exact", 1.0)
    monkeypatch.setattr(exact, "solve", lambda *_: nothing)
    with pytest.raises(dime.OutOfTimeError, match="found no plan in 1 s") as late:
        dime.solve(problem, time_limit_s=1)
    assert (late.value.plan, late.value.bound, late.value.gap) == (None, 2.0, None)
    assert dime.OutOfTimeError("late", (), 3.0, 4.0).gap == 0.25
