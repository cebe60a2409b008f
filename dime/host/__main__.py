"""``python -m dime.host`` is the command ``dime``."""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType


def main() -> int:
    """Runs one command; Ctrl-C while Python still loads is Ctrl-C as well."""
    usual = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if usual:
        signal.signal(signal.SIGINT, _leave)  # a library that loads may take a KeyboardInterrupt for a fault of its own
    from dime.host.cli.main import main as run

    if usual:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    return run()


def _leave(number: int, frame: FrameType | None) -> None:
    os.write(2, b"dime: interrupted; nothing was done\n")
    os._exit(130)


if __name__ == "__main__":
    sys.exit(main())
