"""Inputs that a person has as tensors: a folder of .pt and .npy files, one a sample.

A sample NAME is ``NAME.pt`` or ``NAME.npy``; of a network with several inputs ``NAME.0.pt``, ``NAME.1.npy``, ... A file
has the input's shape, or that without the batch in front: then as many samples as the batch has are put together.
"""

import hashlib
import os
import re
from typing import TYPE_CHECKING, Dict, List, Sequence, Tuple

import torch

from dime.contract.errors import DimeError, InputError
from dime.contract.files import digest
from dime.device import tensor_files
from dime.device.graphs.document import LARGEST_VALUE_BYTES
from dime.device.graphs.program import from_bytes, told

if TYPE_CHECKING:
    from dime.contract.messages import Emit
    from dime.device.graphs.sources import Source

ENDINGS = (".npy", ".pt")
MOST = 200
MAGIC = b"\x93NUMPY"
LARGEST_HEADER = 10000
KINDS = {
    "f2": "float16", "f4": "float32", "f8": "float64", "u1": "uint8", "i1": "int8", "i2": "int16", "i4": "int32",
    "i8": "int64", "b1": "bool",
}  # fmt: skip


def files(folder: str) -> List[str]:
    """The names of a folder's files of tensors, in order."""
    try:
        return sorted(name for name in os.listdir(folder) if name.endswith(ENDINGS) and not name.startswith("."))
    except EnvironmentError:
        return []


def describe(folder: str) -> str:
    """Names a folder of tensors so that equal names mean equal tensors."""
    found = hashlib.sha256()
    for name in files(folder):
        found.update("{} {}\n".format(name, digest(os.path.join(folder, name))).encode("utf-8", "replace"))
    return "tensors {}".format(found.hexdigest()[:12])


def load(folder: str, source: "Source", emit: "Emit") -> List[Tuple[str, Tuple[torch.Tensor, ...]]]:
    """Loads samples as a network takes them.

    Args:
        folder: The folder.
        source: The network's `sources.Source`: shapes, dtypes and limits of its inputs.
        emit: Called with a message's kind and fields.

    Returns:
        Name and tensors of each sample, in order.

    Raises:
        InputError: A file is damaged, lacks its partner, or does not fit the network; the message names it.
    """
    count = len(source.shapes)
    named: Dict[str, Dict[int, str]] = {}
    for file in files(folder):
        stem = file.rpartition(".")[0]
        name, _, number = stem.rpartition(".") if count > 1 else (stem, "", "0")
        if not re.match(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,79}$", name) or not number.isdigit() or int(number) >= count:
            form = "NAME.pt or NAME.npy" if count == 1 else "NAME.0.pt to NAME.{}.pt".format(count - 1)
            raise InputError("{}: a sample is {}, of plain letters".format(os.path.join(folder, file), form))
        if int(number) in named.setdefault(name, {}):
            raise InputError("{}: there are two files of this sample".format(os.path.join(folder, file)))
        named[name][int(number)] = os.path.join(folder, file)
    if len(named) > MOST:
        emit("note", text="{}: the first {} of {} samples are taken".format(folder, MOST, len(named)))
    made = []
    for name in sorted(named)[:MOST]:
        lacking = [str(number) for number in range(count) if number not in named[name]]
        if lacking:
            raise InputError("{}: sample {} lacks its input {}".format(folder, name, ", ".join(lacking)))
        made.append((name, [_fitting(named[name][number], source, number) for number in range(count)]))
    return _batched(made, source)


def _batched(
    made: List[Tuple[str, List[torch.Tensor]]], source: "Source"
) -> List[Tuple[str, Tuple[torch.Tensor, ...]]]:
    """Puts samples without a batch together, each with those that follow it."""
    found = []
    for at, (name, tensors) in enumerate(made):
        whole = []
        for number, (tensor, shape) in enumerate(zip(tensors, source.shapes)):
            if tuple(tensor.shape) == tuple(shape):
                whole.append(tensor)
                continue
            following = [made[(at + more) % len(made)][1][number] for more in range(shape[0])]
            if any(tuple(one.shape) != tuple(shape[1:]) for one in following):
                raise InputError("some samples of input {} have a batch in front, others have none".format(number))
            whole.append(torch.stack(following))
        found.append((name, tuple(whole)))
    return found


def _fitting(path: str, source: "Source", number: int) -> torch.Tensor:
    shape, dtype, limit = tuple(source.shapes[number]), source.dtypes[number], source.limits[number]
    expected = "{}, or that without the batch".format(told(shape, dtype))
    if os.path.getsize(path) > LARGEST_VALUE_BYTES:
        raise InputError("{} is larger than {} GiB".format(path, LARGEST_VALUE_BYTES >> 30))
    try:
        tensor = _read_npy(path, (shape, shape[1:])) if path.endswith(".npy") else tensor_files.read(path)
    except DimeError as error:
        raise InputError(str(error))
    if not isinstance(tensor, torch.Tensor):
        raise InputError("{} holds several tensors; a sample is one".format(path))
    if tuple(tensor.shape) not in (shape, shape[1:]) or tensor.is_floating_point() != dtype.is_floating_point:
        raise InputError("{} holds {}; the network takes {}".format(path, told(tensor.shape, tensor.dtype), expected))
    if tensor.is_floating_point():
        if not bool(torch.isfinite(tensor).all()):
            raise InputError("{} holds values that are not finite".format(path))
        return tensor.to(dtype)
    if limit is not None and tensor.numel() and not 0 <= int(tensor.min()) <= int(tensor.max()) < limit:
        raise InputError("{} holds numbers outside of 0 to {}, which the network knows".format(path, limit - 1))
    return tensor.to(dtype)


def _read_npy(path: str, shapes: Sequence[Tuple[int, ...]]) -> torch.Tensor:
    """Reads an array of numbers of one of some shapes; objects are none."""
    with open(path, "rb") as stream:
        start = stream.read(8)
        size = stream.read(2 if start[6:7] == b"\1" else 4)
        length = int.from_bytes(size, "little")
        if start[:6] != MAGIC or length > LARGEST_HEADER:
            raise InputError("{} is not a file of numpy".format(path))
        header = stream.read(length).decode("latin-1")
        kind = re.search(r"'descr': *'[<|=]([a-z]\d)'", header)
        order = re.search(r"'fortran_order': *(True|False)", header)
        sizes = re.search(r"'shape': *\(([\d, ]*)\)", header)
        if kind is None or order is None or sizes is None or kind.group(1) not in KINDS:
            raise InputError("{} holds no little-endian numbers that a network takes".format(path))
        shape = tuple(int(text) for text in sizes.group(1).replace(" ", "").split(",") if text)
        dtype = KINDS[kind.group(1)]
        if shape not in [tuple(one) for one in shapes]:
            raise InputError(
                "{} holds {}; the network takes {}".format(path, told(shape, dtype), told(shapes[0], "an input"))
            )
        count = int(kind.group(1)[1])
        for one in shape:
            count *= one
        content = stream.read(count + 1)
    if len(content) != count:
        raise InputError("{} has {} bytes of numbers, not {}".format(path, len(content), count))
    if order.group(1) == "True":
        return from_bytes(content, shape[::-1], dtype).permute(*range(len(shape))[::-1]).contiguous()
    return from_bytes(content, shape, dtype)
