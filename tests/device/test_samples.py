import errno
import http.server
import json
import os
import shutil
import subprocess
import sys
import tarfile
import threading

import pytest
import torch
from PIL import Image
from torch import nn

from dime.contract import files as contract_files
from dime.contract import plugins
from dime.contract.errors import DeviceError, InputError, TableError
from dime.device import images, networks, samples, tensor_files


class TinyPlugin(object):
    LAYERS = ("first", "second")
    INPUT_SHAPE = (1, 3, 8, 8)

    @staticmethod
    def build():
        return nn.Sequential(nn.Conv2d(3, 2, 3), nn.Sequential(nn.Flatten(), nn.Linear(72, 2)))

    @staticmethod
    def cut(model):
        return list(model)


@pytest.fixture(autouse=True)
def tiny_network(monkeypatch):
    """A network so small that feature maps are made in no time."""
    names, load = plugins.names, plugins.load
    monkeypatch.setattr(plugins, "names", lambda package: names(package) + ["tiny"])
    monkeypatch.setattr(plugins, "load", lambda p, name: TinyPlugin if name == "tiny" else load(p, name))


@pytest.fixture
def pictures(tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number, name in enumerate(("one.png", "two.jpg", "three of it.gif")):
        Image.new("RGB", (20 + number, 30), (number * 100, 50, 200)).save(str(folder / name))
    (folder / "notes.txt").write_text("no picture")
    return folder


def make(tmp_path, source="builtin", weights="seeded 0", emit=None):
    return samples.make("tiny", str(source), str(tmp_path / "samples"), weights, emit)


def files(folder):
    found = (os.path.join(where, name) for where, _, names in os.walk(str(folder)) for name in names)
    return sorted(os.path.relpath(path, str(folder)) for path in found)


def test_there_is_one_file_a_layer_and_picture(tmp_path, heard):
    made = make(tmp_path, emit=heard)
    names = ["fern", "fish", "fruit", "hills", "tiles", "town"]
    expected = ["{}/{}.pt".format(layer, name) for layer in ("first", "second") for name in names]
    assert files(tmp_path / "samples" / "tiny") == sorted(expected + ["manifest.json"])
    assert made.folder == str(tmp_path / "samples" / "tiny")
    assert heard.kinds() == ["hello"] + ["progress"] * 6


def test_a_layers_input_is_the_output_of_the_one_before(tmp_path):
    made = make(tmp_path)
    network = networks.load("tiny", "seeded 0")
    first, second = made.load("first", (1, 3, 8, 8)), made.load("second", (1, 2, 6, 6))
    with torch.no_grad():
        for name in first:
            assert torch.equal(network.modules[0](first[name]), second[name])


def test_the_manifest_says_whose_they_are(tmp_path):
    made = make(tmp_path)
    manifest = json.loads((tmp_path / "samples" / "tiny" / "manifest.json").read_text())
    assert (manifest["network"], manifest["layers"], manifest["weights"]) == ("tiny", ["first", "second"], "seeded 0")
    assert manifest["source"].startswith("builtin ")
    assert len(manifest["files"]) == 12
    assert samples.find(str(tmp_path / "samples"), "tiny").label == made.label


def test_the_same_command_gives_the_same_bytes(tmp_path):
    first = make(tmp_path).label
    shutil.rmtree(str(tmp_path / "samples"))
    assert make(tmp_path).label == first


def test_a_second_time_nothing_is_computed(tmp_path, monkeypatch, heard):
    first = make(tmp_path)
    monkeypatch.setattr(networks, "load", None)
    for weights in ("seeded 0", "auto", "seeded"):
        assert make(tmp_path, weights=weights, emit=heard).label == first.label
    assert "12 feature maps are there and intact" in heard.texts("note")[0]


def test_a_second_time_does_not_even_wait_for_torch(resnet18_samples):
    code = "import sys; from dime.device import samples; samples.make('resnet18', 'builtin', sys.argv[1]); "
    code += "print('torch' in sys.modules)"
    output = subprocess.check_output([sys.executable, "-c", code, resnet18_samples])
    assert output.decode().strip() == "False"


@pytest.mark.parametrize(
    "harm, message",
    [
        (lambda path: path.write_bytes(path.read_bytes()[:-1]), "fish.pt is damaged"),
        (lambda path: path.write_bytes(path.read_bytes().replace(b"\x00", b"\x01", 1)), "fish.pt is damaged"),
        (lambda path: path.unlink(), "fish.pt: No such file"),
    ],
)
def test_a_damaged_file_is_named_whenever_it_is_met(tmp_path, harm, message):
    made = make(tmp_path)
    harm(tmp_path / "samples" / "tiny" / "second" / "fish.pt")
    with pytest.raises(TableError, match=message):
        make(tmp_path)
    with pytest.raises(TableError, match=message):
        made.load("second", (1, 2, 6, 6))


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"network": 1}'])
def test_a_damaged_manifest_is_named(tmp_path, content):
    make(tmp_path)
    (tmp_path / "samples" / "tiny" / "manifest.json").write_text(content)
    for again in (lambda: make(tmp_path), lambda: samples.find(str(tmp_path / "samples"), "tiny")):
        with pytest.raises(TableError, match="manifest.json is damaged"):
            again()


def test_other_feature_maps_are_not_overwritten(tmp_path, pictures):
    make(tmp_path)
    before = files(tmp_path / "samples")
    with pytest.raises(TableError, match="from builtin .*, not of tiny from folder .*; nothing was overwritten"):
        make(tmp_path, source=pictures)
    with pytest.raises(TableError, match="weights 'seeded 0', not 'seeded 1'; nothing was overwritten"):
        make(tmp_path, weights="seeded 1")
    shutil.move(str(tmp_path / "samples" / "tiny" / "manifest.json"), str(tmp_path / "kept"))
    with pytest.raises(TableError, match="has no manifest.json; nothing was overwritten"):
        make(tmp_path)
    shutil.move(str(tmp_path / "kept"), str(tmp_path / "samples" / "tiny" / "manifest.json"))
    assert files(tmp_path / "samples") == before


def test_what_an_interrupted_call_left_is_no_obstacle(tmp_path):
    (tmp_path / "samples" / "tiny.part" / "first").mkdir(parents=True)
    (tmp_path / "samples" / "tiny.part" / "first" / "old.pt").write_text("half")
    make(tmp_path)
    assert os.listdir(str(tmp_path / "samples")) == ["tiny"]


def test_a_full_disk_is_one_line_and_leaves_no_half_made_folder(tmp_path, monkeypatch):
    write, calls = tensor_files.write, []

    def full(path, tensor):
        calls.append(path)
        if len(calls) == 5:
            raise OSError(errno.ENOSPC, "No space left on device", path)
        return write(path, tensor)

    monkeypatch.setattr(tensor_files, "write", full)
    with pytest.raises(DeviceError, match="cannot write .*pt: No space left on device; make room"):
        make(tmp_path)
    assert not os.path.exists(str(tmp_path / "samples"))
    monkeypatch.undo()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to make a small disk")
def test_a_disk_that_is_really_full(tmp_path):
    (tmp_path / "samples").mkdir()
    mounted = subprocess.call(["mount", "-t", "tmpfs", "-o", "size=16k", "none", str(tmp_path / "samples")])
    if mounted != 0:
        pytest.skip("may not mount")
    try:
        with pytest.raises(DeviceError, match="No space left on device; make room"):
            make(tmp_path)
    finally:
        subprocess.check_call(["umount", str(tmp_path / "samples")])


def test_a_folder_of_ones_own_pictures(tmp_path, pictures):
    made = make(tmp_path, source=pictures)
    assert list(made.load("first", (1, 3, 8, 8))) == ["one", "three_of_it", "two"]


def test_unreadable_pictures_are_named_and_left_out(tmp_path, pictures, heard):
    (pictures / "torn.png").write_bytes((pictures / "one.png").read_bytes()[:60])
    (pictures / "fake.jpg").write_text("not a picture")
    made = make(tmp_path, source=pictures, emit=heard)
    assert list(made.load("first", (1, 3, 8, 8))) == ["one", "three_of_it", "two"]
    told = heard.texts("warning")
    assert len(told) == 1 and told[0].startswith("left out: fake.jpg: not a picture; torn.png: ")
    assert made.manifest["odd_pictures"]["fake.jpg"] == "left out: not a picture"


def test_a_folder_without_any_readable_picture_is_refused(tmp_path, pictures):
    for name in ("one.png", "two.jpg", "three of it.gif"):
        (pictures / name).write_text("not a picture")
    with pytest.raises(InputError, match="none of the pictures in .* can be read: one.png"):
        make(tmp_path, source=pictures)
    for name in ("one.png", "two.jpg", "three of it.gif"):
        (pictures / name).unlink()
    with pytest.raises(InputError, match="holds no picture"):
        make(tmp_path, source=pictures)
    assert not os.path.exists(str(tmp_path / "samples" / "tiny"))


def test_pictures_of_one_name_are_told_apart(tmp_path, pictures):
    Image.new("RGB", (20, 20)).save(str(pictures / "one.jpg"))
    assert list(make(tmp_path, source=pictures).load("first", (1, 3, 8, 8))) == ["one", "one_png", "three_of_it", "two"]


def test_unknown_sources_and_networks_are_refused_before_anything_happens(tmp_path):
    with pytest.raises(InputError, match="source 'nowhere': not a folder; known: builtin, imagenette, or a folder"):
        make(tmp_path, source="nowhere")
    with pytest.raises(InputError, match="unknown network 'lenet'; known: alexnet"):
        samples.make("lenet", "builtin", str(tmp_path / "samples"))
    assert not os.path.exists(str(tmp_path / "samples"))


def test_pictures_are_prepared_as_torchvision_does(pictures):
    transforms = pytest.importorskip("torchvision.transforms")
    prepare = transforms.Compose(
        [
            transforms.Resize(256),
            transforms.CenterCrop(224),
            transforms.ToTensor(),
            transforms.Normalize(images.MEAN, images.DEVIATION),
        ]
    )
    loaded = images.load("builtin", (1, 3, 224, 224), None).tensors
    assert len(loaded) == 6
    loaded.update(images.load(str(pictures), (1, 3, 224, 224), None).tensors)
    builtin = os.path.join(os.path.dirname(images.__file__), "pictures")
    for path in (builtin + "/hills.jpg", builtin + "/tiles.png", str(pictures / "two.jpg")):
        name = os.path.splitext(os.path.basename(path))[0]
        with Image.open(path) as picture:
            assert torch.equal(loaded[name], prepare(picture.convert("RGB")).unsqueeze(0))


@pytest.fixture
def imagenette(tmp_path, monkeypatch):
    """ImageNette's validation set as torchvision unpacks it, with small pictures."""
    pytest.importorskip("torchvision.datasets.imagenette")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    classes = "n01440764 n02102040 n02979186 n03000684 n03028079 n03394916 n03417042 n03425413 n03445777 n03888257"
    folder = tmp_path / "cache" / "dime" / "imagenette2-320" / "val"
    for label in classes.split():
        (folder / label).mkdir(parents=True)
        for number in range(5):
            Image.new("RGB", (20, 20)).save(str(folder / label / "{}_{}.JPEG".format(label, number)))
    return folder


def test_imagenette_gives_two_pictures_a_class_always_the_same(tmp_path, imagenette):
    drawn = list(make(tmp_path, source="imagenette").load("first", (1, 3, 8, 8)))
    assert len(drawn) == 20
    assert len({name.split("_")[0] for name in drawn}) == 10
    assert list(images.load("imagenette", (1, 3, 8, 8), None).tensors) == drawn


@pytest.fixture
def archive(tmp_path, imagenette, monkeypatch):
    """A server of ImageNette's archive, and an empty cache."""
    from torchvision.datasets import Imagenette

    path = str(tmp_path / "imagenette2-320.tgz")
    with tarfile.open(path, "w:gz") as packed:
        packed.add(str(imagenette.parent), "imagenette2-320")
    shutil.rmtree(str(imagenette.parent))

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):  # noqa: N802
            with open(path, "rb") as stream:
                content = stream.read()
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *arguments):
            pass

    listening = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=listening.serve_forever, daemon=True).start()
    address = "http://127.0.0.1:{}/imagenette2-320.tgz".format(listening.server_port)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    archives = {"320px": (address, contract_files.digest(path, "md5"))}
    monkeypatch.setattr(Imagenette, "_ARCHIVES", archives)
    yield archives
    listening.shutdown()
    listening.server_close()


def test_imagenette_is_fetched_once_with_its_progress(tmp_path, archive, heard):
    assert len(make(tmp_path, source="imagenette", emit=heard).load("first", (1, 3, 8, 8))) == 20
    assert heard.kinds()[:3] == ["note", "stage", "hello"]
    assert os.listdir(str(tmp_path / "cache" / "dime")) == ["imagenette2-320"]
    archive["320px"] = ("http://nowhere.invalid/imagenette2-320.tgz", "0")
    assert len(images.load("imagenette", (1, 3, 8, 8), None).tensors) == 20


def test_imagenette_that_arrives_damaged_is_not_kept(tmp_path, archive, heard):
    archive["320px"] = (archive["320px"][0], "0" * 32)
    with pytest.raises(InputError, match="ImageNette cannot be had .it arrived damaged"):
        make(tmp_path, source="imagenette", emit=heard)
    assert not os.path.exists(str(tmp_path / "cache" / "dime" / "imagenette2-320"))
    assert not os.path.exists(str(tmp_path / "samples"))


def test_imagenette_that_is_incomplete_is_refused(tmp_path, imagenette):
    for number in range(4):
        (imagenette / "n03888257" / "n03888257_{}.JPEG".format(number)).unlink()
    with pytest.raises(InputError, match="incomplete; remove it"):
        make(tmp_path, source="imagenette")


def test_imagenette_without_a_network_is_one_line(tmp_path, monkeypatch, heard):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    try:
        from torchvision.datasets import imagenette
    except ImportError:
        expected = "ImageNette needs a newer torchvision"
    else:
        expected = "ImageNette cannot be had .*; use builtin or a folder of pictures"
        monkeypatch.setattr(imagenette.Imagenette, "_ARCHIVES", {"320px": ("http://nowhere.invalid/x.tgz", "0")})
    monkeypatch.setattr(networks, "load", None)
    with pytest.raises(InputError, match=expected):
        make(tmp_path, source="imagenette", emit=heard)
    assert not os.path.exists(str(tmp_path / "samples"))


@pytest.fixture(params=["tiny", "tiny_samples", "."])
def foreign(request, tmp_path):
    """Feature maps that another program made, in each place where they are looked for."""
    folder = tmp_path / "theirs" / request.param
    for layer, shapes in (("first", [(3, 8, 8), (1, 3, 8, 8)]), ("second", [(2, 6, 6), (1, 72)])):
        (folder / layer).mkdir(parents=True)
        for number, shape in enumerate(shapes):
            torch.save(torch.rand(*shape), str(folder / layer / "picture {}.pt".format(number)))
    return folder


def test_feature_maps_of_others_are_read_as_they_are(tmp_path, foreign):
    found = samples.find(str(tmp_path / "theirs"), "tiny")
    assert found.manifest is None
    for layer, shape in (("first", (1, 3, 8, 8)), ("second", (1, 2, 6, 6))):
        loaded = found.load(layer, shape)
        assert list(loaded) == ["picture 0", "picture 1"]
        assert all(tuple(tensor.shape) == shape and tensor.dtype == torch.float32 for tensor in loaded.values())


def test_their_hash_follows_their_content(tmp_path, foreign):
    before = samples.find(str(tmp_path / "theirs"), "tiny").label
    torch.save(torch.rand(3, 8, 8), str(foreign / "first" / "picture 0.pt"))
    assert samples.find(str(tmp_path / "theirs"), "tiny").label != before


@pytest.mark.parametrize(
    "content, message",
    [
        (torch.rand(3, 9, 8), "picture 0.pt has the shape 3x9x8, the layer takes 1x3x8x8"),
        (torch.rand(8, 3, 8), "picture 0.pt has the shape 8x3x8"),
        (torch.rand(2, 3, 8, 8), "picture 0.pt has the shape 2x3x8x8"),
        (torch.zeros(3, 8, 8, dtype=torch.int64), "picture 0.pt is not a tensor of floating-point numbers"),
        ({"x": torch.rand(3, 8, 8)}, "picture 0.pt is not a tensor"),
        (torch.full((3, 8, 8), float("nan")), "picture 0.pt holds values that are not finite"),
    ],
)
def test_their_unusable_tensors_are_named(tmp_path, foreign, content, message):
    torch.save(content, str(foreign / "first" / "picture 0.pt"))
    with pytest.raises(TableError, match=message):
        samples.find(str(tmp_path / "theirs"), "tiny").load("first", (1, 3, 8, 8))


def test_a_missing_layer_is_named(tmp_path, foreign):
    shutil.rmtree(str(foreign / "second"))
    with pytest.raises(TableError, match="feature maps of layer second are missing"):
        samples.find(str(tmp_path / "theirs"), "tiny").load("second", (1, 2, 6, 6))
    (foreign / "second").mkdir()
    with pytest.raises(TableError, match="second holds no feature map"):
        samples.find(str(tmp_path / "theirs"), "tiny").load("second", (1, 2, 6, 6))


def test_no_feature_maps_at_all_says_how_to_make_them(tmp_path):
    with pytest.raises(TableError, match="no feature maps of tiny in .*make them: .*samples --network tiny"):
        samples.find(str(tmp_path), "tiny")
