"""meter -> power.csv: by hand, or started and stopped by the device under test."""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import math
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import FrameType

import numpy as np

from dime.contract import plugins
from dime.contract.errors import DeviceError, InputError
from dime.contract.power_protocol import TOKEN_VARIABLE
from dime.host.common import console
from dime.host.metering import gain as gains
from dime.host.metering import integrate
from dime.host.metering import meters as meters_package
from dime.host.metering.api import kind_of_options, now_ns
from dime.host.metering.power_server import Server
from dime.host.metering.recorder import Recorder

_LIVE_EVERY_S = 0.5
_IDLE_S = 60.0
# Of a calibration: what a device uses at most, how long it takes, into how many parts it is cut to see how steady the
# load was, how much they may differ, and how long the last readings may be under way.
MOST_W = 3000.0
SHORTEST_CALIBRATION_S, LONGEST_CALIBRATION_S = 1.0, 3600.0
BLOCKS = 12
UNSTEADY = 0.05
PERIODS_LATE = 4
PATIENCE_S = 2.0


def meters(**options: object) -> dict[str, str]:
    """Says which meters are usable here.

    Args:
        **options: Of any meters, each by its name; each takes what it can be told.

    Returns:
        For each meter an empty text, or why it is not usable.
    """
    found = {}
    for name in plugins.names(meters_package):
        module = plugins.load(meters_package, name)
        kind = kind_of_options(module)
        its_own = {key: value for key, value in options.items() if kind.has(key)}
        found[name] = str(module.available(kind.of(**its_own)))
    return found


def log(file: str | os.PathLike[str], meter: str = "smartpower3", **options: object) -> Path:
    """Logs until Ctrl-C, or until a recording ends.

    Args:
        file: The log; its quality file will lie beside it. Neither may exist.
        meter: The meter's name.
        **options: Of the meter, as its module declares them.

    Returns:
        The log.

    Raises:
        DimeError: The meter cannot be opened or gives no readings, or the file cannot be written.
    """
    path = Path(file)
    if path.exists():
        raise InputError(f"{path} is there already; nothing was overwritten")
    with _recorder(meter, options, "Ctrl-C") as recorder, _interrupts() as (interrupted, left_alone):
        if recorder.is_replay:
            recorder.start(path)
            recorder.begin()
        else:
            recorder.begin()
            recorder.wait_for_reading()
            recorder.start(path)
        _watch(recorder, lambda: any(event.is_set() for event in (interrupted, left_alone, recorder.ended)))
    return path


def calibrate(
    file: str | os.PathLike[str],
    watts: float,
    limit: float,
    meter: str = "smartpower3",
    seconds: float = 10.0,
    **options: object,
) -> gains.Calibration:
    """Reads a meter at a load whose power is known, and adds that to the meter's calibration.

    Args:
        file: The calibration; made where there is none.
        watts: The load's power.
        limit: To which part of it that is known.
        meter: The meter's name.
        seconds: How long to read.
        **options: Of the meter, as its module declares them.

    Returns:
        The calibration, with this load.

    Raises:
        InputError: A number has no use, the readings are far from the load, or the file is of another meter.
        DeviceError: The meter gives no readings, or the load is not steady.
    """
    if not (0 < watts < MOST_W and 0 <= limit < 1 and SHORTEST_CALIBRATION_S <= seconds <= LONGEST_CALIBRATION_S):
        raise InputError(
            f"a load is more than 0 and less than {MOST_W:g} W, known to a part from 0 to 1, and read for"
            f" {SHORTEST_CALIBRATION_S:g} to {LONGEST_CALIBRATION_S:g} s"
        )
    path = Path(file)
    before = gains.read(path) if path.exists() else None
    with _recorder(meter, options, "end of the calibration") as recorder, _interrupts() as (interrupted, _):
        recorder.begin()
        recorder.wait_for_reading()
        name, channel = recorder.writes, recorder.channel
        if before is not None and (before.meter, before.channel) != (name, channel):
            other = f"{before.meter} {before.channel}".strip()
            raise InputError(f"{path} is of {other}, not of {f'{name} {channel}'.strip()}; take another file")
        since_ns = now_ns()
        until_s = time.monotonic() + seconds
        _watch(recorder, lambda: interrupted.is_set() or time.monotonic() > until_s or recorder.ended.is_set())
        if interrupted.is_set():
            raise KeyboardInterrupt
        trace = recorder.trace(since_ns, now_ns() - PERIODS_LATE * round(recorder.period_s() * 1e9), PATIENCE_S)
    edges = np.linspace(max(trace.seconds(np.array([since_ns]))[0], trace.time_s[0]), trace.time_s[-1], BLOCKS + 1)
    edges_ns = trace.epoch_ns + np.rint(edges * 1e9).astype(np.int64)
    found = integrate.measure(trace, edges_ns[:-1], edges_ns[1:], 0.0)
    if (found.rejected[1:-1] != "").any():
        raise DeviceError(f"the readings have gaps: {next(filter(None, found.rejected[1:-1].tolist()))}")
    inside = slice(1, -1)  # a meter's first and last moments have no reading on one side
    # What the meter tells is calibrated, without any gain that it has been given before.
    read_w = (found.energy_j - found.edge_j)[inside] / np.diff(edges)[inside] / trace.gain.factor
    mean_w, spread_w = float(read_w.mean()), float(np.ptp(read_w))
    if spread_w > UNSTEADY * mean_w:
        raise DeviceError(f"the load is not steady: {read_w.min():.4g} to {read_w.max():.4g} W")
    if not gains.LEAST <= watts / max(mean_w, 1e-12) <= gains.MOST:
        raise InputError(f"the meter reads {mean_w:.4g} W where {watts:g} W are said to be: another channel or load?")
    resolution_w = float((found.resolution_j[inside] / np.diff(edges)[inside]).max()) / trace.gain.factor
    error_w = math.hypot(float(read_w.std(ddof=1)) / math.sqrt(len(read_w)), resolution_w)
    utc = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    point = gains.Point(watts, limit, mean_w, error_w, float(edges[-1] - edges[0]), utc)
    calibration = gains.Calibration(name, channel, (*(before.points if before else ()), point))
    gains.Gain.checked(calibration.gain().data(), str(path))
    calibration.write(path)
    return calibration


def serve(
    address: str = "127.0.0.1",
    port: int = 5000,
    meter: str = "smartpower3",
    folder: str | os.PathLike[str] = ".",
    token: str | None = None,
    keep: bool = False,
    anyone: bool = False,
    ready: Callable[[int], None] | None = None,
    over: threading.Event | None = None,
    **options: object,
) -> None:
    """Waits for devices to start and stop logs, until one of them asks for the end, or Ctrl-C.

    Args:
        address: Address to listen at; others than this machine's own reach it only at an address of the network.
        port: Port to listen at; 0 takes a free one.
        meter: The meter's name.
        folder: Where the logs are written.
        token: What clients must prove that they know; None takes it from the environment (DIME_POWER_TOKEN) if it is
            there.
        keep: Stay after a client's ``shutdown``.
        anyone: Whether whoever reaches another address than the loopback's may start and stop logs without a token.
        ready: Told the port once clients may connect.
        over: Ends it when set.
        **options: Of the meter, as its module declares them.

    Raises:
        DimeError: The meter cannot be opened or gives no readings, the address cannot be listened at or is open to a
            network without a token, or a log could not be written to its end.
    """
    secret = os.environ.get(TOKEN_VARIABLE, "") if token is None else token
    if not secret and not anyone and not _is_loopback(address):
        raise InputError(
            f"{address or 'every address'} can be reached by others, who could start and stop logs: set "
            f"{TOKEN_VARIABLE} to a word that the devices know too, or give --open, which devices need that know the "
            "published messages only"
        )
    place = Path(folder)
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{place}: {error.strerror}") from None
    ends = [] if over is None else [over]
    with (
        contextlib.closing(_listener(address, port)) as listener,
        _recorder(meter, options, "end of the logger") as recorder,
        _interrupts() as (interrupted, left_alone),
    ):
        recorder.begin()
        recorder.wait_for_reading()
        server = Server(recorder, place, secret, keep, _write)
        ends += [interrupted, server.ended]
        idle = _Idle(lambda: recorder.is_logging or server.busy())
        thread = threading.Thread(target=server.listen, args=(listener,), daemon=True)
        thread.start()
        bound = listener.getsockname()[1]
        of = f" of {recorder.channel}" if recorder.channel else ""
        _write(f"{meter}{of}: waiting for devices at {address}:{bound}{', with a token' if secret else ''}")
        if ready is not None:
            ready(bound)
        try:
            _watch(
                recorder,
                lambda: any(event.is_set() for event in ends) or bool(recorder.failure) or idle.is_over(left_alone),
            )
        finally:
            server.close()
            thread.join()
        if server.failure:
            raise DeviceError(server.failure)


def _is_loopback(address: str) -> bool:
    """Whether only this computer can reach an address; a name that nobody knows is refused later."""
    try:
        found = socket.getaddrinfo(address or None, 0, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        return all(ipaddress.ip_address(str(one[4][0]).partition("%")[0]).is_loopback for one in found)
    except (OSError, ValueError):
        return True


class _Idle:
    """Ends a logger whose terminal has gone: once nobody has been logging or connected for a while."""

    def __init__(self, is_busy: Callable[[], bool]) -> None:
        self._is_busy, self._since_s = is_busy, time.monotonic()

    def is_over(self, left_alone: threading.Event) -> bool:
        if not left_alone.is_set() or self._is_busy():
            self._since_s = time.monotonic()
        return time.monotonic() - self._since_s > _IDLE_S


def _listener(address: str, port: int) -> socket.socket:
    if not 0 <= port < 65536:  # Python would take the rest of a division by 65536
        raise InputError(f"cannot listen at port {port}; ports are 1 to 65535, or 0 for a free one")
    try:
        family, kind, number, _, where = socket.getaddrinfo(
            address, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, number)
    except OSError as error:
        raise InputError(f"cannot listen at {address}:{port}: {error.strerror or error}") from None
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(where)
        listener.listen()
    except OSError as error:
        listener.close()
        advice = {
            errno.EADDRINUSE: "; is another logger running?",
            errno.EADDRNOTAVAIL: "; it is no address of this computer",
        }.get(error.errno or 0, "")
        raise DeviceError(f"cannot listen at {address}:{port}: {error.strerror or error}{advice}") from None
    return listener


@contextlib.contextmanager
def _recorder(meter: str, options: Mapping[str, object], ended_by: str) -> Iterator[Recorder]:
    """An open meter, whose log is completed on every way out."""
    recorder = Recorder(meter, options, _write)
    try:
        yield recorder
    finally:
        path = recorder.close(ended_by)
        if path is not None:
            _write(f"{path} is complete")
    if recorder.failure:
        raise DeviceError(recorder.failure)


@contextlib.contextmanager
def _interrupts() -> Iterator[tuple[threading.Event, threading.Event]]:
    """Turns Ctrl-C and SIGTERM into one event and a closed terminal into another, where signals can be caught."""
    interrupted, left_alone = threading.Event(), threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield interrupted, left_alone
        return

    def note(number: int, _frame: FrameType | None) -> None:
        (left_alone if number == signal.SIGHUP else interrupted).set()

    caught = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # as nohup leaves it
        caught.append(signal.SIGHUP)
    before = {number: signal.signal(number, note) for number in caught}
    try:
        yield interrupted, left_alone
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _watch(recorder: Recorder, is_over: Callable[[], bool]) -> None:
    """Shows a live line on a terminal until it is over."""
    live = _is_terminal()
    began = time.monotonic()
    next_line = 0.0
    while not is_over():
        time.sleep(0.05)
        if live and time.monotonic() >= next_line:
            next_line = time.monotonic() + _LIVE_EVERY_S
            state = recorder.status()
            watts = "--" if math.isnan(state.power_w) else f"{state.power_w:.3f}"
            trouble = f"   {state.trouble}" if state.trouble else ""
            passed = time.strftime("%H:%M:%S", time.gmtime(time.monotonic() - began))
            _write(f"{passed}   {watts} W   {state.rate_hz:.0f}/s   {state.dropped} dropped{trouble}", end="")
    if live:
        with contextlib.suppress(OSError, ValueError, AttributeError):
            sys.stderr.write("\n")


def _is_terminal() -> bool:
    try:
        return sys.stderr is not None and sys.stderr.isatty()
    except (OSError, ValueError):
        return False


def _write(text: str, end: str = "\n") -> None:
    """Says a line on standard error; where that is gone (a closed terminal), the logger goes on without."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        if _is_terminal():
            console.live(text, end)
        else:
            sys.stderr.write(f"{console.line(text)}{end}")
            sys.stderr.flush()
