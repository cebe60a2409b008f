"""Feature maps of a network that was named: its document, and what stands at every boundary for each input.

``<samples>/<name>/graph`` holds the document, ``<samples>/<name>/<layer>/<image>.pt`` what enters a layer (with several
tensors ``<image>.0.pt``, ``<image>.1.pt``, ...), and manifest.json the SHA-256 of all of them.
"""

import json
import os
from collections import OrderedDict
from typing import TYPE_CHECKING, Dict, List, Optional, Sequence, Tuple

from dime import __version__
from dime.contract import files, schemas
from dime.contract.errors import InputError, TableError
from dime.contract.networks import NAME
from dime.device import images, networks, storage, tensor_files
from dime.device.graphs import FOLDER

if TYPE_CHECKING:
    import torch

    from dime.contract.messages import Emit
    from dime.contract.networks import Spec
    from dime.device.graphs.sources import Source
    from dime.device.networks import Crossing
    from dime.device.samples import Manifest

RANDOM, RANDOM_INPUTS = "random", 4
MANIFEST = "manifest.json"


def make(spec: "Spec", source: str, folder: str, weights: str, cuts: str, emit: "Emit") -> str:
    """Traces a network, cuts it, and computes its feature maps, unless exactly these are there already.

    Args:
        spec: The network as it was asked for.
        source: ``builtin``, ``imagenette``, a folder of pictures or of tensors, or ``random``.
        folder: The samples' folder; theirs is the one in it that is called like the network.
        weights: ``auto``, ``pretrained``, ``seeded <n>``, or a state_dict's file.
        cuts: Where to cut; see `cutting.choose`.
        emit: Called with a message's kind and fields.

    Returns:
        The network's folder.

    Raises:
        InputError: The network, its input or its cuts cannot be had as asked.
        TableError: The folder holds other feature maps.
        DeviceError: The disk would not take them.
    """
    target = os.path.join(folder, spec.name)
    asked = _asked(spec, source, weights, cuts)
    with storage.locked(folder):
        if os.path.exists(target):
            return _existing(target, asked, emit)
        with storage.disk_errors(folder), files.making(target) as aside:
            os.makedirs(os.path.join(aside, FOLDER))
            manifest = _fill(spec, source, aside, weights, cuts, emit)
            manifest["asked"] = asked
            files.new(os.path.join(aside, MANIFEST), files.as_json(schemas.stamped(schemas.FEATURE_MAPS, manifest)))
    return target


def _asked(spec: "Spec", source: str, weights: str, cuts: str) -> Dict[str, object]:
    """What was asked for, so that the same question finds the same answer."""
    asked: Dict[str, object] = OrderedDict(
        [
            ("net", spec.text),
            ("input", [list(shape) for shape in spec.input_shapes]),
            ("batch", spec.batch),
            ("dtype", spec.dtype),
            ("source", source),
            ("weights", weights),
            ("cuts", cuts),
        ]
    )
    path = spec.target.rpartition(":")[0] if spec.kind == "file" else spec.target
    if os.path.isdir(source):
        asked["files"] = _folder(source)
    asked["sha256"] = files.digest(path) if os.path.isfile(path) else None
    return asked


def _folder(source: str) -> str:
    """Names what a folder holds: tensors where there are any and no pictures, else pictures."""
    from dime.device.graphs import inputs

    return inputs.describe(source) if _holds_tensors(source) else str(images.describe(source))


def _holds_tensors(folder: str) -> bool:
    names = [name.lower() for name in os.listdir(folder)] if os.path.isdir(folder) else []
    return any(name.endswith((".pt", ".npy")) for name in names) and not any(
        name.endswith(images.EXTENSIONS) for name in names
    )


def _existing(target: str, asked: Dict[str, object], emit: "Emit") -> str:
    try:
        with open(os.path.join(target, MANIFEST), encoding="utf-8") as stream:
            manifest = json.load(stream)
        schemas.version(schemas.FEATURE_MAPS, manifest, stream.name)
        before = manifest["asked"]
        digests = dict(manifest["files"])
    except (EnvironmentError, ValueError, KeyError, TypeError, RecursionError):
        raise TableError("{} holds feature maps of another network; take another NAME, or remove it".format(target))
    different = [key for key in asked if before.get(key) != asked[key]]
    if different:
        raise TableError(
            "{} was made with another {}; nothing was overwritten: take another NAME, or remove it".format(
                target, ", ".join("{} ({})".format(key, before.get(key)) for key in different)
            )
        )
    for path, digest in sorted(digests.items()):
        if files.digest(os.path.join(target, path)) != digest:
            raise TableError("{}/{} is damaged; remove {} and make the samples again".format(target, path, target))
    emit("note", text="{}: {} feature maps are there and intact".format(target, len(digests)))
    return target


def _fill(spec: "Spec", source: str, folder: str, weights: str, cuts: str, emit: "Emit") -> "Manifest":
    networks.need_torch()
    import torch

    from dime.device.graphs import cutting, sources, tracing
    from dime.device.graphs import files as graph_files
    from dime.device.graphs.program import Program

    torch.manual_seed(0)  # a model that is built with random weights has the same ones each time
    loaded = sources.load(spec)
    label = sources.fill(loaded, spec, weights, emit)
    inputs, described, pictures = _inputs(loaded, source, emit)
    emit("hello", version=__version__, device=None, network=spec.name, total=len(inputs))
    traced = tracing.trace(loaded.model, inputs[0][1], spec.name)
    tracing.check(traced, loaded.model, inputs[1][1] if len(inputs) > 1 else sources.example(loaded, 1))
    chosen = cutting.choose(traced, loaded.cuts if cuts == "auto" and loaded.cuts else cuts)
    document = traced.document._replace(layers=cutting.layers(chosen))
    document, digest = graph_files.write(document, traced.tensors, inputs[0][1], os.path.join(folder, FOLDER))
    program = Program(document, traced.tensors)
    layers = [layer.name for layer in document.layers]
    for layer in layers:
        os.makedirs(os.path.join(folder, layer))
    found: Dict[str, str] = OrderedDict()
    for number, (name, tensors) in enumerate(inputs, start=1):
        for layer, values in zip(layers, graph_files.boundaries(program, tensors)):
            for path, tensor in zip(_paths(layer, name, len(values)), values):
                found[path] = tensor_files.write(os.path.join(folder, path), tensor)
        emit("progress", done=number, what=name)
    for name in sorted(os.listdir(os.path.join(folder, FOLDER))):
        found["{}/{}".format(FOLDER, name)] = files.digest(os.path.join(folder, FOLDER, name))
    return {
        "network": spec.name,
        "layers": layers,
        "weights": label,
        "source": described,
        "graph": digest,
        "images": [name for name, _ in inputs],
        "preprocessing": pictures,
        "left_out": [place.name for place in chosen if not place.kept],
        "files": OrderedDict(sorted(found.items())),
    }


def _paths(layer: str, image: str, count: int) -> List[str]:
    if count == 1:
        return ["{}/{}.pt".format(layer, image)]
    return ["{}/{}.{}.pt".format(layer, image, number) for number in range(count)]


def _inputs(
    loaded: "Source", source: str, emit: "Emit"
) -> "Tuple[List[Tuple[str, Tuple[torch.Tensor, ...]]], str, Optional[Dict[str, object]]]":
    """The network's inputs by name, what they are, and what was done to pictures."""
    import torch

    from dime.device.graphs import sources

    how = loaded.preprocessing
    if _holds_tensors(source):
        from dime.device.graphs import inputs

        return inputs.load(source, loaded, emit), inputs.describe(source), None
    if how is None and source != RANDOM:
        if source != "builtin":
            raise InputError(
                "the network takes no pictures of three colours; SOURCE=random gives it seeded input, a folder of .pt"
                " or .npy files its own"
            )
        emit("note", text="the network takes no pictures of three colours: its input is random (seed 0)")
    if how is None or source == RANDOM:
        made = [("random{}".format(seed), sources.example(loaded, seed)) for seed in range(RANDOM_INPUTS)]
        return made, "random seed 0", None
    shape, dtype = loaded.shapes[0], loaded.dtypes[0]
    loaded_pictures = images.load(source, (1,) + tuple(shape[1:]), emit, how)
    pictures = list(loaded_pictures.tensors.items())
    made = []
    for number, (name, _) in enumerate(pictures):
        batch = [pictures[(number + more) % len(pictures)][1] for more in range(shape[0])]
        made.append((name, (torch.cat(batch).to(dtype),)))
    told = {"shorter_side": how.resize, "mean": list(how.mean), "standard_deviation": list(how.deviation)}
    return made, loaded_pictures.source, dict(told, odd_pictures=loaded_pictures.odd)


def is_there(folder: str) -> bool:
    """Whether a folder holds feature maps that bring their network with them."""
    return os.path.isdir(os.path.join(folder, FOLDER)) and os.path.isfile(os.path.join(folder, MANIFEST))


def check_manifest(folder: str, manifest: "Manifest") -> None:
    """Makes sure that a manifest's names are plain, and that the document is the one that it names.

    Raises:
        TableError: They are not.
    """
    names = list(manifest["layers"]) + list(manifest.get("images") or [])
    if not all(isinstance(name, str) and NAME.match(name) for name in names) or not isinstance(
        manifest.get("graph"), str
    ):
        raise TableError("{} is damaged; make the samples again".format(os.path.join(folder, MANIFEST)))
    for name in sorted(os.listdir(os.path.join(folder, FOLDER))):
        path = "{}/{}".format(FOLDER, name)
        if manifest["files"].get(path) != files.digest(os.path.join(folder, path)):
            raise TableError("{}/{} is damaged or does not belong there; make the samples again".format(folder, path))


def load(
    folder: str, manifest: "Manifest", layer: str, boundary: "Sequence[Crossing]"
) -> "Dict[str, Tuple[torch.Tensor, ...]]":
    """Loads what enters a layer.

    Args:
        folder: The network's folder.
        manifest: What its manifest.json says.
        layer: The layer.
        boundary: The values (shape, dtype) that the network's document foretells.

    Returns:
        Image -> its tensors.

    Raises:
        TableError: A file is missing, damaged, or of another shape or dtype.
    """
    found: Dict[str, Tuple[torch.Tensor, ...]] = OrderedDict()
    for image in manifest["images"]:
        tensors: List[torch.Tensor] = []
        for path, value in zip(_paths(layer, image, len(boundary)), boundary):
            tensor = tensor_files.read(os.path.join(folder, path))
            dtype = str(getattr(tensor, "dtype", "nothing")).rsplit(".", 1)[-1]
            if isinstance(tensor, dict) or dtype != value.dtype or tuple(tensor.shape) != tuple(value.shape):
                raise TableError(
                    "{} holds {} of {}, the layer takes {} of {}".format(
                        os.path.join(folder, path),
                        dtype,
                        _times(getattr(tensor, "shape", ())),
                        value.dtype,
                        _times(value.shape),
                    )
                )
            tensors.append(tensor)
        found[image] = tuple(tensors)
    return found


def _times(sizes: Sequence[int]) -> str:
    return "x".join(str(size) for size in sizes) or "a number"
