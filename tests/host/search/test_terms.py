"""Each term, and all of them at random, in every solver against enumeration, which is held against a timeline."""

from dataclasses import replace

import pytest

from dime.host.planning.evaluation import evaluate
from dime.host.planning.goals import Goal
from dime.host.planning.terms import COPIES, ENCODING, PROTOCOL, TERMS
from dime.host.search.backends import BACKENDS
from dime.host.search.solvers import _ties, brute_force, exact, gurobi, highs
from dime.testing.instances import FULL, enumerated, random_problem, with_terms
from tests.host.planning import timeline

INSTANCES = 300
PIPELINES = (("half duplex",), (ENCODING, "half duplex"), (PROTOCOL, COPIES, ENCODING))
KINDS = (*((name,) for name in TERMS), *PIPELINES, ())
ASKED = range(0, INSTANCES, 1 if FULL else 15)


def instance(seed, names):
    goal = Goal("throughput") if names in PIPELINES else None
    return with_terms(random_problem(20_000 + seed, goal), seed, names)


def points(found):
    return list(zip(found.time_ps.tolist(), found.energy_pj.tolist(), strict=True))


@pytest.mark.parametrize("names", KINDS, ids=lambda names: "+".join(names) or "some")
def test_the_frontier_is_that_of_every_plan_and_a_plan_costs_what_a_timeline_says(names):
    for seed in range(INSTANCES):
        problem = instance(seed, names)
        for at, choices in enumerate(brute_force.plans(problem)):
            if at >= 60:
                break
            totals, played = evaluate(problem, choices), timeline.play(problem, choices)
            if any("back to back" in line or "bundles of" in line for line in totals.broken):
                continue  # what a rule forbids has no states
            assert (totals.latency_ps, totals.period_ps) == (played.now, max(played.stages.values())), seed
            assert totals.energy_pj == pytest.approx(played.energy, abs=1), seed
        expected, best = enumerated(problem)
        found = exact.trade_offs(problem, 60)
        assert found.complete and points(found) == expected, seed
        for at, point in enumerate(expected):
            totals = evaluate(problem, found.choices(at))
            assert (totals.time_ps(problem), totals.energy_pj) == point and not totals.broken, seed
        solution = exact.solve(problem, 60, 0)
        assert solution.status == ("infeasible" if best is None else "optimal"), seed
        if best is not None:
            assert _ties.key(problem, solution.choices)[0] == best, seed


@pytest.mark.parametrize("names", KINDS, ids=lambda names: "+".join(names) or "some")
def test_every_solver_and_every_form_of_label_setting_find_the_same(names):
    solvers = [solver for solver in (highs, gurobi) if not solver.available()]
    for seed in ASKED:
        problem = instance(seed, names)
        expected, best = enumerated(problem)
        two = not problem.goal.is_pipeline and not exact._has_more_quantities(problem)
        for form in BACKENDS if two else BACKENDS[-1:]:
            assert points(exact.trade_offs(problem, 60, form)) == expected, (seed, form)
        for solver in (brute_force, *solvers):
            if solver.refuses(problem):
                continue
            solution = solver.solve(problem, 60, 0)
            assert solution.status == ("infeasible" if best is None else "optimal"), (seed, solver.__name__)
            if best is not None:
                assert _ties.key(problem, solution.choices)[0] == best, (seed, solver.__name__)


def test_among_them_are_pipelines_whose_best_plans_the_input_s_encoding_decides():
    """It counts to the edge device's stage, where a frontier is another than if it counted to the link's."""
    comes_back = decides = 0
    for seed in range(INSTANCES):
        problem = instance(seed, (PROTOCOL, COPIES, ENCODING))
        found = exact.trade_offs(problem, 60)
        plans = [found.choices(at) for at in range(len(found.time_ps))]
        comes_back += any(plan[0].device and any(choice.device == 0 for choice in plan) for plan in plans)
        on_link = replace(problem, terms=replace(problem.terms, input_on_link=True))
        decides += points(exact.trade_offs(on_link, 60)) != points(found)
    assert comes_back >= 15 and decides >= 40
