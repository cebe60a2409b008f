"""A verification without any device: what a perfect edge device and server would have stamped."""

import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from dime.contract import stages
from dime.host.bench.engines import process
from dime.host.execution import comparison, runs
from dime.host.execution.plans import Candidate
from dime.host.execution.runs import RanLink, Verification
from dime.host.planning.encoded import Encoded
from dime.host.planning.links import Link
from tests.host import small

LINK = Link("a link", 8e6, 24e6, 0.01)
MS = 1_000_000


def segment(at_ns, arriving_ns, computing_ns, after_ns=0, size_bytes=0, decode_ns=0, encode_ns=0):
    """Stamps of a segment whose first byte came at a time of its own clock, and when its result's first byte left."""
    last_ns = at_ns + arriving_ns
    begun_ns = last_ns + decode_ns
    steps = [{"start": begun_ns, "end": begun_ns + c, "compute": c, "change": 0, "off": -1} for c in computing_ns]
    out_ns = begun_ns + sum(computing_ns) + after_ns + encode_ns
    return {
        "in_first": at_ns, "in_last": last_ns, "in_bytes": size_bytes, "copy_in": 0, "copy_out": 0,
        "decode": decode_ns, "encode": encode_ns, "out_first": out_ns, "steps": steps,
    }  # fmt: skip


def row(number=0, edge_ms=3, up_ms=8, server_ms=2, down_ms=1, delay_ms=5, overhead_ms=0, fallback="", **coding_ms):
    """A request that is computed on both devices, whose clocks have nothing to do with each other."""
    encode_ms, decode_ms = (coding_ms.get(name, 0) for name in ("encode_ms", "decode_ms"))
    first = segment(1000 * MS, 0, [edge_ms * MS], encode_ns=int(encode_ms * MS))
    second = segment(77 * MS, up_ms * MS, [server_ms * MS], overhead_ms * MS, 8000, int(decode_ms * MS))
    back_ns = first["out_first"] + int((2 * delay_ms + up_ms + server_ms + overhead_ms + decode_ms) * MS)
    last = segment(back_ns, down_ms * MS, [])
    return {
        "number": number, "picture": "fern", "start_ns": 1000 * MS, "end_ns": last["out_first"], "fallback": fallback,
        "segments": [first, second, last] if not fallback else [], "distance": None, "same_class": None, "off": None,
    }  # fmt: skip


def parts(edge="d0", server="d1"):
    crossing = ("modelled", (0, 0)), ("modelled", (1, 0))
    return (
        comparison.Part("compute", "l0", edge, "", -1, 0, 0.003, (0.0028, 0.0032), "measured", (0, 0)),
        comparison.Part("crossing", "l1", edge, server, -1, 8000, 0.013, None, *crossing[0]),
        comparison.Part("compute", "l1", server, "", -1, 0, 0.002, (0.0019, 0.0021), "measured", (1, 0)),
        comparison.Part("crossing", "the result", server, edge, -1, 3000, 0.006, None, *crossing[1]),
        comparison.Part("overhead", "", server, "", -1, 0, 0.0, None, "modelled", (1, 0)),
    )


def compared(rounds, predicted=(0.0235, 0.0245), names=("d0", "d1"), alone=()):
    segments = stages.segments([(0, 0, 0, -1), (1, 1, 1, -1)])
    told = comparison.by_stage(parts(*names), rounds, segments, [0.005, 0.005], alone)
    values = [np.array([(one["end_ns"] - one["start_ns"]) / 1e9 for one in rows]) for rows in rounds]
    fallbacks = sum(bool(one["fallback"]) for rows in rounds for one in rows)
    return comparison.Compared("DIME", (), 0.024, predicted, comparison.measure(values), told, fallbacks)


JPEG = Encoded(0, "jpeg90", 24_000, 30_000, 602_112, 1.0, 0.01, 6, "measured")


def encoded(found):
    """The same, of a plan that sends its input as a JPEG."""
    (link,) = found.links
    told = replace(link.compared[0], effect=comparison.Effect(5 / 6, 0.012, 6))
    link = replace(link, candidates=(replace(link.candidates[0], encoded=(JPEG,)),), compared=(told,))
    return replace(found, links=(link,))


def verification(name="a_link", names=("d0", "d1"), alone=(), **changes):
    rounds = [[row(2 * turn, **changes), row(2 * turn + 1, **changes)] for turn in range(5)]
    problem = small.problem(2, 2, 1)
    segments = tuple(stages.segments([(0, 0, 0, -1), (1, 1, 1, -1)]))
    one = Candidate("D", "DIME", (), (), None, segments, (0.0235, 0.0245), parts(*names), (0.01, 0.0), (0.005, 0.005))
    told = (compared(rounds, names=names, alone=alone),)
    link = RanLink(name, "emulated", {names: LINK}, (one,), told, (tuple(map(tuple, rounds)),), "latency")
    return Verification(Path("study"), problem.network, names, ({}, {}), (link,), 1.0)


def go_to(folder, tmp_path, monkeypatch):
    """Into a folder; the lock of this computer is this test's own."""
    monkeypatch.chdir(folder)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)


def copied(planned, tmp_path, monkeypatch):
    """Into a copy of a planned folder, to write into."""
    shutil.copytree(planned, tmp_path / "copy", ignore=lambda *_: ["verified"])
    go_to(tmp_path / "copy", tmp_path, monkeypatch)


def start_with(monkeypatch, device, *words):
    """A device's stage is started by these words in place of as many first ones."""
    started = process._process

    def start(command, *rest, **more):
        is_it = "stage" in command and f"--device={device}" in command
        return started([*words, *command[len(words) :]] if is_it else command, *rest, **more)

    monkeypatch.setattr(process, "_process", start)


def only(monkeypatch, name):
    """Of the plans that would be run only one, by its name."""
    every = runs.candidates

    def chosen(saved, devices, frontier):
        found, unsure = every(saved, devices, frontier)
        return tuple(one for one in found if name in (one.name, *one.also)), unsure

    monkeypatch.setattr(runs, "candidates", chosen)
