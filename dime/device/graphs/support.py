"""Which allowed operations this torch has, and which of them its CPU computes in half precision.

``python -m dime.device.graphs.support FILE`` tries them and puts the answer into FILE under this torch's version; the
host reads it from there (dime/contract/operations.json).
"""

import io
import json
import os
import re
import sys
import warnings
from typing import Dict, List, Tuple

import torch

from dime.contract import files
from dime.device.graphs import operations

HALVES = ("float16", "bfloat16")


def facts() -> Dict[str, List[str]]:
    """What this torch cannot do: operations that it lacks, and those that fail on its CPU in a half precision."""
    found = {"lacks": sorted(operations.missing())}
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        able = [name for name in operations.names() if operations.find(name) and _works(name, torch.float32)]
        for half in HALVES:
            found[half] = sorted(name for name in able if not _works(name, getattr(torch, half)))
    return found


def version() -> str:
    """This torch's version, numbers only."""
    match = re.match(r"\d+(\.\d+)*", torch.__version__)
    assert match is not None
    return match.group()


def _works(name: str, dtype: torch.dtype) -> bool:
    return any(_succeeds(name, dtype, attempt) for attempt in range(len(_attempts(name, dtype))))


def _succeeds(name: str, dtype: torch.dtype, attempt: int) -> bool:
    arguments = _attempts(name, dtype)[attempt]  # made anew: an operation may change them
    call = operations.find(name)
    assert call is not None
    try:
        if name.startswith("module."):
            made = dict(zip(operations.MODULES[name[7:]], (8, 2)))
            call = call(**made).to(dtype).eval()
        call(*arguments)
        return True
    except Exception:  # whatever it is, it does not work
        return False


def _attempts(name: str, dtype: torch.dtype) -> List[Tuple[object, ...]]:
    """Arguments by which an operation is tried: its own where it needs some, else those that most take."""
    generator = torch.Generator().manual_seed(0)

    def made(*shape: int) -> torch.Tensor:
        return (torch.rand(shape, generator=generator) + 0.5).to(dtype)

    x, m, b, v = made(1, 4, 6, 6), made(4, 4), made(2, 4, 4), made(4)
    whole, mask = torch.tensor([[0, 1], [2, 3]]), m > 1
    space, rest = name.split(".", 1)
    own = {
        "conv1d": (b, made(4, 4, 3)), "conv2d": (x, made(4, 4, 3, 3)), "conv3d": (x[None], made(4, 1, 1, 3, 3)),
        "conv_transpose1d": (b, made(4, 4, 3)), "conv_transpose2d": (x, made(4, 4, 3, 3)),
        "conv_transpose3d": (x[None], made(1, 4, 1, 3, 3)), "batch_norm": (x, v, v), "group_norm": (x, 2),
        "layer_norm": (x, (6,)), "rms_norm": (x, (6,)), "linear": (x, made(5, 6)), "embedding": (whole, m),
        "interpolate": (x, None, 2), "upsample": (x, None, 2), "pad": (x, (1, 1)), "prelu": (x, v),
        "fold": (made(1, 36, 16), (6, 6), (3, 3)), "unfold": (x, (3, 3)) if space == "functional" else (x, 3, 3, 1),
        "max_pool1d": (b, 2), "avg_pool1d": (b, 2), "max_pool2d": (x, 2), "avg_pool2d": (x, 2), "lp_pool2d": (x, 2, 2),
        "max_pool3d": (x[None], 2), "avg_pool3d": (x[None], 2), "adaptive_avg_pool3d": (x[None], 1),
        "one_hot": (whole,), "pixel_shuffle": (x, 2), "pixel_unshuffle": (x, 2), "threshold": (x, 1.0, 0.0),
        "einsum": ("ij,jk->ik", m, m), "where": (mask, m, m), "masked_fill": (m, mask, 0.0),
        "masked_fill_": (m, mask, 0.0), "gather": (m, 0, whole), "scatter": (m, 0, whole, 1.0),
        "index_select": (m, 0, whole[0]), "index_fill": (m, 0, whole[0], 1.0), "bilinear": (m, m, made(3, 4, 4)),
        "bitwise_and": (whole, whole), "bitwise_or": (whole, whole), "tensor_split": (m, 2),
        "unflatten": (m, 0, (2, 2)),
        "MultiheadAttention": (b.repeat(1, 1, 2),) * 3, "TransformerEncoderLayer": (b.repeat(1, 1, 2),),
        "__getitem__": (m, 0), "__setitem__": (m, 0, v), "LSTM": (b.repeat(1, 1, 2),), "GRU": (b.repeat(1, 1, 2),),
        "RNN": (b.repeat(1, 1, 2),), "adaptive_avg_pool1d": (b, 1), "new_full": (m, [2], 1.0),
    }  # fmt: skip
    if name in ("torch.embedding", "torch.dropout", "tensor.where"):
        return [{"torch.embedding": (m, whole), "torch.dropout": (m, 0.5, False), "tensor.where": (m, mask, m)}[name]]
    if rest in own:
        return [own[rest]]
    return [
        (x,), (x, x), (x, 2), (x, 1.0), (x, dtype), (x, x, x), (x, x, 0.5), (m,), (m, m), (m, m, m), (b, b), (b, b, b),
        (v,), (v, v), ([m, m],), (m, 0, 1), (m, 0, 0, 1), (m, [4, 4]), (m, (0, 1)), (m, [2, 2]), (whole,),
        (whole, whole),
    ]  # fmt: skip


def main(path: str) -> None:
    """Puts what this torch cannot do into a file."""
    known = {}
    if os.path.exists(path):
        with io.open(path, encoding="utf-8") as stream:
            known = json.load(stream)
    known[version()] = facts()
    files.replace(path, (json.dumps(known, indent=1, sort_keys=True) + "\n").encode())


if __name__ == "__main__":
    main(sys.argv[1])
