"""How two devices find each other for one run: who calls proves that it knows the run's token, and so does who listens.

| frame | from | what |
|---|---|---|
| HELLO | the caller | its nonce, digests of plan and network, its name |
| CHALLENGE | the listener | its nonce, and HMAC-SHA-256 of all that was said, by the run's token |
| PROOF | the caller | the same for its own part |
| WELCOME | the listener | 0, or what differs |

The token is random, made for one run, and sent to its devices only; it never travels here. What a stranger can
do is bounded: a few hundred bytes, a few seconds, a few connections at once.
"""

import hashlib
import hmac
import ipaddress
import os
import select
import socket
import threading
import time
from contextlib import suppress
from queue import Empty, Queue
from typing import Dict, List, NamedTuple, Tuple

from dime.contract import frames
from dime.contract.errors import ConnectionLostError, DeviceError, InputError, NotLetInError
from dime.contract.frames import LOOPBACK, Foretold, FrameError
from dime.contract.timebase import monotonic_ns
from dime.contract.transport import Channel, Part, SilentError

WITHIN_S = 5.0
AT_ONCE = 8
_BACKLOG = 64
TOKEN_BYTES = 32
_NONCE, _DIGEST, _NAME = 32, 32, 64
_HELLO = _NONCE + 2 * _DIGEST + _NAME
_ACCEPTED, _OTHER_TOKEN, _OTHER_PLAN, _OTHER_NETWORK = range(4)
_PAUSE_S = 0.05

Run = NamedTuple("Run", [("token", bytes), ("plan", bytes), ("network", bytes)])
"""What both sides must have alike: a run's token, and SHA-256 digests of its plan and of its network."""


def digest(content: bytes) -> bytes:
    """SHA-256 of a document, as `Run` takes it."""
    return hashlib.sha256(content).digest()


def new_token() -> bytes:
    """A token for one run."""
    return os.urandom(TOKEN_BYTES)


def read_token(path: str) -> bytes:
    """Reads a run's token from a file of its own, where it stands in hexadecimal digits.

    Raises:
        InputError: It cannot be read, or holds none.
    """
    try:
        with open(path) as stream:
            token = bytes.fromhex(stream.read(1000).strip())
    except (EnvironmentError, ValueError):
        token = b""
    if len(token) != TOKEN_BYTES:
        raise InputError("{}: holds no token of a run".format(path))
    return token


class Listener(object):
    """Waits for the devices of a run, at one address that is this device's own.

    Args:
        address: A numeric address; the loopback unless another is named.
        port: Its port; 0 takes one that is free.

    Raises:
        InputError: The address is none, or stands for all addresses.
        DeviceError: It cannot be listened at.
    """

    def __init__(self, address: str = LOOPBACK, port: int = 0) -> None:
        family = _family(address)
        self._socket = socket.socket(family, socket.SOCK_STREAM)
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._socket.bind((address, port))
            self._socket.listen(_BACKLOG)
        except (OSError, OverflowError) as error:
            self._socket.close()
            reason = getattr(error, "strerror", None) or str(error)
            raise DeviceError("cannot listen at {} port {}: {}".format(address, port, reason))
        self.address, self.port = address, int(self._socket.getsockname()[1])
        self._socket.setblocking(False)
        self.refused: List[str] = []
        self._let_in: "Queue[Tuple[Channel, str]]" = Queue()
        self._woken, self._waking = socket.socketpair()
        for one in (self._woken, self._waking):
            one.setblocking(False)
        self._strangers = threading.BoundedSemaphore(AT_ONCE)

    def accept(self, run: Run, within_s: float) -> "Tuple[Channel, str]":
        """Waits for a device of the run.

        Args:
            run: What it must have.
            within_s: The longest wait.

        Returns:
            tuple: The connection and the name of who called.

        Raises:
            SilentError: Nobody was let in; it says who was not and why.
        """
        until_ns = monotonic_ns() + int(within_s * 1e9)
        while True:
            with suppress(Empty):
                return self._let_in.get_nowait()
            left_s = (until_ns - monotonic_ns()) / 1e9
            if left_s <= 0:
                why = "; refused: " + self.refused[-1] if self.refused else ""
                raise SilentError("nobody called at port {} in {:g} s{}".format(self.port, within_s, why))
            try:
                self._wait(min(left_s, _PAUSE_S))
                connection, caller = self._socket.accept()
            except (BlockingIOError, ConnectionAbortedError):
                continue
            except (OSError, ValueError) as error:
                reason = getattr(error, "strerror", None) or "it is closed"
                raise ConnectionLostError("port {} is listened at no more: {}".format(self.port, reason))
            if not self._strangers.acquire(False):
                connection.close()
                continue
            thread = threading.Thread(target=self._greet, args=(connection, str(caller[0]), run))
            thread.daemon = True
            thread.start()

    def close(self) -> None:
        """Listens no more; who was let in and not yet accepted is sent away."""
        for one in (self._socket, self._woken, self._waking):
            one.close()
        with suppress(Empty):
            while True:
                self._let_in.get_nowait()[0].close()

    def __enter__(self) -> "Listener":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _wait(self, within_s: float) -> None:
        """Waits until somebody calls, or has been let in."""
        poll = select.poll()
        for one in (self._socket, self._woken):
            poll.register(one, select.POLLIN)
        poll.poll(int(within_s * 1000) + 1)
        with suppress(BlockingIOError):
            self._woken.recv(1 << 10)

    def _greet(self, connection: socket.socket, caller: str, run: Run) -> None:
        channel = Channel(connection, caller)
        try:
            name = let_in(channel, run)
            channel.peer = name or caller
            self._let_in.put((channel, name))
            with suppress(OSError):  # it is woken already, or closed
                self._waking.send(b"!")
        except (DeviceError, OSError) as error:
            channel.close()
            self.refused = (self.refused + [str(error)[:200]])[-AT_ONCE:]
        finally:
            self._strangers.release()


def connect(address: str, port: int, run: Run, name: str, within_s: float, peer: str = "") -> Channel:
    """Calls a device of the run; one that does not listen yet is called again.

    Args:
        address: Where it listens.
        port: Its port.
        run: What both must have alike.
        name: What this device is called.
        within_s: The longest wait.
        peer: What the other device is called in messages.

    Raises:
        NotLetInError: It has another token, plan or network.
        FrameError: It speaks another version, or something else altogether.
        ConnectionLostError: It did not answer in time.
    """
    until_ns = monotonic_ns() + int(within_s * 1e9)
    called = peer or "{} port {}".format(address, port)
    while True:
        left_s = (until_ns - monotonic_ns()) / 1e9
        if left_s <= 0:
            raise SilentError("{} did not answer in {:g} s".format(called, within_s))
        try:
            channel = Channel(socket.create_connection((address, port), left_s), called)
        except (OSError, OverflowError) as error:
            if isinstance(error, (OverflowError, socket.gaierror)):
                raise InputError("{} port {} is no address: {}".format(address, port, error))
            time.sleep(_PAUSE_S)
            continue
        try:
            introduce(channel, run, name, min(WITHIN_S, max(left_s, 0.1)))
            return channel
        except (SilentError, FrameError, NotLetInError):
            raise
        except ConnectionLostError:  # what forwards a port takes a call before anybody listens behind it
            time.sleep(_PAUSE_S)


def let_in(channel: Channel, run: Run, within_s: float = WITHIN_S) -> str:
    """The listener's part; returns the caller's name.

    Raises:
        NotLetInError: The caller has another token, plan or network.
        FrameError: It speaks another version, or something else altogether.
        ConnectionLostError: It went away, or was silent for too long.
    """
    until_ns = monotonic_ns() + int(within_s * 1e9)
    hello = _receive(channel, frames.HELLO, _HELLO, until_ns)
    nonce = os.urandom(_NONCE)
    _send(channel, frames.CHALLENGE, nonce + _proof(run, b"listener", hello, nonce), until_ns)
    proof = _receive(channel, frames.PROOF, _DIGEST, until_ns)
    differs = _ACCEPTED
    plan, network = hello[_NONCE : _NONCE + _DIGEST], hello[_NONCE + _DIGEST : _NONCE + 2 * _DIGEST]
    if not hmac.compare_digest(proof, _proof(run, b"caller", hello, nonce)):
        differs = _OTHER_TOKEN
    elif not hmac.compare_digest(plan, run.plan):
        differs = _OTHER_PLAN
    elif not hmac.compare_digest(network, run.network):
        differs = _OTHER_NETWORK
    _send(channel, frames.WELCOME, bytes([differs]), until_ns)
    _judge(channel, differs)
    name = hello[_NONCE + 2 * _DIGEST :].rstrip(b"\0").decode("utf-8", "replace")
    return "".join(letter if letter.isprintable() else "?" for letter in name)


def introduce(channel: Channel, run: Run, name: str, within_s: float = WITHIN_S) -> None:
    """The caller's part.

    Raises:
        NotLetInError: The listener has another token, plan or network.
        FrameError: It speaks another version, or something else altogether.
        ConnectionLostError: It went away, or was silent for too long.
    """
    until_ns = monotonic_ns() + int(within_s * 1e9)
    said = name.encode("utf-8")
    if len(said) > _NAME or len(run.plan) != _DIGEST or len(run.network) != _DIGEST:
        raise ValueError("names have at most {} bytes, digests {}".format(_NAME, _DIGEST))
    hello = os.urandom(_NONCE) + run.plan + run.network + said.ljust(_NAME, b"\0")
    _send(channel, frames.HELLO, hello, until_ns)
    challenge = _receive(channel, frames.CHALLENGE, _NONCE + _DIGEST, until_ns)
    nonce, proof = challenge[:_NONCE], challenge[_NONCE:]
    if not hmac.compare_digest(proof, _proof(run, b"listener", hello, nonce)):
        _judge(channel, _OTHER_TOKEN)
    _send(channel, frames.PROOF, _proof(run, b"caller", hello, nonce), until_ns)
    _judge(channel, _receive(channel, frames.WELCOME, 1, until_ns)[0])


_DIFFERS: Dict[int, str] = {
    _OTHER_TOKEN: "does not have this run's token",
    _OTHER_PLAN: "has another plan",
    _OTHER_NETWORK: "has another network, or other weights or samples",
}


def _judge(channel: Channel, differs: int) -> None:
    if differs == _ACCEPTED:
        return
    channel.close()
    raise NotLetInError("{} {}".format(channel.peer, _DIFFERS.get(differs, "refuses this device")))


def _proof(run: Run, who: bytes, hello: bytes, nonce: bytes) -> bytes:
    said = b"dime run " + who + bytes([frames.VERSION]) + hello + nonce
    return hmac.new(run.token, said, hashlib.sha256).digest()


def _send(channel: Channel, kind: int, data: bytes, until_ns: int) -> None:
    channel.send(0, [Part(kind, "uint8", (len(data),), data)], (until_ns - monotonic_ns()) / 1e9)


def _receive(channel: Channel, kind: int, size_bytes: int, until_ns: int) -> bytes:
    memory = bytearray(size_bytes)
    foretold = [Foretold(kind, "uint8", (size_bytes,))]
    received = channel.receive(foretold, [memoryview(memory)], (until_ns - monotonic_ns()) / 1e9)
    if received.headers[0].kind != kind:
        channel.close()
        raise ConnectionLostError("{} broke off".format(channel.peer))
    return bytes(memory)


def _family(address: str) -> int:
    try:
        known = ipaddress.ip_address(address)
    except ValueError:
        raise InputError("'{}' is no numeric address to listen at".format(address))
    if known.is_unspecified or known.is_multicast:
        raise InputError("'{}' stands for more than one address; name the one to listen at".format(address))
    return socket.AF_INET6 if known.version == 6 else socket.AF_INET
