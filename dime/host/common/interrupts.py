"""The first Ctrl-C ends a command soon, whatever its clean-up may be waiting for."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from dime.contract.loading import is_loading

LIMIT_S = 1.7  # from Ctrl-C on; the process itself takes a moment to go
STATUS = 130
_LOADS_S = 0.02


class _State:
    active = False
    timer: threading.Timer | None = None
    kept = ""


def expect(leave: Callable[[], None]) -> None:
    """Gives what goes on from now LIMIT_S to end; does nothing outside `bounded`.

    Args:
        leave: Called then, to end the process.
    """
    relent()
    if _State.active:
        _State.timer = threading.Timer(LIMIT_S, leave)
        _State.timer.daemon = True
        _State.timer.start()


def relent() -> None:
    """Takes the limit back: a person is asked, or wants something that takes its time."""
    if _State.timer is not None:
        _State.timer.cancel()
        _State.timer = None


def leave() -> None:
    """Ends the process as it is, and says what that leaves."""
    kept = _State.kept or "what it waited for elsewhere may be half done, the same command finds out"
    with suppress(OSError):
        os.write(2, f"\ndime: interrupted; {kept}\n".encode())
    os._exit(STATUS)


@contextmanager
def bounded(kept: str = "") -> Iterator[None]:
    """Turns Ctrl-C into a KeyboardInterrupt that is given LIMIT_S for its clean-up; one that is handled stays so.

    Args:
        kept: What an end at any moment leaves; empty: what was asked of other computers may be half done.
    """
    here = threading.current_thread() is threading.main_thread()
    if not here or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return

    def interrupt(number: int, frame: FrameType | None) -> None:
        if _State.timer is None:
            expect(leave)
        if is_loading(frame):
            again = threading.Timer(_LOADS_S, signal.pthread_kill, [threading.main_thread().ident, signal.SIGINT])
            again.daemon = True
            again.start()
            return
        raise KeyboardInterrupt

    _State.active, _State.kept = True, kept
    signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        relent()
        _State.active = False
        signal.signal(signal.SIGINT, signal.default_int_handler)
