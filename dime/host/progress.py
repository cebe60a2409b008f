"""Follows a device's messages: a progress bar with the time left, and its notes and warnings above the bar."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterable

from dime.contract import messages
from dime.contract.errors import DeviceError


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
    from tqdm import tqdm

    last_words: deque[str] = deque(maxlen=3)
    with tqdm(desc=label, unit=unit, file=sys.stderr, mininterval=0.2, disable=None, leave=True) as bar:
        for line in lines:
            message = messages.decode(line)
            if message is None:
                if line.strip():
                    last_words.append(line.strip())
                continue
            match message["kind"]:
                case "hello" | "stage":
                    bar.reset()
                    bar.total, bar.unit = message["total"], message.get("unit", unit)
                    bar.refresh()
                case "progress":
                    bar.set_postfix_str(message["what"], refresh=False)
                    bar.update(message["done"] - bar.n)
                case "note":
                    bar.write(f"{label}: {message['text']}", file=sys.stderr)
                case "warning":
                    bar.write(f"{label}: warning: {message['text']}", file=sys.stderr)
                case "error":
                    raise DeviceError(message["text"])
                case "done":
                    return str(message["folder"])
    tail = "; last lines: " + " | ".join(last_words) if last_words else ""
    raise DeviceError(f"{label}: ended without a result{tail}")
