"""Every state of a container leads to a verdict, and to the one that a person would give."""

import itertools

import pytest

from dime.host.bench.session.judge import (
    ENDED,
    FOR_GOOD,
    ILLEGAL_INSTRUCTION,
    RESTARTS,
    TABLE,
    Evidence,
    Verdict,
    judge,
)
from dime.host.bench.session.state import State

STATUSES = ("created", "running", "paused", "restarting", "removing", "exited", "dead", "", "what is this")
CODES = (-1, 0, 1, 2, 3, 125, 126, 127, ILLEGAL_INSTRUCTION, 137, 143, 255, 10**9)
EVERY = [
    Evidence(State(status, code, out_of_memory), fruitless, is_stopped, is_restarted, words)
    for status, code, out_of_memory, fruitless, is_stopped, is_restarted, words in itertools.product(
        STATUSES,
        CODES,
        (False, True),
        range(RESTARTS + 3),
        (False, True),
        (False, True),
        ((), ("Killed {code}", "{0}")),
    )
]


def expected(seen):
    """The verdict in words of its own: what ends a session for good is a wish, a reason, or the want of progress."""
    if seen.state.status == "created":
        return Verdict.AGAIN if seen.fruitless <= RESTARTS else Verdict.FAILED
    if seen.state.status not in ENDED:
        return Verdict.GOES_ON
    if seen.state.code == 0:
        return Verdict.DONE
    if not seen.is_restarted:
        return Verdict.FAILED
    for_good = seen.state.code in (*FOR_GOOD, ILLEGAL_INSTRUCTION) or seen.state.out_of_memory
    return Verdict.FAILED if for_good or seen.is_stopped or seen.fruitless > RESTARTS else Verdict.AGAIN


def test_every_case_has_its_verdict_and_a_failure_its_reason():
    for seen in EVERY:
        verdict, text = judge(seen)
        assert verdict is expected(seen), seen
        assert bool(text) == (verdict in (Verdict.FAILED, Verdict.AGAIN)), seen
        assert "\n" not in text


def test_every_row_of_the_table_decides_something():
    deciding = {next(row for row, (holds, _, _) in enumerate(TABLE) if holds(seen)) for seen in EVERY}
    assert deciding == set(range(len(TABLE)))


@pytest.mark.parametrize(
    ("seen", "text"),
    [
        (Evidence(State("exited", 137, True)), "killed for want of memory; take smaller bundles"),
        (Evidence(State("exited", -9), is_restarted=False, last_words=("a",)), "ended without a result; last lines: a"),
        (Evidence(State("exited", 137), is_stopped=True), "stopped as you wished"),
        (Evidence(State("exited", ILLEGAL_INSTRUCTION)), "illegal instruction: the image's wheels"),
        (Evidence(State("exited", 2), last_words=("a", "{b}")), "ended with exit code 2; last lines: a | {b}"),
        (Evidence(State("exited", 137), RESTARTS + 1), f"ended {RESTARTS + 1} times with exit code 137"),
        (Evidence(State("dead", 137)), "its container ended with exit code 137: killed or restarted; goes on at"),
    ],
)
def test_the_reason_is_the_one_that_helps(seen, text):
    assert judge(seen)[1].startswith(text)
