"""feature maps -> encodings.csv: how long what crosses a link takes to encode and decode, its bytes, and its effect.

Encoding begins and ends in the host's memory: what it takes to get there from a GPU's stands in timings.csv.
"""

import io
import math
import os
import struct
import time
import warnings
from collections import Counter
from typing import (
    TYPE_CHECKING,
    Callable,
    Dict,
    Iterable,
    List,
    NamedTuple,
    Optional,
    Sequence,
    Set,
    Tuple,
    TypeVar,
    Union,
)

import torch

from dime.contract import encodings, files, tables
from dime.contract.bundles import Bundle
from dime.contract.errors import InputError
from dime.contract.run import ENCODINGS
from dime.contract.timebase import monotonic_ns
from dime.device import boards, images, stop
from dime.device.processor import as_tuple, own, size_bytes

if TYPE_CHECKING:
    from dime.contract.messages import Emit
    from dime.device.boards import Board
    from dime.device.processor import Processor
    from dime.device.samples import Manifest
    from dime.device.timings import Inputs, Network

Data = Union[bytes, memoryview]
Value = TypeVar("Value")
Made = TypeVar("Made")

RUNS = 5
WAIT_S = 0.003  # a short round trip: a device waits for a request, and for what it decodes
MOST_IMAGES = 8
RANGE = struct.Struct("<ff")  # before the steps of a tensor: what 0 and 255 stand for
LENGTH = struct.Struct("<I")  # before each picture of a batch
# How a JPEG with fewer samples of colour is filled in again is each library's own affair: libjpeg 9 and libjpeg-turbo
# are up to 77 of 255 levels apart in the pictures that ship with DIME; with all samples, a quarter more bytes, it is 1.
ALL_COLOURS = 0

Levels = NamedTuple("Levels", [("mean", Tuple[float, ...]), ("deviation", Tuple[float, ...])])
Levels.__doc__ = "What was taken from each channel of a picture from 0 to 1, and by what it was divided."
IMAGENET = Levels(images.MEAN, images.DEVIATION)


def encode(tensor: torch.Tensor, encoding: str, levels: Optional[Levels] = None) -> bytes:
    """Encodes a tensor that lies in the host's memory.

    Args:
        tensor: The tensor; one of whole numbers stays as it is.
        encoding: Such as ``float16``, ``uint8`` or ``jpeg90``.
        levels: Of the network's input, if it is pictures; without it ``uint8`` are steps between least and greatest.

    Raises:
        InputError: The tensor is no batch of pictures, and the encoding is for those.
    """
    if not tensor.is_floating_point():
        return _bytes(tensor)
    if encoding == "float16":
        return _bytes(tensor.to(torch.float16))
    if encoding == "uint8" and levels is None:
        least, most = float(tensor.min()), float(tensor.max())
        step = (most - least) / 255 or 1.0
        steps = tensor.float().sub(least).div(step).round_().clamp_(0, 255).to(torch.uint8)
        return RANGE.pack(least, most) + _bytes(steps)
    pictures = _pictures(tensor, encoding, levels)
    if encoding == "uint8":
        return _bytes(pictures)
    from PIL import Image

    found = []
    for picture in pictures:
        stream = io.BytesIO()
        made = Image.frombytes("RGB", (picture.shape[1], picture.shape[0]), _bytes(picture))
        made.save(stream, "JPEG", quality=encodings.quality(encoding), subsampling=ALL_COLOURS)
        found.append(LENGTH.pack(stream.tell()) + stream.getvalue())
    return b"".join(found)


def length(encoding: str, shape: Sequence[int], dtype: torch.dtype, levels: Optional[Levels] = None) -> Optional[int]:
    """Bytes of any tensor of a shape, once it is encoded; None where they depend on what is in it.

    Args:
        encoding: The encoding.
        shape: The tensor's shape.
        dtype: Its dtype.
        levels: As for `encode`.

    Raises:
        InputError: The encoding is for pictures, and this is none.
    """
    count = 1
    for size in shape:
        count *= size
    if not dtype.is_floating_point:
        return count * torch.empty((), dtype=dtype).element_size()
    if encoding == "float16":
        return count * 2
    if encoding == "uint8" and levels is None:
        return RANGE.size + count
    _check_pictures(shape, encoding, levels)
    return count if encoding == "uint8" else None


def decode(
    data: Data, encoding: str, shape: Sequence[int], dtype: torch.dtype, levels: Optional[Levels] = None
) -> torch.Tensor:
    """Decodes what `encode` made of a tensor.

    The bytes may be anybody's: a picture's size is looked at before any pixel of it is decoded.

    Args:
        data: The bytes.
        encoding: The encoding.
        shape: The tensor's shape.
        dtype: Its dtype.
        levels: As for `encode`.

    Raises:
        InputError: They are no such tensor.
    """
    expected = length(encoding, shape, dtype, levels)
    if expected is not None and len(data) != expected:
        raise InputError("{} bytes are no {} of {} as {}".format(len(data), dtype, tuple(shape), encoding))
    if not dtype.is_floating_point:
        return _tensor(data, dtype).reshape(tuple(shape))
    if encoding == "float16":
        return _tensor(data, torch.float16).to(dtype).reshape(tuple(shape))
    if encoding == "uint8" and levels is None:
        least, most = RANGE.unpack_from(data)
        steps = _tensor(data[RANGE.size :], torch.uint8).float()
        return steps.mul_((most - least) / 255).add_(least).to(dtype).reshape(tuple(shape))
    if encoding != "uint8":
        data = b"".join(_unpacked(data, shape, encoding))
    count, channels, height, width = shape
    pixels = _tensor(data, torch.uint8).reshape(count, height, width, channels).permute(0, 3, 1, 2)
    mean, deviation = _of_channels(levels)
    return pixels.float().div_(255).sub_(mean).div_(deviation).to(dtype).contiguous()


def _unpacked(data: Data, shape: Sequence[int], encoding: str) -> Iterable[bytes]:
    """The pixels of each picture of a batch; no more of one are decoded than were foretold."""
    at = 0
    for _ in range(shape[0]):
        if len(data) - at < LENGTH.size:
            raise InputError("what was encoded as {} ends before its last picture".format(encoding))
        (size,) = LENGTH.unpack_from(data, at)
        at += LENGTH.size
        if size > len(data) - at:
            raise InputError("what was encoded as {} ends within a picture".format(encoding))
        yield _pixels(bytes(data[at : at + size]), shape, encoding)
        at += size
    if at != len(data):
        raise InputError("what was encoded as {} has more than its pictures".format(encoding))


def _pixels(data: bytes, shape: Sequence[int], encoding: str) -> bytes:
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of large pictures, which are refused in a moment
            with Image.open(io.BytesIO(data), formats=("JPEG",)) as picture:
                if picture.size != (shape[3], shape[2]) or picture.mode != "RGB":
                    raise InputError(
                        "a picture of {1} x {0} was encoded, not of {2} x {3}".format(*picture.size, *shape[2:])
                    )
                if picture.format != "JPEG" or "progressive" in picture.info:
                    raise InputError("a picture was encoded otherwise than as {}".format(encoding))
                pixels: bytes = picture.tobytes()
                return pixels
    except InputError:
        raise
    except Exception as error:  # whatever a damaged picture makes Pillow raise
        said = " ".join(str(error).split())[:100] or type(error).__name__
        raise InputError("a picture that was encoded as {} is damaged: {}".format(encoding, said))


def _pictures(tensor: torch.Tensor, encoding: str, levels: Optional[Levels]) -> torch.Tensor:
    """Pixels of 8 bits of a batch of pictures, colours last."""
    _check_pictures(tensor.shape, encoding, levels)
    mean, deviation = _of_channels(levels)
    pixels = tensor.float().mul(deviation).add_(mean).mul_(255).round_().clamp_(0, 255)
    return pixels.to(torch.uint8).permute(0, 2, 3, 1).contiguous()


def _check_pictures(shape: Sequence[int], encoding: str, levels: Optional[Levels]) -> None:
    if levels is None or not of_pictures(shape, levels):
        raise InputError("{} is for pictures, not for a tensor of {}".format(encoding, tuple(shape)))


def of_pictures(shape: Sequence[int], levels: Levels) -> bool:
    """Whether a shape is that of a batch of pictures in three colours."""
    return len(shape) == 4 and shape[1] == 3 == len(levels.mean) == len(levels.deviation)


def _of_channels(levels: Optional[Levels]) -> Tuple[torch.Tensor, torch.Tensor]:
    assert levels is not None, "pictures have levels"
    return torch.tensor(levels.mean).reshape(3, 1, 1), torch.tensor(levels.deviation).reshape(3, 1, 1)


def _bytes(tensor: torch.Tensor) -> bytes:
    whole = tensor.contiguous()
    if whole.dtype == torch.bfloat16:  # which numpy does not know
        whole = whole.view(torch.int16)
    return whole.numpy().tobytes()


def _tensor(data: Data, dtype: torch.dtype) -> torch.Tensor:
    return torch.frombuffer(bytearray(data), dtype=dtype)


def levels_of(manifest: "Optional[Manifest]") -> Optional[Levels]:
    """How the pictures of feature maps became the network's input; None where it is no pictures."""
    if manifest is None or "graph" not in manifest:
        return IMAGENET  # the built-in networks
    how = manifest.get("preprocessing")
    if not how:
        return None
    mean, deviation = (how.get(name) for name in ("mean", "standard_deviation"))
    if not isinstance(mean, list) or not isinstance(deviation, list):
        return None
    if not all(isinstance(one, (int, float)) for one in mean + deviation):
        return None
    return Levels(tuple(mean), tuple(deviation))


class Encodings(object):
    """The encodings of one run, and at which frequencies they have been measured.

    Args:
        folder: The run's folder; what an earlier session measured there stays.
        choices: The encodings asked for.
        network: The network.
        inputs: Every layer's inputs by image.
        chosen: What the network runs on.
        levels: How pictures became the network's input; None where it is no pictures.
        emit: Told of what cannot be encoded so.
    """

    def __init__(
        self,
        folder: str,
        choices: Sequence[encodings.Choice],
        network: "Network",
        inputs: "List[Inputs]",
        chosen: "Processor",
        levels: Optional[Levels],
        emit: "Emit",
    ) -> None:
        self._path = os.path.join(folder, ENCODINGS)
        self._network, self._inputs, self._chosen, self._levels = network, inputs, chosen, levels
        self._cells = list(self._all(choices, emit))
        self._images = [name for name, _ in inputs[0][:MOST_IMAGES]]
        self._effects: Dict[Tuple[int, str, int], Tuple[Optional[int], Optional[float]]] = {}
        self._done = self._reopen()

    def _all(self, choices: Sequence[encodings.Choice], emit: "Emit") -> Iterable[Tuple[int, str]]:
        for choice in choices:
            needs_pictures = choice.place == encodings.INPUT and choice.encoding != "float16"
            shape = as_tuple(self._inputs[0][0][1])[0].shape
            if needs_pictures and (self._levels is None or not of_pictures(shape, self._levels)):
                text = "{}:{} is left out: the network's input is no pictures of three colours"
                emit("warning", text=text.format(choice.place, choice.encoding))
                continue
            for boundary in range(len(self._network.layers)):
                if encodings.is_of(choice, boundary):
                    yield boundary, choice.encoding

    def _reopen(self) -> "Set[int]":
        """Keeps the rows of frequencies that were finished; gives these frequencies."""
        if not os.path.exists(self._path):
            return set()
        rows = tables.recover(self._path, tables.ENCODINGS)
        whole = len(self._cells) * len(self._images) * RUNS
        finished = set(hz for hz, count in Counter(row["frequency_hz"] for row in rows).items() if count == whole)
        with files.replacing(self._path) as part, tables.Writer(part, tables.ENCODINGS) as writer:
            writer.write(row for row in rows if row["frequency_hz"] in finished)
        return finished

    def is_complete(self, frequency_hz: int) -> bool:
        """Whether there is nothing to measure at a frequency."""
        return not self._cells or frequency_hz in self._done

    def measure(self, frequency_hz: int, board: "Board") -> None:
        """Encodes and decodes what crosses each boundary, round by round; nothing is written but all of it.

        Args:
            frequency_hz: The frequency, which is fixed.
            board: The board's file, which may hold back what is timed.
        """
        if self.is_complete(frequency_hz):
            return
        ways = walks(self._cells)
        for cells in ways:  # a first picture warms up
            self._walk(cells, 0, frequency_hz, board)
        rows = []
        for run in range(RUNS):
            found: "Dict[Tuple[int, str, int], Dict[str, object]]" = {}
            for number in range(len(self._images)):
                for cells in ways:
                    for boundary, row in self._walk(cells, number, frequency_hz, board).items():
                        found[boundary, cells[boundary], number] = row
            keys = ((at, encoding, number) for at, encoding in self._cells for number in range(len(self._images)))
            rows += [dict(found[key], frequency_hz=frequency_hz, run=run) for key in keys]
        with tables.Writer(self._path, tables.ENCODINGS, append=True) as writer:
            writer.write(rows)
        self._done.add(frequency_hz)

    def _walk(
        self, cells: Dict[int, str], number: int, frequency_hz: int, board: "Board"
    ) -> "Dict[int, Dict[str, object]]":
        """Goes along the network with a picture: encodes what a layer has made, and decodes what was encoded before.

        A request and what is decoded come after a wait, in which a processor goes to rest. Back to back, on memory
        and caches that only they use, encodings would be several times as fast as in a plan.
        """
        encoded: Dict[int, List[bytes]] = {}
        decoded: Dict[int, List[torch.Tensor]] = {}
        rows: "Dict[int, Dict[str, object]]" = {}

        def decode_at(boundary: int) -> None:
            decode_all = boards.slowed(board, self._decoder(cells[boundary], boundary, number), frequency_hz)
            time.sleep(WAIT_S)
            rows[boundary]["decode_s"], decoded[boundary] = _timed(decode_all, encoded[boundary])

        for boundary in sorted(cells):
            encode_all = boards.slowed(board, self._encoder(cells[boundary], boundary), frequency_hz)
            tensors = self._behind_layer(boundary, number, frequency_hz, board)
            if boundary == 0:
                time.sleep(WAIT_S)
            encode_s, encoded[boundary] = _timed(encode_all, tensors)
            before = max(rows, default=None)
            rows[boundary] = {"encode_s": encode_s, "plain_bytes": size_bytes(tensors)}
            if before is not None:
                decode_at(before)
        self._behind_layer(max(cells) + 1, number, frequency_hz, board)
        decode_at(max(cells))
        for boundary, row in rows.items():
            same_class, distance = self._effect(boundary, cells[boundary], number, decoded[boundary])
            row.update(
                boundary=boundary,
                layer=self._network.layers[boundary],
                encoding=cells[boundary],
                image=self._images[number],
                encoded_bytes=sum(map(len, encoded[boundary])),
                same_class=same_class,
                distance=distance,
            )
        return rows

    def _behind_layer(self, boundary: int, number: int, frequency_hz: int, board: "Board") -> Tuple[torch.Tensor, ...]:
        """Runs the layer before a boundary, then gives what crosses there, in the host's memory.

        Before the network's input it is the last layer, of the request before.
        """
        stop.check()
        before = (boundary - 1) % len(self._network.layers)
        timed = boards.slowed(board, self._network.module(Bundle(before, before)), frequency_hz)
        copied = own(self._inputs[before][number][1])
        with torch.inference_mode():
            output = as_tuple(self._chosen.burst(timed, copied).output)
        tensors = output if boundary else as_tuple(self._inputs[0][number][1])
        return tuple(tensor.cpu().contiguous() for tensor in tensors)

    def _encoder(self, encoding: str, boundary: int) -> "Callable[[Tuple[torch.Tensor, ...]], List[bytes]]":
        levels = self._levels if boundary == 0 else None
        return lambda tensors: [encode(tensor, encoding, levels) for tensor in tensors]

    def _decoder(self, encoding: str, boundary: int, number: int) -> "Callable[[List[bytes]], List[torch.Tensor]]":
        levels = self._levels if boundary == 0 else None
        like = [(tensor.shape, tensor.dtype) for tensor in as_tuple(self._inputs[boundary][number][1])]
        return lambda several: [
            decode(data, encoding, shape, dtype, levels) for data, (shape, dtype) in zip(several, like)
        ]

    def _effect(
        self, boundary: int, encoding: str, number: int, decoded: Sequence[torch.Tensor]
    ) -> Tuple[Optional[int], Optional[float]]:
        """What the network's result becomes: whether its first class stays, and how far off it is."""
        key = boundary, encoding, number
        if key not in self._effects:
            plain = as_tuple(self._inputs[boundary][number][1])
            coded = [self._chosen.place(tensor) for tensor in decoded]
            results = [self._result(boundary, tensors) for tensors in (plain, coded)]
            self._effects[key] = effect(*results)
        return self._effects[key]

    def _result(self, boundary: int, tensors: Sequence[torch.Tensor]) -> Tuple[torch.Tensor, ...]:
        module = self._network.module(Bundle(boundary, len(self._network.layers) - 1))
        with torch.inference_mode():
            return as_tuple(module(own(tuple(tensors))))


def walks(cells: Sequence[Tuple[int, str]]) -> List[Dict[int, str]]:
    """Divides pairs of boundary and encoding so that each part has one encoding at most of a boundary.

    Args:
        cells: The pairs.

    Returns:
        list: For each walk along the network the encoding by boundary.
    """
    found: List[Dict[int, str]] = []
    for boundary, encoding in cells:
        free = next((walk for walk in found if boundary not in walk), None)
        if free is None:
            free = {}
            found.append(free)
        free[boundary] = encoding
    return found


def effect(plain: Sequence[torch.Tensor], coded: Sequence[torch.Tensor]) -> Tuple[Optional[int], Optional[float]]:
    """How a result differs from that without an encoding.

    Returns:
        tuple: 1 if the first class is the same in all of a batch, else 0, and None where the result is no classes; and
        the length of the difference as a part of the result's, None where it is no number.
    """
    off = [one.double() - other.double() for one, other in zip(coded, plain)]
    squares = [sum(float(one.double().pow(2).sum()) for one in several) for several in (off, plain)]
    distance = math.sqrt(squares[0] / squares[1]) if squares[1] > 0 else math.nan
    same = None
    if len(plain) == 1 and plain[0].dim() == 2 and plain[0].shape[1] > 1:
        same = int(bool((plain[0].argmax(1) == coded[0].argmax(1)).all()))
    return same, distance if math.isfinite(distance) else None


def _timed(run: "Callable[[Value], Made]", value: "Value") -> "Tuple[float, Made]":
    start_ns = monotonic_ns()
    found = run(value)
    return (monotonic_ns() - start_ns) * 1e-9, found
