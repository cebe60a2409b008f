"""An emulated link: a program between two others that lets bytes through no faster, and no sooner, than a link would.

Real bytes in real time: each piece leaves half a round trip after the link would have sent its last bit. What the link
has not sent yet waits here for 20 ms at most; then no more is taken, so that the sender is held up as by a link.
How late pieces left, by this computer's own doing, is counted.
"""

import ctypes
import socket
import struct
import threading
import time
from contextlib import suppress
from queue import Queue
from typing import Dict, List, Optional, Tuple

from dime.contract.errors import DeviceError, InputError
from dime.contract.frames import LOOPBACK
from dime.contract.timebase import monotonic_ns

_LEAD_NS = 20 * 10**6
_PIECE_S, _LEAST_PIECE, _MOST_PIECE = 0.001, 1460, 1 << 16
_WAITING = 1024
_MOST_KEPT = 1 << 14
_SET_TIMER_SLACK = 29  # prctl: how late a sleep may end, 50 us unless it is set
_MOST_AWAKE_NS = 200 * 10**3
_STAMP, _STAMPED = struct.Struct("ll"), 35  # SO_TIMESTAMPNS
_ROUNDED_S = 1e-6  # more than a time of day is rounded by
_CALLS = 16
_PAUSE_S = 0.1


class _Line(object):
    """When a link that sends one bit after the other is free again."""

    def __init__(self) -> None:
        self.free_ns = 0
        self.lock = threading.Lock()

    def book(self, size_bytes: int, bit_s: float, came_ns: int) -> int:
        """When the link has sent bytes that came at some time."""
        with self.lock:
            self.free_ns = max(came_ns, self.free_ns) + int(size_bytes * 8e9 / bit_s)
            return self.free_ns


class _Way(object):
    """One direction of a link, and how well it was kept."""

    def __init__(self, line: _Line, bit_s: float, delay_s: float) -> None:
        self.line, self.bit_s, self.delay_ns = line, bit_s, int(delay_s * 1e9)
        self.piece = int(min(max(bit_s / 8 * _PIECE_S, _LEAST_PIECE), _MOST_PIECE))
        self.waiting = _WAITING + int((delay_s + _LEAD_NS / 1e9) * bit_s / 8 / self.piece)
        self.bytes, self.pieces = 0, 0
        self.late_s: List[float] = []
        self.stride = 1
        self.lock = threading.Lock()

    def carry(self, source: socket.socket, target: socket.socket) -> None:
        """Carries everything from one socket to the other, and its end."""
        queue: "Queue[Optional[Tuple[int, bytes]]]" = Queue(self.waiting)
        writer = threading.Thread(target=self._deliver, args=(queue, target))
        writer.daemon = True
        writer.start()
        came_ns, full = 0, False
        with suppress(OSError):
            source.setsockopt(socket.SOL_SOCKET, _STAMPED, 1)
        with suppress(OSError):
            while True:
                try:  # what is there behind a full piece lay there with it, and this program came late
                    data, at_ns = _take(source, self.piece, socket.MSG_DONTWAIT, came_ns if full else 0)
                except BlockingIOError:
                    data, at_ns = _take(source, self.piece)
                came_ns = max(came_ns, at_ns)
                if not data:
                    break
                full = len(data) == self.piece
                end_ns = self.line.book(len(data), self.bit_s, came_ns)
                queue.put((end_ns + self.delay_ns, data))
                _sleep_until(end_ns - _LEAD_NS)
        queue.put(None)
        writer.join()

    def _deliver(self, queue: "Queue[Optional[Tuple[int, bytes]]]", target: socket.socket) -> None:
        _precise()
        broken, waking_ns = False, 0
        while True:
            piece = queue.get()
            if piece is None:
                break
            if broken:
                continue
            due_ns, data = piece
            woke_ns = _sleep_until(due_ns, waking_ns if queue.qsize() < 2 else 0)  # a message's end is waited for
            if woke_ns:
                waking_ns = min(max(woke_ns, waking_ns - waking_ns // 16), _MOST_AWAKE_NS)
            self._count(len(data), (monotonic_ns() - due_ns) / 1e9)
            try:
                target.sendall(data)
            except OSError:
                broken = True
        with suppress(OSError):
            target.shutdown(socket.SHUT_WR)

    def _count(self, size_bytes: int, late_s: float) -> None:
        with self.lock:
            self.bytes += size_bytes
            if self.pieces % self.stride == 0:
                self.late_s.append(late_s)
            self.pieces += 1
            if len(self.late_s) > _MOST_KEPT:  # every other one tells as much
                self.late_s = self.late_s[::2]
                self.stride *= 2

    def kept(self) -> Dict[str, float]:
        with self.lock:
            late_s = sorted(self.late_s) or [0.0]
            return {
                "bytes": self.bytes,
                "pieces": self.pieces,
                "late_median_s": late_s[len(late_s) // 2],
                "late_p95_s": late_s[int(0.95 * (len(late_s) - 1))],
                "late_most_s": late_s[-1],
            }


class Shaper(object):
    """A link from whoever calls it to one address.

    Args:
        target: Address and port that are behind the link.
        up_bit_s: Rate from the caller to the target, bit/s.
        down_bit_s: Rate back.
        round_trip_s: Half of it delays each direction.
        duplex: Whether both directions have their rates at the same time.
        address: Where it listens.
        port: Its port; 0 takes one that is free.

    Raises:
        InputError: A number is none that a link can have.
        DeviceError: It cannot listen there.
    """

    def __init__(
        self,
        target: Tuple[str, int],
        up_bit_s: float,
        down_bit_s: float,
        round_trip_s: float,
        duplex: bool = True,
        address: str = LOOPBACK,
        port: int = 0,
    ) -> None:
        if not (1 <= up_bit_s < 1e13 and 1 <= down_bit_s < 1e13 and 0 <= round_trip_s < 3600):
            raise InputError("an emulated link has rates of at least 1 bit/s and a round trip of at most an hour")
        up_line = _Line()
        self.up = _Way(up_line, up_bit_s, round_trip_s / 2)
        self.down = _Way(_Line() if duplex else up_line, down_bit_s, round_trip_s / 2)
        self._target = target
        self._open: List[socket.socket] = []
        self._closed = False
        self._lock = threading.Lock()
        self._calls = threading.BoundedSemaphore(_CALLS)
        self._socket = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._socket.bind((address, port))
            self._socket.listen(_CALLS)
        except (OSError, OverflowError) as error:
            self._socket.close()
            reason = getattr(error, "strerror", None) or str(error)
            raise DeviceError("cannot listen at {} port {}: {}".format(address, port, reason))
        self._socket.settimeout(_PAUSE_S)
        self.address, self.port = address, int(self._socket.getsockname()[1])
        self._thread = threading.Thread(target=self._accept)
        self._thread.daemon = True
        self._thread.start()

    def kept(self) -> "Dict[str, Dict[str, float]]":
        """How well the link was kept, for each direction: how much went through, and how late it left."""
        return {"up": self.up.kept(), "down": self.down.kept()}

    def cut(self) -> None:
        """Breaks all connections that go through now; new ones are let through."""
        with self._lock:
            open_now, self._open = self._open, []
        for each in open_now:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Ends the link and what goes through it."""
        self._closed = True
        self._socket.close()
        self.cut()
        self._thread.join()

    def __enter__(self) -> "Shaper":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _accept(self) -> None:
        while not self._closed:
            try:
                caller = self._socket.accept()[0]
            except socket.timeout:
                continue
            except OSError:
                return
            if not self._calls.acquire(False):
                caller.close()
                continue
            thread = threading.Thread(target=self._join, args=(caller,))
            thread.daemon = True
            thread.start()

    def _join(self, caller: socket.socket) -> None:
        """Carries one connection both ways until it ends."""
        try:
            with suppress(OSError), caller:
                caller.setblocking(True)
                with socket.create_connection(self._target, 5.0) as called:
                    called.settimeout(None)
                    for each in (caller, called):
                        each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    with self._lock:
                        self._open += [caller, called]
                    back = threading.Thread(target=self.down.carry, args=(called, caller))
                    back.daemon = True
                    back.start()
                    self.up.carry(caller, called)
                    back.join()
                    with self._lock:
                        self._open = [one for one in self._open if one not in (caller, called)]
        finally:
            self._calls.release()


def _take(source: socket.socket, most: int, flags: int = 0, at_ns: int = 0) -> Tuple[bytes, int]:
    """Takes what came, and says when: by the kernel, else the time that is given, else now."""
    data, told = source.recvmsg(most, socket.CMSG_SPACE(_STAMP.size), flags)[:2]
    for level, kind, stamp in told:
        if (level, kind, len(stamp)) == (socket.SOL_SOCKET, _STAMPED, _STAMP.size):
            whole_s, rest_ns = _STAMP.unpack(stamp)
            ago_ns = int((time.time() - _ROUNDED_S - whole_s) * 1e9) - rest_ns
            return data, monotonic_ns() - max(ago_ns, 0)
    return data, at_ns or monotonic_ns()


def _sleep_until(due_ns: int, awake_ns: int = 0) -> int:
    """Waits, so long of it awake; gives how late its last sleep ended, 0 without one."""
    end_ns, late_ns = due_ns - awake_ns, 0
    left_ns = end_ns - monotonic_ns()
    while left_ns > 0:
        time.sleep(left_ns / 1e9)
        left_ns = end_ns - monotonic_ns()
        late_ns = max(-left_ns, 0)
    while monotonic_ns() < due_ns:
        time.sleep(0)  # lets this program's other threads on
    return late_ns


def _precise() -> None:
    """Lets this thread's sleeps end on time, where the kernel knows how."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_SET_TIMER_SLACK, ctypes.c_ulong(1), 0, 0, 0)
