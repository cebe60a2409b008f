"""Pictures for papers."""

from xml.etree import ElementTree

import pytest

from dime.contract.errors import InputError
from dime.host import report, report_data
from dime.host.figures import STYLE, write
from tests.host import studies


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    study = studies.with_uncertainty(studies.study("WiFi", origin="measured"))
    data = report_data.collect(study)
    return data, write(data, tmp_path_factory.mktemp("first") / "figures")


def test_each_picture_comes_as_png_and_svg(written):
    names = {path.name for path in written[1]}
    assert names == {
        f"{name}.{kind}"
        for name in ("plan_WiFi", "frontier_WiFi", "baselines_WiFi", "bundle_effect")
        for kind in ("png", "svg")
    }
    for path in written[1]:
        if path.suffix == ".png":
            assert path.read_bytes().startswith(b"\x89PNG")
        else:
            assert ElementTree.parse(path).getroot().tag.endswith("svg")


def test_the_same_data_give_the_same_bytes(written, tmp_path):
    again = write(written[0], tmp_path / "again", ["svg"])
    first = {path.name: path.read_bytes() for path in written[1]}
    assert {path.name: path.read_bytes() for path in again} == {p.name: first[p.name] for p in again}


def test_texts_say_what_is_measured_and_what_is_modelled(tmp_path, monkeypatch):
    monkeypatch.setitem(STYLE, "svg.fonttype", "none")
    paths = write(report_data.collect(studies.study("WiFi", origin="measured")), tmp_path / "figures", ["svg"])
    for path in paths:
        texts = "".join(ElementTree.parse(path).getroot().itertext())
        assert "nano: time measured, energy measured" in texts
        assert "transfers modelled" in texts


def test_without_energy_there_is_no_trade_off_to_draw(tmp_path):
    paths = report.figures(studies.study("WiFi", energy=False), tmp_path / "figures")
    assert "baselines_WiFi.svg" in {path.name for path in paths}
    assert not [path for path in paths if path.name.startswith("frontier")]


@pytest.mark.filterwarnings("error")
def test_strange_names_stay_texts_and_inside_the_folder(tmp_path):
    paths = write(report_data.collect(studies.hostile()), tmp_path / "figures", ["svg"])
    assert all(path.parent == tmp_path / "figures" for path in paths)


def test_a_folder_that_exists_is_left_alone(tmp_path):
    with pytest.raises(InputError, match="nothing was overwritten"):
        write(report_data.collect(studies.study("WiFi")), tmp_path)
