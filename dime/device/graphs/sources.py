"""Where a network comes from: torchvision, timm, a person's file, an exported program; on the lab's computer only.

| NET | model | input, unless INPUT says another |
|---|---|---|
| torchvision:NAME[.PART] | torchvision.models, or a part of it such as ``backbone`` | its weights' preprocessing |
| timm:NAME | timm.create_model | its configuration's |
| FILE.py:FUNCTION | what the function gives | INPUT in the file |
| FILE.pt2 | torch.export.load | the example in it |
"""

import importlib
import importlib.util
import os
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any, Callable, List, NamedTuple, Optional, Sequence, Tuple

import torch
from torch import nn

from dime.contract import files
from dime.contract.errors import DimeError, InputError, nearest

if TYPE_CHECKING:
    from dime.contract.messages import Emit
    from dime.contract.networks import Spec

Preprocessing = NamedTuple(
    "Preprocessing", [("resize", int), ("mean", Tuple[float, ...]), ("deviation", Tuple[float, ...])]
)
Preprocessing.__doc__ = (
    "What pictures go through: the shorter side's length, then mean and standard deviation of each channel."
)
IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

Source = NamedTuple(
    "Source",
    [
        ("model", nn.Module),
        ("shapes", List[Tuple[int, ...]]),
        ("dtypes", List[torch.dtype]),
        ("limits", List[Optional[int]]),
        ("preprocessing", Optional[Preprocessing]),
        ("cuts", Optional[str]),
    ],
)
Source.__doc__ = """A model and what it takes.

``limits`` holds for each input of whole numbers the number that all must be below (tokens of an embedding), else None;
``preprocessing`` is None where pictures are no input; ``cuts`` is what the person's file says of its layers.
"""


def load(spec: "Spec") -> Source:
    """Makes the model that a NET names.

    Args:
        spec: What was typed.

    Returns:
        Source: The model in evaluation mode, in the precision asked for, and its inputs.

    Raises:
        InputError: There is no such model, file or function, it gives no module, or INPUT does not fit; in one line.
    """
    maker = {"torchvision": _torchvision, "timm": _timm, "file": _file, "exported": _exported}[spec.kind]
    try:
        source = maker(spec)
    except DimeError:
        raise
    except Exception as error:  # a person's file, or a library, may raise anything
        raise InputError("{}: {}: {}".format(spec.text, type(error).__name__, _line(error)))
    if not isinstance(source.model, nn.Module):
        raise InputError("{} gives a {}, not a torch.nn.Module".format(spec.text, type(source.model).__name__))
    shapes = [tuple(shape) for shape in spec.input_shapes or source.shapes]
    if not shapes:
        raise InputError("{} does not say what it takes: give INPUT, such as INPUT=1x3x224x224".format(spec.text))
    if spec.batch is not None:
        shapes = [(spec.batch,) + shape[1:] for shape in shapes]
    model, dtypes = source.model.eval(), list(source.dtypes) or [torch.float32] * len(shapes)
    if len(dtypes) < len(shapes):
        dtypes += [torch.float32] * (len(shapes) - len(dtypes))
    for number, given in enumerate(spec.input_dtypes):
        if given is not None:
            dtypes[number] = getattr(torch, given)
    if spec.dtype != "float32":
        wanted = getattr(torch, spec.dtype)
        model = model.to(wanted)
        dtypes = [wanted if dtype.is_floating_point else dtype for dtype in dtypes]
    limits = _limits(model, len(shapes), dtypes)
    pictures = len(shapes) == 1 and len(shapes[0]) == 4 and shapes[0][1] == 3 and dtypes[0].is_floating_point
    if not pictures:
        source = source._replace(preprocessing=None)
    return source._replace(model=model, shapes=shapes, dtypes=dtypes[: len(shapes)], limits=limits)


def example(source: Source, seed: int = 0) -> Tuple[torch.Tensor, ...]:
    """Seeded random inputs: standard normal, or whole numbers below what an embedding knows."""
    generator = torch.Generator().manual_seed(seed)
    made = []
    for shape, dtype, limit in zip(source.shapes, source.dtypes, source.limits):
        if dtype.is_floating_point:
            made.append(torch.randn(shape, generator=generator).to(dtype))
        else:
            made.append(torch.randint(0, limit or 2, shape, generator=generator).to(dtype))
    return tuple(made)


def _limits(model: nn.Module, count: int, dtypes: Sequence[torch.dtype]) -> List[Optional[int]]:
    known = [module.num_embeddings for module in model.modules() if isinstance(module, nn.Embedding)]
    return [None if dtype.is_floating_point else (min(known) if known else 2) for dtype in dtypes[:count]]


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300]


def _library(name: str, spec: "Spec") -> ModuleType:
    try:
        return importlib.import_module(name)
    except Exception as error:  # libraries fail in many ways where they do not fit torch
        raise InputError(
            "{} needs {}, which cannot be imported ({}); type: .venv/bin/uv pip install {}".format(
                spec.text, name, _line(error), name.split(".", maxsplit=1)[0]
            )
        )


def _near(name: str, known: Sequence[str]) -> str:
    return nearest(name, known, 0.5)


def _part(model: nn.Module, path: str, spec: "Spec") -> nn.Module:
    for step in path.split(".") if path else ():
        children = dict(model.named_children())
        if step not in children:
            raise InputError("{}: no part '{}'; there: {}".format(spec.text, step, ", ".join(children)))
        model = children[step]
    return model


def _torchvision(spec: "Spec") -> Source:
    models = _library("torchvision.models", spec)
    name, _, part = spec.target.partition(".")
    known = models.list_models()
    if name not in known:
        raise InputError("torchvision has no model '{}'{}".format(name, _near(name, known)))
    presets = models.get_model_weights(name).DEFAULT.transforms()
    extra = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
    backbone = {"weights_backbone": None} if "weights_backbone" in _arguments(models.get_model_builder(name)) else {}
    model = _part(models.get_model(name, weights=None, **extra, **backbone), part, spec)
    crop = getattr(presets, "crop_size", None)
    if crop:
        resize = (list(presets.resize_size) or crop)[0]
        how = Preprocessing(int(resize), tuple(presets.mean), tuple(presets.std))
        return Source(model, [(1, 3, crop[0], crop[0])], [torch.float32], [], how, None)
    how = Preprocessing(224, *IMAGENET)
    if "video" in models.get_model_builder(name).__module__:
        return Source(model, [], [torch.float32], [], None, None)
    return Source(model, [(1, 3, 224, 224)], [torch.float32], [], how, None)


def _arguments(function: Callable[..., object]) -> Sequence[str]:
    import inspect

    return list(inspect.signature(function).parameters)


def _timm(spec: "Spec") -> Source:
    timm = _library("timm", spec)
    name, _, part = spec.target.partition("/")
    if not timm.is_model(name.split(".")[0]):
        raise InputError("timm has no model '{}'{}".format(name, _near(name, timm.list_models())))
    model = timm.create_model(name, pretrained=False)
    settings = dict(getattr(model, "pretrained_cfg", None) or {})
    shape = tuple(settings.get("input_size", (3, 224, 224)))
    resize = int(shape[-1] / float(settings.get("crop_pct") or 1))
    how = Preprocessing(resize, tuple(settings.get("mean", IMAGENET[0])), tuple(settings.get("std", IMAGENET[1])))
    return Source(_part(model, part.replace("/", "."), spec), [(1,) + shape], [torch.float32], [], how, None)


def _file(spec: "Spec") -> Source:
    path, _, function = spec.target.rpartition(":")
    if not os.path.isfile(path):
        raise InputError("{}: there is no file {}".format(spec.text, path))
    described = importlib.util.spec_from_file_location("model_of_yours", path)
    assert described is not None and described.loader is not None
    module = importlib.util.module_from_spec(described)
    sys.modules["model_of_yours"] = module
    sys.path.insert(0, os.path.dirname(os.path.abspath(path)))
    described.loader.exec_module(module)
    known = [name for name, thing in vars(module).items() if callable(thing) and not name.startswith("_")]
    build = getattr(module, function, None)
    if build is None:
        raise InputError("{} has no function '{}'{}".format(path, function, _near(function, known)))
    try:
        model = build()
    except TypeError as error:
        if "argument" not in str(error):
            raise
        raise InputError("{}: the function must be callable without arguments: {}".format(spec.text, _line(error)))
    shapes, dtypes = spec_inputs(getattr(module, "INPUT", None), path)
    colour = len(shapes) == 1 and len(shapes[0]) == 4 and shapes[0][1] == 3
    how = None
    if colour:
        mean, deviation = getattr(module, "MEAN", IMAGENET[0]), getattr(module, "STD", IMAGENET[1])
        how = Preprocessing(int(getattr(module, "RESIZE", shapes[0][-1] * 8 // 7)), tuple(mean), tuple(deviation))
    cuts = getattr(module, "LAYERS", None)
    return Source(model, shapes, dtypes, [], how, ",".join(cuts) if cuts else None)


def spec_inputs(given: Any, path: str) -> Tuple[List[Tuple[int, ...]], List[torch.dtype]]:  # Any: a person's
    """Reads the INPUT of a person's file: a shape, a list of shapes, or text as on the command line."""
    from dime.contract.networks import parse_inputs

    if given is None:
        return [], []
    if isinstance(given, str):
        shapes, dtypes = parse_inputs(given)
        return shapes, [getattr(torch, dtype or "float32") for dtype in dtypes]
    rows = given if given and isinstance(given[0], (tuple, list)) else [given]
    if not all(isinstance(n, int) and n > 0 for row in rows for n in row):
        raise InputError("{}: INPUT is {}; it must be a shape such as (1, 3, 224, 224)".format(path, given))
    return [tuple(row) for row in rows], []


def _exported(spec: "Spec") -> Source:
    if not os.path.isfile(spec.target):
        raise InputError("{}: there is no such file".format(spec.target))
    program = torch.export.load(spec.target)
    arguments, keywords = program.example_inputs or ((), {})
    tensors = [tensor for tensor in arguments if isinstance(tensor, torch.Tensor)]
    if keywords or len(tensors) < len(arguments):
        raise InputError("{} takes more than tensors by position".format(spec.target))
    model = program.module()
    return Source(_Evaluated(model), [tuple(t.shape) for t in tensors], [t.dtype for t in tensors], [], None, None)


class _Evaluated(nn.Module):
    """An exported program as a module; it refuses to be put into evaluation mode, in which it is already."""

    def __init__(self, program: nn.Module) -> None:
        super(_Evaluated, self).__init__()
        self.program = program

    def train(self, mode: bool = True) -> "_Evaluated":
        return self

    def forward(self, *inputs: torch.Tensor) -> object:
        return self.program(*inputs)


def fill(source: Source, spec: "Spec", weights: str, emit: "Emit") -> str:
    """Sets a model's weights.

    Args:
        source: The model.
        spec: What was asked for.
        weights: ``auto``: torchvision's pretrained ones if they can be had, else as the model was built, after seed 0;
            ``pretrained``; ``seeded <n>``; or a state_dict's file.
        emit: Called with a message's kind and fields.

    Returns:
        Their label.

    Raises:
        InputError: They are not to be had, or do not fit; the message names the entries.
    """
    from dime.device import weights as known

    whole = spec.kind == "torchvision" and "." not in spec.target
    if weights == "pretrained" and not whole:
        raise InputError(
            "{}: pretrained weights are known for whole models of torchvision; give a file".format(spec.text)
        )
    if weights == "auto" and whole:
        try:
            return known.fill(source.model, spec.target, "pretrained", None, emit)
        except DimeError as error:
            emit("warning", text="random weights (as built, seed 0) instead of pretrained ones: {}".format(error))
    if weights == "auto":
        return "as built, seed 0"
    if not os.path.isfile(weights):
        return known.fill(source.model, spec.target, weights, None, emit)
    from dime.device import tensor_files

    state = tensor_files.read(weights)
    if not isinstance(state, dict):
        raise InputError("{} is not a state_dict: a dictionary of names and tensors".format(weights))
    own = source.model.state_dict()
    lacking, strange = [key for key in own if key not in state], [key for key in state if key not in own]
    other = [key for key in own if key in state and own[key].shape != state[key].shape]
    if lacking or strange or other:
        parts = [
            "{} {}{}".format(what, ", ".join(keys[:3]), " and {} more".format(len(keys) - 3) if len(keys) > 3 else "")
            for what, keys in (("it lacks", lacking), ("has unknown", strange), ("has another shape of", other))
            if keys
        ]
        raise InputError("{} does not fit {}: {}".format(weights, spec.text, "; ".join(parts)))
    source.model.load_state_dict(state)
    return "file {}".format(files.digest(weights)[:12])
