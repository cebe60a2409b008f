"""A network's folder: graph.json, tensors.raw, and golden.raw, what every boundary holds for one example input."""

import hashlib
import os
from collections import OrderedDict
from typing import NamedTuple

import torch

from dime.contract.errors import DeviceError, TableError
from dime.device.graphs import document as documents
from dime.device.graphs.document import GRAPH, TENSORS, size_bytes
from dime.device.graphs.program import Program, from_bytes, load_tensors, to_bytes

GOLDEN = "golden.raw"
# How far a boundary's values may lie from those of the torch that traced it, relative to the largest of them.
TOLERANCE = 1e-5
ALIGNED = 64

Checked = NamedTuple("Checked", [("exact", bool), ("largest", float)])
Checked.__doc__ = (
    "How a network's boundaries compare with the golden ones: equal bit for bit, and the largest difference."
)


def write(document, tensors, example, folder):  # type: (Document, Dict[str, Any], Sequence[Any], str) -> Tuple[Document, str]
    """Writes a network's folder, whose golden values are computed from its own document.

    Args:
        document: The graph with its layers.
        tensors: Its constants, by name.
        example: One input.
        folder: An empty folder.

    Returns:
        The document as it was written, and the SHA-256 of graph.json.
    """
    constants, offset = OrderedDict(), 0  # type: Dict[str, Constant], int
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


def boundaries(program, example):  # type: (Program, Tuple[Any, ...]) -> List[Tuple[Any, ...]]
    """What stands at every boundary of the layers, input and output included, for one input."""
    found, values, first = [example], example, 0
    with torch.no_grad():
        for layer in program.document.layers:
            output = program.part(first, layer.last)(values)
            values = output if isinstance(output, tuple) else (output,)
            found.append(tuple(tensor.clone() for tensor in values))
            first = layer.last + 1
    return found


def golden(document, folder):  # type: (Document, str) -> List[Tuple[Any, ...]]
    """Reads the golden boundaries.

    Raises:
        TableError: The file is missing or does not have the size that the document foretells.
    """
    live, path = document.live(), os.path.join(folder, GOLDEN)
    places = [live[0]] + [live[layer.last + 1] for layer in document.layers]
    try:
        if os.path.getsize(path) != sum(document.boundary_bytes(place) for place in places):
            raise TableError("{} has not the size of the network's boundaries".format(path))
        with open(path, "rb") as stream:
            return [
                tuple(
                    from_bytes(stream.read(size_bytes(value)), value.shape, value.dtype)
                    for value in (document.values[number] for number in place)
                )
                for place in places
            ]
    except EnvironmentError as error:
        raise TableError("{}: {}".format(path, error.strerror))


def load(folder):  # type: (str) -> Tuple[Program, str]
    """Reads a network's folder and makes it ready to run.

    Returns:
        The program and the SHA-256 of graph.json.

    Raises:
        TableError: A file is missing or damaged.
        DeviceError: This torch lacks an operation.
    """
    document, digest = documents.read(folder)
    return Program(document, load_tensors(document, folder)), digest


def check(program, folder):  # type: (Program, str) -> Checked
    """Runs the network on its golden input and compares every boundary.

    Raises:
        DeviceError: A layer gives something else here than where it was traced; the message names it.
    """
    expected = golden(program.document, folder)
    exact, largest = True, 0.0
    found = boundaries(program, expected[0])
    for number, (ours, theirs) in enumerate(zip(found, expected)):
        where = "layer {}".format(program.document.layers[number - 1].name) if number else "the input"
        for one, other in zip(ours, theirs):
            if one.shape != other.shape or one.dtype != other.dtype:
                raise DeviceError("{} gives {} here, not {}".format(where, _what(one), _what(other)))
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


def _what(tensor):  # type: (Any) -> str
    return "{} of {}".format(str(tensor.dtype).rsplit(".", 1)[-1], "x".join(map(str, tensor.shape)) or "a number")


def _difference(one, other):  # type: (Any, Any) -> float
    """The largest difference, relative to the largest value; equal infinities do not differ."""
    one, other = one.double(), other.double()
    same = (one == other) | (torch.isnan(one) & torch.isnan(other))
    apart = torch.where(same, torch.zeros_like(one), (one - other).abs())
    scale = other[torch.isfinite(other)].abs().max().item() if bool(torch.isfinite(other).any()) else 1.0
    return float(apart.max().item()) / (scale or 1.0)
