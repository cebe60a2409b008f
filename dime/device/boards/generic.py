"""Any machine: its CPU's own clocks where they may be set, and otherwise none."""

from typing import TYPE_CHECKING, Callable, ContextManager, List, Optional

from dime.device.boards import _cpufreq

if TYPE_CHECKING:
    from dime.device.boards import Facts

SWEEPS = False


def frequencies_hz(root: str = "/") -> List[int]:
    """The CPU's frequencies, ascending, if it lists them and they may be set; otherwise none."""
    return _cpufreq.frequencies_hz(root)


def fixed(frequency_hz: int, root: str = "/", ledger: Optional[str] = None) -> ContextManager[Callable[[], List[int]]]:
    """Fixes all CPUs at a frequency; see `dime.device.boards`."""
    return _cpufreq.fixed(frequency_hz, root, ledger)


def move(frequency_hz: int, root: str = "/") -> None:
    """Moves all CPUs to another frequency inside `fixed`; see `dime.device.boards`."""
    _cpufreq.move(frequency_hz, root)


def describe(root: str = "/") -> "Facts":
    """The machine as it is now; see `dime.device.boards`."""
    return _cpufreq.describe(root)
