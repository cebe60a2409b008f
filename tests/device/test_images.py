"""Pictures as people have them: deep, transparent, huge, nested, damaged, and of kinds that need another program."""

import io
import os
import random
import struct
import zlib

import pytest
from PIL import Image

from dime.contract.errors import InputError
from dime.device import images

SHAPE = (1, 3, 8, 8)


class Heard(list):
    def __call__(self, kind, **fields):
        self.append((kind, fields["text"]))


def levels(tensor):
    """The grey levels, 0 to 255, that a tensor was made from."""
    found = [tensor[0, at] * images.DEVIATION[at] + images.MEAN[at] for at in range(3)]
    return sorted({round(float(value) * 255) for channel in found for value in channel.flatten()})


def load(folder):
    heard = Heard()
    return images.load(str(folder), SHAPE, heard), heard


def png16(path, level):
    """A grey PNG of 16 bits, written here, as Pillow's own writer differs between versions."""

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    rows = b"".join(b"\0" + struct.pack(">H", level) * 16 for _ in range(16))
    header = struct.pack(">IIBBBBB", 16, 16, 16, 0, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("level", [0, 200, 257, 32896, 65535])
def test_16_bits_are_scaled_not_clipped(tmp_path, level):
    png16(tmp_path / "deep.png", level)
    found, heard = load(tmp_path)
    assert levels(found.tensors["deep"]) == [round(level / 257)]
    assert found.odd == {"deep.png": "levels from 0 to 65535 scaled to 255"}
    assert heard == [("note", "odd pictures: deep.png: levels from 0 to 65535 scaled to 255")]


@pytest.mark.parametrize(("level", "expected"), [(0.5, 128), (200.0, 200), (40000.0, 156)])
def test_floating_point_levels(tmp_path, level, expected):
    Image.new("F", (16, 16), level).save(str(tmp_path / "measured.tif"))
    found, _ = load(tmp_path)
    assert abs(levels(found.tensors["measured"])[0] - expected) <= 1 and "scaled" in found.odd["measured.tif"]


@pytest.mark.parametrize("level", [-1.0, 1e9])
def test_levels_of_an_unknown_range_are_left_out_with_the_reason(tmp_path, level):
    Image.new("F", (16, 16), level).save(str(tmp_path / "measured.tif"))
    with pytest.raises(InputError, match="measured.tif: its levels run from .* of an unknown range"):
        load(tmp_path)


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_what_is_transparent_is_laid_on_white_and_told(tmp_path, mode):
    Image.new(mode, (16, 16)).save(str(tmp_path / "glass.png"))
    Image.new("RGBA", (16, 16), (9, 9, 9, 255)).save(str(tmp_path / "solid.png"))
    found, _ = load(tmp_path)
    assert levels(found.tensors["glass"]) == [255] and levels(found.tensors["solid"]) == [9]
    assert found.odd == {"glass.png": "transparent, laid on white"}


def test_a_palette_with_a_transparent_colour(tmp_path):
    picture = Image.new("P", (16, 16), 3)
    picture.putpalette([0] * 768)
    picture.save(str(tmp_path / "icon.gif"), transparency=3)
    found, _ = load(tmp_path)
    assert levels(found.tensors["icon"]) == [255] and "white" in found.odd["icon.gif"]


def test_a_huge_picture_is_left_out_with_the_reason(tmp_path):
    Image.new("1", (14000, 14000)).save(str(tmp_path / "huge.png"))
    Image.new("RGB", (4000, 9)).save(str(tmp_path / "strip.png"))
    Image.new("RGB", (16, 16)).save(str(tmp_path / "one.png"))
    found, heard = load(tmp_path)
    assert list(found.tensors) == ["one"]
    assert heard == [
        (
            "warning",
            "left out: huge.png: more than 178 million pixels; make it smaller; "
            "strip.png: 4000 x 9 pixels are too long a strip",
        )
    ]


def test_folders_in_the_folder_are_read_as_imagenette_unpacks(tmp_path):
    for label in ("n01440764", "n02102040"):
        (tmp_path / "val" / label).mkdir(parents=True)
        for number in range(2):
            Image.new("RGB", (9, 9)).save(str(tmp_path / "val" / label / "{}_{}.JPEG".format(label, number)))
        Image.new("RGB", (9, 9)).save(str(tmp_path / "val" / label / "same.png"))
    found, _ = load(tmp_path)
    assert len(found.tensors) == 6
    assert {"n01440764_0", "n02102040_1", "same", "same_png"} <= set(found.tensors)


def test_of_very_many_pictures_some_are_drawn_evenly_and_always_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr(images, "MOST_PICTURES", 6)
    for label, count in (("a", 20), ("b", 2), ("c", 20)):
        (tmp_path / label).mkdir()
        for number in range(count):
            Image.new("RGB", (9, 9)).save(str(tmp_path / label / "{}{}.png".format(label, number)))
    found, heard = load(tmp_path)
    assert sorted(name[0] for name in found.tensors) == ["a", "a", "b", "b", "c", "c"]
    assert heard == [("note", "6 of 42 pictures were drawn, evenly over the folders")]
    assert list(load(tmp_path)[0].tensors) == list(found.tensors)


@pytest.mark.parametrize("name", ["IMG_1.HEIC", "x.avif", "x.jxl"])
def test_a_kind_that_pillow_does_not_read_names_what_does(tmp_path, name):
    (tmp_path / name).write_bytes(b"\0\0\0\x18ftypheic not really")
    extension = os.path.splitext(name)[1].lower()
    with pytest.raises(InputError, match=r"Pillow [0-9.]+ does not read \{}; type: .* NAME.jpg".format(extension)):
        load(tmp_path)


def test_a_folder_without_pictures_says_what_is_there(tmp_path):
    (tmp_path / "film.mov").write_text("x")
    (tmp_path / "notes").write_text("x")
    with pytest.raises(InputError, match=r"holds no picture .*; there: 1 .mov, 1 without an ending"):
        load(tmp_path)


def test_links_pipes_and_folders_that_are_called_pictures(tmp_path):
    (tmp_path / "dangling.png").symlink_to("nowhere.png")
    (tmp_path / "folder.png").mkdir()
    os.mkfifo(str(tmp_path / "pipe.png"))
    (tmp_path / "zero.png").symlink_to("/dev/zero")
    Image.new("RGB", (16, 16)).save(str(tmp_path / "one.png"))
    found, heard = load(tmp_path)
    assert list(found.tensors) == ["one"]
    assert heard == [
        (
            "warning",
            "left out: dangling.png: No such file or directory; pipe.png: not a plain file; zero.png: not a plain file",
        )
    ]


def test_long_and_strange_names_become_plain_ones(tmp_path):
    for name in ("x" * 240, "x" * 239 + "y", "a\x1b[31m\u202eb"):
        Image.new("RGB", (16, 16)).save(str(tmp_path / (name + ".png")))
    found, _ = load(tmp_path)
    assert len(found.tensors) == 3 and all(len(name) <= 100 and name.isprintable() for name in found.tensors)


def encoded(kind):
    with io.BytesIO() as stream:
        Image.linear_gradient("L").resize((16, 16)).convert("RGB").save(stream, kind)
        return stream.getvalue()


KINDS = ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM")


@pytest.mark.parametrize("kind", KINDS)
def test_damaged_pictures_are_read_or_left_out_never_a_traceback(tmp_path, kind):
    draw = random.Random(kind)
    path = tmp_path / "one.{}".format("jpg" if kind == "JPEG" else kind.lower())
    read = 0
    for _ in range(60):
        content = bytearray(encoded(kind))
        for _ in range(draw.randrange(6)):
            content[draw.randrange(len(content))] = draw.randrange(256)
        if draw.random() < 0.5:
            del content[draw.randrange(len(content)) :]
        path.write_bytes(bytes(content))
        try:
            found, _ = load(tmp_path)
        except InputError as error:
            assert "\n" not in str(error)
        else:
            assert found.tensors["one"].shape == SHAPE
            read += 1
    assert 0 < read < 60
