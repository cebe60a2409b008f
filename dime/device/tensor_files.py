"""Tensors in files: written by torch.save, read by a reader of our own that knows tensors and nothing else.

torch.load is never called: on torch 1.10 and 1.11 it hands an archive that holds TorchScript to torch.jit.load, which
runs its code, before any unpickler of ours is asked.

Two formats are read. Since torch 1.6 a file is a zip archive: ``NAME/data.pkl`` says which tensors there are, and
``NAME/data/KEY`` holds the bytes of each storage. Before, it was three pickles (magic number, version, system), the
pickle of the tensors, a pickle of the storages' keys, and for each of these its length and its bytes.
"""

import hashlib
import io
import os
import pickle
import struct
import zipfile
from collections import OrderedDict
from typing import TYPE_CHECKING, BinaryIO, Callable, Dict, Sequence, Tuple, Union

from dime.contract.errors import TableError

if TYPE_CHECKING:
    import torch

# Storage in a pickle -> dtype of its elements, and their bytes.
_STORAGES = {
    "FloatStorage": ("float32", 4),
    "DoubleStorage": ("float64", 8),
    "HalfStorage": ("float16", 2),
    "BFloat16Storage": ("bfloat16", 2),
    "ByteStorage": ("uint8", 1),
    "CharStorage": ("int8", 1),
    "ShortStorage": ("int16", 2),
    "IntStorage": ("int32", 4),
    "LongStorage": ("int64", 8),
    "BoolStorage": ("bool", 1),
}
_MAGIC, _PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
_LARGEST_PICKLE_BYTES = 64 << 20
_DEEPEST = 16  # a tensor's dimensions


class _Kind(object):
    """A storage's type, as a pickle names it."""

    def __init__(self, name: str) -> None:
        self.dtype, self.item_bytes = _STORAGES[name]


class _Storage(object):
    """A storage that a pickle refers to; its bytes are read when the pickle is done."""

    def __init__(self, kind: _Kind, key: str, count: int) -> None:
        self.kind, self.key, self.count = kind, key, count


Contents = Callable[[_Storage], bytes]


class _View(object):
    """A tensor that a pickle describes: part of a storage."""

    def __init__(
        self, storage: object, offset: int, size: Sequence[int], stride: Sequence[int], *ignored: object
    ) -> None:
        numbers = (offset,) + tuple(size) + tuple(stride)
        if not isinstance(storage, _Storage) or len(size) != len(stride) or len(size) > _DEEPEST:
            raise ValueError("it describes no tensor")
        if not all(isinstance(number, int) and 0 <= number < 1 << 48 for number in numbers):
            raise ValueError("it describes a tensor of impossible size")
        last, elements = offset, 1
        for length, step in zip(size, stride):
            last += (length - 1) * step if length else 0
            elements *= length
        if elements and last >= storage.count:
            raise ValueError("it describes a tensor outside of its storage")
        if elements > max(storage.count, 1) * 64:
            raise ValueError("it describes a tensor much larger than its storage")
        self.storage, self.offset, self.size, self.stride = storage, offset, tuple(size), tuple(stride)


def _parameter(tensor: object, *ignored: object) -> object:
    return tensor


class _Unpickler(pickle.Unpickler):
    """Finds the few names that a file of tensors needs, and no others; none of them is torch's own."""

    def __init__(self, stream: BinaryIO) -> None:
        super(_Unpickler, self).__init__(stream, encoding="utf-8")
        self.storages: Dict[str, _Storage] = OrderedDict()

    def find_class(self, module: str, name: str) -> object:
        if module == "collections" and name == "OrderedDict":
            return OrderedDict
        if module == "torch" and name in _STORAGES:
            return _Kind(name)
        if module == "torch._utils" and name == "_rebuild_tensor_v2":
            return _View
        if module == "torch._utils" and name == "_rebuild_parameter":
            return _parameter
        raise pickle.UnpicklingError("it asks for {}.{}, and only tensors are read".format(module, name)[:200])

    def persistent_load(self, reference: object) -> _Storage:
        if not isinstance(reference, tuple) or len(reference) < 5 or reference[0] != "storage":
            raise pickle.UnpicklingError("it refers to something that is no storage")
        kind, key, count = reference[1], reference[2], reference[4]
        if not isinstance(kind, _Kind) or not isinstance(key, str) or not isinstance(count, int) or count < 0:
            raise pickle.UnpicklingError("it refers to a damaged storage")
        if len(reference) > 5 and reference[5] is not None:
            raise pickle.UnpicklingError("it refers to a part of a storage")
        known = self.storages.setdefault(key, _Storage(kind, key, count))
        if (known.kind.dtype, known.count) != (kind.dtype, count):
            raise pickle.UnpicklingError("it describes one storage in two ways")
        return known


def read(path: str) -> "Union[torch.Tensor, Dict[str, torch.Tensor]]":
    """Reads what torch.save wrote: a tensor, or a dictionary of tensors.

    Args:
        path: The file.

    Returns:
        The tensor or the dictionary, on the CPU.

    Raises:
        TableError: The file is missing, damaged, or holds anything but tensors.
    """
    try:
        with open(path, "rb") as stream:
            if stream.read(4) == b"PK\x03\x04":
                described, contents = _read_archive(stream)
            else:
                described, contents = _read_stream(stream)
            return _tensors(described, contents)
    except FileNotFoundError:
        raise TableError("{} is missing".format(path))
    except Exception as error:  # damaged pickles and archives make Python raise nearly anything
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise TableError("{} is not a readable file of tensors: {}".format(path, reason))


def _read_archive(stream: BinaryIO) -> Tuple[object, Contents]:
    """The content of a zip archive, and a function that gives the bytes of a storage."""
    archive = zipfile.ZipFile(stream)
    members = dict((info.filename, info) for info in archive.infolist())
    if len(members) < len(archive.infolist()):
        raise ValueError("its archive holds two members of one name")
    pickles = [name for name in members if name.count("/") == 1 and name.endswith("/data.pkl")]
    if len(pickles) != 1:
        raise ValueError("its archive is not one of tensors")
    folder = pickles[0][: -len("data.pkl")]
    if any(name == folder + "constants.pkl" or name.startswith(folder + "code/") for name in members):
        raise ValueError("it is a TorchScript program, and only tensors are read")

    def content(name: str, most: int) -> bytes:
        if name not in members:
            raise ValueError("its archive lacks {}".format(name[:100]))
        info = members[name]
        if info.compress_type != zipfile.ZIP_STORED or info.file_size > most:
            raise ValueError("its archive's {} is compressed or too large".format(name[:100]))
        return archive.read(info)

    if folder + "byteorder" in members and content(folder + "byteorder", 16).strip() != b"little":
        raise ValueError("it is of another byte order")
    unpickler = _Unpickler(io.BytesIO(content(pickles[0], _LARGEST_PICKLE_BYTES)))
    described = unpickler.load()

    def of_storage(storage: _Storage) -> bytes:
        size = storage.count * storage.kind.item_bytes
        found = content("{}data/{}".format(folder, storage.key), size)
        if len(found) != size:
            raise ValueError("its storage {} has {} bytes, not {}".format(storage.key[:40], len(found), size))
        return found

    return described, of_storage


def _read_stream(stream: BinaryIO) -> Tuple[object, Contents]:
    """The same for the older format."""
    stream.seek(0, os.SEEK_END)
    end = stream.tell()
    stream.seek(0)
    for expected in (_MAGIC, _PROTOCOL):
        if _Unpickler(stream).load() != expected:
            raise ValueError("it is no file of torch.save")
    system = _Unpickler(stream).load()
    if not isinstance(system, dict) or system.get("little_endian") is not True:
        raise ValueError("it is of another byte order")
    unpickler = _Unpickler(stream)
    described = unpickler.load()
    keys = _Unpickler(stream).load()
    if not isinstance(keys, list) or sorted(map(str, keys)) != sorted(unpickler.storages):
        raise ValueError("its storages are not those that it describes")
    contents = {}
    for key in keys:
        storage = unpickler.storages[key]
        size = storage.count * storage.kind.item_bytes
        (count,) = struct.unpack("<q", stream.read(8))
        if count != storage.count or size > end - stream.tell():
            raise ValueError("its storage {} is truncated".format(str(key)[:40]))
        contents[key] = stream.read(size)
    return described, lambda storage: contents[storage.key]


def _tensors(described: object, of_storage: Contents) -> "Union[torch.Tensor, Dict[str, torch.Tensor]]":
    """What a pickle described, with tensors in the places of views."""
    import torch

    storages = {}

    def tensor(view: object) -> "torch.Tensor":
        if not isinstance(view, _View):
            raise ValueError("it holds a {}, and only tensors are read".format(type(view).__name__.lstrip("_")))
        storage = view.storage
        if storage.key not in storages:
            content, dtype = of_storage(storage), getattr(torch, storage.kind.dtype)
            storages[storage.key] = (
                torch.frombuffer(bytearray(content), dtype=dtype) if content else torch.zeros(0, dtype=dtype)
            )
        return storages[storage.key].as_strided(view.size, view.stride, view.offset)

    if isinstance(described, dict):
        if not all(isinstance(name, str) for name in described):
            raise ValueError("it holds a dictionary whose names are no texts")
        return OrderedDict((name, tensor(view)) for name, view in described.items())
    return tensor(described)


def write(path: str, tensor: "torch.Tensor") -> str:
    """Writes a tensor, so that a full disk is an OSError like any other.

    Args:
        path: The file.
        tensor: The tensor; only what it shows of its storage is written.

    Returns:
        str: SHA-256 of the file.
    """
    import torch

    buffer = io.BytesIO()
    torch.save(tensor.clone(), buffer)
    with open(path, "wb") as stream:
        stream.write(buffer.getvalue())
    return hashlib.sha256(buffer.getvalue()).hexdigest()
