import subprocess
import sys
import time

from dime.contract import timebase


def test_it_counts_whole_nanoseconds_and_never_backwards():
    readings = [timebase.monotonic_ns() for _ in range(1000)]
    assert readings == sorted(readings)
    assert all(isinstance(reading, int) for reading in readings)


def test_it_agrees_with_the_seconds_it_falls_back_to():
    before, seconds_ns, after = timebase.monotonic_ns(), timebase._seconds_ns(), timebase.monotonic_ns()
    assert before - 1000 <= seconds_ns <= after + 1000
    time.sleep(0.01)
    assert timebase.monotonic_ns() - before >= 10 * 1000 * 1000


def test_two_processes_read_the_same_clock():
    code = "from dime.contract.timebase import monotonic_ns; print(monotonic_ns())"
    before = timebase.monotonic_ns()
    other = int(subprocess.check_output([sys.executable, "-c", code]).decode())
    assert before < other < timebase.monotonic_ns()
