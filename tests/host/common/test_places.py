"""What could not be written is refused before the work."""

import pytest

from dime.contract.errors import InputError
from dime.host.cli import main as cli
from dime.host.common import places
from dime.host.compat import sweeps
from dime.host.studies import study


def test_a_place_that_can_be_made_is_not_made_yet(tmp_path):
    places.check(tmp_path / "a/b/c")
    places.check(tmp_path)
    assert not list(tmp_path.iterdir())


def test_what_stands_in_the_way_is_named(tmp_path):
    (tmp_path / "a").write_text("a file")
    places.check(tmp_path / "a")  # whether it may be replaced is not asked here
    with pytest.raises(InputError, match=r"cannot write .*/a/b/c: .*/a is no folder"):
        places.check(tmp_path / "a/b/c")


def test_a_folder_that_is_not_ours_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(places.os, "access", lambda path, mode: False)
    with pytest.raises(InputError, match="may not be written to"):
        places.check(tmp_path / "a")


@pytest.mark.parametrize("command", ["solve", "sweep"])
@pytest.mark.parametrize("word, reason", [("--out=there", "exists already"), ("--out=file/plan", "file is no folder")])
def test_nothing_is_solved_whose_result_cannot_be_written(tmp_path, monkeypatch, capsys, command, word, reason):
    def work(*words, **options):
        raise AssertionError("solved first")

    monkeypatch.chdir(tmp_path)
    (tmp_path / "there").mkdir()
    (tmp_path / "file").write_text("a file")
    monkeypatch.setattr(study, "find_profiles", lambda *words: [])
    monkeypatch.setattr(study, "make_study", work)
    monkeypatch.setattr(study, "link_names", work)
    monkeypatch.setattr(sweeps, "tables", work)
    assert cli.main([command, "--net=alexnet", word]) == 1
    assert reason in capsys.readouterr().err
