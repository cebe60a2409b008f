"""Being told to stop (SIGINT, SIGTERM) at a moment when everything can still be put back in order."""

import signal
from contextlib import contextmanager
from types import FrameType
from typing import Callable, Iterator, Optional

from dime.contract.loading import is_loading

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stopped(KeyboardInterrupt):
    """Somebody asked this process to stop."""


class _State(object):
    deferrals = 0
    pending = False
    leave = None  # type: Optional[Callable[[], None]]


def install(leave: Callable[[], None]) -> None:
    """Makes both signals raise Stopped: at once, or at the next `check` while deferred. Later ones are ignored.

    Args:
        leave: Called instead while a module is loaded, to end the process: a library may take an exception for a fault
            of its own there, and what was to stop would go on.
    """
    _State.leave = leave
    for number in SIGNALS:
        signal.signal(number, _handle)


def check() -> None:
    """Raises Stopped if a signal has come since it was last asked for."""
    if _State.pending:
        _State.pending = False
        raise Stopped()


@contextmanager
def deferred() -> Iterator[None]:
    """Keeps a signal from raising anywhere inside but in `check`; it raises at the end at the latest."""
    _State.deferrals += 1
    try:
        yield
    finally:
        _State.deferrals -= 1
    if not _State.deferrals:
        check()


def _handle(number: int, frame: Optional[FrameType]) -> None:
    for each in SIGNALS:
        signal.signal(each, signal.SIG_IGN)
    if _State.deferrals:
        _State.pending = True
    elif _State.leave is not None and is_loading(frame):
        _State.leave()
    else:
        raise Stopped()
