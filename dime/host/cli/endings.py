"""How a command ends when it is asked to: what it has put elsewhere is taken back on the way out."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from dime.host.common import interrupts

ASKED = (signal.SIGTERM, signal.SIGHUP)  # a system that shuts down, and a terminal that is closed


@contextmanager
def in_order(kept: str = "") -> Iterator[None]:
    """Turns a signal that would end the process at once into a SystemExit, so that every clean-up runs.

    A signal that is ignored, as nohup leaves it, or that the caller handles stays as it is. After Ctrl-C the clean-up
    has a limit.

    Args:
        kept: What an end at any moment leaves, where that is known.
    """
    caught = [number for number in ASKED if signal.getsignal(number) is signal.SIG_DFL]
    if threading.current_thread() is not threading.main_thread():
        caught = []

    def leave(number: int, frame: FrameType | None) -> None:
        for one in caught:
            signal.signal(one, signal.SIG_IGN)  # once is enough: the clean-up is not to be cut short
        raise SystemExit(128 + number)

    for number in caught:
        signal.signal(number, leave)
    try:
        with interrupts.bounded(kept):
            yield
    finally:
        for number in caught:
            signal.signal(number, signal.SIG_DFL)
