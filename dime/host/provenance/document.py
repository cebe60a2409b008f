"""artifact.json: what an archive is, whose, of which studies, and the steps from its raw data to its results."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from dime.contract import files, schemas
from dime.contract.errors import TableError
from dime.host.provenance.steps import Step, leads_outside

DOCUMENT = "artifact.json"


@dataclass(frozen=True)
class Artifact:
    """What an archive says of itself.

    Attributes:
        title: Its title.
        authors: Names, with ORCID or affiliation as they were given.
        made_utc: The time of the newest measurement in it, so that the same inputs give the same archive.
        dime: The version of DIME that made it.
        revision: Its revision; empty where it is not known.
        versions: Versions of Python and of the libraries that numbers come from.
        studies: The folders of its studies.
        profiles: The folders or tables of its profiles.
        steps: From raw data to results, in order.
        missing: What is not in it although one may look for it, a line each.
        images: The container images that took part, NAME@DIGEST, by the device that they ran on.
        licence: The licence of the data, by its SPDX identifier.
        claims_sha256: Hash of the claims as DIME made them: other ones were edited by a person, and are kept.
        signed: Whether a signature goes with it.
    """

    title: str
    authors: tuple[str, ...]
    made_utc: str
    dime: str
    revision: str
    versions: Mapping[str, str]
    studies: tuple[str, ...]
    profiles: tuple[str, ...]
    steps: tuple[Step, ...]
    missing: tuple[str, ...] = ()
    images: Mapping[str, str] = field(default_factory=dict)
    licence: str = "MIT"
    claims_sha256: str = ""
    signed: bool = False

    def write(self, root: Path) -> None:
        """Writes artifact.json.

        Raises:
            OSError: The disk would not take it.
        """
        content = {**vars(self), "steps": [step.data() for step in self.steps]}
        files.replace(root / DOCUMENT, files.as_json(schemas.stamped(schemas.ARTIFACT, content)))

    @property
    def derived(self) -> tuple[str, ...]:
        """Every file that a step writes."""
        return tuple(path for step in self.steps for path in step.outputs)


def read(root: Path) -> Artifact:
    """Reads artifact.json.

    Raises:
        TableError: There is none, or it is damaged or of a later version.
    """
    path = root / DOCUMENT
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
        schemas.version(schemas.ARTIFACT, said, path)
        texts = {name: str(said[name]) for name in ("title", "made_utc", "dime", "revision")}
        lists = {name: tuple(map(str, said.get(name, []))) for name in ("authors", "studies", "profiles", "missing")}
        maps = {
            name: {str(key): str(value) for key, value in said.get(name, {}).items()} for name in ("versions", "images")
        }
        steps = tuple(Step.checked(one, path) for one in said["steps"])
        signed = bool(said.get("signed", False))
        texts |= {"licence": str(said.get("licence", "MIT")), "claims_sha256": str(said.get("claims_sha256", ""))}
    except FileNotFoundError:
        raise TableError(f"{root} is no artifact: it has no {DOCUMENT}") from None
    except OSError as error:
        raise TableError(f"{path}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise TableError(f"{path} is damaged: {' '.join(repr(error).split())[:200]}") from None
    for one in (*lists["studies"], *lists["profiles"]):
        if leads_outside(one):
            raise TableError(f"{path} is damaged: it leads out of the archive: {one[:100]}")
    return Artifact(**texts, **lists, **maps, steps=steps, signed=signed)  # type: ignore[arg-type]
