"""ODROID SmartPower 3: lines of 81 bytes over a serial port, or one a datagram over UDP (firmware 1.9 and later).

A line holds, zero padded and joined by commas: the meter's time in ms; the input's voltage, current, power and
low-input flag; for each of two channels voltage, current, power, state and interrupt bits; two checksums over all that.
Values are whole mV, mA and mW, truncated. (hardkernel's firmware, logTask.)

Nothing is ever written to the port: a byte 0x03 would open the meter's menu and end the log.
"""

from __future__ import annotations

import errno
import itertools
import math
import os
import re
import socket
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import xor
from typing import ClassVar, overload
from urllib.parse import urlsplit

import numpy as np

from dime.contract.errors import DeviceError, InputError, TableError
from dime.host.common.options import option
from dime.host.metering import api
from dime.host.metering.api import (
    FLOAT,
    TIME,
    Reader,
    Reading,
    Sample,
    Series,
    choose_channel,
    now_ns,
)
from dime.host.metering.gain import Gain

# "Tolerant: 3% typical (above 5V 1A)", wiki.odroid.com/accessory/power_supply_battery/smartpower3. What is typical is
# taken as one standard deviation; of smaller loads nothing is stated.
GAIN = Gain(1.0, 0.03, "3 % typical above 5 V and 1 A (wiki.odroid.com)")
LINE_BYTES = 81
CHECKED_BYTES = 74
BAUDS = (9600, 19200, 38400, 57600, 115200, 230400, 460800, 500000, 576000, 921600)
CHANNELS = ("0", "1", "input")
SCHEMES = ("udp", "socket", "rfc2217", "loop")
COLUMNS = (
    TIME,
    *("input voltage (mV)", "input current (mA)", "input power (mW)", "input low"),
    *(
        f"channel {channel} {what}"
        for channel in CHANNELS[:2]
        for what in ("voltage (mV)", "current (mA)", "power (mW)", "on/off", "interrupts")
    ),
    *("checksum A", "checksum B"),
)
NOT_LOGGING = "is the meter on, is its logging on (the meter's default is off)"
_CHANNEL = rb"\d{5},\d{4},\d{5},[0-3],[0-9a-f]{2},"
_LINE = re.compile(rb"\d{10},\d{5},\d{4},\d{5},[01]," + _CHANNEL * 2 + rb"[0-9a-f]{2},[0-9a-f]{2}\r\n")
_LONGEST_REST = 4096
_ON = 1


def fault(line: bytes) -> str:
    """Judges one line, with its CR LF.

    Returns:
        Empty for a line whose form and both checksums are right, else what is wrong with it.
    """
    if _LINE.fullmatch(line):
        checked = line[:CHECKED_BYTES]
        sums = b"%02x,%02x" % (-sum(checked) & 0xFF, reduce(xor, checked))
        return "" if line[CHECKED_BYTES:-2] == sums else "bad checksums"
    text = line.rstrip(b"\r\n")
    if text and not text.strip(b"0123456789abcdef,") and b"," in text:
        return "short lines" if len(line) < LINE_BYTES else "malformed lines"
    return "other text" if all(byte in b"\t\x1b" or 32 <= byte < 127 for byte in text) else "garbage"


def checked_line(body: str) -> bytes:
    """Completes the first 74 bytes of a line, as the meter does: checksums and line end."""
    checked = body.encode("ascii")
    return checked + b"%02x,%02x\r\n" % (-sum(checked) & 0xFF, reduce(xor, checked))


class Lines:
    """Cuts a stream of bytes into lines, whatever the pieces it comes in; what has no end is given up after 4 kB."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[bytes]:
        """Takes more bytes; returns the lines that they complete, with their line ends."""
        *lines, rest = (self._rest + data).split(b"\n")
        if len(rest) > _LONGEST_REST:
            lines.append(rest)
            rest = b""
        self._rest = rest
        return [line + b"\n" for line in lines]


@dataclass(frozen=True)
class Options(api.Options):
    """What this meter can be told."""

    OTHER_NAMES: ClassVar[Mapping[str, str]] = {"port": "serial"}

    serial: str = option("The serial port, or udp://ADDRESS:PORT to receive its datagrams.", "/dev/ttyUSB0")
    baud: int = option("The rate set in the meter's menu.", 115200)


class SmartPower3:
    """An open meter.

    Args:
        receive: Waits at most a quarter of a second; returns bytes that end in the middle of a line or not.
        close: Closes the port.
        options: Its options.
        where: The port, as a person knows it.
        whole: Whether what is received begins with a line's first byte.
    """

    writes = "smartpower3"
    kind = "power"
    own_clock = True
    origin = "measured"
    gain: Gain | None = None
    columns: Sequence[str] = COLUMNS

    def __init__(
        self, receive: Callable[[], bytes], close: Callable[[], None], options: Options, where: str, whole: bool
    ) -> None:
        self.faults: Counter[str] = Counter()
        self.channel = options.channel
        self.wire_s = 0.0 if whole else LINE_BYTES * 10 / options.baud
        self._receive, self._close = receive, close
        self._where = where if whole else f"{where} at {options.baud} baud"
        self._lines = Lines()
        self._joined = whole
        self._received_bytes = 0

    def read(self) -> list[Sample]:
        samples = []
        data = self._receive()
        arrival_ns = now_ns()
        self._received_bytes += len(data)
        for line in self._lines.feed(data):
            self.faults["lines read"] += 1
            wrong = fault(line)
            if not wrong:
                samples.append(Sample(line[:-2].decode("ascii"), int(line[:10]), arrival_ns))
            elif self._joined:
                self.faults[wrong] += 1
            else:
                self.faults["lines met in the middle"] += 1
            self._joined = True
        return samples

    def silence(self) -> str:
        if not self._received_bytes:
            return f"nothing arrived from {self._where}: {NOT_LOGGING}?"
        met = ", ".join(f"{count} {name}" for name, count in self.faults.items() if name != "lines read")
        return f"{self._received_bytes} bytes from {self._where}, {met or 'without a line end'}"

    def close(self) -> None:
        self._close()


def reading(columns: Sequence[str], channel: str) -> Reading:
    """Reads rows; NaN where the channel is off, or where none was named and not exactly one of the two is on."""
    choose_channel(channel, CHANNELS, "")

    def watts(fields: Sequence[str]) -> tuple[float, float]:
        on = [one for one in CHANNELS[:2] if int(fields[8 + 5 * int(one)]) == _ON]
        chosen = channel or (on[0] if len(on) == 1 else "")
        if chosen != "input" and chosen not in on:
            return math.nan, math.nan
        place = 1 if chosen == "input" else 5 + 5 * int(chosen)
        power, step = _watts(int(fields[place]), int(fields[place + 1]))
        return float(power), float(step)

    return watts


@overload
def _watts(voltage_mv: int, current_ma: int) -> tuple[float, float]: ...


@overload
def _watts(voltage_mv: FLOAT, current_ma: FLOAT) -> tuple[FLOAT, FLOAT]: ...


def _watts(voltage_mv: int | FLOAT, current_ma: int | FLOAT) -> tuple[float | FLOAT, float | FLOAT]:
    """Power and its step, from truncated values: on average the truth lies half a unit above each of them.

    The meter's own power is the truncated product of the two, so that it holds nothing more. Both are cut to whole
    units; at 5 V and less than 5 A it is the current whose unit counts for more.
    """
    voltage, current = voltage_mv + 0.5, current_ma + 0.5
    return voltage * current * 1e-6, np.hypot(voltage, current) * 1e-6


def series(columns: Sequence[str], read: Reader, channel: str) -> Series:
    """Reads one channel of a log.

    Raises:
        InputError: No such channel, or it is not clear which one is meant.
        TableError: Columns are missing, or the channel was off all the time.
    """
    chosen = choose_channel(channel, CHANNELS, "")
    missing = [name for name in COLUMNS[:-2] if name not in columns]
    if missing:
        raise TableError(f"lacks the columns {', '.join(missing)}")
    sources = {one: ("input" if one == "input" else f"channel {one}") for one in ([chosen] if chosen else CHANNELS[:2])}
    names = {one: (f"{source} voltage (mV)", f"{source} current (mA)") for one, source in sources.items()}
    table = read([*(f"channel {one} on/off" for one in CHANNELS[:2]), *itertools.chain(*names.values())])
    on = {one: table[f"channel {one} on/off"] == _ON for one in CHANNELS[:2]}
    if not chosen:
        used = [one for one in CHANNELS[:2] if on[one].any()]
        if len(used) != 1:
            state = "both channels were on" if used else "both channels were off"
            raise InputError(f"{state}: choose with --channel one of {', '.join(CHANNELS)}")
        chosen = used[0]
    value, step = _watts(*(table[name] for name in names[chosen]))
    valid = on.get(chosen, np.ones(len(value), bool))
    if not valid.any():
        raise TableError(f"channel {chosen} was off all the time")
    return Series(chosen, "power", True, value, step, valid)


def _check_scheme(port: str) -> None:
    """Accepts ports that only receive; pyserial has others, which write files or search for devices.

    Raises:
        InputError: It is another.
    """
    scheme, found, _ = port.partition("://")
    if found and scheme.lower() not in SCHEMES:
        raise InputError(
            f"'{port}': a port is a path such as /dev/ttyUSB0, or begins with {', '.join(SCHEMES)}, then ://"
        )


def available(options: Options) -> str:
    try:
        _check_scheme(options.serial)
    except InputError as error:
        return str(error)
    if options.serial.startswith("udp:"):
        return ""
    if "://" not in options.serial and not os.path.exists(options.serial):
        return _no_port(options.serial)
    if "://" not in options.serial and not os.access(options.serial, os.R_OK | os.W_OK):
        return _no_permission(options.serial)
    return ""


def open_meter(options: Options) -> SmartPower3:
    """Opens a serial port for this program alone, or a socket that the meter sends to.

    Raises:
        InputError: An impossible rate, channel or address.
        DeviceError: No such port, no permission, or another program has it.
    """
    choose_channel(options.channel, CHANNELS, "")
    _check_scheme(options.serial)
    if options.serial.startswith("udp:"):
        return _open_udp(options)
    if options.baud not in BAUDS:
        raise InputError(f"{options.baud} baud: the meter knows {', '.join(map(str, BAUDS))}")
    import serial

    try:
        port = serial.serial_for_url(options.serial, do_not_open=True, baudrate=options.baud, timeout=0.25)
        if "://" not in options.serial:
            port.exclusive = True
        port.open()
    except (serial.SerialException, OSError, ValueError) as error:
        raise DeviceError(_why_not(options.serial, error)) from None

    def receive() -> bytes:
        try:
            return bytes(port.read(max(1, port.in_waiting)))
        except (serial.SerialException, OSError, TypeError) as error:
            raise DeviceError(f"{options.serial} is gone ({error}): is the cable in?") from None

    return SmartPower3(receive, port.close, options, options.serial, whole=False)


def _open_udp(options: Options) -> SmartPower3:
    try:
        parts = urlsplit(options.serial)
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if not host or port is None:
        raise InputError(f"'{options.serial}': an address to receive datagrams at is like udp://0.0.0.0:6000")
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
        receiver = socket.socket(family, socket.SOCK_DGRAM)
        receiver.settimeout(0.25)
        receiver.bind(address)
    except OSError as error:
        raise DeviceError(f"{options.serial}: {error.strerror or error}") from None
    senders: list[str] = []

    def receive() -> bytes:
        try:
            data, sender = receiver.recvfrom(65536)
        except TimeoutError:
            return b""
        except OSError as error:
            raise DeviceError(f"{options.serial}: {error.strerror or error}") from None
        if not senders:
            senders.append(sender[0])
        if sender[0] != senders[0]:
            meter.faults["datagrams of another sender"] += 1
            return b""
        return data if data.endswith(b"\n") else data + b"\n"

    meter = SmartPower3(receive, receiver.close, options, options.serial, whole=True)
    return meter


def _why_not(port: str, error: Exception) -> str:
    code = getattr(error, "errno", None)
    if code == errno.ENOENT:
        return _no_port(port)
    if code in (errno.EACCES, errno.EPERM):
        return _no_permission(port)
    if code in (errno.EBUSY, errno.EAGAIN) or "exclusively lock" in str(error):
        return f"{port} is in use by another program: stop it first"
    return f"{port}: {error}"


def _no_port(port: str) -> str:
    from serial.tools.list_ports import comports

    ports = ", ".join(sorted(found.device for found in comports())) or "none"
    return f"there is no port {port}; ports here: {ports}"


def _no_permission(port: str) -> str:
    import grp

    try:
        number = os.stat(port).st_gid
        group = grp.getgrgid(number).gr_name
    except OSError:
        return f"{port} may not be opened"
    except KeyError:
        group = str(number)
    return f"{port} may not be opened: it belongs to group {group}; sudo usermod -aG {group} $USER, then log in again"
