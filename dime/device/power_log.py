"""The device's side of the power log: has the host log each frequency, and relates the two clocks meanwhile.

What it learns is in clock.json: the exchanges of timestamps, and for each log when the device rested and when it was
idle and busy in a pseudo-random code, which the host finds again in the power.
"""

import json
import math
import os
import random
import socket
import time
from contextlib import contextmanager, suppress
from typing import (
    TYPE_CHECKING,
    Callable,
    Dict,
    Iterable,
    Iterator,
    List,
    Mapping,
    Optional,
    Sequence,
    Set,
    Tuple,
    cast,
)

from dime.contract import files, schemas
from dime.contract import power_protocol as protocol
from dime.contract.errors import ConnectionLostError, DeviceError, InputError, TableError
from dime.contract.intervals import mean_and_error, t95
from dime.contract.run import CLOCK, RunSpec
from dime.contract.timebase import boot_id, monotonic_ns
from dime.device import stop

if TYPE_CHECKING:
    from dime.contract.messages import Emit
    from dime.contract.tables import Timing
    from dime.contract.timebase import ClockSession, Log

    AfterPass = Callable[[Sequence[Timing], Iterable[str]], Iterable[str]]

TIMEOUT_S = 10.0
EXCHANGES = 16
# The power of rest, which a plan pays while it waits, is told by these stretches: long enough for a meter's noise.
REST_S = 10.0
AFTER_CODE_S = 0.5
HEARS_S = 0.5
READINGS_A_WINDOW = 20
LEAST_WINDOW_S = 0.1
READINGS_A_CHIP = 6
LEAST_CHIP_S = 0.05
CHIPS = 63
# A chip is no whole number of the meter's periods, so that its edges fall everywhere between two readings.
BETWEEN_READINGS = 0.382
# No two clocks drift apart so fast: one of the two computers has slept.
LARGEST_SLOPE = 0.01


class PowerLog(object):
    """A logger on another machine.

    Args:
        address: The logger's address.
        port: Its port.
        folder: The run's folder, where clock.json is kept; what earlier sessions of the run wrote there stays.
        device: The device's name.
        network: The network's name.
        token: What the logger wants proved, if anything; by default from the environment, DIME_POWER_TOKEN.
        emit: Called with a message's kind and fields.
        target: Half-width that the 95 % interval of each bundle's energy should reach, as a part of it; 0: none.
        least_passes: Passes after which bundles are judged by it.
        most_passes: Passes after which it is given up.
        rest_s: Length of the rest before and after a frequency's passes; None: long enough to know its power.

    Raises:
        InputError: There is no such port.
        DeviceError: Nobody listens there, or the token is refused.

    Attributes:
        meter: The meter's name and which of its channels, rails, packages or GPUs it takes; None if it does not say.
        min_window_s: Length a window must have to hold enough of the meter's readings.
        rest_s: What a frequency takes beside its passes: rests and load patterns before and after them.
    """

    def __init__(
        self,
        address: str,
        port: int,
        folder: str,
        device: str,
        network: str,
        token: Optional[str] = None,
        emit: "Optional[Emit]" = None,
        target: float = 0.0,
        least_passes: int = 2,
        most_passes: int = 50,
        rest_s: Optional[float] = None,
    ) -> None:
        if not 0 < port < 65536:  # Python would take the rest of a division by 65536
            raise InputError("the power logger cannot be at port {}; ports are 1 to 65535".format(port))
        self._where, self._folder = (address, port), folder
        self._device, self._network = device, network
        self._token = os.environ.get(protocol.TOKEN_VARIABLE, "") if token is None else token
        self._emit = emit or (lambda kind, **fields: None)
        self._target, self._least_passes, self._most_passes = target, least_passes, most_passes
        self._rest_s = REST_S if rest_s is None else rest_s
        self._line: Optional[socket.socket] = None
        self.meter: Optional[Dict[str, str]] = None
        self._session: ClockSession = {"start_ns": monotonic_ns(), "boot_id": boot_id(), "bursts": [], "logs": []}
        self._earlier = self._read_earlier()
        self._period_s = self._greet()
        self.min_window_s = self._window_s()
        self.rest_s = 2 * (self._rest_s + CHIPS * self._chip_s() + AFTER_CODE_S)
        if self._line is None:
            self._emit(
                "warning",
                text="the logger at {}:{} knows only the published messages: no clocks, no energy target".format(
                    *self._where
                ),
            )

    def _window_s(self) -> float:
        """Length that holds enough readings; a run that goes on keeps its own, though the period came out otherwise."""
        window_s = max(LEAST_WINDOW_S, round(READINGS_A_WINDOW * self._period_s, 2))
        try:
            before_s = RunSpec.read(self._folder).min_window_s
        except TableError:
            return window_s
        return before_s if 0.8 < before_s / window_s < 1.25 else window_s

    def _read_earlier(self) -> "List[ClockSession]":
        path = os.path.join(self._folder, CLOCK)
        try:
            with open(path) as stream:
                said = json.load(stream)
            schemas.version(schemas.CLOCK, said, path)
            return cast("List[ClockSession]", said["sessions"])
        except FileNotFoundError:
            return []
        except (EnvironmentError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise DeviceError("{} is damaged: {}".format(path, error))

    def _write(self) -> None:
        path = os.path.join(self._folder, CLOCK)
        os.makedirs(self._folder, exist_ok=True)
        files.replace(
            path, json.dumps(schemas.stamped(schemas.CLOCK, {"sessions": self._earlier + [self._session]})).encode()
        )

    def _connect(self) -> socket.socket:
        try:
            line = socket.create_connection(self._where, TIMEOUT_S)
        except (EnvironmentError, OverflowError) as error:
            raise DeviceError(
                "no power logger answers at {}:{} ({}); start it there: dime power serve".format(
                    self._where[0], self._where[1], error
                )
            )
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return line

    def _greet(self) -> float:
        """Says hello; returns the meter's period, or 0 with a logger that knows the published messages only."""
        self._line = line = self._connect()
        self._rest = b""
        try:
            answer = self._say("hello,{}".format(protocol.VERSION)).split(",")
            if answer[0] == protocol.CHALLENGE:
                if not self._token:
                    raise DeviceError(
                        "the power logger at {}:{} wants a token: --log-server-token=FILE, or {} in the "
                        "environment".format(self._where[0], self._where[1], protocol.TOKEN_VARIABLE)
                    )
                answer = self._say("{},{}".format(protocol.PROOF, protocol.proof(self._token, answer[1]))).split(",")
        except ConnectionLostError:
            answer = [protocol.BAD_MESSAGE]
        if answer[0] == "hello":
            self.meter = self._session["meter"] = {"name": answer[2], "channel": ",".join(answer[4:])}
            return int(answer[3]) * 1e-9
        line.close()
        self._line = None
        return 0.0

    def _say(self, text: str) -> str:
        """Sends one line and waits for the answer's line."""
        line = self._line
        assert line is not None, "a logger that knows the published messages only is sent no lines"
        try:
            line.sendall((text + "\n").encode(protocol.ENCODING))
            while b"\n" not in self._rest:
                piece = line.recv(65536)
                if not piece:
                    # A logger that knows the published messages only answers without a line end, and hangs up.
                    if self._rest:
                        break
                    raise socket.error("it hung up")
                self._rest += piece
                if self._rest.decode(protocol.ENCODING, "replace") == protocol.BAD_MESSAGE:
                    break
        except EnvironmentError as error:
            raise ConnectionLostError(
                "the power logger at {}:{} is gone: {}".format(self._where[0], self._where[1], error)
            )
        reply, _, self._rest = self._rest.partition(b"\n")
        answer = reply.decode(protocol.ENCODING)
        if answer.startswith(protocol.REFUSED):
            raise DeviceError("the power logger: " + answer[len(protocol.REFUSED) :])
        return answer

    def _command(self, text: str, expected: str) -> None:
        """Sends a published message: as a line where the logger keeps one open, else on a connection of its own."""
        if self._line is not None:
            answer = self._say(text)
        else:
            with self._connect() as line:
                try:
                    line.sendall(text.encode(protocol.ENCODING))
                    answer = line.recv(1024).decode(protocol.ENCODING)
                except EnvironmentError as error:
                    raise ConnectionLostError("the power logger did not answer {}: {}".format(text, error))
        if answer != expected:
            raise DeviceError("the power logger answered '{}' to '{}'".format(answer, text))

    def _start(self, frequency_hz: int) -> str:
        """Starts a log; returns its name. A name that an earlier session used gets a number."""
        name = protocol.log_name(self._device, self._network, frequency_hz)
        for number in range(1, 1000):
            one = name if number == 1 else "{}_{}.csv".format(name[: -len(".csv")], number)
            try:
                self._command("{},{}".format(protocol.START, one), protocol.STARTED)
                return one
            except DeviceError as error:
                if error.retryable or "is there already" not in str(error):
                    raise
        raise DeviceError("the power logger has a thousand logs named {}; move them away".format(name))

    def exchange(self) -> None:
        """Exchanges timestamps several times, for the clocks' offset now."""
        if self._line is None:
            return
        burst = []
        for _ in range(EXCHANGES):
            sent = monotonic_ns()
            answer = self._say("clock,{}".format(sent))
            back = monotonic_ns()
            _, echoed, received, answered = answer.split(",")
            if int(echoed) == sent:
                burst.append([sent, int(received), int(answered), back])
        self._session["bursts"].append(burst)
        self._write()

    @contextmanager
    def around_frequency(self, frequency_hz: int) -> "Iterator[AfterPass]":
        """Logs the power of all work at one frequency, with rest, code and clock exchanges before and after it.

        Args:
            frequency_hz: The frequency.

        Yields:
            callable: Told a pass's rows and bundles; names the bundles whose energy needs more rows.
        """
        log: Log = {"frequency_hz": frequency_hz, "file": self._start(frequency_hz), "idle_ns": [], "codes": []}
        self._session["logs"].append(log)
        try:
            self.exchange()
            self._rest_and_code(log, "start")
            yield _Passes(self, frequency_hz)
            self._rest_and_code(log, "end")
            self.exchange()
        except BaseException:
            with suppress(DeviceError):
                self._command(protocol.STOP, protocol.STOPPED)
            raise
        log["target"] = self._target
        self._write()
        self._command(protocol.STOP, protocol.STOPPED)

    def is_settled(self, frequency_hz: int) -> bool:
        """Whether an earlier session has gone on at a frequency until this target was reached or given up."""
        logs = [log for session in self._earlier for log in session["logs"] if log["frequency_hz"] == frequency_hz]
        return not self._target or any(0 < log.get("target", 0.0) <= self._target for log in logs)

    def _rest_and_code(self, log: "Log", where: str) -> None:
        start_ns = monotonic_ns()
        _rest(self._rest_s)
        log["idle_ns"].append([start_ns, monotonic_ns()])
        chips = code("{} {}".format(where, log["frequency_hz"]))
        log["codes"].append({"where": where, "busy_ns": play(chips, self._chip_s(), spin)})
        time.sleep(min(AFTER_CODE_S, self._rest_s / 2))

    def _chip_s(self) -> float:
        readings = max(READINGS_A_CHIP, math.ceil(LEAST_CHIP_S / self._period_s)) if self._period_s else 0
        return (readings + BETWEEN_READINGS) * self._period_s or LEAST_CHIP_S

    def energies(self, rows: "Sequence[Timing]") -> List[Optional[Tuple[float, float]]]:
        """Asks for the joules of rows that were measured since the last but one exchange.

        Args:
            rows: Rows of timings.csv.

        Returns:
            list: For each row (joules of one run, systematic uncertainty), or None where the logger has none.
        """
        bests = [min(burst, key=lambda one: protocol.offset_ns(one)[1]) for burst in self._session["bursts"][-2:]]
        (offset_ns, bound_ns), at_ns = protocol.offset_ns(bests[-1]), bests[-1][0]
        before_ns, before_at_ns = protocol.offset_ns(bests[0])[0], bests[0][0]
        slope = (offset_ns - before_ns) / float(at_ns - before_at_ns) if at_ns > before_at_ns else 0.0
        if abs(slope) > LARGEST_SLOPE:
            return [None] * len(rows)

        def logger_ns(device_ns: int) -> int:
            return device_ns + offset_ns + int(slope * (device_ns - at_ns))

        found: List[Optional[Tuple[float, float]]] = []
        for begin in range(0, len(rows), protocol.MAX_WINDOWS):
            part = rows[begin : begin + protocol.MAX_WINDOWS]
            edges = [str(logger_ns(row[edge])) for row in part for edge in ("start_ns", "end_ns")]
            answer = self._say("energy,{},{}".format(int(bound_ns / math.sqrt(3)), ",".join(edges)))
            windows = answer.split(",")[1:]
            if len(windows) != len(part):
                raise DeviceError("the power logger answered '{}'".format(answer))
            for row, window in zip(part, windows):
                joules, systematic = window.split("/")[:2]
                known = joules != "none"
                found.append((float(joules) / row["repeats"], float(systematic) / row["repeats"]) if known else None)
        return found

    def close(self) -> None:
        """Says that all is logged."""
        self._command(protocol.SHUTDOWN, protocol.ACK_SHUTDOWN)
        if self._line is not None:
            self._line.close()


class _Passes(object):
    """The energies of one frequency's passes so far.

    Those of an earlier session are not known: its bundles are judged by what this one measures.
    """

    def __init__(self, log: PowerLog, frequency_hz: int) -> None:
        self._log, self._frequency_hz = log, frequency_hz
        self._energies: Dict[str, List[float]] = {}
        self._systematic: Dict[str, float] = {}
        self._given_up: Set[str] = set()
        self._unseen: Set[str] = set()
        self._passes = 0

    def __call__(self, rows: "Sequence[Timing]", bundles: Iterable[str]) -> List[str]:
        log = self._log
        log.exchange()
        if not log._target or log._line is None:
            return []
        self._passes += 1
        by_bundle: Dict[str, List[Tuple[float, float]]] = {}
        for row, energy in zip(rows, log.energies(rows)):
            if energy is not None:
                by_bundle.setdefault(row["bundle"], []).append(energy)
        seen = set(row["bundle"] for row in rows)
        self._unseen = (self._unseen | set(bundles)) - seen - set(self._energies) - self._given_up
        for bundle in seen - self._given_up:
            self._energies.setdefault(bundle, [])
        for bundle in set(by_bundle) - self._given_up:
            joules, systematic = zip(*by_bundle[bundle])
            self._energies[bundle].append(sum(joules) / len(joules))
            self._systematic[bundle] = sum(systematic) / len(systematic)
        if self._passes < log._least_passes:
            return []
        again, reasons = wanting(self._energies, self._systematic, log._target, self._passes, log._most_passes)
        if self._passes < log._most_passes:
            again = sorted(set(again) | self._unseen)
        else:
            reasons.update((bundle, "not measured since the run went on") for bundle in self._unseen)
        for bundle, reason in reasons.items():
            log._emit("warning", text="{} at {} Hz: {}".format(bundle, self._frequency_hz, reason))
            self._given_up.add(bundle)
            self._energies.pop(bundle, None)
        if again:
            text = "{} bundles have not reached ±{:.1%} after {} passes"
            log._emit("note", text=text.format(len(again), log._target, self._passes))
        return again


def wanting(
    energies: Mapping[str, Sequence[float]],
    systematic: Mapping[str, float],
    target: float,
    passes: int,
    most_passes: int,
) -> Tuple[List[str], Dict[str, str]]:
    """Decides which bundles to measure again.

    Args:
        energies: For each bundle its mean joules in each pass.
        systematic: For each bundle the standard uncertainty that repetition does not reduce, J.
        target: Half-width wanted of the 95 % interval, as a part of the mean.
        passes: Passes so far.
        most_passes: Passes after which to give up.

    Returns:
        tuple: The bundles to measure again, sorted; and for those that can't reach the target, why.
    """
    again, reasons = [], {}
    for bundle, values in sorted(energies.items()):
        mean = math.fsum(values) / len(values) if values else 0.0
        if mean <= 0:
            lack = "is {:g} J".format(mean) if values else "is unknown: the logger has no readings for its windows"
            reasons[bundle] = "its energy {}".format(lack)
            continue
        floor = systematic.get(bundle, 0.0)
        if 1.96 * floor > target * mean:
            reasons[bundle] = "its energy can't be known to ±{:.1%}: meter and clocks alone leave ±{:.1%}".format(
                target, 1.96 * floor / mean
            )
            continue
        half = float("inf")
        if len(values) > 1:
            mean, error = mean_and_error(values)
            total = math.hypot(error, floor)
            half = total * (t95((len(values) - 1) * (total / error) ** 4) if error else 1.96) / mean
        if half <= target:
            continue
        if passes >= most_passes:
            reasons[bundle] = "±{:.1%} after {} passes; ±{:.1%} was asked for".format(half, passes, target)
        else:
            again.append(bundle)
    return again, reasons


def code(seed: str) -> List[bool]:
    """A pseudo-random code of idle (False) and busy (True) chips, the same for the same seed everywhere.

    Args:
        seed: Text.

    Returns:
        list: It begins and ends busy, so that both ends are seen.
    """
    source = random.Random(seed)
    return [True] + [source.random() < 0.5 for _ in range(CHIPS - 2)] + [True]


def play(chips: Sequence[bool], chip_s: float, busy: Callable[[int], object]) -> List[List[int]]:
    """Is idle and busy in a code.

    Args:
        chips: The code.
        chip_s: Length of each chip.
        busy: Called with the monotonic ns until which to work.

    Returns:
        list: [start, end] of each busy stretch, as it really was.
    """
    stretches = []
    edge_ns = monotonic_ns()
    place = 0
    while place < len(chips):
        after = place
        while after < len(chips) and chips[after] == chips[place]:
            after += 1
        edge_ns += int((after - place) * chip_s * 1e9)
        start_ns = monotonic_ns()
        if chips[place]:
            busy(edge_ns)
            stretches.append([start_ns, monotonic_ns()])
        else:
            time.sleep(max(0.0, (edge_ns - start_ns) * 1e-9))
        place = after
    return stretches


def _rest(seconds: float) -> None:
    """Does nothing for a while, and hears when it is to stop."""
    until_s = time.monotonic() + seconds
    while True:
        stop.check()
        left_s = until_s - time.monotonic()
        if left_s <= 0:
            return
        time.sleep(min(left_s, HEARS_S))


def spin(until_ns: int) -> None:
    """Keeps one processor busy."""
    while monotonic_ns() < until_ns:
        pass
