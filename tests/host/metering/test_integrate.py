"""Joules of windows: exact for what is known, honest about what is not, refused where nothing is."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dime.host.metering import integrate
from dime.host.metering.power_trace import Trace

EPOCH_NS = 1_700_000_000_000_000_000


def trace_of(time_s, value, kind="power", step=0.005, on=None, segment=None, period_s=0.005):
    time_s = np.asarray(time_s, dtype=float)
    return Trace(
        name="made", meter="smartpower3", channel="0", kind=kind, origin="measured", epoch_ns=EPOCH_NS, time_s=time_s,
        value=np.asarray(value, dtype=float), step=np.full(len(time_s), step),
        on=np.ones(len(time_s), bool) if on is None else np.asarray(on),
        segment=np.zeros(len(time_s), np.int64) if segment is None else np.asarray(segment),
        period_s=period_s, clock_error_s=0.001,
    )  # fmt: skip


def measure(trace, start_s, end_s, error_s=0.0):
    edges = [EPOCH_NS + np.rint(np.atleast_1d(edge) * 1e9).astype(np.int64) for edge in (start_s, end_s)]
    return integrate.measure(trace, *edges, error_s)


def by_hand(trace, start_s, end_s):
    """The integral of the interpolated power, by numpy's own interpolation and trapezia."""
    inside = trace.time_s[(trace.time_s > start_s) & (trace.time_s < end_s)]
    knots = np.concatenate([[start_s], inside, [end_s]])
    return np.trapezoid(np.interp(knots, trace.time_s, trace.value), knots)


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 2**32), st.integers(3, 60))
def test_the_integral_is_that_of_the_interpolated_power(seed, count):
    random = np.random.default_rng(seed)
    trace = trace_of(np.cumsum(random.uniform(0.001, 0.02, count)), random.uniform(0, 10, count))
    start_s = random.uniform(trace.time_s[0], trace.time_s[-1])
    end_s = random.uniform(start_s, trace.time_s[-1])
    integral = integrate.Integral(trace)
    found = integral.energy_j(np.array([end_s])) - integral.energy_j(np.array([start_s]))
    assert found[0] == pytest.approx(by_hand(trace, start_s, end_s), abs=1e-12)
    assert integral.power_w(np.array([start_s]))[0] == pytest.approx(np.interp(start_s, trace.time_s, trace.value))


def test_constant_and_linear_power_are_exact():
    time_s = np.arange(0, 2, 0.005)
    flat = measure(trace_of(time_s, np.full(len(time_s), 4.0)), 0.5011, 0.7333)
    assert flat.energy_j[0] == pytest.approx(4.0 * 0.2322, abs=1e-8) and flat.edge_j[0] == pytest.approx(0, abs=1e-9)
    ramp = measure(trace_of(time_s, 1 + 3 * time_s), 0.5011, 0.7333)
    assert ramp.energy_j[0] == pytest.approx(0.2322 * (1 + 3 * (0.5011 + 0.7333) / 2), rel=2e-5)


def test_a_step_at_an_edge_costs_nothing_on_average():
    random = np.random.default_rng(5)
    time_s = np.arange(0, 4, 0.005)
    for kind in ("power", "energy"):
        errors, plain = [], []
        for start_s in random.uniform(1, 2, 400):
            end_s = start_s + 0.1234
            if kind == "power":
                # Readings that are means over the period before, centred, and a meter's in which two moments are.
                moments = (time_s - 0.00125, time_s + 0.00125)
                halves = [np.where((moment > start_s) & (moment < end_s), 6.0, 1.0) for moment in moments]
                value = np.mean(halves, axis=0)
            else:
                value = 1.0 * time_s + 5.0 * np.clip(time_s - start_s, 0, end_s - start_s)
            found = measure(trace_of(time_s, value, kind), start_s, end_s)
            errors.append(found.energy_j[0] - 6.0 * 0.1234)
            plain.append(found.energy_j[0] - found.edge_j[0] - 6.0 * 0.1234)
        assert np.mean(plain) < -0.007, "interpolation alone loses a third of a period's step"
        assert abs(np.mean(errors)) < 0.0015, kind


def test_counters_give_their_difference():
    time_s = np.arange(0, 1, 0.1)
    trace = trace_of(time_s, [0, 1, 2, 3, 7, 11, 15, 16, 17, 18], "energy", period_s=0.1)
    assert (measure(trace, 0.3, 0.6).energy_j - measure(trace, 0.3, 0.6).edge_j)[0] == pytest.approx(12)
    assert integrate.Integral(trace).power_w(np.array([0.45]))[0] == pytest.approx(40)


def test_what_has_no_energy_says_why():
    time_s = np.concatenate([np.arange(0, 1, 0.005), np.arange(3, 4, 0.005)])
    segment = np.repeat([0, 1], 200)
    on = np.ones(400, bool)
    on[300:] = False
    trace = trace_of(time_s, np.full(400, 2.0), on=on, segment=segment)
    cases = {
        (0.1, 0.102): "shorter than the meter's period",
        (-0.1, 0.2): "before the log began",
        (3.9, 4.1): "after the log ended",
        (0.9, 3.1): "across a break in the log",
        (1.1, 1.3): "across a break in the log",
        (3.4, 3.6): "channel off",
        (3.6, 3.8): "channel off",
        (0.2, 0.4): "",
        (3.1, 3.3): "",
    }
    found = measure(trace, *np.array(list(cases)).T)
    assert found.rejected.tolist() == list(cases.values())
    assert (np.isnan(found.energy_j) == (found.rejected != "")).all()
    assert found.energy_j[-2:] == pytest.approx(0.4, abs=1e-7)
    gap = trace_of([0, 0.005, 0.010, 0.5, 0.505], [1, 1, 1, 1, 1])
    assert measure(gap, 0.1, 0.2).rejected[0] == "no reading inside"


def test_a_displaced_window_changes_as_its_edges_say():
    time_s = np.arange(0, 2, 0.005)
    trace = trace_of(time_s, np.where(time_s < 1, 2.0, 5.0))
    found = measure(trace, 0.5, 1.5, 0.02)
    assert found.late_j[0] == pytest.approx(0.02 * 3.0) and found.early_j[0] == pytest.approx(-0.02 * 3.0)


def test_noise_evens_out_the_steps_of_a_value_and_steadiness_does_not():
    time_s = np.arange(0, 2, 0.005)
    random = np.random.default_rng(2)
    steady = measure(trace_of(time_s, np.full(400, 2.0)), 0.5, 1.5)
    assert steady.resolution_j[0] == pytest.approx(0.005 / np.sqrt(12))
    noisy = np.floor(random.normal(2.0, 0.01, 400) / 0.005) * 0.005 + 0.0025
    assert measure(trace_of(time_s, noisy), 0.5, 1.5).resolution_j[0] < 0.01 * steady.resolution_j[0]


def test_a_load_that_goes_between_two_levels_evens_out_no_step_of_a_value():
    time_s = np.arange(0, 2, 0.005)
    levels = np.where(np.arange(400) % 8 < 5, 5.0, 2.0) + np.random.default_rng(3).normal(0, 0.01, 400)
    found = measure(trace_of(time_s, np.round(levels / 0.25) * 0.25, step=0.25), 0.5, 1.5)
    assert found.resolution_j[0] == pytest.approx(0.25 / np.sqrt(12) * np.hypot(5, 3) / 8, rel=0.01)
