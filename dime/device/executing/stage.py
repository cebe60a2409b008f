"""One device's part of a plan, run: it listens, takes orders from who started the run, computes, and sends on.

Each hop of a plan has a connection of its own, on which only its frames may come; the device that stands first in the
plan's list of devices calls. The edge device, which stands first of all, feeds the pictures and keeps the time.
"""

import threading
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
    "Frame", [("order", int), ("hop", int), ("number", int), ("memory", "work.Tensors"), ("first_ns", int),
              ("last_ns", int), ("stamps", Tuple[int, ...])]
)  # fmt: skip
Frame.__doc__ = "What has come at a hop; ``stamps`` begins with the picture's position."


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
        clocks = set(step.frequency_hz for step in order.steps)
        self._work.check_clocks(order.steps)
        self._work.set_clock(clocks.pop() if len(clocks) == 1 else -1)
        part = _Part(order, self._work, self._run, self._events)
        alone = part.warm()
        if order.is_edge:
            self._work.results()  # before any request is timed
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
        """The dtype and shape of each tensor that crosses at a hop."""
        order = self.order
        values = [(value.dtype, tuple(value.shape)) for value in self.work.boundary(order.boundary(hop))]
        whole = sum(frames.size_bytes(dtype, shape) for dtype, shape in values)
        if order.is_result(hop) and not order.check and order.result_bytes != whole:
            return [("uint8", (order.result_bytes,))]
        return values

    def foretold(self, hop: int) -> List[frames.Foretold]:
        """The frames of each message at a hop."""
        found = [frames.Foretold(frames.TENSOR, dtype, shape) for dtype, shape in self.values(hop)]
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
                self._events.put(
                    ("frame", Frame(order.number, hop, got.request, tensors, got.first_ns, got.last_ns, said))
                )
        except (DimeError, ValueError, OSError) as error:
            with self._changed:
                is_mine = self._channels.get(hop) is channel
            if is_mine and not self._closed:
                self._events.put(("lost", (hop, str(error))))

    def _memory(self, hop: int) -> "Tuple[work.Tensors, List[memoryview]]":
        tensors = tuple(torch.empty(shape, dtype=getattr(torch, dtype)) for dtype, shape in self.values(hop))
        return tensors, [work.view(tensor) for tensor in tensors]

    def compute(self, at: int, picture: str, tensors: "work.Tensors") -> "Tuple[work.Tensors, Tensors, List[int]]":
        """Computes a segment; gives its result in this computer's memory, the same where it is, and the stamps behind
        those of what came in.
        """
        segment = self.order.segments[at]
        if not segment.steps:
            return tensors, tensors, [0, 0]
        told: List[int] = []
        placed, copy_in = self.work.place(tensors)
        for step in segment.steps:
            change = self.work.set_clock(step.frequency_hz)
            placed, compute, start_ns, end_ns = self.work.run(step.bundle, placed)
            off = self.work.differs(step.bundle.last + 1, picture, placed) if self.order.check else None
            told += [start_ns, end_ns, compute, change, -1 if off is None else int(min(off, 1e6) * stages.OFF)]
        fetched, copy_out = self.work.fetch(placed)
        return fetched, placed, [copy_in, copy_out] + told

    def result(self, hop: int, tensors: "work.Tensors") -> "work.Tensors":
        """What is sent at a hop: the tensors, or the classes where only they go home."""
        values = self.values(hop)
        if not self.order.is_result(hop) or len(values) == len(tensors) and values[0][1] == tuple(tensors[0].shape):
            return tensors
        sent = bytearray(values[0][1][0])
        for place, number in enumerate(work.classes(tensors, self.order.batch)):
            at = place * work.CLASS_BYTES
            if at + work.CLASS_BYTES <= len(sent):
                sent[at : at + work.CLASS_BYTES] = number.to_bytes(work.CLASS_BYTES, "little")
        return (torch.tensor(list(sent), dtype=torch.uint8),)

    def send(self, hop: int, number: int, tensors: "work.Tensors", stamps: Sequence[int]) -> None:
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
        numbers = memoryview(bytearray(8 * len(stamps))).cast("q")
        for at, value in enumerate(stamps):
            numbers[at] = value
        parts = [
            Part(frames.TENSOR, dtype, shape, work.view(tensor))
            for (dtype, shape), tensor in zip(self.values(hop), tensors)
        ]
        parts.append(Part(frames.STAMPS, "int64", (len(stamps),), numbers.cast("B")))
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
        fetched, _, told = self.compute(at, names[frame.stamps[0] % len(names)], frame.memory)
        self.send_on(at, frame.number, list(frame.stamps) + [frame.first_ns, frame.last_ns], told, fetched)

    def send_on(
        self, at: int, number: int, before: List[int], told: List[int], fetched: "work.Tensors", strict: bool = False
    ) -> None:
        """Sends a segment's result; its stamps follow those before it."""
        tensors = self.result(at, fetched)
        try:
            self.send(at, number, tensors, before + told[:2] + [monotonic_ns()] + told[2:])
        except (DeviceError, OSError):
            self.dropped += 1
            if strict:
                raise
            if self.order.other(at) > self.order.me:
                self.recall()


class _Pending(object):
    """A request under way, and what the edge device still has of it."""

    def __init__(self, number: int, picture: int, start_ns: int) -> None:
        self.number, self.picture, self.start_ns = number, picture, start_ns
        self.boundary = 0
        self.held: "Optional[Tensors]" = None
        self.stamps: List[int] = [picture]
        self.until_ns = 0
        self.waits_for = ""


class _Edge(object):
    """Feeds the pictures of one order, and keeps the time of each request, until ``left`` is set."""

    def __init__(self, part: _Part, events: "Queue[Tuple[str, object]]", left: threading.Event) -> None:
        self._part, self._events, self._order, self._work = part, events, part.order, part.work
        self._left = left
        self._pictures = list(self._work.pictures().items())
        self._whole = self._work.results()
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
                kind, what = self._events.get(timeout=max(0.0, (soonest_ns - monotonic_ns()) / 1e9))
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
        start_ns = monotonic_ns()
        one = self._pending[order.first_number + nth] = _Pending(order.first_number + nth, picture, start_ns)
        one.stamps += [start_ns, start_ns]
        self._advance(one, 0, tensors)

    def _advance(self, one: _Pending, at: int, tensors: "work.Tensors") -> None:
        """Computes a segment of this device's, and sends on what comes of it or is done."""
        order, part = self._order, self._part
        fetched, placed, told = part.compute(at, self._pictures[one.picture][0], tensors)
        if at == len(order.segments) - 1:
            end_ns = monotonic_ns()
            one.stamps += told[:2] + [end_ns] + told[2:]
            self._done(one, fetched, end_ns, "")
            return
        one.boundary, one.held = order.boundary(at), placed
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
        one.stamps = list(frame.stamps) + [frame.first_ns, frame.last_ns]
        self._advance(one, frame.hop + 1, frame.memory)

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
        """Computes the rest of a request on this device, from the tensor at the boundary that it still has."""
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
            }
        )

    def _compare(self, one: _Pending, result: "work.Tensors", is_here: bool) -> Optional[float]:
        """Makes sure that a result is the whole network's; how far it is, where it came whole.

        Raises:
            DeviceError: It is another; the message names the bundle.
        """
        order, expected = self._order, self._whole[one.picture]
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
        most = 0.0 if order.exact else work.tolerance(self._work.boundary(len(self._work.layers)))
        if found == classes and (distance is None or distance <= most):
            return distance
        far = "" if distance is None else ", {:.2g} of the largest value away".format(distance)
        raise DeviceError(
            "plan {}: the result of picture {} is not the whole network's{}; {}".format(
                order.plan, self._pictures[one.picture][0], far, "it was computed here" if is_here else self._blame(one)
            )
        )

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


def _batches(rows: "List[Row]", size: int = 100) -> "List[List[Row]]":
    return [rows[at : at + size] for at in range(0, len(rows), size)]


def _named(name: str) -> Tuple[int, int]:
    """The order's number and the hop that a caller names."""
    with suppress(ValueError):
        number, hop = name.split(" ")
        return int(number), int(hop)
    return -1, -1
