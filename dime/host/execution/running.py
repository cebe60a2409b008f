"""Stages on their devices: started through each device's engine, called, given orders, and ended."""

from __future__ import annotations

import contextlib
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from dime.contract import frames, handshake, stages, talk
from dime.contract.errors import ConnectionLostError, DeviceError, DimeError
from dime.contract.transport import Channel
from dime.host.bench import answers, engines
from dime.host.bench.connection import Wishes
from dime.host.bench.session.job import Job
from dime.host.bench.session.judge import ENDED
from dime.host.campaign.link import emulated
from dime.host.common import console
from dime.host.execution.devices import Profiled
from dime.host.planning.links import Link

if TYPE_CHECKING:
    from dime.contract.stages import Asked, Row

START_S, ANSWER_S, END_S = 300.0, 15.0, 5.0


class StageProcess:
    """One device's stage: started, watched in a thread, and called.

    Args:
        one: The device.
        samples: The folder of its network's feature maps.
        run: What callers must have alike.
        weights: Weights to load; empty takes those that were profiled.
        folder: A folder of the run's own on this computer.
    """

    def __init__(self, one: Profiled, samples: Path, run: handshake.Run, weights: str, folder: Path):
        self.one, self._run = one, run
        spec = one.run
        words = [
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
        ]
        out = folder / one.name / spec.network
        job = Job(one.device, spec.network, tuple(words), samples, out, spec.threads, token=run.token.hex(),
                  token_word="--token")  # fmt: skip
        self._engine = engines.of(one.device)(job, "", Wishes(), self._tell, lambda text: None)
        self._changed = threading.Condition()
        self._port: int | None = None
        self._is_over = self._is_leaving = False
        self._words: list[str] = []
        self.failure = ""
        self.channel: Channel | None = None

    def _tell(self, text: str) -> None:
        console.tell(f"{self.one.name}: {text}")

    @contextlib.contextmanager
    def started(self) -> Iterator[StageProcess]:
        """The stage, running; it has ended when the block has."""
        with self._engine as engine:
            engine.start()
            thread = threading.Thread(target=self._watch, daemon=True)
            thread.start()
            try:
                yield self
            finally:
                self._is_leaving = True
                if self.channel is not None:
                    self.channel.close()
                if self._port is None:
                    engine.stop()
                thread.join(END_S)
                if thread.is_alive():
                    engine.stop()
                    thread.join(END_S)

    def _watch(self) -> None:
        """Reads what the stage says until it ends."""
        heard = answers.Messages()
        try:
            while True:
                state, lines = self._engine.look()
                for line in lines:
                    self._hear(heard, line)
                if state.status in ENDED:
                    break
                time.sleep(self._engine.poll_s)
        except Exception as error:
            self.failure = self.failure or str(error)
        with self._changed:
            if not self._is_leaving and not self.failure:
                code = f"killed by signal {-state.code}" if state.code < 0 else f"exit code {state.code}"
                last = f"; last lines: {' | '.join(self._words[-2:])}" if self._words else ""
                self.failure = f"its stage has ended, {code}{last}"
            self._is_over = True
            self._changed.notify_all()

    def _hear(self, heard: answers.Messages, line: str) -> None:
        message, text = heard.take(line)
        if message is None:
            if text.strip():
                self._words = [*self._words[-2:], text.strip()]
        elif message["kind"] == "description":
            port = message["facts"].get("port")
            if isinstance(port, int) and 0 < port < 65536:
                with self._changed:
                    self._port = port
                    self._changed.notify_all()
        elif message["kind"] == "error":
            self.failure = message["text"][: answers.ERROR_WORDS]
        elif message["kind"] == "warning":
            console.tell(f"{self.one.name}: warning: {message['text'][: answers.WORDS]}")

    @property
    def address(self) -> tuple[str, int]:
        """Where this computer reaches it; waits until it listens.

        Raises:
            DeviceError: It does not.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._port is not None or self._is_over, START_S)
            if self._port is None:
                raise DeviceError(
                    f"{self.one.name}: {self.failure or f'its stage does not listen after {START_S:g} s'}"
                )
            return frames.LOOPBACK, self._port

    def call(self) -> None:
        """Calls it."""
        host, port = self.address
        self.channel = handshake.connect(host, port, self._run, talk.CONTROL, ANSWER_S, self.one.name)

    def ask(self, said: Mapping[str, object], within_s: float) -> dict[str, object]:
        """Says something and waits for the answer.

        Raises:
            DeviceError: It cannot do it, or is gone; the line says why.
        """
        assert self.channel is not None
        try:
            talk.say(self.channel, said, ANSWER_S)
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

    def has_ended(self) -> bool:
        """Whether it has, though nobody told it to; what is just happening is waited for."""
        with self._changed:
            self._changed.wait_for(lambda: self._is_over, 0.5)
            return self._is_over and bool(self.failure)

    def _gone(self, error: DimeError) -> DeviceError:
        with self._changed:
            self._changed.wait_for(lambda: self._is_over, END_S)
        return DeviceError(f"{self.one.name}: {self.failure}" if self.failure else str(error))


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
    """

    def __init__(self, devices: Sequence[Profiled], samples: Path, plans: object, weights: str = ""):
        self._devices, self._samples, self._weights = devices, samples, weights
        self._run = handshake.Run(handshake.new_token(), stages.digest(plans), devices[0].network_digest)
        self._stack = ExitStack()
        self.stages: list[StageProcess] = []
        self._orders = self._requests = 0

    def __enter__(self) -> Running:
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="dime-verify-")))
            for one in self._devices:
                stage = StageProcess(one, self._samples, self._run, self._weights, folder)
                self.stages.append(stack.enter_context(stage.started()))
            for stage in self.stages:
                stage.call()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stack.close()

    @contextlib.contextmanager
    def linked(self, links: Mapping[tuple[int, int], Link]) -> Iterator[Linked]:
        """The stages with emulated links between them.

        Args:
            links: (caller, called) positions of devices -> the link as the caller sees it.
        """
        with ExitStack() as stack:
            ports = {}
            for (caller, called), link in links.items():
                target = self.stages[called].address
                ports[caller, called] = stack.enter_context(shaped(target, link))
            yield Linked(self, ports)

    def execute(
        self, order: Asked, ports: Mapping[tuple[int, int], int], within_s: float, say: Callable[[int], None]
    ) -> Ran:
        """Has a plan run.

        Args:
            order: What all devices are told.
            ports: (caller, called) -> the port of this computer that leads from one to the other.
            within_s: Longest time for all of it.
            say: Told how many rows are there.

        Returns:
            One row a request, and what each bundle took back to back before.

        Raises:
            DeviceError: A device cannot do its part.
        """
        try:
            return self._execute(order, ports, within_s, say)
        except DeviceError:
            gone = [stage for stage in self.stages if stage.has_ended()]
            if gone:  # which is why another could not go on
                raise DeviceError(f"{gone[0].one.name}: {gone[0].failure}") from None
            raise

    def _execute(
        self, order: Asked, ports: Mapping[tuple[int, int], int], within_s: float, say: Callable[[int], None]
    ) -> Ran:
        self._orders += 1
        of_all = {**order, "number": self._orders, "first_number": self._requests}
        self._requests += order["warmups"] + order["requests"]
        until_s, alone = time.monotonic() + within_s, dict[tuple[int, int], list[float]]()
        for me in reversed(range(len(self.stages))):
            peers = {str(called): [frames.LOOPBACK, port] for (caller, called), port in ports.items() if caller == me}
            heard = self.stages[me].ask({"order": {**of_all, "me": me, "peers": peers}}, START_S)
            alone |= _back_to_back(heard.get("ready"))
        edge = self.stages[0]
        heard = edge.ask({"go": True}, within_s)
        rows: list[Row] = []
        while "rows" in heard:
            rows += _checked(heard["rows"], edge.one.name)
            say(len(rows))
            heard = edge.hear(max(1.0, until_s - time.monotonic()))
        for stage in self.stages[1:]:
            if stage.failure:
                raise DeviceError(f"{stage.one.name}: {stage.failure}")
        if len(rows) != order["requests"]:
            raise DeviceError(f"{edge.one.name}: {len(rows)} of {order['requests']} requests came back")
        return Ran(rows, alone)

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
        ports: (caller, called) -> the link's port and what tells how well it was kept.
    """

    def __init__(self, running: Running, ports: Mapping[tuple[int, int], Shaped]):
        self._running, self._ports = running, ports

    @property
    def kept(self) -> dict[tuple[int, int], object]:
        """How well each emulated link was kept, once they have ended."""
        return {pair: link.kept for pair, link in self._ports.items()}

    def execute(self, order: Asked, within_s: float, say: Callable[[int], None] = lambda n: None) -> Ran:
        """Has a plan run; see `Running.execute`."""
        ports = {pair: link.port for pair, link in self._ports.items()}
        return self._running.execute(order, ports, within_s, say)


class Shaped:
    """An emulated link that runs.

    Attributes:
        port: Where it listens on this computer's loopback.
        kept: How well it was kept, for each direction, once it has ended.
    """

    def __init__(self, port: int):
        self.port = port
        self.kept: object = {}


@contextlib.contextmanager
def shaped(target: tuple[str, int], link: Link) -> Iterator[Shaped]:
    """An emulated link to an address, in a process of its own."""
    with emulated(link, target) as said:
        port = said[0].get("port")
        if not isinstance(port, int):
            raise DeviceError(f"link {link.name}: its process does not listen")
        found = Shaped(port)
        yield found
    found.kept = next((facts["kept"] for facts in said[1:] if "kept" in facts), {})


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
            texts = isinstance(row["fallback"], str) and isinstance(row["picture"], str)
            if not (whole and texts and isinstance(row["number"], int) and row["end_ns"] >= row["start_ns"]):
                raise ValueError
        except (TypeError, KeyError, ValueError):
            raise DeviceError(f"{name}: a row of its is damaged") from None
    return rows
