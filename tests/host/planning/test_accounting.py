"""Whose joules count, what is known of each term, and what a plan says of what is not."""

from dataclasses import replace

import numpy as np
import pytest

from dime.contract.errors import InputError, TableError
from dime.host.planning import problem_files
from dime.host.planning.accounting import Accounting
from dime.host.planning.evaluation import evaluate
from dime.host.planning.formulation import build_problem
from dime.host.planning.goals import Limits
from dime.host.planning.links import Link, load_link
from dime.host.planning.plan import check, describe, read_plan
from dime.host.planning.solution import make_plan
from dime.host.search.solvers import brute_force, solve
from dime.testing import synthetic
from tests.host.planning import timeline

CHAIN = synthetic.ALEXNET
MEGABIT = Link("made up", 1e6, 1e6, 0.02, 1e-7, 1e-7, 0.5)


def profiles():
    return [synthetic.profile(CHAIN, frequencies_hz=(100, 200)), synthetic.server(CHAIN)]


def problem(link="4G", goal="latency", **accounting):
    return build_problem(profiles(), link, goal, accounting=Accounting(**accounting))


def on_server(made):
    return next(c for c in brute_force.plans(made) if len(c) == 1 and c[0].device == 1)


def test_waiting_costs_the_idle_power_while_the_server_computes_and_bits_are_on_the_way():
    made = problem(idle_power_w=1.25)
    plan = describe(made, on_server(made))
    waiting = next(one for one in plan.terms if one.term == "waiting")
    server, at = profiles()[1], made.bundles.index(on_server(made)[0].bundle)
    longer_s = float(server.plain_s[at, 0] - server.means.duration_s[at, 0])
    assert waiting.energy_j == pytest.approx(1.25 * (plan.latency_s + longer_s)), "a latency is typical, joules a mean"
    assert waiting.origin == "modelled" and "1.25 W while nano waits" in waiting.source
    assert plan.energy_j == pytest.approx(waiting.energy_j + plan.radio_j + plan.terms[1].energy_j)
    assert "    waiting: 0 s" in str(plan) and "without copies of nano" in str(plan)
    at_home = next(c for c in brute_force.plans(made) if len(c) == 1 and c[0].device == 0)
    assert describe(made, at_home).terms[0].energy_j == 0


def test_joules_of_waiting_are_a_mean_as_joules_are(tmp_path):
    """Where few of the server's runs take far longer, its typical run does not, and a battery pays for all of them."""
    edge, server = profiles()
    runs = server.run_duration_s.copy()
    runs[server.starts[:-1]] *= 3
    server = replace(server, run_duration_s=runs)
    made = build_problem([edge, server], "4G", "latency", accounting=Accounting(idle_power_w=1.25))
    choices = on_server(made)
    waiting = next(one for one in describe(made, choices).terms if one.term == "waiting")
    at = made.bundles.index(choices[0].bundle)
    mean_s = runs[server.starts[at] : server.starts[at + 1]].mean()
    sent_s = describe(made, choices).latency_s - server.means.duration_s[at, 0]
    assert waiting.energy_j == pytest.approx(1.25 * (mean_s + sent_s))
    assert server.means.duration_s[at, 0] < 0.99 * mean_s
    problem_files.write(made, tmp_path)
    again = problem_files.read(tmp_path)
    assert evaluate(again, choices).energy_pj == evaluate(made, choices).energy_pj
    assert evaluate(made, choices).energy_pj == pytest.approx(timeline.play(made, choices).energy, abs=2)
    longest = replace(made, terms=replace(made.terms, beyond_ps=(None, -made.devices[1].latency_ps - 5)))
    (tmp_path / "bad").mkdir()
    problem_files.write(longest, tmp_path / "bad")
    with pytest.raises(TableError, match="mean times of wiscad have another shape, or are negative"):
        problem_files.read(tmp_path / "bad")


def test_a_device_waits_at_the_frequency_that_it_was_left_at(monkeypatch):
    edge = profiles()[0]
    edge = replace(edge, idle_w=(1.0, 3.0))
    made = build_problem([edge, profiles()[1]], "4G", "energy")
    assert made.terms.waiting_w == {0: (1.0, 3.0)} and not made.states.is_single
    for choices in list(brute_force.plans(made))[:200]:
        totals = evaluate(made, choices)
        if not totals.broken:
            assert totals.energy_pj == pytest.approx(timeline.play(made, choices).energy, abs=2)
    assert next(one for one in make_plan(made, solve(made)).terms if one.term == "waiting").origin == "modelled"


def test_radio_states_that_were_not_checked_count_only_where_that_is_asked_for():
    link = load_link("4G")
    assert link.has_states and not link.states_checked
    assert any("unchecked" in str(one) for one in problem().terms.missing) and not problem().terms.radios
    made = problem(terms="all")
    (radio,) = made.terms.radios
    assert (radio.promotion_ps, radio.tail_ps) == (260 * 10**9, 11_576 * 10**9)
    plan = describe(made, on_server(made))
    states = next(one for one in plan.terms if one.term == "radio states")
    silent_s = plan.computation_s
    assert states.latency_s == pytest.approx(0.26)
    assert states.energy_j == pytest.approx(0.26 * 1.2107 + 1.06 * (silent_s + 11.576))
    assert "(unchecked)" in states.source and states.origin == "modelled"


def test_a_connection_that_is_not_kept_costs_a_round_trip_each_time():
    kept, new = (problem(MEGABIT, connection=kind) for kind in ("kept", "new"))
    choices = on_server(kept)
    more = evaluate(new, choices).latency_ps - evaluate(kept, choices).latency_ps
    assert more == 2 * 0.02 * 1e12
    header_s = describe(kept, choices).terms[0].latency_s / 2
    assert header_s == pytest.approx(60 * 8 / 1e6)


def test_a_link_without_radio_numbers_gives_no_energy_of_nothing():
    link = Link("typed", 1e6, 1e6)
    made = problem(link)
    plan = describe(made, on_server(made))
    assert plan.energy_j is None and "energy: not known" in str(plan)
    told = " ".join(str(plan).split())
    assert "radio states of typed, radio of typed, overhead of every device, encoding of the input " in told
    with pytest.raises(InputError, match="what a plan that sends costs in energy is not known: without radio of typed"):
        problem(link, "energy")
    known = describe(problem(link, "energy", idle_power_w=1.0), on_server(made))
    assert known.energy_j == pytest.approx(known.latency_s) and " radio " not in str(known).splitlines()[2]


def test_joules_are_those_of_whom_they_are_asked_of():
    hub = synthetic.profile(CHAIN, "hub", (-1,), 1e12, seed=4)
    three = [synthetic.profile(CHAIN), hub, synthetic.server(CHAIN)]
    links = "nano-hub: WiFi; nano-wiscad: 4G; hub-wiscad: WiFi"
    edge = build_problem(three, links)
    assert edge.devices[1].energy_pj.max() == 0 == edge.crossing_pj[:, 1, 2].max() < edge.crossing_pj[:, 0, 1].max()
    both = build_problem(three, links, accounting=Accounting(joules="nano, hub"))
    assert min(both.devices[1].energy_pj.min(), both.crossing_pj[:, 1, 2].min()) > 0
    assert "radio of hub" in " ".join(map(str, both.terms.missing))
    every = build_problem(three, links, accounting=Accounting(joules="all"))
    assert np.array_equal(every.devices[1].energy_pj, both.devices[1].energy_pj)
    with pytest.raises(InputError, match="unknown device whose joules count 'pc'"):
        build_problem(three, links, accounting=Accounting(joules="pc"))
    with pytest.raises(InputError, match="wiscad has no energy"):
        build_problem(three, links, accounting=Accounting(joules="wiscad"))


@pytest.mark.parametrize("wrong", [{"terms": "tails"}, {"connection": "old"}, {"idle_power_w": -1.0}])
def test_what_cannot_be_is_refused(wrong):
    with pytest.raises(InputError):
        Accounting(**wrong)


def test_the_published_arithmetic_has_no_terms():
    edge, server = profiles()
    published = build_problem([edge, server], "WiFi", "throughput", arithmetic="published")
    assert published.terms.is_empty and not published.terms.missing and not published.half_duplex


def test_both_ways_of_a_half_duplex_link_are_one_stage_of_a_pipeline():
    made = problem("WiFi", "throughput")
    choices = on_server(made)
    up, down = (made.transfer_ps(*way) for way in ((0, 0, 1), (len(made.layers), 1, 0)))
    assert evaluate(made, choices).period_ps == max(up + down, made.devices[1].latency_ps[7, 0])
    told = " ".join(map(str, made.acting.missing))
    assert "waiting of a pipeline: its inferences overlap" in told and "waiting" in str(make_plan(made, solve(made)))


def test_a_problem_with_terms_is_read_back_and_its_plan_checked(tmp_path):
    edge = profiles()[0]
    edge = replace(edge, idle_w=(1.0, 3.0))
    edge = replace(edge, frequency_change_s=(0.01, 0.02))
    made = build_problem(
        [edge, profiles()[1]], "4G", "energy", Limits(rule="free"), accounting=Accounting(terms="all", connection="new")
    )
    plan = make_plan(made, solve(made))
    plan.write(tmp_path / "plan.json")
    problem_files.write(made, tmp_path)
    again = problem_files.read(tmp_path)
    check(again, read_plan(tmp_path / "plan.json"))
    assert again.terms.facts == made.terms.facts and again.terms.missing == made.terms.missing
    assert again.terms.radios == made.terms.radios and np.array_equal(again.terms.change_ps[0], made.terms.change_ps[0])
    with pytest.raises(InputError, match="steps, transfers or terms"):
        check(made, replace(plan, terms=plan.terms[1:]))


@pytest.mark.parametrize("watts", [1e12, 1e30, 1e300])
def test_a_power_beyond_any_measure_is_refused_and_never_a_negative_energy(watts):
    with pytest.raises(InputError, match=r"a plan could take 53 days or 4\.6 MJ and more"):
        problem(idle_power_w=watts)
