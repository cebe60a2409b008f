"""Jetson Nano (JetPack 4): the GPU's clock of twelve steps, under devfreq."""

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Callable, Iterator, List, Optional

from dime.contract.errors import DeviceError
from dime.device.boards import _cpufreq, _sysfs

if TYPE_CHECKING:
    from dime.device.boards import Facts

SWEEPS = True
HOST = {"image": "dime-jetson", "platform": "linux/arm64", "runtime": "nvidia", "set_clock": True}
WITHOUT_KERNELS = (
    "type: make build DEVICE=nano TORCH=1.10, whose wheel holds kernels for sm_53, then profile again; "
    "or measure the CPU: --processor cpu"
)
GPU = "sys/devices/57000000.gpu"
DEVFREQ = GPU + "/devfreq/57000000.gpu"
RAIL_GATE = GPU + "/railgate_enable"
POWER_MODE = "var/lib/nvpmodel/status"
EMC = ("sys/kernel/debug/clk/override.emc/clk_rate", "sys/kernel/debug/clk/emc/clk_rate")
STEPS_HZ = tuple(76800000 * step for step in range(1, 13))


def _clock(root: str) -> _sysfs.Clock:
    return _sysfs.Clock.devfreq(os.path.join(root, DEVFREQ))


def frequencies_hz(root: str = "/") -> List[int]:
    """The GPU's steps, ascending, if they may be set; otherwise none."""
    clock = _clock(root)
    return (clock.steps_hz() or list(STEPS_HZ)) if clock.writable() else []


@contextmanager
def fixed(frequency_hz: int, root: str = "/", ledger: Optional[str] = None) -> Iterator[Callable[[], List[int]]]:
    """Fixes the GPU's clock and keeps its rail powered; see `dime.device.boards`. -1 changes nothing.

    Raises:
        DeviceError: There is no such clock, it may not be set, or does not stick.
    """
    if frequency_hz == -1:
        yield lambda: []
        return
    clock, rail_gate = _clock(root), os.path.join(root, RAIL_GATE)
    with _sysfs.restoring([_sysfs.saved_text(rail_gate), clock.saved()], ledger):
        if os.path.exists(rail_gate):
            _sysfs.write(rail_gate, 0)
        clock.fix(frequency_hz)
        yield lambda: [clock.verify(frequency_hz)]


def move(frequency_hz: int, root: str = "/") -> None:
    """Moves the GPU's clock to another frequency inside `fixed`; see `dime.device.boards`."""
    _clock(root).fix(frequency_hz)


def describe(root: str = "/") -> "Facts":
    """The board as it is now: beside the CPU's the GPU's clock and governor, rail gate, power mode and memory clock."""
    facts = _cpufreq.describe(root)
    clock = _clock(root)
    try:
        facts["clocks_hz"][clock.path("cur_freq")] = clock.get_hz("cur")
    except DeviceError:
        pass
    facts["gpu_governor"] = _sysfs.read(clock.path("governor"))
    facts["rail_gate"] = _sysfs.read(os.path.join(root, RAIL_GATE))
    facts["power_mode"] = _sysfs.read(os.path.join(root, POWER_MODE))
    rates = [_sysfs.read(os.path.join(root, path)) for path in EMC]
    facts["emc_hz"] = next((int(rate) for rate in rates if rate and rate.isdigit()), None)
    return facts
