"""Loads whose energy is known exactly: power that is constant between moments at which it changes."""

from __future__ import annotations

import threading
import time
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

BUSY = b"device\0busy"  # in the command line of the doctor's load


class Load:
    """Power over time; changes are appended as they happen.

    Args:
        idle_w: Power before the first change.
    """

    def __init__(self, idle_w: float) -> None:
        self.idle_w = idle_w
        self._times_s: list[float] = [-1e18]
        self._powers_w: list[float] = [idle_w]

    @classmethod
    def of(cls, idle_w: float, times_s: Sequence[float], powers_w: Sequence[float]) -> Load:
        """Makes a load whose changes are all known; times must rise."""
        load = cls(idle_w)
        load._times_s += list(times_s)
        load._powers_w += list(powers_w)
        return load

    def change(self, time_s: float, power_w: float) -> None:
        """Sets the power from a moment on, which must not lie before the last change."""
        self._powers_w.append(power_w)  # first, for whoever reads meanwhile
        self._times_s.append(time_s)

    def power_w(self, time_s: float) -> float:
        return self._powers_w[bisect_right(self._times_s, time_s) - 1]

    def powers_w(self, time_s: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.array(self._powers_w)[np.searchsorted(self._times_s, time_s, "right") - 1]

    def energy_j(self, start_s: float, end_s: float) -> float:
        """The exact integral."""
        first, last = bisect_right(self._times_s, start_s), bisect_right(self._times_s, end_s)
        edges = [start_s, *self._times_s[first:last], end_s]
        powers = self._powers_w[first - 1 : last]
        return sum(power * (b - a) for power, a, b in zip(powers, edges, edges[1:], strict=False))


@contextmanager
def doctors_load(load: Load) -> Iterator[None]:
    """Lets the power double while the doctor's own program keeps the board's processors busy."""
    over = threading.Event()

    def is_busy() -> bool:
        for place in Path("/proc").glob("[0-9]*/cmdline"):
            with suppress(OSError):
                if BUSY in place.read_bytes():
                    return True
        return False

    def follow() -> None:
        while not over.wait(0.1):
            power_w = load.idle_w * (2 if is_busy() else 1)
            if power_w != load.power_w(time.monotonic()):
                load.change(time.monotonic(), power_w)
        load.change(time.monotonic(), load.idle_w)

    thread = threading.Thread(target=follow)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
