"""Where a network's weights come from, and the label under which every table says so."""

import glob
import math
import os
import re
import sys
from http.client import HTTPException
from typing import TYPE_CHECKING, Callable, Mapping, Optional
from urllib.parse import urlparse

import torch

from dime.contract import files
from dime.contract.errors import DimeError, InputError, TableError, nearest
from dime.device import downloads, tensor_files

if TYPE_CHECKING:
    from dime.contract.messages import Emit

Adapt = Callable[[Mapping[str, torch.Tensor]], Mapping[str, torch.Tensor]]

SEEDED = re.compile(r"seeded(?:[ :=-]?(\d+))?$")


def fill(
    model: torch.nn.Module, name: str, weights: str, adapt: Optional[Adapt] = None, emit: "Optional[Emit]" = None
) -> str:
    """Sets all weights of a model.

    Args:
        model: The torch module.
        name: torchvision's name of it.
        weights: ``pretrained`` (torchvision's, from its cache or the network), ``seeded <n>``, a state_dict's file, or
            ``auto``: pretrained if they are to be had, else ``seeded 0``.
        adapt: Renames the entries of older state_dicts; None for none.
        emit: Called with a message's kind and fields.

    Returns:
        str: ``pretrained``, ``seeded <n>``, or ``file`` and the first 12 digits of its SHA-256.

    Raises:
        InputError: The weights are not to be had, or do not fit.
    """
    emit = emit or (lambda kind, **fields: None)
    seeded = SEEDED.match(weights)
    if seeded:
        return seed(model, int(seeded.group(1) or 0))
    if weights == "auto":
        try:
            return fill(model, name, "pretrained", adapt, emit)
        except DimeError as error:
            emit("warning", text="random weights (seeded 0) instead of pretrained ones: {}".format(error))
            return seed(model, 0)
    if weights == "pretrained":
        path, label = _pretrained(name, emit), "pretrained"
    elif os.path.isfile(weights):
        path, label = weights, "file " + files.digest(weights)[:12]
    else:
        near = nearest(weights, ("auto", "pretrained", "seeded"))
        raise InputError(
            "weights '{}': not a file; known: auto, pretrained, seeded <n>, or a file{}".format(weights, near)
        )
    state = tensor_files.read(path)
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise InputError("{} is not a state_dict: a dictionary of names and tensors".format(path))
    try:
        model.load_state_dict(adapt(state) if adapt else state)
    except RuntimeError as error:
        raise InputError("{} does not fit {}: {}".format(path, name, " ".join(str(error).split())[:300]))
    return label


def seed(model: torch.nn.Module, number: int) -> str:
    """Sets random weights that are the same for every version of torch since 1.10 and every kind of processor.

    Uniform values of variance 2 / fan-in (He et al., arXiv:1502.01852) keep activations at scale through ReLUs; norms
    start as the identity. They are drawn in order of name from torch's Mersenne Twister on the CPU.

    Args:
        model: The torch module.
        number: The seed.

    Returns:
        str: ``seeded <number>``.
    """
    generator = torch.Generator().manual_seed(number)
    with torch.no_grad():
        for name, parameter in sorted(model.named_parameters()):
            if parameter.dim() > 1:
                bound = math.sqrt(6.0 / (parameter.numel() // parameter.shape[0]))
            elif name.endswith("weight"):
                parameter.fill_(1.0)
                continue
            else:
                bound = 0.01
            parameter.uniform_(generator=generator).sub_(0.5).mul_(2 * bound)
    return "seeded {}".format(number)


def _pretrained(name: str, emit: "Emit") -> str:
    """Finds torchvision's weights in its cache, or fetches them there; returns the file."""
    cache = os.path.join(torch.hub.get_dir(), "checkpoints")
    found = sorted(glob.glob(os.path.join(cache, name + "-*.pth")))
    if found:
        path = found[-1]
    else:
        address = _address(name)
        path = os.path.join(cache, os.path.basename(urlparse(address).path))
        emit("note", text="fetching pretrained weights: {}".format(os.path.basename(path)))
        _fetch(address, path, emit)
    if not _is_intact(path, os.path.basename(path)):
        raise TableError("{} is damaged: its SHA-256 does not begin as its name says; remove it".format(path))
    return path


def _is_intact(path: str, name: str) -> bool:
    """Tells whether a file's SHA-256 begins as its published name says."""
    expected = re.search(r"-([0-9a-f]{8,})\.", name)
    return expected is None or files.digest(path).startswith(expected.group(1))


def _address(name: str) -> str:
    """Looks up where the installed torchvision says that the pretrained weights of a network are."""
    try:
        from torchvision import models
    except Exception as error:  # torchvision fails in many ways where it does not fit torch.
        raise InputError("pretrained weights need torchvision, which cannot be imported ({})".format(error))
    builder = getattr(models, name, None)
    if hasattr(models, "get_model_weights") and builder is not None:
        return str(models.get_model_weights(name).DEFAULT.url)
    if builder is None or not hasattr(sys.modules[builder.__module__], "model_urls"):
        raise InputError("this torchvision has no pretrained weights for {}; give a file".format(name))
    return str(sys.modules[builder.__module__].model_urls[name])


def _fetch(address: str, path: str, emit: "Emit") -> None:
    try:
        downloads.fetch(address, path, lambda arrived: _is_intact(arrived, os.path.basename(path)), emit)
    except (EnvironmentError, HTTPException, ValueError) as error:
        raise InputError("pretrained weights cannot be fetched ({}); give a file, or seeded <n>".format(error))
