"""The logger's side of `dime.contract.power_protocol`: who connects, what is asked, what is answered."""

from __future__ import annotations

import contextlib
import hmac
import math
import re
import secrets
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from dime.contract import power_protocol as protocol
from dime.contract.errors import DimeError, InputError
from dime.host.metering import integrate
from dime.host.metering.api import now_ns
from dime.host.metering.power_file import check_name
from dime.host.metering.recorder import Recorder

# Whoever has not been known for so long after connecting is hung up on.
SPEAK_S = 5.0
SEND_S = 10.0
MOST_OF_ONE_ADDRESS = 16
ACCEPT_AGAIN_S = 0.2
# A client whose machine has died is noticed after about a minute.
_ALIVE = ((socket.TCP_KEEPIDLE, 30), (socket.TCP_KEEPINTVL, 10), (socket.TCP_KEEPCNT, 3))
# A message without an end mark is complete when nothing follows for so long.
QUIET_S = 0.2
MOST_CONNECTIONS = 64
PATIENCE_S = 2.0


class Server:
    """Answers clients until one of them asks for the end.

    Args:
        recorder: The meter.
        folder: Where logs are written.
        token: What a client must know; empty: nothing.
        keep: Whether to stay after a ``shutdown``.
        say: Told one line for each event.
    """

    def __init__(self, recorder: Recorder, folder: Path, token: str, keep: bool, say: Callable[[str], None]) -> None:
        self._recorder, self._folder, self._token, self._keep, self._say = recorder, folder, token, keep, say
        self._clients: dict[socket.socket, Conversation] = {}
        self._lock = threading.Lock()
        self.ended = threading.Event()
        self.failure = ""

    def busy(self) -> bool:
        """Whether somebody who is known is connected."""
        with self._lock:
            return any(client.known for client in self._clients.values())

    def listen(self, listener: socket.socket) -> None:
        """Accepts connections until `ended`; call it in a thread of its own."""
        listener.settimeout(0.2)
        told = ""
        while not self.ended.is_set():
            try:
                client, address = listener.accept()
                self._admit(client, str(address[0]))
            except TimeoutError:
                continue
            except OSError as error:  # no file or thread is left for a newcomer: those who are here go on
                if str(error) != told:
                    self._say(f"nobody new can connect: {error.strerror or error}")
                    told = str(error)
                time.sleep(ACCEPT_AGAIN_S)
            except Exception as error:
                self.failure = f"the power server failed: {type(error).__name__}: {error}"
                self.ended.set()

    def _admit(self, client: socket.socket, address: str) -> None:
        """Takes in a newcomer; where there are too many, the strangers who came first go, nobody who is known."""
        conversation = Conversation(self._recorder, self._folder, self._token, self._say, address)
        try:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for option, value in _ALIVE:
                client.setsockopt(socket.IPPROTO_TCP, option, value)
            with self._lock:
                self._clients[client] = conversation
                self._make_room(
                    [one for one, other in self._clients.items() if other.address == address], MOST_OF_ONE_ADDRESS
                )
                self._make_room(list(self._clients), MOST_CONNECTIONS)
            threading.Thread(target=self._serve, args=(client, conversation), daemon=True).start()
        except (OSError, RuntimeError) as error:  # a thread that cannot be started is a RuntimeError
            with self._lock:
                self._clients.pop(client, None)
            _hang_up(client)
            raise OSError(*error.args) from None

    def _make_room(self, clients: list[socket.socket], most: int) -> None:
        """Hangs up on as many strangers as there are too many, in the order in which they came."""
        strangers = [client for client in clients if not self._clients[client].known]
        for client in strangers[: max(0, len(clients) - most)]:
            del self._clients[client]
            _hang_up(client)

    def close(self) -> None:
        """Hangs up on everybody."""
        self.ended.set()
        with self._lock:
            while self._clients:
                _hang_up(self._clients.popitem()[0])

    def _serve(self, client: socket.socket, conversation: Conversation) -> None:
        waiting = b""
        until_s = time.monotonic() + SPEAK_S
        try:
            while True:
                left_s = None if conversation.known else until_s - time.monotonic()
                if left_s is not None and left_s <= 0:
                    break
                client.settimeout(min(QUIET_S, left_s or QUIET_S) if waiting else left_s)
                try:
                    piece = client.recv(protocol.MAX_MESSAGE_BYTES)
                    received_ns = now_ns()
                except TimeoutError:
                    if not waiting:
                        break
                    self._answer(client, conversation, waiting, b"", received_ns)
                    waiting = b""
                    continue
                *lines, waiting = (waiting + piece).split(b"\n")
                for line in lines:
                    self._answer(client, conversation, line.removesuffix(b"\r"), b"\n", received_ns)
                if len(waiting) > protocol.MAX_MESSAGE_BYTES or (waiting and not piece):
                    self._answer(client, conversation, waiting, b"", received_ns)
                    break
                if not piece:
                    break
        except OSError:
            pass
        except Exception as error:  # whatever one client brings about, the others go on
            self._say(f"hung up on {conversation.address}: {type(error).__name__}: {error}")
        finally:
            with self._lock:
                self._clients.pop(client, None)
            _hang_up(client)

    def _answer(
        self, client: socket.socket, conversation: Conversation, message: bytes, end: bytes, received_ns: int
    ) -> None:
        answer = conversation.answer(message, received_ns)
        client.settimeout(SEND_S)
        client.sendall(answer.encode(protocol.ENCODING) + end)
        if answer == protocol.ACK_SHUTDOWN and not self._keep:
            self.ended.set()


def _hang_up(client: socket.socket) -> None:
    with contextlib.suppress(OSError):
        client.shutdown(socket.SHUT_RDWR)
    client.close()


class Conversation:
    """What one connection has said so far, and the answers; no bytes are sent here.

    Args:
        recorder: The meter.
        folder: Where logs are written.
        token: What the client must prove first; empty: nothing.
        say: Told one line for each event.
        address: Where the client is.

    Attributes:
        known: Whether it has proved the token or, where there is none, has said anything that could be done.
    """

    def __init__(
        self, recorder: Recorder, folder: Path, token: str, say: Callable[[str], None], address: str = ""
    ) -> None:
        self._recorder, self._folder, self._token, self._say = recorder, folder, token, say
        self.address, self.known = address, False
        self._trusted, self._nonce = not token, ""

    def answer(self, message: bytes, received_ns: int) -> str:
        """Does what a message asks for.

        Args:
            message: Without its line end.
            received_ns: When it came, on the logger's clock.

        Returns:
            The answer; whatever the message was, there is one.
        """
        try:
            answer = self._dispatch(message, received_ns)
            self.known = self._trusted
            return answer
        except DimeError as error:
            if self._trusted:
                self._say(f"refused: {error}")
            return protocol.REFUSED + " ".join(str(error).split())
        except ValueError:
            return protocol.BAD_MESSAGE

    def _dispatch(self, message: bytes, received_ns: int) -> str:
        """Does what a message asks for.

        Raises:
            ValueError: It is no message.
            DimeError: What it asks for cannot be done.
        """
        if len(message) > protocol.MAX_MESSAGE_BYTES:
            raise ValueError
        verb, comma, rest = message.decode(protocol.ENCODING).partition(",")
        alone = {"stop": self._stop, "shutdown": self._stop}
        with_values = {"start": self._start, "hello": self._hello, "mark": self._mark, "energy": self._energy}
        with_values[protocol.PROOF] = self._proof
        if verb not in (with_values.keys() | {"clock"} if comma else alone):
            raise ValueError
        if not self._trusted and verb not in ("hello", protocol.PROOF):
            raise InputError("a token is needed")
        if verb == "clock":
            return f"clock,{_integer(rest)},{received_ns},{now_ns()}"
        return with_values[verb](rest) if comma else alone[verb](verb)

    def _hello(self, rest: str) -> str:
        _integer(rest)
        if not self._trusted:
            self._nonce = secrets.token_hex(16)
            return f"{protocol.CHALLENGE},{self._nonce}"
        period_ns = round(self._recorder.period_s() * 1e9)
        return f"hello,{protocol.VERSION},{self._recorder.name},{period_ns},{self._recorder.channel}"

    def _proof(self, rest: str) -> str:
        nonce, self._nonce = self._nonce, ""
        if not nonce:
            raise ValueError
        if not hmac.compare_digest(rest.encode(), protocol.proof(self._token, nonce).encode()):
            raise InputError("the token is wrong")
        self._trusted = True
        return self._hello(str(protocol.VERSION))

    def _start(self, name: str) -> str:
        path = self._folder / check_name(name)
        self._recorder.start(path)
        self._say(f"logging to {path}")
        return protocol.STARTED

    def _stop(self, verb: str) -> str:
        path = self._recorder.stop(verb)
        if path is not None:
            self._say(f"{path} is complete")
        return protocol.STOPPED if verb == "stop" else protocol.ACK_SHUTDOWN

    def _mark(self, rest: str) -> str:
        device_ns, comma, text = rest.partition(",")
        if not comma:
            raise ValueError
        self._recorder.mark({"device_ns": _integer(device_ns), "logger_ns": now_ns(), "text": text})
        return protocol.MARKED

    def _energy(self, rest: str) -> str:
        error_ns, *edges = (_integer(part) for part in rest.split(","))
        if not edges or len(edges) % 2 or len(edges) > 2 * protocol.MAX_WINDOWS or error_ns < 0:
            raise ValueError
        start_ns, end_ns = np.array(edges[::2], dtype=np.int64), np.array(edges[1::2], dtype=np.int64)
        if (end_ns <= start_ns).any() or end_ns.max() > now_ns() + PATIENCE_S * 1e9:
            raise ValueError
        trace = self._recorder.trace(int(start_ns.min()), int(end_ns.max()), PATIENCE_S)
        error_s = math.hypot(error_ns * 1e-9, trace.clock_error_s)
        found = integrate.measure(trace, start_ns, end_ns, error_s)
        clock_j = np.maximum(np.abs(found.early_j), np.abs(found.late_j))
        systematic_j = np.sqrt(found.sampling_j**2 + found.resolution_j**2 + clock_j**2)
        columns = (found.energy_j, systematic_j, found.samples, found.rejected)
        windows = zip(*(column.tolist() for column in columns), strict=True)
        return "energy," + ",".join(
            f"none/{reason}" if reason else f"{joules!r}/{error!r}/{samples}"
            for joules, error, samples, reason in windows
        )


def _integer(text: str) -> int:
    """A whole number that fits into 63 bits, and nothing else."""
    if not re.fullmatch(r"-?[0-9]{1,19}", text) or abs(int(text)) > 2**62:
        raise ValueError
    return int(text)
