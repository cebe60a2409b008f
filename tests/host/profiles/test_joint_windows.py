"""The stated interval against the truth for windows of few of the meter's periods, and for meters that are not ideal.

Simulated runs with rest between windows, load patterns at both ends, and a power meter whose response, batches and
phase are varied; the truth is the load's own integral.
"""

import numpy as np
import pytest

from dime.device.power_log import code
from dime.host.metering import alignment, integrate, power_trace
from dime.host.metering import timebase as clocks
from dime.host.metering.api import Series
from dime.host.profiles.joint_summary import Groups, summarise
from tests.host.profiles.test_joint_coverage import OFFSET_NS, exchanges
from tests.lab.loads import Load

PERIOD_S = 0.005
VOLTAGE_V = 5.0
IDLE_W = 1.5
BUNDLES, ITERATIONS, BURSTS = 4, 3, 6
SEEDS = 200
CHIP_S = 10.382 * PERIOD_S


class Run:
    """A load with its windows and patterns, in device seconds."""

    def __init__(self, random, window_s, gap_s=(0.02, 0.05), spread=0.005, locked=False, lead_s=0.0):
        self.times, self.powers, self.windows, self.patterns, self.now = [], [], [], [], 1.0
        self._pattern("start")
        power_w, shape = random.uniform(2.5, 9.0, BUNDLES), random.uniform(0.7, 1.3, (BUNDLES, 3))
        shape /= shape.mean(axis=1, keepdims=True)
        places = random.uniform(0, PERIOD_S, BUNDLES)
        for iteration in range(ITERATIONS):
            common = 1 + spread * random.standard_normal()
            for bundle in random.permutation(BUNDLES):
                local = common * (1 + spread * random.standard_normal())
                for _ in range(BURSTS):
                    watts = power_w[bundle] * local * (1 + spread * random.standard_normal())
                    if locked:
                        self.now = np.ceil(self.now / PERIOD_S) * PERIOD_S + places[bundle]
                    self._use(watts, lead_s)
                    start = self.now
                    for part in shape[bundle]:
                        self._use(watts * part, window_s / 3)
                    self.windows.append((start, self.now, bundle, iteration))
                    self._use(watts, lead_s)
                    self._use(IDLE_W, random.uniform(*gap_s))
        self._use(IDLE_W, 0.5)
        self._pattern("end")
        self.truth_j = power_w * window_s
        self.load = Load.of(IDLE_W, self.times, self.powers)

    def _use(self, watts, seconds):
        if seconds:
            self.times.append(self.now)
            self.powers.append(watts)
            self.now += seconds

    def _pattern(self, seed):
        edges = []
        for busy in code(seed):
            if busy and edges and edges[-1] == self.now:
                edges.pop()
            elif busy:
                edges.append(self.now)
            self._use(4.0 if busy else IDLE_W, CHIP_S)
            edges += [self.now] if busy else []
        self._use(IDLE_W, 0.5)
        self.patterns.append(edges)


def two_samples(random):
    """As a SmartPower 3: the mean of its last two readings, made at some time before the line."""
    before_s = random.uniform(0, PERIOD_S / 2)
    return before_s, before_s + PERIOD_S / 2


def two_conversions(random):
    """Two conversions of 1.1 ms right before the reading: it stands for a moment 1.1 ms ago, not half a period."""
    return np.linspace(0, 2.2e-3, 12)


def whole_period(random):
    return (np.arange(24) + 0.5) * PERIOD_S / 24


def seen(random, run, taps_s, batch_s, still):
    """What a meter makes of a load: its trace. ``still``: its clock does not drift, so that phases stay."""
    count, drift = int((run.now + 1) / PERIOD_S), 0.0 if still else 40e-6
    late_s = random.exponential(1e-6 if still else 50e-6, count)
    read_s = random.uniform(0, PERIOD_S) + np.arange(count) * PERIOD_S * (1 + drift) + late_s
    current_a = np.mean([run.load.powers_w(read_s - back) for back in taps_s], axis=0) / VOLTAGE_V
    current_ma = np.floor(np.maximum(current_a + 0.004 * random.standard_normal(count), 0) * 1e3)
    own_ms = np.floor((read_s - read_s[0]) / (1 + drift) * 1e3 + 123456.3).astype(np.int64)
    wire_s = 81 * 10 / 500000
    arrival_s = read_s + wire_s + random.exponential(0.3e-3, count)
    if batch_s:
        first_s = random.uniform(0, batch_s)
        arrival_s = np.ceil((arrival_s - first_s) / batch_s) * batch_s + first_s
    keep = random.random(count) > 1 / 256
    step = np.full(keep.sum(), VOLTAGE_V * 1e-3)
    series = Series("0", "power", True, VOLTAGE_V * (current_ma[keep] + 0.5) * 1e-3, step, step > 0)
    stamps = OFFSET_NS + np.rint(arrival_s[keep] * 1e9).astype(np.int64)
    return power_trace.build(series, own_ms[keep], stamps, "simulated", {"wire_s": wire_s})


def nanoseconds(seconds):
    return np.rint(np.array(seconds) * 1e9).astype(np.int64)


def joined(seed, window_s, response=two_samples, batch_s=0.0, still=False, **shape):
    """One run, joined as the join does it; gives the summary, the true energies and the share of windows refused."""
    random = np.random.default_rng(seed)
    run = Run(random, window_s, locked=still, **shape)
    trace = seen(random, run, response(random), batch_s, still)
    clock = clocks.from_exchanges(exchanges(random, run.now))
    start_s, end_s, bundle, iteration = (np.array(column) for column in zip(*run.windows, strict=True))
    edges_ns = nanoseconds([edge for pattern in run.patterns for edge in pattern])
    before_s = float(np.hypot(clock.error_s(nanoseconds(start_s)), trace.clock_error_s).max())
    late = alignment.learn(trace, clock.logger_ns(edges_ns), np.arange(len(edges_ns)) // 2, before_s)
    assert late.steps > 30
    ends_ns = [clock.logger_ns(nanoseconds(edge)) for edge in (start_s, end_s)]
    ends_ns = [edge_ns + late.shift_ns(edge_ns) for edge_ns in ends_ns]
    energies = integrate.measure(trace, *ends_ns, late.spread_s(ends_ns[0]))
    kept = energies.rejected == ""
    if len(np.unique(bundle[kept])) < BUNDLES:
        return None, set(energies.rejected.tolist()), 1.0
    energies = integrate.Energies(**{name: value[kept] for name, value in vars(energies).items()})
    names = [{"layers": str(one), "frequency_hz": -1} for one in range(BUNDLES)]
    groups, ones = Groups.of(bundle[kept], iteration[kept]), np.ones(kept.sum())
    summary = summarise(names, groups, (end_s - start_s)[kept], ones, energies, (np.full(BUNDLES, np.nan),) * 2)
    return summary, run.truth_j, 1 - kept.mean()


def slow(*values):
    return pytest.param(*values, marks=pytest.mark.slow)


@pytest.mark.parametrize(
    ("window_s", "shape", "widest"),
    [
        (0.007, {}, 0.10),
        slow(0.02, {}, 0.04),
        (0.1, {"response": two_conversions, "spread": 0.0}, 0.005),
        slow(0.1, {"response": two_conversions, "spread": 0.0, "gap_s": (20e-6, 21e-6)}, 0.01),
        slow(0.1, {"batch_s": 0.05}, 0.03),
        (0.1, {"batch_s": 0.5}, 0.03),
        slow(0.1, {"still": True}, 0.05),
        (0.02, {"still": True, "response": whole_period}, 0.2),
    ],
    ids=["7 ms", "20 ms", "two conversions", "back to back", "batches", "long batches", "periodic", "short, periodic"],
)
def test_the_interval_covers_the_truth_and_the_mean_is_not_biased(window_s, shape, widest):
    """200 runs of 4 bundles each. What a meter cannot see widens the interval, by no more than it must."""
    inside, miss, half, refused = [], [], [], []
    for seed in range(SEEDS):
        summary, truth, lost = joined(seed, window_s, **shape)
        low, high = summary["energy_low_j"], summary["energy_high_j"]
        inside.append((low <= truth) & (truth <= high))
        miss.append(summary["energy_mean_j"] / truth - 1)
        half.append((high - low) / 2 / truth)
        refused.append(lost)
    print(f"{np.mean(inside):.1%} covered, mean {np.mean(miss):+.2%}, half-width {np.median(half):.2%}")
    assert np.mean(inside) >= 0.92 and abs(np.mean(miss)) < 0.005
    assert np.median(half) < widest and np.mean(refused) < 0.03


@pytest.mark.parametrize("shape", [{"gap_s": (0.003, 0.006)}, {"gap_s": (20e-6, 21e-6)}, {"lead_s": 0.01}])
def test_a_short_window_without_rest_around_it_is_refused(shape):
    """A step between two windows that the meter cannot tell apart, or work beside a window that is no window itself."""
    summary, reasons, _ = joined(0, 0.007, **shape)
    assert summary is None and reasons <= {integrate.CROWDED, "no reading inside"}


def test_unlogged_work_beside_a_window_is_not_counted_in():
    """A device goes on with the same work for a while before and after a window; that is not at rest."""
    found = [joined(seed, 0.1, lead_s=0.01) for seed in range(20)]
    miss = [summary["energy_mean_j"] / truth - 1 for summary, truth, _ in found]
    assert abs(np.mean(miss)) < 0.005


def test_how_late_a_trace_is_is_learned_from_the_load_pattern():
    """The two conversions' readings stand for 1.1 ms ago; half a period was taken for it."""
    random = np.random.default_rng(3)
    run = Run(random, 0.1)
    edges_ns = OFFSET_NS + nanoseconds([edge for pattern in run.patterns for edge in pattern])
    for response, late_s in ((two_conversions, -(PERIOD_S / 2 - 1.1e-3)), (whole_period, 0.0)):
        trace = seen(random, run, response(random), 0.0, False)
        found = alignment.learn(trace, edges_ns, np.arange(len(edges_ns)) // 2, 2e-3)
        assert abs(found.late_s - late_s) < 0.6e-3 and found.error_s < 0.3e-3 and found.steps > 30
    # Where the pattern is not, nothing is learned.
    nowhere = alignment.learn(trace, edges_ns[:4], np.arange(4), 2e-3)
    assert (nowhere.late_s, nowhere.error_s, nowhere.steps) == (0.0, 2e-3, 0)


def test_lines_in_batches_hide_how_long_the_quickest_was_under_way():
    arrival_s = np.arange(4000) * PERIOD_S + 0.001
    assert power_trace.held_up(arrival_s - arrival_s, arrival_s, PERIOD_S) is None
    batched_s = np.ceil(arrival_s / 0.05) * 0.05
    delay_s = batched_s - arrival_s
    assert power_trace.held_up(delay_s - delay_s.min(), batched_s, PERIOD_S) == pytest.approx(PERIOD_S)
    drifting_s = arrival_s * (1 + 1e-3)  # each batch's last line waits for another while: the quickest tells
    batched_s = np.ceil(drifting_s / 0.05) * 0.05
    delay_s = batched_s - drifting_s
    assert power_trace.held_up(delay_s - delay_s.min(), batched_s, PERIOD_S) < 0.1 * PERIOD_S
