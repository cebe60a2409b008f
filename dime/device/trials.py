"""What the host tries on a device before it measures, and asks after: free disk, clock, board, load, hashes."""

import hashlib
import os
import time
from typing import TYPE_CHECKING, Dict

from dime.contract.errors import DimeError
from dime.contract.run import FROM_DEVICE

if TYPE_CHECKING:
    from dime.device.boards import Board

BLOCK = 1 << 20


def probe() -> Dict[str, float]:
    """What the disk and the clock say, as a container sees them.

    Returns:
        dict: Free bytes, and seconds since 1970.
    """
    disk = os.statvfs("/")
    return {"free_bytes": disk.f_bavail * disk.f_frsize, "time_s": time.time()}


def board(module: "Board", root: str = "/", set_clocks: bool = False) -> Dict[str, object]:
    """What a board is and, if that is to be tried, whether its clocks can be set: the two ends are, and put back.

    Args:
        module: The board's module.
        root: Where sysfs is found.
        set_clocks: Whether clocks are tried.

    Returns:
        dict: The model, how many frequencies there are (0 if none was tried), and why they cannot be set.
    """
    facts: Dict[str, object] = {"model": module.describe(root)["model"], "steps": 0, "error": ""}
    try:
        steps = module.frequencies_hz(root) if set_clocks else []
        for step in steps[:1] + steps[-1:]:
            with module.fixed(step, root):
                pass
        facts["steps"] = len(steps)
    except DimeError as error:
        facts["error"] = str(error)
    return facts


def busy(seconds: float, processors: int) -> None:
    """Keeps processors busy, for as long as a meter needs to show it.

    Args:
        seconds: How long.
        processors: How many.
    """
    end_s = time.monotonic() + seconds
    for _ in range(processors - 1):
        if not os.fork():
            _spin(end_s)
            os._exit(0)
    _spin(end_s)


def _spin(end_s: float) -> None:
    while time.monotonic() < end_s:
        pass


def hashes(folder: str) -> Dict[str, str]:
    """SHA-256 of a run's files.

    Args:
        folder: The run's folder.

    Returns:
        dict: Hashes by name; of a file that is missing there is none.
    """
    found = {}
    for name in FROM_DEVICE:
        path = os.path.join(folder, name)
        if os.path.isfile(path):
            whole = hashlib.sha256()
            with open(path, "rb") as stream:
                for block in iter(lambda: stream.read(BLOCK), b""):
                    whole.update(block)
            found[name] = whole.hexdigest()
    return found
