"""Where the device side runs for a device: a process of this computer, or a container on a Docker engine.

Both are an `Engine`; which one a device has, `of` alone decides.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Protocol

from dime.host.bench.connection import Wishes
from dime.host.bench.lab import LOCAL, LabDevice
from dime.host.bench.session.job import Job
from dime.host.bench.session.state import Stage, State


class Engine(Protocol):
    """Runs one job's session on its device; use as a context manager, which ends what must not stay.

    Args:
        job: The job.
        registry: Where the device pulls from; empty for none.
        wishes: What the person wants meanwhile.
        say: Told in one line what happens.
        status: Called with a short text while something is on its way.

    Attributes:
        is_apart: Whether what it runs is apart from this command: it goes on without it, is found again, collected and
            cleaned, and runs beside others.
        is_restarted: Whether a session that was killed is started again.
        name: What failures of its sessions begin with.
        label: What the progress is called.
        poll_s: Pause between looks.
        stage: How far the session has got.
    """

    is_apart: ClassVar[bool]
    is_restarted: ClassVar[bool]
    stage: Stage

    def __init__(
        self, job: Job, registry: str, wishes: Wishes, say: Callable[[str], None], status: Callable[[str], None]
    ): ...

    @property
    def name(self) -> str: ...

    @property
    def label(self) -> str: ...

    @property
    def poll_s(self) -> float: ...

    def __enter__(self) -> Engine: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None: ...

    def start(self) -> None:
        """Finds the session or begins it; everything that it needs is copied in first."""

    def look(self) -> tuple[State, list[str]]:
        """What it is in, and its lines since the last look; the state first, so that no line is missed."""

    def again(self) -> None:
        """Starts it once more."""

    def stop(self) -> None:
        """Tells it to end, and waits until it has."""

    def copy_out(self) -> Path:
        """Brings its results home, checked, and then removes what is ours but the caches."""

    def give_up(self, reason: str, finished: int, total: int) -> str:
        """Leaves the device as it was after a failure.

        Args:
            reason: Why it failed.
            finished: Bundles that are finished.
            total: Bundles in all; 0 if that is not known.

        Returns:
            The reason, and what is kept there.
        """


def of(device: LabDevice) -> type[Engine]:
    """The kind of engine that a device of the lab file has."""
    if device.engine == LOCAL:
        from dime.host.bench.engines.process import Process

        return Process
    from dime.host.bench.engines.docker import Docker

    return Docker
