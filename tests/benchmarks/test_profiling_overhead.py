"""How much of a profile's time is spent inside the runs it is made of."""

import os
import subprocess
import sys
import time

import pytest

from dime.contract import tables
from dime.contract.run import TIMINGS
from dime.device import overheads, timings


@pytest.mark.benchmark
def test_a_profile_takes_little_longer_than_its_runs(tmp_path, figures):
    def device(*words):
        command = [sys.executable, "-m", "dime.device", *map(str, words), "--network=alexnet"]
        subprocess.run(
            [*command, "--samples", tmp_path / "samples"],
            check=True,
            stdout=subprocess.DEVNULL,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )

    device("samples", "--weights=seeded 0")
    start_s = time.perf_counter()
    device("profile", "--out", tmp_path / "out", "--threads=1", "--warmups=0")
    wall_s = time.perf_counter() - start_s
    rows = tables.read(str(tmp_path / "out" / TIMINGS), tables.TIMINGS)
    inside_s = sum(row["duration_s"] * row["repeats"] for row in rows)
    waited = [row["waited_s"] for row in rows if row["waited_s"] is not None]
    asked_s = overheads.MOST_S + sum(waited) + len(waited) * timings.WAIT_S  # measured on purpose, and bounded
    span_s = (rows[-1]["end_ns"] - rows[0]["start_ns"]) * 1e-9
    figures(
        f"AlexNet, {len(rows)} runs: the process takes {wall_s / inside_s:.3f} times the time inside them "
        f"({wall_s:.1f} s to {inside_s:.1f} s); from the first to the last run it is {span_s / inside_s:.3f} times; "
        f"overheads and runs behind waits may take {asked_s:.1f} s of it"
    )
    assert wall_s <= 1.25 * inside_s + asked_s
