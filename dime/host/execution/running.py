"""Stages on their devices: started through each device's engine, called, given orders, and ended."""

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

from dime.contract import frames, handshake, stages, talk
from dime.contract.errors import ConnectionLostError, DeviceError, DimeError
from dime.contract.timebase import monotonic_ns
from dime.contract.transport import Channel
from dime.host.bench import answers, engines, link_ends, tunnel
from dime.host.bench.attended import Attended, Errand
from dime.host.bench.connection import Wishes
from dime.host.bench.lab import LabDevice
from dime.host.bench.session.job import Job
from dime.host.bench.session.judge import ENDED
from dime.host.bench.session.state import State
from dime.host.campaign.link import HERE, emulated
from dime.host.common import console
from dime.host.execution.devices import Profiled
from dime.host.planning.links import Link

if TYPE_CHECKING:
    from dime.contract.stages import Asked, Row

START_S, ANSWER_S, END_S = 300.0, 15.0, 5.0
LOST_S, RETRY_S = 8.0, 0.5  # an engine that does not answer for so long takes its stage with it
GRACE_S = 5.0  # for what is under way to be finished without a stage that is gone
EXCHANGES = 8  # of times, of which the quickest counts
SOON_S = 1.0  # for what is just happening to be known
WHAT = "a plan that is run"
KILLED = (6, 9, 11, 15)  # signals by which a container's process ends
KEPT = ("bytes", "pieces", "late_median_s", "late_p95_s", "late_most_s")


class StageLostError(DeviceError):
    """A stage is gone, and what was under way was finished without it."""


class Clock(NamedTuple):
    """How a device's monotonic clock stands to this computer's.

    Attributes:
        offset_ns: To be added to its times.
        error_s: At most so far off.
    """

    offset_ns: int
    error_s: float


OWN = Clock(0, 0.0)


class StageProcess:
    """One device's stage: started where its engine runs things, watched in a thread, called as soon as it listens.

    Args:
        one: The device.
        samples: The folder of its network's feature maps.
        run: What callers must have alike.
        weights: Weights to load; empty takes those that were profiled.
        folder: A folder of the run's own on this computer.
        registry: The lab's registry; empty for none.
        address: The device's own address to listen at.
        holds: Whether it holds its engine; not where another stage of the run does.
        failed: Called once, when it is gone though nobody told it to.
    """

    def __init__(
        self,
        one: Profiled,
        samples: Path,
        run: handshake.Run,
        weights: str,
        folder: Path,
        registry: str = "",
        address: str = frames.LOOPBACK,
        holds: bool = True,
        failed: Callable[[StageProcess], None] = lambda one: None,
    ):
        self.one, self._run, self._address, self._failed = one, run, address, failed
        spec, device = one.run, one.device
        words = (
            "stage",
            f"--network={spec.network}",
            f"--device={one.name}",
            f"--board={spec.board}",
            f"--processor={spec.processor}",
            f"--threads={spec.threads}",
            f"--weights={weights or ('auto' if spec.weights.startswith('file') else spec.weights)}",
            f"--plans={run.plan.hex()}",
            f"--profiled-weights={spec.weights}",
            f"--profiled-samples={spec.samples}",
            f"--address={address}",
        )
        token, kind = run.token.hex(), engines.of(device)
        self._engine: Attended | engines.Engine
        if kind.is_apart:
            errand = Errand(device, words, WHAT, token, holds, spec.network, samples, spec.threads, writes=True)
            self._engine = Attended(errand, registry, self._tell)
        else:
            out = folder / one.name / spec.network
            job = Job(device, spec.network, words, samples, out, spec.threads, token=token, token_word="--token")
            self._engine = kind(job, registry, Wishes(), self._tell, lambda text: None)
        self._stack = ExitStack()
        self._changed = threading.Condition()
        self._sending = threading.Lock()
        self._leaving = threading.Event()
        self._leave_until_s = math.inf
        self._port: int | None = None
        self._is_over = False
        self._words: list[str] = []
        self.failure = ""
        self.channel: Channel | None = None

    def _tell(self, text: str) -> None:
        console.tell(text if text.startswith(f"{self.one.name}: ") else f"{self.one.name}: {text}")

    @contextlib.contextmanager
    def started(self) -> Iterator[StageProcess]:
        """The stage, running; it has ended when the block has."""
        with self._engine as engine:
            engine.start()
            watching = threading.Thread(target=self._watch, daemon=True)
            watching.start()
            left_s = 0.0  # for an end of its own, with everything in order
            try:
                yield self
                left_s = END_S
            except Exception:
                left_s = END_S
                raise
            finally:
                self._leave_until_s = time.monotonic() + left_s
                self._leaving.set()
                if self.channel is not None:
                    self.channel.close()
                elif not engine.poll_s:
                    engine.stop()
                self._stack.close()
                if left_s or engine.poll_s:  # a process of this computer is told by its engine, which keeps nobody
                    watching.join(END_S + RETRY_S)
                if left_s and watching.is_alive() and not engine.poll_s:
                    engine.stop()
                    watching.join(END_S)

    def _watch(self) -> None:
        """Reads what the stage says until it ends."""
        heard, lost_s = answers.Messages(), math.inf
        state = State("running")
        try:
            while state.status not in ENDED and not (self._engine.poll_s and time.monotonic() > self._leave_until_s):
                try:
                    state, lines = self._engine.look()
                    lost_s = math.inf
                except ConnectionLostError:
                    lost_s = min(lost_s, time.monotonic())
                    if time.monotonic() - lost_s > LOST_S:
                        raise
                    time.sleep(RETRY_S)
                    continue
                for line in lines:
                    self._hear(heard, line)
                time.sleep(0 if state.status in ENDED else self._engine.poll_s)
        except Exception as error:
            self._fail(str(error))
        if not self._leaving.is_set() and not self.failure:
            last = f"; last lines: {' | '.join(self._words[-2:])}" if self._words else ""
            self._fail(f"its stage has ended, {_ended(state)}{last}")
        with self._changed:
            self._is_over = True
            self._changed.notify_all()

    def _fail(self, why: str) -> None:
        """Notes why it is of no use any more; what was first is kept."""
        with self._changed:
            is_new = not self.failure and not self._leaving.is_set()
            if is_new:
                self.failure = why.removeprefix(f"{self.one.name}: ")
            self._changed.notify_all()
        if is_new:
            self._failed(self)

    def _hear(self, heard: answers.Messages, line: str) -> None:
        message, text = heard.take(line)
        if message is None:
            if text.strip():
                self._words = [*self._words[-2:], text.strip()]
        elif message["kind"] == "description":
            port = message["facts"].get("port")
            if self._port is None and isinstance(port, int) and 0 < port < 65536:
                self._port = port
                threading.Thread(target=self._call, daemon=True).start()
        elif message["kind"] == "error":
            self._fail(_plainly(message["text"][: answers.ERROR_WORDS]))
        elif message["kind"] == "warning":
            console.tell(f"{self.one.name}: warning: {message['text'][: answers.WORDS]}")

    def _call(self) -> None:
        """Calls it, and tells it now and then that the run goes on: nobody else would end it."""
        assert self._port is not None
        try:
            host, port = self._stack.enter_context(tunnel.opened(self.one.device, self._address, self._port))
            channel = handshake.connect(host, port, self._run, talk.CONTROL, ANSWER_S, self.one.name)
            with self._changed:
                self.channel = channel
                self._changed.notify_all()
            while not self._leaving.wait(talk.ALIVE_S):
                self._say({"alive": True})
        except DimeError as error:
            self._fail(str(error))

    def _say(self, what: object) -> None:
        assert self.channel is not None
        with self._sending:
            talk.say(self.channel, what, ANSWER_S)

    @property
    def address(self) -> tuple[str, int]:
        """Where other devices reach it."""
        assert self._port is not None
        return self._address, self._port

    def dismiss(self) -> None:
        """Begins to end it, and does not wait: one that takes orders ends by itself when nobody gives them."""
        if self.channel is not None:
            self.channel.close()
        elif isinstance(self._engine, Attended):
            self._engine.dismiss()

    def wait(self) -> None:
        """Waits until it takes orders.

        Raises:
            DeviceError: It does not.
        """
        with self._changed:
            self._changed.wait_for(lambda: self.channel is not None or self._is_over or bool(self.failure), START_S)
            if self.channel is None:
                raise DeviceError(
                    f"{self.one.name}: {self.failure or f'its stage does not listen after {START_S:g} s'}"
                )

    def ask(self, said: Mapping[str, object], within_s: float) -> dict[str, object]:
        """Says something and waits for the answer.

        Raises:
            DeviceError: It cannot do it, or is gone; the line says why.
        """
        try:
            self._say(said)
            return self.hear(within_s)
        except ConnectionLostError as error:
            raise self._gone(error) from None

    def hear(self, within_s: float) -> dict[str, object]:
        """Waits for what it says next; see `ask`."""
        assert self.channel is not None
        try:
            heard = talk.hear(self.channel, within_s)
        except ConnectionLostError as error:
            raise self._gone(error) from None
        if not isinstance(heard, dict):
            raise DeviceError(f"{self.one.name}: its stage says what is no answer")
        if "error" in heard:
            raise DeviceError(f"{self.one.name}: {str(heard['error'])[: answers.ERROR_WORDS]}")
        return heard

    def clock(self) -> Clock:
        """How its clock stands to this computer's now, which is that of a process here.

        Raises:
            DeviceError: It does not say.
        """
        if not engines.of(self.one.device).is_apart:
            return OWN
        found = []
        for _ in range(EXCHANGES):
            before_ns = monotonic_ns()
            told_ns = self.ask({"time": True}, ANSWER_S).get("time_ns")
            after_ns = monotonic_ns()
            if not isinstance(told_ns, int) or abs(told_ns) >= 2**63:
                raise DeviceError(f"{self.one.name}: its stage tells no time")
            found.append(Clock((before_ns + after_ns) // 2 - told_ns, (after_ns - before_ns) / 2e9))
        return min(found, key=lambda one: one.error_s)

    def has_failed(self) -> bool:
        """Whether it is gone though nobody told it to; what is just happening is waited for."""
        with self._changed:
            self._changed.wait_for(lambda: bool(self.failure), SOON_S)
            return bool(self.failure)

    def _gone(self, error: DimeError) -> DeviceError:
        return DeviceError(f"{self.one.name}: {self.failure}" if self.has_failed() else str(error))


def _ended(state: State) -> str:
    """How a stage has ended, in words."""
    number = -state.code if state.code < 0 else state.code - 128
    if state.out_of_memory:
        return "killed for want of memory"
    if state.code < 0 or number in KILLED:
        return f"killed by signal {number}"
    return f"exit code {state.code}"


def _plainly(text: str) -> str:
    """An error of the device side; what an earlier one does not know is told as such."""
    if "invalid choice: 'stage'" in text or "unrecognized arguments" in text:
        return "its image is of another version of DIME, which runs no such plans; type: make build, or make push"
    return text


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


class Shaped:
    """Where a link begins for the device that calls.

    Attributes:
        address: The address that is called.
        port: Its port.
        kept: Of an emulated link how well it was kept, for each direction, once it has ended.
    """

    def __init__(self, address: str, port: int):
        self.address, self.port = address, port
        self.kept: dict[str, dict[str, float]] = {}


@contextlib.contextmanager
def shaped(
    target: tuple[str, int], link: Link, device: LabDevice = HERE, address: str = frames.LOOPBACK, registry: str = ""
) -> Iterator[Shaped]:
    """An emulated link to an address of a device, where that is."""
    with emulated(link, target, device, address, registry) as said:
        port = said[0].get("port")
        if not isinstance(port, int) or not 0 < port < 65536:
            raise DeviceError(f"link {link.name}: its process does not listen")
        found = Shaped(address, port)
        yield found
    found.kept = _kept(next((facts["kept"] for facts in said[1:] if "kept" in facts), {}))


def _kept(said: object) -> dict[str, dict[str, float]]:
    """What a shaper says of its two directions; what is no such thing is passed over."""
    ways = said if isinstance(said, dict) else {}
    found = {name: answers.facts(ways.get(name), dict.fromkeys(KEPT, 0.0), ()) for name in ("up", "down")}
    return {name: facts.numbers for name, facts in found.items() if facts is not None}


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
