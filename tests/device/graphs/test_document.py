"""A document is data: whatever it asks for beyond the allow-list is refused before anything runs."""

import copy
import json
import random
import tracemalloc

import pytest
import torch

from dime.contract.errors import DeviceError, TableError
from dime.device.graphs import document, operations, program

GRAPH = {
    "format": "dime graph",
    "version": 1,
    "name": "tiny",
    "torch": "2.13.0",
    "values": [[[1, 4], "float32", 0], [[1, 4], "float32", 1], [[1, 2], "float32", 2]],
    "inputs": [0],
    "outputs": {"value": 2},
    "nodes": [
        {
            "operation": "functional.relu", "module": "act", "arguments": [{"value": 0}],
            "keywords": {"inplace": False}, "outputs": [1], "single": True, "mutates": [],
        },
        {
            "operation": "functional.linear", "module": "head", "arguments": [{"value": 1}, {"constant": "w"}, None],
            "keywords": {}, "outputs": [2], "single": True, "mutates": [],
        },
    ],
    "constants": [{"name": "w", "shape": [2, 4], "dtype": "float32", "offset": 0, "sha256": "0" * 64}],
    "layers": [{"name": "act", "last": 0}, {"name": "head", "last": 1}],
}  # fmt: skip


def read(graph):
    return document.from_json(json.dumps(graph).encode())


def test_a_document_runs_on_every_torch():
    ready = program.Program(read(GRAPH), {"w": torch.ones(2, 4)})
    assert ready.part(0, 1)(torch.tensor([[1.0, -1, 2, -2]])).tolist() == [[3.0, 3.0]]
    assert ready.part(1, 1)(ready.part(0, 0)(torch.tensor([[1.0, -1, 2, -2]]))).tolist() == [[3.0, 3.0]]


@pytest.mark.parametrize(
    "name",
    [
        "os.system", "torch.load", "torch.hub", "torch.ops", "functional.__builtins__", "tensor.__class__",
        "tensor.__reduce__",
        "tensor.tofile", "torch.save", "torch.jit", "module.Module", "functional", "", "torch.__import__",
        "tensor.numpy",
        "tensor.storage", "tensor.set_", "torch.from_file", "torch.compile",
    ],
)  # fmt: skip
def test_no_other_name_is_an_operation(name):
    graph = copy.deepcopy(GRAPH)
    graph["nodes"][0]["operation"] = name
    with pytest.raises((DeviceError, TableError), match="cannot run|damaged"):
        program.Program(read(graph), {"w": torch.ones(2, 4)})
    assert operations.find(name) is None


def changed(path, value):
    graph = copy.deepcopy(GRAPH)
    place = graph
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    return graph


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (["format"], "x", "not a network's graph"),
        (["version"], 2, "of version '2'"),
        (["values", 0, 0], [-1, 4], "is not in"),
        (["values", 0, 0], [1 << 45], "is not in"),
        (["values", 0, 0], [1 << 20, 1 << 20], "bytes; at most"),
        (["values", 0, 1], "object", "dtype"),
        (["inputs"], [7], "is not in"),
        (["outputs"], {"value": 9}, "is not in"),
        (["nodes", 0, "arguments"], [{"value": 2}], "not there yet"),
        (["nodes", 0, "arguments"], [{"constant": "x"}], "unknown constant"),
        (["nodes", 0, "arguments"], [{"eval": "1"}], "unknown kind"),
        (["nodes", 0, "arguments"], [{"dtype": "object"}], "unknown kind"),
        (["nodes", 0, "arguments"], [1 << 70], "too large"),
        (["nodes", 1, "outputs"], [1], "there already"),
        (["nodes", 0, "mutates"], [2], "not there yet"),
        (["layers", 1, "last"], 0, "ends before"),
        (["layers"], [{"name": "act", "last": 0}], "last node"),
        (["layers", 0, "name"], "head", "one name"),
        (["constants", 0, "sha256"], "0", "no hash"),
        (["name"], "x\x1b[31m", "no short text"),
        (["nodes"], [], "not there yet"),
        (["nodes"], "x", "no list"),
    ],
)
def test_what_a_document_may_not_hold(path, value, message):
    with pytest.raises(TableError, match=message):
        read(changed(path, value))


def test_nesting_and_size_cost_no_memory():
    deep = [{"value": 0}]
    for _ in range(40):
        deep = [deep]
    with pytest.raises(TableError, match="deeper"):
        read(changed(["nodes", 0, "arguments"], deep))
    many = b'{"format":"dime graph","version":1,"nodes":[' + b'{"operation":"x"},' * 1000000 + b"{}]}"
    tracemalloc.start()
    for content in (many, b"[" * 100000, b'{"format": "dime graph", "version": NaN}'):
        with pytest.raises(TableError):
            document.from_json(content)
    assert tracemalloc.get_traced_memory()[1] < 20e6
    tracemalloc.stop()


def test_damaged_documents_are_one_line():
    content, draw = document.to_json(read(GRAPH)), random.Random(2)
    for _ in range(2000):
        harmed = bytearray(content)
        for _ in range(draw.randint(1, 3)):
            harmed[draw.randrange(len(harmed))] = draw.randrange(256)
        try:
            made = document.from_json(bytes(harmed))
            program.Program(made, {"w": torch.ones(2, 4)})
        except (TableError, DeviceError) as error:
            assert "\n" not in str(error)
