"""Samples as tensors: .pt and .npy files that fit a network, and what is wrong with others."""

import numpy as np
import pytest
import torch

from dime.contract.errors import InputError
from dime.device.graphs import inputs
from dime.device.graphs.sources import Source

TOKENS = Source(None, [(2, 8)], [torch.int64], [100], None, None)
IMAGE = Source(None, [(1, 3, 4, 4)], [torch.float32], [None], None, None)
TWO = Source(None, [(1, 4), (1, 2)], [torch.float32, torch.int64], [None, None], None, None)


def load(folder, source):
    return inputs.load(str(folder), source, lambda kind, **fields: None)


def test_arrays_and_tensors_are_read(tmp_path):
    array = np.arange(48, dtype="<f4").reshape(1, 3, 4, 4)
    np.save(str(tmp_path / "a.npy"), array)
    np.save(str(tmp_path / "b.npy"), np.asfortranarray(array))
    torch.save(torch.from_numpy(array.astype("f8")), str(tmp_path / "c.pt"))
    np.save(str(tmp_path / "d.npy"), array[0].astype("<f2"))
    (tmp_path / "notes.txt").write_text("none of ours")
    found = load(tmp_path, IMAGE)
    assert [name for name, _ in found] == ["a", "b", "c", "d"]
    assert all(torch.equal(tensors[0], torch.from_numpy(array)) for _, tensors in found)


def test_samples_without_a_batch_are_put_together(tmp_path):
    for number in range(3):
        np.save(str(tmp_path / "s{}.npy".format(number)), np.full(8, number, dtype="<i4"))
    found = dict(load(tmp_path, TOKENS))
    assert found["s2"][0].tolist() == [[2] * 8, [0] * 8] and found["s2"][0].dtype == torch.int64


def test_several_inputs_are_several_files(tmp_path):
    np.save(str(tmp_path / "x.0.npy"), np.zeros((1, 4), "<f4"))
    with pytest.raises(InputError, match="sample x lacks its input 1"):
        load(tmp_path, TWO)
    torch.save(torch.tensor([3, 4]), str(tmp_path / "x.1.pt"))
    ((name, tensors),) = load(tmp_path, TWO)
    assert name == "x" and tensors[1].tolist() == [[3, 4]]


def test_equal_folders_have_equal_names(tmp_path):
    np.save(str(tmp_path / "a.npy"), np.zeros(3))
    before = inputs.describe(str(tmp_path))
    np.save(str(tmp_path / "a.npy"), np.ones(3))
    assert before != inputs.describe(str(tmp_path)) and before.startswith("tensors ")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.npy", np.zeros((1, 3, 4, 5), "<f4"), "holds float32 of 1x3x4x5; the network takes"),
        ("a.npy", np.zeros((1 << 20, 1), "<f4"), "holds float32 of 1048576x1"),
        ("a.npy", np.zeros((1, 3, 4, 4), "<i8"), "holds int64 of 1x3x4x4; the network takes float32"),
        ("a.npy", np.full((1, 3, 4, 4), np.nan, "<f4"), "not finite"),
        ("a.npy", np.zeros((1, 3, 4, 4), ">f4"), "no little-endian numbers"),
        ("a.npy", np.zeros((1, 3, 4, 4), "<c8"), "no little-endian numbers"),
        ("a.npy", np.array([{}] * 3, dtype=object), "no little-endian numbers"),
        ("a.npy", b"text", "not a file of numpy"),
        ("a.npy", b"\x93NUMPY\2\0\xff\xff\xff\xff", "not a file of numpy"),
        ("a.pt", b"text", "not a readable file of tensors"),
        ("a.pt", {"x": torch.zeros(2)}, "holds several tensors"),
        ("a b.pt", torch.zeros(1, 3, 4, 4), "a sample is NAME.pt"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path, name, content, message):
    path = tmp_path / name
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif isinstance(content, np.ndarray):
        np.save(str(path), content, allow_pickle=True)
    else:
        torch.save(content, str(path))
    with pytest.raises(InputError, match=message) as caught:
        load(tmp_path, IMAGE)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_tokens_beyond_what_an_embedding_knows_are_refused(tmp_path):
    np.save(str(tmp_path / "a.npy"), np.full((2, 8), 100, "<i8"))
    with pytest.raises(InputError, match="numbers outside of 0 to 99"):
        load(tmp_path, TOKENS)


def test_a_truncated_array_is_refused(tmp_path):
    np.save(str(tmp_path / "a.npy"), np.zeros((1, 3, 4, 4), "<f4"))
    content = (tmp_path / "a.npy").read_bytes()
    (tmp_path / "a.npy").write_bytes(content[:-1])
    with pytest.raises(InputError, match="has 191 bytes of numbers, not 192"):
        load(tmp_path, IMAGE)
