"""The power logger as its clients meet it: over real sockets, with every message they may send."""

import contextlib
import re
import signal
import socket
import threading
import time
from pathlib import Path

import pytest

from dime.contract import power_protocol as protocol
from dime.contract.errors import DeviceError, DimeError, InputError
from dime.host.metering import power, power_server
from dime.host.metering.meters import smartpower3
from tests.host.conftest import dime
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
    began_s = time.monotonic()
    assert say(b"start,nano_alexnet_76800000.csv") == b"started"
    time.sleep(1)
    assert say(b"stop") == b"stopped"
    took_s = time.monotonic() - began_s
    assert say(b"hello") == b"bad message"
    assert say(b"shutdown") == b"ack_shutdown"
    header, rows = rows_of(tmp_path / "nano_alexnet_76800000.csv")
    thread.join(5)
    assert not thread.is_alive()
    assert header == [*smartpower3.COLUMNS, "timestamp"]
    assert header[:2] == ["time (ms)", "input voltage (mV)"] and header[-2:] == ["checksum B", "timestamp"]
    assert 120 < len(rows) < 220 * took_s + 20 and all(len(row) == 18 for row in rows)
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
        received = b""
        while len(received) < len(b"stopped\nstarted"):  # the second answer waits for the meter's next reading
            received += connection.recv(100)
        assert received == b"stopped\nstarted"
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
        ("log\u009b31m.csv", "control characters"),
        ("vsc.\u202egol.csv", "control characters"),
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
        assert say.talk(b"hello,1,s3cret, with a comma") == [b"bad message"], "the token itself never travels"
        challenges = {tuple(say.talk(b"hello,1", b"proof,wrong", b"start,a.csv", b"proof,x")) for _ in range(3)}
        assert len(challenges) == 3, "a challenge is made up for each connection"
        for challenge, *others in challenges:
            assert re.fullmatch(rb"challenge,[0-9a-f]{32}", challenge)
            assert others == [b"refused: the token is wrong", b"refused: a token is needed", b"bad message"]
        with say.connect() as connection, connection.makefile("rb") as stream:
            connection.sendall(b"hello,1\n")
            nonce = stream.readline().decode().strip().split(",")[1]
            proof = protocol.proof("s3cret, with a comma", nonce).encode()
            connection.sendall(b"proof," + proof + b"\nstart,a.csv\n")
            assert stream.readline().startswith(b"hello,1,smartpower3,") and stream.readline() == b"started\n"
        assert say(b"stop") == b"refused: a token is needed", "each connection proves it anew"
        assert say.talk(b"hello,1", b"proof," + proof)[1] == b"refused: the token is wrong", (
            "a proof is of no use again"
        )
    assert quality_of(tmp_path / "a.csv")["state"] == "complete"


def prove(say, token):
    """A connection that has proved a token, as a device's."""
    connection = say.connect()
    stream = connection.makefile("rb")
    connection.sendall(b"hello,1\n")
    nonce = stream.readline().decode().strip().split(",")[1]
    connection.sendall(b"proof," + protocol.proof(token, nonce).encode() + b"\n")
    assert stream.readline().startswith(b"hello,1,")
    return connection, stream


def test_strangers_cannot_end_a_running_measurement(meter, tmp_path, monkeypatch):
    monkeypatch.setattr(power_server, "SPEAK_S", 1.0)
    monkeypatch.setenv("DIME_POWER_TOKEN", "secret")
    with serving(meter, tmp_path) as (port, _):
        say = Client(port)
        device, answers = prove(say, "secret")
        device.sendall(b"start,a.csv\n")
        assert answers.readline() == b"started\n"
        strangers = [say.connect() for _ in range(100)]
        for stranger in strangers[::2]:
            stranger.sendall(b"hello,1\nshutdown")
        other, _ = prove(say, "secret")
        time.sleep(1.5)
        for stranger in strangers:
            stranger.settimeout(1)
            with contextlib.suppress(ConnectionResetError):
                while stranger.recv(1000):
                    pass
        device.sendall(b"stop\n")
        assert answers.readline() == b"stopped\n", "the device was silent, but it is no stranger"
        device.close()
        other.close()


@pytest.mark.alone
def test_a_stranger_who_speaks_in_crumbs_is_hung_up_on(server, monkeypatch):
    monkeypatch.setattr(power_server, "SPEAK_S", 0.7)
    with server[0].connect() as stranger:
        began_s = time.monotonic()
        with contextlib.suppress(OSError):
            while time.monotonic() < began_s + 5:
                stranger.sendall(b"x")
                time.sleep(0.05)
        assert time.monotonic() - began_s < 2


def test_one_address_cannot_take_all_places(monkeypatch):
    monkeypatch.setattr(power_server, "MOST_CONNECTIONS", 8)
    monkeypatch.setattr(power_server, "MOST_OF_ONE_ADDRESS", 4)
    monkeypatch.setattr(power_server.Server, "_serve", lambda self, client, conversation: None)
    server = power_server.Server(None, Path(), "", False, lambda line: None)
    ends = []

    def come(address, known=False):
        mine, theirs = socket.socketpair()
        monkeypatch.setattr(power_server, "_ALIVE", ())
        with contextlib.suppress(OSError):
            server._admit(FakeTcp(theirs), address)
        ends.append(mine)
        for conversation in list(server._clients.values())[-1:]:
            conversation.known = known

    come("device", known=True)
    for _ in range(6):
        come("crowd")
    assert sorted(one.address for one in server._clients.values()) == ["crowd"] * 4 + ["device"]
    for number in range(20):
        come(f"crowd {number}")
    addresses = [one.address for one in server._clients.values()]
    assert len(addresses) == 8 and addresses[0] == "device" and addresses[1:] == [f"crowd {n}" for n in range(13, 20)]
    server.close()


class FakeTcp:
    """A socket whose options of TCP are accepted."""

    def __init__(self, end):
        self.end = end

    def setsockopt(self, *_):
        pass

    def shutdown(self, how):
        self.end.shutdown(how)

    def close(self):
        self.end.close()


@pytest.mark.parametrize("address", ["0.0.0.0", "", "::", "192.0.2.1"])
def test_an_address_of_a_network_wants_a_token_or_open(meter, tmp_path, address):
    with pytest.raises(InputError, match="set DIME_POWER_TOKEN to a word that the devices know too, or give --open"):
        power.serve(address, 0, folder=tmp_path, serial=meter.port, baud=500000)
    said = dime("power", "serve", f"--address={address or '0.0.0.0'}", "--port=0", folder=tmp_path, check=False)
    assert said.returncode == 1 and "or give --open" in said.stderr and said.stderr.count("\n") == 1


def test_an_open_logger_serves_devices_that_know_the_published_messages_only(meter, tmp_path):
    ports, over = [], threading.Event()
    options = {"folder": tmp_path, "serial": meter.port, "baud": 500000, "ready": ports.append, "over": over}
    thread = threading.Thread(target=power.serve, args=("0.0.0.0", 0), kwargs={**options, "anyone": True})
    thread.start()
    while not ports and thread.is_alive():
        time.sleep(0.01)
    assert Client(ports[0])(b"start,open.csv") == b"started" and Client(ports[0])(b"stop") == b"stopped"
    over.set()
    thread.join(10)


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
        power.serve(address, 0, folder=tmp_path, serial=meter.port, baud=500000, token="a word")


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
