"""From a log's rows to readings on the logger's clock: wraps, reboots, late lines, drift, damaged files."""

import json

import numpy as np
import pytest

from dime.contract.errors import TableError
from dime.host.metering import integrate, power_trace
from dime.host.metering.api import Series
from dime.host.metering.meter_timebase import WRAP_MS, follows, quickest_line, unroll
from dime.host.metering.meters import smartpower3
from dime.host.metering.power_trace import build
from tests.lab import meter as stand_in

START_NS = 1_700_000_000_000_000_000


def series(count, own_clock=True):
    return Series("0", "power", own_clock, np.arange(count) * 1.0, np.full(count, 0.005), np.ones(count, bool))


def rows(times_ms, delays_s=0.0, boots_s=0.0):
    """Meter's times, and arrivals that are late by given delays."""
    times_ms = np.asarray(times_ms)
    arrivals = START_NS + np.rint((times_ms * 1e-3 + boots_s + delays_s) * 1e9).astype(np.int64)
    return times_ms.astype(np.int64), arrivals


@pytest.mark.parametrize(
    ("previous_ms", "new_ms", "elapsed_s", "why"),
    [
        (WRAP_MS - 3, 2, 0.005, "wrap"),
        (WRAP_MS - 3, 2, 0.3, "wrap"),
        (100_000, 1_500, 2.5, "reboot"),
        (100_000, 99_995, 0.0002, "late"),
        (100_000, 100_000, 0.0, "late"),
        (WRAP_MS - 100_000, 700, 2.0, "reboot"),
        (5_000_000, 4_000, 86_400.0, "reboot"),
    ],
)
def test_why_a_meters_time_goes_back(previous_ms, new_ms, elapsed_s, why):
    assert follows(previous_ms, new_ms, elapsed_s) == why


def test_a_wrap_goes_on_and_a_reboot_divides():
    wrapped = np.arange(WRAP_MS - 50, WRAP_MS + 50, 5)
    time_ms, arrivals = rows(wrapped)
    unrolled, segment, keep = unroll(time_ms % WRAP_MS, arrivals)
    assert (unrolled == wrapped).all() and keep.all() and not segment.any()
    time_ms = np.concatenate([np.arange(100_000, 100_100, 5), np.arange(400, 500, 5)])
    arrivals = START_NS + np.arange(40) * 5_000_000 + np.repeat([0, 1_000_000_000], 20)
    _, segment, keep = unroll(time_ms, arrivals)
    assert segment.tolist() == [0] * 20 + [1] * 20 and keep.all()


def counted(values_j):
    values = np.asarray(values_j, dtype=np.float64)
    return Series("gpu 0", "energy", False, values, np.full(len(values), 1e-6), np.ones(len(values), bool))


@pytest.mark.parametrize("noted", [True, False])
def test_a_counter_that_restarts_ends_a_segment_and_gives_no_negative_joule(noted):
    stamps = START_NS + np.arange(40, dtype=np.int64) * 100_000_000
    values = np.concatenate([100 + 0.5 * np.arange(20), 0.5 * np.arange(20)])
    quality = {"breaks_ns": [int(stamps[20])]} if noted else {}
    trace = build(counted(values), stamps // 1_000_000, stamps, "log", quality)
    assert trace.segment.tolist() == [0] * 20 + [1] * 20 and trace.counts["restarts"] == 1
    assert (np.diff(trace.value) >= 0).all() and trace.value[-1] - trace.value[0] == pytest.approx(19.0)
    found = integrate.measure(trace, stamps[[2, 15, 25]] + 1, stamps[[12, 30, 35]] + 1, 0.01)
    assert found.rejected.tolist() == ["", "across a break in the log", ""]
    assert found.energy_j[[0, 2]] == pytest.approx(5.0, rel=0.01)


def test_a_small_gap_that_stays_positive_is_a_break_where_the_logger_noted_it():
    stamps = START_NS + np.arange(40, dtype=np.int64) * 100_000_000
    values = np.concatenate([0.5 * np.arange(20), 50 + 0.5 * np.arange(20)])
    trace = build(counted(values), stamps // 1_000_000, stamps, "log", {"breaks_ns": [int(stamps[20])]})
    assert trace.value[-1] == pytest.approx(19.0), "the 40.5 J between were counted by nobody"
    assert integrate.measure(trace, stamps[[15]], stamps[[30]], 0.01).rejected == "across a break in the log"


def test_a_break_that_the_logger_noted_divides_a_meter_with_its_own_clock():
    time_ms, arrivals = rows(100_000 + 5 * np.arange(60), boots_s=np.repeat([0.0, 3.0, 9.0], 20))
    time_ms[40:] = 4_000 + 5 * np.arange(20)
    quality = {"breaks_ns": arrivals[[20, 40]].tolist()}
    trace = build(series(60), time_ms, arrivals, "log", quality)
    assert trace.segment.tolist() == [0] * 20 + [1] * 20 + [2] * 20
    assert trace.time_s[20] - trace.time_s[19] == pytest.approx(3.005, abs=0.002)


@pytest.mark.parametrize("breaks", ["5", [1.5], [None], [2**70], {}])
def test_breaks_that_are_no_times_are_refused(breaks):
    stamps = START_NS + np.arange(4, dtype=np.int64) * 100_000_000
    with pytest.raises(TableError, match="log: the quality file's breaks_ns are no times"):
        build(counted(np.arange(4)), stamps // 1_000_000, stamps, "log", {"breaks_ns": breaks})


def test_datagrams_that_overtake_each_other_are_left_out():
    order = [0, 1, 3, 2, 4, 7, 5, 6, 8]
    time_ms, arrivals = rows(100_000 + 5 * np.array(order))
    _, segment, keep = unroll(time_ms, np.sort(arrivals))
    assert time_ms[keep].tolist() == [100_000 + 5 * n for n in (0, 1, 3, 4, 7, 8)]
    assert not segment.any()


@pytest.mark.parametrize("ahead_ms", [4_000, 3_500 + 500, 200_000, WRAP_MS - 300, 3_000])
def test_a_meter_that_restarts_with_any_count_begins_a_new_part(ahead_ms):
    """Its last line says 3495 ms, the next one comes 6 s later; where its count is ahead, nothing runs backwards."""
    own_ms = np.concatenate([np.arange(1000, 3500, 5), ahead_ms + np.arange(0, 2500, 5)])
    true_s = np.concatenate([np.arange(0, 2.5, 0.005), 8.495 + np.arange(0, 2.5, 0.005)])
    arrivals = START_NS + np.rint(true_s * 1e9).astype(np.int64)
    trace = build(series(1000), own_ms % WRAP_MS, arrivals)
    assert trace.counts["restarts"] == 1 and (np.diff(trace.segment)[499] == 1)
    assert np.diff(trace.time_s)[499] == pytest.approx(6.0, abs=2e-3)
    assert np.ptp(trace.time_s - true_s) < 2e-3, "a jump followed by a wrap, too"


def test_this_computer_stood_still_while_the_meter_went_on():
    own_ms = np.arange(1000, 9000, 5)
    true_s = (own_ms - 1000) * 1e-3
    slept_s = np.where(true_s > 4.0, 2.5, 0.0)
    trace = build(series(len(own_ms)), own_ms, START_NS + np.rint((true_s - slept_s) * 1e9).astype(np.int64))
    assert trace.counts["restarts"] == 1, "its clock stood, the meter's did not"


@pytest.mark.parametrize("held_s", [0.3, 1.5])
def test_lines_that_are_held_up_begin_no_new_part(held_s):
    own_ms = np.arange(815_000, 825_000, 5)
    delays_s = np.full(len(own_ms), 0.001)
    held = int(held_s / 0.005)
    delays_s[500 : 500 + held] += np.linspace(held_s, 0.0, held)
    assert build(series(len(own_ms)), *rows(own_ms, delays_s)).counts["restarts"] == 0
    batches_s = -(-own_ms // 500) * 0.5 - own_ms * 1e-3
    assert build(series(len(own_ms)), *rows(own_ms, batches_s)).counts["restarts"] == 0, "arrivals in steps of 0.5 s"


def test_a_part_of_held_up_lines_only_does_not_make_the_log_unusable():
    own_ms = np.concatenate([np.arange(1000, 3000, 5), np.arange(100, 150, 5), np.arange(20, 3000, 5)])
    true_s = np.concatenate([np.arange(0, 2, 0.005), 3 + np.arange(0, 0.05, 0.005), 3.1 + np.arange(0, 2.98, 0.005)])
    true_s[400:410] += 0.3
    trace = build(series(len(own_ms)), own_ms, START_NS + np.rint(true_s * 1e9).astype(np.int64))
    assert (np.diff(trace.time_s) > 0).all() and trace.time_s[-1] == pytest.approx(true_s[-1], abs=0.01)


def test_the_quickest_arrivals_give_offset_and_drift():
    random = np.random.default_rng(0)
    own_s = np.arange(0, 600, 0.005)
    arrival_s = own_s * (1 + 60e-6) + 3.0 + 0.0002 + random.exponential(0.002, len(own_s))
    offset_s, slope = quickest_line(own_s, arrival_s)
    assert offset_s == pytest.approx(3.0002, abs=5e-5) and slope == pytest.approx(60e-6, abs=3e-7)
    for count in (1, 2, 3):
        assert np.isfinite(quickest_line(own_s[:count], arrival_s[:count])).all()


def test_a_burst_of_late_lines_does_not_move_the_readings():
    own_ms = np.arange(815_000, 825_000, 5)
    delays_s = np.full(len(own_ms), 0.002)
    delays_s[500:520] += np.arange(0.1, 0.0, -0.005)
    trace = build(series(len(own_ms)), *rows(own_ms, delays_s), quality={"wire_s": 0.00162})
    assert np.diff(trace.time_s) == pytest.approx(0.005, abs=1e-7)
    read_s = trace.time_s + (trace.epoch_ns - START_NS) * 1e-9
    # 2 ms under way, of which 1.62 ms are known; the time is cut to whole ms; half a period back to the middle.
    assert read_s[0] == pytest.approx(815 + 0.002 - 0.00162 + 0.0005 - 0.0025, abs=2e-4)
    assert trace.period_s == pytest.approx(0.005) and 0.0005 < trace.clock_error_s < 0.001


def write(folder, name="power.csv", count=200, columns=smartpower3.COLUMNS, quality=None, states=(1, 0)):
    log = folder / name
    lines = [",".join([*columns, "timestamp"])]
    for number in range(count):
        text = stand_in.line(1000 + number * 5, (100, 300), states, bug=False)[:-2].decode()
        lines.append(f"{text},{START_NS + number * 5_000_000}")
    log.write_text("\n".join(lines) + "\n")
    if quality is not None:
        power_trace.quality_path(log).write_text(json.dumps(quality))
    return log


def test_a_published_log_without_quality_file_is_read(tmp_path):
    trace = power_trace.load(write(tmp_path))
    assert len(trace.time_s) == 200 and trace.channel == "0" and trace.origin == "measured"
    assert trace.value[0] == pytest.approx(5.0115 * 0.1005)


def test_the_quality_file_says_which_channel_and_whether_it_is_a_replay(tmp_path):
    quality = {"meter": "smartpower3", "channel": "1", "origin": "replayed"}
    trace = power_trace.load(write(tmp_path, quality=quality, states=(1, 1)))
    assert (trace.channel, trace.origin) == ("1", "replayed")
    assert power_trace.load(tmp_path / "power.csv", "0").channel == "0"


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda log: log.unlink(), r"power\.csv: No such file or directory"),
        (lambda log: log.write_text(""), "is empty"),
        (lambda log: log.write_text("a,b\n1,2\n"), r"lacks the columns time \(ms\), timestamp"),
        (lambda log: log.write_text("time (ms),x,timestamp\n1,2,3\n"), "its columns are no meter's: time"),
        (lambda log: log.write_text(log.read_text().split("\n")[0] + "\n"), "holds 0 readings: too few"),
        (lambda log: log.write_text("".join(log.read_text().splitlines(True)[:2])), "holds 1 readings: too few"),
        (lambda log: log.write_text(log.read_text().replace("5011,0100", "5011,01x0", 1)), "is damaged: .*01x0"),
        (lambda log: log.write_text(log.read_text().replace("channel 0 current", "c")), "lacks the columns channel 0"),
        (lambda log: power_trace.quality_path(log).write_text("{"), r"power_quality\.json is damaged"),
        (
            lambda log: power_trace.quality_path(log).write_text('{"meter": "abacus"}'),
            "unknown meter 'abacus'; known: ",
        ),
    ],
)
def test_a_damaged_log_is_one_clear_line(tmp_path, damage, words):
    log = write(tmp_path)
    damage(log)
    with pytest.raises(Exception, match=words) as caught:
        power_trace.load(log)
    assert type(caught.value).__name__ in ("TableError", "InputError") and "\n" not in str(caught.value)


def test_rows_with_a_field_too_few_are_counted(tmp_path):
    log = write(tmp_path)
    lines = log.read_text().split("\n")
    lines[50] = lines[50].rpartition(",")[0]
    log.write_text("\n".join(lines))
    trace = power_trace.load(log)
    assert trace.counts == {"rows": 199, "late lines": 0, "restarts": 0, "damaged rows": 1}


@pytest.mark.parametrize("text", ["", "nan", "9223372036854775807"])
def test_a_reading_that_is_no_number_or_beyond_any_power_is_damaged_and_left_out(tmp_path, text):
    """Where it was kept, every energy after it was none, and the trace's place beside the clock an integer's edge."""
    log = write(tmp_path)
    lines = log.read_text().split("\n")
    names, cells = lines[0].split(","), lines[50].split(",")
    cells[next(at for at, name in enumerate(names) if name.startswith("channel 0 current"))] = text
    lines[50] = ",".join(cells)
    log.write_text("\n".join(lines))
    trace = power_trace.load(log)
    assert trace.counts == {"rows": 199, "late lines": 0, "restarts": 0, "damaged rows": 1}
    assert np.isfinite(trace.value).all() and trace.value.max() < 100


def test_logs_one_after_another_are_joined_and_overlapping_ones_refused(tmp_path):
    first = power_trace.load(write(tmp_path, "a.csv"))
    later = power_trace.Trace(**{**vars(first), "name": "b", "epoch_ns": first.epoch_ns + 5_000_000_000})
    whole = power_trace.join([later, first])
    assert (np.diff(whole.time_s) > 0).all() and whole.segment[0] == 0 and whole.segment[-1] == 1
    assert whole.counts["rows"] == 400 and whole.epoch_ns == first.epoch_ns
    with pytest.raises(TableError, match=r"a\.csv and .*a\.csv overlap in time"):
        power_trace.join([first, first])
    other = power_trace.Trace(**{**vars(later), "channel": "1"})
    with pytest.raises(TableError, match="do not belong together"):
        power_trace.join([first, other])
