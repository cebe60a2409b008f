"""What report.json holds: it is as its schema says, and so is what earlier versions wrote."""

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator, ValidationError

from dime.contract import schemas
from dime.contract.errors import TableError
from dime.host.planning.accounting import Accounting
from dime.host.planning.goals import Limits
from dime.host.report import page as report
from dime.host.report import report_data, schema, upgrade
from dime.host.studies.study import make_study
from dime.testing import synthetic
from tests.host import example_studies as studies
from tests.host.planning.test_encoded import coded

DATA = Path(__file__).parents[2] / "data"
BY_POSITION = {1: DATA / "older_results/plans/report.json", 2: DATA / "older_reports/version_2.json"}
WITHOUT_WHAT_IF = DATA / "older_reports/version_3.json"
OLDER = {**BY_POSITION, 3: WITHOUT_WHAT_IF}
TRANSFER = ("boundary", "source", "target", "size_bytes", "latency_s", "energy_j")
KEPT = Path(schema.__file__).with_name(schema.FILE)


def encoded():
    chain = synthetic.ALEXNET
    edge = coded(replace(synthetic.profile(chain), idle_w=(1.0,) * 12))
    asked = Accounting(encode="input:jpeg90", terms="all")
    return make_study([edge, coded(synthetic.server(chain))], "4G", "energy", accounting=asked, replicates=0)


STUDIES = {
    "uncertain": lambda: studies.with_uncertainty(studies.study("WiFi", origin="measured")),
    "without energy": lambda: studies.study(energy=False),
    "strange names": studies.hostile,
    "three devices in a pipeline": studies.three_devices,
    "limits": lambda: studies.limited(Limits(latency_s=1.0)),
    "limits with a probability": lambda: studies.limited(Limits(latency_s=1.0, rule="free"), confidence=0.95),
    "terms and encodings": encoded,
    "weighted": lambda: studies.study("WiFi", goal="weighted:1,0.5"),
}


def validator():
    return Draft202012Validator(json.loads(KEPT.read_text()))


def document(data, text="", version=schemas.REPORT.version):
    digest = hashlib.sha256(json.dumps([text, data], separators=(",", ":")).encode()).hexdigest()
    return {"schema": schemas.REPORT.name, "version": version, "sha256": digest, "text": text, "data": data}


def test_the_schema_is_that_of_the_types():
    assert KEPT.read_text() == schema.text(), f"{schema.__doc__}"
    Draft202012Validator.check_schema(schema.make())


@pytest.mark.parametrize("name", STUDIES)
def test_real_reports_are_as_the_schema_says(name, tmp_path):
    report.write(STUDIES[name](), tmp_path / "report.html", "dime solve")
    validator().validate(json.loads((tmp_path / "report.json").read_text()))


def test_a_name_that_is_not_known_and_one_that_is_missing_are_told():
    good = document(report_data.collect(studies.study("WiFi")))
    validator().validate(good)
    step = good["data"]["links"][0]["plan"]["steps"][0]
    for change in ({"hz": 1}, {"frequency_hz": None}, {"device": 0}):
        kept = dict(step)
        step.update(change)
        with pytest.raises(ValidationError):
            validator().validate(good)
        step.clear()
        step.update(kept)
    del step["energy_j"]
    with pytest.raises(ValidationError, match="'energy_j' is a required property"):
        validator().validate(good)


def test_nothing_is_found_by_its_position_and_every_field_is_described():
    lists = []
    for name, one in schema.make()["$defs"].items():
        for field, kind in one["properties"].items():
            lists += [(name, field, part["items"]) for part in kind.get("anyOf", [kind]) if "items" in part]
            assert "description" in kind or "Attributes" not in one["description"]
    assert lists
    columns = {"Options", "Crossings"}  # thousands of rows
    found = {(name, field) for name, field, items in lists if items.get("type") not in (None, "string")}
    # A set of clocks; all other lists are of objects, names or sentences.
    assert {one for one in found if one[0] not in columns} == {("Device", "frequencies_hz")}


@pytest.mark.parametrize("version", BY_POSITION)
def test_what_earlier_versions_wrote_is_read_as_the_same(version):
    old = json.loads(OLDER[version].read_text())["data"]
    new, text = report._read(OLDER[version])
    validator().validate(document(new, text))
    names = [device["name"] for device in new["devices"]]

    def rows(steps):
        return [[step["first"], step["last"], names.index(step["device"]), step["frequency_hz"]] for step in steps]

    def ends(interval):
        return [interval["low"], interval["high"]]

    def both(interval):
        return [ends(interval["time_s"]), ends(interval["energy_j"])]

    assert names == [device["name"] for device in old["devices"]]
    assert len(new["links"]) == len(old["links"]) > 0
    for its, was in zip(new["links"], old["links"], strict=True):
        assert [[one["boundary"], one["size_bytes"]] for one in its["tensors"]] == [
            [*pair] for pair in enumerate(was["sizes_bytes"])
        ]
        for row, old_row in zip(its["baselines"], was["baselines"], strict=True):
            plan = row["plan"]
            assert rows(plan["steps"]) == old_row["plan"]["steps"]
            assert [[step["latency_s"], step["energy_j"]] for step in plan["steps"]] == old_row["plan"]["costs"]
            assert [
                [*(names.index(one[name]) if name in ("source", "target") else one[name] for name in TRANSFER)]
                for one in plan["transfers"]
            ] == old_row["plan"]["transfers"]
            assert both(row["interval"]) == old_row["interval"]
        assert [row["letter"] for row in its["baselines"]] == list("Dabcdefgh")[: len(was["baselines"])]
        front, old_front = its["frontier"], was["frontier"]
        assert [point["time_s"] for point in front["points"]] == old_front["time_s"]
        assert [rows(point["steps"]) for point in front["points"]] == old_front["steps"]
        assert [both(point["interval"]) for point in front["points"]] == old_front["intervals"]
        assert [point["number"] - 1 for point in front["points"]] == old_front["places"]
        assert front["knee_number"] - 1 == old_front["places"][old_front["knee"]]
        assert [[rows(one["steps"]), one["share"]] for one in its["certainty"]["winners"]] == was["certainty"][
            "winners"
        ]
        assert ends(its["certainty"]["latency_s"]) == was["certainty"]["latency_s"]
        for best, old_best in zip(its["maps"], was["maps"], strict=True):
            assert [best["rates"]["upload_bit_s"], best["rates"]["download_bit_s"]] == old_best["rates_bit_s"]
            assert [one["steps"] and rows(one["steps"]) for one in best["regions"]] == [
                one["steps"] for one in old_best["regions"]
            ]
        rivals = its["explanation"]["rivals"]
        assert [rows(rival["steps"]) for rival in rivals] == [one["steps"] for one in was["explanation"]["rivals"]]
    for its, was in zip(new["effect"], old["effect"], strict=True):
        assert names.index(its["device"]) == was["device"]
        assert [[*one.values()] for one in its["bundles"]] == was["bundles"]
    assert [[fact["name"], fact["value"]] for source in new["sources"] for fact in source["facts"]] == [
        fact for source in old["sources"] for fact in source["facts"]
    ]


def test_each_plan_has_its_terms_and_what_is_in_no_sum():
    (link,) = report_data.collect(encoded())["links"]
    plans = [row["plan"] for row in link["baselines"] if row["plan"]]
    assert link["plan"] in plans and len(plans) > 3
    for plan in plans:
        assert [term["name"] for term in plan["terms"]] == ["waiting", "radio states", "protocol", "encoding"]
        for name, parts in (
            ("latency_s", ("computation_s", "communication_s")),
            ("energy_j", ("computation_j", "radio_j")),
        ):
            total = sum(plan[part] for part in parts) + sum(term[name] for term in plan["terms"])
            assert plan[name] == pytest.approx(total, rel=1e-9)
        assert all(term["origin"] == "modelled" and term["source"] for term in plan["terms"])
        assert any(line.startswith("copies of nano: profile it again") for line in plan["without"])
    all_on_server = next(row["plan"] for row in link["baselines"] if row["name"] == "all on wiscad")
    assert [(one["boundary"], one["encoding"]) for one in all_on_server["encoded"]] == [(0, "jpeg90")]
    assert all_on_server["transfers"][0]["size_bytes"] == all_on_server["encoded"][0]["size_bytes"]
    assert [one["encoding"] for one in link["other_inputs"]] == ["uint8"]


def test_what_knew_no_fields_of_terms_is_read():
    data = report_data.collect(encoded())
    del data["links"][0]["other_inputs"]
    for row in data["links"][0]["baselines"]:
        for name in ("terms", "without", "encoded"):
            del row["plan"][name]
    data["links"][0]["plan"] = data["links"][0]["baselines"][0]["plan"]
    new = upgrade.upgrade(json.loads(json.dumps(data)), 3)
    validator().validate(document(new))
    assert new["links"][0]["plan"]["terms"] == new["links"][0]["other_inputs"] == []


def test_what_came_in_between_is_filled_in():
    old = json.loads(OLDER[2].read_text())["data"]
    held = {"name": "energy", "limit": 1.0, "mean": 0.5, "sd": 0.1, "bound": 0.7, "share": 0.99, "drawn_share": 0.98}
    old["links"][0]["held"] = [held]
    for name in ("batch", "warnings", "without_plan"):
        del old[name]
    del old["links"][0]["frontier"]["places"], old["links"][0]["certainty"]["notes"]
    old["sources"][0]["dialect"] = "semicolons"
    new = upgrade.upgrade(old, 2)
    validator().validate(document(new))
    assert (new["batch"], new["goal_unit"], new["sources"][0]["dialect"]) == (1, "s", "semicolons")
    assert new["links"][0]["held"] == [{**held, "unit": "J"}]
    assert new["links"][0]["frontier"]["points"][0]["number"] == 1


@pytest.mark.parametrize("version", OLDER)
def test_a_report_of_an_earlier_version_is_made_anew_with_its_pictures(version, tmp_path):
    shutil.copy(OLDER[version], tmp_path / "report.json")
    made = report.remake(tmp_path, figures=True)
    assert {"report.html", "plan_4G.svg" if version == 1 else "plan_WiFi.svg"} <= {path.name for path in made}
    page = (tmp_path / "report.html").read_text()
    assert '"status":"optimal"' in page and '"confirmed_by":"Gurobi' in page


def test_an_earlier_one_that_is_damaged_is_told(tmp_path):
    for damage in ({"steps": [[0, 0]]}, {"steps": [[0, 7, 5, 1]]}, {"costs": []}, {"transfers": [[1]]}, {"steps": 3}):
        old = json.loads(OLDER[2].read_text())["data"]
        old["links"][0]["plan"] |= damage
        (tmp_path / "report.json").write_text(json.dumps(document(old, version=2)))
        with pytest.raises(TableError, match="is damaged"):
            report.remake(tmp_path)


def test_what_knew_no_what_if_is_the_same_without_one():
    old = json.loads(WITHOUT_WHAT_IF.read_text())["data"]
    new, text = report._read(WITHOUT_WHAT_IF)
    validator().validate(document(new, text))
    assert new["options"] == [] and [link["what_if"] for link in new["links"]] == [None] * len(old["links"])
    for link, was in zip(new["links"], old["links"], strict=True):
        assert {name: link[name] for name in was if name not in ("plan", "baselines")} == {
            name: was[name] for name in was if name not in ("plan", "baselines")
        }


def test_links_share_one_table_of_steps_and_a_link_without_one_says_why():
    data = report_data.collect(studies.study("3G,4G,WiFi"))
    assert len(data["options"]) == 1 and {link["what_if"]["options"] for link in data["links"]} == {0}
    (pipeline,) = report_data.collect(studies.study("WiFi", goal="throughput"))["links"]
    assert pipeline["what_if"] is None and "the slowest stage is no sum" in pipeline["without_what_if"]
