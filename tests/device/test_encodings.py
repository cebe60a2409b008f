"""What crosses a link, encoded: only that is lost which an encoding loses, and a run says what it takes and changes."""

import io
import os
import resource
from collections import Counter
from random import Random
from types import SimpleNamespace

import pytest
import torch
from PIL import Image, JpegImagePlugin
from torch import nn

from dime.contract import tables
from dime.contract.encodings import parse
from dime.contract.errors import InputError
from dime.contract.run import ENCODINGS, RunSpec
from dime.device import encodings, images, processor
from dime.device.encodings import IMAGENET, LENGTH, RUNS, decode, effect, encode, length, levels_of
from dime.device.networks import Network
from tests.contract.test_transport import mutated
from tests.device.conftest import Heard


def rows_of(folder):
    return tables.read(os.path.join(str(folder), ENCODINGS), tables.ENCODINGS)


def through(tensor, encoding, levels=None):
    data = encode(tensor, encoding, levels)
    return data, decode(data, encoding, tensor.shape, tensor.dtype, levels)


def pictures(count=2, side=32):
    generator = torch.Generator().manual_seed(1)
    coarse = torch.rand(count, 3, side // 8, side // 8, generator=generator)
    levels = nn.functional.interpolate(coarse, size=(side, side), mode="bilinear", align_corners=False)
    mean, deviation = (torch.tensor(one).reshape(3, 1, 1) for one in IMAGENET)
    return (levels.mul(255).round().div(255) - mean) / deviation


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
def test_half_the_digits(dtype):
    tensor = torch.linspace(-3, 3, 24).reshape(2, 3, 4).to(dtype)
    data, back = through(tensor, "float16")
    assert len(data) == 48 and back.dtype == dtype and back.shape == tensor.shape
    assert torch.allclose(back.float(), tensor.float(), rtol=1e-3)


def test_steps_between_the_least_and_the_greatest_value():
    tensor = torch.linspace(-2, 5, 1000).reshape(10, 100)
    data, back = through(tensor, "uint8")
    assert len(data) == 1008 and float((back - tensor).abs().max()) <= 7 / 255.0 / 2 * 1.001
    constant = torch.full((4,), 3.5)
    assert torch.equal(through(constant, "uint8")[1], constant)


def test_a_pictures_levels_are_kept():
    tensor = pictures()
    data, back = through(tensor, "uint8", IMAGENET)
    assert len(data) == 2 * 3 * 32 * 32
    assert torch.allclose(back, tensor, atol=1e-5)


def test_a_jpeg_is_small_and_near():
    tensor = pictures()
    sizes, off = [], []
    for encoding in ("jpeg20", "jpeg95"):
        data, back = through(tensor, encoding, IMAGENET)
        sizes.append(len(data))
        off.append(float((back - tensor).norm() / tensor.norm()))
    assert sizes[0] < sizes[1] < 2 * 3 * 32 * 32
    assert off[1] < off[0] < 0.5 and off[1] < 0.1


def test_a_jpeg_has_all_its_colours_for_every_library_to_decode_alike():
    data = encode(pictures(1, 64), "jpeg90", IMAGENET)
    with Image.open(io.BytesIO(data[LENGTH.size :])) as picture:
        assert JpegImagePlugin.get_sampling(picture) == 0


def test_whole_numbers_stay_as_they_are():
    tokens = torch.arange(6).reshape(1, 6)
    assert torch.equal(through(tokens, "float16")[1], tokens)


def test_what_is_no_picture_is_no_jpeg():
    with pytest.raises(InputError, match="jpeg90 is for pictures, not for a tensor of"):
        encode(torch.rand(1, 4), "jpeg90", IMAGENET)


def test_another_picture_than_foretold_is_refused():
    data = encode(pictures(1), "jpeg90", IMAGENET)
    with pytest.raises(InputError, match="a picture of 32 x 32 was encoded, not of 16 x 16"):
        decode(data, "jpeg90", (1, 3, 16, 16), torch.float32, IMAGENET)


def jpeg(side, content=1, mode="RGB", kind="JPEG", **options):
    stream = io.BytesIO()
    colours = os.urandom(side * side * len(mode)) if content else bytes(side * side * len(mode))
    Image.frombytes(mode, (side, side), colours).save(stream, kind, **options)
    return stream.getvalue()


def packed(*several):
    return b"".join(LENGTH.pack(len(one)) + one for one in several)


def sized(data, width, height):
    """A picture that says of itself that it has another size."""
    at = data.index(b"\xff\xc0") + 5
    return data[:at] + height.to_bytes(2, "big") + width.to_bytes(2, "big") + data[at + 4 :]


GOOD = jpeg(16)
BAD = {
    "of another size": (packed(sized(GOOD, 17, 16)), "a picture of 16 x 17 was encoded, not of 16 x 16"),
    "of 3.6 billion pixels": (packed(sized(GOOD, 60000, 60000)), "decompression bomb|of 60000 x 60000"),
    "grey": (packed(jpeg(16, mode="L")), "was encoded, not of"),
    "progressive": (packed(jpeg(16, progressive=True)), "otherwise than as jpeg90"),
    "of another format": (packed(jpeg(16, kind="PNG")), "is damaged: cannot identify"),
    "none": (packed(b""), "is damaged"),
    "cut off": (packed(GOOD[:-40]), "is damaged: image file is truncated"),
    "without its end": (packed(GOOD)[:-1], "ends within a picture"),
    "without its length": (packed(GOOD)[:3], "ends before its last picture"),
    "too many": (packed(GOOD, GOOD), "has more than its pictures"),
}


@pytest.mark.parametrize("what", sorted(BAD))
def test_a_picture_of_anybody_is_refused_before_it_is_decoded(what, recwarn):
    data, reason = BAD[what]
    before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(InputError, match=reason) as caught:
        decode(data, "jpeg90", (1, 3, 16, 16), torch.float32, IMAGENET)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 300
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb < 64 << 10
    assert not recwarn.list


@pytest.mark.parametrize("encoding", ["float16", "uint8"])
def test_another_length_than_a_tensor_s_is_refused(encoding):
    data = encode(torch.rand(3, 4), encoding)
    for wrong in (data[:-1], data + b"x", b""):
        with pytest.raises(InputError, match=r"bytes are no torch.float32 of \(3, 4\) as"):
            decode(wrong, encoding, (3, 4), torch.float32)


def test_what_each_encoding_takes_is_known_before():
    for encoding, levels in (("float16", None), ("uint8", None), ("uint8", IMAGENET)):
        tensor = pictures(2, 16)
        assert length(encoding, tensor.shape, tensor.dtype, levels) == len(encode(tensor, encoding, levels))
    assert length("jpeg90", (2, 3, 16, 16), torch.float32, IMAGENET) is None
    assert length("jpeg90", (2, 5), torch.int64, IMAGENET) == 80
    with pytest.raises(InputError, match="jpeg90 is for pictures"):
        length("jpeg90", (1, 4), torch.float32, IMAGENET)


@pytest.mark.parametrize("encoding", ["float16", "uint8", "jpeg90"])
def test_no_mutated_tensor_is_more_than_an_error(encoding):
    random, tensor = Random(0), pictures(2, 16)
    good = encode(tensor, encoding, IMAGENET)
    for _ in range(1000):
        try:
            found = decode(mutated(random, good), encoding, tensor.shape, tensor.dtype, IMAGENET)
        except InputError as error:
            assert "\n" not in str(error)
        else:
            assert (found.shape, found.dtype) == (tensor.shape, tensor.dtype)


def test_the_effect_on_a_result():
    plain = torch.tensor([[3.0, 4.0]])
    assert effect([plain], [plain]) == (1, 0.0)
    assert effect([plain], [torch.tensor([[3.0, 2.0]])]) == (0, pytest.approx(0.4))
    assert effect([plain], [torch.tensor([[float("nan"), 1.0]])])[1] is None
    assert effect([torch.rand(1, 2, 3, 3)], [torch.rand(1, 2, 3, 3)])[0] is None, "no classes"
    assert effect([torch.zeros(1, 2)], [torch.zeros(1, 2)]) == (1, None)


def test_how_pictures_became_the_input():
    assert levels_of(None) == levels_of({"layers": []}) == (images.MEAN, images.DEVIATION)
    said = {"graph": "x", "preprocessing": {"mean": [0.5, 0.5, 0.5], "standard_deviation": [1, 1, 1]}}
    assert levels_of(said) == ((0.5, 0.5, 0.5), (1, 1, 1))
    for damaged in (None, {}, {"mean": 1}, {"mean": ["x"], "standard_deviation": [1]}):
        assert levels_of(dict(said, preprocessing=damaged)) is None


@pytest.fixture
def seeing(tiny):
    return see(tiny)


def see(tiny):
    """Makes the tiny network one that takes pictures."""
    torch.manual_seed(0)
    modules = [nn.Conv2d(3, 4, 3), nn.Sequential(nn.ReLU(inplace=True), nn.Flatten()), nn.Linear(4 * 14 * 14, 5)]
    tiny.network = Network("tiny", tiny.layers, modules, (1, 3, 16, 16), "seeded 0")
    for image, picture in zip(("left", "right"), pictures(2, 16)):  # noqa: B905
        x = picture[None]
        for layer, module in zip(tiny.layers, modules):  # noqa: B905
            torch.save(x.clone(), os.path.join(tiny.folder, layer, image + ".pt"))
            x = module(x).detach()
    return tiny


def test_a_profile_measures_them_where_they_may_be_used(seeing, tmp_path):
    seeing.profile(tmp_path / "out", encode="all")
    rows = rows_of(tmp_path / "out")
    cells = Counter((row["boundary"], row["layer"], row["encoding"], row["image"]) for row in rows)
    wanted = [(0, "a", "uint8"), (0, "a", "jpeg90")]
    wanted += [(at, "abc"[at], encoding) for encoding in ("float16", "uint8") for at in (1, 2)]
    assert cells == {one + (image,): RUNS for one in wanted for image in ("left", "right")}
    assert {row["frequency_hz"] for row in rows} == {-1} and not seeing.heard.texts("warning")
    found = {(row["boundary"], row["encoding"]): row for row in rows}
    assert found[0, "uint8"]["encoded_bytes"] == found[0, "uint8"]["plain_bytes"] // 4 == 3 * 16 * 16
    assert found[1, "float16"]["encoded_bytes"] * 2 == found[1, "float16"]["plain_bytes"] == 4 * 4 * 14 * 14
    assert all(row["encode_s"] > 0 and row["decode_s"] > 0 for row in rows)
    assert found[0, "uint8"]["distance"] < 1e-5 and found[0, "uint8"]["same_class"] == 1
    assert 1e-6 < found[1, "float16"]["distance"] < 1e-3 < found[0, "jpeg90"]["distance"] < 0.9
    assert RunSpec.read(str(tmp_path / "out")).encode == [":".join(choice) for choice in parse("all")]


class Adding(nn.Module):
    """A layer that works in place."""

    def forward(self, x):
        return x.add_(1)


def test_each_is_timed_behind_the_layer_that_a_plan_has_before_it(tmp_path, monkeypatch):
    torch.manual_seed(0)
    modules = [nn.Conv2d(3, 4, 3), nn.Sequential(Adding(), nn.Flatten()), nn.Linear(4 * 6 * 6, 5)]
    network = Network("tiny", ["a", "b", "c"], modules, (1, 3, 8, 8), "seeded 0")
    inputs = [[("left", pictures(1, 8))]]
    with torch.no_grad():
        for module in modules[:2]:
            inputs.append([("left", module(inputs[-1][0][1].clone()))])
    before = [one[0][1].clone() for one in inputs]
    places = {tuple(tensor.shape): at for at, tensor in enumerate(before)}
    met = []
    for layer, module in zip("abc", modules):  # noqa: B905
        module.register_forward_hook(lambda *_, layer=layer: met.append(layer))

    def recorded(tensor, encoding, levels):
        at = places[tuple(tensor.shape)]
        met.append("{} to {}".format(at, encoding))
        assert torch.equal(tensor, before[at])
        return encode(tensor, encoding, levels)

    def again(data, encoding, shape, *rest):
        met.append("{} from {}".format(places[tuple(shape)], encoding))
        return decode(data, encoding, shape, *rest)

    class Board(object):
        @staticmethod
        def slowed(run, frequency_hz):
            return lambda value: (run(value), met.append(frequency_hz))[0]

    monkeypatch.setattr(encodings, "time", SimpleNamespace(sleep=lambda wait_s: met.append("waits")))
    monkeypatch.setattr(encodings, "encode", recorded)
    monkeypatch.setattr(encodings, "decode", again)
    monkeypatch.setattr(encodings.Encodings, "_effect", lambda *_: (1, 0.0))
    given = parse("all"), network, inputs, processor.Cpu(), IMAGENET, Heard()
    encodings.Encodings(str(tmp_path), *given).measure(7, Board)
    one_picture = []
    for names in (("uint8", "float16", "float16"), ("jpeg90", "uint8", "uint8")):
        for at, name in enumerate(names):
            one_picture += ["cab"[at], 7] + ["waits"] * (at == 0) + ["{} to {}".format(at, name), 7]
            if at:
                one_picture += ["waits", "{} from {}".format(at - 1, names[at - 1]), 7]
        one_picture += ["c", 7, "waits", "2 from {}".format(names[2]), 7]
    assert met == one_picture * (1 + RUNS)
    assert all(torch.equal(one[0][1], kept) for one, kept in zip(inputs, before)), "a layer worked on its own copy"  # noqa: B905
    rows = rows_of(tmp_path)
    cells = [(0, "uint8"), (0, "jpeg90"), (1, "float16"), (2, "float16"), (1, "uint8"), (2, "uint8")]
    assert [(row["boundary"], row["encoding"], row["run"]) for row in rows] == [
        cell + (run,) for run in range(RUNS) for cell in cells
    ]


def test_a_walk_has_one_encoding_of_a_boundary():
    assert encodings.walks([]) == []
    assert encodings.walks([(0, "x"), (1, "x"), (0, "y")]) == [{0: "x", 1: "x"}, {0: "y"}]


def test_what_is_no_picture_has_no_jpeg_and_that_is_said(tiny, tmp_path):
    tiny.profile(tmp_path / "out", encode="input:jpeg90,input:float16,features:uint8")
    cells = {(row["boundary"], row["encoding"]) for row in rows_of(tmp_path / "out")}
    assert cells == {(0, "float16"), (1, "uint8"), (2, "uint8")}
    said = ["input:jpeg90 is left out: the network's input is no pictures of three colours"]
    assert tiny.heard.texts("warning") == said


def test_without_being_asked_nothing_is_encoded(tiny, tmp_path):
    tiny.profile(tmp_path / "out")
    assert not (tmp_path / "out" / ENCODINGS).exists()
    assert RunSpec.read(str(tmp_path / "out")).encode is None


def test_an_unknown_encoding_is_refused_before_anything_happens(tiny, tmp_path):
    with pytest.raises(InputError, match="unknown encoding of features 'zip'"):
        tiny.profile(tmp_path / "out", encode="features:zip")
    assert not (tmp_path / "out").exists()


def test_a_run_that_was_cut_off_goes_on_with_what_is_missing(tiny, tmp_path, monkeypatch):
    walk, calls = encodings.Encodings._walk, []

    def cut(self, *given):
        calls.append(given)
        if len(calls) == 10:
            raise RuntimeError("cut off")
        return walk(self, *given)

    monkeypatch.setattr(encodings.Encodings, "_walk", cut)
    with pytest.raises(RuntimeError):
        tiny.profile(tmp_path / "out", encode="features:float16")
    assert not (tmp_path / "out" / ENCODINGS).exists()
    assert tiny.profile(tmp_path / "out", encode="features:float16").measured_rows == 0
    assert len(rows_of(tmp_path / "out")) == 2 * 2 * RUNS


def test_the_rows_of_a_frequency_that_was_not_finished_are_dropped(tiny, tmp_path):
    tiny.profile(tmp_path / "out", encode="features:float16")
    rows = rows_of(tmp_path / "out")
    (tmp_path / "out" / ENCODINGS).unlink()
    with tables.Writer(str(tmp_path / "out" / ENCODINGS), tables.ENCODINGS) as writer:
        writer.write([dict(row, frequency_hz=5) for row in rows] + [dict(row, frequency_hz=7) for row in rows[:-1]])
    inputs = [[("left", torch.rand(1, 4)), ("right", torch.rand(1, 4))]] * 3
    choices = parse("features:float16")
    again = encodings.Encodings(str(tmp_path / "out"), choices, tiny.network, inputs, None, None, tiny.heard)
    assert again.is_complete(5) and not again.is_complete(7)
    assert {row["frequency_hz"] for row in rows_of(tmp_path / "out")} == {5}
