"""Break-even points: exact at the problem's own links, and right when the problem is solved anywhere between them."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dime.contract.errors import InfeasibleError, InputError
from dime.host.analysis import break_even
from dime.host.planning.accounting import Accounting
from dime.host.planning.formulation import build_problem
from dime.host.planning.goals import Limits
from dime.host.planning.links import Link
from dime.host.search.solvers import solve
from dime.testing import synthetic
from tests.host import small

LINK = Link("test", 8e6, 24e6, 0.002, 1e-7, 5e-8, 0.5)


def at_knob(link, vary, x):
    """The link that a value of the knob stands for."""
    if vary == "round_trip":
        return replace(link, round_trip_s=x)
    up = link.upload_bit_s / x if vary in ("bandwidth", "upload") else link.upload_bit_s
    down = link.download_bit_s / x if vary in ("bandwidth", "download") else link.download_bit_s
    return replace(link, upload_bit_s=up, download_bit_s=down)


def made(seed, link, goal, limits, layers=3):
    return small.problem(layers, 2 + seed % 2, seed, goal, limits, link, spread=0.1)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 10**6),
    st.sampled_from(["latency", "energy", "weighted:1,0.37"]),
    st.sampled_from(break_even.VARIES),
    st.sampled_from(["free", "merged", "published"]),
    st.sampled_from([None, "latency", "energy"]),
)
def test_the_map_agrees_with_solving_between_the_break_even_points(seed, goal, vary, rule, limited):
    limits = Limits(rule=rule)
    problem = made(seed, LINK, goal, limits)
    if limited:
        plans = small.all_plans(problem)
        costs = [plan[1].latency_ps if limited == "latency" else plan[1].energy_pj for plan in plans]
        limits = replace(limits, **{limited + ("_s" if limited == "latency" else "_j"): np.median(costs) / 1e12})
        problem = problem.with_limits(limits)
    try:
        found = break_even.best_plans(problem, LINK, vary)
    except InfeasibleError:
        fastest = made(seed, at_knob(LINK, vary, 0.0 if vary == "round_trip" else 1e-9), goal, limits)
        assert not small.all_plans(fastest)
        return
    assert found.regions[0].low == 0
    assert found.regions[-1].high is None
    for region in found.regions:
        assert region.high is None or region.low < region.high
        between = region.low + 1 if region.high is None else (region.low + region.high) / 2
        there = made(seed, at_knob(LINK, vary, float(between)), goal, limits)
        plans = small.all_plans(there)
        if region.choices is None:
            assert not plans
            continue
        value = float(region.constant + region.slope * between)
        whole = 1e-11 * (1 + float(between))  # costs are whole picoseconds and picojoules, at the problem's own links
        assert plans[0][0] == pytest.approx(value, rel=1e-12, abs=whole)
        mine = [plan[0] for plan in plans if plan[2] == region.choices]
        assert mine == [pytest.approx(plans[0][0], rel=1e-12, abs=whole)]
    for before, after in zip(found.regions, found.regions[1:], strict=False):
        assert before.high == after.low
        if not limited:  # both are equally good there, exactly
            gap = before.constant - after.constant + (before.slope - after.slope) * after.low
            assert abs(gap) < Fraction(1, 10**13)
            assert before.slope > after.slope


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(["latency", "energy"]), st.sampled_from(break_even.VARIES))
def test_at_its_own_links_the_map_gives_the_very_optimum(seed, goal, vary):
    problem = made(seed, LINK, goal, Limits())
    found = break_even.best_plans(problem, LINK, vary)
    best = small.all_plans(problem)[0][1]
    here = found.chosen
    exactly = Fraction(best.latency_ps if goal == "latency" else best.energy_pj, 10**12)
    assert here.constant + here.slope * found.here == exactly
    assert found.at(0) is found.regions[0]


def test_by_hand():
    """A device of 10 ms, or a server of 2 ms behind 1000 bytes up and none down: equal where sending takes 8 ms."""
    profiles = small.profiles(1, 2, 0)
    link = Link("test", 1e6, 1e6)
    problem = build_problem(profiles, link, sizes_bytes=[1000, 0], result_bytes=0, accounting=Accounting(terms="none"))
    edge, server = np.array([[10**10, 10**10]]), np.array([[2 * 10**9]])
    problem = problem.with_costs([edge, server], [device.energy_pj for device in problem.devices])
    found = break_even.best_plans(problem, link)
    assert found.break_evens == (Fraction(1),)
    assert [region.choices[0].device for region in found.regions] == [1, 0]
    table = found.table()
    assert list(table["upload_bit_s_high"]) == [1e6, float("inf")]
    assert list(table["here"]) == [False, True]  # at the break-even point itself both are best
    assert table["value_high"][1] == pytest.approx(0.01)
    assert found.at(0.999).choices[0].device == 1
    assert found.at(Fraction(10**9 + 1, 10**9)).choices[0].device == 0


def test_alpha_does_not_grow_when_the_link_gets_slower():
    link = Link("test", 1e6, 1e6, 0.0, upload_j_per_bit=1e-6, download_j_per_bit=0.0, radio_w=2.0)
    nothing = Accounting(terms="none")
    problem = build_problem(
        small.profiles(1, 2, 0), link, "energy", sizes_bytes=[1000, 0], result_bytes=0, accounting=nothing
    )
    one_joule = np.full((1, 2), 10**12)
    problem = problem.with_costs([d.latency_ps for d in problem.devices], [one_joule, problem.devices[1].energy_pj])
    found = break_even.best_plans(problem, link)
    server = found.regions[0]
    assert server.choices[0].device == 1
    assert server.constant == pytest.approx(8000 * 1e-6)  # alpha x bits
    assert server.slope == pytest.approx(2.0 * 8000 / 1e6)  # beta x bits / rate


def test_several_round_trips():
    chain = synthetic.ALEXNET
    problem = synthetic.problem(chain, "WiFi", limits=Limits(rule="merged"))
    maps = break_even.round_trips(problem, [0.0, 0.01, 0.05])
    own = break_even.best_plans(problem)
    assert [region.choices for region in maps[0].regions] == [region.choices for region in own.regions]
    assert maps[0].break_evens == own.break_evens
    # Where the network stays at home for good, a longer round trip lets it do so at higher bandwidths already.
    ends = [found.break_evens[-1] for found in maps]
    assert ends == sorted(ends, reverse=True)
    for found, trip in zip(maps, (0.0, 0.01, 0.05), strict=True):
        slow = Link("slow", 18.88e6, 54.97e6, trip, 283.17e-9, 137.01e-9, 0.13286)
        again = build_problem([synthetic.profile(chain), synthetic.server(chain)], slow, limits=Limits(rule="merged"))
        assert solve(again).objective == pytest.approx(float(found.chosen.constant + found.chosen.slope), rel=1e-9)
    table = break_even.best_plans(problem, vary="round_trip").table()
    assert table["round_trip_s_low"].iloc[-1] == 0
    assert table["here"].sum() == 1


def test_a_problem_keeps_its_links_whatever_they_are_called():
    problem = small.problem(3, 2, 5, link=LINK)
    own, given = break_even.best_plans(problem), break_even.best_plans(problem, LINK)
    assert own.regions == given.regions
    assert own.link == LINK


def test_pairs_of_links_share_one_factor():
    chain = synthetic.ALEXNET
    hub = synthetic.profile(chain, "hub", peak_flop_s=2e11, seed=3)
    links = "nano-hub: WiFi; nano-wiscad: 4G; hub-wiscad: none"
    problem = build_problem(
        [synthetic.profile(chain), hub, synthetic.server(chain)], links, limits=Limits(rule="merged")
    )
    found = break_even.best_plans(problem)
    assert found.link is None
    assert len(found.regions) > 1
    assert {"factor_low", "factor_high"} <= set(found.table())
    assert "upload_bit_s_low" not in found.table()
    assert solve(problem).objective == pytest.approx(float(found.chosen.constant + found.chosen.slope), rel=1e-12)


def test_memory_and_privacy_hold_everywhere():
    limits = Limits(private_layers=1, memory_bytes={"d0": 3000})
    problem = small.problem(4, 2, 7, limits=limits, link=LINK)
    for region in break_even.best_plans(problem, LINK).regions:
        held = [at for c in region.choices if c.device == 0 for at in range(c.bundle.first, c.bundle.last + 1)]
        assert 0 in held
        assert sum(problem.layer_bytes[at] for at in held) <= 3000


def test_bad_input():
    problem = small.problem(2, 2, 1, link=LINK)
    with pytest.raises(InputError, match="unknown knob 'speed'; known: bandwidth, download, round_trip, upload"):
        break_even.best_plans(problem, LINK, "speed")
    with pytest.raises(InputError, match=r"crossings were given as numbers.* give links="):
        break_even.best_plans(replace(problem, joined={}))
    with pytest.raises(InputError, match="link 4G is not the one that the problem was built with"):
        break_even.best_plans(problem, "4G")
    with pytest.raises(InputError, match="the goal throughput is no sum"):
        break_even.best_plans(problem.with_goal("throughput"), LINK)
    with pytest.raises(InputError, match="round trip of -1 s cannot be assumed"):
        break_even.best_plans(problem, LINK, round_trip_s=-1)
    with pytest.raises(InputError, match="cannot be assumed"):
        break_even.best_plans(problem, LINK, "round_trip", round_trip_s=1)
    with pytest.raises(InputError, match="not found in time"):
        break_even.best_plans(problem, LINK, time_limit_s=0)
    with pytest.raises(InputError, match="not >= 0"):
        break_even.best_plans(problem, LINK).at(-1)
    with pytest.raises(InfeasibleError, match="however fast"):
        break_even.best_plans(problem.with_limits(Limits(latency_s=0.0)), LINK)
