"""What every solver must do. The test file that takes this suite has a fixture ``solver`` that gives its module.

It is compared with plain enumeration for every goal and limit that it states, and with the exact solver on a network.
"""

import functools
from dataclasses import replace

import pytest

from dime.host.planning.evaluation import evaluate, value
from dime.host.planning.goals import Goal, Limits
from dime.host.planning.plan import check
from dime.host.planning.solution import make_plan
from dime.host.search import solvers
from dime.host.search.frontier import frontier
from dime.host.search.solvers import brute_force
from dime.testing import synthetic
from dime.testing.instances import UNIT, enumerated, random_problem

GOALS = [Goal("latency"), Goal("energy"), Goal("throughput"), Goal("weighted", 2.0, 0.7)]
SEEDS = range(300, 312)
LIMITS = {
    "none": lambda problem: Limits(),
    "latency": lambda problem: Limits(latency_s=20 * UNIT / 1e12),
    "energy": lambda problem: Limits(energy_j=20 * UNIT / 1e12),
    "private": lambda problem: Limits(private_layers=(problem.layers[-1],)),
    "memory": lambda problem: Limits(memory_bytes={d.name: sum(problem.layer_bytes) * 2 // 3 for d in problem.devices}),
    "frequencies": lambda problem: Limits(
        frequencies_hz={problem.devices[0].name: problem.devices[0].frequencies_hz[:1]}
    ),
    "max_bundle": lambda problem: Limits(max_bundle=2),
    "published rule": lambda problem: Limits(rule="published", max_bundle=2),
    "merged rule": lambda problem: Limits(rule="merged"),
}


@functools.cache
def case(seed, goal, limit):
    problem = random_problem(seed, goal, Limits())
    return problem.with_limits(LIMITS[limit](problem))


@functools.cache
def best_of(seed, goal, limit):
    """By enumeration, once for all solvers."""
    return enumerated(case(seed, goal, limit))[1]


@functools.cache
def in_order(seed, goal, limit):
    """Plans that keep the limits, best first, as `by_hand` has them: how many, and the first two."""
    problem = case(seed, goal, limit)
    ordered = sorted(
        by_hand(problem, plan) for plan in brute_force.plans(problem) if not evaluate(problem, plan).broken
    )
    return len(ordered), ordered[:2]


def test_the_interface(solver):
    assert solver.CAPABILITIES.goals <= set(solvers.GOALS)
    assert solver.CAPABILITIES.limits <= set(solvers.LIMITS)
    assert any(digit.isdigit() for digit in solver.version())


def test_every_limit_has_a_case_here():
    assert set(LIMITS) == {"none", *solvers.LIMITS}


@pytest.mark.parametrize("limit", LIMITS)
@pytest.mark.parametrize("goal", GOALS, ids=lambda goal: goal.kind)
def test_agrees_with_enumeration(solver, goal, limit):
    if goal.kind not in solver.CAPABILITIES.goals or not {limit} <= solver.CAPABILITIES.limits | {"none"}:
        pytest.skip("not among its capabilities")
    for seed in SEEDS:
        problem = case(seed, goal, limit)
        if solver.refuses(problem):
            continue
        best = best_of(seed, goal, limit)
        solution = solver.solve(problem, 60, 0.0)
        assert solution.status == ("infeasible" if best is None else "optimal"), seed
        if best is None:
            assert solution.choices is None and solution.objective is None
            continue
        totals = evaluate(problem, solution.choices)
        assert not totals.broken, seed
        a, b = (1, 0) if goal.is_pipeline else goal.weights
        time = totals.period_ps if goal.is_pipeline else totals.latency_ps
        assert a * time + b * totals.energy_pj == pytest.approx(best, rel=1e-9), seed
        assert solution.objective == value(problem, totals) == solution.bound
        check(problem, make_plan(problem, solution))


def by_hand(problem, choices):
    """What equals are ordered by, written down anew: goal, time, energy, latency, crossings, order."""
    totals = evaluate(problem, choices)
    pipeline = problem.goal.is_pipeline
    time = totals.period_ps if pipeline else totals.latency_ps
    a, b = (1, 0) if pipeline else problem.goal.weights
    devices = [0, *(choice.device for choice in choices), 0]
    crossings = sum(devices[at] != devices[at + 1] for at in range(len(devices) - 1))
    return a * time + b * totals.energy_pj, time, totals.energy_pj, totals.latency_ps, crossings, choices


@pytest.mark.parametrize("limit", LIMITS)
@pytest.mark.parametrize("goal", GOALS, ids=lambda goal: goal.kind)
def test_of_equally_good_plans_every_solver_gives_the_same_one(solver, goal, limit):
    ties = 0
    for seed in SEEDS:
        problem = case(seed, goal, limit)
        if solver.refuses(problem):
            continue
        count, ordered = in_order(seed, goal, limit)
        if not count:
            continue
        ties += count > 1 and ordered[0][0] == ordered[1][0]
        solution = solver.solve(problem, 60, 0.0)
        assert solution.choices == ordered[0][-1], seed
        if goal.kind in ("latency", "throughput"):
            found = frontier(problem)
            assert (found.time_ps[0], found.energy_pj[0]) == ordered[0][1:3], "its own frontier dominates it"
    assert ties or limit != "none"


@pytest.mark.parametrize("goal", GOALS, ids=lambda goal: goal.kind)
@pytest.mark.parametrize("rule", ["free", "published", "merged"])
def test_agrees_with_exact_on_a_network(solver, goal, rule):
    """Costs in picoseconds without a common divisor, as measurements give them."""
    problem = synthetic.problem(synthetic.ALEXNET, goal=goal, limits=Limits(rule=rule, private_layers=2))
    if solver.refuses(problem):
        pytest.skip(solver.refuses(problem))
    expected = solvers.load("exact").solve(problem, 60, 0.0)
    solution = solver.solve(problem, 60, 0.0)
    assert solution.objective == pytest.approx(expected.objective, rel=1e-9)
    if goal.kind == "latency":
        limit = replace(problem.limits, energy_j=make_plan(problem, expected).energy_j * 0.97)
        narrow = problem.with_limits(limit)
        expected = solvers.load("exact").solve(narrow, 60, 0.0)
        solution = solver.solve(narrow, 60, 0.0)
        assert solution.status == expected.status
        if expected.choices is not None:
            assert solution.objective == pytest.approx(expected.objective, rel=1e-9)


def test_no_time_gives_no_optimum(solver):
    """A solver may be done before it looks at the clock; what it may not is call a guess optimal."""
    problem = synthetic.problem(synthetic.VIT, limits=Limits(energy_j=4.0))
    if solver.refuses(problem):
        problem = random_problem(307, Goal("latency"), Limits())
    best = solvers.load("exact").solve(problem, 60, 0.0)
    solution = solver.solve(problem, 1e-6, 0.0)
    if solution.status == "optimal":
        assert solution.objective == pytest.approx(best.objective, rel=1e-9)
    else:
        assert solution.status in ("feasible", "unknown")
        assert (solution.choices is None) == (solution.status == "unknown")
    if solution.choices is not None:
        assert solution.objective >= best.objective * (1 - 1e-9)
        assert solution.bound is None or solution.bound <= best.objective * (1 + 1e-9)


def test_a_gap_is_kept_and_said(solver):
    problem = synthetic.problem(synthetic.ALEXNET, goal="energy", limits=Limits(latency_s=0.3))
    if solver.refuses(problem):
        problem = random_problem(307, Goal("energy"), Limits())
    best = solvers.load("exact").solve(problem, 60, 0.0)
    solution = solver.solve(problem, 60, 0.2)
    assert best.objective <= solution.objective * (1 + 1e-9) and solution.objective <= best.objective / 0.8 + 1e-12
    assert solution.bound <= best.objective * (1 + 1e-9)
