"""Follows a device's messages: a progress bar with the time left, and its notes and warnings above the bar.

Where nobody watches a terminal, a line every ten seconds says what goes on instead.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from dime.contract import messages
from dime.contract.errors import DeviceError
from dime.host.common import bars, console

REFRESH_S, LINE_S = 1.0, 10.0
STARTING = "{desc}: starting [{elapsed}]"


def follow(lines: Iterable[str], label: str, unit: str = "bundle") -> str:
    """Shows a run's messages until it ends.

    Args:
        lines: The device's output, as it comes; lines that are not messages are kept for the error report.
        label: What the bar is called, such as ``local alexnet``.
        unit: What the run's steps are.

    Returns:
        The folder that the run's ``done`` message names.

    Raises:
        DeviceError: The run reported an error, or its output ended without saying that it is done.
    """
    last_words: deque[str] = deque(maxlen=3)
    with bars.Bar(label, unit=unit, bar_format=STARTING) as bar, _alive(bar, label):
        for line in lines:
            message = messages.decode(line)
            if message is None:
                if line.strip():
                    last_words.append(line.strip())
                continue
            match message["kind"]:
                case "hello" | "stage":
                    bar.begin(message["total"], str(message.get("unit", unit)))
                case "progress":
                    bar.reach(message["done"], message["what"])
                case "note":
                    console.tell(f"{label}: {message['text']}")
                case "warning":
                    console.tell(f"{label}: warning: {message['text']}")
                case "error":
                    raise DeviceError(message["text"])
                case "done":
                    return str(message["folder"])
    tail = "; last lines: " + " | ".join(last_words) if last_words else ""
    raise DeviceError(f"{label}: ended without a result{tail}")


@contextmanager
def _alive(bar: bars.Bar, label: str) -> Iterator[None]:
    """Keeps the bar's clock going, or says a line now and then where there is no bar."""
    over = threading.Event()

    def beat() -> None:
        while not over.wait(LINE_S if bar.disable else REFRESH_S):
            if bar.disable:
                console.tell(f"{label}: {bar.state}")
            else:
                bar.refresh()

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
