"""No board: this machine, held to a share of one of its cores, so that a weak device is there where none is at hand.

Its four steps are the clocks of a Le Potato (Amlogic S905X, four Cortex-A53) as a share of one core of an Apple M1 Pro
at 3030 MHz: 7-zip gives 1057 MIPS on one core of the first at 1410 MHz and 5010 on one of the second, 21 %, and its
clocks of 1200, 1000 and 667 MHz are 18, 15 and 10 % in proportion (github.com/ThomasKaiser/sbc-bench, Results.md of
June 2026). This machine is neither of the two, and a network is not 7-zip: times are emulated. Any whole share may be
asked for instead (`--frequencies 5%,50%`).

A run is held by resting after it, inside its time, until its CPU time is the share of the time that has passed. Where a
cgroup with a quota may be made the kernel holds it back meanwhile, too. What is not timed is not held.

Its power is a formula, `POWER_TOLD`: as a board's that draws 1.5 W at rest and 4 W at its highest clock, with voltage
in proportion to the clock. It is modelled, and of use only where nothing is measured.
"""

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Callable, Dict, Iterable, Iterator, List, Optional, TypeVar

from dime.contract import emulation
from dime.contract.errors import DeviceError
from dime.device.boards import _quota, _sysfs

if TYPE_CHECKING:
    from dime.device.boards import Facts

Input = TypeVar("Input")
Output = TypeVar("Output")

SWEEPS = True
ORIGIN = "emulated"
PROCESSOR = "cpu"
SHARES_PERCENT = (10, 15, 18, 21)
IDLE_W, BUSY_W, HIGHEST_PERCENT = 1.5, 2.5, 21
POWER_TOLD = "({} W + {} W x (share / {} %)^3) x time".format(IDLE_W, BUSY_W, HIGHEST_PERCENT)
HELD = "share of a core"
WAKING_S = 0.0003  # A sleep may take so much longer; the end of a rest is waited for awake.


class _State(object):
    held_hz: Optional[int] = None


def frequencies_hz(root: str = "/") -> List[int]:
    """The four shares; of another tree than this machine's only where a quota may be set there."""
    if root != "/" and _quota.groups(root) is None:
        return []
    return [share * emulation.HZ_A_PERCENT for share in SHARES_PERCENT]


def accepts(frequency_hz: int) -> bool:
    """Whether a frequency stands for a share that may be asked for."""
    return emulation.percent(frequency_hz) is not None


@contextmanager
def fixed(frequency_hz: int, root: str = "/", ledger: Optional[str] = None) -> Iterator[Callable[[], List[int]]]:
    """Sets a quota for the share, where one may be set; see `dime.device.boards`. -1 changes nothing.

    Raises:
        DeviceError: It stands for no share, or the quota does not stick.
    """
    if frequency_hz == -1:
        yield lambda: []
        return
    share = _share(frequency_hz)
    _State.held_hz = frequency_hz
    try:
        found = _quota.groups(root)
        if found is None:
            yield lambda: [frequency_hz]
            return
        with _quota.held(found, share) as verify:

            def read() -> List[int]:
                verify()
                return [frequency_hz]

            yield read
    finally:
        _State.held_hz = None


def slowed(run: "Callable[[Input], Output]", frequency_hz: int) -> "Callable[[Input], Output]":
    """What is timed, as it is timed here: each call rests until its CPU time is the share of the time it took.

    Args:
        run: What a call does.
        frequency_hz: What the share stands as; -1 for all of the machine.

    Raises:
        DeviceError: It stands for no share.
    """
    if frequency_hz == -1:
        return run
    share = _share(frequency_hz)

    def held(value: "Input") -> "Output":
        start_s, used_s = time.monotonic(), time.process_time()
        output = run(value)
        until_s = start_s + (time.process_time() - used_s) / share
        rest_s = until_s - time.monotonic() - WAKING_S
        if rest_s > 0:
            time.sleep(rest_s)
        while time.monotonic() < until_s:
            pass
        return output

    return held


def power_model(frequencies: Iterable[int]) -> Dict[str, object]:
    """What the stand-in is taken to draw by `POWER_TOLD`: watts at each frequency and at rest, and the words for it."""
    shares = [(hz, emulation.percent(hz)) for hz in frequencies]
    watts = {str(hz): IDLE_W + BUSY_W * (share / float(HIGHEST_PERCENT)) ** 3 for hz, share in shares if share}
    return {"watts": watts, "idle_watts": IDLE_W, "told": POWER_TOLD}


def describe(root: str = "/") -> "Facts":
    """The machine as it is now, with what it is held to, as hertz."""
    facts = _sysfs.describe(root)
    facts["clocks_hz"] = {HELD: _State.held_hz} if _State.held_hz else {}
    return facts


def _share(frequency_hz: int) -> float:
    found = emulation.percent(frequency_hz)
    if found is None:
        raise DeviceError("{} Hz stands for no share of a core from 1 % to 100 %".format(frequency_hz))
    return found / 100.0
