"""The text that a study ends with on the terminal, and how quantities are written."""

import re
from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dime.host.common.units import percent, quantity
from dime.host.planning.certificate import Certificate
from dime.host.planning.goals import Limits
from dime.host.report import sentences, terminal, text_plot
from dime.host.studies.study import make_study
from dime.testing import synthetic
from tests.host import example_studies as studies

FACTOR = {"G": 1e9, "M": 1e6, "k": 1e3, "": 1.0, "m": 1e-3, "µ": 1e-6, "n": 1e-9, "p": 1e-12}


@given(st.floats(min_value=1e-12, max_value=999e9), st.sampled_from("sJ"))
def test_a_quantity_keeps_three_digits(value, unit):
    number, prefixed = quantity(value, unit).split(" ")
    assert float(number) * FACTOR[prefixed.removesuffix(unit)] == pytest.approx(value, rel=0.0051)
    assert unit == "s" or len(re.sub(r"\D", "", number)) == 3


def test_each_plan_stands_in_its_published_form_before_the_comparison():
    study = studies.study()
    text = terminal.text(study)
    for link in study.links:
        assert f"{link.plan}\n    {link.plan.certificate.confirmation}\n" in text
        assert text.index(str(link.plan)) < text.index("bars: ")
    assert "optimal, proven by exact" in text


def test_it_says_which_statistic_the_numbers_are():
    typical = "  times are those of typical runs, without each pass's extremes"
    lines = terminal.text(studies.study()).splitlines()
    assert f"{typical}; energies are plain means" in lines
    assert typical in terminal.text(studies.study(energy=False)).splitlines()


def test_what_is_not_a_plan_fits_into_100_columns():
    kinds = (studies.study(), studies.study(energy=False), studies.study(origin="replayed"), limited(), pipeline())
    for study in kinds:
        own = [line for line in terminal.text(study).splitlines() if not line.startswith("('")]
        assert max(map(len, own)) <= 100


def test_the_comparison_says_what_is_saved_and_where_each_figure_comes_from():
    study = studies.study(origin="measured")
    lines = terminal.comparison(study).splitlines()
    wifi = lines[lines.index("WiFi") + 1 :]
    rows = {row.name: row for row in study.links[1].baselines}
    told = set()
    for name, row in rows.items():
        line = next(line for line in wifi if re.search(rf"\b{name}\b", line))
        if row.choices in told:
            assert line.lstrip().startswith("same plan as ")
            continue
        told.add(row.choices)
        assert quantity(row.plan.latency_s, "s") in line
        assert quantity(row.plan.energy_j, "J") in line
    assert f"{rows['all on nano'].gain:.1%}".replace("%", " %") in "".join(wifi)
    assert re.search(r"all on nano +\S+ ms measured +\S+ mJ measured", "\n".join(wifi))
    assert re.search(r"all on wiscad +\S+ ms modelled ", "\n".join(wifi))


def test_plans_that_are_equal_are_named_once():
    study = studies.study()
    link = study.links[0]
    equal = [row.name for row in link.baselines[1:] if row.choices == link.baselines[0].choices]
    text = terminal.comparison(replace(study, links=(link,)))
    assert len(equal) > 1
    assert all(text.count(name) == 1 for name in equal)
    line = next(line for line in text.splitlines() if "same plan as D DIME" in line)
    assert all(name in line for name in equal)


def test_without_energy_there_is_no_column_for_it():
    text = terminal.text(studies.study(energy=False))
    assert "no energy" in text
    assert not re.search(r"\d m?J\b", text)
    assert "frontier" not in text and "best trade-off" not in text


def test_a_plan_that_is_only_the_best_known_is_not_called_optimal():
    study = studies.study()
    link = replace(
        study.links[0], plan=replace(study.links[0].plan, certificate=Certificate("feasible", "highs", "highs"))
    )
    text = terminal.text(replace(study, links=(link,)))
    assert "optimal" not in text


def test_a_baseline_that_breaks_a_limit_says_so():
    study = studies.study("WiFi")
    rows = [replace(row, gain=None, reason="latency 1 s is over 0.1 s") for row in study.links[0].baselines[1:]]
    link = replace(study.links[0], baselines=(study.links[0].baselines[0], *rows))
    text = terminal.comparison(replace(study, links=(link,)))
    assert "latency 1 s is over 0.1 s" in text
    assert "%" not in text


def test_names_cannot_steer_the_terminal():
    assert "\x1b" not in terminal.text(studies.hostile())


def limited():
    """Least energy within a limit on latency, with two private layers."""
    chain = synthetic.ALEXNET
    edge = synthetic.profile(chain, frequencies_hz=synthetic.TWELVE_HZ[3::4], runs=5)
    limits = Limits(latency_s=0.09, private_layers=2, rule="free")
    return make_study([edge, synthetic.server(chain)], "4G", "energy", limits)


def pipeline():
    """Most inferences a second on three devices, joined pair by pair."""
    chain = synthetic.ALEXNET
    edge = synthetic.profile(chain, frequencies_hz=synthetic.TWELVE_HZ[3::4], runs=5)
    hub = synthetic.profile(chain, "hub", (-1,), 4e11, None, runs=3)
    pairs = "nano-hub: WiFi; nano-wiscad: 4G; hub-wiscad: WiFi"
    return make_study([edge, hub, synthetic.server(chain)], pairs, "throughput")


def found(link):
    """The findings, each in one line."""
    return re.sub(r"\n {8}", " ", "\n".join(sentences.lines(link, 100))).splitlines()


def test_margins_say_whether_they_exceed_what_the_measurements_leave_open():
    link = studies.study("WiFi").links[0]
    told = found(link)
    for name, rival in zip(("second best", "best placed otherwise"), link.explanation.rivals, strict=True):
        line = next(line for line in told if line.strip().startswith(name))
        assert f"+{quantity(rival.margin, 's')}" in line
        assert f"{'sure' if rival.sure else 'not sure'} ({quantity(rival.interval[0], 's').split()[0]} " in line
        assert line.endswith(sentences.steps(link.problem, rival.choices))
    assert {rival.sure for rival in link.explanation.rivals} == {True, False}


def test_break_even_points_are_the_nearest_ones_on_both_sides():
    link = studies.study("WiFi").links[0]
    bandwidth, trip = link.maps
    at = bandwidth.regions.index(bandwidth.chosen)
    faster, slower = bandwidth.regions[at - 1], bandwidth.regions[at + 1]
    rate = bandwidth.link.upload_bit_s
    told = "\n".join(found(link))
    for word, knob, region in (("from", bandwidth.chosen.low, faster), ("up to", slower.low, slower)):
        where = quantity(float(rate / knob), "bit/s")
        on = " on" if word == "from" else ""
        assert f"{word} {where} upload{on}: {sentences.steps(link.problem, region.choices)}" in told
    after = trip.regions[trip.regions.index(trip.chosen) + 1]
    assert f"from {quantity(float(after.low), 's')} round trip on: " in told
    assert after.low > trip.here == Fraction(0)


def test_a_plan_that_no_link_changes_says_so():
    study = studies.study("WiFi")
    link = study.links[0]
    alone = [replace(best, regions=(replace(best.chosen, low=Fraction(0), high=None),)) for best in link.maps]
    assert "    the same plan at any bandwidth and any round trip" in found(replace(link, maps=tuple(alone)))


def test_break_even_points_beyond_any_link_are_not_told():
    link = studies.study("WiFi").links[0]
    bandwidth = link.maps[0]
    rate = Fraction(bandwidth.link.upload_bit_s)
    here, other = bandwidth.chosen, bandwidth.regions[bandwidth.regions.index(bandwidth.chosen) - 1]
    for fast, slow, told in (
        (int(47.9e9), 10, "    the same plan at any bandwidth from 1.00 kbit/s to 10.0 Gbit/s and any round trip"),
        (int(5e9), 10, "    from 5.00 Gbit/s upload on: "),
        (int(47.9e9), 2000, "    up to 2.00 kbit/s upload: "),
    ):
        regions = (
            replace(other, low=Fraction(0), high=rate / fast),
            replace(here, low=rate / fast, high=rate / slow),
            replace(other, low=rate / slow, high=None),
        )
        trip = replace(link.maps[1], regions=(replace(link.maps[1].chosen, low=Fraction(0), high=None),))
        lines = found(replace(link, maps=(replace(bandwidth, regions=regions), trip)))
        assert len([line for line in lines if line.startswith(told)]) == 1
        assert len([line for line in lines if "upload" in line]) == ("upload" in told)


def test_limits_show_what_is_left_of_them_and_what_they_cost():
    link = limited().links[0]
    latency = link.explanation.slacks[0]
    line = next(line for line in found(link) if "limit on latency" in line)
    assert f"of 90.0 ms, {quantity(latency.slack, 's')} left; costs {quantity(latency.price, 'J')}" in line
    assert any("limit on layers away from nano" in line and "costs nothing" in line for line in found(link))


def test_intervals_and_what_to_measure_again_are_told():
    link = studies.study("WiFi").links[0]
    chosen, told = link.uncertainty.chosen, found(link)
    assert f"the best in {percent(chosen.best_share)} of 200 draws" in told[0]
    for name, unit, ends in (("latency", "s", chosen.latency_s), ("energy", "J", chosen.energy_j)):
        low, high = (quantity(end, unit) for end in ends)
        assert low.split()[1] == high.split()[1]
        assert f"{name} {low.split()[0]} to {high}" in told[0]
    cell = link.uncertainty.measure_next[0]
    assert f"({percent(cell.chance)})" in told[1] and f"on {cell.device}" in told[1]


def test_a_limit_with_a_probability_says_how_it_holds_and_nothing_of_the_best_mean():
    chain = synthetic.ALEXNET
    edge = synthetic.profile(chain, frequencies_hz=synthetic.TWELVE_HZ[3::4], runs=5)
    limits = Limits(latency_s=0.09, rule="free")
    study = make_study([edge, synthetic.server(chain)], "4G", "energy", limits, confidence=0.95)
    held, told = study.links[0].held[0], "\n".join(found(study.links[0]))
    assert f"latency below 90.0 ms: holds in {percent(held.share)} of single runs" in told
    assert "the best in" not in told and "measure again" not in told and "upload" not in told


def test_what_could_not_be_found_out_is_told_once():
    told = found(pipeline().links[0])
    assert sum("missing: no map over the bandwidth and the round trip" in line for line in told) == 1


def test_the_picture_shows_frontier_plan_and_baselines():
    link = studies.study("4G").links[0]
    lines = text_plot.trade_off(link, 100)
    cells = [line.split("|", 1)[1][: text_plot.COLUMNS] for line in lines if "|" in line]
    assert len(cells) == text_plot.ROWS
    drawn = "".join(cells)
    assert drawn.count("D") == 1 and drawn.count("o") > 10
    # least latency: the fastest point is the chosen one, top left
    assert cells[0].startswith("D")
    by_name = {row.name: letter for letter, row in text_plot.lettered(link.baselines)}
    legend = "\n".join(lines)
    assert re.search(rf"D DIME's plan.*\b{by_name['all on nano']}\b", legend)
    assert f"{by_name['all on wiscad']} off: 824 ms" in legend
    assert by_name["all on wiscad"] not in drawn


def test_one_point_is_no_picture():
    link = studies.study("4G").links[0]
    alone = replace(link.frontier, time_ps=link.frontier.time_ps[:1], energy_pj=link.frontier.energy_pj[:1])
    assert text_plot.trade_off(replace(link, frontier=alone), 100) == []
    assert text_plot.trade_off(studies.study(energy=False).links[0], 100) == []
