"""One stage on its device: started through the device's engine, watched, called, given orders, and ended."""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from dime.contract import frames, handshake, talk
from dime.contract.errors import ConnectionLostError, DeviceError, DimeError
from dime.contract.timebase import monotonic_ns
from dime.contract.transport import Channel
from dime.host.bench import answers, engines, tunnel
from dime.host.bench.attended import Attended, Errand
from dime.host.bench.connection import Wishes
from dime.host.bench.session.job import Job
from dime.host.bench.session.judge import ENDED
from dime.host.bench.session.state import State
from dime.host.common import console
from dime.host.execution.devices import Profiled

START_S, ANSWER_S, END_S = 300.0, 15.0, 5.0
LOST_S, RETRY_S = 8.0, 0.5  # an engine that does not answer for so long takes its stage with it
EXCHANGES = 8  # of times, of which the quickest counts
SOON_S = 1.0  # for what is just happening to be known
WHAT = "a plan that is run"
KILLED = (6, 9, 11, 15)  # signals by which a container's process ends


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
