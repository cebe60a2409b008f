"""What a device takes beside computing when a plan runs: measured by running one, with both its ends on this device.

The network is cut at a few places. For each a request is sent from one end to the other and back over the loopback, by
the code that runs plans (`dime.device.executing`). Each message waits before it leaves, as it would on its way over a
link: whoever takes it has gone to rest. The stamps tell what passes before, between and behind the bundles.
"""

import os
import socket
import threading
import time
from collections import Counter
from contextlib import contextmanager
from queue import Empty, Queue
from typing import TYPE_CHECKING, Dict, Iterator, List, NamedTuple, Sequence, Set, Tuple

from dime.contract import files, frames, stages, tables, transport
from dime.contract.bundles import Bundle
from dime.contract.errors import DeviceError, DimeError
from dime.contract.handshake import Run
from dime.contract.run import OVERHEADS
from dime.contract.timebase import monotonic_ns
from dime.contract.transport import Channel, Sent
from dime.device import stop
from dime.device.executing.edge import Edge
from dime.device.executing.part import LOOK_S, Frame, Part
from dime.device.executing.work import CLASS_BYTES, Work

if TYPE_CHECKING:
    from dime.contract.messages import Emit
    from dime.contract.stages import Row, SegmentStamps
    from dime.device.boards import Board
    from dime.device.networks import Crossing
    from dime.device.processor import Processor
    from dime.device.samples import Samples
    from dime.device.timings import Network

ROUNDS, LEAST_ROUNDS, ENOUGH_S = 10, 3, 15.0
WAIT_S = 0.01  # what crosses a link takes, where that is fast
SILENCE_S = 60.0
PICTURES = 3
EDGE, SERVER = 0, 1

End = NamedTuple("End", [("part", Part), ("events", "Queue[Tuple[str, object]]")])
Cut = NamedTuple(
    "Cut",
    [
        ("boundary", int),
        ("size_bytes", int),
        ("result_bytes", int),
        ("ends", Tuple[End, ...]),
        ("hops", Tuple["_Late", ...]),
    ],
)
Cut.__doc__ = "Where the network is cut: both ends, and the connections there and back."


class _Late(Channel):
    """A connection on which each message waits before it leaves."""

    left_ns = 0

    def send(self, request: int, parts: "Sequence[transport.Part]", within_s: float) -> Sent:
        """Waits, then sends."""
        time.sleep(WAIT_S)
        self.left_ns = monotonic_ns()
        return super(_Late, self).send(request, parts, within_s)


class _Held(Work):
    """A network at a clock that whoever profiles has fixed."""

    def set_clock(self, frequency_hz: int) -> int:
        """Knows the clock, by which a stand-in is held back."""
        self._hz = frequency_hz
        return 0

    def free_clock(self) -> None:
        """Leaves the clock alone."""
        self._hz = -1


class Overheads(object):
    """The overheads of one run, and at which frequencies they have been measured.

    Args:
        folder: The run's folder; what an earlier session measured there stays.
        network: The network.
        samples: Its feature maps.
        board: The board's name and module.
        chosen: What the network runs on.
        batch: Inputs that a run computes at once.
        emit: Told where they could not be measured.
    """

    def __init__(
        self,
        folder: str,
        network: "Network",
        samples: "Samples",
        board: "Tuple[str, Board]",
        chosen: "Processor",
        batch: int,
        emit: "Emit",
    ) -> None:
        self._path = os.path.join(folder, OVERHEADS)
        self._network, self._samples, self._board, self._chosen = network, samples, board, chosen
        self._batch, self._emit = batch, emit
        self._done = self._reopen()

    def _reopen(self) -> "Set[int]":
        """Keeps the rows of frequencies that were finished; gives these frequencies."""
        if not os.path.exists(self._path):
            return set()
        rows = tables.recover(self._path, tables.OVERHEADS)
        counts = Counter((row["frequency_hz"], row["run"]) for row in rows)
        finished = set(row["frequency_hz"] for row in rows)
        for hertz in list(finished):
            of_rounds = [count for (its, _), count in counts.items() if its == hertz]
            if len(of_rounds) < LEAST_ROUNDS or len(set(of_rounds)) > 1:
                finished.discard(hertz)
        with files.replacing(self._path) as part, tables.Writer(part, tables.OVERHEADS) as writer:
            writer.write(row for row in rows if row["frequency_hz"] in finished)
        return finished

    def is_complete(self, frequency_hz: int) -> bool:
        """Whether there is nothing to measure at a frequency."""
        return frequency_hz in self._done

    def measure(self, frequency_hz: int) -> None:
        """Measures what is missing at a frequency, which is fixed; nothing is written but all of it.

        What cannot be measured is told, and ends no profile.
        """
        if self.is_complete(frequency_hz):
            return
        try:
            rows = self._rounds(frequency_hz)
        except (DimeError, OSError) as error:
            stop.check()
            self._emit("warning", text="what the device takes beside computing was not measured: {}".format(error))
            return
        with tables.Writer(self._path, tables.OVERHEADS, append=True) as writer:
            writer.write(dict(row, frequency_hz=frequency_hz) for row in rows)
        self._done.add(frequency_hz)

    def _rounds(self, frequency_hz: int) -> "List[Dict[str, object]]":
        work = _Held(self._network, self._samples, self._board, self._chosen)
        rows: "List[Dict[str, object]]" = []
        with _cuts(work, frequency_hz, self._batch) as cuts:
            for cut in cuts:  # a first request warms up
                self._request(work, cut, frequency_hz)
            began_ns = monotonic_ns()
            for run in range(ROUNDS):
                if run >= LEAST_ROUNDS and monotonic_ns() - began_ns > ENOUGH_S * 1e9:
                    break
                for cut in cuts:
                    found = self._request(work, cut, frequency_hz)
                    rows += [dict(row, run=run, boundary=cut.boundary) for row in found]
        return rows

    def _request(self, work: _Held, cut: Cut, frequency_hz: int) -> "List[Dict[str, object]]":
        """Sends one request there and back; then runs its first bundles once more, without a wait before."""
        stop.check()
        time.sleep(WAIT_S)
        edge = cut.ends[EDGE]
        (row,) = Edge(edge.part, edge.events, threading.Event()).drive()
        if row["fallback"]:
            raise DeviceError("a message over the loopback was lost")
        found = list(_of_stamps(row, cut))
        for segment, stamps in zip(edge.part.order.segments, row["segments"]):
            if segment.steps:
                hot_ns = self._hot_ns(work, segment.steps[0].bundle, row["picture"], frequency_hz)
                found.append(("cold", 0, stamps["steps"][0]["compute"] - hot_ns))
        return [{"what": what, "size_bytes": size, "seconds": took_ns / 1e9} for what, size, took_ns in found]

    def _hot_ns(self, work: _Held, bundle: Bundle, picture: str, frequency_hz: int) -> int:
        took_ns = 0
        work.set_clock(frequency_hz)
        for _ in range(2):
            placed, _ = work.place(tuple(tensor.clone() for tensor in work.maps(bundle.first)[picture]))
            took_ns = work.run(bundle, placed)[1]
        return took_ns


def _of_stamps(row: "Row", cut: Cut) -> "Iterator[Tuple[str, int, int]]":
    """What passed in a request beside computing: kind, bytes, ns."""
    first, server, last = row["segments"]
    yield "hop", cut.size_bytes, server["in_last"] - cut.hops[0].left_ns
    yield "hop", cut.result_bytes, last["in_last"] - cut.hops[1].left_ns
    if first["steps"]:
        yield "begin", 0, _before(first, row["start_ns"])
        yield "leave", 0, _behind(first)
    else:
        yield "forward", 0, first["out_first"] - row["start_ns"]
    yield "enter", 0, _before(server, server["in_last"])
    yield "leave", 0, _behind(server)
    yield "finish", 0, row["end_ns"] - last["in_last"]


def _before(stamps: "SegmentStamps", since_ns: int) -> int:
    step = stamps["steps"][0]
    return step["start"] - since_ns - stamps["copy_in"] - stamps["decode"] - step["change"]


def _behind(stamps: "SegmentStamps") -> int:
    return stamps["out_first"] - stamps["steps"][-1]["end"] - stamps["copy_out"] - stamps["encode"]


def places(sizes_bytes: "List[int]") -> List[int]:
    """Where a network is cut: before it, and before the inner layers that take the most and the fewest bytes.

    Args:
        sizes_bytes: Bytes of what enters each layer.
    """
    inner = range(1, len(sizes_bytes))
    found = {0}
    if inner:
        found.update((max(inner, key=lambda at: sizes_bytes[at]), min(inner, key=lambda at: sizes_bytes[at])))
    return sorted(found)


@contextmanager
def _cuts(work: _Held, frequency_hz: int, batch: int) -> "Iterator[List[Cut]]":
    """Both ends of each cut, connected, with a thread that serves the other end, until nothing more is asked."""
    count = len(work.layers)
    sizes = [sum(map(_size_bytes, work.boundary(at))) for at in range(count)]
    result_bytes = min(CLASS_BYTES * batch, sum(map(_size_bytes, work.boundary(count))))
    cuts: List[Cut] = []
    over = threading.Event()
    threads: List[threading.Thread] = []
    try:
        for number, boundary in enumerate(places(sizes)):
            ends = tuple(_end(work, number, me, boundary, frequency_hz, batch) for me in (EDGE, SERVER))
            pairs = _pair(), _pair()
            cuts.append(Cut(boundary, sizes[boundary], result_bytes, ends, tuple(caller for caller, _ in pairs)))
            for hop, (caller, called) in enumerate(pairs):
                ends[hop].part.attach(hop, caller)
                ends[1 - hop].part.attach(hop, called)
            ends[EDGE].part.foresee()
            threads.append(threading.Thread(target=_serve, args=(ends[SERVER], over)))
            threads[-1].daemon = True
            threads[-1].start()
        yield cuts
    finally:
        over.set()
        for cut in cuts:
            for end in cut.ends:
                end.part.close()
        for thread in threads:
            thread.join()


def _end(work: _Held, number: int, me: int, boundary: int, frequency_hz: int, batch: int) -> End:
    count = len(work.layers)
    said = {
        "number": number,
        "me": me,
        "plan": "overheads",
        "names": ["this device", "its other end"],
        "segments": [
            [EDGE, _steps(0, boundary, frequency_hz)],
            [SERVER, _steps(boundary, count, frequency_hz)],
            [EDGE, []],
        ],
        "peers": {},
        "first_number": 0,
        "first_picture": 0,
        "pictures": PICTURES,
        "requests": 1,
        "warmups": 0,
        "window": 1,
        "check": False,
        "exact": False,
        "result_bytes": CLASS_BYTES * batch,
        "batch": batch,
        "encodings": [],
        "input_hz": frequency_hz,
        "silence_s": SILENCE_S,
    }
    events: "Queue[Tuple[str, object]]" = Queue()
    return End(Part(stages.order(said, count), work, Run(b"", b"", b""), events), events)


def _steps(first: int, end: int, frequency_hz: int) -> List[List[int]]:
    """The layers from one to another: the first by itself, since a short bundle tells best what a wait costs."""
    steps = [[first, first, frequency_hz], [first + 1, end - 1, frequency_hz]]
    return [step for step in steps if step[0] <= step[1] < end]


def _serve(end: End, over: threading.Event) -> None:
    while not over.is_set():
        try:
            _, what = end.events.get(timeout=LOOK_S)
        except Empty:
            continue
        if isinstance(what, Frame) and end.part.awaits(what):
            end.part.pass_on(what)


def _pair() -> Tuple[_Late, Channel]:
    """Two ends of a connection over the loopback; the first one sends."""
    with socket.socket() as listener:
        listener.bind((frames.LOOPBACK, 0))
        listener.listen(1)
        caller = socket.create_connection(listener.getsockname(), SILENCE_S)
        try:
            return _Late(caller), Channel(listener.accept()[0])
        except BaseException:
            caller.close()
            raise


def _size_bytes(value: "Crossing") -> int:
    return frames.size_bytes(value.dtype, value.shape)
