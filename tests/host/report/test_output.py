"""The files of a study: all of them in a folder of their own, or none."""

import errno

import pytest

from dime.contract.errors import InputError
from dime.host.report import output
from dime.host.report import page as report
from tests.host.example_studies import study


def test_a_study_s_files_are_there_together(tmp_path):
    found = study()
    into = output.folder(str(tmp_path), "alexnet")
    assert output.write(found, into).endswith(f"files: {into}\n")
    names = {path.relative_to(into).as_posix() for path in into.rglob("*") if path.is_file()}
    files = ("plan.json", "frontier.parquet", "problem.json", "problem.npz")
    assert names == {"report.html", "report.json", *(f"{link.name}/{name}" for link in found.links for name in files)}
    assert output.folder(str(tmp_path), "alexnet").name == "002"
    with pytest.raises(InputError, match="exists already; nothing was overwritten"):
        output.folder(str(tmp_path), "alexnet", str(into))


def test_a_full_disk_leaves_nothing_behind(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    found, into = study(), tmp_path / "plan"
    monkeypatch.setattr(report, "write", full)
    with pytest.raises(InputError, match=f"{into}: No space left on device"):
        output.write(found, into)
    monkeypatch.setattr(type(found.links[0].plan), "write", lambda self, path: full())
    with pytest.raises(InputError, match=f"{into}: No space left on device"):
        output.write(found, into)
    assert not list(tmp_path.iterdir())


def test_two_that_choose_the_same_folder_do_not_mix(tmp_path):
    found = study()
    output.write(found, tmp_path / "plan")
    with pytest.raises(InputError, match="plan exists already; nothing was overwritten"):
        output.write(found, tmp_path / "plan")
    assert [path.name for path in tmp_path.iterdir()] == ["plan"]
