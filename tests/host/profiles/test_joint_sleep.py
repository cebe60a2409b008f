"""A computer that slept in mid run: the log is split there, and what lies on either side is joined."""

import json

import numpy as np
import pytest
from pyarrow import parquet

from dime.contract import tables
from dime.contract.errors import TableError
from dime.host.metering import power, power_trace, suspends
from dime.host.metering.suspends import Anchor, Sleep
from dime.host.profiles.joint_profile import join
from tests.host import powered
from tests.host.powered import quality_of
from tests.host.profiles.test_joint_profile import POWERS_W, START_NS, make
from tests.lab.meter import StandInMeter

SLEPT_NS = 30_000_000_000


def slept(folder, noted, all_bursts, by="logger", across=False):
    """A run of 18 rows, the second half of which lies after a sleep of the logger's computer, or of the device.

    The meter's power is the same as without; what is late is one of the two clocks.
    """
    folder, rows = make(folder)
    half = 9
    wakes_ns = rows[half]["start_ns"] - 22_000_000  # on the clock that stood still
    late_ns = SLEPT_NS if by == "logger" else 0
    for row in rows[half:]:
        row["start_ns"] += late_ns
        row["end_ns"] += late_ns
    if across:
        rows[half - 1]["end_ns"] += SLEPT_NS + 60_000_000
    (folder / "timings.csv").unlink()
    with tables.Writer(str(folder / "timings.csv"), tables.TIMINGS) as writer:
        writer.write(rows)
    power_csv = folder / "power.csv"
    header, *lines = power_csv.read_text().splitlines()
    for place, line in enumerate(lines):
        body, _, stamp = line.rpartition(",")
        if int(stamp) - START_NS >= wakes_ns:
            time_ms = int(body[:10]) + SLEPT_NS // 1_000_000  # the meter did not sleep
            shift_ns = SLEPT_NS if by == "device" else 0
            lines[place] = f"{time_ms:010d}{body[10:]},{int(stamp) + shift_ns}"
    power_csv.write_text("\n".join([header, *lines]) + "\n")
    stamps = [int(line.rpartition(",")[2]) for line in lines]
    after = next(stamp for stamp in stamps if stamp - START_NS >= wakes_ns)
    if noted:
        before = max(stamp for stamp in stamps if stamp < after)
        sleep = {"before_ns": before, "after_ns": after, "slept_s": SLEPT_NS * 1e-9}
        (folder / "power_quality.json").write_text(json.dumps({"breaks_ns": [after], "sleeps": [sleep]}))
    moments = [500_000_000, rows[5]["end_ns"] + 10_000_000, rows[11]["end_ns"] + 10_000_000, rows[-1]["end_ns"] + 10**9]
    bursts = []
    for at in moments if all_bursts else (moments[0], moments[-1]):
        logger = START_NS + at + (0 if at < rows[half]["start_ns"] else -SLEPT_NS if by == "logger" else SLEPT_NS)
        bursts.append([[at, logger + 200_000, logger + 210_000, at + 410_000]])
    content = json.loads((folder / "clock.json").read_text())
    content["sessions"][0]["bursts"] = bursts
    (folder / "clock.json").write_text(json.dumps(content))
    return folder, rows


def right(folder, rows, kept):
    entries = parquet.read_table(folder / "joint_profile.parquet").to_pylist()
    assert len(entries) == len(kept)
    for row, entry in zip([rows[place] for place in kept], entries, strict=True):
        watts = POWERS_W[powered.LAYERS.index(row["last_layer"])] * (1 + 0.002 * row["iteration"])
        assert (entry["layers"], entry["iteration"]) == (row["bundle"], row["iteration"])
        assert entry["energy_j"] == pytest.approx(watts * row["duration_s"], rel=0.01)


@pytest.mark.parametrize("force", [False, True])
def test_a_sleep_that_the_log_tells_costs_only_what_lies_across(tmp_path, force):
    folder, rows = slept(tmp_path / "run", noted=True, all_bursts=False)
    found = join(folder, force=force)
    right(folder, rows, range(18))
    assert found.notes[0].startswith("this computer slept for 30.0 s during the run; what lies on either side")
    assert len(found.quality["clocks"]) == 2 and found.quality["breaks"][0]["stood_s"] == pytest.approx(30, abs=0.01)
    folder, rows = slept(tmp_path / "across", noted=True, all_bursts=False, across=True)
    found = join(folder, force=force)
    right(folder, rows, [place for place in range(18) if place != 8])
    assert "1 of 18 rows rejected: while a computer slept" in found.notes


@pytest.mark.parametrize("by", ["logger", "device"])
def test_a_sleep_that_no_log_tells_costs_what_lies_between_two_exchanges(tmp_path, by):
    folder, rows = slept(tmp_path / "run", noted=False, all_bursts=True, by=by)
    found = join(folder, force=True)
    right(folder, rows, [*range(6), *range(12, 18)])
    assert found.notes[0].startswith(f"{'this computer' if by == 'logger' else 'the device'} slept for 30.0 s")
    assert found.quality["rejected"] == {"while a computer slept": 6}


def test_with_a_sleep_between_the_only_exchanges_nothing_is_joined_not_by_force_either(tmp_path):
    folder, _ = slept(tmp_path / "run", noted=False, all_bursts=False)
    with pytest.raises(TableError, match=r"no row can be given an energy: 18 while a computer slept"):
        join(folder, force=True)


def test_what_follows_a_sleep_without_an_exchange_has_no_clock(tmp_path):
    known = [Anchor(0, 0, 0.001), Anchor(10**10, -5 * 10**9, 0.001)]
    (one,) = suspends.breaks(known, [])
    assert (one.after_ns, one.before_ns, one.who, one.stood_s) == (0, 10**10, "this computer", 5.0)
    (one,) = suspends.breaks(known, [Sleep(2 * 10**9, 2 * 10**9 + 5_000_000, 5.0)])
    slack_ns = round((500e-6 * 10 + 0.002) * 1e9)
    assert one.after_ns == 2 * 10**9 - slack_ns and one.before_ns == 7 * 10**9 + 5_000_000 + slack_ns
    # Both slept: nobody can say when, so the whole stretch between the exchanges is in doubt.
    (one,) = suspends.breaks(known, [Sleep(2 * 10**9, 2 * 10**9 + 5_000_000, 9.0)])
    assert (one.after_ns, one.before_ns) == (0, 10**10)
    assert suspends.breaks([Anchor(0, 0, 0.001), Anchor(10**10, 10**8, 0.001)], []) == []


@pytest.mark.parametrize(
    "sleeps",
    [
        7,
        [7],
        [{}],
        [{"before_ns": 2, "after_ns": 1, "slept_s": 1}],
        [{"before_ns": 1, "after_ns": 2.5, "slept_s": 1}],
        [{"before_ns": 1, "after_ns": 2, "slept_s": float("inf")}],
        [{"before_ns": 1, "after_ns": 1 << 70, "slept_s": 1}],
    ],
)
def test_sleeps_of_a_damaged_quality_file_are_refused(sleeps):
    with pytest.raises(TableError, match="the quality file's sleeps are none"):
        suspends.sleeps({"sleeps": sleeps}, "x")


def test_the_logger_notices_that_its_computer_slept(tmp_path, monkeypatch):
    asleep = [0]
    monkeypatch.setattr(suspends, "asleep_ns", lambda: asleep[0])
    said = []
    monkeypatch.setattr(power, "_write", lambda text, end="\n": said.append(text))

    def watch(recorder, _):
        powered.wait_for_rows(tmp_path / "a.csv", 50)
        asleep[0] += 12_000_000_000
        powered.wait_for_rows(tmp_path / "a.csv", 400)

    monkeypatch.setattr(power, "_watch", watch)
    with StandInMeter(lambda _: 3.0) as meter:
        power.log(tmp_path / "a.csv", serial=meter.port, baud=500000)
    quality = quality_of(tmp_path / "a.csv")
    (sleep,) = quality["sleeps"]
    assert (
        sleep["slept_s"] == 12.0
        and quality["breaks_ns"] == [sleep["after_ns"]]
        and sleep["before_ns"] < sleep["after_ns"]
    )
    assert "this computer slept for 12.0 s; the log is split there" in said
    trace = power_trace.load(tmp_path / "a.csv")
    assert trace.segment.max() >= 1 and trace.sleeps[0].slept_s == 12.0
    assert quality["faults"]["computer slept"] == 1 and np.isfinite(trace.value).all()


def test_the_kernel_is_asked():
    assert suspends.asleep_ns() > -1_000_000
    assert suspends.Watch().slept_s() == 0.0
