"""All stages of a run and the links between them: each gets a plan's order, the edge device's rows come back."""

from __future__ import annotations

import contextlib
import math
import tempfile
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, NamedTuple

from dime.contract import frames, handshake, stages
from dime.contract.errors import DeviceError
from dime.host.bench import link_ends
from dime.host.execution.devices import Profiled
from dime.host.execution.stage_process import SOON_S, START_S, Clock, StageProcess
from dime.host.execution.ways import Shaped, shaped
from dime.host.planning.links import Link

if TYPE_CHECKING:
    from dime.contract.stages import Asked, Row

GRACE_S = 5.0  # for what is under way to be finished without a stage that is gone


class StageLostError(DeviceError):
    """A stage is gone, and what was under way was finished without it."""


class Ran(NamedTuple):
    """What came of an order.

    Attributes:
        rows: One row a request.
        back_to_back_s: (segment, step) -> seconds of runs of that bundle one after the other, before.
    """

    rows: list[Row]
    back_to_back_s: dict[tuple[int, int], list[float]]


class Running:
    """All stages of a run; use as a context manager.

    Args:
        devices: The devices, the edge device first.
        samples: The folder that holds the feature maps of all networks.
        plans: What stands for all plans that will be run, as JSON takes it.
        weights: Weights to load; empty takes those that were profiled.
        registry: The lab's registry; empty for none.
        real: (caller, called) positions of devices whose real link some plan goes over.
    """

    def __init__(
        self,
        devices: Sequence[Profiled],
        samples: Path,
        plans: object,
        weights: str = "",
        registry: str = "",
        real: Collection[tuple[int, int]] = (),
    ):
        self._devices, self._samples, self._weights, self._registry = devices, samples, weights, registry
        self._run = handshake.Run(handshake.new_token(), stages.digest(plans), devices[0].network_digest)
        self._stack = ExitStack()
        self._real = frozenset(real)
        self.stages: list[StageProcess] = []
        self._changed = threading.Condition()
        self._gone: StageProcess | None = None  # the first, which is why others could not go on
        self._orders = self._requests = 0

    def __enter__(self) -> Running:
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="dime-verify-")))
            held = set[str]()
            for at, one in enumerate(self._devices):
                holds, address = one.device.engine not in held, self._address(at)
                held.add(one.device.engine)
                stage = StageProcess(
                    one, self._samples, self._run, self._weights, folder, self._registry, address, holds, self._without
                )
                self.stages.append(stack.enter_context(stage.started()))
            stack.push(self._end_together)
            for stage in self.stages:
                stage.wait()
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        return self._stack.__exit__(kind, error, trace)

    def _end_together(self, kind: type[BaseException] | None, *exception: object) -> None:
        """Where a person goes, all stages begin to end before the first is waited for."""
        if kind is not None and not issubclass(kind, Exception):
            self._give_up()

    def _address(self, called: int) -> str:
        """The address at which a device listens: the loopback, unless another host calls it over the real link."""
        found = [self.between(a, b) for a, b in sorted(self._real) if b == called]
        return next((one for one in found if one != frames.LOOPBACK), frames.LOOPBACK)

    def between(self, caller: int, called: int) -> str:
        """The address at which one device reaches another."""
        return link_ends.address(self._devices[caller].device, self._devices[called].device)

    def _without(self, stage: StageProcess) -> None:
        """A stage is gone: what is under way is finished without it, or given up."""
        with self._changed:
            if self._gone is not None:
                return
            self._gone = stage
            self._changed.notify_all()
        timer = threading.Timer(GRACE_S, self._give_up)
        timer.daemon = True
        timer.start()

    def _give_up(self) -> None:
        for stage in self.stages:
            stage.dismiss()

    @contextlib.contextmanager
    def linked(self, links: Mapping[tuple[int, int], Link], real: Collection[tuple[int, int]] = ()) -> Iterator[Linked]:
        """The stages with links between them: the real ones, or emulated beside the device that is called.

        Args:
            links: (caller, called) positions of devices -> the link as the caller sees it.
            real: Those of them that are there.
        """
        with ExitStack() as stack:
            found: dict[tuple[int, int], Shaped] = {}
            for (caller, called), link in links.items():
                stage = self.stages[called]
                if (caller, called) in real:
                    found[caller, called] = Shaped(*stage.address)
                    continue
                where = self.between(caller, called)
                found[caller, called] = stack.enter_context(
                    shaped(stage.address, link, stage.one.device, where, self._registry)
                )
            yield Linked(self, found)

    def execute(
        self, order: Asked, ways: Mapping[tuple[int, int], Shaped], within_s: float, say: Callable[[int], None]
    ) -> Ran:
        """Has a plan run.

        Args:
            order: What all devices are told.
            ways: (caller, called) -> where the caller reaches the other one.
            within_s: Longest time for all of it.
            say: Told how many rows are there.

        Returns:
            One row a request, and what each bundle took back to back before.

        Raises:
            DeviceError: A device cannot do its part.
        """
        try:
            return self._execute(order, ways, within_s, say)
        except StageLostError:
            raise
        except DeviceError:
            with self._changed:
                self._changed.wait_for(lambda: self._gone is not None, SOON_S)
            if self._gone is not None:
                raise DeviceError(f"{self._gone.one.name}: {self._gone.failure}") from None
            raise

    def _execute(
        self, order: Asked, ways: Mapping[tuple[int, int], Shaped], within_s: float, say: Callable[[int], None]
    ) -> Ran:
        self._orders += 1
        of_all = {**order, "number": self._orders, "first_number": self._requests}
        self._requests += order["warmups"] + order["requests"]
        until_s, alone = time.monotonic() + within_s, dict[tuple[int, int], list[float]]()
        for me in reversed(range(len(self.stages))):
            peers = {str(called): [way.address, way.port] for (caller, called), way in ways.items() if caller == me}
            heard = self.stages[me].ask({"order": {**of_all, "me": me, "peers": peers}}, START_S)
            alone |= _back_to_back(heard.get("ready"))
        edge = self.stages[0]
        heard = edge.ask({"go": True}, within_s)
        rows: list[Row] = []
        while "rows" in heard:
            rows += _checked(heard["rows"], edge.one.name)
            say(len(rows))
            heard = edge.hear(max(1.0, until_s - time.monotonic()))
        count = sum(bool(row["fallback"]) for row in rows)
        if count:  # the edge device may have finished before who watches the other one has seen that it is gone
            with self._changed:
                self._changed.wait_for(lambda: self._gone is not None, SOON_S)
        if self._gone is not None:
            finished = f"; {count} requests were finished on {edge.one.name} alone" if count else ""
            raise StageLostError(f"{self._gone.one.name}: {self._gone.failure}{finished}")
        if len(rows) != order["requests"]:
            raise DeviceError(f"{edge.one.name}: {len(rows)} of {order['requests']} requests came back")
        return Ran(rows, alone)

    def clocks(self, places: Iterable[int]) -> dict[int, Clock]:
        """How the clocks of these devices, by their positions, and of the edge device stand to this computer's now."""
        return {at: self.stages[at].clock() for at in {0, *places}}

    def facts(self, order: Asked) -> list[dict[str, object]]:
        """What each device says of what it computes with; the order is taken and not run."""
        self._orders += 1
        found = []
        for me in reversed(range(len(self.stages))):
            said = {**order, "number": self._orders, "first_number": self._requests, "me": me, "peers": {}}
            ready = self.stages[me].ask({"order": said}, START_S).get("ready")
            found.append(ready if isinstance(ready, dict) else {})
        return found[::-1]


class Linked:
    """Stages with links between them.

    Args:
        running: The stages.
        ways: (caller, called) -> where the link begins, and how well it was kept.
    """

    def __init__(self, running: Running, ways: Mapping[tuple[int, int], Shaped]):
        self._running, self._ways = running, ways

    @property
    def kept(self) -> dict[tuple[int, int], object]:
        """How well each emulated link was kept, once they have ended."""
        return {pair: link.kept for pair, link in self._ways.items() if link.kept}

    def execute(self, order: Asked, within_s: float, say: Callable[[int], None] = lambda n: None) -> Ran:
        """Has a plan run; see `Running.execute`."""
        return self._running.execute(order, self._ways, within_s, say)

    def clocks(self, places: Iterable[int]) -> dict[int, Clock]:
        """How clocks stand; see `Running.clocks`."""
        return self._running.clocks(places)


def _back_to_back(facts: object) -> dict[tuple[int, int], list[float]]:
    """What a stage says of its bundles' runs one after the other; what is no such thing is passed over."""
    found = {}
    for one in facts.get("back_to_back", []) if isinstance(facts, dict) else []:
        if isinstance(one, list) and len(one) == 3 and isinstance(one[2], list):
            at, step, times = one
            whole = all(isinstance(ns, int) and 0 <= ns < 2**62 for ns in times)
            if isinstance(at, int) and isinstance(step, int) and times and whole:
                found[at, step] = [ns / 1e9 for ns in times]
    return found


def _checked(rows: object, name: str) -> list[Row]:
    """Rows of an edge device, whose form is checked: a device is not trusted."""
    if not isinstance(rows, list):
        raise DeviceError(f"{name}: its rows are none")
    for row in rows:
        try:
            times = [row["start_ns"], row["end_ns"]]
            for segment in row["segments"]:
                times += [segment[key] for key in stages.SEGMENT_STAMPS]
                for step in segment["steps"]:
                    times += [step[key] for key in stages.STEP_STAMPS]
            whole = all(isinstance(one, int) and not isinstance(one, bool) and abs(one) < 2**63 for one in times)
            for key in ("distance", "same_class", "off"):
                if not (row[key] is None or (isinstance(row[key], (int, float)) and math.isfinite(row[key]))):
                    raise ValueError
            texts = isinstance(row["fallback"], str) and isinstance(row["picture"], str)
            if not (whole and texts and isinstance(row["number"], int) and row["end_ns"] >= row["start_ns"]):
                raise ValueError
        except (TypeError, KeyError, ValueError):
            raise DeviceError(f"{name}: a row of its is damaged") from None
    return rows
