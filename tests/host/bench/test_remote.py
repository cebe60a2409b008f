"""Waiting for runs while a person may press Ctrl-C."""

import signal
import threading

import pytest

from dime.host.bench import remote
from dime.host.bench.connection import Wishes


@pytest.mark.parametrize("stop", [True, False])
def test_after_the_answer_to_ctrl_c_the_runs_are_still_waited_for(stop, monkeypatch):
    monkeypatch.setattr(remote, "_stop_wished", lambda: stop)
    wishes, over, ended = Wishes(), threading.Event(), []

    def run():
        (wishes.stop if stop else wishes.detach).wait(10)
        ended.append(over.wait(0.3))  # what is left to do after the wish takes a moment
        over.set()

    threading.Thread(target=run, daemon=True).start()
    threading.Timer(0.3, lambda: signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)).start()
    assert remote._wait([over], wishes)
    assert ended == [False]
    assert (wishes.stop.is_set(), wishes.detach.is_set()) == (stop, not stop)
