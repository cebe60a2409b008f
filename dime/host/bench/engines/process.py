"""The engine for this machine: runs the device side as a process of its own, without a container."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dime
from dime.contract import messages
from dime.contract.errors import DeviceError
from dime.host.common import shown
from dime.host.common.progress import follow

ENTRY = (sys.executable, str(Path(dime.__file__).resolve().with_name("entry.py")), "device")

GRACE_S, STUBBORN_S = 0.8, 20.0


def run(arguments: Sequence[str], label: str, threads: int = 0, unit: str = "bundle") -> str:
    """Runs the device side with these arguments and shows its progress.

    Args:
        arguments: The device side's arguments.
        label: What the progress bar is called.
        threads: CPU threads for the numeric libraries; 0 leaves it to them.
        unit: What its steps are.

    Returns:
        The folder that holds the result.

    Raises:
        DeviceError: The device side reported an error or died; the message has its last words.
    """
    environment = dict(os.environ)
    if threads:
        environment |= {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
    with _process([*ENTRY, *arguments], environment, label) as process:
        assert process.stdout is not None
        try:
            return follow(process.stdout, label, unit)
        except DeviceError as error:
            code = process.wait()
            if code < 0:
                raise DeviceError(f"{error}; killed by {signal.Signals(-code).name}{_likely(code)}") from None
            raise


def describe(arguments: Sequence[str], label: str) -> dict[str, Any]:
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


def _likely(code: int) -> str:
    return ", likely for want of memory" if code == -signal.SIGKILL else ""


@contextmanager
def _process(command: Sequence[str], environment: dict[str, str], label: str) -> Iterator[subprocess.Popen[str]]:
    """A child that is asked to stop, and then waited for, on every way out.

    A person who wants to go is not kept: the child ends by itself after what is under way, with its clocks put back.
    """
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )
    try:
        yield process
        process.wait()
    except (KeyboardInterrupt, SystemExit):
        process.terminate()
        try:
            process.wait(GRACE_S)
        except subprocess.TimeoutExpired:
            shown.tell(f"{label}: ends by itself after the run under way; what it has finished is kept")
        else:
            shown.tell(f"{label}: what it has finished is kept; the same command goes on")
        raise
    except BaseException:
        process.terminate()
        try:
            process.wait(STUBBORN_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        raise
