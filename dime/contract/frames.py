"""Frames: how tensors go from one device to the next over TCP while a plan runs or a link is measured.

A frame is a header of a fixed length, the payload's raw bytes, and the CRC-32 of the header and the payload's first
64 KiB; of the rest TCP's own checksum must do, since ours would take longer than the transfer. All numbers are
little-endian.

| bytes | what |
|---|---|
| 4 | ``DIME`` |
| 1 | version of this protocol |
| 1 | kind, one of KINDS |
| 1 | dtype, its place in DTYPES |
| 1 | number of dimensions, at most 8 |
| 8 | number of the request |
| 8 | length of the payload |
| 32 | shape, 8 numbers; those that are not used are 0 |

Whoever reads a frame knows from the plan which may come: its kind, dtype, shape and length are compared with what was
foretold before a byte of the payload is taken, which is received into memory that is there already. Nothing is
unpickled, and nothing is allocated because a peer asks for it.
"""

import struct
import zlib
from typing import NamedTuple, Sequence, Tuple, Union

from dime.contract.errors import DeviceError

LOOPBACK = "127.0.0.1"  # where ends on one machine meet

VERSION = 3
MAGIC = b"DIME"
_HEADER = struct.Struct("<4sBBBBQQ8I")
_TRAILER = struct.Struct("<I")
HEADER_BYTES = _HEADER.size
TRAILER_BYTES = _TRAILER.size
OVERHEAD_BYTES = HEADER_BYTES + TRAILER_BYTES
"""What one frame takes beside its payload; IP and TCP take their own."""
DIMENSIONS = 8
LARGEST_REQUEST = 2**64 - 1
LARGEST_TEXT_BYTES = 1000
CHECKED_BYTES = 1 << 16

Memory = Union[bytes, bytearray, memoryview]

# dtype -> bytes of an element; a dtype's place in this order is what travels.
_ITEM_BYTES = (
    ("uint8", 1),
    ("int8", 1),
    ("int16", 2),
    ("int32", 4),
    ("int64", 8),
    ("float16", 2),
    ("bfloat16", 2),
    ("float32", 4),
    ("float64", 8),
    ("bool", 1),
)
DTYPES = tuple(name for name, _ in _ITEM_BYTES)
_SIZES = dict(_ITEM_BYTES)

# Kinds of frames. Those of the handshake come first and once.
HELLO, CHALLENGE, PROOF, WELCOME = 1, 2, 3, 4
TENSOR, STAMPS, PROBE, ANSWER = 16, 17, 18, 19
END, FAULT = 32, 33
KINDS = (HELLO, CHALLENGE, PROOF, WELCOME, TENSOR, STAMPS, PROBE, ANSWER, END, FAULT)


class FrameError(DeviceError):
    """A frame that is none, or not the one that was foretold; its connection is of no more use."""


class VersionError(FrameError):
    """A frame of another version of the protocol; the other side is told, by a frame of this one's."""


Header = NamedTuple(
    "Header", [("kind", int), ("request", int), ("dtype", str), ("shape", Tuple[int, ...]), ("length", int)]
)

_Foretold = NamedTuple("_Foretold", [("kind", int), ("dtype", str), ("shape", Tuple[int, ...]), ("varies", bool)])


class Foretold(_Foretold):
    """A frame that may come next.

    Attributes:
        kind: Its kind.
        dtype: Its dtype.
        shape: Its shape.
        varies: Whether it may be shorter than that: it has one dimension then, such as a compressed picture.
    """

    __slots__ = ()

    def __new__(cls, kind: int, dtype: str, shape: Sequence[int], varies: bool = False) -> "Foretold":
        size_bytes(dtype, shape)
        if kind not in KINDS or (varies and len(shape) != 1):
            raise ValueError("no such frame can be foretold: kind {}, shape {}".format(kind, tuple(shape)))
        return super(Foretold, cls).__new__(cls, kind, dtype, tuple(shape), varies)

    @property
    def length(self) -> int:
        """The bytes of its payload, at most."""
        return size_bytes(self.dtype, self.shape)

    def fits(self, header: Header) -> bool:
        """Whether a header is that of this frame."""
        if (header.kind, header.dtype) != (self.kind, self.dtype):
            return False
        if not self.varies:
            return header.shape == self.shape
        return len(header.shape) == 1 and header.shape[0] <= self.shape[0]


def size_bytes(dtype: str, shape: Sequence[int]) -> int:
    """Bytes of a tensor.

    Raises:
        ValueError: There is no such tensor in a frame.
    """
    if dtype not in _SIZES or len(shape) > DIMENSIONS or not all(0 <= size < 1 << 32 for size in shape):
        raise ValueError("a frame holds no {} of shape {}".format(dtype, tuple(shape)))
    count = _SIZES[dtype]
    for size in shape:
        count *= size
    if count >= 1 << 63:
        raise ValueError("a frame holds no {} of shape {}".format(dtype, tuple(shape)))
    return count


def pack(kind: int, request: int, dtype: str, shape: Sequence[int]) -> bytes:
    """A frame's header.

    Args:
        kind: One of KINDS.
        request: The number of the request that it belongs to.
        dtype: One of DTYPES.
        shape: At most eight sizes.
    """
    if kind not in KINDS or not 0 <= request <= LARGEST_REQUEST:
        raise ValueError("no such frame: kind {}, request {}".format(kind, request))
    sizes = tuple(shape) + (0,) * (DIMENSIONS - len(shape))
    length = size_bytes(dtype, shape)
    return _HEADER.pack(MAGIC, VERSION, kind, DTYPES.index(dtype), len(shape), request, length, *sizes)


def unpack(data: bytes, foretold: Sequence[Foretold]) -> Header:
    """Reads a header and makes sure that it is one of those that may come.

    Args:
        data: HEADER_BYTES bytes, of anybody.
        foretold: The frames that may come.

    Raises:
        FrameError: It is no header, or not one of them.
    """
    if len(data) != HEADER_BYTES:
        raise FrameError("a frame's header is cut off after {} bytes".format(len(data)))
    fields = _HEADER.unpack(data)
    magic, version, kind, dtype, dimensions, request, length = fields[:7]
    if magic != MAGIC:
        raise FrameError("what came is no frame of DIME")
    if version != VERSION:
        raise VersionError(
            "the other side speaks version {} of the protocol, this one {}: use the same DIME on both".format(
                version, VERSION
            )
        )
    if dtype >= len(DTYPES) or dimensions > DIMENSIONS or any(fields[7 + dimensions :]):
        raise FrameError("a frame came whose header is damaged")
    header = Header(kind, request, DTYPES[dtype], tuple(fields[7 : 7 + dimensions]), length)
    if not any(one.fits(header) for one in foretold) or size_bytes(header.dtype, header.shape) != length:
        raise FrameError(
            "a frame came that was not foretold: kind {}, {} of shape {}, {} bytes".format(
                kind, header.dtype, "x".join(map(str, header.shape)) or "()", length
            )
        )
    return header


def trailer(header: Memory, payload: Memory) -> bytes:
    """A frame's last bytes: the checksum of its header and of the payload's first CHECKED_BYTES."""
    crc = zlib.crc32(memoryview(payload)[:CHECKED_BYTES], zlib.crc32(header))
    return _TRAILER.pack(crc & 0xFFFFFFFF)


ENDED = Foretold(END, "uint8", (0,))
FAILED = Foretold(FAULT, "uint8", (LARGEST_TEXT_BYTES,), varies=True)
