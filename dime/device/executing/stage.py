"""One device's part of a plan, run: it listens, takes orders from who started the run, computes, and sends on.

Each hop of a plan has a connection of its own, on which only its frames may come; the device that stands first in the
plan's list of devices calls. The edge device, which stands first of all, feeds the pictures and keeps the time.
"""

import threading
from contextlib import suppress
from queue import Empty, Queue
from typing import TYPE_CHECKING, Dict, List, Optional, Tuple

from dime.contract import frames, handshake, stages, talk
from dime.contract.errors import ConnectionLostError, DeviceError, DimeError, InputError
from dime.contract.timebase import monotonic_ns
from dime.contract.transport import Channel, SilentError
from dime.device import stop
from dime.device.executing import work
from dime.device.executing.edge import Edge
from dime.device.executing.part import CALL_S, LOOK_S, Frame, Part

if TYPE_CHECKING:
    from dime.contract.messages import Emit
    from dime.contract.stages import Row

PATIENCE_S = 60.0  # for whoever started the stage to call it


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
        self._part: Optional[Part] = None

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
                for rows in _batches(Edge(self._part, self._events, self._left).drive()):
                    self._say({"rows": rows})
                self._say({"done": self._part.dropped})
            elif "time" in said:
                self._say({"time_ns": monotonic_ns()})
            else:
                raise InputError("there is nothing to do")
        except DimeError as error:
            with suppress(ConnectionLostError):  # whoever has gone hears nothing, and that ends the stage in order
                self._say({"error": str(error)})

    def _take(self, said: object) -> Dict[str, object]:
        """Makes ready for a plan; its hops that this device calls are called."""
        if self._part is not None:
            self._part.close()
            self._part = None
        order = stages.order(said, len(self._work.layers))
        part = Part(order, self._work, self._run, self._events)
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


def _batches(rows: "List[Row]", size: int = 100) -> "List[List[Row]]":
    return [rows[at : at + size] for at in range(0, len(rows), size)]


def _named(name: str) -> Tuple[int, int]:
    """The order's number and the hop that a caller names."""
    with suppress(ValueError):
        number, hop = name.split(" ")
        return int(number), int(hop)
    return -1, -1
