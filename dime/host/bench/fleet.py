"""Profiles on the lab's devices: several at once, one failing does not stop the others; collect."""

from __future__ import annotations

import math
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dime.contract.errors import ConnectionLostError, DeviceError, DimeError
from dime.host.bench import answers, clients, engines, folders, transfer
from dime.host.bench.connection import DetachedError, Wishes
from dime.host.bench.lab import LabDevice
from dime.host.bench.session import results as sessions
from dime.host.bench.session.job import Job
from dime.host.bench.session.session import Session
from dime.host.bench.session.state import Stage
from dime.host.common import bars, console, interrupts

if TYPE_CHECKING:
    import docker
    from docker.models.containers import Container

GRACE_S = 0.8  # for what is under way to be tidied up when nobody waits any longer


def profile(jobs: Sequence[Job], registry: str = "") -> list[Path]:
    """Profiles on several devices at once; the jobs of one device, and of this computer, come one after the other.

    This computer's own processes come last, since they would take its time from what waits for the others.

    Ctrl-C asks whether to detach (the runs go on, the same command finds them again) or to stop them; it detaches where
    nobody can be asked. What is kept of each is told.

    Args:
        jobs: What is to be profiled where.
        registry: The lab's registry; empty for none.

    Returns:
        The folders of the runs that are complete, in the jobs' order.

    Raises:
        DeviceError: A run failed, after all others have ended; each failure was told in a line when it came.
        KeyboardInterrupt: The person let go of the runs or stopped them.
    """
    apart = [job for job in jobs if engines.of(job.device).is_apart]
    done, failure = dict[int, Path](), None
    try:
        done |= {id(job): job.out for job in _at_once(apart, registry)} if apart else {}
    except DimeError as error:
        failure = error
    for job in jobs:
        if job not in apart:
            done[id(job)] = Session(job, registry, Wishes(), teller(job.device.name), lambda text: None)()
    if failure:
        raise failure
    return [done[id(job)] for job in jobs if id(job) in done]


def _at_once(jobs: Sequence[Job], registry: str) -> list[Job]:
    """Profiles on devices that are apart from this command; gives the jobs that are complete."""
    wishes, folders, begun = Wishes(), dict[int, Path](), dict[int, Session]()
    failures, crashes = list[DimeError](), list[BaseException]()
    devices = {job.device.name: job.device for job in jobs}
    over = {name: threading.Event() for name in devices}
    ended = set[int]()

    def work(name: str) -> None:
        for number, job in enumerate(jobs):
            if job.device.name != name or wishes.detach.is_set() or wishes.stop.is_set():
                continue
            try:
                with Status(f"{name} {job.network}") as status:
                    begun[number] = Session(job, registry, wishes, teller(name), status)
                    folders[number] = begun[number]()
            except DetachedError:
                return
            except DimeError as error:
                failures.append(error)
                if len(devices) > 1:
                    console.tell(f"dime: {error}")
            except BaseException as error:
                crashes.append(error)
            ended.add(number)

    def work_and_tell(name: str) -> None:
        try:
            work(name)
        finally:
            over[name].set()

    def must_wait() -> bool:
        """Whether a run is there that is yet to be stopped."""
        there = (run for number, run in list(begun.items()) if number not in ended)
        return wishes.stop.is_set() and any(run.stage is not Stage.BRINGING for run in there)

    for name in devices:
        threading.Thread(target=work_and_tell, args=(name,), daemon=True).start()
    interrupted = _wait(list(over.values()), wishes, must_wait)
    if crashes:
        raise crashes[0]
    if interrupted:
        for number, job in enumerate(jobs):
            if number not in ended:
                stage = begun[number].stage if number in begun else Stage.BRINGING
                teller(job.device.name)(f"{job.network}: {stage.value}" if len(jobs) > len(devices) else stage.value)
        for failure in failures if len(devices) == 1 else ():  # of several, each was told when it came
            console.tell(failure)
        raise KeyboardInterrupt
    if len(failures) == 1:
        raise failures[0]
    if failures:
        raise DeviceError(f"{len(failures)} of {len(jobs)} runs failed; each said why above")
    return [jobs[number] for number in sorted(folders)]


def _wait(over: Sequence[threading.Event], wishes: Wishes, must_wait: Callable[[], bool] = lambda: False) -> bool:
    """Waits for all events; on Ctrl-C finds out what the person wants. Returns whether there was one.

    What goes on when the person waits no longer is given GRACE_S to tidy up; a run that is to be stopped, until it has.

    Not for threads: to CPython a thread whose join was interrupted has ended, although it goes on.
    """
    interrupted, until_s = False, math.inf
    while not all(event.is_set() for event in over) and (time.monotonic() < until_s or must_wait()):
        try:
            for event in over:
                event.wait(0.05)
        except KeyboardInterrupt:
            if interrupted:
                wishes.detach.set()
                return True
            interrupted = True
            interrupts.relent()
            (wishes.stop if _stop_wished() else wishes.detach).set()
            if wishes.detach.is_set():
                interrupts.expect(interrupts.leave)
            until_s = time.monotonic() + GRACE_S
        except SystemExit:
            wishes.detach.set()
            for event in over:
                event.wait(GRACE_S)
            raise
    return interrupted


def _stop_wished() -> bool:
    if not sys.stdin.isatty():
        return False
    try:
        answer = input("\n[d]etach and let the runs go on, or [s]top them? [d] ")
    except (EOFError, KeyboardInterrupt):
        return False
    return answer.strip().lower().startswith("s")


def collect(device: LabDevice, results: str | Path = "results") -> list[Path]:
    """Fetches the results of runs that ended while nobody was there, complete or not; complete ones are then removed.

    Args:
        device: The device.
        results: The folder that receives DEVICE/NETWORK.

    Returns:
        The folders that were fetched.

    Raises:
        DeviceError: The device cannot be reached, or something did not arrive intact.
    """
    say = teller(device.name)
    folders, failures = list[Path](), list[DimeError]()
    try:
        with clients.connect(device) as client, clients.translated(device):
            for container in transfer.ours(client, "run"):
                if container.status == "running":
                    say(f"{answers.label(container, 'dime.what', 'a run')} is still running")
                    continue
                try:
                    folders.append(_collect(client, device, container, Path(results), say))
                except ConnectionLostError:
                    raise
                except DimeError as error:  # of several runs, the others come home all the same
                    failures.append(error)
    except KeyboardInterrupt:
        say("what has not arrived is still there; the same command fetches it")
        raise
    for failure in failures[:-1]:
        say(str(failure))
    if failures:
        text = str(failures[-1])
        raise DeviceError(text if text.startswith(f"{device.name}: ") else f"{device.name}: {text}")
    return folders


def _collect(
    client: docker.DockerClient, device: LabDevice, container: Container, results: Path, say: Callable[[str], None]
) -> Path:
    """Fetches one run; removes it if it is complete."""
    out = results / answers.folder(container, device)
    volume = f"{transfer.RESULTS}{answers.key(container)}"
    assert container.image is not None
    sessions.fetch(client, container, container.image, volume, out)
    if folders.is_complete(out):
        sessions.settle(client, container, container.image, volume, device, out)
    else:
        say(f"{out} is incomplete; the same profile command goes on with it on the device")
    return out


class Status:
    """One line for what is on its way, rewritten in place; only where a person is watching."""

    def __init__(self, label: str):
        self._label = label
        self._bar = bars.Bar(total=0, bar_format="{desc}", leave=False)

    def __enter__(self) -> Callable[[str], None]:
        return lambda text: self._bar.say(f"{self._label}: {text}" if text else "")

    def __exit__(self, *exception: object) -> None:
        self._bar.close()


def teller(name: str) -> Callable[[str], None]:
    """Says lines in a device's name."""
    return lambda text: console.tell(text if text.startswith(f"{name}: ") else f"{name}: {text}")
