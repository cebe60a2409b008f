"""Feature maps: the input of every layer of a network for each picture, in <samples>/<network>/<layer>/<image>.pt.

manifest.json beside the layers' folders says whose they are and holds the SHA-256 of each file. Folders without one, in
the same layout, are read as they are.
"""

import hashlib
import json
import os
from collections import OrderedDict
from typing import TYPE_CHECKING, Dict, Iterable, List, Mapping, Optional, Sequence, Tuple

from dime import __version__
from dime.contract import files, plugins, schemas
from dime.contract.errors import TableError
from dime.device import images, networks, storage, tensor_files
from dime.device.graphs import maps

if TYPE_CHECKING:
    from typing import TypedDict  # novm

    import torch

    from dime.contract.messages import Emit
    from dime.device.networks import Crossing

    class Manifest(TypedDict, total=False):
        """manifest.json; the fields behind ``files`` are those of a network that was named."""

        network: str
        layers: List[str]
        weights: str
        source: str
        odd_pictures: Mapping[str, str]
        files: Dict[str, str]
        graph: str
        images: List[str]
        preprocessing: Optional[Mapping[str, object]]
        left_out: List[str]
        asked: Mapping[str, object]


MANIFEST = "manifest.json"


class Samples(object):
    """A folder of feature maps.

    Args:
        folder: The folder that holds one folder a layer.
        layers: The network's layers, in order.
        manifest: What manifest.json says, or None if there is none.
        label: SHA-256 over the names and contents of all files.
    """

    def __init__(self, folder: str, layers: Sequence[str], manifest: "Optional[Manifest]", label: str) -> None:
        self.folder = folder
        self.layers = layers
        self.manifest = manifest
        self.label = label

    def load(self, layer: str, shape: Sequence[int]) -> "Dict[str, torch.Tensor]":
        """Loads a layer's inputs.

        Args:
            layer: The layer's name.
            shape: Shape of its input, with the batch of one in front.

        Returns:
            OrderedDict: Image name -> float32 tensor of that shape, in order of name.

        Raises:
            TableError: A file is missing, damaged or of another shape; the message names it.
        """
        return OrderedDict((name, self._load_one(path, shape)) for name, path in self._files(layer))

    def maps(self, layer: str, boundary: "Sequence[Crossing]") -> "Dict[str, Tuple[torch.Tensor, ...]]":
        """Loads a layer's inputs as tuples of tensors.

        Args:
            layer: The layer's name.
            boundary: The values (shape, dtype) that enter it.

        Returns:
            OrderedDict: Image name -> tensors.

        Raises:
            TableError: A file is missing, damaged or of another shape; the message names it.
        """
        if self.manifest is not None and "graph" in self.manifest:
            self._check_all(self.manifest, layer)
            found: Dict[str, Tuple[torch.Tensor, ...]] = maps.load(self.folder, self.manifest, layer, boundary)
            return found
        return OrderedDict((name, (tensor,)) for name, tensor in self.load(layer, boundary[0].shape).items())

    def _check_all(self, manifest: "Manifest", layer: str) -> None:
        for path, digest in manifest["files"].items():
            if path.startswith(layer + "/"):
                _check(os.path.join(self.folder, path), digest)

    def _files(self, layer: str) -> List[Tuple[str, str]]:
        folder = os.path.join(self.folder, layer)
        try:
            names = sorted(name[: -len(".pt")] for name in os.listdir(folder) if name.endswith(".pt"))
        except EnvironmentError as error:
            raise TableError("feature maps of layer {} are missing: {}: {}".format(layer, folder, error.strerror))
        if self.manifest is not None:
            start = layer + "/"
            names = [path[len(start) : -len(".pt")] for path in self.manifest["files"] if path.startswith(start)]
        if not names:
            raise TableError("{} holds no feature map (NAME.pt)".format(folder))
        return [(name, os.path.join(folder, name + ".pt")) for name in sorted(names)]

    def _load_one(self, path: str, shape: Sequence[int]) -> "torch.Tensor":
        import torch

        if self.manifest is not None:
            _check(path, self.manifest["files"][os.path.relpath(path, self.folder).replace(os.sep, "/")])
        tensor = tensor_files.read(path)
        if not isinstance(tensor, torch.Tensor) or not tensor.is_floating_point():
            raise TableError("{} is not a tensor of floating-point numbers".format(path))
        squeezed, expected = [[size for size in sizes if size != 1] for sizes in (tensor.shape, shape)]
        if squeezed != expected and squeezed != [torch.Size(shape).numel()]:
            raise TableError(
                "{} has the shape {}, the layer takes {}".format(path, _times(tensor.shape), _times(shape))
            )
        tensor = tensor.detach().reshape(shape).float().contiguous()
        if not torch.isfinite(tensor).all():
            raise TableError("{} holds values that are not finite".format(path))
        return tensor


def make(network: str, source: str, folder: str, weights: str = "auto", emit: "Optional[Emit]" = None) -> Samples:
    """Makes the feature maps of a network, unless exactly these are there already.

    Args:
        network: The network's name.
        source: ``builtin``, ``imagenette``, or a folder of pictures.
        folder: The samples' folder; theirs is the one in it that is named like the network.
        weights: As for `dime.device.networks.load`.
        emit: Called with a message's kind and fields.

    Returns:
        Samples: The feature maps.

    Raises:
        InputError: Unknown network or weights, or no picture can be read.
        TableError: The folder holds other feature maps, or damaged ones.
        DeviceError: The disk would not take them.
    """
    emit = emit or (lambda kind, **fields: None)
    target = os.path.join(folder, network)
    plugins.check(networks, network)
    images.describe(source)
    with storage.locked(folder):
        if os.path.exists(target):
            return _existing(target, network, source, weights, emit)
        with storage.disk_errors(folder):
            with files.making(target) as aside:
                _fill(aside, network, source, weights, emit)
            return find(folder, network)


def find(folder: str, network: str) -> Samples:
    """Finds a network's feature maps in a folder.

    Args:
        folder: A samples' folder (with ``<network>`` or ``<network>_samples`` in it), or such a folder itself.
        network: The network's name.

    Returns:
        Samples: The feature maps; their files are not read yet.

    Raises:
        TableError: There are none, or their manifest is damaged.
    """
    if maps.is_there(os.path.join(folder, network)) or maps.is_there(folder):
        place = os.path.join(folder, network) if maps.is_there(os.path.join(folder, network)) else folder
        manifest, label = _read_manifest(place)
        if manifest["network"] == network:
            maps.check_manifest(place, manifest)
            return Samples(place, manifest["layers"], manifest, label)
    layers = list(networks.describe(network).LAYERS)
    for candidate in (os.path.join(folder, network), os.path.join(folder, network + "_samples"), folder):
        if os.path.exists(os.path.join(candidate, MANIFEST)):
            manifest, label = _read_manifest(candidate)
            if manifest["network"] != network:
                continue
            return Samples(candidate, layers, manifest, label)
        if os.path.isdir(os.path.join(candidate, layers[0])):
            return Samples(candidate, layers, None, _label(candidate, layers))
    raise TableError(
        "no feature maps of {0} in {1}; make them: python -m dime.device samples --network {0} --samples {1}".format(
            network, folder
        )
    )


def _existing(target: str, network: str, source: str, weights: str, emit: "Emit") -> Samples:
    """Checks feature maps that are there already against what was asked for."""
    if not os.path.exists(os.path.join(target, MANIFEST)):
        raise TableError("{} exists and has no {}; nothing was overwritten".format(target, MANIFEST))
    manifest, label = _read_manifest(target)
    asked = images.describe(source)
    if manifest["network"] != network or manifest["source"] != asked:
        raise TableError(
            "{} holds feature maps of {} from {}, not of {} from {}; nothing was overwritten".format(
                target, manifest["network"], manifest["source"], network, asked
            )
        )
    if not _same_weights(weights, manifest["weights"]):
        raise TableError(
            "{} was made with the weights '{}', not '{}'; nothing was overwritten".format(
                target, manifest["weights"], weights
            )
        )
    for path, digest in sorted(manifest["files"].items()):
        _check(os.path.join(target, path), digest)
    emit("note", text="{}: {} feature maps are there and intact".format(target, len(manifest["files"])))
    return Samples(target, manifest["layers"], manifest, label)


def _same_weights(asked: str, label: str) -> bool:
    if asked in ("auto", label):
        return True
    if os.path.isfile(asked):
        return label == "file " + files.digest(asked)[:12]
    return asked.replace(":", " ").replace("=", " ") == label or (asked == "seeded" and label == "seeded 0")


def _fill(folder: str, network: str, source: str, weights: str, emit: "Emit") -> None:
    """Computes all feature maps into an empty folder."""
    pictures = images.load(source, networks.describe(network).INPUT_SHAPE, emit)
    loaded = networks.load(network, weights, emit)
    import torch

    emit("hello", version=__version__, device=None, network=network, total=len(pictures.tensors))
    for layer in loaded.layers:
        os.makedirs(os.path.join(folder, layer))
    digests = OrderedDict()
    with torch.no_grad():
        for number, (name, picture) in enumerate(sorted(pictures.tensors.items()), start=1):
            tensor = picture
            for layer, module in zip(loaded.layers, loaded.modules):
                path = "{}/{}.pt".format(layer, name)
                digests[path] = tensor_files.write(os.path.join(folder, path), tensor)
                tensor = module(tensor)
            emit("progress", done=number, what=name)
    manifest = OrderedDict(
        network=network,
        layers=loaded.layers,
        weights=loaded.weights,
        source=pictures.source,
        odd_pictures=pictures.odd,
        files=OrderedDict(sorted(digests.items())),
    )
    files.new(os.path.join(folder, MANIFEST), files.as_json(schemas.stamped(schemas.FEATURE_MAPS, manifest)))


def _read_manifest(folder: str) -> "Tuple[Manifest, str]":
    """Reads a manifest; returns it with its own hash, which covers those of all files."""
    path = os.path.join(folder, MANIFEST)
    try:
        with open(path, "rb") as stream:
            content = stream.read()
        manifest = json.loads(content.decode("utf-8"), object_pairs_hook=OrderedDict)
        if isinstance(manifest, dict):
            schemas.version(schemas.FEATURE_MAPS, manifest, path)
        if not all(isinstance(manifest[key], str) for key in ("network", "weights", "source")):
            raise ValueError("not a manifest")
        if not isinstance(manifest["files"], dict) or not isinstance(manifest["layers"], list):
            raise ValueError("not a manifest")
    except EnvironmentError as error:
        raise TableError("{}: {}".format(path, error.strerror))
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise TableError("{} is damaged ({}); remove its folder and make the samples again".format(path, error))
    return manifest, hashlib.sha256(content).hexdigest()


def _label(folder: str, layers: Iterable[str]) -> str:
    found = hashlib.sha256()
    for layer in layers:
        inside = os.path.join(folder, layer)
        for name in sorted(os.listdir(inside)) if os.path.isdir(inside) else []:
            if name.endswith(".pt"):
                found.update("{}/{} {}\n".format(layer, name, files.digest(os.path.join(inside, name))).encode())
    return found.hexdigest()


def _check(path: str, digest: str) -> None:
    try:
        found = files.digest(path)
    except EnvironmentError as error:
        raise TableError("{}: {}; remove the folder and make the samples again".format(path, error.strerror))
    if found != digest:
        raise TableError("{} is damaged: its hash is not the manifest's; make the samples again".format(path))


def _times(sizes: Iterable[int]) -> str:
    return "x".join(str(size) for size in sizes) or "scalar"
