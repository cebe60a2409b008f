import os
import socket
import subprocess
import sys
import threading
import time

import pytest

from dime.contract import messages
from dime.contract.errors import DeviceError, InputError
from dime.contract.timebase import monotonic_ns
from dime.device.executing.shaper import _STAMPED, Shaper, _sleep_until, _take
from tests.device.conftest import ROOT

pytestmark = pytest.mark.alone


class Echo(object):
    """Takes so many bytes, then sends so many back, again and again."""

    def __init__(self, there, back):
        self._socket = socket.socket()
        self._socket.bind(("127.0.0.1", 0))
        self._socket.listen(4)
        self.address = self._socket.getsockname()
        self.there, self.back = there, back
        thread = threading.Thread(target=self._run)
        thread.daemon = True
        thread.start()

    def _run(self):
        while True:
            try:
                connection = self._socket.accept()[0]
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(connection,))
            thread.daemon = True
            thread.start()

    def _serve(self, connection):
        with connection:
            while take(connection, self.there):
                connection.sendall(bytes(self.back))

    def close(self):
        self._socket.close()


def take(connection, size):
    got = 0
    while got < size:
        data = connection.recv(min(size - got, 1 << 16))
        if not data:
            return False
        got += len(data)
    return True


def exchange_s(port, there, back):
    with socket.create_connection(("127.0.0.1", port), 30.0) as connection:
        began = time.monotonic()
        connection.sendall(bytes(there))
        assert take(connection, back)
        return time.monotonic() - began


@pytest.mark.parametrize(
    ("there", "back", "up", "down", "round_trip_s"),
    [(100000, 1000, 8e6, 80e6, 0.02), (1000, 100000, 80e6, 8e6, 0.02), (64, 64, 1e9, 1e9, 0.1)],
)
def test_rates_and_round_trip_are_kept(there, back, up, down, round_trip_s):
    echo = Echo(there, back)
    with Shaper(echo.address, up, down, round_trip_s) as shaper:
        truth_s = there * 8 / up + back * 8 / down + round_trip_s
        found_s = min(exchange_s(shaper.port, there, back) for _ in range(5))
        kept = shaper.kept()
    echo.close()
    late_s = kept["up"]["late_most_s"] + kept["down"]["late_most_s"]
    assert truth_s * 0.999 <= found_s < truth_s * 1.05 + 0.02 + late_s
    assert (kept["up"]["bytes"], kept["down"]["bytes"]) == (5 * there, 5 * back)
    assert 0 <= kept["up"]["late_median_s"] <= kept["up"]["late_p95_s"] <= kept["up"]["late_most_s"]


def test_single_messages_leave_on_time_and_none_too_soon():
    """The end of a wait is spent awake, and a message came when the kernel had it, not when the program woke up."""
    echo = Echo(5000, 64)
    with Shaper(echo.address, 40e6, 40e6, 0.004) as shaper:
        with socket.create_connection(("127.0.0.1", shaper.port), 30.0) as connection:
            found_s = []
            for _ in range(50):
                time.sleep(0.005)
                began = time.monotonic()
                connection.sendall(bytes(5000))
                assert take(connection, 64)
                found_s.append(time.monotonic() - began)
        kept = shaper.kept()
    echo.close()
    assert min(found_s) >= 5000 * 8 / 40e6 + 64 * 8 / 40e6 + 0.004
    assert min(shaper.up.late_s + shaper.down.late_s) >= 0
    assert max(kept["up"]["late_median_s"], kept["down"]["late_median_s"]) < 0.005


@pytest.mark.parametrize("awake_ns", [0, 10**6, 10**8])
def test_a_wait_never_ends_too_soon(awake_ns):
    for wait_ns in (-1, 1000, 10**5, 2 * 10**6, 5 * 10**6):
        due_ns = monotonic_ns() + wait_ns
        late_ns = _sleep_until(due_ns, awake_ns)
        assert monotonic_ns() >= due_ns
        assert (late_ns > 0) == (wait_ns > awake_ns) or wait_ns <= 10**5


def test_a_message_came_when_the_kernel_had_it():
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(1)
    with listener, socket.create_connection(listener.getsockname()) as sender:
        with listener.accept()[0] as taker:
            taker.setsockopt(socket.SOL_SOCKET, _STAMPED, 1)
            sender.sendall(b"dime")
            assert _take(taker, 100)[0] == b"dime"
            time.sleep(0.2)  # a kernel begins to stamp a little after it was asked to
            for _ in range(3):
                before_ns = monotonic_ns()
                sender.sendall(b"dime")
                after_ns = monotonic_ns()
                time.sleep(0.2)
                data, came_ns = _take(taker, 100)
                assert data == b"dime"
                assert before_ns <= came_ns < after_ns + 10**8
    at_ns = monotonic_ns()
    here, there = socket.socketpair()
    with here, there:  # this kind has no stamps
        here.sendall(bytes(8))
        assert _take(there, 4, 0, 7) == (bytes(4), 7)
        assert _take(there, 4)[1] >= at_ns


def test_a_half_duplex_link_sends_one_way_at_a_time():
    echo = Echo(50000, 50000)

    def all_s(duplex):
        with Shaper(echo.address, 8e6, 8e6, 0.0, duplex=duplex) as shaper:
            began = time.monotonic()
            threads = [threading.Thread(target=exchange_s, args=(shaper.port, 50000, 50000)) for _ in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            return time.monotonic() - began

    assert all_s(False) >= 4 * 0.1 * 0.999
    assert any(all_s(True) < 4 * 0.1 * 0.999 for _ in range(10))  # other work may hold up what may be faster
    echo.close()


def test_a_sender_is_held_up_as_by_a_link():
    """What waits in the shaper is bounded: some tens of ms, and what the kernel's buffers hold."""
    echo = Echo(1 << 30, 1)
    with Shaper(echo.address, 8e6, 8e6, 0.0) as shaper:
        with socket.create_connection(("127.0.0.1", shaper.port), 5.0) as connection:
            connection.setblocking(False)
            taken, until = 0, time.monotonic() + 0.5
            while time.monotonic() < until:
                try:
                    taken += connection.send(bytes(1 << 16))
                except OSError:
                    time.sleep(0.005)
            connection.setblocking(True)
            assert shaper.kept()["up"]["bytes"] <= 1e6 * 0.7
            assert taken < 16 << 20
    echo.close()


def test_a_link_that_is_cut_ends_connections_and_lets_new_ones_through():
    echo = Echo(64, 64)
    with Shaper(echo.address, 1e9, 1e9, 0.0) as shaper:
        with socket.create_connection(("127.0.0.1", shaper.port), 5.0) as connection:
            connection.sendall(bytes(64))
            assert take(connection, 64)
            shaper.cut()
            connection.settimeout(5.0)
            try:
                assert connection.recv(1) == b""
            except ConnectionError:
                pass
        assert exchange_s(shaper.port, 64, 64) < 5
    echo.close()


def test_nobody_behind_the_link_is_an_end_for_who_calls():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = free.getsockname()
    with Shaper(address, 1e6, 1e6, 0.0) as shaper:
        with socket.create_connection(("127.0.0.1", shaper.port), 5.0) as connection:
            connection.settimeout(5.0)
            assert connection.recv(1) == b""


def test_nothing_is_left_of_it():
    echo = Echo(64, 64)
    threads, files = threading.active_count(), len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        with Shaper(echo.address, 1e9, 1e9, 0.0) as shaper:
            exchange_s(shaper.port, 64, 64)
    until = time.monotonic() + 5
    while time.monotonic() < until and len(os.listdir("/proc/self/fd")) > files:
        time.sleep(0.02)
    assert len(os.listdir("/proc/self/fd")) <= files
    assert threading.active_count() <= threads + 1
    echo.close()


@pytest.mark.parametrize(
    ("up", "down", "round_trip_s"),
    [(0, 1, 0), (1, -1, 0), (float("nan"), 1, 0), (1, float("inf"), 0), (1, 1, -1), (1, 1, float("nan"))],
)
def test_numbers_that_no_link_has_are_refused(up, down, round_trip_s):
    with pytest.raises(InputError, match="an emulated link"):
        Shaper(("127.0.0.1", 1), up, down, round_trip_s)


def test_a_port_that_is_taken_is_said():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen(1)
        with pytest.raises(DeviceError, match="cannot listen at"):
            Shaper(("127.0.0.1", 1), 1e6, 1e6, 0.0, port=taken.getsockname()[1])


@pytest.mark.parametrize("is_told", [False, True])
def test_as_a_process_of_its_own_it_ends_with_its_standard_input_or_when_it_is_told_to(is_told):
    echo = Echo(64, 64)
    process = subprocess.Popen(
        [sys.executable, "-m", "dime.device", "shape", "--target-port", str(echo.address[1])]
        + ["--up-bit-s", "1e9", "--down-bit-s", "1e9", "--round-trip-s", "0.04"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        universal_newlines=True,
        cwd=ROOT,
    )
    facts = messages.decode(process.stdout.readline())["facts"]
    assert facts["address"] == "127.0.0.1"
    assert exchange_s(facts["port"], 64, 64) >= 0.04
    if is_told:
        process.terminate()
        process.wait(60)
    last = messages.decode(process.communicate("", timeout=60)[0])
    echo.close()
    assert process.returncode == 0
    assert last["facts"]["kept"]["up"]["bytes"] == 64
