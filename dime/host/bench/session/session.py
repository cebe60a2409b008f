"""One session on whatever engine its device has: started or found, followed, brought home."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from dime.contract.errors import ConnectionLostError, DeviceError, DimeError, NotLetInError
from dime.host.bench import engines
from dime.host.bench.connection import DetachedError, Wishes
from dime.host.bench.session.follow import Follower
from dime.host.bench.session.job import Job
from dime.host.bench.session.state import Stage
from dime.host.common import progress


class Session:
    """One job on its device; the arguments are those of an `Engine`.

    Args:
        kind: The kind of engine; the device's own if None.
    """

    def __init__(
        self,
        job: Job,
        registry: str,
        wishes: Wishes,
        say: Callable[[str], None],
        status: Callable[[str], None],
        kind: type[engines.Engine] | None = None,
    ):
        self._job, self._wishes = job, wishes
        self._engine = (kind or engines.of(job.device))(job, registry, wishes, say, status)
        self._follower = Follower(self._engine, wishes, say)

    @property
    def stage(self) -> Stage:
        """How far it has got."""
        return self._engine.stage

    def __call__(self) -> Path:
        """Does all of it.

        Returns:
            The run's folder.

        Raises:
            DeviceError: In one line: what failed, where, and what to do.
            DetachedError: The person let go; the run goes on.
        """
        try:
            with self._engine as engine:
                engine.start()
                self._follow()
                return engine.copy_out()
        except DetachedError:
            if self.stage is Stage.BRINGING and self._wishes.stop.is_set():
                raise DeviceError(f"{self._job.device.name}: stopped as you wished; {self.stage.value}") from None
            raise

    def _follow(self) -> None:
        """Shows the session's progress until it is done; raises if it failed for good."""
        follower, engine = self._follower, self._engine
        try:
            progress.follow(follower.lines(str(self._job.out)), engine.label)
        except (ConnectionLostError, NotLetInError):
            raise
        except DeviceError as error:
            try:
                text = engine.give_up(str(error), follower.finished, follower.total)
            except (DimeError, DetachedError) as other:  # what failed first comes first
                first = str(error) if str(error).startswith(engine.name) else f"{engine.name}: {error}"
                text = f"{first}; and then: {str(other) or 'it was left as it is'}"
            raise DeviceError(text) from None
