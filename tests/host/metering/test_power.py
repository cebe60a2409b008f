"""The power logger as a person meets it: from a real pseudo-terminal, killed, unplugged, out of disk."""

import os
import pty
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dime.contract.errors import DeviceError, InputError
from dime.host.metering import power, power_trace
from dime.host.metering.meters import smartpower3
from tests.host.conftest import dime
from tests.host.powered import Client, Logger, quality_of, rows_of, serving, wait_for_rows, wave
from tests.lab import meter as stand_in
from tests.lab.meter import StandInMeter


@pytest.fixture
def meter():
    with StandInMeter(wave) as one:
        yield one


def test_a_live_line_shows_watts_rate_and_dropped_lines(meter, tmp_path):
    terminal, end = pty.openpty()
    command = [sys.executable, "-m", "dime.host", "power", "log", str(tmp_path / "live.csv")]
    command += [f"--serial={meter.port}", "--baud=500000"]
    with subprocess.Popen(command, stderr=end, stdout=subprocess.PIPE) as process:
        wait_for_rows(tmp_path / "live.csv", 500)
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0
    os.close(end)
    shown = os.read(terminal, 65536).decode()
    os.close(terminal)
    lines = re.findall(r"\r\x1b\[K00:00:0\d   (\S+) W   (\d+)/s   (\d+) dropped", shown)
    assert len(lines) >= 3 and "Traceback" not in shown
    watts, rate, dropped = lines[-1]
    assert 2.0 < float(watts) < 3.0 and 150 < int(rate) < 250
    assert int(dropped) <= meter.short + quality_of(tmp_path / "live.csv")["readings_missing_in_gaps"]


def test_the_command_says_which_meters_are_usable(meter, tmp_path):
    said = dime("power", "meters", f"--serial={meter.port}", folder=tmp_path).stdout
    reasons = dict(line.split(None, 1) for line in said.splitlines())
    assert sorted(reasons) == ["command", "ina3221", "nvml", "rapl", "replay", "smartpower3"]
    assert reasons["smartpower3"] == "usable" and reasons["replay"] == "needs a recorded log: --recording"


def test_a_recording_is_logged_at_once_by_the_command(meter, tmp_path):
    with serving(meter, tmp_path) as (port, _):
        Client(port)(b"start,first.csv")
        time.sleep(0.5)
        Client(port)(b"stop")
    words = ["--meter=replay", "--recording=first.csv", "--at-once=true"]
    assert dime("power", "log", "second.csv", *words, folder=tmp_path).stdout == "second.csv\n"
    assert (tmp_path / "second.csv").read_bytes() == (tmp_path / "first.csv").read_bytes()
    again = dime("power", "log", "second.csv", *words, folder=tmp_path, check=False)
    assert (again.returncode, again.stderr) == (1, "dime: second.csv is there already; nothing was overwritten\n")


def test_kill_9_costs_at_most_a_second(meter, tmp_path):
    logger = Logger(f"power.serve(port=0, folder={str(tmp_path)!r}, serial={meter.port!r}, baud=500000)")
    port = int(logger.until("waiting for devices").rsplit(":", 1)[1])
    Client(port)(b"start,killed.csv")
    log = tmp_path / "killed.csv"
    wait_for_rows(log, 300)
    killed_ns = time.time_ns()
    logger.end(signal.SIGKILL)
    _, rows = rows_of(log)
    assert killed_ns - int(rows[-1][-1] if len(rows[-1]) == 18 else rows[-2][-1]) < 1.2e9
    trace = power_trace.load(log)
    assert len(trace.time_s) >= len(rows) - 1 and trace.period_s == pytest.approx(0.005, rel=0.01)
    assert quality_of(log)["state"] == "logging"


def test_a_row_cut_off_by_a_power_cut_is_counted_and_left_out(meter, tmp_path):
    log = tmp_path / "cut.csv"
    logger = Logger(f"power.log({str(log)!r}, serial={meter.port!r}, baud=500000)")
    wait_for_rows(log, 50)
    logger.end(signal.SIGINT)
    content = log.read_bytes()
    log.write_bytes(content[:-30] + b"\0" * 64)
    trace = power_trace.load(log)
    assert trace.counts["rows"] == content.count(b"\n") - 2 and trace.counts["damaged rows"] == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_completes_a_log(meter, tmp_path, number):
    log = tmp_path / "mine.csv"
    logger = Logger(f"power.log({str(log)!r}, serial={meter.port!r}, baud=500000)")
    wait_for_rows(log, 100)
    code, words = logger.end(number)
    assert code == 0 and f"{log} is complete" in words
    quality = quality_of(log)
    assert quality["state"] == "complete" and quality["usual_period_s"] == 0.005
    assert quality["achieved_period_s"] == pytest.approx(0.005, rel=0.05)


def test_every_lost_line_is_counted(meter, tmp_path):
    with serving(meter, tmp_path) as (port, _):
        Client(port)(b"start,bug.csv")
        before, until = meter.short, time.monotonic() + 30
        while meter.short < before + 2 and time.monotonic() < until:
            time.sleep(0.05)
        time.sleep(0.1)
        Client(port)(b"stop")
    quality = quality_of(tmp_path / "bug.csv")
    faults = quality["faults"]
    assert set(faults) == {"short lines"} and 1 <= faults["short lines"] <= meter.short
    assert quality["lines_read"] == quality["rows"] + faults["short lines"]
    assert 0 <= faults["short lines"] - quality["readings_missing_in_gaps"] <= 1, "unless one is first or last"


def test_a_reboot_of_the_meter_divides_the_log(meter, tmp_path):
    with serving(meter, tmp_path) as (port, _):
        Client(port)(b"start,reboot.csv")
        time.sleep(0.6)
        meter.reboot()
        time.sleep(1.0)
        Client(port)(b"stop")
    quality = quality_of(tmp_path / "reboot.csv")
    assert quality["meter_reboots"] == 1 and quality["faults"]["other text"] >= 2
    trace = power_trace.load(tmp_path / "reboot.csv")
    assert trace.segment[0] == 0 and trace.segment[-1] == 1
    assert 0.2 < (trace.time_s[1:] - trace.time_s[:-1]).max() < 3


def test_a_cable_may_be_pulled_and_put_back(tmp_path):
    link = tmp_path / "tty"
    with StandInMeter(wave, link=str(link)) as meter:
        meter.port = str(link)
        with serving(meter, tmp_path) as (port, _):
            Client(port)(b"start,cable.csv")
            time.sleep(0.4)
            meter.pull_cable()
            time.sleep(0.3)
            meter.put_cable_back()
            before = (tmp_path / "cable.csv").stat().st_size
            until = time.monotonic() + 15
            while (tmp_path / "cable.csv").stat().st_size < before + 5000 and time.monotonic() < until:
                time.sleep(0.05)
            Client(port)(b"stop")
    quality = quality_of(tmp_path / "cable.csv")
    assert quality["faults"]["meter gone"] == 1 and quality["longest_gap_s"] > 0.2
    trace = power_trace.load(tmp_path / "cable.csv")
    assert len(quality["breaks_ns"]) == 1 and trace.segment[-1] == 1, "nothing is known of the time without a cable"


@pytest.mark.parametrize(
    ("change", "baud", "words"),
    [
        ({}, 115200, r"no valid line in 3 s; is it logging, at this rate\? \(.* bytes from /dev/pts/\d+ at 115200"),
        ({"logging": False}, 500000, r"no valid line in 3 s; .* \(nothing arrived from /dev/pts/\d+ at 500000 baud"),
    ],
)
def test_no_lines_are_explained(meter, tmp_path, monkeypatch, change, baud, words):
    for name, value in change.items():
        setattr(meter, name, value)
    time.sleep(0.05)
    with pytest.raises(DeviceError, match=words):
        power.serve(port=0, folder=tmp_path, serial=meter.port, baud=baud)


def test_a_port_in_use(meter, tmp_path):
    with serving(meter, tmp_path), pytest.raises(DeviceError, match="is in use by another program"):
        power.log(tmp_path / "other.csv", serial=meter.port, baud=500000)
    assert not (tmp_path / "other.csv").exists()


@pytest.mark.skipif(os.getuid() != 0, reason="changes its user, which takes root")
def test_no_permission_names_the_group(meter):
    os.chmod(meter.port, 0o620)
    call = f"""
import os, serial, serial.tools.list_ports, grp; os.setgid(65534); os.setgroups([]); os.setuid(65534)
from dime.contract.errors import DeviceError
try: power.log("/tmp/never.csv", serial={meter.port!r}, baud=500000)
except DeviceError as error: print("SAID", error, flush=True, file=__import__("sys").stderr)
"""
    logger = Logger(call)
    line = logger.until("SAID")
    logger.end(signal.SIGTERM)
    group = "tty" if os.stat(meter.port).st_gid == 5 else "root"
    assert f"it belongs to group {group}; sudo usermod -aG {group} $USER, then log in again" in line


def test_an_existing_log_is_never_overwritten(meter, tmp_path):
    (tmp_path / "old.csv").write_text("precious")
    with pytest.raises(InputError, match=r"old\.csv is there already; nothing was overwritten"):
        power.log(tmp_path / "old.csv", serial=meter.port, baud=500000)
    assert (tmp_path / "old.csv").read_text() == "precious"


def test_datagrams_make_the_same_log(tmp_path):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        address = free.getsockname()
    with StandInMeter(wave, udp=address) as meter, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        meter.port = f"udp://127.0.0.1:{address[1]}"
        with serving(meter, tmp_path) as (port, _):
            Client(port)(b"start,udp.csv")
            stranger.bind(("127.0.0.2", 0))
            stranger.sendto(stand_in.line(1, (100, 0)), address)
            time.sleep(0.6)
            Client(port)(b"stop")
    quality = quality_of(tmp_path / "udp.csv")
    assert quality["faults"]["datagrams of another sender"] == 1
    assert power_trace.load(tmp_path / "udp.csv").period_s == pytest.approx(0.005, rel=0.01)


def test_a_disk_that_is_full_ends_the_log_with_a_word(meter, tmp_path):
    if not Path("/dev/shm").is_dir() or os.getuid() != 0:
        pytest.skip("needs root to mount a small disk")
    small = tmp_path / "small"
    small.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(small)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("nothing can be mounted here")
    try:
        with serving(meter, small) as (port, _):
            Client(port)(b"start,full.csv")
            until_s = time.monotonic() + 20
            while os.statvfs(small).f_bavail and time.monotonic() < until_s:
                time.sleep(0.1)
            time.sleep(1.5)  # until the rows after that
            answer = Client(port)(b"stop")
            assert answer.startswith(b"refused: ") and b"No space left on device; the log ends there" in answer
            assert Client(port)(b"stop") == b"stopped"
        assert power_trace.load(small / "full.csv").counts["rows"] > 200
        files = sorted(small.iterdir())
        assert [path.name for path in files] == ["full.csv", "full_quality.json"]
        with serving(meter, small) as (port, _):
            assert b"No space left on device" in Client(port)(b"start,other.csv")
            assert sorted(small.iterdir()) == files, "nothing half begun stays"
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_memory_stays_flat(meter, tmp_path):
    """An hour's readings at once from a recording, with the memory watched."""
    recording = tmp_path / "hour.csv"
    with recording.open("w") as stream:
        stream.write(",".join([*smartpower3.COLUMNS, "timestamp"]) + "\n")
        for number in range(200_000):
            text = stand_in.line(number * 5, (100 + number % 900, 0), bug=False)[:-2].decode()
            stream.write(f"{text},{1_700_000_000_000_000_000 + number * 5_000_000}\n")
    call = f"""
import resource
from dime.host.metering.recorder import Recorder
grown = []
keep = Recorder._keep
def watched(self, batch):
    keep(self, batch)
    if batch.samples and self._recent.count in (50_000, 200_000):
        grown.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
Recorder._keep = watched
power.log({str(tmp_path / "copy.csv")!r}, meter="replay", recording={str(recording)!r}, at_once=True)
print("GREW", grown[1] - grown[0], flush=True, file=__import__("sys").stderr)
"""
    logger = Logger(call)
    grown_kb = int(logger.until("GREW").split()[1])
    logger.end(signal.SIGTERM)
    assert grown_kb < 8 * 1024
    assert (tmp_path / "copy.csv").read_bytes() == recording.read_bytes()
