"""clock.json -> offset and drift between the device's clock and the logger's, with an error bar; and a second opinion.

The first comes from exchanges of four timestamps over the network, before, during and after the run. The second needs
no network: the device was idle and busy in a pseudo-random code, which is found again in the power.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np

from dime.contract import schemas
from dime.contract.errors import TableError
from dime.contract.power_protocol import offset_ns
from dime.contract.run import CLOCK
from dime.host.metering.api import FLOAT
from dime.host.metering.integrate import Integral
from dime.host.metering.meter_timebase import INTEGERS, MAX_DRIFT
from dime.host.metering.power_trace import Trace
from dime.host.metering.suspends import STOOD_STILL_S

if TYPE_CHECKING:
    from dime.contract.timebase import ClockSession

COVER_95 = NormalDist().inv_cdf(0.975)
# Chance that a code is "found" in a trace which does not hold it.
FALSE_ALARM = 1e-3
_FINE = 50


@dataclass(frozen=True)
class Clock:
    """A straight line from the device's clock to the logger's.

    Attributes:
        source: ``exchanges``, ``pattern`` or ``same machine``.
        reference_ns: The device's time at which `offset_ns` holds.
        offset_ns: The logger's time minus the device's, there.
        drift: By how much the logger's clock runs faster.
        offset_variance_s2: Variance of the offset at the reference, as far as it is random.
        drift_variance: Variance of the drift.
        floor_s: Standard uncertainty that no repetition reduces: how unequal the two ways of an exchange may be.
    """

    source: str
    reference_ns: int
    offset_ns: int
    drift: float
    offset_variance_s2: float
    drift_variance: float
    floor_s: float

    def logger_ns(self, device_ns: INTEGERS) -> INTEGERS:
        """The device's times -> the logger's."""
        past_ns = device_ns - self.reference_ns
        return np.asarray(device_ns + self.offset_ns + np.rint(self.drift * past_ns).astype(np.int64), dtype=np.int64)

    def error_s(self, device_ns: INTEGERS) -> FLOAT:
        """Standard uncertainty of `logger_ns`."""
        past_s = (device_ns - self.reference_ns) * 1e-9
        variance = self.offset_variance_s2 + self.drift_variance * past_s**2 + self.floor_s**2
        return np.asarray(np.sqrt(variance), dtype=np.float64)

    def report(self, device_ns: int) -> dict[str, object]:
        """Plain values for a quality file; the 95 % half-width is that at ``device_ns``."""
        return {
            "source": self.source,
            "reference_ns": self.reference_ns,
            "offset_ns": self.offset_ns,
            "drift": self.drift,
            "half_width_95_s": COVER_95 * float(self.error_s(np.array([device_ns]))[0]),
        }


def line(source: str, device_ns: Sequence[int], offsets_ns: Sequence[int], errors_s: FLOAT, floor_s: float) -> Clock:
    """Fits a line through offsets by weighted least squares.

    That two quartz clocks differ by less than `meter_clock.MAX_DRIFT` counts as one more measurement, of the drift; so
    one offset is enough, and its uncertainty grows with the distance in time. If the offsets scatter more than their
    errors say, the errors are enlarged accordingly (Birge's ratio).

    Args:
        source: Where the offsets come from.
        device_ns: Their times on the device's clock.
        offsets_ns: The offsets.
        errors_s: Their standard uncertainties.
        floor_s: The uncertainty that they share.

    Returns:
        The clock.
    """
    weights = 1 / errors_s**2
    reference_ns = round(float(np.average(np.array(device_ns) - device_ns[0], weights=weights))) + device_ns[0]
    past_s = np.array([time_ns - reference_ns for time_ns in device_ns]) * 1e-9
    rest_s = np.array([offset - offsets_ns[0] for offset in offsets_ns]) * 1e-9
    normal = np.array([[weights.sum(), weights @ past_s], [weights @ past_s, weights @ past_s**2 + 3 / MAX_DRIFT**2]])
    covariance = np.linalg.inv(normal)
    offset_s, drift = covariance @ np.array([weights @ rest_s, (weights * past_s) @ rest_s])
    residues = rest_s - offset_s - drift * past_s
    scatter = max(1.0, float(weights @ residues**2) / max(len(device_ns) - 2, 1))
    offset = offsets_ns[0] + round(offset_s * 1e9)
    return Clock(
        source, reference_ns, offset, float(drift), covariance[0, 0] * scatter, covariance[1, 1] * scatter, floor_s
    )


def from_exchanges(bursts: Sequence[Sequence[Sequence[int]]]) -> Clock:
    """Fits the clock to exchanges.

    Args:
        bursts: Groups of exchanges made within moments, each exchange being (t1, t2, t3, t4); of each group the
            quickest counts. An offset lies within half its round trip, wherever the delay arose.

    Returns:
        The clock.

    Raises:
        TableError: There are no exchanges, or one contradicts itself.
    """
    best = []
    for burst in bursts:
        for sent, received, answered, back in burst:
            if back < sent or answered < received or back - sent < answered - received:
                raise TableError("an exchange of timestamps contradicts itself: a clock was set during the run")
        if burst:
            best.append(min(burst, key=lambda exchange: offset_ns(exchange)[1]))
    if not best:
        raise TableError("there are no exchanges of timestamps")
    offsets, bounds = zip(*(offset_ns(exchange) for exchange in best), strict=True)
    middles = [(exchange[0] + exchange[3]) // 2 for exchange in best]
    steps_s, apart_s = np.abs(np.diff(np.array(offsets) - offsets[0])) * 1e-9, np.abs(np.diff(middles)) * 1e-9
    stood = np.flatnonzero(steps_s > STOOD_STILL_S + MAX_DRIFT * apart_s + np.array([*bounds[1:]]) * 2e-9)
    if len(stood):
        raise TableError(
            f"one of the two clocks stood still for {steps_s[stood[0]]:.1f} s during the run: did this computer, or the"
            " device, sleep? times before and after do not belong together; keep it awake and measure again"
        )
    errors_s = np.maximum(np.array(bounds), 1000) * 1e-9 / math.sqrt(3)
    return line("exchanges", middles, offsets, errors_s, float(errors_s.min()))


def same_machine(trace: Trace, boot_id: str | None) -> Clock | None:
    """The clock of a device that is the logger's own machine: known exactly. None if it is another one."""
    host = trace.host_clock
    if not boot_id or host.get("boot_id") != boot_id or "unix_minus_monotonic_ns" not in host:
        return None
    return Clock("same machine", 0, int(host["unix_minus_monotonic_ns"]), 0.0, 0.0, 0.0, 1e-6)


@dataclass(frozen=True)
class Found:
    """A code found in a trace.

    Attributes:
        device_ns: The middle of the code, on the device's clock.
        offset_ns: The logger's time minus the device's.
        error_s: Standard uncertainty.
        correlation: Of the power with the code, at the best place.
    """

    device_ns: int
    offset_ns: int
    error_s: float
    correlation: float


def find_code(trace: Trace, busy_ns: Sequence[Sequence[int]]) -> Found | None:
    """Looks for a load pattern in the whole trace.

    The normalised correlation gives the place; least squares of the power against the busy share of each reading's
    period gives the fraction of a period. The error is what the curvature of its sum of squares says, together with
    that of as many edges, each of which is known to lie between two readings.

    Args:
        trace: The power.
        busy_ns: The busy times (start, end) of the code on the device's clock, rising.

    Returns:
        Where it is; None if it is not there, or not clearly so.
    """
    if len(busy_ns) < 4 or not trace.period_s > 0:
        return None
    origin_ns = busy_ns[0][0]
    edges_s = np.array([(edge - origin_ns) * 1e-9 for pair in busy_ns for edge in pair])
    step_s = trace.period_s
    integral = Integral(trace)
    # A guard of one chip on both sides, so that the first and the last edge count, too.
    guard_s = float(np.median(np.diff(edges_s)))
    length = int((edges_s[-1] + 2 * guard_s) / step_s)
    grid_s = np.arange(trace.time_s[0], trace.time_s[-1], step_s)
    power = np.diff(integral.energy_j(grid_s)) / step_s
    if step_s <= 0 or len(power) <= length or length < len(busy_ns):
        return None
    resolution_w = float(np.median(trace.step)) / (1 if trace.kind == "power" else step_s)
    if np.ptp(power) < resolution_w:
        return None
    template = np.diff(_busy_s(edges_s, np.linspace(0.0, length * step_s, length + 1) - guard_s)) / step_s
    correlation = _correlate(power, template)
    best = int(np.argmax(correlation))
    strength = float(np.clip(correlation[best], -0.999999, 0.999999))
    # Half of a random code's stretches are one chip long; a device that was held up makes some shorter than that.
    chips = max(4, int(edges_s[-1] / np.quantile(np.diff(edges_s), 0.25)))
    places = len(correlation) * step_s / guard_s
    if places * (1 - NormalDist().cdf(math.atanh(strength) * math.sqrt(chips - 3))) > FALSE_ALARM:
        return None
    coarse_s = grid_s[best] + guard_s
    shift_s, error_s = _refine(trace, edges_s, coarse_s, step_s, guard_s)
    error_s = math.hypot(error_s, step_s / math.sqrt(12 * len(edges_s)))
    middle_ns = origin_ns + int(edges_s[-1] / 2 * 1e9)
    logger_start_ns = trace.epoch_ns + round((coarse_s + shift_s) * 1e9)
    return Found(middle_ns, logger_start_ns - origin_ns, error_s, strength)


def _busy_s(edges_s: FLOAT, time_s: FLOAT) -> FLOAT:
    """Busy time up to each moment."""
    spent = np.append(0.0, np.cumsum(np.where(np.arange(len(edges_s) - 1) % 2 == 0, np.diff(edges_s), 0.0)))
    return np.asarray(np.interp(time_s, edges_s, spent))


def _correlate(power: FLOAT, template: FLOAT) -> FLOAT:
    """Pearson's correlation of the template with every stretch of the power."""
    length, size = len(template), 1 << (len(power) + len(template)).bit_length()
    centred, shape = power - power.mean(), template - template.mean()
    product = np.fft.irfft(np.fft.rfft(centred, size) * np.conj(np.fft.rfft(shape, size)), size)
    sums, squares = (np.append(0.0, np.cumsum(values)) for values in (centred, centred**2))
    total, square = sums[length:] - sums[:-length], squares[length:] - squares[:-length]
    spread = np.sqrt(np.maximum(square - total**2 / length, 1e-12 * square.max() + 1e-300) * (shape @ shape))
    return np.asarray(product[: len(spread)] / spread)


def _refine(trace: Trace, edges_s: FLOAT, coarse_s: float, step_s: float, guard_s: float) -> tuple[float, float]:
    """Fits the shift within two readings of the coarse place; returns it with its standard uncertainty."""
    low, high = np.searchsorted(trace.time_s, (coarse_s - guard_s, coarse_s + edges_s[-1] + guard_s))
    time_s, value = trace.time_s[low:high], trace.value[low:high]
    if trace.kind == "energy":
        value = np.diff(value) / np.diff(time_s)
        time_s = 0.5 * (time_s[1:] + time_s[:-1])
    shifts_s = np.arange(-2 * _FINE, 2 * _FINE + 1) * step_s / _FINE
    squares = np.empty(len(shifts_s))
    centred = value - value.mean()
    for place, shift_s in enumerate(shifts_s):
        since_s = time_s - coarse_s - shift_s
        share = _busy_s(edges_s, since_s + step_s / 2) - _busy_s(edges_s, since_s - step_s / 2)
        share = share - share.mean()
        squares[place] = max(centred @ centred - (centred @ share) ** 2 / max(share @ share, 1e-300), 0.0)
    best = int(np.argmin(squares))
    near = slice(max(0, best - _FINE // 2), best + _FINE // 2 + 1)
    curve = np.polyfit(shifts_s[near] - shifts_s[best], squares[near], 2)
    variance_w2 = squares[best] / max(len(value) - 3, 1)
    if curve[0] <= 0:
        return float(shifts_s[best]), step_s
    shift_s = float(shifts_s[best]) - curve[1] / (2 * curve[0])
    return float(shift_s), min(math.sqrt(variance_w2 / curve[0]), step_s)


def from_codes(found: Sequence[Found]) -> Clock:
    """Fits the clock to codes found in the trace."""
    errors_s = np.array([one.error_s for one in found])
    times, offsets = [one.device_ns for one in found], [one.offset_ns for one in found]
    return line("pattern", times, offsets, errors_s, 0.0)


def disagreement(clock: Clock, found: Found, trace: Trace) -> tuple[float, float]:
    """Compares the two opinions.

    Returns:
        The code's place minus the clock's, and the sum of both 95 % half-widths, in seconds. The trace's own time error
        stands between the two.
    """
    at = np.array([found.device_ns])
    difference_s = (found.device_ns + found.offset_ns - int(clock.logger_ns(at)[0])) * 1e-9
    return difference_s, COVER_95 * (float(clock.error_s(at)[0]) + math.hypot(found.error_s, trace.clock_error_s))


def _check_session(session: ClockSession) -> None:
    """Makes sure that a session of clock.json has the form in which the device side writes it.

    Raises:
        ValueError: It has not; KeyError and TypeError where a part is missing or of another kind.
    """
    if not (_are_whole([session["start_ns"]]) and isinstance(session.get("boot_id"), str | None)):
        raise ValueError("a session's start_ns or boot_id")
    if not all(len(exchange) == 4 and _are_whole(exchange) for burst in session["bursts"] for exchange in burst):
        raise ValueError("an exchange is not four whole numbers")
    for log in session["logs"]:
        if not (isinstance(log["file"], str) and len(log["file"]) <= 255 and _are_whole([log["frequency_hz"]])):
            raise ValueError("a log's file or frequency_hz")
        windows = [*log["idle_ns"], *(window for code in log["codes"] for window in code["busy_ns"])]
        if not all(len(window) == 2 and _are_whole(window) for window in windows):
            raise ValueError("a window is not two whole numbers")


def _are_whole(values: Sequence[object]) -> bool:
    return all(isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**62 for value in values)


def read(folder: Path) -> list[ClockSession]:
    """Reads the sessions of a run's clock.json; none if there is no such file.

    Raises:
        TableError: It is damaged.
    """
    path = folder / CLOCK
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
        schemas.version(schemas.CLOCK, said, path)
        sessions = said["sessions"]
        for one in sessions:
            _check_session(one)
    except FileNotFoundError:
        return []
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise TableError(f"{path} is damaged: {error}") from None
    return list(sessions)
