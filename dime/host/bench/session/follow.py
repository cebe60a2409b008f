"""A session's lines as they come, across restarts, until it ends for good."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import Protocol

from dime.contract import messages
from dime.contract.errors import DeviceError
from dime.host.bench import answers
from dime.host.bench.connection import DetachedError, Wishes
from dime.host.bench.session.judge import ENDED, Evidence, Verdict, judge
from dime.host.bench.session.state import State


class Followed(Protocol):
    """What is followed; each call may wait until the device is back."""

    @property
    def name(self) -> str:
        """What failures begin with."""

    @property
    def poll_s(self) -> float:
        """Pause between looks."""

    @property
    def is_restarted(self) -> bool:
        """Whether it is started again when it was killed."""

    def look(self) -> tuple[State, list[str]]:
        """What it is in, and its lines since the last look; the state first, so that no line is missed."""

    def again(self) -> None:
        """Starts it once more."""

    def stop(self) -> None:
        """Tells it to end, and waits until it has."""


class Follower:
    """Reads a session's lines and notes what they say.

    Args:
        followed: What is followed.
        wishes: What the person wants meanwhile.
        say: Told in one line what happens.

    Attributes:
        finished: Bundles that are finished.
        total: Bundles in all; 0 until they are known.
    """

    def __init__(self, followed: Followed, wishes: Wishes, say: Callable[[str], None]):
        self._followed, self._wishes, self._say = followed, wishes, say
        self.finished = self.total = 0
        self._messages = answers.Messages()
        self._last_words: deque[str] = deque(maxlen=3)

    def lines(self, folder: str) -> Iterator[str]:
        """The lines as they may be shown.

        Args:
            folder: What is said to hold the result when it is done; what the device says of that is not believed.

        Raises:
            DeviceError: It ended, and another start would change nothing.
            DetachedError: The person waits no longer.
        """
        fruitless, finished = 0, 0
        while True:
            if self._wishes.stop.is_set():
                self._followed.stop()
            state, lines = self._followed.look()
            for line in lines:
                yield from self._heard(line)
            if state.status in (*ENDED, "created"):
                fruitless = 0 if self.finished > finished else fruitless + 1
                finished = self.finished
            seen = Evidence(
                state, fruitless, self._wishes.stop.is_set(), self._followed.is_restarted, tuple(self._last_words)
            )
            verdict, why = judge(seen)
            if verdict is Verdict.FAILED:
                raise DeviceError(f"{self._followed.name}: {why}")
            if verdict is Verdict.DONE:
                yield messages.encode("done", folder=folder)
                return
            if verdict is Verdict.AGAIN:
                self._say(why)
                self._followed.again()
            elif self._wishes.detach.wait(self._followed.poll_s):
                raise DetachedError

    def _heard(self, line: str) -> Iterator[str]:
        """Takes note of a line; gives it as it may be shown. That a run is done, its container's end says."""
        message, text = self._messages.take(line)
        if message is None:
            if text.strip():
                self._last_words.append(text.strip())
        elif message["kind"] == "hello":
            self.total, self.finished = message["total"] or 0, 0
        elif message["kind"] == "progress" and self.total:
            self.finished = message["done"]
        if text and (message is None or message["kind"] != "done"):
            yield text
