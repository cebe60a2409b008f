"""What a network runs on: the GPU if a kernel really launches there, else the CPU; and how runs are timed on each."""

import importlib.util
import math
import os
import platform
import re
from typing import TYPE_CHECKING, Callable, Dict, Optional, Tuple, TypeVar, Union

import torch

from dime import __version__
from dime.contract.clock import monotonic_ns
from dime.contract.errors import DeviceError, unknown

if TYPE_CHECKING:
    from dime.contract.messages import Emit
    from dime.device.boards import Board

Tensors = Union[torch.Tensor, Tuple[torch.Tensor, ...]]
Runs = Callable[[Tensors], Tensors]
Placed = TypeVar("Placed", torch.nn.Module, torch.Tensor)

KNOWN = ("auto", "cuda", "cpu")


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

    def burst(self, module: Runs, tensor: Tensors, window_s: float = 0.0) -> Tuple[int, float, int, int, Tensors]:
        """Runs a module once, or back to back until a window is full.

        Args:
            module: The module.
            tensor: Its input.
            window_s: Least length of the window, s; 0 for one run.

        Returns:
            tuple: Runs, seconds of one run, start and end in ns of the monotonic clock, and the last output.
        """
        repeats, more = 0, 1
        start_ns = monotonic_ns()
        while True:
            for _ in range(more):
                output = module(tensor)
            end_ns = monotonic_ns()
            repeats += more
            span_s = (end_ns - start_ns) * 1e-9
            if span_s >= window_s:
                return repeats, span_s / repeats, start_ns, end_ns, output
            more = _missing(window_s, span_s, repeats)


class Cuda(object):
    """Runs on the first GPU, timed by its own events; the window's edges are the host's, with the GPU idle at both."""

    name = "cuda"

    def place(self, thing: Placed) -> Placed:
        """Moves a module or a tensor to where it runs."""
        return thing.to("cuda")

    def burst(self, module: Runs, tensor: Tensors, window_s: float = 0.0) -> Tuple[int, float, int, int, Tensors]:
        """As `Cpu.burst`; the seconds are those between two events on the GPU."""
        repeats, more = 0, 1
        first, last = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        torch.cuda.synchronize()
        start_ns = monotonic_ns()
        first.record()
        while True:
            for _ in range(more):
                output = module(tensor)
            last.record()
            torch.cuda.synchronize()
            end_ns = monotonic_ns()
            repeats += more
            span_s = (end_ns - start_ns) * 1e-9
            if span_s >= window_s:
                return repeats, first.elapsed_time(last) * 1e-3 / repeats, start_ns, end_ns, output
            more = _missing(window_s, span_s, repeats)


Processor = Union[Cpu, Cuda]


def _missing(window_s: float, span_s: float, repeats: int) -> int:
    """Runs that are likely to fill what is left of a window."""
    return max(1, int(math.ceil((window_s - span_s) * repeats / span_s))) if span_s > 0 else 2 * repeats
