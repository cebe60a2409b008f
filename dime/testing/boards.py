"""What every board must do. The test file that takes this suite has a fixture ``board`` that gives the board's module.

Its clocks are tried in the files of ``tree``: a tree of cpufreq and devfreq, and a kernel that answers writes to it. A
board whose clocks are elsewhere has a fixture ``tree`` of its own. This runs on Python 3.6, too.
"""

import json
import shutil

import pytest

from dime.device.boards import _sysfs
from dime.testing import board_trees
from dime.testing.board_trees import state


@pytest.fixture
def tree(tmp_path, monkeypatch):
    monkeypatch.setattr(_sysfs, "_put", board_trees.Kernel().put)
    monkeypatch.setattr(_sysfs, "_remove", shutil.rmtree)  # a cgroup's files go with its folder
    return str(board_trees.plain(tmp_path / "tree"))


def test_its_frequencies_are_ascending_and_can_all_be_fixed(board, tree, tmp_path):
    frequencies = board.frequencies_hz(tree)
    assert frequencies and frequencies == sorted(set(frequencies))
    before = state(tree)
    for frequency_hz in frequencies:
        with board.fixed(frequency_hz, tree, str(tmp_path / "ledger")) as verify:
            verify()
            assert frequency_hz in board.describe(tree)["clocks_hz"].values()
            assert state(tree) != before
        assert state(tree) == before
    assert not (tmp_path / "ledger").exists()


def test_its_clock_is_moved_while_it_is_fixed_and_then_put_back(board, tree):
    if not hasattr(board, "move"):
        pytest.skip("it does not say how its clock is moved: what a change of it takes is not known")
    before, frequencies = state(tree), board.frequencies_hz(tree)
    with board.fixed(frequencies[0], tree) as verify:
        for frequency_hz in (frequencies[-1], frequencies[0], frequencies[len(frequencies) // 2], frequencies[0]):
            board.move(frequency_hz, tree)
            assert frequency_hz in board.describe(tree)["clocks_hz"].values()
        verify()
    assert state(tree) == before


def test_a_failure_inside_restores_everything(board, tree):
    before = state(tree)
    for failure in (RuntimeError, KeyboardInterrupt, SystemExit):
        with pytest.raises(failure), board.fixed(board.frequencies_hz(tree)[0], tree):
            raise failure()
        assert state(tree) == before


def test_a_clock_that_is_left_alone_is_not_touched(board, tree):
    before = state(tree)
    with board.fixed(-1, tree) as verify:
        verify()
        assert state(tree) == before


def test_it_describes_itself_in_json(board, tree):
    facts = json.loads(json.dumps(board.describe(tree)))
    assert facts["model"] and isinstance(facts["model"], str)
    assert all(isinstance(value, float) for value in facts["temperatures_c"].values())
    assert facts["throttled"] == []


def test_on_another_machine_it_has_no_frequencies_but_describes_itself(board, tmp_path):
    assert board.frequencies_hz(str(tmp_path)) == []
    facts = board.describe(str(tmp_path))
    assert (facts["model"], facts["temperatures_c"], facts["throttled"]) == ("unknown", {}, [])


def test_it_describes_this_machine(board):
    json.dumps(board.describe())


def test_it_says_whether_a_profile_sweeps_it(board):
    assert board.SWEEPS in (True, False)
