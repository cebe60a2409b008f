"""The power logger as its clients meet it: over real sockets, with every message they may send."""

import signal
import socket
import threading
import time
from pathlib import Path

import pytest

from dime.contract.errors import DeviceError, DimeError, InputError
from dime.host import power
from dime.host.meters import smartpower3
from tests.host.powered import Client, Logger, quality_of, rows_of, serving, wave
from tests.lab.meter import StandInMeter


@pytest.fixture
def meter():
    with StandInMeter(wave) as one:
        yield one


@pytest.fixture
def server(meter, tmp_path):
    with serving(meter, tmp_path) as (port, thread):
        yield Client(port), thread


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
