"""From what a container is in to what is done about it: the first row of a table that holds, without an engine."""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass

from dime.host.bench.session.state import State

RESTARTS = 3  # in a row without a finished bundle between them
ILLEGAL_INSTRUCTION = 132
FOR_GOOD = (1, 2, 126, 127)  # exit codes that another start would give again
ENDED = ("exited", "dead")


class Verdict(enum.Enum):
    """What is done about a container."""

    GOES_ON = "it is followed further"
    DONE = "its results are fetched"
    AGAIN = "it is started again"
    FAILED = "the session ends"


@dataclass(frozen=True)
class Evidence:
    """What a container is judged by.

    Attributes:
        state: What it is in.
        fruitless: Ends in a row without a finished bundle between them, this one counted.
        is_stopped: Whether the person wanted it stopped.
        is_restarted: Whether one that was killed is started again, as a container is and a process of ours is not.
        last_words: Its last lines that are no messages.
    """

    state: State
    fruitless: int = 0
    is_stopped: bool = False
    is_restarted: bool = True
    last_words: tuple[str, ...] = ()


TABLE: tuple[tuple[Callable[[Evidence], bool], Verdict, str], ...] = (
    (
        lambda seen: seen.state.status == "created" and seen.fruitless <= RESTARTS,
        Verdict.AGAIN,
        "its container has not started; starts it",
    ),
    (lambda seen: seen.state.status == "created", Verdict.FAILED, "its container does not start"),
    (lambda seen: seen.state.status not in ENDED, Verdict.GOES_ON, ""),
    (lambda seen: seen.state.code == 0, Verdict.DONE, ""),
    (lambda seen: not seen.is_restarted, Verdict.FAILED, "ended without a result{words}"),
    (lambda seen: seen.is_stopped, Verdict.FAILED, "stopped as you wished"),
    (
        lambda seen: seen.state.out_of_memory,
        Verdict.FAILED,
        "killed for want of memory; take smaller bundles (--max-layers) or more memory",
    ),
    (
        lambda seen: seen.state.code == ILLEGAL_INSTRUCTION,
        Verdict.FAILED,
        "illegal instruction: the image's wheels are not for this processor",
    ),
    (lambda seen: seen.state.code in FOR_GOOD, Verdict.FAILED, "ended with exit code {code}{words}"),
    (lambda seen: seen.fruitless > RESTARTS, Verdict.FAILED, "ended {fruitless} times with exit code {code}"),
    (
        lambda seen: True,
        Verdict.AGAIN,
        "its container ended with exit code {code}: killed or restarted; goes on at the last bundle",
    ),
)


def judge(seen: Evidence) -> tuple[Verdict, str]:
    """Judges a container; the reasons that it gave itself, as messages, come before.

    Args:
        seen: What is known of it.

    Returns:
        What is done about it, and why, in words; empty where nothing has to be said.
    """
    verdict, text = next((verdict, text) for holds, verdict, text in TABLE if holds(seen))
    words = f"; last lines: {' | '.join(seen.last_words)}" if seen.last_words else ""
    return verdict, text.format(code=seen.state.code, fruitless=seen.fruitless, words=words)
