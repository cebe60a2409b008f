"""A computer that sleeps in mid run: noticed, and what lies on either side told apart.

A monotonic clock stands still while its computer sleeps. Where the logger slept, its log says so, since the time since
boot went on; where the device did, or the log does not say, the exchanges of timestamps jump.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

from dime.contract.errors import TableError
from dime.contract.power_protocol import offset_ns
from dime.host.metering.meter_timebase import MAX_DRIFT
from dime.host.metering.quality import PowerQuality

# No network and no quartz explains this between two exchanges.
STOOD_STILL_S = 0.5
# The two clocks of one computer are read one after the other; less than this is no sleep.
LEAST_SLEEP_S = 0.05
MOST_SLEEPS = 1000
EVER_NS = 1 << 62


def asleep_ns() -> int:
    """For how long this computer has slept since it booted; it only grows. 0 where the kernel does not say."""
    boot = getattr(time, "CLOCK_BOOTTIME", None)
    return 0 if boot is None else time.clock_gettime_ns(boot) - time.clock_gettime_ns(time.CLOCK_MONOTONIC)


class Watch:
    """Notices that this computer has slept."""

    def __init__(self) -> None:
        self._asleep_ns = asleep_ns()

    def slept_s(self) -> float:
        """For how long it has slept since this was asked last; 0.0 if it has not."""
        before_ns, self._asleep_ns = self._asleep_ns, asleep_ns()
        passed_s = (self._asleep_ns - before_ns) * 1e-9
        return passed_s if passed_s > LEAST_SLEEP_S else 0.0


@dataclass(frozen=True)
class Sleep:
    """A sleep of the logger's computer, as its log tells.

    Attributes:
        before_ns: The last row before it, on the logger's clock.
        after_ns: The first row after it.
        slept_s: How long it was.
    """

    before_ns: int
    after_ns: int
    slept_s: float


def sleeps(quality: PowerQuality, name: str) -> tuple[Sleep, ...]:
    """Reads the sleeps that a log's quality file tells.

    Raises:
        TableError: They are damaged.
    """
    given = quality.get("sleeps", [])
    try:
        found = [Sleep(one["before_ns"], one["after_ns"], float(one["slept_s"])) for one in given]
        good = len(found) <= MOST_SLEEPS and all(
            type(one.before_ns) is type(one.after_ns) is int
            and -EVER_NS < one.before_ns <= one.after_ns < EVER_NS
            and 0 < one.slept_s < math.inf
            for one in found
        )
    except (KeyError, TypeError, ValueError):
        good = False
    if not good:
        raise TableError(f"{name}: the quality file's sleeps are none")
    return tuple(sorted(found, key=lambda one: one.before_ns))


@dataclass(frozen=True)
class Anchor:
    """A moment at which both clocks are known.

    Attributes:
        device_ns: The device's clock.
        offset_ns: The logger's minus it.
        bound_s: By how much that may be off.
    """

    device_ns: int
    offset_ns: int
    bound_s: float


@dataclass(frozen=True)
class Break:
    """A stretch of the device's time in which one of the two clocks stood still, at a moment that is not known better.

    Attributes:
        after_ns: What ends by then lies before it.
        before_ns: What begins from then on lies after it.
        stood_s: How long the clock stood still.
        who: ``this computer`` or ``the device``.
    """

    after_ns: int
    before_ns: int
    stood_s: float
    who: str

    @property
    def told(self) -> str:
        """What happened, in one line."""
        return (
            f"{self.who} slept for {self.stood_s:.1f} s during the run; what lies on either side was joined by itself"
        )


def of_bursts(bursts: Sequence[Sequence[Sequence[int]]]) -> list[Anchor]:
    """The quickest exchange of each burst."""
    best = [min(burst, key=lambda exchange: offset_ns(exchange)[1]) for burst in bursts if burst]
    return [Anchor((one[0] + one[3]) // 2, offset_ns(one)[0], offset_ns(one)[1] * 1e-9) for one in best]


def breaks(anchors: Sequence[Anchor], known: Sequence[Sleep]) -> list[Break]:
    """Finds where one of the clocks stood still.

    Args:
        anchors: Moments at which both clocks are known.
        known: Sleeps that the log tells; they also say where between two anchors the logger slept.

    Returns:
        The breaks, rising; between two anchors there is at most one.
    """
    found = []
    ordered = sorted(anchors, key=lambda one: one.device_ns)
    for one, other in itertools.pairwise(ordered):
        ends_ns = one.device_ns + one.offset_ns, other.device_ns + other.offset_ns
        inside = [sleep for sleep in known if ends_ns[0] < sleep.after_ns and sleep.before_ns < ends_ns[1]]
        step_s = (other.offset_ns - one.offset_ns) * 1e-9
        apart_s = (other.device_ns - one.device_ns) * 1e-9
        jumped = abs(step_s) > STOOD_STILL_S + MAX_DRIFT * apart_s + one.bound_s + other.bound_s
        if not jumped and not inside:
            continue
        after_ns, before_ns = one.device_ns, other.device_ns
        if inside and step_s < 0 and abs(step_s + sum(sleep.slept_s for sleep in inside)) < STOOD_STILL_S:
            # The logger alone slept: its last row before and its first row after lie as near as can be known. By how
            # much the clocks may have drifted apart since the anchors is kept away from.
            slack_ns = round((MAX_DRIFT * apart_s + one.bound_s + other.bound_s) * 1e9)
            after_ns = max(after_ns, inside[0].before_ns - one.offset_ns - slack_ns)
            before_ns = min(before_ns, inside[-1].after_ns - other.offset_ns + slack_ns)
        who = "this computer" if step_s < 0 or inside else "the device"
        stood_s = abs(step_s) if jumped else sum(sleep.slept_s for sleep in inside)
        found.append(Break(after_ns, before_ns, stood_s, who))
    return found


def stretches(found: Sequence[Break]) -> list[tuple[int, int]]:
    """The device's times between breaks: (from, to) of each, the first without a beginning, the last without an end."""
    begins = [-EVER_NS, *(one.before_ns for one in found)]
    ends = [*(one.after_ns for one in found), EVER_NS]
    return list(zip(begins, ends, strict=True))
