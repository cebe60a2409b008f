"""What one device computes of a plan: its bundles, at their clocks, with stamps on its own monotonic clock."""

import ctypes
import hashlib
import math
from collections import OrderedDict
from contextlib import contextmanager
from typing import TYPE_CHECKING, Callable, ContextManager, Dict, Iterator, List, Optional, Sequence, Tuple

import torch

from dime.contract.bundles import Bundle, spell
from dime.contract.errors import InputError
from dime.contract.stages import digest_of
from dime.contract.timebase import monotonic_ns
from dime.device import boards, encodings
from dime.device import processor as processors

if TYPE_CHECKING:
    from dime.contract.stages import Step
    from dime.device.boards import Board
    from dime.device.networks import Crossing
    from dime.device.samples import Samples
    from dime.device.timings import Network

Tensors = Tuple[torch.Tensor, ...]
Trips = Tuple[Tuple[int, str], ...]  # boundaries that are encoded, and how

# Largest difference from what was profiled, as a part of the largest value, that another processor or torch may make.
TOLERANCES = {"float64": 1e-6, "float32": 1e-3, "float16": 3e-2, "bfloat16": 2e-1}
STEPS = {"float16": 2**-10, "uint8": 1 / 255}  # what an encoding rounds may come out one step away
JPEG_STEPS = 2 / 255  # rounded twice
CLASS_BYTES = 4
_UNKNOWN_HZ = 0  # no clock that a step asks for


class Work(object):
    """A loaded network on this device.

    Args:
        network: The network.
        samples: The feature maps that were profiled.
        board: The board's name and module.
        chosen: What it runs on.
        root: Where the board's sysfs is found.
        ledger: A file in which the board notes what it is about to change.

    Attributes:
        checked: (plan, encodings, picture) -> the classes of a result that was checked, where devices do not compute
            the same bits.
    """

    def __init__(
        self,
        network: "Network",
        samples: "Samples",
        board: "Tuple[str, Board]",
        chosen: processors.Processor,
        root: str = "/",
        ledger: Optional[str] = None,
    ) -> None:
        network.place(chosen)
        self.network, self.samples = network, samples
        self._board, self._chosen, self._root, self._ledger = board, chosen, root, ledger
        self._clock: Optional[ContextManager[Callable[[], List[int]]]] = None
        self._hz = -1
        self._maps: Dict[int, Dict[str, Tensors]] = {}
        self._results: Dict[Trips, List[Tensors]] = {}
        self._weights_sha256 = ""
        self.checked: Dict[Tuple[str, Trips, int], List[int]] = {}

    @property
    def layers(self) -> Sequence[str]:
        """The network's layers."""
        return self.network.layers

    @property
    def weights_sha256(self) -> str:
        """SHA-256 over all parameters, in order: the same in every version of torch."""
        if not self._weights_sha256:
            self._weights_sha256 = weights_digest(self.network)
        return self._weights_sha256

    def boundary(self, layer: int) -> "Sequence[Crossing]":
        """Shape and dtype of what enters a layer, or leaves the last one."""
        return self.network.boundary(layer)

    def pictures(self) -> "Dict[str, Tensors]":
        """The network's inputs that were profiled, by name."""
        return self.maps(0)

    def results(self, trips: Trips = (), count: int = 0) -> List[Tensors]:
        """The whole network's result here, for each picture.

        Args:
            trips: Boundaries at which what is there is encoded and decoded again, in order, and how.
            count: How many pictures, the first ones; 0 for all.
        """
        pictures = list(self.pictures().values())
        count = min(count or len(pictures), len(pictures))
        found = self._results.setdefault(trips, [])
        if len(found) < count:
            self.set_clock(-1)  # nobody times it
        for tensors in pictures[len(found) : count]:
            found.append(self._result(tensors, trips))
        return found[:count]

    def _result(self, tensors: Tensors, trips: Trips) -> Tensors:
        first, last = 0, len(self.layers) - 1
        placed, _ = self.place(tuple(tensor.clone() for tensor in tensors))  # a layer may work in place
        for boundary, encoding in trips:
            if boundary > first:
                placed = self.run(Bundle(first, boundary - 1), placed)[0]
            data, _ = self.encode(boundary, encoding, self.fetch(placed)[0])
            placed, _ = self.place(self.decode(boundary, encoding, data)[0])
            first = boundary
        return self.fetch(self.run(Bundle(first, last), placed)[0])[0]

    def encoded_bytes(self, boundary: int, encoding: str) -> List[Optional[int]]:
        """Bytes of each tensor at a boundary once it is encoded; None where that depends on what is in it.

        Raises:
            InputError: The encoding is for pictures, and there are none.
        """
        return [
            encodings.length(encoding, value.shape, getattr(torch, value.dtype), self._levels(boundary))
            for value in self.boundary(boundary)
        ]

    def encode(self, boundary: int, encoding: str, tensors: Tensors) -> Tuple[List[bytes], int]:
        """Encodes what crosses at a boundary, as a profile measured it; gives the ns that this took."""
        levels = self._levels(boundary)

        def run(several: Tensors) -> List[bytes]:
            return [encodings.encode(tensor, encoding, levels) for tensor in several]

        start_ns = monotonic_ns()
        found = boards.slowed(self._board[1], run, self._hz)(tensors)
        return found, monotonic_ns() - start_ns

    def decode(self, boundary: int, encoding: str, data: Sequence[encodings.Data]) -> Tuple[Tensors, int]:
        """Decodes what came at a boundary; gives the ns that this took.

        Raises:
            InputError: It is not what the encoding makes of such tensors.
        """
        levels, values = self._levels(boundary), self.boundary(boundary)

        def run(several: Sequence[encodings.Data]) -> Tensors:
            return tuple(
                encodings.decode(one, encoding, value.shape, getattr(torch, value.dtype), levels)
                for one, value in zip(several, values)
            )

        start_ns = monotonic_ns()
        found = boards.slowed(self._board[1], run, self._hz)(data)
        return found, monotonic_ns() - start_ns

    def _levels(self, boundary: int) -> Optional[encodings.Levels]:
        return encodings.levels_of(self.samples.manifest) if boundary == 0 else None

    def maps(self, boundary: int) -> Dict[str, Tensors]:
        """The profiled tensors at a boundary, by picture."""
        if boundary not in self._maps:
            found = self.samples.maps(self.layers[boundary], self.boundary(boundary))
            self._maps[boundary] = OrderedDict(
                (name, tuple(tensor.contiguous() for tensor in tensors)) for name, tensors in found.items()
            )
        return self._maps[boundary]

    def facts(self) -> Dict[str, object]:
        """What decides whether two devices compute the same bits."""
        return {
            "versions": processors.versions(),
            "processor": self._chosen.name,
            "model": _processor_model(),
            "threads": torch.get_num_threads(),
            "pillow": _pillow(),
            "weights_sha256": self.weights_sha256,
        }

    def check_clocks(self, steps: "Sequence[Step]") -> None:
        """Sets each clock that these steps ask for once.

        Raises:
            DeviceError: One cannot be set here.
        """
        for hertz in sorted(set(step.frequency_hz for step in steps)):
            self.set_clock(hertz)

    def set_clock(self, frequency_hz: int) -> int:
        """Fixes a clock, if it is another than now; gives the ns that this took.

        From one frequency to another a board is moved, where it says how: what a profile timed (`settling`).

        Raises:
            DeviceError: It cannot be set here.
        """
        if frequency_hz == self._hz:
            return 0
        start_ns = monotonic_ns()
        move = getattr(self._board[1], "move", None)
        if move is not None and self._clock is not None and frequency_hz != -1:
            self._hz = _UNKNOWN_HZ  # unless it gets there
            move(frequency_hz, self._root)
            self._hz = frequency_hz
            return monotonic_ns() - start_ns
        self.free_clock()
        if frequency_hz != -1:
            clock = self._board[1].fixed(frequency_hz, self._root, self._ledger)
            clock.__enter__()
            self._clock, self._hz = clock, frequency_hz
        return monotonic_ns() - start_ns

    def free_clock(self) -> None:
        """Puts the board's clocks back."""
        clock, self._clock, self._hz = self._clock, None, -1
        if clock is not None:
            clock.__exit__(None, None, None)

    def place(self, tensors: Tensors) -> Tuple[processors.Tensors, int]:
        """Brings tensors to where the network runs; gives the ns that this took: 0 on a CPU, where they are already."""
        start_ns = monotonic_ns()
        placed = tuple(self._chosen.place(tensor) for tensor in tensors)
        self._wait()
        return placed[0] if len(placed) == 1 else placed, self._copied_ns(start_ns)

    def fetch(self, tensors: processors.Tensors) -> Tuple[Tensors, int]:
        """Brings tensors into this computer's memory, contiguous; gives the ns that this took, 0 on a CPU."""
        start_ns = monotonic_ns()
        fetched = tuple(tensor.detach().to("cpu").contiguous() for tensor in processors.as_tuple(tensors))
        return fetched, self._copied_ns(start_ns)

    def run(self, bundle: Bundle, tensors: processors.Tensors) -> Tuple[processors.Tensors, int, int, int]:
        """Runs a bundle once; gives its output, the ns that it computed, and start and end."""
        timed = boards.slowed(self._board[1], self.network.module(bundle), self._hz)
        with torch.inference_mode():
            done = self._chosen.burst(timed, tensors)
        output: processors.Tensors = done.output
        return output, int(round(done.duration_s * 1e9)), done.start_ns, done.end_ns

    def differs(self, boundary: int, picture: str, tensors: processors.Tensors) -> Optional[float]:
        """How far tensors are from those that were profiled, as a part of the largest; None where none were."""
        if boundary >= len(self.layers) or picture not in self.maps(boundary):
            return None
        found, _ = self.fetch(tensors)
        return distance(found, self.maps(boundary)[picture])

    def differs_alone(self, bundle: Bundle, picture: str) -> Optional[float]:
        """How far a bundle's result of what was profiled is from what was profiled; None where nothing was."""
        if bundle.last + 1 >= len(self.layers) or picture not in self.maps(bundle.first):
            return None
        placed, _ = self.place(tuple(tensor.clone() for tensor in self.maps(bundle.first)[picture]))
        return self.differs(bundle.last + 1, picture, self.run(bundle, placed)[0])

    def spell(self, bundle: Bundle) -> str:
        """A bundle's name."""
        return spell(bundle, self.layers)

    def _copied_ns(self, start_ns: int) -> int:
        """How long copying took; on a CPU nothing is copied, and what it takes to look is the stage's own time."""
        return 0 if self._chosen.name == "cpu" else monotonic_ns() - start_ns

    def _wait(self) -> None:
        if self._chosen.name == "cuda":
            torch.cuda.synchronize()


def weights_digest(network: "Network") -> str:
    """SHA-256 over all parameters and buffers of a network, layer by layer: the same in every version of torch."""
    found = hashlib.sha256()
    for number in range(len(network.layers)):
        module = network.module(Bundle(number, number))
        for tensor in list(module.parameters()) + list(module.buffers()):
            kept = tensor.detach().to("cpu").contiguous()
            found.update("{} {};".format(tuple(kept.shape), str(kept.dtype)).encode())
            found.update(view(kept))
    return found.hexdigest()


def view(tensor: torch.Tensor) -> memoryview:
    """A contiguous tensor's own memory as bytes, whatever its dtype; nothing is copied."""
    if not tensor.is_contiguous() or tensor.device.type != "cpu":
        raise ValueError("only a contiguous tensor in this computer's memory has a view")
    count = tensor.numel() * tensor.element_size()
    if not count:
        return memoryview(b"")
    held = (ctypes.c_ubyte * count).from_address(tensor.data_ptr())
    held.tensor = tensor  # type: ignore[attr-defined]  # which lives as long as its view
    return memoryview(held).cast("B")


def classes(tensors: Tensors, batch: int) -> List[int]:
    """The class of each input of a batch: the place of the largest value of the first output."""
    rows = tensors[0].reshape(batch, -1) if tensors[0].numel() % batch == 0 else tensors[0].reshape(1, -1)
    found: List[int] = rows.float().argmax(1).tolist()
    return found


def distance(found: Sequence[torch.Tensor], expected: Sequence[torch.Tensor]) -> float:
    """Largest difference of two lists of tensors, as a part of the largest value; inf where they do not fit."""
    if [tuple(one.shape) for one in found] != [tuple(one.shape) for one in expected]:
        return math.inf
    most = 0.0
    for one, other in zip(found, expected):
        if not one.numel() or torch.equal(one, other):
            continue
        largest = float(other.double().abs().max()) or 1.0
        far = float((one.double() - other.double()).abs().max()) / largest
        most = max(most, math.inf if math.isnan(far) else far)
    return most


def tolerance(values: "Sequence[Crossing]", trips: Trips = ()) -> float:
    """How far what crosses a boundary may differ between two devices that do not compute the same bits.

    Args:
        values: What crosses.
        trips: What was encoded on the way, and how: each may have been rounded to the next step.
    """
    most = max([TOLERANCES.get(value.dtype, 0.0) for value in values] or [0.0])
    return most + sum(STEPS.get(encoding, JPEG_STEPS) for _, encoding in trips)


def _pillow() -> str:
    """The version of what encodes and decodes pictures; empty where there is none."""
    try:
        import PIL
    except ImportError:
        return ""
    return PIL.__version__


def _processor_model() -> str:
    try:
        with open("/proc/cpuinfo") as stream:
            for line in stream:
                name, _, value = line.partition(":")
                if name.strip() in ("model name", "Hardware", "CPU part"):
                    return value.strip()[:100]
    except EnvironmentError:
        pass
    return ""


def check_same(work: Work, weights: str, samples: str) -> None:
    """Makes sure that network and feature maps are those that were profiled.

    Raises:
        InputError: They are others.
    """
    if samples and work.samples.label != samples:
        raise InputError(
            "the feature maps here are others than those that were profiled: their hash is {}, not {}".format(
                work.samples.label[:12], samples[:12]
            )
        )
    if weights and work.network.weights != weights:
        raise InputError(
            "the weights here are others than those that were profiled: {}, not {}".format(
                work.network.weights, weights
            )
        )


@contextmanager
def freed(work: Work) -> Iterator[None]:
    """Puts the board's clocks back on every way out."""
    try:
        yield
    finally:
        work.free_clock()


def network_digest(network: "Network", samples: "Samples") -> bytes:
    """SHA-256 of what tells a network that was profiled from any other: its name, weights, document, feature maps."""
    return digest_of(network.name, network.weights, getattr(network, "digest", None), samples.label)
