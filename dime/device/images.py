"""Pictures that feature maps are made from: those that ship with DIME, ImageNette's, or a folder of the user's own."""

import hashlib
import os
import random
import re
import shutil
import warnings
from collections import Counter, OrderedDict
from typing import TYPE_CHECKING, Any, Dict, Iterable, List, Mapping, NamedTuple, Optional, Sequence, Tuple, cast

from dime.contract import files
from dime.contract.errors import InputError, nearest
from dime.device import downloads

if TYPE_CHECKING:
    import torch
    from PIL import Image

    from dime.contract.messages import Emit
    from dime.device.graphs.sources import Preprocessing

EXTENSIONS = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp")
# What only some builds of Pillow read; where this one does not, a person is told what would.
RARE_EXTENSIONS = (".avif", ".heic", ".heif", ".jp2", ".jxl")
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's, as torchvision's weights expect them.
CLASSES, PER_CLASS, IMAGENETTE_SEED = 10, 2, 0
SIZE, IMAGENETTE = "320px", "imagenette2-320"
# Of a larger folder so many pictures are drawn; folders beyond so many files are somebody's whole disk.
MOST_PICTURES, MOST_FILES, DRAW_SEED = 200, 100000, 0
LONGEST_NAME, LONGEST_TOLD = 100, 10
WIDEST = 32  # a picture's longer side over its shorter one; resizing beyond it would fill the memory

# tensors: name -> tensor of the input; source: as `describe` says; odd: file -> what was done to it, or why not.
Pictures = NamedTuple("Pictures", [("tensors", "Dict[str, torch.Tensor]"), ("source", str), ("odd", Dict[str, str])])


def describe(source: str) -> str:
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
    for name, path in sorted(_files(source)[0].items()):
        if os.path.isfile(path):  # no dangling link, pipe or device, of which `load` says that they are no pictures
            try:
                found.update("{} {}\n".format(name, files.digest(path)).encode())
            except EnvironmentError:
                continue
    return "{} {}".format("builtin" if source == "builtin" else "folder", found.hexdigest()[:12])


def load(source: str, shape: Sequence[int], emit: "Emit", how: "Optional[Preprocessing]" = None) -> Pictures:
    """Loads pictures as a network takes them: shorter side scaled to 8/7 of the input, centre cut out, normalised.

    Args:
        source: ``builtin``, ``imagenette``, or a folder, whose folders are looked into as well.
        shape: Shape of the network's input, with the batch of one in front.
        emit: Called with a message's kind and fields: what was done to odd pictures, and which were left out.
        how: Another preprocessing: ``resize`` (the shorter side's length), ``mean`` and ``deviation`` of the channels.

    Returns:
        Pictures: Tensors of that shape by name, what the source is, and what was done to odd files.

    Raises:
        InputError: There is no such source, or none of its pictures can be read.
    """
    paths, note = (_imagenette(emit), None) if source == "imagenette" else _files(source)
    tensors, treated, left_out = OrderedDict(), OrderedDict(), OrderedDict()
    for name, path in sorted(paths.items()):
        file = os.path.relpath(path, source) if os.path.isdir(source) else os.path.basename(path)
        try:
            picture, done = _read(path)
            tensors[name] = _prepare(picture, shape, how)
        except Exception as error:  # decoders of damaged files raise whatever they like
            left_out[file] = _reason(path, error)
            continue
        if done:
            treated[file] = done
    if not tensors:
        raise InputError("none of the pictures in {} can be read: {}".format(source, _told(left_out)))
    if note:
        emit("note", text=note)
    if treated:
        emit("note", text="odd pictures: {}".format(_told(treated)))
    if left_out:
        emit("warning", text="left out: {}".format(_told(left_out)))
    odd = OrderedDict(treated)
    odd.update((file, "left out: " + reason) for file, reason in left_out.items())
    return Pictures(tensors, describe(source), odd)


def _told(files: Mapping[str, str]) -> str:
    """Files and what is to be said of each, in one line; of many the first."""
    told = ["{}: {}".format(file, text) for file, text in list(files.items())[:LONGEST_TOLD]]
    more = ["and {} more".format(len(files) - LONGEST_TOLD)] if len(files) > LONGEST_TOLD else []
    return "; ".join(told + more)


def _reason(path: str, error: Exception) -> str:
    """Why a picture was left out."""
    from PIL import Image, UnidentifiedImageError, __version__

    extension = os.path.splitext(path)[1].lower()
    if isinstance(error, Image.DecompressionBombError):
        return "more than {} million pixels; make it smaller".format(2 * (Image.MAX_IMAGE_PIXELS or 0) // 10**6)
    if isinstance(error, EnvironmentError) and error.strerror:
        return error.strerror
    if isinstance(error, UnidentifiedImageError):
        if extension in RARE_EXTENSIONS:
            converter = "heif-convert" if extension in (".heic", ".heif", ".avif") else "magick"
            return "Pillow {} does not read {}; type: {} {} NAME.jpg".format(
                __version__, extension, converter, os.path.basename(path)
            )
        return "not a picture"
    return " ".join(str(error).split())[:200] or type(error).__name__


def _read(path: str) -> "Tuple[Image.Image, str]":
    """Reads a picture in three colours of 8 bits; returns it, and what had to be done to it (or nothing)."""
    from PIL import Image

    if not os.path.isfile(path):  # nothing is waited for at a pipe or a device
        os.stat(path)
        raise ValueError("not a plain file")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of large pictures and odd metadata; what matters is told
        with Image.open(path) as picture:
            if max(picture.size) > WIDEST * min(picture.size):
                raise ValueError("{} x {} pixels are too long a strip".format(*picture.size))
            done = []
            if getattr(picture, "n_frames", 1) > 1:
                done.append("the first of {} frames was taken".format(picture.n_frames))
            picture.load()
            return _rgb(picture, done), ", ".join(done)


def _rgb(picture: "Image.Image", done: List[str]) -> "Image.Image":
    """A picture in three colours of 8 bits; what had to be decided for that is appended to ``done``."""
    from PIL import Image

    if picture.mode == "F" or picture.mode.startswith("I"):
        whole = picture.mode != "F"
        least, most = cast("Tuple[float, float]", (picture.convert("I") if whole else picture).getextrema())
        if picture.mode.startswith("I;16") or picture.format in ("PNG", "PPM"):
            top: Optional[int] = 65535
        else:
            top = next((top for top in ((255, 65535) if whole else (1, 255, 65535)) if most <= top), None)
        if least < 0 or top is None:
            raise ValueError("its levels run from {:g} to {:g}, of an unknown range".format(least, most))
        scale, half = 255.0 / top, 0.5 if whole else 0.0
        picture = picture.convert("I" if whole else "F").point(lambda level: level * scale + half).convert("L")
        done.append("levels from 0 to {} scaled to 255".format(top))
    if picture.mode in ("LA", "PA", "La", "RGBA", "RGBa") or "transparency" in picture.info:
        picture = picture.convert("RGBA")
        if cast("Tuple[int, int]", picture.getchannel("A").getextrema())[0] < 255:
            done.append("transparent, laid on white")
        white = Image.new("RGBA", picture.size, (255, 255, 255, 255))
        picture = Image.alpha_composite(white, picture)
    if picture.mode == "CMYK":
        done.append("converted from CMYK")
    return picture.convert("RGB")


def _prepare(picture: "Image.Image", shape: Sequence[int], how: "Optional[Preprocessing]" = None) -> "torch.Tensor":
    """Does what torchvision's weights expect (Resize, CenterCrop, ToTensor, Normalize), without importing it."""
    import torch
    from PIL import Image

    height, width = shape[-2:]
    shorter = how.resize if how else width * 8 // 7
    mean, deviation = (how.mean, how.deviation) if how else (MEAN, DEVIATION)
    shorter = max(shorter, height, width)
    scaled = [shorter * size // min(picture.size) for size in picture.size]
    left, top = [int(round((size - side) / 2.0)) for size, side in zip(scaled, (width, height))]
    bilinear = Image.BILINEAR  # type: ignore[attr-defined]  # Pillow makes it at run time
    picture = picture.resize(scaled, bilinear).crop((left, top, left + width, top + height))
    pixels = torch.frombuffer(bytearray(picture.tobytes()), dtype=torch.uint8).reshape(1, height, width, 3)
    levels = pixels.permute(0, 3, 1, 2).contiguous().float().div(255)
    return levels.sub(torch.tensor(mean).reshape(3, 1, 1)).div(torch.tensor(deviation).reshape(3, 1, 1))


def _files(source: str) -> Tuple[Dict[str, str], Optional[str]]:
    """Maps the names of a folder's pictures, in the folders below it as well, to their paths; and what to say of it."""
    folder = os.path.join(os.path.dirname(__file__), "pictures") if source == "builtin" else source
    if not os.path.isdir(folder):
        known = ("builtin", "imagenette")
        raise InputError(
            "source '{}': not a folder; known: {}, or a folder{}".format(
                source, ", ".join(known), nearest(source, known)
            )
        )
    chosen: List[str] = []
    others: Dict[str, int] = Counter()
    seen = 0
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        seen += len(names)
        if seen > MOST_FILES:
            raise InputError("{} holds more than {} files; name a folder of pictures".format(folder, MOST_FILES))
        for name in sorted(name for name in names if not name.startswith(".")):
            extension = os.path.splitext(name)[1].lower()
            if extension in EXTENSIONS + RARE_EXTENSIONS:
                chosen.append(os.path.join(place, name))
            else:
                others[extension or "without an ending"] += 1
    if not chosen:
        there = ", ".join("{} {}".format(count, kind) for kind, count in sorted(others.items())[:LONGEST_TOLD])
        raise InputError("{} holds no picture ({}); there: {}".format(folder, " ".join(EXTENSIONS), there or "nothing"))
    drawn = _drawn(chosen)
    note = None
    if len(drawn) < len(chosen):
        note = "{} of {} pictures were drawn, evenly over the folders".format(len(drawn), len(chosen))
    return _named(folder, drawn), note


def _drawn(paths: Sequence[str]) -> List[str]:
    """Of many paths some, evenly over their folders, always the same."""
    by_folder: Dict[str, List[str]] = OrderedDict()
    for path in paths:
        by_folder.setdefault(os.path.dirname(path), []).append(path)
    draw = random.Random(DRAW_SEED)
    shuffled = [draw.sample(inside, len(inside)) for inside in by_folder.values()]
    longest = max(map(len, shuffled))
    in_turns = [inside[turn] for turn in range(longest) for inside in shuffled if turn < len(inside)]
    return sorted(in_turns[:MOST_PICTURES])


def _named(folder: str, paths: Iterable[str]) -> Dict[str, str]:
    """Gives each path a short name that can stand in a file name and in a table."""
    named = {}
    for path in paths:
        stem, extension = os.path.splitext(os.path.basename(path))
        name = _plain(stem)
        if name in named:
            name += "_" + extension.lstrip(".")
        if name in named:
            name = _plain(os.path.relpath(path, folder))
        while name in named:
            name += "_"
        named[name] = path
    return named


def _plain(text: str) -> str:
    name = re.sub(r"[^A-Za-z0-9_.-]+", "_", text)
    if len(name) > LONGEST_NAME:
        name = name[: LONGEST_NAME - 9] + "-" + hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:8]
    return name


def _imagenette(emit: "Emit") -> Dict[str, str]:
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
    by_class: Dict[int, List[str]] = OrderedDict()
    for path, label in sorted(dataset._samples):
        by_class.setdefault(label, []).append(path)
    if len(by_class) != CLASSES or min(map(len, by_class.values())) < PER_CLASS:
        raise InputError("ImageNette in {} is incomplete; remove it, so that it is fetched again".format(cache))
    draw = random.Random(IMAGENETTE_SEED)
    drawn = [path for label in sorted(by_class) for path in draw.sample(by_class[label], PER_CLASS)]
    return _named(cache, drawn)


def _fetch(
    imagenette: Any,  # Any: torchvision has no types
    cache: str,
    emit: "Emit",
) -> None:
    """Fetches ImageNette; its folder appears in the cache when it is complete."""
    emit("note", text="fetching ImageNette (326 MB) to {}".format(cache))
    archive: Tuple[str, str] = imagenette._ARCHIVES[SIZE]
    address, expected = archive
    aside = os.path.join(cache, IMAGENETTE + files.PART)

    def is_intact(path: str) -> bool:
        return files.digest(path, "md5") == expected

    downloads.fetch(address, os.path.join(aside, os.path.basename(address)), is_intact, emit)
    imagenette(aside, split="val", size=SIZE, download=True)  # It finds the archive there, and unpacks it.
    files.move(os.path.join(aside, IMAGENETTE), os.path.join(cache, IMAGENETTE))
    shutil.rmtree(aside)
