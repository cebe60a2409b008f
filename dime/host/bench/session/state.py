"""What a session's container is in, and how far a session has got."""

from __future__ import annotations

import enum
from dataclasses import dataclass


@dataclass(frozen=True)
class State:
    """How a container is: its status, exit code, whether it was killed for want of memory, and since when it runs."""

    status: str
    code: int = 0
    out_of_memory: bool = False
    started: str = ""


class Stage(enum.Enum):
    """How far a session has got: what is kept of it if nobody waits any longer."""

    BRINGING = "nothing of it runs there; what has arrived there stays, the same command goes on"
    STARTING = "its run may have begun just now; the same command finds it"
    RUNNING = "the run goes on; the same command follows it again"
    STOPPING = "the run was told to stop; the same command finds what is kept of it"
    FETCHING = "the run has ended; its results are there, the same command fetches them"
    HOME = "its results are here"
