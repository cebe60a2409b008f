import collections
import os
import pickle

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


@pytest.fixture(params=["today's", "oldest"])
def reader(request, monkeypatch):
    """Both ways to read; the one for torch before 1.13 is tried on any torch."""
    if request.param == "oldest":
        load = torch.load
        monkeypatch.setattr(torch, "__version__", "1.10.1")
        monkeypatch.setattr(torch, "load", lambda *a, **k: load(*a, **dict(k, **careless(load))))
    return tensor_files.read


def careless(load):
    return {"weights_only": False} if "weights_only" in load.__code__.co_varnames else {}


@pytest.mark.parametrize("zipped", [True, False])
def test_what_a_file_asks_for_is_not_run(tmp_path, reader, zipped):
    harm = str(tmp_path / "harm")
    for content in (Evil(harm), {"x": Evil(harm)}, collections.OrderedDict(x=[torch.ones(1), Evil(harm)])):
        torch.save(content, str(tmp_path / "x.pt"), _use_new_zipfile_serialization=zipped)
        with pytest.raises(TableError, match="x.pt is not a readable file of tensors: it asks for") as failure:
            reader(str(tmp_path / "x.pt"))
        assert not os.path.exists(harm)
        assert "weights_only" not in str(failure.value)


def test_a_bare_pickle_is_not_run_either(tmp_path, reader):
    harm = str(tmp_path / "harm")
    (tmp_path / "x.pt").write_bytes(pickle.dumps(Evil(harm), protocol=2))
    with pytest.raises(TableError, match="x.pt is not a readable file of tensors"):
        reader(str(tmp_path / "x.pt"))
    assert not os.path.exists(harm)


def test_both_ways_read_tensors(tmp_path, reader):
    tensor_files.write(str(tmp_path / "x.pt"), torch.arange(3.0))
    assert reader(str(tmp_path / "x.pt")).tolist() == [0, 1, 2]


@pytest.mark.parametrize("content", [b"", b"tensor", b"PK\x03\x04" + b"0" * 100, b"\x80\x02}q\x00."])
def test_damage_is_one_line_that_names_the_file(tmp_path, reader, content):
    (tmp_path / "x.pt").write_bytes(content)
    with pytest.raises(TableError, match="x.pt") as failure:
        assert isinstance(reader(str(tmp_path / "x.pt")), torch.Tensor)
    assert "\n" not in str(failure.value)


def test_truncation_is_one_line_that_names_the_file(tmp_path, reader):
    tensor_files.write(str(tmp_path / "x.pt"), torch.rand(100))
    whole = (tmp_path / "x.pt").read_bytes()
    (tmp_path / "x.pt").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(TableError, match="x.pt is not a readable file of tensors"):
        reader(str(tmp_path / "x.pt"))


def test_a_missing_file_is_said_to_be_missing(tmp_path):
    with pytest.raises(TableError, match="x.pt is missing"):
        tensor_files.read(str(tmp_path / "x.pt"))
