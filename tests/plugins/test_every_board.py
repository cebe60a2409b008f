"""Every board passes the suite; a new file in dime/device/boards is covered by being there."""

import pytest

import dime.device.boards
from dime.contract import plugins
from dime.testing.boards import *  # noqa: F403


@pytest.fixture(params=plugins.names(dime.device.boards))
def board(request):
    return plugins.load(dime.device.boards, request.param)


def test_what_it_says_is_what_stands_in_the_tree(board, tree):
    facts = board.describe(tree)
    assert (facts["model"], facts["governor"]) == ("A board", "schedutil")
    assert facts["temperatures_c"]["GPU-therm"] == 39.0
