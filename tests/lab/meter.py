"""A stand-in for a SmartPower 3: a pseudo-terminal that gives its lines with its firmware's faults; or over UDP.

``python -m tests.lab.meter LINK [BAUD]`` puts a serial port at LINK. Its power follows this machine's processors: 1.5 W
at rest and 5 W at full load.
"""

from __future__ import annotations

import os
import pty
import random
import socket
import sys
import termios
import threading
import time
import tty
from collections.abc import Callable
from functools import reduce
from operator import xor
from pathlib import Path

from tests.lab.loads import Load

BOOT = b"\x00\xf8ets Jul 29 2019 12:21:46\r\n\r\nrst:0x1 (POWERON_RESET),boot:0x13\r\nSmartPower3 v2.2\r\n"
SPEEDS = {
    getattr(termios, f"B{baud}"): baud
    for baud in (9600, 19200, 38400, 57600, 115200, 230400, 460800, 500000, 576000, 921600)
}
VOLTAGE_MV = 5011


def line(time_ms: int, currents_ma: tuple[int, int], states: tuple[int, int] = (1, 0), bug: bool = True) -> bytes:
    """One log line, as the firmware makes it.

    Args:
        time_ms: Since the meter booted.
        currents_ma: Of both channels.
        states: Of both channels, 1 for on.
        bug: Whether a byte sum that is a multiple of 256 is printed as 100 in a line of 60 bytes.
    """
    voltages = [VOLTAGE_MV if state == 1 else 5 for state in states]
    powers = [voltage * current // 1000 for voltage, current in zip(voltages, currents_ma, strict=True)]
    head = f"{time_ms % 2**32:010d},19143,{sum(powers) * 10 // 171:04d},{sum(powers) * 10 // 9 % 100000:05d},0,"
    parts = [
        f"{v:05d},{i:04d},{p:05d},{s:1d},00," for v, i, p, s in zip(voltages, currents_ma, powers, states, strict=True)
    ]
    body = (head + parts[0] + parts[1]).encode()
    if bug and sum(body) % 256 == 0:
        return f"{head}{parts[0]}100,{reduce(xor, body):02x}\r\n".encode()
    return body + f"{-sum(body) & 0xFF:02x},{reduce(xor, body):02x}\r\n".encode()


class StandInMeter:
    """A meter that runs in a thread of its own.

    Args:
        load: What it measures; times are those of time.monotonic().
        baud: The rate set in its menu; at another one a reader sees garbage.
        period_s: Between two lines.
        udp: Address to send datagrams to, instead of a serial port.
        booted_ms: The meter's time when it starts.
        link: A path at which the serial port is found, too.
        late: Share of lines after which its task comes late and then gives several back to back.
    """

    def __init__(
        self,
        load: Load | Callable[[float], float],
        baud: int = 500000,
        period_s: float = 0.005,
        udp: tuple[str, int] | None = None,
        booted_ms: int = 815169,
        link: str = "",
        late: float = 0.002,
    ) -> None:
        self._power_w = load.power_w if isinstance(load, Load) else load
        self.baud, self.period_s, self.late = baud, period_s, late
        self.states = (1, 0)
        self.logging = True
        self.bug = True
        self.sent = 0
        self.short = 0
        self._udp = udp
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM) if udp else None
        self._link = link
        self._stop = threading.Event()
        self._random = random.Random(3)
        self._boot_s = time.monotonic() - booted_ms * 1e-3
        self._pending = b""
        self._wire_s = 0.0 if udp else 81 * 10 / baud
        self.port = ""
        if not udp:
            self._plug_in()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _plug_in(self) -> None:
        self._master, slave = pty.openpty()
        tty.setraw(slave)
        os.set_blocking(self._master, False)
        os.chmod(os.ttyname(slave), 0o666)
        self._slave = slave
        self.port = os.ttyname(slave)
        if self._link:
            Path(self._link).unlink(missing_ok=True)
            os.symlink(self.port, self._link)

    def __enter__(self) -> StandInMeter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._stop.set()
        self._thread.join()
        if self._socket:
            self._socket.close()
        elif self._master >= 0:
            self.pull_cable()

    def pull_cable(self) -> None:
        """Takes the port away, as an unplugged USB cable does."""
        master, self._master = self._master, -1
        os.close(self._slave)
        os.close(master)
        if self._link:
            Path(self._link).unlink(missing_ok=True)

    def put_cable_back(self) -> None:
        self._plug_in()

    def reboot(self, takes_s: float = 0.3) -> None:
        """Restarts its clock; boot messages share the port."""
        self._boot_s = time.monotonic() + takes_s
        self._pending = BOOT

    def _run(self) -> None:
        next_s = time.monotonic()
        held = b""
        held_until_s = 0.0
        while not self._stop.is_set():
            next_s += self.period_s
            time.sleep(max(0.0, next_s + self._wire_s - time.monotonic()))
            if self._pending:
                held += self._pending
                self._pending = b""
            if next_s < self._boot_s or not self.logging:
                self._give(held)
                held = b""
                continue
            held += self._line_at(next_s)
            if self._random.random() < self.late:
                held_until_s = next_s + self._random.uniform(0.01, 0.04)
            if next_s >= held_until_s and next_s + self.period_s > time.monotonic():
                self._give(held)
                held = b""

    def _line_at(self, now_s: float) -> bytes:
        power_w = (self._power_w(now_s - 0.0005) + self._power_w(now_s - 0.0005 - self.period_s / 2)) / 2
        currents = tuple(int(power_w / VOLTAGE_MV * 1e6) if state == 1 else 0 for state in self.states)
        made = line(int((now_s - self._boot_s) * 1e3), currents, self.states, self.bug)
        self.sent += 1
        self.short += len(made) != 81
        return made

    def _give(self, data: bytes) -> None:
        if not data:
            return
        if self._socket and self._udp:
            for one in data.splitlines(keepends=True):
                self._socket.sendto(one, self._udp)
            return
        try:
            if SPEEDS.get(termios.tcgetattr(self._master)[5]) not in (self.baud, 38400):
                data = bytes((byte * 7 + 0x83) & 0xFF | 0x80 for byte in data[: len(data) // 3])
            os.write(self._master, data)
        except (OSError, ValueError, termios.error):
            pass


def processors() -> Callable[[float], float]:
    """Power that follows this machine's processors."""
    seen = [0, 0]

    def power_w(_now_s: float) -> float:
        ticks = list(map(int, Path("/proc/stat").read_text().split("\n")[0].split()[1:9]))
        busy, total = sum(ticks) - ticks[3] - ticks[4], sum(ticks)
        if total - seen[1] >= 2 or not seen[1]:
            share[0] = (busy - seen[0]) / max(total - seen[1], 1)
            seen[:] = busy, total
        return 1.5 + 3.5 * share[0]

    share = [0.0]
    return power_w


if __name__ == "__main__":
    with StandInMeter(processors(), int(sys.argv[2]) if len(sys.argv) > 2 else 500000, link=sys.argv[1]) as meter:
        print(meter.port, flush=True)
        while True:
            time.sleep(60)
