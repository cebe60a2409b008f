"""Waiting for runs while a person may press Ctrl-C."""

import signal
import threading

import pytest

from dime.contract.errors import NotLetInError
from dime.host.bench import connection, fleet
from dime.host.bench.connection import Wishes
from dime.host.bench.lab import LabDevice


@pytest.mark.parametrize("stop", [True, False])
def test_after_the_answer_to_ctrl_c_the_runs_are_still_waited_for(stop, monkeypatch):
    monkeypatch.setattr(fleet, "_stop_wished", lambda: stop)
    wishes, over, ended = Wishes(), threading.Event(), []

    def run():
        (wishes.stop if stop else wishes.detach).wait(10)
        ended.append(over.wait(0.3))  # what is left to do after the wish takes a moment
        over.set()

    threading.Thread(target=run, daemon=True).start()
    threading.Timer(0.3, lambda: signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)).start()
    assert fleet._wait([over], wishes)
    assert ended == [False]
    assert (wishes.stop.is_set(), wishes.detach.is_set()) == (stop, not stop)


@pytest.mark.parametrize("failure", ["BadHostKeyException", "AuthenticationException"])
def test_a_board_that_lets_nobody_in_any_more_is_left_to_its_run(failure, monkeypatch):
    import paramiko

    device = LabDevice("nano", engine="ssh://dime@nano")
    key = paramiko.ECDSAKey.generate()
    error = (
        paramiko.BadHostKeyException("nano", key, key) if "Key" in failure else paramiko.AuthenticationException("no")
    )
    link, tries = connection.Connection(device, Wishes()), []

    def refused(_):
        tries.append(1)
        raise error

    monkeypatch.setattr(link, "client", lambda: None)
    with pytest.raises(NotLetInError) as caught:
        link.keep(refused, print)
    assert len(tries) == 1
    assert str(caught.value).startswith("nano: ") and "The run goes on there" in str(caught.value)
    assert ("host key of nano has changed" in str(caught.value)) == ("Key" in failure)
