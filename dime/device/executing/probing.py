"""How a link is measured: messages of many sizes both ways, interleaved, each with an empty one in the other direction.

What the other side holds between the two is measured by its own clock and taken off, so that no common clock is needed.
"""

import os
import random
import struct
from contextlib import suppress
from typing import TYPE_CHECKING, List, Sequence, Tuple

from dime.contract import frames, handshake, schemas, tables
from dime.contract.errors import DeviceError, InputError
from dime.contract.frames import Foretold, FrameError
from dime.contract.timebase import monotonic_ns
from dime.contract.transport import Channel, Part

if TYPE_CHECKING:
    from dime.contract.messages import Emit

TABLE = "transfers.csv"
WAYS = ("up", "down")
FEWEST_PASSES = 3
_HELD = struct.Struct("<q")
_CALL_S, _WARMUPS, _WARMUP_BYTES = 60.0, 2, 1 << 16
_LEAST_BIT_S = 1e4


def run_of(token: bytes, sizes: Sequence[int]) -> handshake.Run:
    """What both sides of a measurement must have alike."""
    plan = handshake.digest("{} {}".format(schemas.TRANSFERS, ",".join(map(str, sizes))).encode())
    return handshake.Run(token, plan, handshake.digest(b"no network"))


def _within_s(size_bytes: int) -> float:
    return _CALL_S + size_bytes * 8 / _LEAST_BIT_S


def answer(listener: handshake.Listener, token: bytes, sizes: Sequence[int]) -> None:
    """Answers one measurement.

    A message's request number says how many bytes its answer has, which is one of the sizes, or none.
    """
    largest = max(sizes)
    memory = memoryview(bytearray(_HELD.size + largest))
    foretold = [Foretold(frames.PROBE, "uint8", (largest,), varies=True)]
    with listener.accept(run_of(token, sizes), _CALL_S)[0] as channel:
        while True:
            received = channel.receive(foretold, [memory], _within_s(largest))
            if received.headers[0].kind == frames.END:
                return
            size = received.request
            if size not in sizes and size:
                channel.fail("an answer of {} bytes is none that was agreed".format(size))
                raise FrameError("{} asks for {} bytes".format(channel.peer, size))
            _HELD.pack_into(memory, 0, monotonic_ns() - received.last_ns)
            length = _HELD.size + size
            channel.send(size, [Part(frames.ANSWER, "uint8", (length,), memory[:length])], _within_s(size))


def measure(
    target: Tuple[str, int],
    token: bytes,
    sizes: Sequence[int],
    counts: Tuple[int, int],
    time_limit_s: float,
    out: str,
    emit: "Emit",
) -> None:
    """Measures the link to a device that answers.

    Args:
        target: Where it listens.
        token: The measurement's token.
        sizes: Sizes in bytes.
        counts: Passes, and exchanges of each size and direction in a pass.
        time_limit_s: No pass is begun that would end later; three are made in any case.
        out: The folder that receives the table.
        emit: Told what goes on.

    Raises:
        InputError: A number has no use.
        DeviceError: The other device does not answer as it should.
    """
    iterations, runs = counts
    if iterations < 1 or runs < 1 or not time_limit_s >= 0:
        raise InputError("a link is measured in at least one pass with at least one exchange, in at least 0 s")
    kinds = [(way, size, run) for way in WAYS for size in sizes for run in range(runs)]
    memory = memoryview(bytearray(_HELD.size + max(sizes)))
    emit("hello", version=None, device=None, network=None, total=iterations * len(kinds))
    with handshake.connect(target[0], target[1], run_of(token, sizes), "edge", _CALL_S) as channel:
        with tables.Writer(os.path.join(out, TABLE), tables.TRANSFERS) as writer:
            began_ns = monotonic_ns()
            for iteration in range(iterations):
                passed_s = (monotonic_ns() - began_ns) / 1e9
                if iteration >= FEWEST_PASSES and passed_s * (iteration + 1) / iteration > time_limit_s:
                    emit("note", text="{} passes were made in {:.0f} s".format(iteration, passed_s))
                    break
                order = list(kinds)
                random.Random(iteration).shuffle(order)
                for _ in range(_WARMUPS):
                    for way in WAYS:
                        _exchange(channel, memory, way, _nearest(sizes, _WARMUP_BYTES))
                rows = []
                for done, (way, size, run) in enumerate(order):
                    start_ns, took_ns, held_ns = _exchange(channel, memory, way, size)
                    rows.append(
                        {
                            "iteration": iteration,
                            "run": run,
                            "direction": way,
                            "size_bytes": size,
                            "duration_s": max(took_ns - held_ns, 1) / 1e9,
                            "held_s": held_ns / 1e9,
                            "start_ns": start_ns,
                        }
                    )
                    if done % 10 == 9 or done == len(order) - 1:
                        emit("progress", done=iteration * len(kinds) + done + 1, what="{} B {}".format(size, way))
                writer.write(rows)
        _take_leave(channel, memory)


def _take_leave(channel: Channel, memory: memoryview) -> None:
    """Says that nothing more will come, and waits until the other side has heard it: then the link may go."""
    channel.end()
    with suppress(DeviceError):
        channel.receive([Foretold(frames.ANSWER, "uint8", (_HELD.size,))], [memory], _CALL_S)


def _nearest(sizes: Sequence[int], wanted: int) -> int:
    return min(sizes, key=lambda size: abs(size - wanted))


def _exchange(channel: Channel, memory: memoryview, way: str, size: int) -> Tuple[int, int, int]:
    """One exchange: when it began, what it took, and what of that the other side held it, ns."""
    there, back = (size, 0) if way == "up" else (0, size)
    length = _HELD.size + back
    foretold: List[Foretold] = [Foretold(frames.ANSWER, "uint8", (length,))]
    sent = channel.send(back, [Part(frames.PROBE, "uint8", (there,), memory[:there])], _within_s(there))
    received = channel.receive(foretold, [memory], _within_s(back))
    if received.headers[0].kind != frames.ANSWER or received.request != back:
        raise FrameError("{} ended the measurement before it was done".format(channel.peer))
    took_ns = received.last_ns - sent.first_ns
    (held_ns,) = _HELD.unpack_from(memory, 0)
    if not 0 <= held_ns <= took_ns:
        raise FrameError("{} says that it held a message longer than that took".format(channel.peer))
    return sent.first_ns, took_ns, held_ns
