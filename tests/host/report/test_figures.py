"""Pictures for papers."""

import json
from xml.etree import ElementTree

import pytest

from dime.contract.errors import InputError
from dime.host.common.units import quantity
from dime.host.report import page as report
from dime.host.report import report_data
from dime.host.report.figures import COLOURS, STYLE, write
from tests.host import example_studies as studies


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    study = studies.with_uncertainty(studies.study("WiFi", origin="measured"))
    data = report_data.collect(study)
    return data, write(data, tmp_path_factory.mktemp("first") / "figures")


def test_each_picture_comes_as_png_and_svg(written):
    names = {path.name for path in written[1]}
    assert names == {
        f"{name}.{kind}"
        for name in (
            *("plan_WiFi", "frontier_WiFi", "baselines_WiFi", "map_bandwidth_WiFi", "map_round_trip_WiFi"),
            "bundle_effect",
        )
        for kind in ("png", "svg")
    }
    for path in written[1]:
        if path.suffix == ".png":
            assert path.read_bytes().startswith(b"\x89PNG")
        else:
            assert ElementTree.parse(path).getroot().tag.endswith("svg")


def test_the_same_data_give_the_same_bytes(written, tmp_path):
    again = write(written[0], tmp_path / "again")
    first = {path.name: path.read_bytes() for path in written[1]}
    assert {path.name: path.read_bytes() for path in again} == {p.name: first[p.name] for p in again}


def test_texts_say_what_is_measured_and_what_is_modelled(tmp_path, monkeypatch):
    monkeypatch.setitem(STYLE, "svg.fonttype", "none")
    paths = write(report_data.collect(studies.study("WiFi", origin="measured")), tmp_path / "figures", ["svg"])
    for path in paths:
        texts = "".join(ElementTree.parse(path).getroot().itertext())
        assert "nano: time measured, energy measured" in texts
        assert "transfers modelled" in texts


def test_the_map_names_the_break_even_points_of_each_knob(tmp_path, monkeypatch):
    monkeypatch.setitem(STYLE, "svg.fonttype", "none")
    study = studies.study("WiFi")
    write(report_data.collect(study), tmp_path / "figures", ["svg"])
    for best in study.links[0].maps:
        texts = "".join(ElementTree.parse(tmp_path / "figures" / f"map_{best.vary}_WiFi.svg").getroot().itertext())
        assert all(layer in texts for layer in study.links[0].problem.layers)
        ends = [float(end) for end in best.break_evens]
        assert best.vary == "round_trip" or ends
        for end in ends:
            named = quantity(end, "s") if best.vary == "round_trip" else quantity(best.link.upload_bit_s / end, "bit/s")
            assert named in texts


def test_plans_that_cost_the_same_but_for_rounding_are_not_drawn_apart(tmp_path, monkeypatch):
    monkeypatch.setitem(STYLE, "svg.fonttype", "none")
    data = report_data.collect(studies.study("WiFi"))
    link = data["links"][0]
    cost = link["plan"]["latency_s"], link["plan"]["energy_j"]
    steps = link["plan"]["steps"]
    point = {"number": 1, "time_s": cost[0] * (1 + 1e-10), "energy_j": cost[1] * (1 + 1e-10), "interval": None}
    link["frontier"] |= {"points": [{**point, "steps": steps}], "knee_number": 1, "count": 1}
    link["baselines"] = []
    write(data, tmp_path / "figures", ["svg"])
    texts = list(ElementTree.parse(tmp_path / "figures/frontier_WiFi.svg").getroot().itertext())
    ticks = [text for text in texts if text.strip().endswith("J")]
    assert len(ticks) > 2 and len(set(ticks)) == len(ticks)


def test_without_energy_there_is_no_trade_off_to_draw(tmp_path):
    paths = report.figures(studies.study("WiFi", energy=False), tmp_path / "figures")
    assert "baselines_WiFi.svg" in {path.name for path in paths}
    assert not [path for path in paths if path.name.startswith("frontier")]


@pytest.mark.filterwarnings("error")
def test_strange_names_stay_texts_and_inside_the_folder(tmp_path):
    paths = write(report_data.collect(studies.hostile()), tmp_path / "figures", ["svg"])
    assert all(path.parent == tmp_path / "figures" for path in paths)


def test_devices_whose_long_names_begin_alike_are_drawn_as_two(tmp_path, monkeypatch):
    monkeypatch.setitem(STYLE, "svg.fonttype", "none")
    edge, server = (f"a board with a very long name, the one with the number {at}" for at in (1, 2))
    text = json.dumps(report_data.collect(studies.study("WiFi")))
    write(json.loads(text.replace('"nano"', f'"{edge}"').replace('"wiscad"', f'"{server}"')), tmp_path / "a", ["svg"])
    write(json.loads(text), tmp_path / "b", ["svg"])
    drawn, plain = ((tmp_path / name / "plan_WiFi.svg").read_text() for name in "ab")
    for colour in COLOURS[:2]:
        assert drawn.count(colour) == plain.count(colour) > 0


def test_a_folder_that_exists_is_left_alone(tmp_path):
    with pytest.raises(InputError, match="nothing was overwritten"):
        write(report_data.collect(studies.study("WiFi")), tmp_path)
