"""The logger's side of `dime.contract.power_protocol`: who connects, what is asked, what is answered."""

from __future__ import annotations

import contextlib
import hmac
import math
import re
import socket
import threading
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import numpy as np

from dime.contract import power_protocol as protocol
from dime.contract.errors import DimeError, InputError
from dime.host import energy
from dime.host.meters._base import now_ns
from dime.host.power_file import check_name
from dime.host.recorder import Recorder

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
        self._clients: OrderedDict[socket.socket, None] = OrderedDict()
        self._lock = threading.Lock()
        self.ended = threading.Event()

    def listen(self, listener: socket.socket) -> None:
        """Accepts connections until `ended`; call it in a thread of its own."""
        listener.settimeout(0.2)
        while not self.ended.is_set():
            try:
                client, _ = listener.accept()
            except TimeoutError:
                continue
            except OSError:
                return
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            with self._lock:
                self._clients[client] = None
                while len(self._clients) > MOST_CONNECTIONS:
                    _hang_up(self._clients.popitem(last=False)[0])
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def close(self) -> None:
        """Hangs up on everybody."""
        self.ended.set()
        with self._lock:
            while self._clients:
                _hang_up(self._clients.popitem()[0])

    def _serve(self, client: socket.socket) -> None:
        conversation = Conversation(self._recorder, self._folder, self._token, self._say)
        waiting = b""
        try:
            while True:
                client.settimeout(QUIET_S if waiting else None)
                try:
                    piece = client.recv(protocol.MAX_MESSAGE_BYTES)
                    received_ns = now_ns()
                except TimeoutError:
                    self._answer(client, conversation, waiting, b"", received_ns)
                    waiting = b""
                    continue
                with self._lock:
                    if client in self._clients:
                        self._clients.move_to_end(client)
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
        finally:
            with self._lock:
                self._clients.pop(client, None)
            _hang_up(client)

    def _answer(
        self, client: socket.socket, conversation: Conversation, message: bytes, end: bytes, received_ns: int
    ) -> None:
        answer = conversation.answer(message, received_ns)
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
        token: What the client must say first; empty: nothing.
        say: Told one line for each event.
    """

    def __init__(self, recorder: Recorder, folder: Path, token: str, say: Callable[[str], None]) -> None:
        self._recorder, self._folder, self._token, self._say = recorder, folder, token, say
        self._trusted = not token

    def answer(self, message: bytes, received_ns: int) -> str:
        """Does what a message asks for.

        Args:
            message: Without its line end.
            received_ns: When it came, on the logger's clock.

        Returns:
            The answer; whatever the message was, there is one.
        """
        try:
            return self._dispatch(message, received_ns)
        except DimeError as error:
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
        if verb not in (with_values.keys() | {"clock"} if comma else alone):
            raise ValueError
        if not self._trusted and verb != "hello":
            raise InputError("a token is needed")
        if verb == "clock":
            return f"clock,{_integer(rest)},{received_ns},{now_ns()}"
        return with_values[verb](rest) if comma else alone[verb](verb)

    def _hello(self, rest: str) -> str:
        version, _, token = rest.partition(",")
        _integer(version)
        if not self._trusted:
            if not hmac.compare_digest(token.encode(), self._token.encode()):
                raise InputError("the token is wrong" if token else "a token is needed")
            self._trusted = True
        period_ns = round(self._recorder.period_s() * 1e9)
        return f"hello,{protocol.VERSION},{self._recorder.name},{period_ns}"

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
        found = energy.measure(trace, start_ns, end_ns, error_s)
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
