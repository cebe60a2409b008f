"""By how much a trace lies beside the device's clock: learned from moments at which the load is known to have stepped.

Which moment within its period a reading stands for is the meter's own affair, and lines that are handed on in batches
hide how long they were under way. Where the device was idle and busy by a known pattern, the power tells both: over a
stretch about an isolated step from P to Q, the integral of the trace is P and Q by their times, less (Q - P) d if the
trace is d late, whatever the shape of the meter's response.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from dime.host.metering.api import FLOAT
from dime.host.metering.integrate import Integral
from dime.host.metering.meter_timebase import INTEGERS
from dime.host.metering.power_trace import Trace

# An edge counts whose neighbours are at least twice this many of the meter's periods away.
REACH = 2.5
LEAST_EDGES = 8
# A displacement farther out than what was known before allows is not believed.
MOST_ERRORS = 4.0
# In periods: a meter's response is symmetrical about its middle to so much.
LEAST_ERROR = 0.02


class Displacement(NamedTuple):
    """How late a trace is: a straight line, with its standard uncertainty.

    Attributes:
        middle_ns: A moment on the logger's clock.
        late_s: How late the trace is there.
        slope: By how much later for each second.
        error_s: Standard uncertainty of ``late_s``.
        slope_error: That of ``slope``.
        steps: How many steps of the load it was learned from.
    """

    middle_ns: int
    late_s: float
    slope: float
    error_s: float
    slope_error: float
    steps: int

    def shift_ns(self, time_ns: INTEGERS) -> INTEGERS:
        """How late the trace is at moments on the logger's clock."""
        past_s = (time_ns - self.middle_ns) * 1e-9
        return np.asarray(np.rint((self.late_s + self.slope * past_s) * 1e9), dtype=np.int64)

    def spread_s(self, time_ns: INTEGERS) -> FLOAT:
        """The standard uncertainty of that."""
        past_s = (time_ns - self.middle_ns) * 1e-9
        return np.asarray(np.hypot(self.error_s, self.slope_error * past_s))


def learn(trace: Trace, edges_ns: INTEGERS, group: INTEGERS, error_s: float) -> Displacement:
    """Learns the displacement.

    Args:
        trace: The power.
        edges_ns: Moments at which the load stepped or may have, on the logger's clock as far as it is known, rising.
        group: A number for each; steps of one group may be wrong together.
        error_s: Standard uncertainty of the displacement, about 0, before.

    Returns:
        The displacement; what was known before where there are no steps to learn from.
    """
    middle_ns = trace.epoch_ns + round(float(trace.time_s[-1]) * 5e8)
    unknown = Displacement(middle_ns, 0.0, 0.0, error_s, 0.0, 0)
    reach_s = REACH * trace.period_s
    edges_s = trace.seconds(edges_ns)
    alone = np.diff(edges_s, prepend=-np.inf, append=np.inf)
    good = (np.minimum(alone[:-1], alone[1:]) >= 2 * reach_s) & (trace.period_s > 0)
    good &= (edges_s - 2 * reach_s > trace.time_s[0]) & (edges_s + 2 * reach_s < trace.time_s[-1])
    integral = Integral(trace)
    ends = [integral.interval(edges_s + side * 1.5 * reach_s) for side in (-1, 1)]
    good &= trace.segment[ends[0]] == trace.segment[ends[1]]
    edges_s, group = edges_s[good], np.unique(group[good], return_inverse=True)[1]
    if len(edges_s) < LEAST_EDGES or len(np.unique(group)) < 2:
        return unknown
    past_s = edges_s - float(trace.time_s[-1]) / 2
    lever = np.stack([np.ones(len(edges_s)), past_s])
    line = np.zeros(2)
    for _ in range(3):
        at_s = edges_s + line @ lever
        low, high = at_s - reach_s, at_s + reach_s
        before_w = (integral.energy_j(low) - integral.energy_j(low - 0.5 * reach_s)) / (0.5 * reach_s)
        after_w = (integral.energy_j(high + 0.5 * reach_s) - integral.energy_j(high)) / (0.5 * reach_s)
        step_w = after_w - before_w
        moment = -(integral.energy_j(high) - integral.energy_j(low) - reach_s * (before_w + after_w)) * step_w
        weight = step_w**2
        if weight.sum() <= 0:
            return unknown
        # In units of the steps' own scatter, so that what was known before weighs as it should.
        apart = moment - weight * np.median(moment / np.maximum(weight, 1e-12))
        noise = max(float((apart**2).sum() / weight.sum()), 1e-30)
        known = np.diag([1 / error_s**2, (np.ptp(past_s) + 1e-9) ** 2 / (2 * error_s) ** 2]) * noise
        normal = (lever * weight) @ lever.T + known
        line = line + np.linalg.solve(normal, lever @ moment - known @ line)
    inverse = np.linalg.inv(normal)
    left = np.stack([np.bincount(group, row) for row in lever * moment])
    groups = left.shape[1]
    covariance = inverse @ (left @ left.T * groups / (groups - 1) + known * noise) @ inverse
    if not np.abs(line @ lever).max() <= MOST_ERRORS * error_s:  # the steps are not where they were said to be
        return unknown
    least_s = LEAST_ERROR * trace.period_s
    found_s = float(np.hypot(np.sqrt(covariance[0, 0]), least_s))
    slope_error = float(np.sqrt(covariance[1, 1]))
    return Displacement(middle_ns, float(line[0]), float(line[1]), found_s, slope_error, len(edges_s))
