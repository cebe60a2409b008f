"""Copies of runs that meet in one folder."""

import pytest

from dime.contract.errors import TableError
from dime.host.bench import folders
from dime.testing import fake_engine

COPIES = {
    "two bundles": (2, "running", 1), "three bundles": (3, "running", 1), "gone on": (3, "running", 2),
    "complete": (4, "complete", 2),
}  # fmt: skip


def put(folder, bundles, state="complete", sessions=1, seed=0):
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in fake_engine.files(bundles, state, sessions, seed).items():
        (folder / name).write_bytes(content)
    return folder


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("here", COPIES)
@pytest.mark.parametrize("there", COPIES)
def test_the_longer_copy_of_a_run_stays(tmp_path, here, there):
    target, source = put(tmp_path / "run", *COPIES[here]), put(tmp_path / "aside", *COPIES[there])
    longer = max((here, there), key=list(COPIES).index)
    folders.merge(source, target)
    assert content(target) == fake_engine.files(*COPIES[longer])


@pytest.mark.parametrize("state", ["running", "complete"])
@pytest.mark.parametrize("other", ["running", "complete"])
def test_another_run_never_replaces_one(tmp_path, state, other):
    target, source = put(tmp_path / "run", 2, state), put(tmp_path / "aside", 9, other, seed=1)
    with pytest.raises(TableError, match="holds another run; nothing was overwritten"):
        folders.merge(source, target)
    assert content(target) == fake_engine.files(2, state)


def test_the_same_options_on_another_day_are_another_run(tmp_path):
    target = put(tmp_path / "run", 2, "running")
    source = put(tmp_path / "aside", 3, "running")
    text = (source / "run.json").read_text()
    (source / "run.json").write_text(text.replace('"start_ns": 1', '"start_ns": 2'))
    with pytest.raises(TableError, match="holds another run"):
        folders.merge(source, target)


def test_a_complete_run_is_not_replaced_by_one_with_other_rows(tmp_path):
    target, source = put(tmp_path / "run", 4), put(tmp_path / "aside", 4)
    (source / "timings.csv").write_text("others")
    with pytest.raises(TableError, match="with other rows"):
        folders.merge(source, target)
    assert content(target) == fake_engine.files(4)


def test_files_of_this_computer_stay(tmp_path):
    (tmp_path / "run/power").mkdir(parents=True)
    (tmp_path / "run/power/log.csv").write_text("ours")
    folders.merge(put(tmp_path / "aside", 4), tmp_path / "run")
    assert (tmp_path / "run/power/log.csv").read_text() == "ours"
    assert folders.is_complete(tmp_path / "run")
