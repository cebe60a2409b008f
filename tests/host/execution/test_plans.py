"""What is predicted of each stage of a plan, against the plan's own sums."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from dime.contract import stages
from dime.host.execution import plans
from dime.host.planning.evaluation import itemised
from dime.host.planning.goals import Goal, Limits
from dime.host.planning.links import Link
from dime.host.planning.plan import describe
from dime.host.planning.problem import PER_S
from dime.host.planning.terms import OVERHEAD, TERMS
from dime.host.search.solvers import solve
from dime.testing import instances
from tests.host import small

SESSIONS = [{"changes": [{"frequency_hz": hz, "from_hz": 1, "read_back_s": s, "steady_s": s} for hz in (1000, 2000)
                         for s in (0.010, 0.012, 0.014)]}]  # fmt: skip


def devices(problem):
    profile = SimpleNamespace(overheads=None, run_waited_s=None, summary=lambda: dict.fromkeys(
        ("first", "last", "frequency_hz", "duration_s_low", "duration_s_high"), ()
    ))  # fmt: skip
    run = SimpleNamespace(sessions=SESSIONS)
    return [SimpleNamespace(name=one.name, run=run, profile=profile) for one in problem.devices]


def drawn(seed):
    """A random problem with all terms, and its best plan."""
    problem = instances.with_terms(instances.random_problem(seed, Goal("latency"), Limits(rule="free")), seed, TERMS)
    found = solve(problem)
    return problem, found.choices


@pytest.mark.parametrize("seed", range(40))
def test_the_stages_together_take_what_the_plan_does(seed):
    problem, choices = drawn(seed)
    plan = describe(problem, choices)
    parts = plans.parts_of(problem, devices(problem), plan, choices)
    assert sum(part.predicted_s for part in parts) == pytest.approx(plan.latency_s, rel=1e-12)
    terms = itemised(problem, choices).terms
    for cause, term in plans.TERM_OF.items():
        if term != OVERHEAD:  # whose part of crossings is theirs: tests/host/profiles/test_overheads.py
            predicted_s = sum(part.predicted_s for part in parts if part.cause == cause)
            assert predicted_s == pytest.approx(terms[term][0] / PER_S)


def test_a_change_of_frequency_has_the_interval_of_those_that_were_timed():
    asked = {"one": [1000], "two": [1000, 2000], "not timed": [3000], "none": []}
    known = devices(small.problem(2, 2, 1))
    found = {name: plans._change_interval(known, "d0", changes) for name, changes in asked.items()}
    half_s = 4.302653 * 0.002 / 3**0.5
    assert found == {
        "one": (pytest.approx(0.012 - half_s), pytest.approx(0.012 + half_s)),
        "two": (pytest.approx(0.024 - half_s * 2**0.5), pytest.approx(0.024 + half_s * 2**0.5)),
        "not timed": None,
        "none": None,
    }


def test_a_crossing_has_the_interval_of_the_link_s_passes():
    link = Link(
        "ours", 8e6, 8e6, 0.01, origin="measured", passes=[(0.01, 1 / 7.9e6, 1 / 8e6), (0.01, 1 / 8.1e6, 1 / 8e6)]
    )
    problem = replace(small.problem(2, 2, 1, link=link), joined={(0, 1): link})
    low, high = plans._crossing_interval(problem, (0, 1), 10_000, 0.0)
    passes_s = 0.005 + 80_000 / np.array([7.9e6, 8.1e6])
    half_s = 12.7062 * passes_s.std(ddof=1) / 2**0.5
    assert (low, high) == (pytest.approx(0.015 - half_s, rel=1e-4), pytest.approx(0.015 + half_s, rel=1e-4))
    back = plans._crossing_interval(problem, (1, 0), 10_000, 0.0)
    assert back == (pytest.approx(0.015), pytest.approx(0.015))
    assert plans._origin(problem, (1, 0)) == "measured"
    assert plans._crossing_interval(small.problem(2, 2, 1), (0, 1), 10_000, 0.0) is None


def test_a_hop_s_delay_is_half_of_the_round_trip_whichever_way():
    problem = small.problem(2, 2, 1, link=Link("far", 8e6, 8e6, 0.03))
    segments = stages.segments([(0, 0, 1, -1), (1, 1, 0, -1)])
    assert plans.delays_s(problem, segments) == (0.015, 0.015)
