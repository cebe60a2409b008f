"""A study in Python: one call, a table, pictures, a sweep, the report; reprs that fit a screen."""

import numpy as np
import pytest

import dime
from dime.contract.errors import InputError
from dime.host.planning.goals import Limits
from dime.testing import synthetic


@pytest.fixture(scope="module")
def found():
    chain = synthetic.ALEXNET
    edge = synthetic.profile(chain, frequencies_hz=synthetic.TWELVE_HZ[3::4], static_w=1.5, runs=5)
    return dime.study([edge, synthetic.server(chain)], "4G,WiFi", limits=Limits(rule="free"), replicates=0)


def test_a_study_is_a_table_of_its_links(found):
    table = found.table()
    assert list(table["link"]) == ["4G", "WiFi"]
    assert list(table["latency_s"]) == [found.plan("4G").latency_s, found.plan("WiFi").latency_s]
    assert {"saved_of_all_on_nano", "saved_of_all_on_wiscad", "origin", "energy_j"} <= set(table)
    html = found._repr_html_()
    assert "<table" in html and "WiFi" in html and "<script" not in html


def test_names_from_files_are_no_markup_in_a_notebook(found):
    from tests.host import example_studies as studies

    html = dime.host.report.notebook.Found(studies.hostile())._repr_html_()
    assert "<img" not in html and "<script" not in html.replace("&lt;script", "")


def test_reprs_fit_three_lines(found):
    problem = found.link("WiFi").problem
    things = [
        found,
        found.study,
        found.link("WiFi"),
        problem,
        found.study.profiles[0],
        found.frontier("WiFi"),
        dime.best_plans(problem),
    ]
    for thing in things:
        lines = repr(thing).splitlines()
        assert len(lines) <= 3 and max(map(len, lines)) <= 250, repr(thing)
    assert "WiFi" in repr(found) and "alexnet" in repr(problem)


def test_a_row_of_the_frontier_leads_to_its_plan(found):
    front = found.frontier("WiFi")
    table = front.table()
    for at in (0, len(table) - 1):
        assert front.plan(at).latency_s == pytest.approx(table["latency_s"][at])
        assert front.plan(at).energy_j == pytest.approx(table["energy_j"][at])


def test_no_table_names_a_clock_that_is_left_alone(found):
    plans = [*found.frontier("WiFi").table()["plan"], *dime.best_plans(found.link("WiFi").problem).table()["plan"]]
    assert any(" on wiscad" in plan for plan in plans)
    assert not any("@ -1" in plan for plan in plans)


def test_a_sweep_over_bandwidths_is_one_table(found):
    rates = [0.1, 1.0, 18.88, 300.0]
    table = found.sweep(rates, "WiFi")
    assert list(table["upload_mbit_s"]) == rates
    assert np.allclose(table["download_mbit_s"] / table["upload_mbit_s"], 54.97 / 18.88)
    assert list(table["latency_s"]) == sorted(table["latency_s"], reverse=True), "a faster link is never worse"
    assert table["latency_s"][2] == pytest.approx(found.plan("WiFi").latency_s)
    best = dime.best_plans(found.link("WiFi").problem)
    assert table["latency_s"][1] == pytest.approx(
        float(best.at(18.88).constant + best.at(18.88).slope * 18.88), rel=1e-6
    )
    with pytest.raises(InputError):
        found.sweep([0.0])


def test_pictures_and_the_report(found, tmp_path):
    for picture in ("frontier", "plan", "baselines"):
        assert found.plot("WiFi", picture).axes
    with pytest.raises(InputError, match="unknown picture 'map'"):
        found.plot(picture="map")
    with pytest.raises(InputError, match=r"unknown link of the study 'wifi'.*did you mean 'WiFi'"):
        found.plan("wifi")
    page = found.report(tmp_path / "study")
    assert page.read_text().startswith("<!doctype html>") and (tmp_path / "study/WiFi/plan.json").exists()
    with pytest.raises(InputError, match="exists already"):
        found.report(tmp_path / "study")
