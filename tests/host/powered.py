"""What tests of power share: loggers, their clients, and a device that pretends to run bundles.

That device changes a stand-in meter's load and logs power as the real one does.
"""

import contextlib
import json
import math
import os
import socket
import subprocess
import sys
import threading
import time

from dime.contract import tables
from dime.contract.bundles import enumerate_bundles, spell
from dime.contract.errors import DimeError
from dime.contract.run import TIMINGS, RunSpec
from dime.device import power_log
from dime.host.metering import power, power_trace

LAYERS = ["conv1", "conv2", "fc"]
IDLE_W = 1.5
BOOT = "the device's own"


@contextlib.contextmanager
def serving(meter, folder, **options):
    """A power server in a thread; gives its port and the thread."""
    ports, failures = [], []

    def run():
        try:
            power.serve(port=0, folder=folder, serial=meter.port, baud=500000, ready=ports.append, **options)
        except Exception as error:
            failures.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    while not ports and thread.is_alive():
        time.sleep(0.01)
    if failures:
        raise failures[0]
    yield ports[0], thread
    if thread.is_alive():
        with contextlib.suppress(OSError, DimeError):
            power_log.PowerLog("127.0.0.1", ports[0], str(folder / "none"), "-", "-").close()
    thread.join(10)
    assert not thread.is_alive()
    if failures:
        raise failures[0]


def wave(now_s):
    """A load that is never the same for long, so that the firmware's bug shows."""
    return 2.0 + 0.001 * (int(now_s * 200) % 997)


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


class Logger:
    """``power.log`` or ``power.serve`` in a process of its own, as a person runs it."""

    def __init__(self, call, **environment):
        self.process = subprocess.Popen(
            [sys.executable, "-c", f"from dime.host.metering import power\n{call}"],
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


class Device:
    """A device with a clock of its own.

    Args:
        load: Power that the meter sees; this device changes it.
        offset_s: How far its clock is ahead.
        drift: How much faster its clock runs.
    """

    def __init__(self, load, offset_s=-1234.5, drift=20e-6):
        self.load, self.offset_s, self.drift = load, offset_s, drift
        self.truth_j = {}

    def now_ns(self):
        return int((time.monotonic() * (1 + self.drift) + self.offset_s + 1e6) * 1e9)

    def spin(self, until_ns):
        self.load.change(time.monotonic(), 4.0)
        while self.now_ns() < until_ns:
            time.sleep(0.0005)
        self.load.change(time.monotonic(), IDLE_W)

    def burst(self, power_w, window_s):
        """Works for a while; gives the window's edges on this device's clock and the true joules in it."""
        start_s, start_ns = time.monotonic(), self.now_ns()
        self.load.change(start_s, power_w)
        time.sleep(window_s)
        end_s, end_ns = time.monotonic(), self.now_ns()
        return start_ns, end_ns, self.load.energy_j(start_s, end_s)

    def run(self, folder, port, monkeypatch, powers_w=(3.0, 4.502, 6.0), iterations=2, runs=2, run_s=0.02, **options):
        """Profiles three layers; the last layer of a bundle decides its power, its length the time of one run."""
        monkeypatch.setattr(power_log, "monotonic_ns", self.now_ns)
        monkeypatch.setattr(power_log, "spin", self.spin)
        monkeypatch.setattr(power_log, "boot_id", lambda: BOOT)
        folder.mkdir()
        log = power_log.PowerLog("127.0.0.1", port, str(folder), "nano", "tiny", least_passes=iterations, **options)
        session = {"rows": 0, "start_ns": self.now_ns(), "boot_id": BOOT}
        spec(iterations, runs, log.min_window_s, [session]).write(str(folder))
        wanted, iteration = {spell(bundle, LAYERS) for bundle in enumerate_bundles(3)}, 0
        with (
            tables.Writer(str(folder / TIMINGS), tables.TIMINGS) as writer,
            log.around_frequency(921600000) as after_pass,
        ):
            while wanted:
                rows = []
                for bundle in enumerate_bundles(3):
                    name = spell(bundle, LAYERS)
                    if name in wanted:
                        rows += self._measure(bundle, name, iteration, runs, powers_w, log.min_window_s, run_s)
                writer.write(rows)
                again = after_pass(rows, wanted)
                iteration += 1
                if iteration >= iterations:
                    wanted = set(again)
        log.close()

    def _measure(self, bundle, name, iteration, runs, powers_w, min_window_s, run_s):
        power_w, one_s = powers_w[bundle.last], run_s * (bundle.last - bundle.first + 1)
        repeats = math.ceil(min_window_s / one_s)
        rows = []
        self.burst(power_w, 0.02)
        for run in range(runs):
            start_ns, end_ns, joules = self.burst(power_w, repeats * one_s)
            self.truth_j.setdefault(name, []).append(joules / repeats)
            rows.append(
                {
                    "bundle": name, "first_layer": LAYERS[bundle.first], "last_layer": LAYERS[bundle.last],
                    "frequency_hz": 921600000, "iteration": iteration, "run": run, "image": "cat", "repeats": repeats,
                    "duration_s": (end_ns - start_ns) * 1e-9 / repeats, "start_ns": start_ns, "end_ns": end_ns,
                    "input_bytes": 10 + bundle.first, "output_bytes": 11 + bundle.last,
                    "input_shape": "1x2", "output_shape": "1x2",
                }
            )  # fmt: skip
        self.burst(power_w, 0.02)
        self.load.change(time.monotonic(), IDLE_W)
        return rows


def spec(iterations, runs, min_window_s, sessions):
    """A run's description that fits the pretended rows."""
    return RunSpec(
        network="tiny", layers=LAYERS, device="nano", board="nano", processor="cuda", threads=0,
        frequencies_hz=[921600000], max_layers=3, iterations=iterations, runs=runs, warmups=0,
        min_window_s=min_window_s, seed=0, weights="seeded 0", samples="none", origin="measured",
        sessions=sessions, state="complete",
    )  # fmt: skip
