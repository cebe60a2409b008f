"""The one clock that a device's measurements, its power log and the exchange with the host's clock are written in."""

import time


def monotonic_ns():
    """Reads the clock.

    It never runs backwards, is not set by anybody, and counts from an arbitrary point (on Linux the boot, so that all
    processes and containers of one machine share it). Where Python has only floating-point seconds the resolution is
    better than 1 us for machines that have been up for less than a century.

    Returns:
        int: Nanoseconds.
    """
    return _read()


def boot_id():
    """Names the boot of this machine: clocks of the same boot are the same clock.

    Returns:
        str: What the kernel calls it; None where it does not say.
    """
    try:
        with open("/proc/sys/kernel/random/boot_id") as stream:
            return stream.read().strip()
    except EnvironmentError:
        return None


def _seconds_ns():
    return int(time.perf_counter() * 1e9)


_read = getattr(time, "perf_counter_ns", _seconds_ns)
