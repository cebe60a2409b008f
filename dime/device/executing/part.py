"""One device's part of a plan: its connections, what comes and goes over them, and what it computes of a request."""

import threading
from array import array
from queue import Queue
from typing import TYPE_CHECKING, Dict, List, NamedTuple, Sequence, Tuple

import torch

from dime.contract import frames, handshake, stages, transport
from dime.contract.bundles import Bundle
from dime.contract.errors import ConnectionLostError, DeviceError, DimeError, InputError
from dime.contract.timebase import monotonic_ns
from dime.contract.transport import Channel, Writer
from dime.device.executing import work

if TYPE_CHECKING:
    from dime.contract.stages import Order
    from dime.device.processor import Tensors

FOREVER_S = 1e7
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


class Part(object):
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

    def result(self, hop: int, tensors: "work.Tensors") -> List[transport.Part]:
        """What is sent plain at a hop: the tensors, or the classes where only they go home."""
        values = self.values(hop)
        if not self.order.is_result(hop) or len(values) == len(tensors) and values[0][1] == tuple(tensors[0].shape):
            plain = zip(values, tensors)
            return [transport.Part(frames.TENSOR, dtype, shape, work.view(tensor)) for (dtype, shape), tensor in plain]
        sent = bytearray(values[0][1][0])
        for place, number in enumerate(work.classes(tensors, self.order.batch)):
            at = place * work.CLASS_BYTES
            if at + work.CLASS_BYTES <= len(sent):
                sent[at : at + work.CLASS_BYTES] = number.to_bytes(work.CLASS_BYTES, "little")
        return [transport.Part(frames.TENSOR, "uint8", (len(sent),), sent)]

    def packed(self, hop: int, picture: int, fetched: "work.Tensors") -> "Tuple[List[transport.Part], int]":
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
        return [transport.Part(frames.TENSOR, "uint8", (len(one),), one) for one in coded], took_ns

    def send(self, hop: int, number: int, packed: Sequence[transport.Part], stamps: Sequence[int]) -> None:
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
        parts.append(transport.Part(frames.STAMPS, "int64", (len(stamps),), memoryview(array("q", stamps)).cast("B")))
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
