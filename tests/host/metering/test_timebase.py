"""Two clocks: offset and drift from exchanges, from a load pattern in the power, and what each is sure of."""

import json

import numpy as np
import pytest

from dime.contract.errors import TableError
from dime.device import power_log
from dime.host.metering import power_trace
from dime.host.metering import timebase as clocks
from dime.host.metering.api import Series
from tests.lab.loads import Load

OFFSET_NS = 1_700_000_000_000_000_000


def exchanges(random, drift=20e-6, there_s=0.3e-3, back_s=0.3e-3, jitter_s=0.3e-3, at_s=(0, 60, 120, 600)):
    """Bursts over a network; the logger's clock is ahead by an offset that grows."""

    def logger_ns(device_s):
        return OFFSET_NS + round(device_s * (1 + drift) * 1e9)

    bursts = []
    for start_s in at_s:
        burst = []
        for number in range(16):
            sent = start_s + number * 0.003
            received = sent + there_s + random.exponential(jitter_s)
            came = received + 20e-6 + back_s + random.exponential(jitter_s)
            burst.append([round(sent * 1e9), logger_ns(received), logger_ns(received + 20e-6), round(came * 1e9)])
        bursts.append(burst)
    return bursts


def errors_of(clock, drift, at_s):
    at_ns = np.rint(np.array(at_s) * 1e9).astype(np.int64)
    truth = OFFSET_NS + np.rint(np.array(at_s) * (1 + drift) * 1e9).astype(np.int64)
    return (clock.logger_ns(at_ns) - truth) * 1e-9, clock.error_s(at_ns)


def test_offset_and_drift_are_within_the_error_bars():
    inside = []
    for seed in range(200):
        random = np.random.default_rng(seed)
        drift, (there_s, back_s) = random.uniform(-50e-6, 50e-6), random.uniform(0.1e-3, 1.2e-3, 2)
        clock = clocks.from_exchanges(exchanges(random, drift, there_s, back_s))
        error, sigma = errors_of(clock, drift, [0, 100, 300, 600])
        inside.append(np.abs(error) <= clocks.COVER_95 * sigma)
        assert clock.drift == pytest.approx(drift, abs=5e-6) and sigma.max() < 0.001
    assert np.mean(inside) >= 0.95


def test_a_single_burst_is_enough_for_a_while():
    clock = clocks.from_exchanges(exchanges(np.random.default_rng(1), at_s=(0,)))
    error, sigma = errors_of(clock, 20e-6, [0, 1, 100])
    assert (np.abs(error) < clocks.COVER_95 * sigma).all() and sigma[0] < 0.001 and sigma[2] > 0.02


def test_a_clock_that_was_set_during_the_run_has_wide_bars():
    bursts = exchanges(np.random.default_rng(1), at_s=(0, 60, 120, 180))
    for exchange in bursts[2]:
        exchange[1] += 50_000_000
        exchange[2] += 50_000_000
    _, sigma = errors_of(clocks.from_exchanges(bursts), 20e-6, [100])
    assert sigma[0] > 0.01


@pytest.mark.parametrize("bursts", [[], [[]]])
def test_no_exchanges(bursts):
    with pytest.raises(TableError, match="there are no exchanges of timestamps"):
        clocks.from_exchanges(bursts)


def test_an_impossible_exchange():
    with pytest.raises(TableError, match="a clock was set during the run"):
        clocks.from_exchanges([[[1000, 5000, 6000, 900]]])


def trace_of(load, seconds, random, noise_w=0.02, kind="power"):
    """A trace of a load, read each 5 ms; the device's second 0 is 7.25 s on the trace."""
    time_s = np.arange(0, seconds, 0.005) + 0.005 * random.random()
    if kind == "power":
        value = (load.powers_w(time_s - 7.25) + load.powers_w(time_s - 7.25 - 0.0025)) / 2
        value += noise_w * random.standard_normal(len(time_s))
    else:
        value = np.array([load.energy_j(-100, one - 7.25) for one in time_s])
    series = Series("0", kind, False, value, np.full(len(time_s), 0.005), np.ones(len(time_s), bool))
    stamps = OFFSET_NS + np.rint(time_s * 1e9).astype(np.int64)
    return power_trace.build(series, np.zeros(len(time_s), np.int64), stamps, "made")


def played(start_s, seed, random):
    """Busy stretches (device ns) of a code as a device plays it, a little late at each edge."""
    stretches, now_s = [], start_s
    chips = power_log.code(seed)
    for place, busy in enumerate(chips):
        end_s = start_s + (place + 1) * 0.05191
        if busy and stretches and stretches[-1][1] == now_s:
            stretches[-1][1] = end_s
        elif busy:
            now_s += random.uniform(0, 0.001)
            stretches.append([now_s, end_s])
        now_s = end_s
    return stretches


def load_with(stretches, extra=()):
    code = [(edge, watts) for pair in stretches for edge, watts in zip(pair, (4.0, 1.5), strict=True)]
    changes = sorted([*code, *extra])
    return Load.of(1.5, [time for time, _ in changes], [watts for _, watts in changes])


def in_ns(stretches):
    return [[round(edge * 1e9) for edge in pair] for pair in stretches]


@pytest.mark.parametrize("kind", ["power", "energy"])
def test_a_code_is_found_to_a_fraction_of_a_period(kind):
    misses = []
    for seed in range(20):
        random = np.random.default_rng(seed)
        stretches = played(2.0, "start 921600000", random)
        work = [(8 + 0.11 * n, float(random.uniform(2, 6))) for n in range(100)] + [(20.0, 1.5)]
        trace = trace_of(load_with(stretches, work), 40, random, kind=kind)
        found = clocks.find_code(trace, in_ns(stretches))
        assert found is not None and found.correlation > 0.9
        # Readings are means over half a period before: they show the load a quarter of a period late.
        lag_s = 0.00125 if kind == "power" else 0.0
        expected_ns = OFFSET_NS + 7_250_000_000
        miss_s = (found.offset_ns - expected_ns) * 1e-9 - lag_s
        misses.append(miss_s)
        assert abs(miss_s) < 0.0008
        assert abs(miss_s) < clocks.COVER_95 * found.error_s
    assert np.std(misses) < 0.0005


def test_a_code_that_was_not_played_is_not_found():
    for seed in range(30):
        random = np.random.default_rng(seed)
        stretches = played(2.0, "start 1", random)
        other = played(2.0, f"other {seed}", random)
        work = [(8 + 0.05 * n, float(random.choice([1.5, 4.0]))) for n in range(500)] + [(40.0, 1.5)]
        assert clocks.find_code(trace_of(load_with(other, work), 60, random), in_ns(stretches)) is None


def test_a_device_that_was_held_up_does_not_find_its_code_elsewhere():
    """Stretches that began late are much shorter than a chip; that must not make the code look longer."""
    for seed in range(30):
        random = np.random.default_rng(seed)
        stretches = played(2.0, "start 1", random)
        for stretch in stretches[::5]:
            stretch[0] = stretch[1] - 0.003
        other = played(2.0, f"other {seed}", random)
        work = [(8 + 0.05 * n, float(random.choice([1.5, 4.0]))) for n in range(500)] + [(40.0, 1.5)]
        assert clocks.find_code(trace_of(load_with(other, work), 60, random), in_ns(stretches)) is None
        assert clocks.find_code(trace_of(load_with(stretches, work), 60, random), in_ns(stretches)) is not None


def test_too_short_a_trace_or_code_is_not_searched():
    random = np.random.default_rng(0)
    stretches = played(2.0, "start 1", random)
    assert clocks.find_code(trace_of(load_with(stretches), 2, random), in_ns(stretches)) is None
    assert clocks.find_code(trace_of(load_with(stretches), 40, random), in_ns(stretches[:2])) is None


@pytest.mark.parametrize("tail_w", [1.5, 0.0])
def test_a_power_without_noise_is_no_domain_error(tail_w):
    """Roots and logarithms of differences: a fit that leaves nothing over."""
    for seed in range(10):
        random = np.random.default_rng(seed)
        stretches = [[2.0 + 0.2 * n, 2.1 + 0.2 * n] for n in range(20)]
        times = [edge for pair in stretches for edge in pair]
        load = Load.of(0.0, times, [4.0, tail_w] * len(stretches))
        for kind in ("power", "energy"):
            found = clocks.find_code(trace_of(load, 20, random, 0.0, kind), in_ns(stretches))
            assert found is None or np.isfinite(found.error_s)
    squares = np.append(np.zeros(500), np.ones(500))
    assert np.isfinite(clocks._correlate(np.zeros(1000), squares[400:600])).all()


def test_codes_alone_make_a_clock():
    random = np.random.default_rng(4)
    first, last = played(2.0, "start 5", random), played(50.0, "end 5", random)
    trace = trace_of(load_with(first + last), 70, random)
    found = [clocks.find_code(trace, in_ns(one)) for one in (first, last)]
    clock = clocks.from_codes(found)
    at = np.array([30_000_000_000])
    assert (clock.logger_ns(at)[0] - at[0] - OFFSET_NS) * 1e-9 == pytest.approx(7.25 + 0.00125, abs=0.001)
    difference_s, allowed_s = clocks.disagreement(clock, found[0], trace)
    assert abs(difference_s) < 0.0005 < allowed_s < 0.01


def test_the_same_machine_is_known_by_its_boot():
    trace = trace_of(load_with([[0.0, 1.0]]), 5, np.random.default_rng(0))
    trace = power_trace.Trace(**{**vars(trace), "host_clock": {"boot_id": "b", "unix_minus_monotonic_ns": 5}})
    assert clocks.same_machine(trace, "b").logger_ns(np.array([7]))[0] == 12
    assert clocks.same_machine(trace, "other") is None and clocks.same_machine(trace, None) is None


def test_a_damaged_clock_file_is_named(tmp_path):
    assert clocks.read(tmp_path) == []
    for content in ("{", "[]", '{"sessions": [{"logs": []}]}', json.dumps({"sessions": 5})):
        (tmp_path / "clock.json").write_text(content)
        with pytest.raises(TableError, match=r"clock\.json is damaged"):
            clocks.read(tmp_path)


def test_a_computer_that_slept_during_the_run_is_a_break():
    bursts = exchanges(np.random.default_rng(1))
    for burst in bursts[2:]:
        for exchange in burst:
            exchange[1:3] = [time_ns - 30_000_000_000 for time_ns in exchange[1:3]]
    with pytest.raises(TableError, match=r"stood still for 30\.0 s during the run"):
        clocks.from_exchanges(bursts)
