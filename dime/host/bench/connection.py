"""A connection to a device that survives a lost cable, a rebooted board and a sleeping laptop."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from threading import Event
from typing import TYPE_CHECKING, TypeVar

from dime.contract.errors import ConnectionLostError, NotLetInError
from dime.host.bench import clients
from dime.host.bench.lab import LabDevice

if TYPE_CHECKING:
    import docker

T = TypeVar("T")
RETRY_S = 2.0
PATIENCE_S = 600.0  # how long a lost device is waited for


@dataclass
class Wishes:
    """What the person at the keyboard wants meanwhile."""

    detach: Event = field(default_factory=Event)
    stop: Event = field(default_factory=Event)

    def heed(self) -> None:
        """Ends what is under way if that is wished.

        Raises:
            DetachedError: It is.
        """
        if self.detach.is_set() or self.stop.is_set():
            raise DetachedError


class DetachedError(Exception):
    """The person waits no longer; a run that has begun goes on."""


class Connection:
    """A connection to a device that is made anew when it was lost, for as long as that is of use."""

    def __init__(self, device: LabDevice, wishes: Wishes, patience_s: float = PATIENCE_S):
        self._device, self._wishes, self._patience_s = device, wishes, patience_s
        self._context: AbstractContextManager[docker.DockerClient] | None = None
        self._client: docker.DockerClient | None = None

    def client(self) -> docker.DockerClient:
        """The engine's client; connects if there is no connection."""
        if self._client is None:
            self._context = clients.connect(self._device)
            self._client = self._context.__enter__()
        return self._client

    def close(self) -> None:
        if self._context is not None:
            context, self._context, self._client = self._context, None, None
            context.__exit__(None, None, None)

    def once(self, action: Callable[[docker.DockerClient], T]) -> T:
        """Does something on the engine; a failure closes the connection."""
        try:
            client = self.client()
            with clients.translated(self._device):
                return action(client)
        except ConnectionLostError:
            self.close()
            raise

    def keep(self, action: Callable[[docker.DockerClient], T], lost: Callable[[str], None]) -> T:
        """Does something on the engine, again and again until the device is back.

        Args:
            action: What to do; it may be done more than once.
            lost: Told why, once for each loss.

        Raises:
            ConnectionLostError: It did not come back in time.
            NotLetInError: It came back and lets nobody in.
            DetachedError: The person did not want to wait.
        """
        deadline, told = time.monotonic() + self._patience_s, False
        while True:
            try:
                return self.once(action)
            except NotLetInError as error:
                self.close()
                raise NotLetInError(f"{error}. The run goes on there; then the same command follows it") from None
            except ConnectionLostError as error:
                if not told:
                    lost(f"{error}; the run goes on there, waiting")
                    told = True
                if time.monotonic() > deadline:
                    raise ConnectionLostError(
                        f"{error}; waited {self._patience_s:.0f} s. The run may be going on: the same command finds it"
                    ) from None
                if self._wishes.stop.is_set():
                    raise ConnectionLostError(f"{error}; it could not be told to stop, the run goes on there") from None
                if self._wishes.detach.wait(RETRY_S):
                    raise DetachedError from None
