"""The power logger as its users meet it: over real sockets, from a real pseudo-terminal, killed and unplugged."""

import json
import os
import pty
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from dime.contract.errors import DeviceError, DimeError, InputError
from dime.host import power, power_trace
from dime.host.meters import smartpower3
from tests.host.conftest import dime
from tests.host.powered import serving
from tests.lab import meter as stand_in
from tests.lab.meter import StandInMeter


def wave(now_s):
    """A load that is never the same for long, so that the firmware's bug shows."""
    return 2.0 + 0.001 * (int(now_s * 200) % 997)


@pytest.fixture
def meter():
    with StandInMeter(wave) as one:
        yield one


@pytest.fixture
def server(meter, tmp_path):
    with serving(meter, tmp_path) as (port, thread):
        yield Client(port), thread


class Client:
    """A client that speaks the published protocol: a connection for each message, no end mark, one answer."""

    def __init__(self, port):
        self.port = port

    def connect(self):
        connection = socket.create_connection(("127.0.0.1", self.port), 5)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    def __call__(self, message):
        with self.connect() as connection:
            connection.sendall(message)
            return connection.recv(1024)

    def talk(self, *lines):
        with self.connect() as connection:
            connection.sendall(b"".join(line + b"\n" for line in lines))
            stream = connection.makefile("rb")
            return [stream.readline().removesuffix(b"\n") for _ in lines]


def quality_of(log):
    return json.loads(power_trace.quality_path(log).read_text())


def rows_of(log):
    header, *rows = log.read_text().splitlines()
    return header.split(","), [row.split(",") for row in rows]


def test_the_published_protocol_byte_for_byte(server, tmp_path):
    say, thread = server
    assert say(b"start,nano_alexnet_76800000.csv") == b"started"
    time.sleep(1)
    assert say(b"stop") == b"stopped"
    assert say(b"hello") == b"bad message"
    assert say(b"shutdown") == b"ack_shutdown"
    header, rows = rows_of(tmp_path / "nano_alexnet_76800000.csv")
    thread.join(5)
    assert not thread.is_alive()
    assert header == [*smartpower3.COLUMNS, "timestamp"]
    assert header[:2] == ["time (ms)", "input voltage (mV)"] and header[-2:] == ["checksum B", "timestamp"]
    assert 120 < len(rows) < 300 and all(len(row) == 18 for row in rows)
    assert abs(int(rows[-1][-1]) - time.time_ns()) < 60e9
    assert all(smartpower3.fault(",".join(row[:-1]).encode() + b"\r\n") == "" for row in rows)


def test_a_log_is_safely_written_when_shutdown_is_answered(server, tmp_path):
    say, _ = server
    say(b"start,log.csv")
    time.sleep(0.3)
    assert say(b"shutdown") == b"ack_shutdown"
    quality = quality_of(tmp_path / "log.csv")
    assert (quality["state"], quality["ended_by"], quality["rows"]) == (
        "complete", "shutdown", len(rows_of(tmp_path / "log.csv")[1]),
    )  # fmt: skip


def test_messages_come_in_pieces_or_several_at_once(server, tmp_path):
    say, _ = server
    with say.connect() as connection:
        for byte in b"start,pieces.csv":
            connection.sendall(bytes([byte]))
            time.sleep(0.005)
        assert connection.recv(100) == b"started"
    answers = say.talk(b"stop", b"start,two.csv", b"nonsense", b"stop")
    assert answers == [b"stopped", b"started", b"bad message", b"stopped"]
    with say.connect() as connection:
        connection.sendall(b"stop\nstart,three.csv")
        time.sleep(0.5)
        assert connection.recv(100) == b"stopped\nstarted"
    assert {path.name for path in tmp_path.glob("*.csv")} == {"pieces.csv", "two.csv", "three.csv"}


def test_a_message_before_half_a_close_is_answered(server):
    say, _ = server
    with say.connect() as connection:
        connection.sendall(b"stop")
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(100) == b"stopped"
        assert connection.recv(100) == b""


def test_clients_vanish_come_twice_or_never_say_stop(server, tmp_path):
    say, _ = server
    for half in (b"", b"sta", b"start,", b"clock,12"):
        with say.connect() as connection:
            connection.sendall(half)
    assert say(b"start,first.csv") == b"started"
    assert say(b"start,first.csv") == b"started", "the same again: its answer may have been lost"
    time.sleep(0.2)
    assert say(b"start,second.csv") == b"started", "the device of the first log never said stop"
    assert quality_of(tmp_path / "first.csv")["state"] == "complete"
    assert quality_of(tmp_path / "first.csv")["ended_by"] == "another start"
    assert say(b"stop") == b"stopped" == say(b"stop")


def test_many_clients_at_once(server):
    say, _ = server
    connections = [say.connect() for _ in range(100)]
    assert say(b"stop") == b"stopped"
    for connection in connections:
        connection.close()


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("/etc/passwd", "is a path"),
        ("../log.csv", "is a path"),
        ("a/../../log.csv", "is a path"),
        ("logs\\log.csv", "is a path"),
        ("..", "begins with a dot"),
        (".hidden.csv", "begins with a dot"),
        ("log\0.csv", "control characters"),
        ("log\r.csv", "control characters"),
        ("x" * 250 + ".csv", "too long"),
        ("ü" * 125, "too long"),
        ("link.csv", "is there already; nothing was overwritten"),
        ("there.csv", "is there already; nothing was overwritten"),
        ("quality.csv", "quality_quality.json is there already"),
    ],
)
def test_a_name_from_the_network_never_leaves_the_folder(server, tmp_path, name, reason):
    say, _ = server
    (tmp_path / "link.csv").symlink_to(tmp_path.parent / "elsewhere.csv")
    (tmp_path / "there.csv").write_text("precious")
    (tmp_path / "quality_quality.json").symlink_to(tmp_path.parent / "elsewhere.csv")
    answer = say(f"start,{name}".encode())
    assert answer.startswith(b"refused: ") and reason.encode() in answer
    assert (tmp_path / "there.csv").read_text() == "precious"
    assert not (tmp_path.parent / "elsewhere.csv").exists()
    assert not (tmp_path / "quality.csv").exists()
    assert say(b"start,good.csv") == b"started"


def test_hello_clock_marks_and_energy(server, tmp_path):
    say, _ = server
    hello, clock, started, mark = say.talk(b"hello,1", b"clock,123", b"start,a.csv", b"mark,77,conv1, third time")
    assert hello.startswith(b"hello,1,smartpower3,") and 4e6 < int(hello.split(b",")[3]) < 6e6
    word, sent, received, answered = clock.split(b",")
    assert (word, sent) == (b"clock", b"123") and 0 <= int(answered) - int(received) < 5e8
    assert (started, mark) == (b"started", b"marked")
    begin = int(answered) + 100_000_000
    windows = [begin, begin + 300_000_000, begin, begin + 1_000_000, begin - 10**12, begin - 10**12 + 10**8]
    answer = say.talk(b"energy,1000," + ",".join(map(str, windows)).encode())[0].decode()
    first, short, before = answer.removeprefix("energy,").split(",")
    joules, error, samples = first.split("/")
    assert 0.3 * 1.9 < float(joules) < 0.3 * 3.1 and 0 < float(error) < 0.1 and 55 < int(samples) < 65
    assert short == "none/shorter than the meter's period" and before == "none/before the log began"
    assert say(b"stop") == b"stopped"
    (entry,) = quality_of(tmp_path / "a.csv")["marks"]
    assert (entry["device_ns"], entry["text"]) == (77, "conv1, third time")


@pytest.mark.parametrize(
    "message",
    [
        b"start", b"stop,now", b"shutdown,", b"STOP", b" stop", b"clock", b"clock,", b"clock,x", b"clock,1e3",
        b"clock,1_0", "clock,١".encode(), b"mark,1", b"mark,x,y", b"energy,1", b"energy,1,2", b"energy,1,5,2",
        b"energy,-1,2,5", b"energy,0,1,99999999999999999999999", b"hello", b"hello,x", b"\xff\xfe", b"x" * 5000,
    ],
)  # fmt: skip
def test_anything_else_is_a_bad_message(server, message):
    assert server[0](message) == b"bad message"


def test_a_token_may_be_demanded(meter, tmp_path, monkeypatch):
    monkeypatch.setenv("DIME_POWER_TOKEN", "s3cret, with a comma")
    with serving(meter, tmp_path) as (port, _):
        say = Client(port)
        assert say(b"start,a.csv") == b"refused: a token is needed" == say(b"shutdown") == say(b"clock,1")
        assert say(b"nonsense") == b"bad message"
        wrong = [b"refused: the token is wrong", b"refused: a token is needed"]
        assert say.talk(b"hello,1,wrong", b"start,a.csv") == wrong
        assert say.talk(b"hello,1") == [b"refused: a token is needed"]
        hello, started = say.talk(b"hello,1,s3cret, with a comma", b"start,a.csv")
        assert hello.startswith(b"hello,1,") and started == b"started"
        assert say(b"stop") == b"refused: a token is needed", "each connection says it anew"
    assert quality_of(tmp_path / "a.csv")["state"] == "complete"


def test_the_logger_listens_on_loopback_and_stays_if_told_to(meter, tmp_path):
    call = f"power.serve(port=0, folder={str(tmp_path)!r}, serial={meter.port!r}, baud=500000, keep=True)"
    logger = Logger(call)
    port = int(logger.until("waiting for devices").rsplit(":", 1)[1])
    sockets = Path("/proc/net/tcp").read_text()
    assert f" 0100007F:{port:04X} " in sockets and f" 00000000:{port:04X} " not in sockets
    assert Client(port)(b"shutdown") == b"ack_shutdown"
    time.sleep(0.3)
    assert Client(port)(b"start,later.csv") == b"started"
    code, words = logger.end(signal.SIGTERM)
    assert code == 0 and "later.csv is complete" in words


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("203.0.113.7", "cannot listen at 203.0.113.7:0: .*; it is no address of this computer"),
        ("no such host", "cannot listen at no such host"),
    ],
)
def test_an_address_that_is_not_ours(meter, tmp_path, address, words):
    with pytest.raises(DimeError, match=words):
        power.serve(address, 0, folder=tmp_path, serial=meter.port, baud=500000)


def test_a_port_that_is_taken(meter, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as other, pytest.raises(DeviceError, match="is another logger running"):
        power.serve(port=other.getsockname()[1], folder=tmp_path, serial=meter.port, baud=500000)


@pytest.mark.parametrize("port", [-1, 65536, 80000])
def test_a_port_that_is_none(meter, tmp_path, port):
    with pytest.raises(InputError, match=f"cannot listen at port {port}; ports are 1 to 65535"):
        power.serve(port=port, folder=tmp_path, serial=meter.port, baud=500000)


def test_whoever_started_the_logger_may_end_it(meter, tmp_path):
    over, ready = threading.Event(), threading.Event()
    options = {"port": 0, "folder": tmp_path, "token": "secret", "serial": meter.port, "baud": 500000}
    call = {"over": over, "ready": lambda port: ready.set(), **options}
    thread = threading.Thread(target=power.serve, kwargs=call, daemon=True)
    thread.start()
    assert ready.wait(5)
    over.set()
    thread.join(5)
    assert not thread.is_alive()


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
    assert sorted(reasons) == ["ina3221", "nvml", "rapl", "replay", "smartpower3"]
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


class Logger:
    """``power.log`` or ``power.serve`` in a process of its own, as a person runs it."""

    def __init__(self, call, **environment):
        self.process = subprocess.Popen(
            [sys.executable, "-c", f"from dime.host import power\n{call}"],
            stderr=subprocess.PIPE, text=True, env={**os.environ, **environment},
        )  # fmt: skip

    def until(self, words):
        for line in self.process.stderr:
            if words in line:
                return line
        raise AssertionError(f"it ended with {self.process.wait()} before saying {words}")

    def end(self, number):
        self.process.send_signal(number)
        try:
            return self.process.wait(10), self.process.stderr.read()
        finally:
            self.process.stderr.close()


def wait_for_rows(log, count):
    until = time.monotonic() + 20
    while not log.exists() or log.read_bytes().count(b"\n") < count:
        assert time.monotonic() < until
        time.sleep(0.02)


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
        time.sleep(4)
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
    assert 0.2 < (trace.time_s[1:] - trace.time_s[:-1]).max() < 0.6


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
            time.sleep(4)
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
from dime.host.recorder import Recorder
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
