"""Who feeds the pictures of a plan: the edge device, which keeps the time of each request and finishes what is lost."""

import threading
from collections import OrderedDict
from queue import Empty, Queue
from typing import TYPE_CHECKING, List, Optional, Sequence, Tuple

from dime.contract import stages
from dime.contract.bundles import Bundle
from dime.contract.errors import ConnectionLostError, DeviceError
from dime.contract.timebase import monotonic_ns
from dime.device import stop
from dime.device.encodings import effect
from dime.device.executing import work
from dime.device.executing.part import LOOK_S, Frame, Part, stamps_of
from dime.device.processor import as_tuple

if TYPE_CHECKING:
    from dime.contract.stages import Row
    from dime.device.processor import Tensors


class _Pending(object):
    """A request under way, and what the edge device still has of it."""

    def __init__(self, number: int, picture: int, start_ns: int) -> None:
        self.number, self.picture, self.start_ns = number, picture, start_ns
        self.boundary = self.hops = 0
        self.held: "Optional[Tensors]" = None
        self.stamps: List[int] = [picture]
        self.until_ns = 0
        self.waits_for = ""


class Edge(object):
    """Feeds the pictures of one order, and keeps the time of each request, until ``left`` is set."""

    def __init__(self, part: Part, events: "Queue[Tuple[str, object]]", left: threading.Event) -> None:
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
