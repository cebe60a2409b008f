"""ro-crate-metadata.json: the archive as RO-Crate 1.2 with the Workflow Run Crate profile, for repositories to read."""

from __future__ import annotations

import json
import mimetypes
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from dime.contract import files
from dime.contract.errors import InputError
from dime.host.provenance import manifest, pages
from dime.host.provenance.document import DOCUMENT, Artifact
from dime.host.provenance.steps import Step

if TYPE_CHECKING:
    from rocrate.model import ContextEntity, File
    from rocrate.rocrate import ROCrate

CRATE = "ro-crate-metadata.json"
VERSION = "1.2"
PROFILES = {
    "https://w3id.org/ro/wfrun/process/0.5": "Process Run Crate",
    "https://w3id.org/ro/wfrun/workflow/0.5": "Workflow Run Crate",
    "https://w3id.org/workflowhub/workflow-ro-crate/1.0": "Workflow RO-Crate",
}
KINDS = {
    ".csv": "text/csv",
    ".json": "application/json",
    ".parquet": "application/vnd.apache.parquet",
    ".toml": "application/toml",
    ".npz": "application/zip",
    ".whl": "application/zip",
    ".md": "text/markdown",
    ".cff": "application/yaml",
    ".lock": "text/plain",
}
WORKFLOW = "Makefile"
RUN = "#check-artifact"
GNU_MAKE = "https://www.gnu.org/software/make/"
WORKFLOW_PROFILE = "https://bioschemas.org/profiles/ComputationalWorkflow/1.0-RELEASE"


def write(root: Path, said: Artifact) -> None:
    """Describes every file that is there, and each step with what it read and wrote.

    Raises:
        InputError: The library rocrate is not installed.
        OSError: The disk would not take the file.
    """
    try:
        from rocrate.model import ContextEntity, File
        from rocrate.rocrate import ROCrate
    except ImportError:
        raise InputError("the library rocrate is not installed; type: make setup") from None
    crate = ROCrate(version=VERSION)
    crate.name, crate.description = said.title, f"Measurements and plans of DIME {said.dime}, with all they came from"
    crate.datePublished = _time(said)
    crate.license = crate.add(
        _entity(ContextEntity, crate, f"https://spdx.org/licenses/{said.licence}", _licence(said))
    )
    crate.creator = [
        crate.add(_entity(ContextEntity, crate, _person(name, orcid, at), {"@type": "Person", "name": name}))
        for at, (name, orcid) in enumerate(map(pages.author, said.authors or (pages.ANONYMOUS,)))
    ]
    described = {}
    for path in manifest.walk(root):
        if path not in (CRATE, *manifest.UNLISTED):
            described[path] = crate.add(File(crate, None, path, properties=_file(root / path, path)))
    profiles = [
        crate.add(
            _entity(
                ContextEntity,
                crate,
                url,
                {"@type": ["CreativeWork", "Profile"], "name": name, "version": url.rpartition("/")[2]},
            )
        )
        for url, name in PROFILES.items()
    ]
    crate.root_dataset["conformsTo"] = profiles
    crate.root_dataset["author"] = crate.root_dataset["publisher"] = crate.creator
    described["README.md"]["about"] = crate.root_dataset
    _steps(crate, ContextEntity, said, described)
    crate.mainEntity = described[WORKFLOW]
    content = crate.metadata.generate()
    content["@context"] = [content["@context"], "https://w3id.org/ro/terms/workflow-run/context"]
    content["@graph"].sort(key=lambda one: (one["@id"] not in ("./", CRATE), one["@id"]))
    files.new(root / CRATE, (json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode())


def _steps(crate: ROCrate, entity: type[ContextEntity], said: Artifact, described: Mapping[str, File]) -> None:
    tool = crate.add(
        _entity(entity, crate, f"https://doi.org/{pages.PAPER}", {
            "@type": "SoftwareApplication", "name": "dime", "version": said.dime,
            "description": f"DIME, revision {said.revision or 'unknown'}", "url": f"https://doi.org/{pages.PAPER}",
        })
    )  # fmt: skip
    language = crate.add(
        _entity(entity, crate, "#make", {
            "@type": "ComputerLanguage", "name": "GNU make", "version": "4",
            "identifier": GNU_MAKE, "url": GNU_MAKE,
        })
    )  # fmt: skip
    workflow = described[WORKFLOW]
    workflow["name"], workflow["programmingLanguage"], workflow["hasPart"] = "The archive's Makefile", language, tool
    workflow["version"], workflow["url"], workflow["conformsTo"] = said.dime, GNU_MAKE, {"@id": WORKFLOW_PROFILE}
    actions = [_action(crate, entity, step, number, tool, described, said) for number, step in enumerate(said.steps, 1)]
    made = set(said.derived)
    whole = {
        "@type": "CreateAction",
        "name": "Everything from the raw data: make check-artifact",
        "description": "Runs every step again and compares what it makes with what is here",
        "endTime": _time(said),
    }
    run = crate.add(_entity(entity, crate, RUN, whole))
    run["instrument"] = workflow
    raw = {path for step in said.steps for path in step.inputs} - made
    run["object"] = [described[path] for path in sorted(raw) if path in described]
    run["result"] = [described[path] for path in sorted(made) if path in described]
    run["agent"] = crate.creator
    crate.root_dataset["mentions"] = [run, *actions]


def _action(
    crate: ROCrate,
    entity: type[ContextEntity],
    step: Step,
    number: int,
    tool: ContextEntity,
    described: Mapping[str, File],
    said: Artifact,
) -> ContextEntity:
    facts = {
        "@type": "CreateAction",
        "name": f"dime {step.command} into {step.place}",
        "description": step.line,
        "endTime": _time(said),
        "actionStatus": "http://schema.org/CompletedActionStatus",
    }
    action = crate.add(_entity(entity, crate, f"#step-{number}", facts))
    action["instrument"], action["agent"] = tool, crate.creator
    action["object"] = [described[path] for path in step.inputs if path in described]
    action["result"] = [described[path] for path in step.outputs if path in described]
    return action


def _entity(kind: type[ContextEntity], crate: ROCrate, identifier: str, facts: Mapping[str, object]) -> ContextEntity:
    return kind(crate, identifier, properties=dict(facts))


def _time(said: Artifact) -> str:
    return said.made_utc.replace("Z", "+00:00")


def _licence(said: Artifact) -> dict[str, str]:
    return {"@type": "CreativeWork", "name": said.licence, "description": f"SPDX {said.licence}"}


def _person(name: str, orcid: str, number: int) -> str:
    return f"https://orcid.org/{orcid}" if orcid else f"#author-{number + 1}-{quote(name, safe='')}"


def _about(name: str) -> str:
    """What a file is, in a few words, by its place."""
    folder, _, rest = name.partition("/")
    if folder in ("software", "wheels"):
        return "software"
    return "measured, or computed from what was" if rest else "about this archive"


def _file(path: Path, name: str) -> dict[str, object]:
    kind = KINDS.get(path.suffix) or mimetypes.guess_type(name, strict=True)[0] or "text/plain"
    facts: dict[str, object] = {
        "name": "How everything is made from what" if name == DOCUMENT else path.name,
        "description": f"{kind}, {_about(name)}",
        "contentSize": str(path.stat().st_size),
        "encodingFormat": kind,
        "sha256": files.digest(path),
    }
    return {**facts, "@type": ["File", "SoftwareSourceCode", "ComputationalWorkflow"]} if name == WORKFLOW else facts
