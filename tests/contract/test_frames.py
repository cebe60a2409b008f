import struct
from random import Random

import pytest

from dime.contract import frames
from dime.contract.frames import TENSOR, Foretold, FrameError

FORETOLD = Foretold(TENSOR, "float32", (1, 64, 27, 27))


def test_a_header_is_read_as_it_was_written():
    header = frames.unpack(frames.pack(TENSOR, 2**64 - 1, "float32", (1, 64, 27, 27)), [FORETOLD])
    assert header == (TENSOR, 2**64 - 1, "float32", (1, 64, 27, 27), 4 * 64 * 27 * 27)


@pytest.mark.parametrize(
    "other",
    [
        (frames.STAMPS, 0, "float32", (1, 64, 27, 27)),
        (TENSOR, 0, "int32", (1, 64, 27, 27)),
        (TENSOR, 0, "float32", (1, 64, 27, 28)),
        (TENSOR, 0, "float32", (64, 27, 27)),
        (TENSOR, 0, "float32", (64, 1, 27, 27)),
        (TENSOR, 0, "float32", (2**32 - 1, 2**28)),
    ],
)
def test_what_was_not_foretold_is_refused(other):
    with pytest.raises(FrameError, match="not foretold"):
        frames.unpack(frames.pack(*other), [FORETOLD])


def test_one_that_varies_may_be_shorter_and_no_longer():
    picture = Foretold(TENSOR, "uint8", (1000,), varies=True)
    for size in (0, 7, 1000):
        assert frames.unpack(frames.pack(TENSOR, 1, "uint8", (size,)), [picture]).length == size
    for shape in ((1001,), (10, 10), ()):
        with pytest.raises(FrameError, match="not foretold"):
            frames.unpack(frames.pack(TENSOR, 1, "uint8", shape), [picture])


def test_another_version_is_told_as_such():
    data = bytearray(frames.pack(TENSOR, 1, "uint8", (4,)))
    data[4] = 9
    with pytest.raises(FrameError, match="speaks version 9 of the protocol, this one 3"):
        frames.unpack(bytes(data), [Foretold(TENSOR, "uint8", (4,))])


@pytest.mark.parametrize("data", [b"", b"DIME", b"GET / HTTP/1.1\r\n" * 4, bytes(frames.HEADER_BYTES), b"x" * 57])
def test_garbage_is_refused(data):
    with pytest.raises(FrameError):
        frames.unpack(data[: frames.HEADER_BYTES + 1], [FORETOLD])


def test_a_length_that_is_not_the_shapes_is_refused():
    data = bytearray(frames.pack(TENSOR, 1, "uint8", (4,)))
    struct.pack_into("<Q", data, 16, 2**63)
    with pytest.raises(FrameError):
        frames.unpack(bytes(data), [Foretold(TENSOR, "uint8", (4,))])


def test_no_changed_header_gives_another_frame():
    random, good = Random(0), frames.pack(TENSOR, 7, "float32", FORETOLD.shape)
    for _ in range(5000):
        data = bytearray(good)
        for _ in range(random.choice((1, 1, 2, 8, 56))):
            data[random.randrange(len(data))] = random.randrange(256)
        try:
            header = frames.unpack(bytes(data), [FORETOLD])
        except FrameError as error:
            assert "\n" not in str(error)
            continue
        assert header._replace(request=7) == (TENSOR, 7, "float32", FORETOLD.shape, FORETOLD.length)


def test_the_checksum_is_of_header_and_payload():
    good = frames.trailer(b"header", b"payload")
    assert good == frames.trailer(bytearray(b"header"), memoryview(b"payload"))
    assert good not in (frames.trailer(b"header", b"pay1oad"), frames.trailer(b"Header", b"payload"))


@pytest.mark.parametrize(
    ("dtype", "shape"), [("complex64", (1,)), ("uint8", (1,) * 9), ("uint8", (-1,)), ("float32", (2**31, 2**31))]
)
def test_a_tensor_that_no_frame_holds_is_a_defect_here(dtype, shape):
    with pytest.raises(ValueError, match="holds no"):
        frames.pack(TENSOR, 0, dtype, shape)
