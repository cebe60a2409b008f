"""Boards whose one adjustable clock is the CPU's: every policy under cpufreq is fixed at the same frequency."""

import glob
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Callable, Iterable, Iterator, List, Optional

from dime.contract.errors import DeviceError
from dime.device.boards import _sysfs

if TYPE_CHECKING:
    from dime.device.boards import Facts

FASTEST = "performance"  # The governor that goes to the upper limit at once.


def clocks(root: str) -> List[_sysfs.Clock]:
    """One clock a policy; CPUs that share a policy share its folder."""
    folders = glob.glob(os.path.join(root, "sys/devices/system/cpu/cpu[0-9]*/cpufreq"))
    return [_sysfs.Clock.cpufreq(folder) for folder in sorted(set(map(os.path.realpath, folders)))]


def frequencies_hz(root: str, steps_hz: Iterable[int] = ()) -> List[int]:
    """Frequencies that every policy has, ascending; none if they may not be set.

    Args:
        root: Where sysfs is found.
        steps_hz: Those the board is known to have, for a kernel that lists none.
    """
    found = clocks(root)
    if not found or not all(clock.writable() for clock in found):
        return []
    return sorted(set.intersection(*(set(clock.steps_hz() or steps_hz) for clock in found)))


@contextmanager
def fixed(frequency_hz: int, root: str, ledger: Optional[str]) -> Iterator[Callable[[], List[int]]]:
    """Fixes all policies at a frequency and restores limits and governors; -1 changes nothing.

    Raises:
        DeviceError: The frequency is none of the board's, may not be set, or does not stick.
    """
    if frequency_hz == -1:
        yield lambda: []
        return
    found = clocks(root)
    if not found:
        raise DeviceError("no CPU clock under {}; leave --frequencies out".format(os.path.join(root, "sys")))
    entries = []
    for clock in found:
        entries += [_sysfs.saved_text(clock.path("governor")), clock.saved()]
    with _sysfs.restoring(entries, ledger):
        for clock in found:
            if FASTEST in (_sysfs.read(clock.path("available_governors")) or "").split():
                _sysfs.write(clock.path("governor"), FASTEST)
            clock.fix(frequency_hz)
        yield lambda: [clock.verify(frequency_hz) for clock in found]


def move(frequency_hz: int, root: str) -> None:
    """Moves all policies, which are fixed, to another frequency; `fixed` still restores what was before.

    Raises:
        DeviceError: It does not stick.
    """
    for clock in clocks(root):
        clock.fix(frequency_hz)


def describe(root: str) -> "Facts":
    """The board as it is now, with its CPU clocks in hertz."""
    facts = _sysfs.describe(root)
    facts["clocks_hz"] = {}
    for clock in clocks(root):
        try:
            facts["clocks_hz"][clock.path("cur_freq")] = clock.get_hz("cur")
        except DeviceError:
            pass
    return facts
