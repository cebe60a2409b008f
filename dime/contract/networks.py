"""How a network is named: what NET, INPUT, BATCH and DTYPE mean, and the short name that results and tables carry."""

import os
import re
from typing import List, NamedTuple, Optional, Tuple

from dime.contract.errors import InputError, unknown

BUILT_IN = ("alexnet", "resnet18", "vgg11", "vit_b_16")
LIBRARIES = ("torchvision", "timm")
PRECISIONS = ("float32", "float16", "bfloat16", "float64")
INPUT_DTYPES = PRECISIONS + ("int64", "int32", "uint8", "bool")
LARGEST_BATCH = 4096
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,79}$")

Spec = NamedTuple(
    "Spec",
    [
        ("text", str),
        ("kind", str),
        ("target", str),
        ("input_shapes", List[Tuple[int, ...]]),
        ("input_dtypes", List[Optional[str]]),
        ("batch", Optional[int]),
        ("dtype", str),
        ("name", str),
    ],
)
Spec.__doc__ = """A network as it was asked for.

``kind`` is ``built-in``, ``torchvision``, ``timm``, ``file`` or ``exported``; ``target`` is what stands behind that;
``name`` is the short name: letters, digits, dots, dashes and underscores.
"""


def parse(
    net: str,
    inputs: Optional[str] = None,
    batch: Optional[int] = None,
    dtype: Optional[str] = None,
    name: Optional[str] = None,
) -> Spec:
    """Reads a network's name as it is typed.

    Args:
        net: A built-in name; ``torchvision:NAME``; ``timm:NAME``; ``FILE.py:FUNCTION``; ``FILE.pt2``.
        inputs: ``1x3x640x640``; several joined by commas; each may end in ``:int64`` or another dtype.
        batch: The first length of every input, instead of the network's own.
        dtype: Precision of parameters and inputs.
        name: The short name, instead of the one derived.

    Returns:
        Spec: What was asked for.

    Raises:
        InputError: A part is of none of these forms; the message says what is expected.
    """
    kind, target = _kind(net)
    shapes, dtypes = parse_inputs(inputs) if inputs else ([], [])
    precision = dtype or "float32"
    if precision not in PRECISIONS:
        raise unknown("precision", precision, PRECISIONS)
    if batch is not None and not 1 <= batch <= LARGEST_BATCH:
        raise InputError("BATCH={}: a batch has 1 to {} inputs".format(batch, LARGEST_BATCH))
    if kind == "built-in" and (shapes or batch not in (None, 1) or precision != "float32" or name):
        raise InputError(
            "{0} is built in, with its own input, batch of one and float32; for others: NET=torchvision:{0}".format(net)
        )
    if name is not None and not NAME.match(name):
        raise InputError("NAME '{}': letters, digits, dots, dashes and underscores, at most 80".format(name))
    short = name or _short(kind, target, inputs, batch, precision)
    if kind != "built-in" and short in BUILT_IN:
        short = "{}-{}".format(short, kind)
    return Spec(net, kind, target, shapes, dtypes, batch, precision, short)


def _kind(net: str) -> Tuple[str, str]:
    if net in BUILT_IN:
        return "built-in", net
    library, colon, rest = net.partition(":")
    if colon and library in LIBRARIES and rest:
        return library, rest
    if re.search(r"\.py:[A-Za-z_][A-Za-z0-9_]*$", net):
        return "file", net
    if net.endswith(".pt2"):
        return "exported", net
    if net.endswith(".py"):
        raise InputError("NET={0}: name the function that makes the model, such as {0}:build".format(net))
    forms = list(BUILT_IN) + ["torchvision:NAME", "timm:NAME", "FILE.py:FUNCTION", "FILE.pt2"]
    raise unknown("network", net, forms)


def parse_inputs(text: str) -> Tuple[List[Tuple[int, ...]], List[Optional[str]]]:
    """Reads shapes as they are typed: ``1x3x640x640`` or ``1x128:int64,1x128:int64``.

    Raises:
        InputError: A part is no shape, or its dtype is unknown.
    """
    shapes: List[Tuple[int, ...]] = []
    dtypes: List[Optional[str]] = []
    for part in text.split(","):
        sizes, colon, dtype = part.strip().partition(":")
        if not re.match(r"\d{1,7}(x\d{1,7})*$", sizes) or "0" in sizes.split("x"):
            raise InputError(
                "INPUT '{}' is no shape such as 1x3x224x224, or 1x128:int64 for tokens".format(part.strip())
            )
        if colon and dtype not in INPUT_DTYPES:
            raise unknown("dtype of INPUT", dtype, INPUT_DTYPES)
        shapes.append(tuple(int(size) for size in sizes.split("x")))
        dtypes.append(dtype or None)
    return shapes, dtypes


def _short(kind: str, target: str, inputs: Optional[str], batch: Optional[int], precision: str) -> str:
    """A plain name that says what is not the default."""
    if kind == "built-in":
        return target
    if kind == "file":
        path, _, function = target.rpartition(":")
        stem = os.path.splitext(os.path.basename(path))[0]
        base = stem if function in ("build", "model", "make") else "{}-{}".format(stem, function)
    elif kind == "exported":
        base = os.path.splitext(os.path.basename(target))[0]
    else:
        base = target
    parts: List[str] = [base]
    if inputs:
        parts.append(inputs.replace(":", "").replace(",", "-"))
    if batch not in (None, 1):
        parts.append("batch{}".format(batch))
    if precision != "float32":
        parts.append(precision)
    plain = re.sub(r"[^A-Za-z0-9_.-]+", "-", "-".join(parts)).strip("-._")
    return plain[:80] or "network"


def is_known_form(net: str) -> bool:
    """Whether a text has one of the forms of a network's name."""
    try:
        _kind(net)
    except InputError:
        return False
    return True
