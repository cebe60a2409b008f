"""A network's folder: graph.json, tensors.raw, and golden.raw, what every boundary holds for one example input."""

import hashlib
import os
from collections import OrderedDict
from typing import Dict, Iterator, NamedTuple, Sequence, Tuple

import torch

from dime.contract.errors import DeviceError, TableError
from dime.device.graphs import document as documents
from dime.device.graphs import memory
from dime.device.graphs.document import GRAPH, TENSORS, Constant, Document, size_bytes
from dime.device.graphs.program import Program, from_bytes, load_tensors, to_bytes, told

GOLDEN = "golden.raw"
# How far a boundary's values may lie from those of the torch that traced it, relative to the largest of them.
TOLERANCE = 1e-5
ALIGNED = 64

Checked = NamedTuple("Checked", [("exact", bool), ("largest", float)])
Checked.__doc__ = (
    "How a network's boundaries compare with the golden ones: equal bit for bit, and the largest difference."
)


def write(
    document: Document, tensors: Dict[str, torch.Tensor], example: Sequence[torch.Tensor], folder: str
) -> Tuple[Document, str]:
    """Writes a network's folder, whose golden values are computed from its own document.

    Args:
        document: The graph with its layers.
        tensors: Its constants, by name.
        example: One input.
        folder: An empty folder.

    Returns:
        The document as it was written, and the SHA-256 of graph.json.
    """
    constants: Dict[str, Constant] = OrderedDict()
    offset: int = 0
    with open(os.path.join(folder, TENSORS), "wb") as stream:
        for name, constant in document.constants.items():
            content = to_bytes(tensors[name])
            stream.write(b"\0" * (-offset % ALIGNED))
            offset += -offset % ALIGNED
            stream.write(content)
            constants[name] = constant._replace(offset=offset, sha256=hashlib.sha256(content).hexdigest())
            offset += len(content)
    document = document._replace(constants=constants)
    with open(os.path.join(folder, GOLDEN), "wb") as stream:
        for boundary in boundaries(Program(document, tensors), tuple(example)):
            for tensor in boundary:
                stream.write(to_bytes(tensor))
    content = documents.to_json(document)
    with open(os.path.join(folder, GRAPH), "wb") as stream:
        stream.write(content)
    return document, hashlib.sha256(content).hexdigest()


def boundaries(
    program: Program, example: Tuple[torch.Tensor, ...], watched: bool = False
) -> Iterator[Tuple[torch.Tensor, ...]]:
    """What stands at one boundary of the layers after the other, input and output included, for one input.

    Raises:
        DeviceError: ``watched``, and an operation gives something else than the document declares.
    """
    yield example
    values, first = example, 0
    for layer in program.document.layers:
        part = program.part(first, layer.last)
        with torch.no_grad():
            output = (part.watched() if watched else part.ready())(values)
        values = output if isinstance(output, tuple) else (output,)
        yield tuple(tensor.clone() for tensor in values)
        first = layer.last + 1


def golden(document: Document, folder: str) -> Iterator[Tuple[torch.Tensor, ...]]:
    """Reads one golden boundary after the other.

    Raises:
        TableError: The file is missing or does not have the size that the document foretells.
    """
    live, path = document.live(), os.path.join(folder, GOLDEN)
    places = [live[0]] + [live[layer.last + 1] for layer in document.layers]
    try:
        if os.path.getsize(path) != sum(document.boundary_bytes(place) for place in places):
            raise TableError("{} has not the size of the network's boundaries".format(path))
        with open(path, "rb") as stream:
            for place in places:
                yield tuple(
                    from_bytes(stream.read(size_bytes(value)), value.shape, value.dtype)
                    for value in (document.values[number] for number in place)
                )
    except EnvironmentError as error:
        raise TableError("{}: {}".format(path, error.strerror))


def load(folder: str) -> Tuple[Program, str]:
    """Reads a network's folder and makes it ready to run.

    Returns:
        The program and the SHA-256 of graph.json.

    Raises:
        TableError: A file is missing or damaged.
        DeviceError: This torch lacks an operation, or the network needs more memory than is free.
    """
    document, digest = documents.read(folder)
    memory.check(document)
    return Program(document, load_tensors(document, folder)), digest


def check(program: Program, folder: str) -> Checked:
    """Runs the network on its golden input and compares every boundary, in bounded memory.

    Raises:
        DeviceError: A layer gives something else here than where it was traced; the message names it.
    """
    with memory.bounded(program.document):
        return _check(program, folder)


def _check(program: Program, folder: str) -> Checked:
    exact, largest = True, 0.0
    example = next(golden(program.document, folder))
    both = zip(boundaries(program, example, watched=True), golden(program.document, folder))
    for number, (ours, theirs) in enumerate(both):
        where = "layer {}".format(program.document.layers[number - 1].name) if number else "the input"
        for one, other in zip(ours, theirs):
            if one.shape != other.shape or one.dtype != other.dtype:
                raise DeviceError(
                    "{} gives {} here, not {}".format(where, told(one.shape, one.dtype), told(other.shape, other.dtype))
                )
            if torch.equal(one, other):
                continue
            exact = False
            difference = _difference(one, other)
            largest = max(largest, difference)
            if not difference <= TOLERANCE:
                raise DeviceError(
                    "{} gives other values here than where it was traced: they differ by {:.2g} of the largest".format(
                        where, difference
                    )
                )
    return Checked(exact, largest)


def _difference(one: torch.Tensor, other: torch.Tensor) -> float:
    """The largest difference, relative to the largest value; equal infinities do not differ."""
    one, other = one.double(), other.double()
    same = (one == other) | (torch.isnan(one) & torch.isnan(other))
    apart = torch.where(same, torch.zeros_like(one), (one - other).abs())
    scale = other[torch.isfinite(other)].abs().max().item() if bool(torch.isfinite(other).any()) else 1.0
    return float(apart.max().item()) / (scale or 1.0)
