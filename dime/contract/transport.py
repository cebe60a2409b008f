"""A connection between two devices that carries frames: plain TCP, received into memory that is there already.

A message is one frame or several of one request. Whoever receives says which frames may come; anything else, a frame
that was damaged on the way, or silence for longer than was allowed closes the connection.
"""

import select
import socket
import sys
import threading
from contextlib import suppress
from queue import Queue
from typing import Callable, List, NamedTuple, Optional, Sequence, Tuple

from dime.contract import frames
from dime.contract.errors import ConnectionLostError, DeviceError
from dime.contract.frames import Foretold, FrameError, Header
from dime.contract.timebase import monotonic_ns

if sys.byteorder != "little":
    raise DeviceError("tensors are sent as they lie in memory, and this machine is not little-endian")

Part = NamedTuple("Part", [("kind", int), ("dtype", str), ("shape", Tuple[int, ...]), ("data", frames.Memory)])
"""One frame to be sent; its data are the tensor's bytes."""
Sent = NamedTuple("Sent", [("first_ns", int), ("last_ns", int)])
Received = NamedTuple(
    "Received", [("request", int), ("headers", Tuple[Header, ...]), ("first_ns", int), ("last_ns", int)]
)
"""A message: when its first byte and its last one were here, on this device's monotonic clock."""


class SilentError(ConnectionLostError):
    """The other side did not send, or take, a message in the time it had."""


class Channel(object):
    """One end of a connection. One thread may send while another receives.

    Args:
        connection: A connected TCP socket; it belongs to the channel from now on.
        peer: What the other side is called in messages.
    """

    def __init__(self, connection: socket.socket, peer: str = "the other device") -> None:
        connection.setblocking(False)
        with suppress(OSError):  # a pair of sockets of a test has no such option
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = connection
        self.peer = peer
        self.closed = False
        self._header = memoryview(bytearray(frames.HEADER_BYTES))
        self._trailer = memoryview(bytearray(frames.TRAILER_BYTES))
        self._text = memoryview(bytearray(frames.LARGEST_TEXT_BYTES))

    def send(self, request: int, parts: Sequence[Part], within_s: float) -> Sent:
        """Sends a message.

        Args:
            request: Its number.
            parts: Its frames.
            within_s: The other side has to take it in so many seconds.

        Returns:
            Sent: When it began, and when the kernel had taken its last byte.

        Raises:
            SilentError: It was not taken in time; the connection is closed.
            ConnectionLostError: The connection broke, or was closed.
        """
        first_ns = monotonic_ns()
        until_ns = first_ns + int(within_s * 1e9)
        try:
            pending: List[memoryview] = []
            for part in parts:
                header = frames.pack(part.kind, request, part.dtype, part.shape)
                data = memoryview(part.data).cast("B") if len(part.data) else memoryview(b"")
                if len(data) != frames.size_bytes(part.dtype, part.shape):
                    raise ValueError("{} bytes are no {} of shape {}".format(len(data), part.dtype, part.shape))
                pending += [memoryview(header), data, memoryview(frames.trailer(header, data))]
            self._send_all(pending, until_ns)
        except BaseException:
            self.close()
            raise
        return Sent(first_ns, monotonic_ns())

    def receive(self, foretold: Sequence[Foretold], memory: Sequence[memoryview], within_s: float) -> Received:
        """Receives a message, or learns that no more will come.

        Args:
            foretold: Its frames, in order.
            memory: Where the payload of each goes; as long as the frame at least.
            within_s: Its last byte has to be here in so many seconds.

        Returns:
            Received: Its headers have the lengths of frames that vary; the header of END alone says that the other
                side has no more to send.

        Raises:
            FrameError: Something else came; the connection is closed.
            SilentError: The message did not come in time; the connection is closed.
            DeviceError: The other side says why it cannot go on.
            ConnectionLostError: The connection broke, or was closed.
        """
        until_ns = monotonic_ns() + int(within_s * 1e9)
        first_ns = 0
        headers: List[Header] = []
        try:
            for one, place in zip(foretold, memory):
                may_come = (one,) if headers else (one, frames.ENDED, frames.FAILED)
                began_ns = self._receive_all(self._header, until_ns)
                header = frames.unpack(self._header.tobytes(), may_come)
                first_ns = first_ns or began_ns
                if headers and header.request != headers[0].request:
                    raise FrameError("frames of two requests came as one message")
                view = (place if header.kind == one.kind else self._text)[: header.length]
                self._receive_all(view, until_ns)
                self._receive_all(self._trailer, until_ns)
                if self._trailer.tobytes() != frames.trailer(self._header, view):
                    raise FrameError("a frame came damaged: its checksum is another")
                headers.append(header)
                if header.kind == frames.FAULT and one.kind != frames.FAULT:
                    raise DeviceError("{}: {}".format(self.peer, _plain(view.tobytes())))
                if header.kind == frames.END:
                    break
        except frames.VersionError as error:
            self.fail(str(error))
            self.close()
            raise FrameError("{}: {}".format(self.peer, error))
        except BaseException as error:
            self.close()
            if isinstance(error, FrameError):
                raise FrameError("{}: {}".format(self.peer, error))
            raise
        return Received(headers[0].request, tuple(headers), first_ns, monotonic_ns())

    def end(self, within_s: float = 1.0) -> None:
        """Says that nothing more will be sent, as far as that can be said."""
        with suppress(DeviceError, OSError):
            self.send(0, [Part(frames.END, "uint8", (0,), b"")], within_s)

    def fail(self, text: str, within_s: float = 1.0) -> None:
        """Tells the other side why this one cannot go on, as far as it can be told."""
        said = text.encode("utf-8", "replace")[: frames.LARGEST_TEXT_BYTES]
        with suppress(DeviceError, OSError):
            self.send(0, [Part(frames.FAULT, "uint8", (len(said),), said)], within_s)

    def close(self) -> None:
        """Closes the connection; a thread that waits for it is told."""
        self.closed = True
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def __enter__(self) -> "Channel":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _send_all(self, views: List[memoryview], until_ns: int) -> None:
        views = [view for view in views if len(view)]
        while views:
            try:
                sent = self._socket.sendmsg(views)
            except (BlockingIOError, InterruptedError):
                self._wait(until_ns, True)
                continue
            except OSError as error:
                raise self._lost(error)
            while views and sent >= len(views[0]):
                sent -= len(views.pop(0))
            if sent:
                views[0] = views[0][sent:]

    def _receive_all(self, view: memoryview, until_ns: int) -> int:
        """Fills memory; returns when its first byte was there."""
        at, first_ns = 0, 0
        while at < len(view):
            try:
                got = self._socket.recv_into(view[at:])
            except (BlockingIOError, InterruptedError):
                self._wait(until_ns, False)
                continue
            except OSError as error:
                raise self._lost(error)
            if not got:
                raise ConnectionLostError("{} closed the connection".format(self.peer))
            first_ns = first_ns or monotonic_ns()
            at += got
        return first_ns

    def _wait(self, until_ns: int, to_send: bool) -> None:
        """Waits until the socket has, or takes, more."""
        left_ms = (until_ns - monotonic_ns()) // 1000000
        poll = select.poll()
        try:
            poll.register(self._socket, select.POLLOUT if to_send else select.POLLIN)
            ready = left_ms >= 0 and poll.poll(min(left_ms, 1 << 30) + 1)
        except (OSError, ValueError) as error:
            raise self._lost(error)
        if not ready:
            raise SilentError("{} {} in time".format(self.peer, "took no more" if to_send else "sent nothing more"))

    def _lost(self, error: Exception) -> ConnectionLostError:
        reason = "it was closed" if self.closed else getattr(error, "strerror", None) or str(error)
        return ConnectionLostError("the connection to {} is lost: {}".format(self.peer, reason))


def _plain(said: bytes) -> str:
    """A peer's words as one line that no terminal takes for anything else."""
    text = said.decode("utf-8", "replace")
    return "".join(letter if letter.isprintable() else " " for letter in text)


class Writer(object):
    """Sends messages in a thread of its own.

    Args:
        channel: Where they go.
        within_s: The other side has to take each in so many seconds.
        depth: So many may wait.
        on_sent: Called in that thread with each message's request and `Sent`.
    """

    def __init__(
        self,
        channel: Channel,
        within_s: float,
        depth: int = 1,
        on_sent: Optional[Callable[[int, Sent], None]] = None,
    ) -> None:
        self._channel, self._within_s, self._on_sent = channel, within_s, on_sent
        self._waiting: "Queue[Optional[Tuple[int, Sequence[Part]]]]" = Queue(depth)
        self._error: Optional[BaseException] = None
        self._thread = threading.Thread(target=self._run)
        self._thread.daemon = True
        self._thread.start()

    def put(self, request: int, parts: Sequence[Part]) -> None:
        """Has a message sent; waits while too many do. Its data stay as they are until `on_sent` was called.

        Raises:
            DeviceError: As `Channel.send`, for this message or an earlier one.
        """
        self._check()
        self._waiting.put((request, parts))
        self._check()

    def close(self) -> None:
        """Waits until everything is sent.

        Raises:
            DeviceError: As `Channel.send`.
        """
        self._waiting.put(None)
        self._thread.join()
        self._check()

    def _check(self) -> None:
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        while True:
            message = self._waiting.get()
            if message is None:
                return
            if self._error is not None:
                continue  # whoever puts must not wait for ever
            try:
                sent = self._channel.send(message[0], message[1], self._within_s)
                if self._on_sent is not None:
                    self._on_sent(message[0], sent)
            except BaseException as error:
                self._error = error
