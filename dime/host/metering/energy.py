"""A trace and windows -> the joules of each window, and how far each may be off.

Power is taken to be linear between two readings; energy counters, to rise linearly. One cumulative sum over the trace
gives the integral from its beginning to any moment, and a window's energy is a difference of two of them: exact for the
interpolated power, whatever lies between the readings and the window's edges.

Where the load steps up or down at an edge, interpolation smears the step over the reading interval h in which it lies,
at a place unknown. Part of the window's energy is then counted outside, and added back here: for a step of dP on
average (h/6) dP with counters or readings of a moment (the mean of max(0, x) over a hat function of half-width h), and
(h/5) dP with readings that are means over the period (the hat smeared by a box of width h). How a power meter averages
is between the two; what is not known of it is carried as uncertainty.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dime.host.metering.meter_clock import INTEGERS
from dime.host.metering.meters._base import FLOAT
from dime.host.metering.power_trace import Trace

EDGE_SHARE = {"power": (1 / 6 + 1 / 5) / 2, "energy": 1 / 6}
EDGE_SHARE_ERROR = {"power": (1 / 5 - 1 / 6) / np.sqrt(12), "energy": 0.0}
# Mean of the absolute value of a standard normal variable.
HALF_NORMAL_MEAN = float(np.sqrt(2 / np.pi))
REJECTIONS = (
    "shorter than the meter's period",
    "before the log began",
    "after the log ended",
    "across a break in the log",
    "channel off",
    "no reading inside",
)


@dataclass(frozen=True)
class Energies:
    """One entry a window.

    Attributes:
        energy_j: Energy, including `edge_j` and what windows displaced by the clocks' uncertainty lose on average.
        edge_j: What was added for the steps at its edges.
        sampling_j: Standard uncertainty of `edge_j`: how the meter averages is not known.
        resolution_j: Standard uncertainty because values are cut to whole steps, as far as noise does not even it out.
        early_j: Change of the energy if the window lay earlier by the clocks' standard uncertainty.
        late_j: The same, later.
        samples: Readings inside.
        rejected: Why there is no energy; empty where there is.
    """

    energy_j: FLOAT
    edge_j: FLOAT
    sampling_j: FLOAT
    resolution_j: FLOAT
    early_j: FLOAT
    late_j: FLOAT
    samples: INTEGERS
    rejected: NDArray[np.str_]


def without(energies: Energies, rows: NDArray[np.bool_], reason: str) -> Energies:
    """The same without the energies of some rows, for a reason that is not the trace's."""
    if not rows.any():
        return energies
    known = {
        name: np.where(rows, np.nan, values) if values.dtype.kind == "f" else values
        for name, values in vars(energies).items()
    }
    return Energies(**known | {"rejected": np.where(rows, reason, energies.rejected)})


class Integral:
    """Energy from a trace's beginning to any moment, and the power at that moment."""

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self.spacing_s = np.diff(trace.time_s)
        if trace.kind == "power":
            trapezia = 0.5 * (trace.value[1:] + trace.value[:-1]) * self.spacing_s
            self._sum_j = np.append(0.0, np.cumsum(trapezia))
            self._slope = np.diff(trace.value) / self.spacing_s
            self._power_w = trace.value
        else:
            self._sum_j = trace.value - trace.value[0]
            self._power_w = np.diff(trace.value) / self.spacing_s
            self._slope = np.zeros(len(self.spacing_s))

    def interval(self, time_s: FLOAT) -> NDArray[np.intp]:
        """Index of the reading before each moment, so that there is always one after it."""
        return np.clip(np.searchsorted(self.trace.time_s, time_s, side="right") - 1, 0, len(self.spacing_s) - 1)

    def energy_j(self, time_s: FLOAT) -> FLOAT:
        place = self.interval(time_s)
        past_s = time_s - self.trace.time_s[place]
        return np.asarray(self._sum_j[place] + past_s * (self._power_w[place] + 0.5 * past_s * self._slope[place]))

    def power_w(self, time_s: FLOAT) -> FLOAT:
        place = self.interval(time_s)
        past_s = time_s - self.trace.time_s[place]
        return np.asarray(self._power_w[place] + past_s * self._slope[place])


def measure(trace: Trace, start_ns: INTEGERS, end_ns: INTEGERS, clock_error_s: FLOAT | float) -> Energies:
    """Measures the energy of windows.

    Args:
        trace: The power.
        start_ns: Where the windows begin, on the trace's clock (the logger's).
        end_ns: Where they end.
        clock_error_s: Standard uncertainty of these edges against the trace, the same for all edges of a window.

    Returns:
        The energies; NaN where a window is rejected.
    """
    whole = Integral(trace)
    start_s, end_s = trace.seconds(start_ns), trace.seconds(end_ns)
    first, last = whole.interval(start_s), whole.interval(end_s)
    time_s, rows = trace.time_s, len(trace.time_s)
    inside_from, inside_to = np.searchsorted(time_s, start_s, "left"), np.searchsorted(time_s, end_s, "right")
    samples = np.maximum(inside_to - inside_from, 0)
    off = np.append(0, np.cumsum(~trace.on))
    rejected = np.select(
        [
            ~(end_s - start_s >= trace.period_s),
            start_s < time_s[0],
            end_s > time_s[-1],
            trace.segment[first] != trace.segment[np.minimum(last + 1, rows - 1)],
            off[np.minimum(last + 2, rows)] > off[first],
            samples < 1,
        ],
        REJECTIONS,
        "",
    )
    energy_j = whole.energy_j(end_s) - whole.energy_j(start_s)
    edge_j, steps_j = _edges(whole, start_s, end_s, first, last)
    shift_s = np.broadcast_to(np.asarray(clock_error_s, dtype=np.float64), start_s.shape)
    early_j = whole.energy_j(end_s - shift_s) - whole.energy_j(start_s - shift_s) - energy_j
    late_j = whole.energy_j(end_s + shift_s) - whole.energy_j(start_s + shift_s) - energy_j
    resolution_j = _resolution_w(trace, inside_from, inside_to) * (end_s - start_s)

    def known(values: FLOAT) -> FLOAT:
        return np.where(rejected == "", values, np.nan)

    return Energies(
        energy_j=known(energy_j + edge_j - HALF_NORMAL_MEAN * (late_j + early_j) / 2),
        edge_j=known(edge_j),
        sampling_j=known(np.abs(steps_j) * EDGE_SHARE_ERROR[trace.kind]),
        resolution_j=known(resolution_j),
        early_j=known(early_j),
        late_j=known(late_j),
        samples=samples,
        rejected=rejected,
    )


def _edges(
    whole: Integral, start_s: FLOAT, end_s: FLOAT, first: NDArray[np.intp], last: NDArray[np.intp]
) -> tuple[FLOAT, FLOAT]:
    """Energy that interpolation counts outside the windows, and the sum of h dP that it is a share of."""
    trace = whole.trace
    breaks = np.flatnonzero(np.diff(trace.segment)) + 1
    begins, ends = np.append(0, breaks), np.append(breaks, len(trace.time_s)) - 1
    part = np.searchsorted(breaks, first, side="right")
    middle_s = 0.5 * (start_s + end_s)
    steps_j = np.zeros(len(start_s))
    for edge_s, place, inwards in ((start_s, first, 1), (end_s, last, -1)):
        spacing_s = whole.spacing_s[place]
        inside_s, outside_s = edge_s + inwards * spacing_s, edge_s - inwards * spacing_s
        inside_s = np.minimum(inside_s, middle_s) if inwards > 0 else np.maximum(inside_s, middle_s)
        outside_s = np.clip(outside_s, trace.time_s[begins[part]], trace.time_s[ends[part]])
        steps_j += spacing_s * (whole.power_w(inside_s) - whole.power_w(outside_s))
    return EDGE_SHARE[trace.kind] * steps_j, steps_j


def _resolution_w(trace: Trace, begin: NDArray[np.intp], end: NDArray[np.intp]) -> FLOAT:
    """Standard uncertainty of a window's mean power from values cut to steps of d: d/sqrt(12) exp(-2 pi^2 s^2/d^2).

    A steady load is off by the same part of a step in every reading. Noise of standard deviation s moves readings
    across the steps and evens that out; this is an upper bound of the mean's error then (Widrow and Kollár,
    Quantization Noise, 2008: the first harmonic of the quantiser's error, all others decay faster).
    """
    if trace.kind != "power":
        return np.zeros(len(begin))
    centred = trace.value - trace.value.mean()
    sums = [np.append(0.0, np.cumsum(values)) for values in (centred, centred**2, trace.step)]
    count = np.maximum(end - begin, 1)
    mean, square, step = ((total[end] - total[begin]) / count for total in sums)
    variance = np.maximum((square - mean**2) * count / np.maximum(count - 1, 1) - step**2 / 12, 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        evened = np.where(step > 0, np.exp(-2 * np.pi**2 * variance / step**2), 0.0)
    return np.asarray(step / np.sqrt(12) * evened)
