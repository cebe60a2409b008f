"""A session's lines, followed without any engine: what it is in comes from a list."""

import pytest

from dime.contract import messages
from dime.contract.errors import DeviceError
from dime.host.bench.connection import DetachedError, Wishes
from dime.host.bench.session.follow import Follower
from dime.host.bench.session.judge import RESTARTS
from dime.host.bench.session.state import State

HELLO = messages.encode("hello", version="1", device="nano", network="alexnet", total=4)
RUNNING, KILLED, DONE = State("running"), State("exited", 137), State("exited", 0)


def reached(number):
    return messages.encode("progress", done=number, what="bundle")


class Script:
    """Looks that are known beforehand; what was done to it is noted."""

    name, poll_s, is_restarted = "nano", 0.001, True

    def __init__(self, *looks):
        self.looks, self.done = list(looks), []

    def look(self):
        state, *lines = self.looks.pop(0)
        return state, lines

    def again(self):
        self.done.append("again")

    def stop(self):
        self.done.append("stop")


def followed(script, wishes=None):
    said = []
    follower = Follower(script, wishes or Wishes(), said.append)
    return follower, said


def test_lines_come_until_it_is_done_and_where_its_result_is_the_host_says():
    script = Script((RUNNING, HELLO), (RUNNING, reached(1)), (DONE, messages.encode("done", folder="/etc")))
    follower, said = followed(script)
    assert list(follower.lines("here")) == [HELLO, reached(1), messages.encode("done", folder="here")]
    assert (follower.finished, follower.total, said, script.done) == (1, 4, [], [])


def test_who_gets_on_is_started_again_and_who_does_not_is_given_up():
    script = Script(*((KILLED, HELLO, reached(number)) for number in range(1, 9)), (DONE,))
    follower, said = followed(script)
    list(follower.lines("here"))
    assert script.done == ["again"] * 8 and len(said) == 8
    script = Script(*((KILLED, "Killed") for _ in range(9)))
    with pytest.raises(DeviceError, match=rf"nano: ended {RESTARTS + 1} times with exit code 137"):
        list(followed(script)[0].lines("here"))
    assert script.done == ["again"] * RESTARTS


def test_one_that_never_starts_is_given_up_too():
    script = Script(*((State("created"),) for _ in range(9)))
    with pytest.raises(DeviceError, match="nano: its container does not start"):
        list(followed(script)[0].lines("here"))


def test_the_last_words_of_one_that_fails_for_good_are_told():
    script = Script((State("exited", 2), "a", "", "b"))
    with pytest.raises(DeviceError, match=r"nano: ended with exit code 2; last lines: a \| b"):
        list(followed(script)[0].lines("here"))


def test_a_wish_is_heeded():
    wishes = Wishes()
    wishes.stop.set()
    script = Script((RUNNING,), (KILLED,))
    with pytest.raises(DeviceError, match="stopped as you wished"):
        list(followed(script, wishes)[0].lines("here"))
    assert script.done == ["stop", "stop"]
    wishes = Wishes()
    wishes.detach.set()
    with pytest.raises(DetachedError):
        list(followed(Script((RUNNING,)), wishes)[0].lines("here"))
