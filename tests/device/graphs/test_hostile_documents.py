"""Whatever a document asks for, the device side refuses it in one line, and its memory stays where it was."""

import copy
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

if not hasattr(torch.overrides, "TorchFunctionMode"):
    pytest.skip("today's Python runs this on Python 3.6, too", allow_module_level=True)
from dime.contract.errors import DeviceError, TableError
from dime.device.graphs import document, memory
from tests.device.graphs.test_document import GRAPH, read

ROOT = Path(__file__).resolve().parents[3]
LOAD = """
import resource, sys, torch
from dime.contract.errors import DimeError
from dime.device.graphs import network
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
torch.randn(64, 64).matmul(torch.randn(64, 64))
before = peak()
for folder in sys.argv[1:]:
    try:
        network.load(folder, "seeded 0", lambda *_, **__: None)
        print(peak() - before, "loaded")
    except DimeError as error:
        print(peak() - before, str(error).replace(chr(10), "LINE"))
"""
FLAT_MIB = 400


def node(operation, arguments, outputs=(1,), **keywords):
    return {
        "operation": operation, "module": "act", "arguments": [{"value": 0}, *arguments], "keywords": keywords,
        "outputs": list(outputs), "single": True, "mutates": [],
    }  # fmt: skip


def with_first(entry):
    graph = copy.deepcopy(GRAPH)
    graph["nodes"][0] = entry
    if entry["outputs"] == [None]:
        graph["nodes"][1]["arguments"][0] = {"value": 0}
    return graph


def conv(padding, stride=1):
    graph = with_first(node("functional.conv2d", [{"constant": "k"}], padding=padding, stride=stride))
    graph["values"][0][0] = [1, 1, 2, 2]
    graph["constants"].append({"name": "k", "shape": [1, 1, 1, 1], "dtype": "float32", "offset": 32, "sha256": ""})
    return graph


def lstm(width):
    made = {"input_size": 4, "hidden_size": width, "num_layers": 1, "bias": True, "batch_first": False}
    described = {"dict": [["made", {"dict": list(made.items())}], ["bias", True], ["state", {"dict": []}]]}
    entry = node("module.LSTM", [], (1, None, None), call={"dict": []})
    return with_first({**entry, "arguments": [described, [{"value": 0}]], "single": False})


HUGE = 300_000_000
HOSTILE = {
    "pad": with_first(node("functional.pad", [[0, HUGE]])),
    "pad unused": with_first(node("functional.pad", [[0, HUGE]], (None,))),
    "repeat": with_first(node("tensor.repeat", [HUGE, 1])),
    "tile": with_first(node("torch.tile", [{"tuple": [HUGE, 4]}])),
    "new_zeros": with_first(node("tensor.new_zeros", [[1 << 20, 1 << 20]])),
    "new_full": with_first(node("tensor.new_full", [[HUGE], 1.0])),
    "expand": with_first(node("tensor.expand", [1 << 40, 4])),
    "negative": with_first(node("tensor.new_zeros", [[-5]])),
    "interpolate": with_first(node("functional.interpolate", [], size=HUGE)),
    "repeat_interleave": with_first(node("torch.repeat_interleave", [HUGE])),
    "convolution": conv(20000),
    "convolution, small result": conv(20000, 40000),
    "lstm": lstm(1 << 15),
    "another shape": with_first(node("functional.pad", [[0, 1]])),
    "another dtype": with_first(node("tensor.double", [])),
    "tanh of nothing": with_first({**node("torch.tanh", []), "arguments": []}),
    "made with more": with_first({**lstm(4)["nodes"][0], "arguments": [
        {"dict": [["made", {"dict": [["device", "cuda"]]}], ["bias", True], ["state", {"dict": []}]]}, []]}),
}  # fmt: skip


def written(graph, folder, tensors=b"\0" * 64, golden=None):
    folder.mkdir(parents=True)
    for constant in graph["constants"]:
        size = 4
        for length in constant["shape"]:
            size *= length
        content = tensors[constant["offset"] : constant["offset"] + size]
        constant["sha256"] = constant["sha256"].strip("0") or hashlib.sha256(content).hexdigest()
    (folder / "graph.json").write_text(json.dumps(graph))
    (folder / "tensors.raw").write_bytes(tensors)
    made = read(graph)
    live = made.live()
    size = sum(made.boundary_bytes(live[node]) for node in [0, *(layer.last + 1 for layer in made.layers)])
    (folder / "golden.raw").write_bytes(b"\0" * size if golden is None else golden)
    return folder


def load(folders, python=sys.executable):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    words = [str(python), "-c", LOAD, *map(str, folders)]
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=environment, cwd=folders[0])
    assert done.returncode == 0, done.stderr
    return [(int(line.split(" ", 1)[0]), line.split(" ", 1)[1]) for line in done.stdout.splitlines()]


@pytest.mark.parametrize("version", ["today", pytest.param("3.6", marks=pytest.mark.slow)])
def test_no_argument_makes_a_device_take_memory(tmp_path, version, request):
    python = sys.executable if version == "today" else request.getfixturevalue("python36")
    folders = [written(copy.deepcopy(graph), tmp_path / name) for name, graph in HOSTILE.items()]
    for name, (peak_mib, said) in zip(HOSTILE, load([*folders], python), strict=True):
        assert said != "loaded" and "LINE" not in said, name
        print(name, peak_mib, said)
        assert peak_mib < FLAT_MIB, name
    assert load([written(copy.deepcopy(GRAPH), tmp_path / "honest")], python)[0][1] == "loaded"


def test_an_operation_that_gives_something_else_is_named(tmp_path):
    shape, dtype = load(
        [written(copy.deepcopy(HOSTILE[name]), tmp_path / name) for name in ("another shape", "another dtype")]
    )
    assert shape[1] == "functional.pad in act gives float32 of 1x5 here, not float32 of 1x4"
    assert dtype[1] == "tensor.double in act gives float64 of 1x4 here, not float32 of 1x4"


def test_tensors_that_overlap_or_are_not_there_are_not_read(tmp_path):
    many = copy.deepcopy(GRAPH)
    many["constants"] += [
        {"name": str(n), "shape": [1 << 20], "dtype": "float32", "offset": 0, "sha256": "1" * 64} for n in range(4000)
    ]
    empty = copy.deepcopy(GRAPH)
    empty["constants"][0].update(offset=1 << 40, sha256=hashlib.sha256(b"").hexdigest())
    folders = [written(many, tmp_path / "many"), written(empty, tmp_path / "empty")]
    with (folders[0] / "tensors.raw").open("wb") as stream:
        stream.truncate(4 << 20)
    for peak_mib, said in load(folders):
        assert "tensors.raw" in said or "are free here" in said
        assert peak_mib < 100


@pytest.mark.parametrize(
    ("files", "free"),
    [
        ({}, None),
        ({"proc/meminfo": "MemTotal: 9 kB\nMemAvailable: 5 kB\nSwapFree: 1 kB\n"}, 6144),
        ({"proc/meminfo": "MemAvailable: 5 kB\nSwapFree: 1 kB\n", "sys/fs/cgroup/memory.max": "max",
          "sys/fs/cgroup/memory.current": "3"}, 6144),
        ({"proc/meminfo": "MemAvailable: 5 kB\nSwapFree: 1 kB\n", "sys/fs/cgroup/memory.max": "100\n",
          "sys/fs/cgroup/memory.current": "30\n"}, 70),
        ({"sys/fs/cgroup/memory.max": "100", "sys/fs/cgroup/memory.current": "90",
          "sys/fs/cgroup/memory.stat": "anon 40\ninactive_file 20\nactive_file 30\n"}, 60),
        ({"sys/fs/cgroup/memory/memory.limit_in_bytes": "100", "sys/fs/cgroup/memory/memory.usage_in_bytes": "300"}, 0),
        ({"proc/meminfo": "MemAvailable: lots\n"}, None),
    ],
)  # fmt: skip
def test_what_is_free_is_what_a_container_s_limit_leaves(tmp_path, files, free):
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    assert memory.free_bytes(str(tmp_path)) == free


def test_a_network_that_does_not_fit_is_told_before_any_of_it_is_read(monkeypatch):
    monkeypatch.setattr(memory, "free_bytes", lambda: 40)
    with pytest.raises(DeviceError, match=r"the network tiny needs 0 MiB for its weights .* \(in act\)"):
        memory.check(read(GRAPH))


def test_what_is_declared_is_bounded(monkeypatch):
    graph = copy.deepcopy(GRAPH)
    graph["values"] = [[[1 << 29], "float32", n] for n in range(20)]
    graph["nodes"] = [node("torch.relu", [], (n,)) for n in range(1, 19)]
    graph["nodes"].append({**node("torch.cat", [], (19,)), "arguments": [[{"value": n} for n in range(1, 19)]]})
    graph.update(outputs={"value": 19}, layers=[], constants=[])
    with pytest.raises(TableError, match=r"node 18 needs \d+ bytes at once"):
        read(graph)
    with pytest.raises(TableError, match="members"):
        document.from_json(b'{"format":"dime graph","version":1,"x":[' + b"[]," * 2_000_000 + b"[]]}")
    monkeypatch.setattr(document, "MOST_NEEDED", 2)
    with pytest.raises(TableError, match="too many values"):
        read(GRAPH).live()
