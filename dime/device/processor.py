"""What a network runs on: the GPU if a kernel really launches there, else the CPU; and how runs are timed on each."""

import importlib.util
import math
import os
import platform
import random
import re
import sys
from typing import TYPE_CHECKING, Callable, Dict, Generic, NamedTuple, Optional, Tuple, TypeVar, Union

import torch

from dime import __version__
from dime.contract.errors import DeviceError, unknown
from dime.contract.timebase import monotonic_ns

if TYPE_CHECKING:
    from dime.contract.messages import Emit
    from dime.device.boards import Board

Tensors = Union[torch.Tensor, Tuple[torch.Tensor, ...]]
Runs = Callable[[Tensors], Tensors]
Placed = TypeVar("Placed", torch.nn.Module, torch.Tensor)

Moment = TypeVar("Moment")

KNOWN = ("auto", "cuda", "cpu")

Burst = NamedTuple(
    "Burst",
    [
        ("repeats", int),
        ("duration_s", float),
        ("start_ns", int),
        ("end_ns", int),
        ("output", Tensors),
        ("single_s", float),
    ],
)
Burst.__doc__ = """Runs of a module: their number, the seconds of one on average, start and end in ns of the monotonic
clock, the last output, and the seconds of one run alone that was drawn evenly from them.
"""


def choose(asked: str, emit: "Emit", remedy: Optional[str] = None) -> "Processor":
    """Picks the processor.

    Args:
        asked: ``auto``, ``cuda`` or ``cpu``.
        emit: Called with a message's kind and fields; told why a GPU that is there cannot be used.
        remedy: What to do about that, on a board that is measured for its GPU: there it is an error.

    Returns:
        Cuda or Cpu.

    Raises:
        InputError: Neither of these.
        DeviceError: cuda was asked for and cannot be used; or the GPU is there, cannot be used, and has a remedy.
    """
    if asked not in KNOWN:
        raise unknown("processor", asked, KNOWN)
    if asked == "cpu":
        return Cpu()
    usable, reason = probe()
    if usable:
        return Cuda()
    if reason and remedy:
        raise DeviceError("{}; {}".format(reason, remedy))
    if asked == "cuda":
        raise DeviceError(reason or "torch {} sees no GPU here; use --processor cpu".format(torch.__version__))
    if reason:
        emit("warning", text=reason + "; using the CPU")
    return Cpu()


def probe() -> Tuple[bool, Optional[str]]:
    """Launches a kernel on the GPU.

    Returns:
        tuple: Whether it ran, and if not, why; the reason is None where torch sees no GPU at all.
    """
    if not torch.cuda.is_available():
        return False, None
    try:
        if (torch.ones(2, device="cuda") + 1).sum().item() == 4:
            return True, None
        failure = "it computed nonsense"
    except RuntimeError as error:
        failure = str(error).strip().splitlines()[0]
    return False, "the GPU is {}, torch {} holds kernels for {}: {}".format(
        gpu(), torch.__version__, " ".join(torch.cuda.get_arch_list()), failure
    )


def gpu() -> str:
    """The first GPU's kind, such as ``sm_53``."""
    return "sm_{}{}".format(*torch.cuda.get_device_capability())


def advice(board: "Board") -> Optional[str]:
    """What to do on a board whose GPU runs no kernel of this torch; None where the CPU will do."""
    return getattr(board, "WITHOUT_KERNELS", None)


def versions() -> Dict[str, Optional[str]]:
    """Versions of everything that a measured time may depend on; torchvision's is read without importing it.

    Returns:
        dict: Version by name; None for what is not installed.
    """
    found = importlib.util.find_spec("torchvision")
    torchvision = None
    if found is not None and found.origin:
        with open(os.path.join(os.path.dirname(found.origin), "version.py")) as stream:
            torchvision = re.findall(r"__version__\s*=\s*['\"]([^'\"]+)", stream.read())[0]
    return {
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "torchvision": torchvision,
        "dime": __version__,
    }


class Cpu(object):
    """Runs on the CPU, timed by the monotonic clock."""

    name = "cpu"

    def place(self, thing: Placed) -> Placed:
        """Moves a module or a tensor to where it runs."""
        return thing.to("cpu")

    def burst(self, module: Runs, tensor: Tensors, window_s: float = 0.0) -> Burst:
        """Runs a module once, or back to back until a window is full.

        Args:
            module: The module.
            tensor: Its input.
            window_s: Least length of the window, s; 0 for one run.
        """
        drawn, more = _Drawn(monotonic_ns, lambda start, end: (end - start) * 1e-9, window_s > 0), 1
        start_ns = monotonic_ns()
        while True:
            output = drawn.run(module, tensor, more)
            end_ns = monotonic_ns()
            span_s = (end_ns - start_ns) * 1e-9
            if span_s >= window_s:
                duration_s = span_s / drawn.runs
                return Burst(drawn.runs, duration_s, start_ns, end_ns, output, drawn.single_s(duration_s))
            more = _missing(window_s, span_s, drawn.runs)

    def copies_s(self, tensor: Tensors, output: Tensors) -> Tuple[float, float]:
        """Seconds that it takes to bring an input to where it is computed, and the output back: none."""
        return 0.0, 0.0


class Cuda(object):
    """Runs on the first GPU, timed by its own events; the window's edges are the host's, with the GPU idle at both."""

    name = "cuda"

    def place(self, thing: Placed) -> Placed:
        """Moves a module or a tensor to where it runs."""
        return thing.to("cuda")

    def burst(self, module: Runs, tensor: Tensors, window_s: float = 0.0) -> Burst:
        """As `Cpu.burst`; the seconds are those between two events on the GPU."""
        drawn, more = _Drawn(_event, _between_s, window_s > 0), 1
        torch.cuda.synchronize()
        start_ns = monotonic_ns()
        first = _event()
        while True:
            output = drawn.run(module, tensor, more)
            last = _event()
            torch.cuda.synchronize()
            end_ns = monotonic_ns()
            span_s = (end_ns - start_ns) * 1e-9
            if span_s >= window_s:
                duration_s = _between_s(first, last) / drawn.runs
                return Burst(drawn.runs, duration_s, start_ns, end_ns, output, drawn.single_s(duration_s))
            more = _missing(window_s, span_s, drawn.runs)

    def copies_s(self, tensor: Tensors, output: Tensors) -> Tuple[float, float]:
        """Seconds that it takes to copy an input from the host's memory to the GPU's, and an output back.

        Args:
            tensor: The input, on the GPU.
            output: The output, on the GPU.
        """
        inside = [one.cpu() for one in as_tuple(tensor)]
        torch.cuda.synchronize()
        edges = [_event()]
        for one in inside:
            one.to("cuda")
        edges.append(_event())
        for one in as_tuple(output):
            one.cpu()
        edges.append(_event())
        torch.cuda.synchronize()
        return _between_s(edges[0], edges[1]), _between_s(edges[1], edges[2])


def _event() -> torch.cuda.Event:
    """A moment on the GPU: now, behind all that it was told to do."""
    event = torch.cuda.Event(enable_timing=True)
    event.record()
    return event


def _between_s(start: torch.cuda.Event, end: torch.cuda.Event) -> float:
    return float(start.elapsed_time(end)) * 1e-3


def as_tuple(tensors: Tensors) -> Tuple[torch.Tensor, ...]:
    """What crosses a boundary as a tuple: one tensor, or several."""
    return tensors if isinstance(tensors, tuple) else (tensors,)


def own(tensors: Tensors) -> Tensors:
    """A copy of what enters a layer, which may work in place."""
    copied = tuple(one.clone() for one in as_tuple(tensors))
    return copied if len(copied) > 1 else copied[0]


def size_bytes(tensors: Tensors) -> int:
    """Bytes of what crosses a boundary."""
    return sum(tensor.numel() * tensor.element_size() for tensor in as_tuple(tensors))


class _Drawn(Generic[Moment]):
    """Runs back to back, of which one, drawn evenly from however many they become, is timed by itself.

    Args:
        now: Gives a moment.
        between_s: Seconds between two of them.
        draws: Whether one is to be drawn.
    """

    _chance = random.Random(0)

    def __init__(self, now: "Callable[[], Moment]", between_s: "Callable[[Moment, Moment], float]", draws: bool):
        self._now, self._between_s = now, between_s
        self._next = 0 if draws else sys.maxsize
        self._edges: "Optional[Tuple[Moment, Moment]]" = None
        self.runs = 0

    def run(self, module: Runs, tensor: Tensors, more: int) -> Tensors:
        """Runs a module so many times more; gives the last output."""
        until = self.runs + more
        while self.runs < until:
            before = min(self._next, until)
            for _ in range(before - self.runs):
                output = module(tensor)
            self.runs = before
            if before < until:
                start = self._now()
                output = module(tensor)
                self._edges = start, self._now()
                self.runs += 1
                # Of n runs the next takes the place of the one drawn with the chance 1 / (n + 1), and so on.
                self._next = int(self.runs / (1.0 - self._chance.random()))
        return output

    def single_s(self, mean_s: float) -> float:
        """Seconds of the run that was drawn; the mean where it is the only one, or too short for the clock."""
        return self._between_s(*self._edges) or mean_s if self._edges and self.runs > 1 else mean_s


Processor = Union[Cpu, Cuda]


def _missing(window_s: float, span_s: float, repeats: int) -> int:
    """Runs that are likely to fill what is left of a window."""
    return max(1, int(math.ceil((window_s - span_s) * repeats / span_s))) if span_s > 0 else 2 * repeats
