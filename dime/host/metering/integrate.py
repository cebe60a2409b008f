"""A trace and windows -> the joules of each window, and how far each may be off.

Power is taken to be linear between two readings; energy counters, to rise linearly. One cumulative sum over the trace
gives the integral from its beginning to any moment, and a window's energy is a difference of two of them: exact for the
interpolated power, whatever lies between the readings and the window's edges.

Where the load steps at a window's edge, interpolation smears the step over the readings beside it, and counts part of
the window's energy outside. How much follows from where the edge lies between its readings, and from whether a reading
is a value of a moment or a mean over the period before: the mean of the two is added, half their difference is
uncertainty.

A window with rest on both sides is measured without that: with a margin around it, that takes in all that is smeared,
less the margin's own energy; which holds for any meter, and for windows of little more than its period. What a meter
does not see between two readings is evened out where the windows of a bundle begin anywhere in its period; where they
do not, it is uncertainty. What is shorter than the meter can tell is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dime.host.metering.api import FLOAT
from dime.host.metering.meter_timebase import INTEGERS
from dime.host.metering.power_trace import Trace

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
# In periods of the meter: shorter windows have no reading that no edge has touched; a counter's are whole.
# Windows that stand alone are measured with their surroundings, which are to be at rest for a margin.
SEEN_INSIDE = {"power": 3.95, "energy": 1.95}
# A window does not stand alone where its surroundings change by more than this part of its own step.
UNEVEN = 0.25
# Nor where the two ways to measure it differ by more than its step for so many periods.
DISAGREE = 0.75
MARGIN = 2.0
# Windows nearer to each other than this follow each other without a rest; a rest that is too short to show its power
# hides this share of what an edge loses, and forbids windows shorter than so many periods.
TOUCHING = 0.1
BESIDE_SHARE = 0.3
BESIDE_FROM = 8
LOCKED_HARMONICS = 3
# Of phases that fall anywhere, the number of rows by the square of their mean vector's length is 1 on average, and more
# than this once in seven times.
BY_CHANCE = 2
# Neighbouring readings that differ by no more than so many of the meter's steps are of one level of the load.
SAME_LEVEL = 1.5
# What values cut to whole steps make uncertain is worked out closely from this part of the power on.
COUNTS = 1e-3
CROWDED = "too short for the meter, without rest around it"


@dataclass(frozen=True)
class Energies:
    """One entry a window.

    Attributes:
        energy_j: Energy, including `edge_j` and what windows displaced by the clocks' uncertainty lose on average.
        edge_j: What was added for the steps at its edges.
        sampling_j: Standard uncertainty of `edge_j`, signed: how the meter averages is not known, or what surrounds a
            short window is not at rest.
        alias_j: Standard deviation over all moments at which readings may fall, as far as steps lie inside: the load
            between two readings is not seen.
        phase: Where in the meter's period the window begins, 0 to 1.
        resolution_j: Standard uncertainty because values are cut to whole steps, as far as noise does not even it out.
        early_j: Change of the energy if the window lay earlier by the clocks' standard uncertainty.
        late_j: The same, later.
        samples: Readings inside.
        rejected: Why there is no energy; empty where there is.
    """

    energy_j: FLOAT
    edge_j: FLOAT
    sampling_j: FLOAT
    alias_j: FLOAT
    phase: FLOAT
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
    shift_s = np.broadcast_to(np.asarray(clock_error_s, dtype=np.float64), start_s.shape)
    periods = (end_s - start_s) / max(trace.period_s, 1e-12)
    around_s = (MARGIN + 2) * trace.period_s + 2 * shift_s
    rests = ~_crowded(start_s, end_s, around_s) & _unbroken(whole, start_s - around_s, end_s + around_s)
    margin_s = MARGIN * trace.period_s + 2 * shift_s
    alone = rests & _steps_there(whole, start_s, end_s, margin_s, shift_s)
    beside = _near(start_s, end_s, around_s, TOUCHING * trace.period_s)
    rejected = np.select(
        [
            ~(end_s - start_s >= trace.period_s),
            start_s < time_s[0],
            end_s > time_s[-1],
            trace.segment[first] != trace.segment[np.minimum(last + 1, rows - 1)],
            off[np.minimum(last + 2, rows)] > off[first],
            samples < 1,
            ~alone & (periods < SEEN_INSIDE[trace.kind]),
            ~alone & (periods < BESIDE_FROM) & beside,
        ],
        (*REJECTIONS, CROWDED, CROWDED),
        "",
    )

    def energies(late_s: FLOAT) -> tuple[FLOAT, FLOAT, FLOAT]:
        begin_s, over_s = start_s + late_s, end_s + late_s
        inner_j = whole.energy_j(over_s) - whole.energy_j(begin_s)
        edge_j, unknown_j = _edges(whole, begin_s, over_s)
        unknown_j = unknown_j + np.where(beside, BESIDE_SHARE * edge_j, 0.0)
        alone_j, flat_j = _alone(whole, begin_s, over_s, margin_s)
        return np.where(alone, alone_j, inner_j + edge_j), inner_j, np.where(alone, flat_j, unknown_j)

    energy_j, inner_j, unknown_j = energies(np.zeros(len(start_s)))
    early_j, late_j = (energies(sign * shift_s)[0] - energy_j for sign in (-1, 1))
    alone_s = np.where(alone, MARGIN * trace.period_s, 0.0)
    resolution_j = _resolution_w(trace, inside_from, inside_to) * (end_s - start_s)

    def known(values: FLOAT) -> FLOAT:
        return np.where(rejected == "", values, np.nan)

    return Energies(
        energy_j=known(energy_j - HALF_NORMAL_MEAN * (late_j + early_j) / 2),
        edge_j=known(energy_j - inner_j),
        sampling_j=known(unknown_j),
        alias_j=known(_alias_j(trace, start_s - alone_s, end_s + alone_s)),
        phase=known(((start_s - time_s[first]) / np.maximum(whole.spacing_s[first], 1e-12)) % 1.0),
        resolution_j=known(resolution_j),
        early_j=known(early_j),
        late_j=known(late_j),
        samples=samples,
        rejected=rejected,
    )


def locked(phase: FLOAT, group: NDArray[np.intp]) -> FLOAT:
    """How far each group's windows lie at the same place within the meter's period: 0 anywhere, 1 all at one.

    What is not seen between two readings is a saw tooth of the phase, whose harmonics have 6 / (pi k)^2 of its
    variance. Windows that lie anywhere even it out, and their scatter tells how far; those at one place do not.

    Args:
        phase: Where in the meter's period each window begins, 0 to 1.
        group: Each window's group, from 0.
    """
    rows = np.bincount(group)
    share = np.zeros(len(rows))
    for harmonic in range(1, LOCKED_HARMONICS + 1):
        turn = 2 * np.pi * harmonic * phase
        square = sum((np.bincount(group, part) / rows) ** 2 for part in (np.cos(turn), np.sin(turn)))
        beyond_chance = np.clip((rows * square - BY_CHANCE) / np.maximum(rows - BY_CHANCE, 1), 0.0, 1.0)
        share += 6 / (np.pi * harmonic) ** 2 * beyond_chance
    return share


def _alias_j(trace: Trace, from_s: FLOAT, to_s: FLOAT) -> FLOAT:
    """Standard deviation of a stretch's energy over where its readings may fall.

    Where the power steps by d between two readings h apart, their trapezium is off by up to h d / 2 either way.
    """
    if trace.kind != "power":
        return np.zeros(len(from_s))
    steps = np.append(0.0, np.cumsum((np.diff(trace.value) * np.diff(trace.time_s)) ** 2))
    low, high = np.searchsorted(trace.time_s, from_s, "left"), np.searchsorted(trace.time_s, to_s, "right") - 1
    last = len(trace.time_s) - 1
    return np.asarray(np.sqrt(np.maximum(steps[np.clip(high, 0, last)] - steps[np.clip(low, 0, last)], 0.0) / 12))


def _unbroken(whole: Integral, from_s: FLOAT, to_s: FLOAT) -> NDArray[np.bool_]:
    """Whether stretches lie inside the log, without a break and with the channel on."""
    trace, last = whole.trace, len(whole.trace.time_s) - 1
    begin, end = whole.interval(from_s), np.minimum(whole.interval(to_s) + 1, last)
    off = np.append(0, np.cumsum(~trace.on))
    inside = (from_s >= trace.time_s[0]) & (to_s <= trace.time_s[-1])
    return np.asarray(inside & (trace.segment[begin] == trace.segment[end]) & (off[end + 1] == off[begin]))


def _crowded(start_s: FLOAT, end_s: FLOAT, around_s: FLOAT) -> NDArray[np.bool_]:
    """Whether another window begins or ends near a window: its surroundings are not at rest then."""
    edges = np.sort(np.concatenate([start_s, end_s]))
    near = np.searchsorted(edges, end_s + around_s, "right") - np.searchsorted(edges, start_s - around_s, "left")
    return np.asarray(near > 2)


def _near(start_s: FLOAT, end_s: FLOAT, around_s: FLOAT, touching_s: float) -> NDArray[np.bool_]:
    """Whether a rest lies beside a window that is too short to show its power: another window is near, and not next."""
    starts, ends = np.sort(start_s), np.sort(end_s)
    before = np.searchsorted(ends, start_s - touching_s, "left") > np.searchsorted(ends, start_s - around_s, "left")
    after = np.searchsorted(starts, end_s + around_s, "right") > np.searchsorted(starts, end_s + touching_s, "right")
    return np.asarray(before | after)


def _mean_w(whole: Integral, from_s: FLOAT, to_s: FLOAT) -> FLOAT:
    return np.asarray((whole.energy_j(to_s) - whole.energy_j(from_s)) / np.maximum(to_s - from_s, 1e-12))


def _steps_there(whole: Integral, start_s: FLOAT, end_s: FLOAT, margin_s: FLOAT, shift_s: FLOAT) -> NDArray[np.bool_]:
    """Whether the load steps at the windows' edges, and not where work that is no window begins or ends beside them.

    Such work shows in the margin's outer quarter; or, where it is short, in more energy than the window itself shows.
    """
    period_s = whole.trace.period_s
    low_s, high_s = start_s - margin_s, end_s + margin_s
    alone_j, _ = _alone(whole, start_s, end_s, margin_s)
    edge_j, _ = _edges(whole, start_s, end_s)
    more_j = alone_j - edge_j - (whole.energy_j(end_s) - whole.energy_j(start_s))
    before_w, after_w = _mean_w(whole, low_s - period_s, low_s), _mean_w(whole, high_s, high_s + period_s)
    step_w = _mean_w(whole, start_s, end_s) - (before_w + after_w) / 2
    uneven_w = np.maximum(
        np.abs(_mean_w(whole, low_s, low_s + period_s / 2) - before_w),
        np.abs(_mean_w(whole, high_s - period_s / 2, high_s) - after_w),
    )
    agree = np.abs(more_j) <= (DISAGREE * period_s + 2 * shift_s) * np.abs(step_w)
    return np.asarray(agree & (uneven_w <= UNEVEN * np.abs(step_w)))


def _alone(whole: Integral, start_s: FLOAT, end_s: FLOAT, margin_s: FLOAT) -> tuple[FLOAT, FLOAT]:
    """Energy of windows that stand out of surroundings which are the same before and after for a while.

    All that the meter smears over a window's edges lies within a margin; with it the integral is right, whatever the
    meter's response, and the margin's own energy is its power by its length.

    Returns:
        The energies, and the standard uncertainty of each because its surroundings were not the same, signed.
    """
    low_s, high_s = start_s - margin_s, end_s + margin_s
    period_s = np.full(len(start_s), whole.trace.period_s)

    before_w, after_w = _mean_w(whole, low_s - period_s, low_s), _mean_w(whole, high_s, high_s + period_s)
    uneven_w = before_w - _mean_w(whole, low_s - 2 * period_s, low_s - period_s)
    uneven_w += after_w - _mean_w(whole, high_s + period_s, high_s + 2 * period_s)
    energy_j = whole.energy_j(high_s) - whole.energy_j(low_s) - margin_s * (before_w + after_w)
    return energy_j, margin_s * uneven_w / 2


def _edges(whole: Integral, start_s: FLOAT, end_s: FLOAT) -> tuple[FLOAT, FLOAT]:
    """Energy that interpolation counts outside the windows; and half the width of what is not known of it, signed."""
    trace = whole.trace
    first, last = whole.interval(start_s), whole.interval(end_s)
    breaks = np.flatnonzero(np.diff(trace.segment)) + 1
    begins, ends = np.append(0, breaks), np.append(breaks, len(trace.time_s)) - 1
    part = np.searchsorted(breaks, first, side="right")
    middle_s = 0.5 * (start_s + end_s)
    lost_j, unknown_j = np.zeros(len(start_s)), np.zeros(len(start_s))
    most = len(trace.time_s) - 1
    for edge_s, place, inwards in ((start_s, first, 1), (end_s, last, -1)):
        spacing_s = whole.spacing_s[place]
        inside_s, outside_s = edge_s + inwards * spacing_s, edge_s - inwards * spacing_s
        inside_s = np.minimum(inside_s, middle_s) if inwards > 0 else np.maximum(inside_s, middle_s)
        outside_s = np.clip(outside_s, trace.time_s[begins[part]], trace.time_s[ends[part]])
        step_w = whole.power_w(inside_s) - whole.power_w(outside_s)
        near = (place, place + 1, place + 2) if inwards > 0 else (place + 1, place, place - 1)
        at_s = [inwards * (trace.time_s[np.clip(one, 0, most)] - edge_s) for one in near]
        lost_s = _lost_s(trace, at_s)
        lost_j += step_w * lost_s.mean(axis=0)
        unknown_j += step_w * (lost_s[0] - lost_s[-1]) / np.sqrt(12)
    return lost_j, unknown_j


def _lost_s(trace: Trace, at_s: Sequence[FLOAT]) -> FLOAT:
    """How much of a unit step interpolation counts on the wrong side of it, for each response that a meter may have.

    Args:
        trace: The trace.
        at_s: When the last reading before the step was made, and the two after it, from the step on.
    """
    before_s, after_s, next_s = at_s
    if trace.kind != "power":  # a counter's power is that of the whole interval
        return np.array([np.maximum(-before_s * after_s, 0.0) / np.maximum(after_s - before_s, 1e-12)])
    found = []
    for width_s in (1e-6 * trace.period_s, trace.period_s):  # readings of a moment, and means over a whole period
        seen = [np.clip(one / width_s + 0.5, 0.0, 1.0) for one in at_s]
        at_edge = seen[0] + (seen[1] - seen[0]) * -before_s / np.maximum(after_s - before_s, 1e-12)
        found.append(
            after_s * (1 - (at_edge + seen[1]) / 2) + np.maximum(next_s - after_s, 0.0) * (2 - seen[1] - seen[2]) / 2
        )
    return np.array(found)


def _resolution_w(trace: Trace, begin: NDArray[np.intp], end: NDArray[np.intp]) -> FLOAT:
    """Standard uncertainty of a window's mean power from values cut to steps of d: d/sqrt(12) exp(-2 pi^2 s^2/d^2).

    A steady load is off by the same part of a step in every reading. Noise of standard deviation s moves readings
    across the steps and evens that out; this is an upper bound of the mean's error then (Widrow and Kollár,
    Quantization Noise, 2008: the first harmonic of the quantiser's error, all others decay faster).

    A load that goes back and forth between a few levels evens nothing out: the noise is that of neighbouring readings
    of one level. Each value that is read is off by itself, which of windows with a few values leaves less.
    """
    if trace.kind != "power":
        return np.zeros(len(begin))
    step = np.append(0.0, np.cumsum(trace.step))
    count = np.maximum(end - begin, 1)
    step_w = (step[end] - step[begin]) / count
    rise = np.abs(np.diff(trace.value))
    is_noise = rise <= SAME_LEVEL * np.maximum(trace.step[1:], trace.step[:-1])
    squares, pairs = (np.append(0.0, np.cumsum(each)) for each in (np.where(is_noise, rise, 0.0) ** 2, is_noise))
    last = np.maximum(end - 1, 0)
    first = np.minimum(begin, last)
    square = (squares[last] - squares[first]) / np.maximum(pairs[last] - pairs[first], 1)
    variance = np.maximum(square / 2 - step_w**2 / 12, 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        evened = np.where(step_w > 0, np.exp(-2 * np.pi**2 * variance / step_w**2), 0.0)
    found = np.asarray(step_w / np.sqrt(12) * evened)
    sums = np.append(0.0, np.cumsum(trace.value))
    for at in np.flatnonzero(found > COUNTS * np.abs(sums[end] - sums[begin]) / count):
        _, readings = np.unique(trace.value[begin[at] : end[at]], return_counts=True)
        if len(readings):
            found[at] *= np.sqrt((readings**2).sum()) / readings.sum()
    return found
