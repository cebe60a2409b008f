import collections
import io
import os
import pickle
import random
import zipfile

import pytest
import torch

from dime.contract.errors import TableError
from dime.device import tensor_files


class Evil(object):
    """Makes a folder when it is unpickled carelessly."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (self.folder,)


def test_a_tensor_is_read_as_it_was_written(tmp_path):
    tensor = torch.rand(2, 3)
    tensor_files.write(str(tmp_path / "x.pt"), tensor)
    assert torch.equal(tensor_files.read(str(tmp_path / "x.pt")), tensor)


def test_a_view_does_not_drag_its_storage_along(tmp_path):
    tensor_files.write(str(tmp_path / "x.pt"), torch.zeros(1000, 1000)[0])
    assert os.path.getsize(str(tmp_path / "x.pt")) < 10000


@pytest.mark.parametrize("zipped", [True, False])
def test_dictionaries_and_parameters_are_read_in_both_formats(tmp_path, zipped):
    state = torch.nn.BatchNorm2d(3).state_dict()
    state["half"] = torch.zeros(2, dtype=torch.float16)
    state["parameter"] = torch.nn.Parameter(torch.ones(2))
    torch.save(state, str(tmp_path / "x.pt"), _use_new_zipfile_serialization=zipped)
    read = tensor_files.read(str(tmp_path / "x.pt"))
    assert list(read) == list(state)
    assert all(torch.equal(read[name], state[name]) for name in state)


@pytest.mark.parametrize("zipped", [True, False])
def test_what_a_file_asks_for_is_not_run(tmp_path, zipped):
    harm = str(tmp_path / "harm")
    for content in (Evil(harm), {"x": Evil(harm)}, collections.OrderedDict(x=[torch.ones(1), Evil(harm)])):
        torch.save(content, str(tmp_path / "x.pt"), _use_new_zipfile_serialization=zipped)
        with pytest.raises(TableError, match="x.pt is not a readable file of tensors: it asks for") as failure:
            tensor_files.read(str(tmp_path / "x.pt"))
        assert not os.path.exists(harm)
        assert "weights_only" not in str(failure.value)


def test_a_bare_pickle_is_not_run_either(tmp_path):
    harm = str(tmp_path / "harm")
    (tmp_path / "x.pt").write_bytes(pickle.dumps(Evil(harm), protocol=2))
    with pytest.raises(TableError, match="x.pt is not a readable file of tensors"):
        tensor_files.read(str(tmp_path / "x.pt"))
    assert not os.path.exists(harm)


def test_numbers_are_read(tmp_path):
    tensor_files.write(str(tmp_path / "x.pt"), torch.arange(3.0))
    assert tensor_files.read(str(tmp_path / "x.pt")).tolist() == [0, 1, 2]


@pytest.mark.parametrize("content", [b"", b"tensor", b"PK\x03\x04" + b"0" * 100, b"\x80\x02}q\x00."])
def test_damage_is_one_line_that_names_the_file(tmp_path, content):
    (tmp_path / "x.pt").write_bytes(content)
    with pytest.raises(TableError, match="x.pt is not a readable file of tensors: .") as failure:
        tensor_files.read(str(tmp_path / "x.pt"))
    assert "\n" not in str(failure.value)


def test_truncation_is_one_line_that_names_the_file(tmp_path):
    tensor_files.write(str(tmp_path / "x.pt"), torch.rand(100))
    whole = (tmp_path / "x.pt").read_bytes()
    (tmp_path / "x.pt").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(TableError, match="x.pt is not a readable file of tensors"):
        tensor_files.read(str(tmp_path / "x.pt"))


def test_a_missing_file_is_said_to_be_missing(tmp_path):
    with pytest.raises(TableError, match="x.pt is missing"):
        tensor_files.read(str(tmp_path / "x.pt"))


class Harm(torch.nn.Module):
    """A TorchScript program; loading it as one would run what it was exported with."""

    def forward(self, x):
        return x + 1


def test_a_torchscript_archive_is_refused_unread(tmp_path, monkeypatch):
    path = str(tmp_path / "x.pt")
    torch.jit.script(Harm()).save(path)
    monkeypatch.setattr(torch.jit, "load", lambda *arguments, **options: pytest.fail("its code was loaded"))
    with pytest.raises(TableError, match="x.pt is not a readable file of tensors: it is a TorchScript program"):
        tensor_files.read(path)


def archive(path, pickled, **members):
    with zipfile.ZipFile(path, "w") as made:
        made.writestr("x/data.pkl", pickled)
        for name, content in members.items():
            made.writestr("x/data/" + name.lstrip("_"), content)


class Reference(object):
    """A reference to a storage, in pickles of a test."""

    def __init__(self, *parts):
        self.parts = parts


class Pickler(pickle.Pickler):
    def persistent_id(self, thing):
        return thing.parts if isinstance(thing, Reference) else None


class Tensor(object):
    def __init__(self, *arguments):
        self.arguments = arguments

    def __reduce__(self):
        return torch._utils._rebuild_tensor_v2, self.arguments


def pickled(*arguments):
    stream = io.BytesIO()
    Pickler(stream, 2).dump(Tensor(*arguments))
    return stream.getvalue()


STORAGE = Reference("storage", torch.FloatStorage, "0", "cpu", 4)


@pytest.mark.parametrize(
    ("described", "content", "message"),
    [
        ((STORAGE, 0, (5,), (1,), False, None), bytes(16), "outside of its storage"),
        ((STORAGE, -1, (2,), (1,), False, None), bytes(16), "impossible size"),
        ((STORAGE, 0, (1 << 40, 1 << 40), (0, 0), False, None), bytes(16), "much larger"),
        ((STORAGE, 0, (2,), (1, 1), False, None), bytes(16), "no tensor"),
        ((STORAGE, 0, (4,), (1,), False, None), bytes(12), "has 12 bytes, not 16"),
        (("storage", 0, (4,), (1,), False, None), bytes(16), "no tensor"),
        (
            (Reference("storage", torch.FloatStorage, "../0", "cpu", 4), 0, (4,), (1,), False, None),
            b"",
            "lacks x/data/",
        ),
        ((Reference("module", "os", "system", "cpu", 4), 0, (4,), (1,), False, None), b"", "no storage"),
    ],
)
def test_impossible_tensors_are_refused(tmp_path, described, content, message):
    archive(str(tmp_path / "x.pt"), pickled(*described), _0=content)
    with pytest.raises(TableError, match=message):
        tensor_files.read(str(tmp_path / "x.pt"))


def test_a_bomb_is_not_unpacked(tmp_path):
    with zipfile.ZipFile(str(tmp_path / "x.pt"), "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr("x/data.pkl", pickled(STORAGE, 0, (4,), (1,), False, None))
        made.writestr("x/data/0", bytes(1 << 24))
    with pytest.raises(TableError, match="compressed or too large"):
        tensor_files.read(str(tmp_path / "x.pt"))


def test_every_kind_of_number_is_read_alike(tmp_path):
    for zipped in (True, False):
        for dtype in "float32 float64 float16 bfloat16 uint8 int8 int16 int32 int64 bool".split():
            tensor = torch.arange(6).reshape(2, 3).to(getattr(torch, dtype)).t()
            torch.save(tensor, str(tmp_path / "x.pt"), _use_new_zipfile_serialization=zipped)
            read = tensor_files.read(str(tmp_path / "x.pt"))
            assert read.dtype == tensor.dtype and torch.equal(read, tensor)


def test_damaged_bytes_give_tensors_or_one_line(tmp_path):
    path = tmp_path / "x.pt"
    draw = random.Random(1)
    for zipped in (True, False):
        torch.save({"a": torch.rand(3, 4), "b": torch.arange(5)}, str(path), _use_new_zipfile_serialization=zipped)
        whole = path.read_bytes()
        for _ in range(300):
            harmed = bytearray(whole)
            for _ in range(draw.randint(1, 4)):
                harmed[draw.randrange(len(harmed))] = draw.randrange(256)
            path.write_bytes(bytes(harmed[: draw.choice([len(harmed), draw.randrange(len(harmed))])]))
            try:
                read = tensor_files.read(str(path))
                assert isinstance(read, torch.Tensor) or all(isinstance(t, torch.Tensor) for t in read.values())
            except TableError as error:
                assert "\n" not in str(error)
