"""Boards, one file a kind. ``root`` is where sysfs is found, so that tests can hand in a tree. Each file has:

| name | what it is |
|---|---|
| SWEEPS | whether a profile goes through all frequencies unless told otherwise |
| frequencies_hz(root="/") | frequencies that can be fixed here, ascending; empty where none can |
| fixed(frequency_hz, root, ledger) | context manager: fixes a frequency and restores everything on every way out |
| describe(root="/") | the board as it is now: model, governor, temperatures_c, throttled, and more |
| HOST | optional: image, platform, runtime and set_clock of the lab file, as a literal; else as generic |
| move(frequency_hz, root="/") | optional: inside `fixed`, sets the clock to another frequency and reads it back |
| ORIGIN | optional: emulated, for what stands in for a device; else its times are measured |
| PROCESSOR | optional: what a network runs on where nobody asked; else as `processor.choose` finds |
| accepts(frequency_hz) | optional: whether a frequency may be asked for that is none of those listed |
| slowed(run, frequency_hz) | optional: what is timed, held back to what the frequency stands for |
| power_model(frequencies_hz) | optional: watts by a formula, for where no meter is: watts, idle_watts, told |
| WITHOUT_KERNELS | optional: what to do if its GPU runs no kernel of the installed torch; without it the CPU is taken |

`fixed` gives a function that reads the clocks back, in hertz, and raises DeviceError if one has moved since. What is
read back may differ from what was set by `_sysfs.TOLERANCE`, for clocks that are made by division. A ledger is a file
in which a board notes what it is about to change, so that `settle` can put it back even after the process was killed
outright.
"""

import os
import re
from typing import TYPE_CHECKING, Callable, ContextManager, Dict, Iterable, List, Optional, Tuple, TypeVar, cast

from dime.contract import plugins
from dime.contract.run import LEDGER

if TYPE_CHECKING:
    from typing import Protocol, TypedDict  # novm

    class Facts(TypedDict, total=False):
        """What a board says of itself."""

        model: str
        cpus_online: Optional[str]
        memory_bytes: Optional[int]
        governor: Optional[str]
        temperatures_c: Dict[str, float]
        throttled: List[str]
        clocks_hz: Dict[str, int]
        gpu_governor: Optional[str]
        rail_gate: Optional[str]
        power_mode: Optional[str]
        emc_hz: Optional[int]

    class Board(Protocol):
        """A board's file."""

        SWEEPS: bool

        def frequencies_hz(self, root: str = "/") -> List[int]: ...

        def fixed(
            self, frequency_hz: int, root: str = "/", ledger: Optional[str] = None
        ) -> ContextManager[Callable[[], List[int]]]: ...

        def describe(self, root: str = "/") -> Facts: ...


Input = TypeVar("Input")
Output = TypeVar("Output")


def choose(device: str, board: Optional[str] = None) -> "Tuple[str, Board]":
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
        word = re.findall(r"^[a-z]*", device.lower())[0]
        board = word if word in plugins.names(package) else "generic"
    return board, cast("Board", plugins.load(package, board))


def nearest_hz(frequency_hz: int, known_hz: Iterable[int]) -> Optional[int]:
    """The frequency among those known that is meant; None if there is none. What was read back may be a little off."""
    from dime.device.boards import _sysfs

    return _sysfs.nearest(frequency_hz, known_hz)


def slowed(board: "Board", run: "Callable[[Input], Output]", frequency_hz: int) -> "Callable[[Input], Output]":
    """What a board runs as it runs there: held back where the board only stands in for a device, else the same.

    Args:
        board: The board's module.
        run: What a call does.
        frequency_hz: The frequency that is fixed; -1 where the clock is left alone.
    """
    held = getattr(board, "slowed", None)
    return run if held is None else cast("Callable[[Input], Output]", held(run, frequency_hz))


def power_model(board: "Board", frequencies_hz: List[int]) -> Optional[Dict[str, object]]:
    """What a formula of the board's takes it to draw, as run.json has it; None where it has no formula."""
    model = getattr(board, "power_model", None)
    return None if model is None else cast("Dict[str, object]", model(frequencies_hz))


def settle(folder: str) -> bool:
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
