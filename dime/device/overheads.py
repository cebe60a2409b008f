"""network -> overheads.csv: what a request of a plan takes here beside its bundles, copies and encodings.

Requests go through the parts of a plan that a stage runs, over the loopback: this device is the edge device and the
server of each, in turn, in one thread. So only one of them computes, as in a plan, and the tensor library has the
threads that it has in a stage. Each message waits before it leaves, as on its way over a link: whoever takes it has
gone to rest.
"""

import math
import os
import socket
import threading
import time
from collections import Counter, OrderedDict
from contextlib import closing, suppress
from queue import Queue
from typing import TYPE_CHECKING, Callable, Dict, Iterable, List, Optional, Sequence, Set, Tuple, Union

from dime.contract import files, frames, handshake, stages, tables, transport
from dime.contract.bundles import Bundle
from dime.contract.errors import ConnectionLostError, DimeError
from dime.contract.run import OVERHEADS
from dime.contract.timebase import monotonic_ns
from dime.contract.transport import Channel, Sent
from dime.device import stop
from dime.device.executing import work
from dime.device.executing.edge import Edge
from dime.device.executing.part import Frame, Part
from dime.device.processor import as_tuple

if TYPE_CHECKING:
    from dime.contract.messages import Emit
    from dime.contract.stages import Row, SegmentStamps
    from dime.device.boards import Board
    from dime.device.processor import Processor
    from dime.device.samples import Samples
    from dime.device.timings import Inputs, Network

    Waiting = Queue[Tuple[str, object]]
else:
    Waiting = Queue

ROUNDS, LEAST = 10, 3
WAIT_S = 0.01  # what a message is on its way, where the link is fast
WAITS = 3  # of a request: before it, there, and back
MOST_S = 5.0  # after which there are no more rounds than LEAST
MOST_IMAGES = 4
ROWS_AT_INPUT, ROWS_INSIDE = 6, 7  # of a request, by where the network is cut
CALL_S = 5.0
SILENCE_S = 120.0  # a request falls back behind it; a whole network takes less
NAMES = ("edge", "server")

Values = Dict[str, Union[int, str, float]]


class _Work(work.Work):
    """The network of a profile, whose clock is fixed already, and a few of its pictures."""

    def __init__(
        self,
        network: "Network",
        samples: "Samples",
        board: "Tuple[str, Board]",
        chosen: "Processor",
        inputs: "List[Inputs]",
    ) -> None:
        super(_Work, self).__init__(network, samples, board, chosen)
        self._pictures = OrderedDict(
            (name, tuple(tensor.to("cpu").contiguous() for tensor in as_tuple(tensors)))
            for name, tensors in inputs[0][:MOST_IMAGES]
        )

    def pictures(self) -> "Dict[str, work.Tensors]":
        return self._pictures

    def set_clock(self, frequency_hz: int) -> int:
        self._hz = frequency_hz  # to which a stand-in is held back
        return 0

    def free_clock(self) -> None:
        self._hz = -1


class _Events(Waiting):
    """What comes for the edge device; what comes for the server is passed on by whoever waits."""

    server: Optional[Part] = None

    def get(self, block: bool = True, timeout: Optional[float] = None) -> Tuple[str, object]:
        kind, what = super(_Events, self).get(block, timeout)
        if not (isinstance(what, Frame) and self.server is not None and self.server.awaits(what) and what.hop == 0):
            return kind, what
        self.server.pass_on(what)
        if self.server.dropped:
            raise ConnectionLostError("the result did not go back")
        return "passed on", None


class _Late(Channel):
    """A connection on which each message waits before it leaves.

    Attributes:
        left_ns: When the last one left.
    """

    left_ns = 0

    def send(self, request: int, parts: Sequence[transport.Part], within_s: float) -> Sent:
        """Waits, then sends."""
        time.sleep(WAIT_S)
        self.left_ns = monotonic_ns()
        return super(_Late, self).send(request, parts, within_s)


def _steps(first: int, end: int, frequency_hz: int) -> Tuple[stages.Step, ...]:
    """The layers from one to another, if there are any."""
    return (stages.Step(Bundle(first, end - 1), frequency_hz),) if first < end else ()


class _Loop(object):
    """A plan with one cut, both of whose devices are this one.

    Args:
        cut: The first layer of the server.
        frequency_hz: The frequency, which is fixed.
        number: The order's own.
        job: What both compute with.
    """

    def __init__(self, cut: int, frequency_hz: int, number: int, job: _Work) -> None:
        self._cut, self._work, self._events = cut, job, _Events()
        mine, there = _steps(0, cut, frequency_hz), _steps(cut, len(job.layers), frequency_hz)
        parts = [
            stages.Segment(stages.EDGE, mine), stages.Segment(1, there), stages.Segment(stages.EDGE, ())
        ]  # fmt: skip
        self._ways: List[_Late] = []
        self._edge, self._server = (self._part(me, number, parts) for me in range(len(NAMES)))
        self._events.server = self._server

    def _part(self, me: int, number: int, parts: List[stages.Segment]) -> Part:
        batch = self._work.network.batch
        said = {
            "plan": "overheads", "names": list(NAMES), "segments": stages.told(parts), "requests": 1, "warmups": 0,
            "check": False, "exact": False, "window": 1, "result_bytes": work.CLASS_BYTES * batch, "batch": batch,
            "first_picture": 0, "pictures": 0, "silence_s": SILENCE_S, "encodings": [], "input_hz": -1,
            "number": number, "first_number": 0, "me": me, "peers": {},
        }  # fmt: skip
        order = stages.order(said, len(self._work.layers))
        return Part(order, self._work, handshake.Run(b"", b"", b""), self._events)  # nobody has to prove anything

    def connect(self) -> None:
        """Connects both hops.

        Raises:
            OSError: There is no loopback.
            ConnectionLostError: Another program called.
        """
        self._edge.foresee()
        for hop in range(2):
            one, other = _pair()
            self._ways.append(_Late(one))
            sender, receiver = (self._edge, self._server) if hop == 0 else (self._server, self._edge)
            sender.attach(hop, self._ways[hop])
            receiver.attach(hop, Channel(other))

    def close(self) -> None:
        """Ends both connections."""
        self._edge.close()
        self._server.close()

    def run(self, nth: int) -> "Row":
        """Runs one request behind a wait.

        Raises:
            ConnectionLostError: The edge device had to finish it.
        """
        order = self._edge.order
        order.first_number = order.first_picture = nth
        time.sleep(WAIT_S)
        (row,) = Edge(self._edge, self._events, threading.Event()).drive()
        if row["fallback"]:
            raise ConnectionLostError("a request over the loopback was not answered")
        return row

    def rows(self, nth: int) -> "Iterable[Values]":
        """Runs one request; gives what it took, as rows of the table."""
        told = self.run(nth)
        for what, size_bytes, took_ns in _parts_of(told, [way.left_ns for way in self._ways]):
            yield {"boundary": self._cut, "what": what, "size_bytes": size_bytes, "seconds": took_ns * 1e-9}


def _parts_of(row: "Row", left_ns: Sequence[int]) -> Iterable[Tuple[str, int, int]]:
    """What a request, whose messages left then, took beside computing: (what, bytes that crossed, ns)."""
    edge, server, back = row["segments"]
    if edge["steps"]:
        yield "begin", 0, _before_ns(edge, row["start_ns"])
        yield "leave", 0, _behind_ns(edge)
    else:
        yield "forward", 0, edge["out_first"] - row["start_ns"] - edge["encode"]
    yield "hop", server["in_bytes"], server["in_last"] - left_ns[0]
    yield "enter", 0, _before_ns(server, server["in_last"])
    yield "leave", 0, _behind_ns(server)
    yield "hop", back["in_bytes"], back["in_last"] - left_ns[1]
    yield "finish", 0, row["end_ns"] - back["in_last"]


def _before_ns(segment: "SegmentStamps", since_ns: int) -> int:
    first = segment["steps"][0]
    return first["start"] - since_ns - segment["copy_in"] - segment["decode"] - first["change"]


def _behind_ns(segment: "SegmentStamps") -> int:
    return segment["out_first"] - segment["steps"][-1]["end"] - segment["copy_out"] - segment["encode"]


def _pair() -> Tuple[socket.socket, socket.socket]:
    """Two ends of a connection over the loopback."""
    with closing(socket.socket(socket.AF_INET, socket.SOCK_STREAM)) as listener:
        listener.settimeout(CALL_S)
        listener.bind((frames.LOOPBACK, 0))
        listener.listen(1)
        one = socket.create_connection(listener.getsockname(), CALL_S)
        try:
            other, caller = listener.accept()
        except BaseException:
            one.close()
            raise
    if caller != one.getsockname():
        one.close()
        other.close()
        raise ConnectionLostError("another program called over the loopback")
    return one, other


def cuts(network: "Network") -> List[int]:
    """Where a network is cut: at its input, and inside where the fewest and the most bytes cross."""
    inner = range(1, len(network.layers))
    sizes = dict(
        (at, sum(frames.size_bytes(value.dtype, tuple(value.shape)) for value in network.boundary(at))) for at in inner
    )
    return [0] + sorted(set([min(inner, key=sizes.__getitem__), max(inner, key=sizes.__getitem__)]) if sizes else [])


class Overheads(object):
    """The overheads of one run, and at which frequencies they have been measured.

    Args:
        folder: The run's folder; what an earlier session measured there stays.
        network: The network.
        samples: Its feature maps.
        inputs: Every layer's inputs by image.
        board: The board's name and module, which may hold back what is timed.
        chosen: What the network runs on.
        emit: Told of what cannot be measured.
    """

    def __init__(
        self,
        folder: str,
        network: "Network",
        samples: "Samples",
        inputs: "List[Inputs]",
        board: "Tuple[str, Board]",
        chosen: "Processor",
        emit: "Emit",
    ) -> None:
        self._path = os.path.join(folder, OVERHEADS)
        self._network, self._emit = network, emit
        self._made: "Callable[[], _Work]" = lambda: _Work(network, samples, board, chosen, inputs)
        self._work: Optional[_Work] = None
        self._done = self._reopen()

    def _reopen(self) -> "Set[int]":
        """The frequencies that were measured: the rows of one are written all or none."""
        if not os.path.exists(self._path):
            return set()
        rows = tables.recover(self._path, tables.OVERHEADS)
        of_round = sum(ROWS_INSIDE if cut else ROWS_AT_INPUT for cut in cuts(self._network))
        counts = Counter((row["frequency_hz"], row["run"]) for row in rows)
        rounds = Counter(hz for hz, _ in counts)
        torn = set(hz for (hz, _), count in counts.items() if count != of_round)
        whole = set(hz for hz, count in rounds.items() if count >= LEAST) - torn
        with files.replacing(self._path) as part, tables.Writer(part, tables.OVERHEADS) as writer:
            writer.write(row for row in rows if row["frequency_hz"] in whole)
        return whole

    def is_complete(self, frequency_hz: int) -> bool:
        """Whether there is nothing to measure at a frequency."""
        return frequency_hz in self._done

    def expected_s(self, whole_s: float) -> float:
        """What a frequency's requests will take, about.

        Args:
            whole_s: Of one run of the whole network.
        """
        round_s = len(cuts(self._network)) * (whole_s + WAITS * WAIT_S)
        return round_s * (1 + max(LEAST, min(ROUNDS, math.ceil(MOST_S / round_s))))

    def measure(self, frequency_hz: int) -> None:
        """Runs requests cut at each place, round by round; nothing is written but all of it.

        Where the loopback fails that is told, and nothing is written.

        Args:
            frequency_hz: The frequency, which is fixed.
        """
        if self.is_complete(frequency_hz):
            return
        try:
            rows = self._rows(frequency_hz)
        except (DimeError, OSError) as error:
            self._emit("warning", text="overheads were not measured: {}".format(error))
            return
        with tables.Writer(self._path, tables.OVERHEADS, append=True) as writer:
            writer.write(dict(row, frequency_hz=frequency_hz) for row in rows)
        self._done.add(frequency_hz)

    def _rows(self, frequency_hz: int) -> List[Values]:
        if self._work is None:
            self._work = self._made()
        loops: List[_Loop] = []
        try:
            for number, cut in enumerate(cuts(self._network)):
                loops.append(_Loop(cut, frequency_hz, number, self._work))
                loops[-1].connect()
            until_ns = monotonic_ns() + int(MOST_S * 1e9)
            for loop in loops:  # a first round warms up
                stop.check()
                loop.run(0)
            rows: List[Values] = []
            for run in range(ROUNDS):
                if run >= LEAST and monotonic_ns() > until_ns:
                    break
                for loop in loops:
                    stop.check()
                    rows += [dict(row, run=run) for row in loop.rows(1 + run)]
            return rows
        finally:
            for loop in loops:
                with suppress(OSError):
                    loop.close()
