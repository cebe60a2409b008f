"""Sliders that move the plan: the page finds what the planner finds."""

import random
from dataclasses import replace

import pytest

from dime.host.planning.accounting import Accounting
from dime.host.planning.formulation import build_problem
from dime.host.planning.goals import Goal, Limits
from dime.host.planning.links import load_link
from dime.host.report import page as report
from dime.host.search.solvers import solve
from tests.host import example_studies as studies

pytestmark = pytest.mark.browser

ASK = """([name, asked]) => {
  const plan = bestPlan(data.links.find((link) => link.name === name).what_if, asked);
  return [plan.value, plan.latency_s, plan.energy_j, plan.steps.map((step) => [step.device, step.first, step.last])];
}"""


def asked_of_the_planner(study, link, slower, trip_s, watts, goal):
    own = load_link(link)
    moved = replace(
        own, upload_bit_s=own.upload_bit_s / slower, download_bit_s=own.download_bit_s / slower, round_trip_s=trip_s
    )
    accounting = Accounting(idle_power_w=watts)
    return solve(build_problem(study.profiles, moved, goal, study.limits, accounting=accounting)).objective


@pytest.mark.parametrize("limits", [Limits(), Limits(rule="free"), Limits(latency_s=0.2)])
def test_at_any_slider_the_page_finds_the_planners_plan(page, tmp_path, limits):
    study, chance = studies.study.__wrapped__("4G,WiFi", limits=limits), random.Random(4)
    path = tmp_path / "report.html"
    report.write(study, path)
    page.open(path)
    for _ in range(12):
        link, slower = chance.choice(["4G", "WiFi"]), 10 ** chance.uniform(-2, 2)
        trip_s, watts = chance.uniform(0, 0.1), chance.uniform(0, 3)
        for weights in ((1, 0), (0, 1), (1, 10 ** chance.uniform(-2, 2))):
            goal = {(1, 0): Goal("latency"), (0, 1): Goal("energy")}.get(weights, Goal("weighted", *weights))
            asked = {"slower": slower, "trip_s": trip_s, "waiting": watts, "per_s": weights[0], "per_j": weights[1]}
            value, latency_s, energy_j, steps = page.tab.evaluate(ASK, [link, asked])
            assert value == pytest.approx(asked_of_the_planner(study, link, slower, trip_s, watts, goal), rel=1e-9)
            assert value == pytest.approx(weights[0] * latency_s + weights[1] * energy_j)
            assert steps[0][1] == 0 and steps[-1][2] == 7
            assert limits.latency_s is None or latency_s <= limits.latency_s


def test_a_slider_moves_the_plan_and_a_button_brings_it_back(page, tmp_path):
    study = studies.study.__wrapped__("WiFi")
    report.write(study, tmp_path / "report.html")
    page.open(tmp_path / "report.html")
    shown = "document.querySelector('.result').innerText"
    before = page.value(shown)
    assert "The same plan" in before
    page.value("document.querySelector('.sliders input').focus()")
    page.press("End")  # a hundred times as fast: all on the server
    assert "Another plan" in page.value(shown) and "conv1 – fc3 on wiscad" in page.value(shown)
    assert "less latency than the plan for WiFi would take there" in page.value(shown)
    assert "1.89 Gbit/s" in page.value("document.querySelector('.sliders').innerText")
    page.click("text=back to WiFi")
    assert page.value(shown) == before


def test_without_sliders_the_page_says_why(page, tmp_path):
    report.write(studies.study("WiFi", goal="throughput"), tmp_path / "report.html")
    page.open(tmp_path / "report.html")
    assert "Nothing can be turned here: the slowest stage is no sum" in page.value("document.body.innerText")
