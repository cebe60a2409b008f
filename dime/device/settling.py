"""How long a board takes to follow when its clock is set: until it reads back, and until work is as fast as it stays.

A plan that changes the frequency between two bundles waits so long.
"""

from typing import TYPE_CHECKING, Iterable, List, Sequence, Tuple

import torch

from dime.contract.errors import DeviceError
from dime.contract.timebase import monotonic_ns
from dime.device import stop

if TYPE_CHECKING:
    from dime.contract.messages import Emit
    from dime.contract.run import Change
    from dime.device.boards import Board
    from dime.device.processor import Processor, Tensors

CHANGES = 5
BEFORE_S = 0.05  # at the other frequency, so that it has followed there
LOOK_S = 0.2
# A piece of work takes about so long at the frequency that is looked at.
PIECE_S = 0.001
SIZE = 96
MOST_TURNS = 10000
# Work is steady where the median of so many pieces is so near that of the later half, or within so much of its scatter.
TOGETHER = 5
NEAR = 0.05
SCATTERS = 4.0


def measure(
    board: "Board", chosen: "Processor", frequency_hz: int, known_hz: Iterable[int], root: str, emit: "Emit"
) -> "List[Change]":
    """Changes to a frequency some times, from the one that is farthest from it.

    Args:
        board: The board's file; its clock is fixed at the frequency, and is again afterwards.
        chosen: What work runs on.
        frequency_hz: The frequency.
        known_hz: The frequencies that a plan may change from.
        root: Where sysfs is found.
        emit: Told if the board does not go to the other frequency.

    Returns:
        list: Each change as it stands in run.json; empty for a board that does not say how its clock is moved, or one
        of a single frequency.

    Raises:
        DeviceError: The board does not come back to the frequency.
    """
    move = getattr(board, "move", None)
    other_hz = max(known_hz, key=lambda hz: abs(hz - frequency_hz), default=frequency_hz)
    if move is None or frequency_hz in (-1, other_hz):
        return []
    work, found = _Work(chosen), []
    for _ in range(CHANGES):
        stop.check()
        try:
            move(other_hz, root)
        except DeviceError as error:
            move(frequency_hz, root)
            emit("warning", text="how long its clock takes to change is not known: {}".format(error))
            return []
        work.until(monotonic_ns() + int(BEFORE_S * 1e9))
        start_ns = monotonic_ns()
        move(frequency_hz, root)
        read_back_ns = monotonic_ns()
        pieces = work.until(read_back_ns + int(LOOK_S * 1e9))
        change: Change = {
            "frequency_hz": frequency_hz,
            "from_hz": other_hz,
            "start_ns": start_ns,
            "read_back_s": (read_back_ns - start_ns) * 1e-9,
            "steady_s": (steady_from(pieces, read_back_ns) - start_ns) * 1e-9,
        }
        found.append(change)
    return found


def steady_from(pieces: Sequence[Tuple[int, int]], from_ns: int) -> int:
    """The moment from which work is as fast as it stays.

    Args:
        pieces: Start and end of equal pieces of work, in ns.
        from_ns: What to say where the first one is so already.
    """
    times = [end - start for start, end in pieces]
    later = times[len(times) // 2 :]
    stays = _median(later)
    near = max(NEAR * stays, SCATTERS * _median([abs(one - stays) for one in later]))
    for place in range(len(times) - TOGETHER, -1, -1):
        if abs(_median(times[place : place + TOGETHER]) - stays) > near:
            return pieces[place + TOGETHER // 2][1]
    return from_ns


def _median(values: Sequence[float]) -> float:
    ascending, half = sorted(values), len(values) // 2
    return float(ascending[half]) if len(values) % 2 else (ascending[half - 1] + ascending[half]) / 2.0


class _Work(object):
    """Equal pieces of work."""

    def __init__(self, chosen: "Processor") -> None:
        self._chosen = chosen
        self._square = chosen.place(torch.full((SIZE, SIZE), 1.0 / SIZE))
        self._turns = 1
        self._piece()  # the first one loads what the others use
        shortest_ns = min(end - start for start, end in (self._piece() for _ in range(3)))
        self._turns = min(MOST_TURNS, max(1, int(PIECE_S * 1e9 / max(shortest_ns, 1))))

    def until(self, end_ns: int) -> List[Tuple[int, int]]:
        """Works until a moment, one piece at least; gives each piece's start and end."""
        pieces = [self._piece()]
        while pieces[-1][1] < end_ns:
            pieces.append(self._piece())
        return pieces

    def _piece(self) -> Tuple[int, int]:
        with torch.inference_mode():
            done = self._chosen.burst(self._turn, self._square)
        return done.start_ns, done.end_ns

    def _turn(self, square: "Tensors") -> "Tensors":
        assert isinstance(square, torch.Tensor)
        for _ in range(self._turns):
            square = square @ self._square
        return square
