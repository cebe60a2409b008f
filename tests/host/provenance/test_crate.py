"""The archive as RO-Crate: every file and step is described, and the validator of RO-Crate finds no violation."""

import json
from pathlib import Path

import pytest

from dime.host.provenance import document, manifest
from dime.host.provenance.crate import CRATE, PROFILES

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


@pytest.mark.parametrize(
    "profile", ["ro-crate-1.2", *(url.split("/")[-2] + "-" + url.split("/")[-1] for url in PROFILES)]
)
def test_the_validator_finds_no_violation(place, profile, monkeypatch):
    services = pytest.importorskip("rocrate_validator.services")
    import rocrate
    from rocrate_validator import models
    from rocrate_validator.utils.http import HttpRequester

    context = json.loads((Path(rocrate.__file__).parent / "data/ro-crate.jsonld").read_text())
    context["@context"]["ComputationalWorkflow"] = "https://bioschemas.org/ComputationalWorkflow"  # as 1.2 has it

    class Answer:
        """The context as the library ships it: a test asks no network."""

        status_code, ok, headers, text = 200, True, {"Content-Type": "application/ld+json"}, json.dumps(context)
        content = text.encode()

        def json(self):
            return context

        def raise_for_status(self):
            pass

    for name in ("get", "head"):
        monkeypatch.setattr(HttpRequester, name, lambda *_, **__: Answer(), raising=False)
    profile = {"process-0.5": "process-run-crate-0.5", "workflow-0.5": "workflow-run-crate-0.5"}.get(profile, profile)
    settings = services.ValidationSettings(
        rocrate_uri=models.URI(str(place / "artifact")),
        profile_identifier=profile,
        requirement_severity=models.Severity.REQUIRED,
        disable_inherited_profiles_issue_reporting=profile != "ro-crate-1.2",
    )
    found = services.validate(settings)
    assert [issue.message for issue in found.get_issues()] == []
