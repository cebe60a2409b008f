"""The join of an hour's power beside a loop over masks, and a day of logging: ratios and memory."""

import subprocess
import sys
import time

import numpy as np
import pytest

from dime.contract import tables
from dime.contract.bundles import enumerate_bundles, spell
from dime.contract.run import TIMINGS
from dime.host.metering import integrate, power_trace
from dime.host.metering.meters import smartpower3
from dime.host.profiles import joint_profile
from tests.host import powered
from tests.host.profiles.test_joint_profile import write_clock

pytestmark = pytest.mark.benchmark

START_NS = 1_700_000_000_000_000_000
HOUR_MS = 3_600_000
WINDOWS = 43_200
FREQUENCIES = 12


def log_an_hour(path):
    """720,000 good rows without a meter's checksums, which the join does not read again."""
    ms = np.arange(0, HOUR_MS + 2000, 5)
    current = 300 + (ms // 97 * 131) % 700
    with path.open("w") as stream:
        stream.write(",".join([*smartpower3.COLUMNS, "timestamp"]) + "\n")
        stream.writelines(
            f"{one:010d},19143,0155,02961,0,05011,{now:04d},{5011 * now // 1000:05d},1,00,00005,0000,00000,0,00,eb,1b,"
            f"{START_NS + 1_000_000 * one}\n"
            for one, now in zip(ms.tolist(), current.tolist(), strict=True)
        )


def run_of_an_hour(folder):
    """43,200 windows of 60 ms, 83.3 ms apart, of six bundles at twelve frequencies."""
    bundles = enumerate_bundles(3)
    groups = len(bundles) * FREQUENCIES
    rows = []
    for number in range(WINDOWS):
        bundle, hertz = bundles[number % len(bundles)], 76_800_000 * (1 + number * FREQUENCIES // WINDOWS)
        start_ns = 1_000_000_000 + number * HOUR_MS * 1_000_000 // WINDOWS
        rows.append(
            {
                "bundle": spell(bundle, powered.LAYERS), "first_layer": powered.LAYERS[bundle.first],
                "last_layer": powered.LAYERS[bundle.last], "frequency_hz": hertz,
                "iteration": number // len(bundles) % (WINDOWS // groups), "run": 0, "image": "cat", "repeats": 3,
                "duration_s": 0.02, "start_ns": start_ns, "end_ns": start_ns + 60_000_000, "input_bytes": 10,
                "output_bytes": 11, "input_shape": "1x2", "output_shape": "1x2",
            }
        )  # fmt: skip
    with tables.Writer(str(folder / TIMINGS), tables.TIMINGS) as writer:
        writer.write(rows)
    sessions = [{"rows": 0, "start_ns": 1_000_000_000, "boot_id": "here"}]
    powered.spec(WINDOWS // groups, 1, 0.06, sessions).write(str(folder))
    write_clock(folder, 3601.0)


def by_masks(trace, start_ns, end_ns):
    """Each window's energy from its edges and the readings inside, which are found anew for every window."""
    edges_s = np.stack([trace.seconds(start_ns), trace.seconds(end_ns)], axis=1)
    edges_w = np.interp(edges_s, trace.time_s, trace.value)
    found = []
    for (start_s, end_s), (first_w, last_w) in zip(edges_s.tolist(), edges_w.tolist(), strict=True):
        inside = (trace.time_s > start_s) & (trace.time_s < end_s)
        time_s = np.concatenate([[start_s], trace.time_s[inside], [end_s]])
        found.append(float(np.trapezoid(np.concatenate([[first_w], trace.value[inside], [last_w]]), time_s)))
    return np.array(found)


def timed(call):
    began = time.perf_counter()
    result = call()
    return time.perf_counter() - began, result


def test_an_hour_of_readings_with_43200_windows(tmp_path, figures):
    log_an_hour(tmp_path / "power.csv")
    run_of_an_hour(tmp_path)
    first_s, _ = timed(lambda: joint_profile.join(tmp_path))
    whole_s, result = timed(lambda: joint_profile.join(tmp_path))
    read_s, trace = timed(lambda: power_trace.load(tmp_path / "power.csv"))
    start_ns = START_NS + 1_000_000_000 + np.arange(WINDOWS) * HOUR_MS * 1_000_000 // WINDOWS
    end_ns = start_ns + 60_000_000
    one_pass_s, energies = timed(lambda: integrate.measure(trace, start_ns, end_ns, 0.001))
    few = slice(0, None, 50)
    on_time = integrate.measure(trace, start_ns[few], end_ns[few], 0.0)  # masks know no error of the clock
    masks_s, plain_j = timed(lambda: by_masks(trace, start_ns[few], end_ns[few]))
    masks_s *= WINDOWS / len(plain_j)
    assert result.rows == WINDOWS and (energies.rejected == "").all()
    assert on_time.energy_j - on_time.edge_j == pytest.approx(plain_j, abs=1e-8)
    figures(
        f"{len(trace.time_s)} readings, {WINDOWS} windows: integrals with uncertainties {one_pass_s:.2f} s, a"
        f" loop over masks {masks_s:.0f} s (a fiftieth of it timed), {masks_s / one_pass_s:.0f} x; reading the log"
        f" {read_s:.2f} s; the whole join of files {whole_s:.2f} s ({first_s:.2f} s with its imports)"
    )


A_DAY = """
import sys
from collections import Counter
from pathlib import Path
from dime.host.metering.meters import smartpower3
from dime.host.metering.api import RecordingEndedError, Sample
from dime.host.metering.recorder import Recorder

ROWS, AT_ONCE, HOUR = 24 * 720_000, 500, 720_000
TAIL = ",19143,0155,02961,0,05011,0532,02665,1,00,00005,0000,00000,0,00,eb,1b"

class Day:
    writes, kind, own_clock, origin, wire_s = "smartpower3", "power", True, "measured", 0.0
    channel, gain = "", None
    columns = smartpower3.COLUMNS
    def __init__(self, options):
        self.faults, self.row = Counter(), 0
    def read(self):
        if self.row >= ROWS:
            raise RecordingEndedError
        rows = range(self.row, self.row + AT_ONCE)
        self.row += AT_ONCE
        if self.row % (10 * AT_ONCE) == 0:
            recorder.status()  # waits until all of it is written, for no meter is quicker than the disk
        if self.row % HOUR == 0:
            print(Path('/proc/self/status').read_text().partition('VmHWM:')[2].split()[0], flush=True)
        self.faults["lines read"] += AT_ONCE
        # Each period is a little different, and now and then a line is missing.
        kept = [n for n in rows if n % 256]
        return [Sample(f"{5 * n:010d}{TAIL}", 5 * n + (n % 977 == 0), 5_000_000 * n + n % 1000) for n in kept]
    def close(self):
        pass

smartpower3.open_meter = Day
recorder = Recorder("smartpower3", {}, print)
recorder.start(Path(sys.argv[1]))
recorder.begin()
recorder.ended.wait()
recorder.close("the end of the day")
"""


@pytest.mark.timeout(1200)
def test_memory_of_a_day(tmp_path, figures):
    """A day of readings at 200 Hz through logger and file, as quickly as they go; the file is 2 GB for a while."""
    log = tmp_path / "day.csv"
    wall_s, result = timed(
        lambda: subprocess.run(
            [sys.executable, "-c", A_DAY, str(log)], capture_output=True, text=True, check=True, cwd=tmp_path
        )
    )
    hours = [int(line) // 1024 for line in result.stdout.splitlines() if line.isdigit()]
    size = log.stat().st_size
    rows = power_trace.read_quality(log)["rows"]
    log.unlink()
    figures(
        f"24 h at 200 Hz, {rows} rows, {size / 1e9:.1f} GB: {86400 / wall_s:.0f} times as fast as the meter;"
        f" memory after 1, 12 and 24 h: {hours[0]}, {hours[11]}, {hours[-1]} MB"
    )
    assert len(hours) == 24 and rows == 24 * 720_000 - 24 * 720_000 // 256
    assert hours[-1] - hours[0] < 8
