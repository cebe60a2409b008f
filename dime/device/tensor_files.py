"""Tensors in files: written by torch.save, read without ever running what a file might ask to be run."""

import hashlib
import io
import pickle
import types

from dime.contract.errors import TableError

_STORAGES = ("Float", "Double", "Half", "BFloat16", "Byte", "Char", "Short", "Int", "Long", "Bool")
_ALLOWED = {("collections", "OrderedDict")}
_ALLOWED |= {("torch", kind + "Storage") for kind in _STORAGES}
_ALLOWED |= {("torch._utils", name) for name in ("_rebuild_tensor_v2", "_rebuild_parameter")}


class _TensorUnpickler(pickle.Unpickler):
    """Finds the few names that a file of tensors needs, and no others."""

    def find_class(self, module, name):
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError("it asks for {}.{}, and only tensors are read".format(module, name))
        return super(_TensorUnpickler, self).find_class(module, name)


# torch.load takes a module to unpickle with; this is the part of pickle's interface that it uses.
_tensors_only = types.ModuleType("tensors_only")
_tensors_only.Unpickler = _TensorUnpickler
_tensors_only.UnpicklingError = pickle.UnpicklingError
_tensors_only.load = lambda stream, **options: _TensorUnpickler(stream, **options).load()


def read(path):
    """Reads what torch.save wrote: a tensor, or a dictionary of tensors.

    Args:
        path: The file.

    Returns:
        The tensor or the dictionary, on the CPU.

    Raises:
        TableError: The file is missing, damaged, or holds anything but tensors.
    """
    import torch

    new = tuple(int(part) for part in torch.__version__.split(".")[:2]) >= (1, 13)
    safely = {"weights_only": True} if new else {"pickle_module": _tensors_only}
    try:
        return torch.load(path, map_location="cpu", **safely)
    except FileNotFoundError:
        raise TableError("{} is missing".format(path))
    except Exception as error:  # A damaged file makes torch raise nearly anything.
        reason = " ".join(str(error).split())[:200]
        if new and isinstance(error, pickle.UnpicklingError):  # Today's torch advises to read the file unsafely.
            reason = "it asks for more than tensors, or is damaged"
        raise TableError("{} is not a readable file of tensors: {}".format(path, reason))


def write(path, tensor):
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
