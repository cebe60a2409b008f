"""A page's graph of plans against the planner itself, wherever its sliders may stand."""

import random
from dataclasses import replace

import numpy as np
import pytest

from dime.contract.errors import InputError
from dime.host.analysis.what_if import what_if
from dime.host.planning.accounting import Accounting
from dime.host.planning.formulation import build_problem
from dime.host.planning.goals import Goal, Limits
from dime.host.planning.links import load_link
from dime.host.search.solvers import solve
from dime.testing import synthetic

CHAIN = synthetic.ALEXNET


def build(link, goal="latency", rule="merged", accounting=None, limits=None):
    edge = synthetic.profile(CHAIN, frequencies_hz=synthetic.TWELVE_HZ[3::4], runs=3)
    return build_problem(
        [edge, synthetic.server(CHAIN)], link, goal, limits or Limits(rule=rule), accounting=accounting
    )


def moved(link, slower, trip_s):
    return replace(
        link, upload_bit_s=link.upload_bit_s / slower, download_bit_s=link.download_bit_s / slower, round_trip_s=trip_s
    )


def least(found, per_s, per_j, slower, trip_s, watts):
    """The shortest path, as the page walks it."""
    arcs = found.arcs
    latency = arcs.latency_s + arcs.air_s * slower + arcs.trips * trip_s
    value = per_s * latency + per_j * (
        arcs.energy_j + arcs.air_j * slower + watts * arcs.waits * (latency + arcs.beyond_s)
    )
    best = np.full(found.nodes, np.inf)
    best[0] = 0
    for tail, head, more in zip(arcs.tail, arcs.head, value, strict=True):
        best[head] = min(best[head], best[tail] + more)
    return best[-1]


@pytest.mark.parametrize("rule", ["merged", "free"])
@pytest.mark.parametrize("connection", ["kept", "new"])
@pytest.mark.parametrize("idle_power_w", [None, 1.25])
def test_its_shortest_path_is_the_planners_plan_at_any_link_idle_power_and_weight(rule, connection, idle_power_w):
    link, chance = load_link("WiFi"), random.Random(rule + connection)
    accounting = Accounting(idle_power_w=idle_power_w, connection=connection)
    found = what_if(build(link, rule=rule, accounting=accounting))
    assert found.waiting.unit == "W" and found.waiting.here == (idle_power_w or 0)
    for goal in ("latency", "energy", *["weighted"] * 6):
        slower, trip_s, watts = 10 ** chance.uniform(-2, 2), chance.choice([0, chance.uniform(0, 0.2)]), chance.random()
        weights = {"latency": (1, 0), "energy": (0, 1)}.get(goal, (1, 10 ** chance.uniform(-2, 2)))
        asked = replace(accounting, idle_power_w=watts)
        problem = build(moved(link, slower, trip_s), Goal(goal, *weights) if goal == "weighted" else goal, rule, asked)
        best = least(found, *weights, slower, trip_s, watts)
        assert best == pytest.approx(solve(problem).objective, rel=1e-9)


def test_an_idle_power_that_differs_by_frequency_is_turned_as_a_multiple():
    link = load_link("WiFi")
    problem = build(link, "energy", accounting=Accounting(idle_power_w=1.0))
    problem = replace(problem, terms=replace(problem.terms, idle_w=((0.5, 1.0, 2.0), None)))
    found = what_if(problem)
    assert found.waiting.unit == "" and found.waiting.here == 1
    for times in (0.0, 1.0, 3.5):
        turned = replace(
            problem, terms=replace(problem.terms, idle_w=(tuple(times * w for w in (0.5, 1.0, 2.0)), None))
        )
        best = least(found, 0, 1, 1, link.round_trip_s, times)
        assert best == pytest.approx(solve(turned).objective, rel=1e-9)


def test_states_of_a_radio_are_in_it():
    link = replace(load_link("WiFi"), promotion_s=0.1, promotion_w=0.9, tail_s=0.2, tail_w=0.7)
    found = what_if(build(link, "energy"))
    for slower in (0.1, 1.0, 9.0):
        problem = build(moved(link, slower, 0.02), "energy")
        assert least(found, 0, 1, slower, 0.02, 0) == pytest.approx(solve(problem).objective, rel=1e-9)


def test_what_is_no_line_or_too_large_says_why():
    with pytest.raises(InputError, match="the slowest stage is no sum"):
        what_if(build("WiFi", "throughput"))
    chain = synthetic.long_chain(60)
    profiles = [synthetic.profile(chain, frequencies_hz=synthetic.TWELVE_HZ, runs=2), synthetic.server(chain)]
    with pytest.raises(InputError, match="a page holds"):
        what_if(build_problem(profiles, "WiFi"))
