"""The one clock that a device's measurements, its power log and the exchange with the host's clock are written in."""

import time
from typing import TYPE_CHECKING, Dict, List, Optional

if TYPE_CHECKING:
    from typing import TypedDict  # novm

    Code = TypedDict("Code", {"where": str, "busy_ns": List[List[int]]})
    _Log = TypedDict("_Log", {"frequency_hz": int, "file": str, "idle_ns": List[List[int]], "codes": List[Code]})

    class Log(_Log, total=False):
        """One power log of a session in clock.json: when the device rested, and when it was busy in a code.

        ``idle_ns`` are stretches, from 10 s, before the first pass at the frequency and after the last.
        """

        target: float

    _Session = TypedDict(
        "_Session", {"start_ns": int, "boot_id": Optional[str], "bursts": List[List[List[int]]], "logs": List[Log]}
    )

    class ClockSession(_Session, total=False):
        """One session of clock.json; ``bursts`` are exchanges of four timestamps."""

        meter: Dict[str, str]


def monotonic_ns() -> int:
    """Reads the clock.

    It never runs backwards, is not set by anybody, and counts from an arbitrary point (on Linux the boot, so that all
    processes and containers of one machine share it). Where Python has only floating-point seconds the resolution is
    better than 1 us for machines that have been up for less than a century.

    Returns:
        int: Nanoseconds.
    """
    return _read()


def boot_id() -> Optional[str]:
    """Names the boot of this machine: clocks of the same boot are the same clock.

    Returns:
        str: What the kernel calls it; None where it does not say.
    """
    try:
        with open("/proc/sys/kernel/random/boot_id") as stream:
            return stream.read().strip()
    except EnvironmentError:
        return None


def _seconds_ns() -> int:
    return int(time.perf_counter() * 1e9)


_read = getattr(time, "perf_counter_ns", _seconds_ns)
