import importlib
import os
import signal

import pytest

from dime.device import stop


@pytest.fixture(autouse=True)
def handlers():
    """The handlers of the test runner, and a clean state, come back afterwards."""
    before = {number: signal.getsignal(number) for number in stop.SIGNALS}
    stop.install(lambda: None)
    yield
    stop._State.pending = False
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", stop.SIGNALS)
def test_a_signal_raises_at_once(number):
    with pytest.raises(stop.Stopped):
        os.kill(os.getpid(), number)
        signal.getsignal(number)


def test_while_deferred_it_waits_for_a_check():
    done = []
    with pytest.raises(stop.Stopped), stop.deferred():
        os.kill(os.getpid(), signal.SIGTERM)
        done.append("went on")
        stop.check()
        done.append("never")
    assert done == ["went on"]


def test_it_is_raised_at_the_end_at_the_latest():
    done = []
    with pytest.raises(stop.Stopped):
        with stop.deferred():
            with stop.deferred():
                os.kill(os.getpid(), signal.SIGTERM)
            done.append("still deferred")
    assert done == ["still deferred"]


def test_impatience_does_not_disturb_the_tidying_up():
    tidied = []
    with pytest.raises(stop.Stopped):
        try:
            os.kill(os.getpid(), signal.SIGINT)
            signal.getsignal(signal.SIGINT)
        finally:
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGTERM)
            tidied.append(True)
    assert tidied == [True]


def test_without_a_signal_nothing_happens():
    with stop.deferred():
        stop.check()
    stop.check()


def test_a_library_that_is_loaded_cannot_take_it_for_a_fault_of_its_own(tmp_path, monkeypatch):
    (tmp_path / "takes_it.py").write_text(
        "import os, signal\ncaught = None\ntry:\n    os.kill(os.getpid(), signal.SIGTERM)\n"
        "    signal.getsignal(signal.SIGTERM)\nexcept BaseException as error:\n    caught = error\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    left = []
    stop.install(lambda: left.append(True))
    assert importlib.import_module("takes_it").caught is None and left == [True]
