"""What a request takes beside its bundles, measured over a real loopback with a tiny network."""

import os
import socket
import threading
import time
from collections import Counter
from contextlib import contextmanager

import pytest
import torch
from torch import nn

from dime.contract import tables
from dime.contract.run import OVERHEADS, TIMINGS, RunSpec
from dime.contract.transport import Channel
from dime.device import boards, overheads, timings
from dime.device.executing.part import Part
from dime.device.networks import Network
from tests.device.conftest import OPTIONS

FIRST, SECOND = 0.02, 0.06


def rows_of(folder):
    return tables.read(os.path.join(str(folder), OVERHEADS), tables.OVERHEADS)


def least(rows, what, boundary, size_bytes=0):
    return min(
        row["seconds"]
        for row in rows
        if (row["what"], row["boundary"], row["size_bytes"]) == (what, boundary, size_bytes)
    )


def left(before=None):
    """Threads and sockets of this process; where it is told what was there before, once those that end have ended."""
    until_s = time.monotonic() + 5
    while before and threading.active_count() > before[0] and time.monotonic() < until_s:
        time.sleep(0.01)
    links = [os.path.join("/proc/self/fd", name) for name in os.listdir("/proc/self/fd")]
    return threading.active_count(), sum(os.path.islink(one) and os.readlink(one)[:7] == "socket:" for one in links)


class Board(object):
    """A board of two clocks, one of which holds back what is timed."""

    SWEEPS = True

    def __init__(self):
        self.now, self.held = -1, []

    def frequencies_hz(self, root="/"):
        return [100, 200]

    def describe(self, root="/"):
        return {"model": "none", "governor": None, "temperatures_c": {}, "throttled": []}

    @contextmanager
    def fixed(self, frequency_hz, root="/", ledger=None):
        self.now = frequency_hz
        yield lambda: [frequency_hz]
        self.now = -1

    def slowed(self, run, frequency_hz):
        self.held.append((self.now, frequency_hz))
        return run


def profile(tiny, out, board):
    options = dict(OPTIONS, iterations=1, runs=1)
    return timings.profile(tiny.network, tiny.samples(), str(out), options, ("fake", board), "here", tiny.heard)


def test_a_profile_measures_each_part_of_a_request_at_each_cut(tiny, tmp_path):
    before = left()
    tiny.profile(tmp_path / "out")
    rows = rows_of(tmp_path / "out")
    one = {(0, "forward", 0): 1, (0, "enter", 0): 1, (0, "leave", 0): 1, (0, "finish", 0): 1}
    one.update({(0, "hop", 16): 1, (0, "hop", 4): 1})
    for at, size_bytes in ((1, 24), (2, 20)):
        one.update({(at, "begin", 0): 1, (at, "enter", 0): 1, (at, "leave", 0): 2, (at, "finish", 0): 1})
        one.update({(at, "hop", size_bytes): 1, (at, "hop", 4): 1})
    for run in range(overheads.ROUNDS):
        found = Counter((row["boundary"], row["what"], row["size_bytes"]) for row in rows if row["run"] == run)
        assert found == one
    assert len(rows) == overheads.ROUNDS * sum(one.values()) and {row["frequency_hz"] for row in rows} == {-1}
    assert all(row["seconds"] > 0 for row in rows)
    assert not [text for text in tiny.heard.texts("warning") if "overheads" in text]
    assert left(before) == before
    assert RunSpec.read(str(tmp_path / "out")).state == "complete"


def test_a_network_is_cut_where_most_and_where_fewest_bytes_cross(tiny):
    modules = [nn.Linear(4, 9), nn.Linear(9, 5), nn.Linear(5, 7), nn.Linear(7, 2)]
    assert overheads.cuts(Network("four", list("abcd"), modules, (1, 4), "seeded 0")) == [0, 1, 2]
    assert overheads.cuts(Network("two", list("ab"), modules[:2], (1, 4), "seeded 0")) == [0, 1]


def test_a_network_of_one_layer_is_cut_at_its_input_only(tiny, tmp_path):
    tiny.layers, tiny.network = ["a"], Network("tiny", ["a"], [nn.Linear(4, 6)], (1, 4), "seeded 0")
    tiny.profile(tmp_path / "out")
    assert {row["boundary"] for row in rows_of(tmp_path / "out")} == {0}


class Adding(nn.Module):
    """A layer that works in place."""

    def forward(self, x):
        return x.add_(1)


def test_what_works_in_place_changes_nothing_of_what_is_profiled(tiny, tmp_path, monkeypatch):
    tiny.network.modules[0] = nn.Sequential(Adding(), nn.Linear(4, 6))
    monkeypatch.setattr(timings, "_inputs", lambda *_: given)
    given = [[(name, torch.ones(1, size)) for name in ("left", "right")] for size in (4, 6, 5)]
    overheads_only = overheads.Overheads(
        str(tmp_path), tiny.network, tiny.samples(), given, boards.choose("here"), timings.processor.Cpu(), tiny.heard
    )
    overheads_only.measure(-1)
    assert rows_of(tmp_path) and all(bool((tensor == 1).all()) for layer in given for _, tensor in layer)


@pytest.mark.parametrize(
    ("what", "boundary", "size_bytes"),
    [("enter", 2, 0), ("leave", 2, 0), ("leave", 0, 0), ("hop", 2, 20), ("hop", 2, 4), ("forward", 0, 0)],
)
def test_what_takes_longer_shows_in_its_own_rows_only(tiny, tmp_path, monkeypatch, what, boundary, size_bytes):
    """A part of one cut is held up by so much that nothing else comes near."""
    compute, packed, receive = Part.compute, Part.packed, Channel.receive

    def is_meant(part, at):
        cut = part.order.boundary(0)
        return cut == boundary and part.order.segments[at].device == (0 if what == "forward" else 1)

    def slow_compute(part, at, *rest):
        if what == "enter" and is_meant(part, at):
            time.sleep(SECOND)
        return compute(part, at, *rest)

    def slow_packed(part, at, *rest):
        if what in ("leave", "forward") and is_meant(part, at):
            time.sleep(SECOND)
        return packed(part, at, *rest)

    def slow_receive(channel, foretold, memory, within_s):
        got = receive(channel, foretold, memory, within_s)
        if what == "hop" and foretold[0].length == size_bytes:
            time.sleep(SECOND)
            return got._replace(last_ns=got.last_ns + int(SECOND * 1e9))
        return got

    monkeypatch.setattr(Part, "compute", slow_compute)
    monkeypatch.setattr(Part, "packed", slow_packed)
    monkeypatch.setattr(Channel, "receive", slow_receive)
    monkeypatch.setattr(overheads, "ROUNDS", 4)
    tiny.profile(tmp_path / "out")
    rows = rows_of(tmp_path / "out")
    slow = {(row["what"], row["size_bytes"]) for row in rows if row["seconds"] > SECOND - 0.001}
    assert slow >= {(what, size_bytes)}
    least_s = {
        key: least(rows, key[1], key[0], key[2])
        for key in {(row["boundary"], row["what"], row["size_bytes"]) for row in rows}
    }
    if what != "leave" or boundary == 0:  # elsewhere the edge device's own is the least
        assert least_s.pop((boundary, what, size_bytes)) >= SECOND - 0.001
    if what == "hop" and size_bytes == 4:  # of every cut
        least_s = {key: seconds for key, seconds in least_s.items() if key[1:] != ("hop", 4)}
    assert max(least_s.values()) < FIRST


def test_each_frequency_is_measured_at_its_own_clock_which_is_put_back(tiny, tmp_path):
    board = Board()
    profile(tiny, tmp_path / "out", board)
    assert Counter(row["frequency_hz"] for row in rows_of(tmp_path / "out")) == {100: 200, 200: 200}
    assert board.now == -1 and {now for now, _ in board.held} <= {100, 200}
    assert {asked for now, asked in board.held if now == 100} <= {100, -1}, "results are computed as they are"


def test_many_rounds_of_what_takes_long_are_not_waited_for(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(overheads, "MOST_S", 0.0)
    tiny.profile(tmp_path / "out")
    assert {row["run"] for row in rows_of(tmp_path / "out")} == set(range(overheads.LEAST))


def test_a_run_that_was_cut_off_keeps_what_it_has_and_measures_what_is_missing(tiny, tmp_path, monkeypatch):
    run, calls, there = overheads._Loop.run, [], left()

    def cut(self, nth):
        calls.append(nth)
        if len(calls) == 40:  # at the second frequency
            raise RuntimeError("cut off")
        return run(self, nth)

    monkeypatch.setattr(overheads._Loop, "run", cut)
    with pytest.raises(RuntimeError):
        profile(tiny, tmp_path / "out", Board())
    before = rows_of(tmp_path / "out")
    assert {row["frequency_hz"] for row in before} == {100}
    assert left(there) == there
    assert profile(tiny, tmp_path / "out", Board()).measured_rows == 0
    rows = rows_of(tmp_path / "out")
    assert rows[: len(before)] == before and {row["frequency_hz"] for row in rows[len(before) :]} == {200}


def test_a_run_from_before_there_were_overheads_gets_them(tiny, tmp_path):
    tiny.profile(tmp_path / "out")
    (tmp_path / "out" / OVERHEADS).unlink()
    spec = RunSpec.read(str(tmp_path / "out"))
    spec.state = "running"
    spec.write(str(tmp_path / "out"))
    assert tiny.profile(tmp_path / "out").measured_rows == 0 and len(rows_of(tmp_path / "out")) == 200


def test_rows_that_were_torn_are_dropped(tiny, tmp_path):
    tiny.profile(tmp_path / "out")
    rows = rows_of(tmp_path / "out")
    (tmp_path / "out" / OVERHEADS).unlink()
    with tables.Writer(str(tmp_path / "out" / OVERHEADS), tables.OVERHEADS) as writer:
        for hertz, count in ((5, len(rows)), (7, len(rows) - 1), (9, 50)):
            writer.write(dict(row, frequency_hz=hertz) for row in rows[:count])
    again = overheads.Overheads(str(tmp_path / "out"), tiny.network, tiny.samples(), [[]], None, None, tiny.heard)
    assert [again.is_complete(hertz) for hertz in (5, 7, 9)] == [True, False, False]
    assert {row["frequency_hz"] for row in rows_of(tmp_path / "out")} == {5}


def no_loopback(*_):
    raise OSError(101, "Network is unreachable")


def closed(channel, *_):
    channel.close()
    raise overheads.ConnectionLostError("the connection is lost")


def stranger(address, within_s, connect=socket.create_connection):
    with connect(address, within_s):
        return connect(address, within_s)


@pytest.mark.parametrize(
    ("owner", "name", "failing", "reason"),
    [
        (socket, "create_connection", no_loopback, "Network is unreachable"),
        (socket, "create_connection", stranger, "another program called over the loopback"),
        (Channel, "send", closed, "was not answered"),
        (Channel, "receive", closed, "was not answered"),
        (Part, "send_on", lambda part, *_, **__: setattr(part, "dropped", 1), "was not answered"),
    ],
)
def test_without_a_loopback_that_is_told_and_the_profile_goes_on(
    tiny, tmp_path, monkeypatch, owner, name, failing, reason
):
    there = left()
    monkeypatch.setattr(overheads, "SILENCE_S", 0.5)
    monkeypatch.setattr(owner, name, failing)
    tiny.profile(tmp_path / "out")
    (said,) = [text for text in tiny.heard.texts("warning") if "overheads" in text]
    assert said.startswith("overheads were not measured: ") and reason in said
    assert not (tmp_path / "out" / OVERHEADS).exists() and (tmp_path / "out" / TIMINGS).exists()
    assert RunSpec.read(str(tmp_path / "out")).state == "complete" and left(there) == there


def test_a_result_that_cannot_go_back_is_not_waited_for(tiny, tmp_path, monkeypatch):
    send = Part.send

    def broken(part, *rest):
        if part.order.me == 1:
            raise overheads.ConnectionLostError("broken")
        send(part, *rest)

    monkeypatch.setattr(Part, "send", broken)
    tiny.profile(tmp_path / "out")
    assert "overheads were not measured: the result did not go back" in tiny.heard.texts("warning")
