"""The report's page and the data in it; what a browser makes of it is tested in tests/browser."""

import json
import re
import subprocess
import sys
from dataclasses import asdict, replace

import numpy as np
import pytest

from dime.contract.errors import InputError, TableError
from dime.host.planning.goals import Limits
from dime.host.report import output, report_data
from dime.host.report import page as report
from dime.host.search import solvers
from dime.host.studies.study import MOST_INTERVALS, find_profiles, make_study
from tests.host import example_studies as studies


def embedded(page):
    """The data that the page's script reads."""
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)[1])


def test_the_page_asks_for_nothing_from_a_network():
    page = report.page(studies.study(), "dime solve --net=alexnet")
    assert "default-src 'none'" in page
    for way in ("http://", "https://", "@import", "url(", " src=", " href=", "fetch(", "XMLHttpRequest"):
        assert way not in page


def test_names_reach_the_page_as_data_only():
    study = studies.hostile()
    page = report.page(study)
    assert "<img" not in page
    assert page.count("</script>") == 2
    data = embedded(page)
    assert data["layers"][0] == studies.HOSTILE
    assert data["devices"][0]["weights"] == studies.HOSTILE
    assert data["links"][0]["name"] == "WiFi" + studies.HOSTILE


def test_every_point_of_the_frontier_comes_with_its_plan():
    study = studies.study("WiFi")
    shown, front = report_data.collect(study)["links"][0]["frontier"], study.links[0].frontier
    assert shown["count"] == len(front) == len(shown["points"])
    assert [point["time_s"] for point in shown["points"]] == pytest.approx(front.time_s.tolist())
    names = [profile.device for profile in study.profiles]
    for at, point in enumerate(shown["points"]):
        assert [(step["first"], step["last"], step["device"], step["frequency_hz"]) for step in point["steps"]] == [
            (*c.bundle, names[c.device], c.frequency_hz) for c in front.choices(at)
        ]


def test_what_a_plan_s_steps_and_transfers_cost_stands_in_them():
    link = studies.study("WiFi").links[0]
    shown = report_data.collect(studies.study("WiFi"))["links"][0]["plan"]
    for its, step in zip(shown["steps"], link.plan.steps, strict=True):
        assert its == {name: getattr(step, name) for name in its}
        assert set(its) == {"first", "last", "device", "frequency_hz", "latency_s", "energy_j"}
    assert shown["transfers"] == [asdict(sent) for sent in link.plan.transfers] != []


def test_a_large_frontier_is_thinned_but_keeps_its_ends_and_its_knee():
    kept = report_data.thin(100_000, (777,))
    assert kept[0] == 0 and kept[-1] == 99_999 and 777 in kept and len(kept) <= report_data.MOST_POINTS + 1
    assert report_data.thin(7) == list(range(7))


def test_points_of_a_thinned_frontier_keep_their_numbers(monkeypatch):
    monkeypatch.setattr(report_data.thin, "__defaults__", ((), 7))
    study = studies.study("WiFi")
    shown, front = report_data.collect(study)["links"][0]["frontier"], study.links[0].frontier
    numbers = [point["number"] for point in shown["points"]]
    assert len(front) > 8 >= len(numbers) and numbers[-1] == len(front)
    assert [point["time_s"] for point in shown["points"]] == pytest.approx([front.time_s[at - 1] for at in numbers])
    assert shown["knee_number"] == front.knee + 1 in numbers


def ends(interval):
    return dict(zip(("low", "high"), interval, strict=True))


def test_intervals_stand_beside_the_plans_they_belong_to():
    study = studies.with_uncertainty(studies.study("WiFi"))
    link = report_data.collect(study)["links"][0]
    chosen = study.links[0].uncertainty.chosen
    assert link["interval"] == {"time_s": ends(chosen.latency_s), "energy_j": ends(chosen.energy_j)}
    intervals = [point["interval"][name] for point in link["frontier"]["points"] for name in ("time_s", "energy_j")]
    assert all(interval["low"] <= interval["high"] for interval in intervals)
    assert link["certainty"]["best_share"] == chosen.best_share


def test_a_pipeline_s_intervals_are_those_of_its_slowest_stage():
    study = studies.study("WiFi", goal="throughput")
    link, chosen = report_data.collect(study)["links"][0], study.links[0].uncertainty.chosen
    assert link["interval"] == {"time_s": ends(chosen.value), "energy_j": ends(chosen.energy_j)}
    low, high = chosen.value
    assert low < link["plan"]["period_s"] < high < link["plan"]["latency_s"]


def test_the_bundle_effect_compares_with_the_sum_of_layers():
    study = studies.study("WiFi")
    group = next(group for group in report_data.collect(study)["effect"] if group["device"] == "wiscad")
    means = study.profiles[1].means.duration_s[:, 0]
    singles = {b.first: means[at] for at, b in enumerate(study.profiles[1].bundles) if b.first == b.last}
    assert group["bundles"]
    for bundle in group["bundles"]:
        first, last = bundle["first"], bundle["last"]
        assert bundle["sum_s"] == pytest.approx(sum(singles[at] for at in range(first, last + 1)), rel=1e-9)
        assert bundle["latency_s"] == pytest.approx(means[study.profiles[1].bundles.index((first, last))], rel=1e-9)


def test_without_energy_there_is_no_frontier():
    data = report_data.collect(studies.study(energy=False))
    assert not data["has_energy"]
    assert all(link["frontier"] is None and link["plan"]["energy_j"] is None for link in data["links"])


def test_a_pipeline_and_three_devices_are_shown():
    link = report_data.collect(studies.three_devices())["links"][0]
    assert [(rate["from_device"], rate["to_device"], rate["upload_bit_s"]) for rate in link["rates"]] == [
        ("nano", "hub", 18.88e6),
        ("nano", "wiscad", 5.85e6),
        ("hub", "wiscad", 18.88e6),
    ]
    assert link["frontier"]["time_name"] == "period_s"


def test_probable_limits_and_what_is_missing_are_told():
    confident = studies.limited(Limits(latency_s=1.0, rule="free"), confidence=0.95)
    link = report_data.collect(confident)["links"][0]
    assert link["held"] == [{**asdict(held), "unit": "s"} for held in confident.links[0].held]
    assert link["held"][0]["name"] == "latency"
    pipeline = studies.study("WiFi", goal="throughput")
    assert report_data.collect(pipeline)["links"][0]["notes"] == list(pipeline.links[0].notes) != []


def test_points_drawn_of_a_long_frontier_include_those_with_intervals():
    for count in (401, 1049, 33_333):
        with_intervals = np.unique(np.linspace(0, count - 1, MOST_INTERVALS).round().astype(int))
        assert set(with_intervals.tolist()) <= set(report_data.thin(count))


def test_what_run_json_says_is_told(profiled):
    study = make_study(find_profiles("alexnet", "edge", "server", str(profiled / "results")), "4G")
    facts = {fact["name"]: fact["value"] for fact in report_data.collect(study)["sources"][0]["facts"]}
    assert facts["device"] == "edge"
    assert "torch" in facts["versions"]
    assert "profile" in facts["command_line"]


def test_a_table_without_run_json_has_no_facts():
    source = report_data.collect(studies.study())["sources"][0]
    assert source == {"device": "nano", "path": "modelled nano", "dialect": "", "file": "", "facts": []}


def test_nothing_is_overwritten(tmp_path):
    report.write(studies.study(), tmp_path / "report.html")
    with pytest.raises(InputError, match="nothing was overwritten"):
        report.write(studies.study(), tmp_path / "report.html")
    with pytest.raises(InputError, match="No such file"):
        report.write(studies.study(), tmp_path / "missing" / "report.html")


def test_the_same_study_gives_the_same_page():
    study = studies.study()
    assert report.page(study, "dime solve") == report.page(replace(study), "dime solve")


def test_a_report_needs_neither_matplotlib_nor_pandas():
    code = (
        "import sys; from tests.host import example_studies as studies; from dime.host.report import page as report;"
        "report.page(studies.study('4G')); print({'matplotlib', 'pandas', 'torch'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.split() == ["set()"]


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_finished_study_s_report_and_figures_are_made_anew_without_solving(tmp_path, monkeypatch):
    study = studies.study("WiFi")
    output.write(study, tmp_path / "plan", figures=True, command="dime solve --net=alexnet")
    before = contents(tmp_path / "plan")
    (tmp_path / "plan/report.html").write_text("an older one")
    (tmp_path / "plan/figures/plan_WiFi.svg").unlink()
    monkeypatch.setattr(solvers, "solve", None)
    made = report.remake(tmp_path / "plan", figures=True)
    assert contents(tmp_path / "plan") == before
    assert {path.relative_to(tmp_path / "plan") for path in made} < set(before)


def test_a_report_is_made_anew_only_from_a_sound_file(tmp_path):
    with pytest.raises(TableError, match="there is no "):
        report.remake(tmp_path)
    (tmp_path / "report.html").write_text("kept")
    for text, complaint in (
        ("{", "is damaged"),
        ("[]", "is damaged"),
        ('{"format": 0}', "is damaged: its version is 0"),
        ('{"version": 99}', "was written by a later version"),
        ('{"format": 1, "text": "", "data": {}}', "is damaged"),
        ('{"format": 1, "sha256": "0", "text": "", "data": {"network": "alexnet"}}', "is not what was written"),
    ):
        (tmp_path / "report.json").write_text(text)
        with pytest.raises(TableError, match=complaint):
            report.remake(tmp_path, figures=True)
    assert {path.name for path in tmp_path.iterdir()} == {"report.html", "report.json"}
    assert (tmp_path / "report.html").read_text() == "kept"
