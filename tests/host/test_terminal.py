"""The text that a study ends with on the terminal, and how quantities are written."""

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dime.host import terminal
from dime.host.units import quantity
from tests.host import studies

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
        assert f"{link.plan}\n    {link.confirmation}\n" in text
        assert text.index(str(link.plan)) < text.index("bars: ")
    assert "optimal, proven by exact" in text


def test_what_is_not_a_plan_fits_into_100_columns():
    for study in (studies.study(), studies.study(energy=False), studies.study(origin="replayed")):
        own = [line for line in terminal.text(study).splitlines() if not line.startswith("('")]
        assert max(map(len, own)) <= 100


def test_the_comparison_says_what_is_saved_and_where_each_figure_comes_from():
    study = studies.study(origin="measured")
    lines = terminal.comparison(study).splitlines()
    wifi = lines[lines.index("WiFi") + 1 :]
    rows = {row.name: row for row in study.links[1].baselines}
    for name in ("DIME", "all on nano", "all on wiscad", "best single cut"):
        line = next(line for line in wifi if line.strip().startswith(name))
        assert quantity(rows[name].plan.latency_s, "s") in line
        assert quantity(rows[name].plan.energy_j, "J") in line
    assert f"{rows['all on nano'].gain:.1%}".replace("%", " %") in "".join(wifi)
    assert re.search(r"all on nano +\S+ ms measured +\S+ mJ measured", "\n".join(wifi))
    assert re.search(r"all on wiscad +\S+ ms modelled ", "\n".join(wifi))


def test_without_energy_there_is_no_column_for_it():
    text = terminal.text(studies.study(energy=False))
    assert "no energy" in text
    assert " J" not in text
    assert "frontier" not in text


def test_a_plan_that_is_only_the_best_known_is_not_called_optimal():
    study = studies.study()
    link = replace(study.links[0], plan=replace(study.links[0].plan, proof="best known, found by highs; no bound"))
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
