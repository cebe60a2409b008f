"""This computer as an engine: the device side is a process of its own, without a container."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import ClassVar

import dime
from dime.contract import messages
from dime.contract.errors import DeviceError
from dime.host.bench.connection import Wishes
from dime.host.bench.session.job import Job
from dime.host.bench.session.state import Stage, State
from dime.host.common import console
from dime.host.common.progress import follow

ENTRY = (sys.executable, str(Path(dime.__file__).resolve().with_name("entry.py")), "device")

GRACE_S, STUBBORN_S = 0.8, 20.0


class Process:
    """One job in a process of this computer, which ends with the command.

    Args:
        job: The job.
        registry: Of no use here.
        wishes: Of no use here: who wants it to end interrupts the command.
        say: Of no use here.
        status: Of no use here.
    """

    is_apart: ClassVar[bool] = False
    is_restarted: ClassVar[bool] = False
    poll_s = 0.0  # a look waits for the next line itself

    def __init__(
        self, job: Job, registry: str, wishes: Wishes, say: Callable[[str], None], status: Callable[[str], None]
    ):
        self._job = job
        self.stage = Stage.BRINGING
        self._stack = ExitStack()
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Process:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        return self._stack.__exit__(kind, error, trace)

    @property
    def name(self) -> str:
        return self.label

    @property
    def label(self) -> str:
        return f"{self._job.out.parent.name} {self._job.network}"

    def start(self) -> None:
        """Starts the process."""
        job = self._job
        is_below = job.samples.name in (job.network, f"{job.network}_samples")
        words = [*job.words, f"--samples={job.samples.parent if is_below else job.samples}", f"--out={job.out}"]
        if job.token:
            words.append(f"{job.token_word}={self._private('token', job.token)}")
        self.stage = Stage.STARTING
        started = _process([*ENTRY, *words], _environment(job.threads), self.label, keeps=job.words[0] == "profile")
        self._process = self._stack.enter_context(started)
        self.stage = Stage.RUNNING

    def look(self) -> tuple[State, list[str]]:
        """Its next line, or how it ended."""
        process = self._begun
        assert process.stdout is not None
        if line := process.stdout.readline():
            return State("running"), [line]
        return State("exited", process.wait()), []

    def again(self) -> None:
        """Starts it once more."""
        self.start()

    def stop(self) -> None:
        """Tells it to end, and waits until it has; one that does not is killed."""
        _end(self._begun)

    def copy_out(self) -> Path:
        """Its results are where they belong."""
        self.stage = Stage.HOME
        return self._job.out

    def give_up(self, reason: str, finished: int, total: int) -> str:
        """Waits for its end, which may say more."""
        return reason + _killed(self._begun.wait())

    @property
    def _begun(self) -> subprocess.Popen[str]:
        assert self._process is not None
        return self._process

    def _private(self, name: str, content: str) -> str:
        """A file that only its owner may read, for as long as the process runs."""
        path = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="dime-")), name)
        path.write_text(content, encoding="utf-8", errors="surrogateescape")
        return str(path)


def _environment(threads: int) -> dict[str, str]:
    """The environment with so many CPU threads for the numeric libraries; 0 leaves it to them."""
    counts = {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)} if threads else {}
    return {**os.environ, **counts}


def _killed(code: int) -> str:
    likely = ", likely for want of memory" if code == -signal.SIGKILL else ""
    return f"; killed by {signal.Signals(-code).name}{likely}" if code < 0 else ""


def run(arguments: Sequence[str], label: str, unit: str = "bundle") -> str:
    """Runs the device side with these arguments and shows its progress.

    Args:
        arguments: The device side's arguments.
        label: What the progress bar is called.
        unit: What its steps are.

    Returns:
        The folder that holds the result.

    Raises:
        DeviceError: The device side reported an error or died; the message has its last words.
    """
    with _process([*ENTRY, *arguments], _environment(0), label) as process:
        assert process.stdout is not None
        try:
            return follow(process.stdout, label, unit)
        except DeviceError as error:
            raise DeviceError(f"{error}{_killed(process.wait())}") from None


def describe(arguments: Sequence[str], label: str) -> dict[str, object]:
    """Runs a verb that answers with one description, and gives its facts.

    Raises:
        DeviceError: The device side reported an error, or ended without a description.
    """
    done = subprocess.run([*ENTRY, *arguments], capture_output=True, text=True, check=False, timeout=600)
    said = [message for line in done.stdout.splitlines() if (message := messages.decode(line))]
    for message in said:
        if message["kind"] == "error":
            raise DeviceError(str(message["text"]))
        if message["kind"] == "description":
            return dict(message["facts"])
    last = " | ".join(done.stderr.strip().splitlines()[-2:])
    raise DeviceError(f"{label}: ended without a result{'; last lines: ' + last if last else ''}")


@contextmanager
def serving(arguments: Sequence[str], label: str) -> Iterator[list[dict[str, object]]]:
    """A verb that goes on until its standard input ends, which it does at the end of the block.

    Returns:
        The facts that it has said, one when it begins and more when it has ended.

    Raises:
        DeviceError: It reported an error, or ended before it said any.
    """
    with _process([*ENTRY, *arguments], _environment(0), label, subprocess.PIPE) as child:
        assert child.stdout is not None and child.stdin is not None
        said: list[dict[str, object]] = []
        last = facts(child.stdout, said, label, 1)
        if not said:
            raise DeviceError(f"{label}: ended before it began{'; last line: ' + last if last else ''}")
        yield said
        child.stdin.close()
        facts(child.stdout, said, label)


def facts(lines: Iterable[str], said: list[dict[str, object]], label: str, most: int = 10) -> str:
    """Gathers so many descriptions; gives the last line that was no message."""
    last = ""
    for line in lines:
        message = messages.decode(line)
        if message is None:
            last = line.strip() or last
        elif message["kind"] == "error":
            raise DeviceError(f"{label}: {message['text']}")
        elif message["kind"] == "description":
            said.append(dict(message["facts"]))
            if len(said) >= most:
                break
    return last


@contextmanager
def _process(
    command: Sequence[str], environment: dict[str, str], label: str, stdin: int | None = None, keeps: bool = False
) -> Iterator[subprocess.Popen[str]]:
    """A child that is asked to stop, and then waited for, on every way out.

    A person who wants to go is not kept: the child ends by itself after what is under way, with its clocks put back.
    """
    process = subprocess.Popen(
        command, env=environment, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        start_new_session=True,
    )  # fmt: skip
    try:
        yield process
        process.wait()
    except (KeyboardInterrupt, SystemExit):
        process.terminate()
        try:
            process.wait(GRACE_S)
        except subprocess.TimeoutExpired:
            kept = "; what it has finished is kept" if keeps else ""
            console.tell(f"{label}: ends by itself after the run under way{kept}")
        else:
            if keeps:
                console.tell(f"{label}: what it has finished is kept; the same command goes on")
        raise
    except BaseException:
        _end(process)
        raise


def _end(process: subprocess.Popen[str]) -> None:
    process.terminate()
    try:
        process.wait(STUBBORN_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
