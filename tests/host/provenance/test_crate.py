"""The archive as RO-Crate: every file and step is described, and the validator of RO-Crate finds no violation."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from dime.host.provenance import document, manifest
from dime.host.provenance.crate import CRATE

pytest.importorskip("rocrate")


def graph(place):
    return {one["@id"]: one for one in json.loads((place / "artifact" / CRATE).read_text())["@graph"]}


def test_every_file_is_described_with_its_hash(place):
    found, listed = graph(place), manifest.read(place / "artifact")
    for path, digest in listed.items():
        if path != CRATE:
            assert found[path]["sha256"] == digest
    assert {one["@id"] for one in found["./"]["hasPart"]} >= set(listed) - {CRATE}


def test_every_step_has_its_inputs_and_outputs(place):
    found, said = graph(place), document.read(place / "artifact")
    for number, step in enumerate(said.steps, 1):
        action = found[f"#step-{number}"]
        objects, results = (action[name] for name in ("object", "result"))
        assert {one["@id"] for one in objects} == set(step.inputs)
        assert {one["@id"] for one in results} == set(step.outputs)
        assert action["description"] == step.line
    made = {path for step in said.steps for path in step.outputs}
    raw = {path for step in said.steps for path in step.inputs} - made
    assert any(path.endswith("power.csv") for path in raw) and any(path.endswith("timings.csv") for path in raw)


def test_the_validator_finds_no_violation(place):
    python = os.environ.get("DIME_ROC_PYTHON")
    if not python:
        pytest.skip("DIME_ROC_PYTHON names no Python with roc-validator")
    words = [python, Path(__file__).with_name("validate.py"), place / "artifact"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and done.stdout.count("0 violations") == 4, done.stdout + done.stderr
