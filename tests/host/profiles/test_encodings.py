"""Encodings as a profile has them."""

import math

import numpy as np
import pytest

from dime.contract import run, tables
from dime.contract.errors import TableError
from dime.host.profiles import encodings
from dime.host.profiles.profiles import load_profile
from tests.host.test_older_results import KEPT

LAYERS = ("conv1", "conv2", "fc")


def row(**changes):
    made = {
        "boundary": 1, "layer": "conv2", "encoding": "float16", "frequency_hz": 100, "image": "cat", "run": 0,
        "encode_s": 0.01, "decode_s": 0.02, "encoded_bytes": 50, "plain_bytes": 100, "same_class": 1, "distance": 0.5,
    }  # fmt: skip
    return {**made, **changes}


def write(folder, rows):
    path = folder / run.ENCODINGS
    with tables.Writer(str(path), tables.ENCODINGS) as writer:
        writer.write(rows)
    return str(path)


def test_typical_times_by_frequency_and_what_images_say(tmp_path):
    times = [0.01, 0.012, 0.011, 0.5, 0.009]
    rows = [row(encode_s=time, run=at) for at, time in enumerate(times)]
    rows += [row(image="dog", encoded_bytes=53, same_class=0, distance=0.1)]
    rows += [row(frequency_hz=200, encode_s=0.005)]
    rows += [row(boundary=0, layer="conv1", encoding="jpeg90", same_class=None, distance=None)]
    found = encodings.read(write(tmp_path, rows), LAYERS, (100, 200, 300))
    assert list(found) == [(0, "jpeg90"), (1, "float16")]
    one = found[1, "float16"]
    assert one.encode_s[:2] == pytest.approx((np.mean([0.01, 0.01, 0.011, 0.012]), 0.005))
    assert [len(rounds) for rounds in one.encode_rounds_s] == [len(times), 1, 0]
    assert one.encode_rounds_s[0][:, 0].tolist() == times and one.encode_rounds_s[0].shape == (5, 2)
    assert math.isnan(one.encode_s[2]) and one.decode_s[:2] == pytest.approx((0.02, 0.02))
    assert (one.encoded_bytes, one.most_bytes, one.plain_bytes, one.images) == (52, 53, 100, 2)
    assert (one.same_class, one.distance) == (0.5, pytest.approx(0.3))
    assert (found[0, "jpeg90"].same_class, found[0, "jpeg90"].distance) == (None, None)


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([row(boundary=3)], "layer 3 is not 'conv2' in this network"),
        ([row(layer="fc")], "layer 1 is not 'fc' in this network"),
        ([row(), row(image="dog", plain_bytes=4)], "the tensor into layer 'conv2' has 4 and 100 bytes"),
    ],
)
def test_a_table_of_another_network_is_refused(tmp_path, rows, words):
    with pytest.raises(TableError, match=words):
        encodings.read(write(tmp_path, rows), LAYERS, (100,))


def test_a_profile_has_them_where_they_were_measured(tmp_path):
    folder = tmp_path / "tiny"
    folder.mkdir()
    for name in ("run.json", "timings.csv"):
        (folder / name).write_bytes((KEPT / "pc/tiny" / name).read_bytes())
    assert load_profile(folder).encodings is None
    write(folder, [row(frequency_hz=921600000)])
    found = load_profile(folder).encodings
    assert found[1, "float16"].encode_s == (0.01,)
