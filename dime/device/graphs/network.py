"""A traced network as the profiler takes networks: named layers, any bundle of them as one module."""

from typing import TYPE_CHECKING, Dict, List, Tuple

from dime.contract.bundles import Bundle
from dime.contract.errors import DeviceError, DimeError
from dime.device.graphs import files
from dime.device.graphs.document import size_bytes

if TYPE_CHECKING:
    from dime.contract.messages import Emit
    from dime.device.graphs.document import Value
    from dime.device.graphs.program import Part, Program
    from dime.device.processor import Processor


class GraphNetwork(object):
    """A network's document, ready to be measured; the counterpart of `dime.device.networks.Network`.

    Args:
        program: The program.
        weights: Where the weights came from.
        digest: SHA-256 of graph.json.
    """

    def __init__(self, program: "Program", weights: str, digest: str) -> None:
        self.name = program.document.name
        self.layers = [layer.name for layer in program.document.layers]
        self.weights = weights
        self.digest = digest
        self._program = program
        self._parts: Dict[Tuple[int, int], Part] = {}

    def place(self, chosen: "Processor") -> None:
        """Moves all tensors to where they run."""
        self._parts.clear()
        self._program.move(chosen.place)

    @property
    def batch(self) -> int:
        """Inputs that are computed at once: the first length of every input, where it is the same."""
        first = set((value.shape or (1,))[0] for value in self.boundary(0))
        return first.pop() if len(first) == 1 else 1

    def module(self, bundle: Bundle) -> "Part":
        """The layers of a bundle as one module; nothing is copied."""
        key = bundle.first, bundle.last
        if key not in self._parts:
            layers = self._program.document.layers
            first = layers[bundle.first - 1].last + 1 if bundle.first else 0
            self._parts[key] = self._program.part(first, layers[bundle.last].last).ready()
        return self._parts[key]

    def boundary(self, layer: int) -> "List[Value]":
        """The values (shape, dtype) that enter a layer, or leave the last one."""
        document = self._program.document
        node = document.layers[layer - 1].last + 1 if layer else 0
        return [document.values[number] for number in self._program.place(node)]

    def layer_bytes(self) -> List[int]:
        """Memory that each layer takes where it runs: its constants, and what enters it."""
        held = []
        for number in range(len(self.layers)):
            constants = self.module(Bundle(number, number)).buffers()
            entering = sum(size_bytes(value) for value in self.boundary(number))
            held.append(sum(tensor.numel() * tensor.element_size() for tensor in constants) + entering)
        return held


def load(folder: str, weights: str, emit: "Emit") -> GraphNetwork:
    """Loads a network's document and checks on golden values that it computes here what it computed where it was made.

    Raises:
        TableError: A file is missing or damaged.
        DeviceError: This torch lacks an operation, or computes something else.
    """
    program, digest = files.load(folder)
    try:
        found = files.check(program, folder)
    except DimeError:
        raise
    except Exception as error:  # a document may ask an operation for anything
        raise DeviceError("the network {} does not run here: {}".format(program.document.name, _line(error)))
    if not found.exact:
        emit("note", text="its boundaries equal those of the torch that traced it within {:.1g}".format(found.largest))
    return GraphNetwork(program, weights, digest)


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
