"""One device's part of a plan, run: it listens, takes orders from who started the run, computes, and sends on.

Each hop of a plan has a connection of its own, on which only its frames may come; the device that stands first in the
plan's list of devices calls. The edge device, which stands first of all, feeds the pictures and keeps the time.
"""

import threading
from array import array
from collections import OrderedDict
from contextlib import suppress
from queue import Empty, Queue
from typing import TYPE_CHECKING, Dict, List, NamedTuple, Optional, Sequence, Tuple

import torch

from dime.contract import frames, handshake, stages, talk
from dime.contract.bundles import Bundle
from dime.contract.errors import ConnectionLostError, DeviceError, DimeError, InputError
from dime.contract.timebase import monotonic_ns
from dime.contract.transport import Channel, Part, SilentError, Writer
from dime.device import stop
from dime.device.encodings import effect
from dime.device.executing import work
from dime.device.processor import as_tuple

if TYPE_CHECKING:
    from dime.contract.messages import Emit
    from dime.contract.stages import Order, Row
    from dime.device.processor import Tensors

FOREVER_S = 1e7
PATIENCE_S = 60.0  # for whoever started the stage to call it
CALL_S, PAUSE_S, LOOK_S = 5.0, 0.1, 0.5

Frame = NamedTuple(
    "Frame",
    [
        ("order", int),
        ("hop", int),
        ("number", int),
        ("memory", "work.Tensors"),
        ("data", Tuple[memoryview, ...]),
        ("first_ns", int),
        ("last_ns", int),
        ("size_bytes", int),
        ("stamps", Tuple[int, ...]),
    ],
)
Frame.__doc__ = "What has come at a hop, as tensors or encoded; ``stamps`` begins with the picture's position."


class Stage(object):
    """Serves one run.

    Args:
        job: The loaded network.
        run: What callers must have alike.
        address: Where it listens.
        emit: Called with a message's kind and fields.
        patience_s: How long it waits for whoever started it.
        quiet_s: So long who gives orders may say nothing.
    """

    def __init__(
        self,
        job: work.Work,
        run: handshake.Run,
        emit: "Emit",
        address: str = frames.LOOPBACK,
        patience_s: float = PATIENCE_S,
        quiet_s: float = talk.QUIET_S,
    ) -> None:
        self._work, self._run, self._emit = job, run, emit
        self._patience_s, self._quiet_s = patience_s, quiet_s
        self._listener = handshake.Listener(address)
        self._events: "Queue[Tuple[str, object]]" = Queue()
        self._over, self._left = threading.Event(), threading.Event()
        self._control: Optional[Channel] = None
        self._part: "Optional[_Part]" = None

    @property
    def port(self) -> int:
        """Where it listens."""
        return self._listener.port

    def serve(self) -> None:
        """Takes orders until who gives them has gone.

        Raises:
            DeviceError: Nobody called.
        """
        listening = threading.Thread(target=self._listen)
        listening.daemon = True
        listening.start()
        try:
            with work.freed(self._work):
                self._serve()
        finally:
            self._over.set()
            self._listener.close()
            if self._part is not None:
                self._part.close()
            if self._control is not None:
                self._control.close()

    def _serve(self) -> None:
        waited_ns = monotonic_ns()
        while True:
            stop.check()
            try:
                kind, what = self._events.get(timeout=LOOK_S)
            except Empty:
                if self._control is None and monotonic_ns() - waited_ns > self._patience_s * 1e9:
                    why = "; refused: " + self._listener.refused[-1] if self._listener.refused else ""
                    raise DeviceError("nobody called this stage in {:g} s{}".format(self._patience_s, why))
                continue
            if kind == "end":
                return
            if kind == "said":
                self._obey(what)
            elif isinstance(what, Frame) and self._part is not None and self._part.awaits(what):
                self._part.pass_on(what)

    def _obey(self, said: object) -> None:
        """Does what who started the run asks for, and answers."""
        try:
            if not isinstance(said, dict):
                raise InputError("what was said is no object")
            if "order" in said:
                self._say({"ready": self._take(said["order"])})
            elif "go" in said and self._part is not None and self._part.order.is_edge:
                for rows in _batches(_Edge(self._part, self._events, self._left).drive()):
                    self._say({"rows": rows})
                self._say({"done": self._part.dropped})
            elif "time" in said:
                self._say({"time_ns": monotonic_ns()})
            else:
                raise InputError("there is nothing to do")
        except DimeError as error:
            self._say({"error": str(error)})

    def _take(self, said: object) -> Dict[str, object]:
        """Makes ready for a plan; its hops that this device calls are called."""
        if self._part is not None:
            self._part.close()
            self._part = None
        order = stages.order(said, len(self._work.layers))
        part = _Part(order, self._work, self._run, self._events)
        if order.is_edge:
            part.foresee()  # before any request is timed
        clocks = set(step.frequency_hz for step in order.steps)
        self._work.check_clocks(order.steps)
        if order.is_edge and order.sends_input_encoded:
            self._work.set_clock(order.input_hz)
        self._work.set_clock(clocks.pop() if len(clocks) == 1 else -1)
        alone = part.warm()
        self._part = part
        part.call(CALL_S)
        return dict(self._work.facts(), back_to_back=alone)

    def _say(self, what: object) -> None:
        if self._control is not None:
            talk.say(self._control, what)

    def _listen(self) -> None:
        """Lets callers in: who gives orders, once, and the hops of the order at hand."""
        while not self._over.is_set():
            try:
                channel, name = self._listener.accept(self._run, LOOK_S)
            except SilentError:
                continue
            except (DeviceError, OSError):
                return
            if name == talk.CONTROL and self._control is None:
                self._control = channel
                thread = threading.Thread(target=self._hear, args=(channel,))
                thread.daemon = True
                thread.start()
                continue
            part, (number, hop) = self._part, _named(name)
            if part is None or part.order.number != number or not part.attach(hop, channel):
                channel.close()

    def _hear(self, channel: Channel) -> None:
        try:
            while True:
                said = talk.hear(channel, self._quiet_s)
                if not (isinstance(said, dict) and "alive" in said):
                    self._events.put(("said", said))
        except (DimeError, ValueError):
            self._left.set()  # seen by what is driven
            self._events.put(("end", None))


class _Part(object):
    """This device's part of one plan: its connections, and what it computes."""

    def __init__(self, order: "Order", job: work.Work, run: handshake.Run, events: "Queue[Tuple[str, object]]") -> None:
        self.order, self.work, self.dropped = order, job, 0
        self._run, self._events = run, events
        self._channels: Dict[int, Channel] = {}
        self._writers: Dict[int, Writer] = {}
        self._changed = threading.Condition()
        self._closed = False
        self._calling = False
        self._values: "Dict[int, List[Tuple[str, Tuple[int, ...]]]]" = {}
        self._lengths = dict(
            (hop, self._encoded_bytes(hop)) for hop in range(len(order.segments) - 1) if order.encoding(hop) is not None
        )

    def _encoded_bytes(self, hop: int) -> "List[Tuple[int, bool]]":
        """The bytes at most of each tensor of an encoded hop, and whether there may be fewer.

        Raises:
            InputError: The plan foretells what the encoding cannot make here.
        """
        boundary, encoding = self.order.boundary(hop), self.order.encoding(hop)
        assert encoding is not None
        lengths = self.work.encoded_bytes(boundary, encoding.name)
        fixed = sum(length for length in lengths if length is not None)
        if fixed > encoding.most_bytes or (None not in lengths and fixed < encoding.most_bytes):
            raise InputError(
                "what crosses before layer {} is {} bytes as {}, and the plan foretells {}".format(
                    self.work.layers[boundary], fixed, encoding.name, encoding.most_bytes
                )
            )
        return [(encoding.most_bytes - fixed, True) if length is None else (length, False) for length in lengths]

    @property
    def count(self) -> int:
        """How many pictures are fed."""
        pictures = len(self.work.pictures())
        return min(self.order.pictures or pictures, pictures)

    def foresee(self) -> None:
        """Computes what the results will have to be, wherever a request is finished."""
        for hops in range(len(self.order.segments)):
            self.work.results(self.order.trips(hops), self.count)

    def close(self) -> None:
        """Ends all its connections."""
        with self._changed:
            self._closed = True
            channels = list(self._channels.values())
            self._channels.clear()
            self._changed.notify_all()
        for channel in channels:
            channel.close()

    def warm(self) -> List[List[object]]:
        """Runs each of its bundles back to back, as a profile does; what it needs of the feature maps is read.

        Returns:
            list: [segment, step, [ns of each run but the first]] of each of its bundles.
        """
        found: List[List[object]] = []
        for at, segment in enumerate(self.order.segments):
            if segment.device == self.order.me:
                for number, step in enumerate(segment.steps):
                    pictures = list(self.work.maps(step.bundle.first).values())
                    took = []
                    for turn in range(1 + stages.BACK_TO_BACK):
                        picture = pictures[turn % len(pictures)]
                        inputs, _ = self.work.place(tuple(tensor.clone() for tensor in picture))
                        self.work.set_clock(step.frequency_hz)
                        took.append(self.work.run(step.bundle, inputs)[1])
                    found.append([at, number, took[1:]])
                    if self.order.check and step.bundle.last + 1 < len(self.work.layers):
                        self.work.maps(step.bundle.last + 1)
        return found

    def values(self, hop: int) -> "List[Tuple[str, Tuple[int, ...]]]":
        """The dtype and shape of each tensor that crosses at a hop; of an encoded one the bytes that it has at most."""
        if hop not in self._values:
            self._values[hop] = self._values_at(hop)
        return self._values[hop]

    def _values_at(self, hop: int) -> "List[Tuple[str, Tuple[int, ...]]]":
        order = self.order
        if hop in self._lengths:
            return [("uint8", (most,)) for most, _ in self._lengths[hop]]
        values = [(value.dtype, tuple(value.shape)) for value in self.work.boundary(order.boundary(hop))]
        whole = sum(frames.size_bytes(dtype, shape) for dtype, shape in values)
        if order.is_result(hop) and not order.check and order.result_bytes != whole:
            return [("uint8", (order.result_bytes,))]
        return values

    def foretold(self, hop: int) -> List[frames.Foretold]:
        """The frames of each message at a hop."""
        values = self.values(hop)
        varies = [one for _, one in self._lengths.get(hop, [])] or [False] * len(values)
        found = [frames.Foretold(frames.TENSOR, dtype, shape, one) for (dtype, shape), one in zip(values, varies)]
        count = stages.stamp_count(self.order.segments[: hop + 1])
        return found + [frames.Foretold(frames.STAMPS, "int64", (count,))]

    def call(self, within_s: float) -> None:
        """Calls each hop that is this device's to call and has no connection; those of others are waited for.

        Raises:
            DeviceError: One could not be reached.
        """
        order = self.order
        for hop in order.hops(True) + order.hops(False):
            other = order.other(hop)
            if other < order.me or hop in self._channels:
                continue
            if other not in order.peers:
                raise InputError("the order does not say where {} is".format(order.names[other]))
            address, port = order.peers[other]
            name = "{} {}".format(order.number, hop)
            self.attach(hop, handshake.connect(address, port, self._run, name, within_s, order.names[other]))

    def attach(self, hop: int, channel: Channel) -> bool:
        """Takes a connection for a hop; whether the plan has such a hop here."""
        order = self.order
        sends = hop in order.hops(True)
        if not sends and hop not in order.hops(False):
            return False
        with self._changed:
            if self._closed:
                return False
            before, self._channels[hop] = self._channels.get(hop), channel
            self._writers.pop(hop, None)
            if sends and order.window > 1:
                self._writers[hop] = Writer(channel, order.silence_s, order.window)
            self._changed.notify_all()
        if before is not None:
            before.close()
            if order.other(hop) < order.me:  # whoever called has begun anew, and so does what lies behind
                self.recall()
        if not sends:
            thread = threading.Thread(target=self._receive, args=(hop, channel))
            thread.daemon = True
            thread.start()
        return True

    def recall(self) -> None:
        """Drops the connections that this device has called, and calls anew until they are there."""
        with self._changed:
            if self._calling or self._closed:
                return
            self._calling = True
            mine = [hop for hop in self._channels if self.order.other(hop) > self.order.me]
            dropped = [self._channels.pop(hop) for hop in mine]
        for channel in dropped:
            channel.close()
        thread = threading.Thread(target=self._call_anew)
        thread.daemon = True
        thread.start()

    def _call_anew(self) -> None:
        while not self._closed:
            try:
                self.call(CALL_S)
                break
            except DimeError:
                with self._changed:
                    self._changed.wait(PAUSE_S)
        with self._changed:
            self._calling = False

    def _receive(self, hop: int, channel: Channel) -> None:
        """Receives a hop's frames into memory that is there, until its connection ends."""
        order, foretold = self.order, self.foretold(hop)
        slots = [self._memory(hop) for _ in range(order.window + 1)]
        stamps = memoryview(bytearray(foretold[-1].length))
        number = 0
        try:
            while True:
                tensors, views = slots[number % len(slots)]
                number += 1
                got = channel.receive(foretold, views + [stamps], FOREVER_S)
                if got.headers[0].kind == frames.END:
                    raise ConnectionLostError("it has ended")
                said = tuple(stamps.cast("q"))
                lengths = [header.length for header in got.headers[:-1]]
                data: Tuple[memoryview, ...] = ()
                if hop in self._lengths:
                    tensors, data = (), tuple(view[:length] for view, length in zip(views, lengths))
                self._events.put(
                    ("frame", Frame(order.number, hop, got.request, tensors, data, got.first_ns, got.last_ns,
                                    sum(lengths), said))
                )  # fmt: skip
        except (DimeError, ValueError, OSError) as error:
            with self._changed:
                is_mine = self._channels.get(hop) is channel
            if is_mine and not self._closed:
                self._events.put(("lost", (hop, str(error))))

    def _memory(self, hop: int) -> "Tuple[work.Tensors, List[memoryview]]":
        tensors = tuple(torch.empty(shape, dtype=getattr(torch, dtype)) for dtype, shape in self.values(hop))
        return tensors, [work.view(tensor) for tensor in tensors]

    def compute(
        self, at: int, picture: str, tensors: "work.Tensors", data: Sequence[memoryview] = ()
    ) -> "Tuple[work.Tensors, Tensors, List[int]]":
        """Computes a segment; gives its result in this computer's memory, the same where it is, and the stamps behind
        those of what came in.

        Raises:
            InputError: What came encoded is not what was foretold.
        """
        segment = self.order.segments[at]
        if not segment.steps:
            return tensors, tensors, [0, 0, 0]
        told: List[int] = []
        changed, decode = self.work.set_clock(segment.steps[0].frequency_hz), 0
        encoding = self.order.encoding(at - 1) if at else None
        if encoding is not None:
            tensors, decode = self._decoded(at - 1, encoding, data)
        placed, copy_in = self.work.place(tensors)
        for step in segment.steps:
            change = changed + self.work.set_clock(step.frequency_hz)
            placed, compute, start_ns, end_ns = self.work.run(step.bundle, placed)
            changed = 0
            told += [start_ns, end_ns, compute, change, self._off(at, step.bundle, picture, placed)]
        fetched, copy_out = self.work.fetch(placed)
        return fetched, placed, [copy_in, copy_out, decode] + told

    def _decoded(self, hop: int, encoding: stages.Encoding, data: Sequence[memoryview]) -> "Tuple[work.Tensors, int]":
        try:
            return self.work.decode(self.order.boundary(hop), encoding.name, data)
        except InputError as error:
            other = self.order.names[self.order.other(hop)]
            raise InputError("plan {}: what came from {} is not to be used: {}".format(self.order.plan, other, error))

    def _off(self, at: int, bundle: Bundle, picture: str, placed: "Tensors") -> int:
        """How far a bundle is from what was profiled, as it is stamped; -1 where that is not looked at.

        Behind what was encoded on the way nothing is as it was profiled: then the bundle is tried by itself.
        """
        if not self.order.check:
            return -1
        if self.order.trips(at):
            off = self.work.differs_alone(bundle, picture)
        else:
            off = self.work.differs(bundle.last + 1, picture, placed)
        return -1 if off is None else int(min(off, 1e6) * stages.OFF)

    def result(self, hop: int, tensors: "work.Tensors") -> List[Part]:
        """What is sent plain at a hop: the tensors, or the classes where only they go home."""
        values = self.values(hop)
        if not self.order.is_result(hop) or len(values) == len(tensors) and values[0][1] == tuple(tensors[0].shape):
            plain = zip(values, tensors)
            return [Part(frames.TENSOR, dtype, shape, work.view(tensor)) for (dtype, shape), tensor in plain]
        sent = bytearray(values[0][1][0])
        for place, number in enumerate(work.classes(tensors, self.order.batch)):
            at = place * work.CLASS_BYTES
            if at + work.CLASS_BYTES <= len(sent):
                sent[at : at + work.CLASS_BYTES] = number.to_bytes(work.CLASS_BYTES, "little")
        return [Part(frames.TENSOR, "uint8", (len(sent),), sent)]

    def packed(self, hop: int, picture: int, fetched: "work.Tensors") -> "Tuple[List[Part], int]":
        """What is sent at a hop, as frames; and the ns that encoding it took.

        Raises:
            InputError: It takes more bytes than were foretold.
        """
        encoding = self.order.encoding(hop)
        if encoding is None:
            return self.result(hop, fetched), 0
        coded, took_ns = self.work.encode(self.order.boundary(hop), encoding.name, fetched)
        for one, (most, _) in zip(coded, self._lengths[hop]):
            if len(one) > most:
                raise InputError(
                    "plan {}: picture {} takes {} bytes as {}, and {} are foretold at most: profile it again".format(
                        self.order.plan, list(self.work.pictures())[picture], len(one), encoding.name, most
                    )
                )
        return [Part(frames.TENSOR, "uint8", (len(one),), one) for one in coded], took_ns

    def send(self, hop: int, number: int, packed: Sequence[Part], stamps: Sequence[int]) -> None:
        """Sends what a segment has made, with the stamps so far.

        Raises:
            ConnectionLostError: There is no connection, or it broke.
        """
        if not self.order.is_edge:  # whoever calls may be on the way
            with self._changed:
                self._changed.wait_for(lambda: hop in self._channels or self._closed, LOOK_S)
        channel = self._channels.get(hop)
        if channel is None:
            raise ConnectionLostError("there is no connection to {}".format(self.order.names[self.order.other(hop)]))
        parts = list(packed)
        parts.append(Part(frames.STAMPS, "int64", (len(stamps),), memoryview(array("q", stamps)).cast("B")))
        if hop in self._writers:
            self._writers[hop].put(number, parts)
        else:
            channel.send(number, parts, self.order.silence_s)

    def awaits(self, frame: Frame) -> bool:
        """Whether a frame is of this plan, and is passed on here: what comes too late is of an earlier one, or done."""
        return frame.order == self.order.number and not self.order.is_edge

    def pass_on(self, frame: Frame) -> None:
        """Computes what a frame asks for and sends it to the next device; what cannot be sent is dropped."""
        at = frame.hop + 1
        names = list(self.work.pictures())
        fetched, _, told = self.compute(at, names[frame.stamps[0] % len(names)], frame.memory, frame.data)
        self.send_on(at, frame.number, stamps_of(frame), told, fetched)

    def send_on(
        self, at: int, number: int, before: List[int], told: List[int], fetched: "work.Tensors", strict: bool = False
    ) -> None:
        """Sends a segment's result; its stamps follow those before it."""
        packed, encode = self.packed(at, before[0] % len(self.work.pictures()), fetched)
        try:
            self.send(at, number, packed, before + told[:3] + [encode, monotonic_ns()] + told[3:])
        except (DeviceError, OSError):
            self.dropped += 1
            if strict:
                raise
            if self.order.other(at) > self.order.me:
                self.recall()


def stamps_of(frame: Frame) -> List[int]:
    """The stamps of what has come."""
    return list(frame.stamps) + [frame.first_ns, frame.last_ns, frame.size_bytes]


class _Pending(object):
    """A request under way, and what the edge device still has of it."""

    def __init__(self, number: int, picture: int, start_ns: int) -> None:
        self.number, self.picture, self.start_ns = number, picture, start_ns
        self.boundary = self.hops = 0
        self.held: "Optional[Tensors]" = None
        self.stamps: List[int] = [picture]
        self.until_ns = 0
        self.waits_for = ""


class _Edge(object):
    """Feeds the pictures of one order, and keeps the time of each request, until ``left`` is set."""

    def __init__(self, part: _Part, events: "Queue[Tuple[str, object]]", left: threading.Event) -> None:
        self._part, self._events, self._order, self._work = part, events, part.order, part.work
        self._left = left
        self._pictures = list(self._work.pictures().items())[: part.count]
        self._pending: "OrderedDict[int, _Pending]" = OrderedDict()
        self._rows: "List[Row]" = []

    def drive(self) -> "List[Row]":
        """Runs all requests; gives a row for each.

        Raises:
            DeviceError: A result is wrong; it names the bundle.
        """
        order = self._order
        total = order.warmups + order.requests
        begun = 0
        while len(self._rows) < total:
            stop.check()
            if self._left.is_set():
                raise ConnectionLostError("whoever started the run has gone")
            if begun < total and len(self._pending) < order.window:
                self._begin(begun)
                begun += 1
                continue
            soonest_ns = min([one.until_ns for one in self._pending.values()])
            try:
                left_s = max(0.0, (soonest_ns - monotonic_ns()) / 1e9)
                kind, what = self._events.get(timeout=min(LOOK_S, left_s))  # no signal wakes it
            except Empty:
                self._finish_late()
                continue
            if isinstance(what, Frame):
                self._go_on(what)
            elif kind == "lost":
                self._lost()
            elif kind == "end":
                self._events.put((kind, what))  # it ends the stage, too
        return self._rows[order.warmups :]

    def _begin(self, nth: int) -> None:
        order = self._order
        picture = (order.first_picture + nth) % len(self._pictures)
        tensors = self._pictures[picture][1]
        if order.segments[0].steps:  # a layer may work in place
            tensors = tuple(tensor.clone() for tensor in tensors)
        if order.sends_input_encoded:
            self._work.set_clock(order.input_hz)
        start_ns = monotonic_ns()
        one = self._pending[order.first_number + nth] = _Pending(order.first_number + nth, picture, start_ns)
        one.stamps += [start_ns, start_ns, 0]
        self._advance(one, 0, tensors)

    def _advance(self, one: _Pending, at: int, tensors: "work.Tensors", data: Sequence[memoryview] = ()) -> None:
        """Computes a segment of this device's, and sends on what comes of it or is done."""
        order, part = self._order, self._part
        fetched, placed, told = part.compute(at, self._pictures[one.picture][0], tensors, data)
        if at == len(order.segments) - 1:
            end_ns = monotonic_ns()
            one.stamps += told[:3] + [0, end_ns] + told[3:]
            one.hops = at
            self._done(one, fetched, end_ns, "")
            return
        one.boundary, one.hops, one.held = order.boundary(at), at, placed
        one.until_ns = monotonic_ns() + int(order.silence_s * 1e9)
        one.waits_for = order.names[order.segments[at + 1].device]
        try:
            part.send_on(at, one.number, one.stamps, told, fetched, strict=True)
        except (DeviceError, OSError):
            self._lost()

    def _go_on(self, frame: Frame) -> None:
        one = self._pending.get(frame.number)
        if one is None or frame.order != self._order.number or one.picture != frame.stamps[0]:
            return  # it was finished here before
        one.stamps = stamps_of(frame)
        self._advance(one, frame.hop + 1, frame.memory, frame.data)

    def _lost(self) -> None:
        """A connection is gone: what was under way is finished here."""
        self._part.recall()
        for one in list(self._pending.values()):
            self._finish_here(one)

    def _finish_late(self) -> None:
        now_ns = monotonic_ns()
        late = [one for one in self._pending.values() if one.until_ns <= now_ns]
        for one in late:
            self._finish_here(one)
        if late:
            self._part.recall()

    def _finish_here(self, one: _Pending) -> None:
        """Computes the rest of a request on this device, from the tensor at the boundary that it still has.

        That tensor is as this device made it: what it was encoded to was for the way only.
        """
        assert one.held is not None, "what is pending was sent"
        bundle = Bundle(one.boundary, len(self._work.layers) - 1)
        # A layer may work in place, and what is held may be a picture, or still on its way.
        placed, _ = self._work.place(tuple(tensor.clone() for tensor in as_tuple(one.held)))
        if bundle.first <= bundle.last:
            placed, _, _, _ = self._work.run(bundle, placed)
        fetched, _ = self._work.fetch(placed)
        self._done(one, fetched, monotonic_ns(), one.waits_for)

    def _done(self, one: _Pending, result: "work.Tensors", end_ns: int, fallback: str) -> None:
        del self._pending[one.number]
        far = self._compare(one, result, bool(fallback))
        same_class, off = self._effect(one, result) if far is not None else (None, None)
        parts = self._order.segments
        came = stages.stamps(one.stamps[1:], parts) if not fallback else []
        self._rows.append(
            {
                "number": one.number,
                "picture": self._pictures[one.picture][0],
                "start_ns": one.start_ns,
                "end_ns": end_ns,
                "fallback": fallback,
                "segments": came,
                "distance": far,
                "same_class": same_class,
                "off": off,
            }
        )

    def _compare(self, one: _Pending, result: "work.Tensors", is_here: bool) -> Optional[float]:
        """Makes sure that a result is the whole network's; how far it is, where it came whole.

        Raises:
            DeviceError: It is another; the message names the bundle.
        """
        order, trips = self._order, self._order.trips(one.hops)
        expected = self._work.results(trips, self._part.count)[one.picture]
        classes = work.classes(expected, order.batch)
        distance: Optional[float] = None
        if [tuple(tensor.shape) for tensor in result] == [tuple(tensor.shape) for tensor in expected]:
            distance = work.distance(result, expected)
            found = work.classes(result, order.batch)
        else:
            sent = work.view(result[0]).tobytes()
            found = [
                int.from_bytes(sent[at : at + work.CLASS_BYTES], "little")
                for at in range(0, min(len(sent), order.batch * work.CLASS_BYTES), work.CLASS_BYTES)
            ]
            classes = classes[: len(found)]
        key = (order.plan, trips, one.picture)
        most = 0.0 if order.exact else work.tolerance(self._work.boundary(len(self._work.layers)), trips)
        same = found == (classes if is_here else self._work.checked.get(key, classes))
        if order.check and not order.exact and trips and not is_here:  # what was rounded may turn a close first class
            self._work.checked[key], same = found, True
        if same and (distance is None or distance <= most):
            return distance
        far = "" if distance is None else ", {:.2g} of the largest value away".format(distance)
        raise DeviceError(
            "plan {}: the result of picture {} is not the whole network's{}; {}".format(
                order.plan,
                self._pictures[one.picture][0],
                _told(trips) + far,
                "it was computed here" if is_here else self._blame(one),
            )
        )

    def _effect(self, one: _Pending, result: "work.Tensors") -> "Tuple[Optional[int], Optional[float]]":
        """What the encodings on the way did to a result that is checked; see `dime.device.encodings.effect`."""
        if not (self._order.check and self._order.trips(one.hops)):
            return None, None
        return effect(self._work.results((), self._part.count)[one.picture], result)

    def _blame(self, one: _Pending) -> str:
        """The first bundle whose result is not what was profiled, or all that are not the edge device's."""
        segments = self._order.segments
        names, far = [], []
        for segment, told in zip(segments, stages.stamps(one.stamps[1:], segments)):
            for step, of_step in zip(segment.steps, told["steps"]):
                name = "bundle {} on {}".format(self._work.spell(step.bundle), self._order.names[segment.device])
                limit = work.tolerance(self._work.boundary(step.bundle.last + 1))
                names += [name] if segment.device else []
                far += [name] if of_step["off"] > limit * stages.OFF else []
        return "wrong: " + (far[0] if far else " or ".join(names) or "the edge device's own bundles")


def _told(trips: "work.Trips") -> str:
    """What was encoded on the way, in words; nothing where nothing was."""
    return " with the same encodings ({})".format(", ".join(name for _, name in trips)) if trips else ""


def _batches(rows: "List[Row]", size: int = 100) -> "List[List[Row]]":
    return [rows[at : at + size] for at in range(0, len(rows), size)]


def _named(name: str) -> Tuple[int, int]:
    """The order's number and the hop that a caller names."""
    with suppress(ValueError):
        number, hop = name.split(" ")
        return int(number), int(hop)
    return -1, -1
