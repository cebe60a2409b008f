"""Le Potato (Libre Computer AML-S905X-CC): four Cortex-A53 with one clock of seven steps."""

from typing import TYPE_CHECKING, Callable, ContextManager, List, Optional

from dime.device.boards import _cpufreq

if TYPE_CHECKING:
    from dime.device.boards import Facts

SWEEPS = True
HOST = {"platform": "linux/arm64", "set_clock": True}
STEPS_HZ = (100000000, 250000000, 500000000, 667000000, 1000000000, 1200000000, 1512000000)


def frequencies_hz(root: str = "/") -> List[int]:
    """The steps that the kernel lists, or all seven where it lists none but lets them be set."""
    return _cpufreq.frequencies_hz(root, STEPS_HZ)


def fixed(frequency_hz: int, root: str = "/", ledger: Optional[str] = None) -> ContextManager[Callable[[], List[int]]]:
    """Fixes all CPUs at a frequency; see `dime.device.boards`."""
    return _cpufreq.fixed(frequency_hz, root, ledger)


def move(frequency_hz: int, root: str = "/") -> None:
    """Moves all CPUs to another frequency inside `fixed`; see `dime.device.boards`."""
    _cpufreq.move(frequency_hz, root)


def describe(root: str = "/") -> "Facts":
    """The board as it is now; the 1512 MHz step is known to run at about 1408 MHz."""
    return _cpufreq.describe(root)
