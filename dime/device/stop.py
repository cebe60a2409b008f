"""Being told to stop (SIGINT, SIGTERM) at a moment when everything can still be put back in order."""

import signal
from contextlib import contextmanager
from typing import Iterator

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stopped(KeyboardInterrupt):
    """Somebody asked this process to stop."""


class _State(object):
    deferrals = 0
    pending = False


def install() -> None:
    """Makes both signals raise Stopped: at once, or at the next `check` while deferred. Later ones are ignored."""
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


def _handle(number: int, frame: object) -> None:
    for each in SIGNALS:
        signal.signal(each, signal.SIG_IGN)
    if _State.deferrals:
        _State.pending = True
    else:
        raise Stopped()
