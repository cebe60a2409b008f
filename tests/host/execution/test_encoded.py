"""Plans whose tensors are encoded before they are sent, run: the result, the bytes, and what coding takes."""

import json
import os
import subprocess
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from pyarrow import parquet

from dime.contract import stages
from dime.contract.errors import DeviceError
from dime.host.bench.engines import process
from dime.host.execution import plans, runs, verification_files
from dime.host.planning.problem import Choice
from dime.host.profiles.encodings import Encoding
from dime.host.report import verified
from tests.host.conftest import dime
from tests.host.execution import made
from tests.host.execution.test_verify import LINK, MODEL
from tests.sharing import once

SEEING = f"{MODEL}\n\nINPUT = (1, 3, 32, 32)\n"
PICTURE_BYTES, CONV_BYTES = 3 * 32 * 32, 8 * 16 * 16
STUDIES = {
    "001": ("--encode=input:jpeg90,features:float16",),
    "002": ("--encode=input:uint8,features:uint8",),
    "003": ("--encode=features:float16", "--private=2", "--memory=edge=22000"),  # a split, whatever is fast
}


def make(folder: Path, profile=dime) -> None:
    (folder / "mine.py").write_text(SEEING)
    words = ("--cuts=all", "--name=mine", "--runs=3", "--iterations=3", "--threads=1", "--encode=all")
    profile("profile", "--net=mine.py:build", *words, folder=folder)
    solve("001", folder)  # the others where they are asked for


def solve(study: str, folder: Path) -> None:
    words = ("--edge-power=5", "--replicates=0", f"--link={LINK}", f"--out=results/plans/mine/{study}")
    dime("solve", "--net=mine", *words, *STUDIES[study], folder=folder)


@pytest.fixture(scope="module")
def planned(tmp_path_factory):
    return once(tmp_path_factory, "encoded", make)


@pytest.fixture
def here(planned, tmp_path, monkeypatch):
    """A copy of the planned folder, to write into."""
    made.copied(planned, tmp_path, monkeypatch)
    return Path("results/plans/mine")


def on_server(link):
    return next(
        (one, told)
        for one, told in zip(link.candidates, link.compared, strict=True)
        if "all on server" in (one.name, *one.also)
    )


@pytest.mark.parametrize("study", ["001", *(pytest.param(one, marks=pytest.mark.slow) for one in ("002", "003"))])
def test_plans_that_encode_are_run_and_compared(here, study):
    if not (here / study).exists():
        solve(study, Path())
    said = []
    found = runs.verify(here / study, runs=6, frontier=4, say=said.append)
    (link,) = found.links
    assert link.origin == "emulated"
    crossing = [pair for pair in zip(link.candidates, link.compared, strict=True) if pair[0].encoded]
    assert crossing
    for one, told in crossing:
        assert told.distance == 0.0 and told.fallbacks == 0  # the whole network with the same encodings, bit for bit
        assert told.effect.images == 6 and 0 <= told.effect.distance < 1
        if len(one.encoded) == 1:  # then it is what the profile has told of it
            of_profile = one.encoded[0]
            assert told.effect.distance == pytest.approx(of_profile.distance, rel=1e-3, abs=1e-6)
            assert told.effect.same_class == of_profile.same_class
        coding = [stage for stage in told.stages if stage.part.cause == "encoding"]
        assert {stage.part.device for stage in coding} == {"edge", "server"}
        for stage in coding:
            low, high = stage.part.interval_s
            assert low <= stage.part.predicted_s <= high and stage.measured.mean_s > 0
        whole = sum(stage.part.predicted_s for stage in told.stages)
        assert whole == pytest.approx(told.predicted_s) == one.plan.latency_s
    assert any("with the same encodings; first class the same in" in line for line in said)
    folder = verification_files.write(found, here / study / "verified" / "001")
    rows = [row for row in parquet.read_table(folder / "verification.parquet").to_pylist() if row["request"] >= 0]
    for one, _ in crossing:
        of_plan = [row for row in rows if row["plan"] == one.name]
        assert {row["device"] for row in of_plan if row["stage"] == "encoding"} == {"edge", "server"}
        for request in {row["request"] for row in of_plan}:
            parts = [row for row in of_plan if row["request"] == request]
            total = sum(row["seconds"] for row in parts if row["stage"] != "request")
            assert total == pytest.approx(next(row["seconds"] for row in parts if row["stage"] == "request"), rel=1e-3)
        sent = {row["bytes"] for row in of_plan if row["stage"] == "crossing" and row["target"] == "server"}
        if one.encoded[0].encoding == "jpeg90":
            assert len(sent) > 1 and max(sent) <= one.encoded[0].most_bytes < PICTURE_BYTES
        else:
            assert sent <= {PICTURE_BYTES, CONV_BYTES * 2, CONV_BYTES + 8, 2 * 256, 256 + 8}
    up = [part for one in link.candidates for part in one.parts if (part.cause, part.target) == ("crossing", "server")]
    told_bytes, times = sum(part.size_bytes for part in up), 6 + 6 + 5  # checked, counted, and one of each round before
    moved = next(iter(link.kept.values()))["up"]["bytes"]
    assert 0.8 * told_bytes * times < moved < (1.2 * told_bytes + 1000 * len(up)) * times, (
        "the link moves what is encoded"
    )
    text = " ".join(verified.text(found).split())
    assert "encoded: " in text and "predicted on edge" in text
    told = json.loads((folder / "verification.json").read_text())["links"][0]["plans"]
    for plan, one in zip(told, link.candidates, strict=True):
        assert [entry["boundary"] for entry in plan["encoded"]] == [each.boundary for each in one.encoded]
        assert (plan["effect"] is not None) == bool(one.encoded)


@pytest.mark.slow
def test_the_whole_of_it_is_one_command(here):
    done = dime("verify", f"--plans={here / '001'}", "--runs=5", folder=".")
    assert "encoded: input as jpeg90; first class the same in" in " ".join(done.stdout.split())
    assert '"effect":{' in (here / "001" / "report.html").read_text()


@pytest.mark.slow
def test_a_pipeline_that_encodes_is_run(here):
    dime(
        "solve", "--net=mine", "--link=WiFi", "--goal=throughput", "--encode=input:uint8", "--replicates=0", folder="."
    )
    (link,) = runs.verify(here / "002", runs=20).links
    one, told = on_server(link)
    assert one.encoded and told.effect is not None and told.fallbacks == 0 and told.measured.mean_s > 0


def test_a_longer_picture_than_the_plan_foretells_is_told(here, monkeypatch):
    asked = runs._encodings
    monkeypatch.setattr(runs, "_encodings", lambda one: [[at, name, 100] for at, name, _ in asked(one)])
    with pytest.raises(DeviceError, match=r"edge: plan all on server: picture \w+ takes \d+ bytes as jpeg90, and 100"):
        runs.verify(here / "001", runs=5)


@pytest.mark.slow
def test_a_wrong_decoder_ends_the_run_and_names_the_bundle(here, monkeypatch, tmp_path):
    """The server decodes pictures with red and blue exchanged."""
    (tmp_path / "wrong.py").write_text(
        "import sys\n"
        f"sys.path.insert(0, {os.path.dirname(os.path.dirname(process.ENTRY[1]))!r})\n"
        "import dime.device.encodings as encodings\n"
        "right = encodings.decode\n"
        "encodings.decode = lambda *rest: right(*rest).flip(1)\n"
        "from dime import entry\n"
        "entry.main()\n"
    )
    made.start_with(monkeypatch, "server", process.ENTRY[0], str(tmp_path / "wrong.py"))
    with pytest.raises(DeviceError, match=r"not the whole network's with the same encodings \(jpeg90\), .* of the"
                       r" largest value away; wrong: bundle .* on server"):  # fmt: skip
        runs.verify(here / "001", runs=5)


@pytest.mark.slow
def test_an_edge_of_python_3_6_encodes_for_a_server_of_today(python36, tmp_path, monkeypatch):
    """What it has encoded is decoded there; both round to the same steps but for the last digits of their bundles."""

    def old(device, *words):
        done = subprocess.run(
            [python36, *process.ENTRY[1:], "profile", "--network=mine", f"--device={device}", "--threads=1",
             f"--out=results/{device}/mine", "--runs=3", "--iterations=3", "--encode=all", *words],
            cwd=tmp_path, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr

    (tmp_path / "mine.py").write_text(SEEING)
    dime("samples", "--net=mine.py:build", "--cuts=all", "--name=mine", folder=tmp_path)
    old("edge")
    dime("profile", "--net=mine", "--device=server", "--runs=3", "--iterations=3", "--encode=all", folder=tmp_path)
    for study in STUDIES:
        solve(study, tmp_path)
    made.start_with(monkeypatch, "edge", python36)
    made.go_to(tmp_path, tmp_path, monkeypatch)
    for study in ("001", "003"):
        found = runs.verify(f"results/plans/mine/{study}", runs=5)
        assert found.facts[0]["versions"]["python"].startswith("3.6.") and found.facts[0]["pillow"]
        told = [one for one in found.links[0].compared if one.effect is not None]
        assert told and all(one.distance is not None and one.distance < 0.01 and not one.fallbacks for one in told)


def test_what_coding_takes_has_the_interval_of_the_rounds_that_timed_it():
    rounds_s = (np.array([[0.010, 0.010], [0.011, 0.013], [0.014, 0.014]]),)
    one = Encoding((0.012,), (0.012,), 10, 10, 40, None, None, 1, rounds_s, rounds_s)
    coded = [SimpleNamespace(boundary=at, encoding="float16") for at in (1, 2)]
    names = [SimpleNamespace(name="d0"), SimpleNamespace(name="d1")]
    problem = SimpleNamespace(layers="abc", devices=names, input_hz=-1, terms=SimpleNamespace(encoded=coded))
    steps = [Choice((0, 0), 0, -1), Choice((1, 1), 1, -1), Choice((2, 2), 0, -1)]
    segments = stages.segments([(*step.bundle, step.device, step.frequency_hz) for step in steps])
    measured = SimpleNamespace(encodings={(1, "float16"): one, (2, "float16"): one}, frequencies_hz=(-1,))
    devices = [SimpleNamespace(name=each.name, profile=measured) for each in names]
    half_s = 4.302653 * 0.002 / 3**0.5 * 2**0.5  # of both, which are independent
    for at in (0, 1):
        found = plans._coding_interval(problem, devices, segments, at, 0.024)
        assert found == (pytest.approx(0.024 - half_s), pytest.approx(0.024 + half_s))
    few = SimpleNamespace(
        encodings={(1, "float16"): replace(one, encode_rounds_s=(rounds_s[0][:1],))}, frequencies_hz=(-1,)
    )
    devices[0] = SimpleNamespace(name="d0", profile=few)
    assert plans._coding_interval(problem, devices, segments, 0, 0.024) is None
