"""Pictures that feature maps are made from: those that ship with DIME, ImageNette's, or a folder of the user's own."""

import hashlib
import os
import random
import re
import shutil
from collections import OrderedDict

from dime.contract.errors import InputError
from dime.device import downloads, storage

EXTENSIONS = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp")
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's, as torchvision's weights expect them.
CLASSES, PER_CLASS, IMAGENETTE_SEED = 10, 2, 0
SIZE, IMAGENETTE = "320px", "imagenette2-320"


def describe(source):
    """Names a source so that equal names mean equal pictures.

    Args:
        source: ``builtin``, ``imagenette``, or a folder.

    Returns:
        str: ``builtin <hash>``, ``imagenette seed <n>`` or ``folder <hash>``.

    Raises:
        InputError: There is no such source.
    """
    if source == "imagenette":
        return "imagenette seed {}".format(IMAGENETTE_SEED)
    found = hashlib.sha256()
    for name, path in sorted(_files(source).items()):
        with open(path, "rb") as stream:
            found.update("{} {}\n".format(name, hashlib.sha256(stream.read()).hexdigest()).encode())
    return "{} {}".format("builtin" if source == "builtin" else "folder", found.hexdigest()[:12])


def load(source, shape, emit, how=None):
    """Loads pictures as a network takes them: shorter side scaled to 8/7 of the input, centre cut out, normalised.

    Args:
        source: ``builtin``, ``imagenette``, or a folder.
        shape: Shape of the network's input, with the batch of one in front.
        emit: Called with a message's kind and fields; pictures that cannot be read are named in a warning.
        how: Another preprocessing: ``resize`` (the shorter side's length), ``mean`` and ``deviation`` of the channels.

    Returns:
        OrderedDict: Name -> tensor of that shape.

    Raises:
        InputError: There is no such source, or none of its pictures can be read.
    """
    from PIL import Image

    images, unreadable = OrderedDict(), []
    for name, path in sorted((_imagenette(emit) if source == "imagenette" else _files(source)).items()):
        try:
            with Image.open(path) as picture:
                images[name] = _prepare(picture.convert("RGB"), shape, how)
        except (EnvironmentError, ValueError, SyntaxError, Image.DecompressionBombError):
            unreadable.append(os.path.basename(path))
    if not images:
        raise InputError("none of the pictures in {} can be read: {}".format(source, ", ".join(unreadable)))
    if unreadable:
        emit("warning", text="left out, not readable as pictures: {}".format(", ".join(unreadable)))
    return images


def _prepare(picture, shape, how=None):
    """Does what torchvision's weights expect (Resize, CenterCrop, ToTensor, Normalize), without importing it."""
    import torch
    from PIL import Image

    height, width = shape[-2:]
    shorter = how.resize if how else width * 8 // 7
    mean, deviation = (how.mean, how.deviation) if how else (MEAN, DEVIATION)
    shorter = max(shorter, height, width)
    scaled = [shorter * size // min(picture.size) for size in picture.size]
    left, top = [int(round((size - side) / 2.0)) for size, side in zip(scaled, (width, height))]
    picture = picture.resize(scaled, Image.BILINEAR).crop((left, top, left + width, top + height))
    pixels = torch.frombuffer(bytearray(picture.tobytes()), dtype=torch.uint8).reshape(1, height, width, 3)
    levels = pixels.permute(0, 3, 1, 2).contiguous().float().div(255)
    return levels.sub(torch.tensor(mean).reshape(3, 1, 1)).div(torch.tensor(deviation).reshape(3, 1, 1))


def _files(source):
    """Maps the names of the pictures of a folder to their paths."""
    folder = os.path.join(os.path.dirname(__file__), "pictures") if source == "builtin" else source
    if not os.path.isdir(folder):
        raise InputError("source '{}': not a folder; known: builtin, imagenette, or a folder".format(source))
    chosen = [name for name in sorted(os.listdir(folder)) if os.path.splitext(name)[1].lower() in EXTENSIONS]
    if not chosen:
        raise InputError("{} holds no picture ({})".format(folder, " ".join(EXTENSIONS)))
    return _named(os.path.join(folder, name) for name in chosen)


def _named(paths):
    """Gives each path a short name that can stand in a file name and in a table."""
    named = {}
    for path in paths:
        stem, extension = os.path.splitext(os.path.basename(path))
        name = re.sub(r"[^A-Za-z0-9_.-]+", "_", stem)
        while name in named:
            name += "_" + extension.lstrip(".")
        named[name] = path
    return named


def _imagenette(emit):
    """Draws two pictures of each class of ImageNette's validation set, which torchvision fetches if need be."""
    try:
        from torchvision import datasets

        imagenette = datasets.Imagenette
    except Exception as error:  # torchvision fails in many ways where it does not fit torch, or is too old.
        raise InputError("ImageNette needs a newer torchvision ({}); use builtin or a folder of pictures".format(error))
    cache = os.path.join(os.path.expanduser(os.environ.get("XDG_CACHE_HOME", "~/.cache")), "dime")
    try:
        if not os.path.isdir(os.path.join(cache, IMAGENETTE)):
            _fetch(imagenette, cache, emit)
        dataset = imagenette(cache, split="val", size=SIZE)
    except Exception as error:  # Whatever the network or a damaged archive makes torchvision raise.
        raise InputError("ImageNette cannot be had ({}); use builtin or a folder of pictures".format(error))
    by_class = OrderedDict()
    for path, label in sorted(dataset._samples):
        by_class.setdefault(label, []).append(path)
    if len(by_class) != CLASSES or min(map(len, by_class.values())) < PER_CLASS:
        raise InputError("ImageNette in {} is incomplete; remove it, so that it is fetched again".format(cache))
    draw = random.Random(IMAGENETTE_SEED)
    return _named(path for label in sorted(by_class) for path in draw.sample(by_class[label], PER_CLASS))


def _fetch(imagenette, cache, emit):
    """Fetches ImageNette; its folder appears in the cache when it is complete."""
    emit("note", text="fetching ImageNette (326 MB) to {}".format(cache))
    address, expected = imagenette._ARCHIVES[SIZE]
    aside = os.path.join(cache, IMAGENETTE + ".part")

    def is_intact(path):
        return storage.digest(path, hashlib.md5()) == expected

    downloads.fetch(address, os.path.join(aside, os.path.basename(address)), is_intact, emit)
    imagenette(aside, split="val", size=SIZE, download=True)  # It finds the archive there, and unpacks it.
    os.rename(os.path.join(aside, IMAGENETTE), os.path.join(cache, IMAGENETTE))
    shutil.rmtree(aside)
