"""Boards, one file a kind. ``root`` is where sysfs is found, so that tests can hand in a tree. Each file has:

| name | what it is |
|---|---|
| SWEEPS | whether a profile goes through all frequencies unless told otherwise |
| frequencies_hz(root="/") | frequencies that can be fixed here, ascending; empty where none can |
| fixed(frequency_hz, root, ledger) | context manager: fixes a frequency and restores everything on every way out |
| describe(root="/") | the board as it is now: model, governor, temperatures_c, throttled, and more |
| WITHOUT_KERNELS | optional: what to do if its GPU runs no kernel of the installed torch; without it the CPU is taken |

`fixed` gives a function that reads the clocks back, in hertz, and raises DeviceError if one has moved since. What is
read back may differ from what was set by `_sysfs.TOLERANCE`, for clocks that are made by division. A ledger is a file
in which a board notes what it is about to change, so that `settle` can put it back even after the process was killed
outright.
"""

import os
import re

from dime.contract import plugins
from dime.contract.run import LEDGER


def choose(device, board=None):
    """Finds the board that a device is.

    Args:
        device: The device's name in the lab, such as ``nano``, ``nano2`` or ``potato-left``.
        board: A board's name, which decides; None to go by the device's name.

    Returns:
        tuple: The board's name and its module. A device named like no board is a generic one.

    Raises:
        InputError: There is no such board; the message lists those there are.
    """
    import dime.device.boards as package

    if board is None:
        word = re.match(r"[a-z]*", device.lower()).group()
        board = word if word in plugins.names(package) else "generic"
    return board, plugins.load(package, board)


def nearest_hz(frequency_hz, known_hz):
    """The frequency among those known that is meant; None if there is none. What was read back may be a little off."""
    from dime.device.boards import _sysfs

    return _sysfs.nearest(frequency_hz, known_hz)


def settle(folder):
    """Puts back the clocks that a run had fixed when it was killed.

    Args:
        folder: The run's folder.

    Returns:
        bool: Whether there was anything to put back.

    Raises:
        DeviceError: The kernel refused, or the ledger is damaged.
    """
    from dime.device.boards import _sysfs

    return _sysfs.settle(os.path.join(folder, LEDGER))
