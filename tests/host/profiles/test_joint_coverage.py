"""The stated 95 % interval against the truth, where that is known: simulated runs, seen through a simulated meter."""

import numpy as np
import pytest

from dime.host.metering import integrate, power_trace
from dime.host.metering import timebase as clocks
from dime.host.metering.api import Series
from dime.host.metering.gain import Gain
from dime.host.profiles.joint_summary import Groups, summarise
from tests.lab.loads import Load

PERIOD_S = 0.005
VOLTAGE_V = 5.0
BUNDLES = 12
ITERATIONS = 5
BURSTS = 4


def run(random, spread=0.01, drift_between=0.01, gap_s=(0.0, 0.0), idle_w=1.5):
    """A run: bursts of each bundle, back to back, in an order that is drawn anew in each iteration.

    Returns:
        The load, its windows (device seconds), each window's bundle, iteration and repeats, and each bundle's true mean
        energy of one run.
    """
    duration_s = random.uniform(0.002, 0.08, BUNDLES)
    power_w = random.uniform(2.5, 9.0, BUNDLES)
    # Within a run the power goes up and down, as layers do: three parts that average to the bundle's power.
    shape = random.uniform(0.6, 1.4, (BUNDLES, 3))
    shape /= shape.mean(axis=1, keepdims=True)
    times, powers, windows = [], [], []
    now = 1.0
    for iteration in range(ITERATIONS):
        common = 1 + drift_between * random.standard_normal()
        for bundle in random.permutation(BUNDLES):
            local = common * (1 + drift_between * random.standard_normal())
            for burst in range(-1, BURSTS + 1):
                counted = 0 <= burst < BURSTS
                repeats = int(np.ceil((0.1 if counted else 0.01) / duration_s[bundle]))
                start = now
                factor = local * (1 + spread * random.standard_normal())
                for _ in range(repeats):
                    for part in range(3):
                        times.append(now)
                        powers.append(power_w[bundle] * factor * shape[bundle, part])
                        now += duration_s[bundle] / 3
                if counted:
                    windows.append((start, now, bundle, iteration, repeats))
                times.append(now)
                powers.append(idle_w)
                now += random.uniform(*gap_s) + 20e-6
            times.append(now)
            powers.append(idle_w)
            now += random.uniform(0.0005, 0.003)
    return Load.of(idle_w, times, powers), windows, power_w * duration_s


def meter(random, load, end_s, noise_a=0.004):
    """What the meter makes of a load: the columns of its log, the logger's clock being the device's plus an offset."""
    count = int((end_s + 2.0) / PERIOD_S)
    # The meter's task comes late now and then; its clock is 40 ppm off, and its readings lie somewhere in their period.
    read_s = random.uniform(0, PERIOD_S) + np.arange(count) * PERIOD_S * (1 + 40e-6) + random.exponential(50e-6, count)
    # The current is the mean of the last two readings, the later of which was made some time before.
    before_s = random.uniform(0, PERIOD_S / 2)
    current = np.mean([load.powers_w(read_s - before_s - back) / VOLTAGE_V for back in (0.0, PERIOD_S / 2)], axis=0)
    current = np.maximum(current + noise_a * random.standard_normal(count), 0)
    voltage_mv, current_ma = np.full(count, np.floor(VOLTAGE_V * 1e3 + 0.4)), np.floor(current * 1e3)
    own_ms = np.floor((read_s - read_s[0]) / (1 + 40e-6) * 1e3 + 123456.3).astype(np.int64)
    wire_s = 81 * 10 / 500000
    arrival_s = read_s + wire_s + random.exponential(0.3e-3, count)
    for late in np.flatnonzero(random.random(count) < 0.002):
        arrival_s[max(0, late - 5) : late] = np.maximum(arrival_s[max(0, late - 5) : late], arrival_s[late])
    keep = random.random(count) > 1 / 256
    value = (voltage_mv + 0.5) * (current_ma + 0.5) * 1e-6
    series = Series("0", "power", True, value[keep], (voltage_mv[keep] + 0.5) * 1e-6, np.ones(keep.sum(), bool))
    return series, own_ms[keep], arrival_s[keep], {"wire_s": wire_s}


OFFSET_NS = 1_700_000_000_000_000_000


def exchanges(random, end_s, way_s=0.4e-3):
    """Three bursts of exchanges over a network with unequal ways."""
    there, back = random.uniform(0.2, 1.0, 2) * way_s
    bursts = []
    for at_s in (0.2, end_s / 2, end_s):
        burst = []
        for number in range(8):
            sent = at_s + number * 0.002
            received = sent + there + random.exponential(0.2e-3)
            answered = received + 30e-6
            came = answered + back + random.exponential(0.2e-3)
            times = [round(one * 1e9) for one in (sent, received, answered, came)]
            burst.append((times[0], OFFSET_NS + times[1], OFFSET_NS + times[2], times[3]))
        bursts.append(burst)
    return bursts


def joined(seed, **shape):
    """One simulated run, joined; returns the summary and the true energies."""
    random = np.random.default_rng(seed)
    noise_a, gain = shape.pop("noise_a", 0.004), shape.pop("gain", None)
    load, windows, truth = run(random, **shape)
    end_s = windows[-1][1]
    series, own_ms, arrival_s, quality = meter(random, load, end_s, noise_a)
    if gain is not None:
        series = series._replace(value=series.value * (1 + gain.error * random.standard_normal()))
    stamps = OFFSET_NS + np.rint(arrival_s * 1e9).astype(np.int64)
    trace = power_trace.build(series, own_ms, stamps, "simulated", quality)
    clock = clocks.from_exchanges(exchanges(random, end_s))
    start_s, stop_s, bundle, iteration, repeats = (np.array(column) for column in zip(*windows, strict=True))
    start_ns, stop_ns = (np.rint(edge * 1e9).astype(np.int64) for edge in (start_s, stop_s))
    error_s = np.hypot(clock.error_s(start_ns), trace.clock_error_s)
    energies = integrate.measure(trace, clock.logger_ns(start_ns), clock.logger_ns(stop_ns), error_s)
    assert (energies.rejected == "").all()
    names = [{"layers": str(one), "frequency_hz": -1} for one in range(BUNDLES)]
    groups = Groups.of(bundle, iteration)
    idle_w, error = np.full(BUNDLES, np.nan), None if gain is None else gain.error
    summary = summarise(names, groups, (stop_s - start_s) / repeats, repeats, energies, (idle_w, idle_w), error)
    return summary, truth


def slow(*values):
    return pytest.param(*values, marks=pytest.mark.slow)


@pytest.mark.parametrize(
    ("what", "shape"),
    [
        ("as on a Nano", {}),
        slow("hardly any scatter: meter and clocks decide", {"spread": 0.002, "drift_between": 0.002}),
        slow("no scatter, no noise", {"spread": 0.0, "drift_between": 0.0, "noise_a": 0.0}),
        ("rest between windows: a step at every edge", {"gap_s": (0.02, 0.05)}),
        slow("the same, hardly any scatter", {"gap_s": (0.02, 0.05), "spread": 0.001, "drift_between": 0.001}),
    ],
)
def test_the_interval_covers_the_truth_19_times_in_20(what, shape):
    """200 runs of 12 bundles each."""
    inside, miss = [], []
    for seed in range(200):
        summary, truth = joined(seed, **dict(shape))
        inside.append((summary["energy_low_j"] <= truth) & (truth <= summary["energy_high_j"]))
        miss.append(summary["energy_mean_j"] / truth - 1)
    covered, bias = np.mean(inside), np.mean(miss)
    print(f"{what}: {covered:.1%} covered, mean {bias:+.2%}")
    assert 0.92 <= covered <= 0.98, what
    assert abs(bias) < 0.002, what


def test_the_meters_gain_is_in_the_interval_of_a_joule_and_not_in_a_comparisons():
    """Each run is seen by another meter of the same make, whose gains scatter by 1 %."""
    inside, one_meter, ratios = [], [], []
    for seed in range(200):
        summary, truth = joined(seed, gain=Gain(1.0, 0.01, "made"), spread=0.002, drift_between=0.002)
        ends = [(summary[f"{name}_low_j"], summary[f"{name}_high_j"]) for name in ("energy", "energy_one_meter")]
        inside.append((ends[0][0] <= truth) & (truth <= ends[0][1]))
        one_meter.append((ends[1][0] <= truth) & (truth <= ends[1][1]))
        # The ratio of two bundles, seen by one meter, lies within what the two intervals without the gain allow.
        half = (ends[1][1] - ends[1][0]) / 2 / summary["energy_mean_j"]
        miss = summary["energy_mean_j"] / truth
        ratios.append(np.abs(miss[1:] / miss[:-1] - 1) <= np.hypot(half[1:], half[:-1]))
    assert 0.92 <= np.mean(inside) <= 0.98
    assert np.mean(one_meter) < 0.8 and np.mean(ratios) >= 0.92


def test_one_iteration_gets_no_interval(monkeypatch):
    """Its rows do not show how iterations differ: intervals from their scatter covered in 53 % only."""
    monkeypatch.setitem(globals(), "ITERATIONS", 1)
    summary, truth = joined(0)
    assert np.isnan(summary["energy_low_j"]).all() and np.isnan(summary["duration_high_s"]).all()
    assert summary["energy_mean_j"] == pytest.approx(truth, rel=0.1)
