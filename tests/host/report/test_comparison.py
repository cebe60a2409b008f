"""Studies side by side, and the sentence that says what a link changes."""

import pytest

from dime.contract.errors import InputError, TableError
from dime.host.planning.goals import Limits
from dime.host.report import comparison, output, overview
from dime.testing import synthetic
from tests.host import example_studies as studies


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    place = tmp_path_factory.mktemp("plans")
    slow = Limits(frequencies_hz={"nano": (synthetic.TWELVE_HZ[3],)}, rule="free")
    for name, found in (("001", studies.study("4G,WiFi")), ("002", studies.limited(slow, "WiFi"))):
        output.write(found, place / "alexnet" / name)
    return [place / "alexnet" / name for name in ("001", "002")]


def test_links_of_both_stand_below_each_other_with_what_changed(folders):
    text = comparison.text(folders)
    lines = text.splitlines()
    assert max(map(len, lines)) <= comparison.WIDTH
    wifi = lines.index("WiFi")
    first, second = (next(line for line in lines[wifi:] if line.startswith(f"  {name}")) for name in ("001", "002"))
    assert "%" not in first and "+" in second, "at a slower clock it takes longer"
    assert "002: has no plan for it" in text[: text.index("WiFi")]
    assert "on nano" in text and "-1" not in text


def test_a_study_beside_itself_is_the_same(folders):
    assert comparison.text([folders[0], folders[0]]).count("the same") == 4


def test_what_cannot_be_compared(folders, tmp_path):
    with pytest.raises(InputError, match="at least two"):
        comparison.text(folders[:1])
    with pytest.raises(TableError, match="is no study's folder"):
        comparison.text([folders[0], tmp_path])


def test_the_headline_says_plan_cost_and_what_it_saves():
    found = studies.with_uncertainty(studies.study("4G,WiFi"))
    for link in found.links:
        line = overview.headline(link)
        assert line.startswith(f"{link.name}: ") and " on nano" in line
        for row in overview.alone(link.baselines):
            assert (f"less than {row.name}" in line) == bool(row.gain and row.gain > 0)


def test_the_overview_shows_the_trade_offs_of_a_link_that_has_some():
    text = overview.text(studies.study("4G,WiFi"))
    assert max(map(len, text.splitlines())) <= overview.WIDTH
    assert "best trade-offs of time and energy" in text and "least energy: " in text
    alone = overview.text(studies.study("4G,WiFi", energy=False))
    assert "trade-off" not in alone and "WiFi: " in alone
