"""How long a change of the clock takes: on clocks that are known, and in a board's tree that follows late."""

import threading

import pytest

from dime.contract.errors import DeviceError
from dime.device import processor, settling
from dime.device.boards import _sysfs, nano
from dime.testing import board_trees
from dime.testing.board_trees import GPU_HZ, Kernel

MS = 1000000


class Simulated(object):
    """A board whose clock reads back after 2 ms, and whose work is as fast as that only after 30 ms."""

    READ_BACK_NS, STEADY_NS = 2 * MS, 30 * MS

    def __init__(self):
        self.now_ns, self.moved_ns, self.hz, self.before_hz, self.moves = 0, -(10**12), 100, 100, []

    def move(self, frequency_hz, root="/"):
        self.before_hz, self.hz, self.moved_ns = self.hz, frequency_hz, self.now_ns
        self.moves.append(frequency_hz)
        self.now_ns += self.READ_BACK_NS

    def place(self, thing):
        return thing

    def burst(self, run, square):
        start_ns = self.now_ns
        hz = self.hz if self.now_ns - self.moved_ns >= self.STEADY_NS else self.before_hz
        self.now_ns += 100 * MS // hz + len(self.moves) % 2 * 1000 + (self.now_ns // 1000) % 7 * 1000
        return processor.Burst(1, 1.0, start_ns, self.now_ns, square, 1.0)


@pytest.fixture
def simulated(monkeypatch):
    board = Simulated()
    monkeypatch.setattr(settling, "monotonic_ns", lambda: board.now_ns)
    return board


@pytest.mark.parametrize(("hz", "known", "other"), [(100, [10, 50, 100], 10), (50, [50, 100], 100), (10, [10, 90], 90)])
def test_it_ends_when_it_reads_back_and_when_work_is_as_fast_as_it_stays(simulated, heard, hz, known, other):
    simulated.hz = hz
    found = settling.measure(simulated, simulated, hz, known, "/", heard)
    assert simulated.moves == [other, hz] * settling.CHANGES and simulated.hz == hz
    for change in found:
        assert (change["frequency_hz"], change["from_hz"]) == (hz, other)
        assert change["read_back_s"] == pytest.approx(0.002)
        slowest_s = 0.1 / min(hz, other)
        assert 0.03 - slowest_s <= change["steady_s"] <= 0.03 + 3 * slowest_s


def test_work_that_is_steady_at_once_took_until_it_read_back(simulated, heard):
    simulated.STEADY_NS = 0
    found = settling.measure(simulated, simulated, 100, [50, 100], "/", heard)
    assert [change["steady_s"] for change in found] == [change["read_back_s"] for change in found]


def test_noise_is_no_change():
    pieces, now = [], 0
    for at in range(100):
        took = 1000 + (at * 37) % 100 + (900 if at % 13 == 5 else 0)
        pieces.append((now, now + took))
        now += took
    assert settling.steady_from(pieces, -7) == -7


def test_what_has_one_frequency_or_leaves_it_alone_or_does_not_say_how_is_not_changed(simulated, heard):
    assert settling.measure(simulated, simulated, 100, [100], "/", heard) == []
    assert settling.measure(simulated, simulated, -1, [50, 100], "/", heard) == []
    assert settling.measure(object(), simulated, 100, [50, 100], "/", heard) == []
    assert simulated.moves == [] and not list(heard)


def test_a_board_that_does_not_go_elsewhere_is_said_and_stays(simulated, heard):
    move = simulated.move

    def stuck(frequency_hz, root="/"):
        move(frequency_hz)
        if frequency_hz != 100:
            raise DeviceError("max_freq reads 7 Hz after 50 Hz was set; the clock does not stick")

    simulated.move = stuck
    assert settling.measure(simulated, simulated, 100, [50, 100], "/", heard) == []
    assert simulated.hz == 100
    (text,) = heard.texts("warning")
    assert text.startswith("how long its clock takes to change is not known: max_freq reads 7 Hz")


def test_a_clock_that_follows_late_reads_back_late(tmp_path, monkeypatch, heard):
    tree = str(board_trees.plain(tmp_path / "tree"))
    kernel = Kernel(late_s=0.05)
    monkeypatch.setattr(_sysfs, "_put", kernel.put)
    monkeypatch.setattr(settling, "LOOK_S", 0.02)
    monkeypatch.setattr(settling, "CHANGES", 2)
    with nano.fixed(GPU_HZ[0], tree):
        found = settling.measure(nano, processor.Cpu(), GPU_HZ[0], GPU_HZ, tree, heard)
    kernel.stop()
    assert not any(isinstance(thread, threading.Timer) for thread in threading.enumerate())
    assert [change["from_hz"] for change in found] == [GPU_HZ[-1]] * 2
    assert all(0.05 <= change["read_back_s"] < 1 for change in found)
