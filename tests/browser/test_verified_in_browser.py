"""Plans that were run, in the report as a person meets it."""

import pytest

from dime.host.execution import verification_files
from dime.host.report import output
from dime.host.report import page as report
from tests.host import example_studies as studies
from tests.host.execution import made

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    folder = tmp_path_factory.mktemp("verified") / "study"
    study = studies.study("4G,WiFi")
    output.write(study, folder)
    names = tuple(profile.device for profile in study.profiles)
    for server_ms in (2, 9):
        found = made.encoded(made.verification("WiFi", names, server_ms=server_ms))
        verification_files.write(found, verification_files.folder(folder))
    (path,) = report.remake(folder)
    return path


@pytest.mark.parametrize("width", [390, 1280])
def test_prediction_and_measurement_stand_side_by_side(page, path, width):
    page.open(path, width, phone=width < 500, to="#link=4G")
    assert page.complaints == []
    assert "held against the prediction" not in page.value("document.body.innerText")
    page.click("[role=tab]", 1)
    page.settle()
    text = page.value("document.body.innerText")
    for said in (
        "held against the prediction",
        "ran emulated",
        "0 of 1",
        "does not hold",
        "24.0 ms",
        "31.0 ms",
        "verified/002",
        "DIME, input as jpeg90: first class the same in 5 of 6, result off by 1.2 % of it.",
    ):
        assert said in text, said
    assert page.value("document.querySelectorAll(\"svg[aria-label*='predicted 24.0 ms']\").length") == 1
    assert page.value("document.documentElement.scrollWidth") <= width
    assert page.complaints == []
