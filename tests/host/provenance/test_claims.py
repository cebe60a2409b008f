"""Claims: what DIME makes of a study, what a person may write, and what is refused."""

import pytest

from dime.contract.errors import InputError, TableError
from dime.host.provenance import claims, make, manifest
from dime.host.provenance.claims import CLAIMS, Claim
from dime.host.provenance.evaluation import FAILS, HOLDS
from tests.host.provenance.test_artifact import STUDIES


def test_each_link_claims_its_costs(place):
    made = claims.read(place / "artifact" / CLAIMS)
    assert [claim.value for claim in made] == ["latency_s", "energy_j", "energy_j.count"]
    assert made[0].command.startswith("dime solve") and made[0].hardware.startswith("nano (nano, cuda)")
    rows = list(claims.rows(place / "artifact", place / "nowhere"))
    assert [row.verdict for row in rows] == [HOLDS] * 3


def test_what_was_made_again_is_held_against_it(place, tmp_path):
    claim = claims.read(place / "artifact" / CLAIMS)[0]
    (tmp_path / claim.file).parent.mkdir(parents=True)
    (tmp_path / claim.file).write_text('{"latency_s": 1.5}')
    rows = list(claims.rows(place / "artifact", tmp_path))
    assert (rows[0].verdict, rows[0].found) == (FAILS, "1.5")


def test_an_edited_file_is_kept(place, tmp_path, monkeypatch):
    monkeypatch.chdir(place)
    monkeypatch.setattr(make, "_prove", lambda *_: None)
    wanted = make.Wanted(STUDIES, "Once", out=str(tmp_path / "a"))
    make.make(wanted)
    before = (tmp_path / "a" / CLAIMS).read_text()
    (tmp_path / "a" / CLAIMS).write_text(before.replace("tiny over", "Table 1, tiny over"))
    make.make(wanted)
    assert "Table 1, tiny over" in (tmp_path / "a" / CLAIMS).read_text()
    assert not manifest.changes(tmp_path / "a")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[[claim", "is damaged"),
        ("claim = 3", "claims stand below"),
        ("claim = [3]", "claim 1: it is no table"),
        ("[[claim]]\nsays = 'x'\n", "claim 1: it lacks file, value, expected"),
        ("[[claim]]\nsays = 'x'\nfile = 'a'\nvalue = 'b'\nexpected = 1\nmuch = 2\n", "unknown much"),
        ("[[claim]]\nsays = 'x'\nfile = '../a'\nvalue = 'b'\nexpected = 1\n", "leads out of the archive"),
        ("[[claim]]\nsays = 'x'\nfile = 'a'\nvalue = 'b'\nexpected = nan\n", "neither a number nor a text"),
        (
            "[[claim]]\nsays = 'x'\nfile = 'a'\nvalue = 'b'\nexpected = 1\ntolerance = -1\n",
            "a text or a number is none",
        ),
    ],
)
def test_what_is_no_claim_is_named(tmp_path, text, message):
    (tmp_path / CLAIMS).write_text(text)
    with pytest.raises(TableError, match=message):
        claims.read(tmp_path / CLAIMS)


def test_what_is_written_is_read(tmp_path):
    made = [Claim('says "so"\\ ü\t', "a", "b", "c", 0.1), Claim("x", "", "b", "c", "words", 0.0, 1, 2, 3, "none")]
    (tmp_path / CLAIMS).write_text(claims.text(made), encoding="utf-8")
    assert list(claims.read(tmp_path / CLAIMS)) == made


def test_a_place_in_a_document():
    document = {"data": {"links": [{"value": 3}]}, "column": [1.5, 2.5]}
    assert claims.look_up(document, "data.links[0].value") == 3
    assert (claims.look_up(document, "column[-1]"), claims.look_up(document, "column.count")) == (2.5, 2)
    for place in ("data.nothing", "column[9]", "column.x", "data", "data[0]"):
        with pytest.raises(InputError):
            claims.look_up(document, place)
