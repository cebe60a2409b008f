"""The pages of an archive for people, its Makefile, its citation and its licence."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from dime.contract import files
from dime.contract.errors import InputError
from dime.host.provenance import images
from dime.host.provenance.claims import Claim
from dime.host.provenance.document import Artifact
from dime.host.provenance.software import CHECKOUT, PACKAGE

TEXTS = Path(__file__).parent / "texts"
PAGES = ("README.md", "TROUBLES.md", "BADGES.md", "Makefile")
CITATION, LICENCE = "CITATION.cff", "LICENSE"
PAPER = "10.1109/SMARTCOMP61445.2024.00081"
ORCID = re.compile(r"(.*?)\s*[\[(]?\s*(?:https://orcid\.org/)?(\d{4}-\d{4}-\d{4}-\d{3}[\dX])\s*[\])]?\s*")
SPDX = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+-]{0,60}")
ANONYMOUS = "Anonymous"
# Processor time on a server (AMD EPYC): the libraries' installation from wheels, and a study of AlexNet over three
# links with 200 replicates made again; and the libraries' size.
SETUP_S, STUDY_S, LIBRARIES_MB = 20, 5, 750


def author(text: str) -> tuple[str, str]:
    """An author's name and ORCID, which may be empty."""
    found = ORCID.fullmatch(text)
    return (found[1].rstrip(","), found[2]) if found and found[1] else (text, "")


def check_licence(text: str) -> str:
    """Makes sure that a licence is an SPDX identifier.

    Raises:
        InputError: It is none.
    """
    if not SPDX.fullmatch(text):
        raise InputError(f"'{text}' is no licence's identifier such as MIT or CC-BY-4.0 (spdx.org/licenses)")
    return text


def write(root: Path, said: Artifact, claims: Sequence[Claim], wheels: bool) -> None:
    """Writes them all.

    Args:
        root: The archive.
        said: What it is.
        claims: Its claims.
        wheels: Whether wheels are in it.

    Raises:
        OSError: The disk would not take them.
    """
    size = sum(path.stat().st_size for path in root.rglob("*") if path.is_file())
    parts = {
        "title": said.title,
        "authors": ", ".join(author(one)[0] for one in said.authors) or "(no authors are named)",
        "count": "One study" if len(said.studies) == 1 else f"{len(said.studies)} studies",
        "dime": said.dime,
        "revision": said.revision or "unknown",
        "minutes": str(minutes(len(said.studies))),
        "setup_s": str(SETUP_S),
        "study_s": str(STUDY_S),
        "full_minutes": _full(claims),
        "disk": str(
            LIBRARIES_MB + 3 * math.ceil(size / 1e6)
        ),  # unpacked, what is made again, and the zip held against it
        "libraries": str(LIBRARIES_MB),
        "wheels": ", and from `wheels/`, without a network"
        if wheels
        else ", and from the package index by the hashes of the lock file",
        "commands": "\n".join(step.line for step in said.steps),
        "missing": "\n".join(f"- {one}" for one in _missing(said, root)),
        "python": said.versions.get("python", "").rpartition(".")[0],
        "claims": str(len(claims)),
    }
    for name in PAGES:
        text = (TEXTS / name).read_text(encoding="utf-8")
        files.new(root / name, re.sub(r"\{\{(\w+)\}\}", lambda found: parts[found[1]], text).encode())
    files.new(root / CITATION, "".join(_citation(said)).encode())
    files.new(root / LICENCE, _licence(said).encode())


def minutes(studies: int) -> int:
    """About how long a check takes that begins with its set-up."""
    return math.ceil((SETUP_S + STUDY_S * studies) / 60)


def _full(claims: Sequence[Claim]) -> str:
    """How long the archived profiles took, by their own time stamps; a published table has none."""
    longest = max((claim.full_minutes for claim in claims), default=0)
    return f"{longest:g} min, as the archived profiles took" if longest else "not known: the profiles do not tell it"


MAPS = (
    "the feature maps: `make samples` makes them from the pictures in the source;"
    " a manifest that is here has their hashes"
)


def _missing(said: Artifact, root: Path) -> Iterator[str]:
    """What one may look for in vain."""
    yield from said.missing
    if not any(root.glob("samples/*/*/*")):
        yield MAPS
    for device, noted in said.images.items():
        for name in noted.split(", "):
            if not images.place(root, name).is_file():
                yield f"the container image of {device}, {name}: `IMAGES=1` packs it"


def _citation(said: Artifact) -> Iterator[str]:
    yield "cff-version: 1.2.0\nmessage: If you use these data, please cite them.\ntype: dataset\n"
    yield f"title: {json.dumps(said.title)}\nauthors:\n"
    for name, orcid in map(author, said.authors or (ANONYMOUS,)):
        yield f"  - name: {json.dumps(name)}\n"
        yield f"    orcid: https://orcid.org/{orcid}\n" if orcid else ""
    yield f"date-released: {said.made_utc[:10]}\nlicense: {said.licence}\n"
    yield "references:\n  - type: conference-paper\n"
    yield '    title: "DIME: Distributed Inference Model Estimation for Minimizing Profiled Latency"\n'
    yield "    authors:\n      - family-names: Viramontes\n        given-names: Robert\n"
    yield f"      - family-names: Davoodi\n        given-names: Azadeh\n    year: 2024\n    doi: {PAPER}\n"


def _licence(said: Artifact) -> str:
    """The data's licence by its name, and the software's as it is."""
    own = next((path for path in (CHECKOUT / LICENCE, PACKAGE / LICENCE) if path.is_file()), None)
    text = own.read_text(encoding="utf-8") if own else "MIT: see software/\n"
    names = ", ".join(author(one)[0] for one in said.authors) or "their authors"
    data = f"The data (all but software/ and wheels/) are by {names}, under {said.licence}:\nhttps://spdx.org/licenses/{said.licence}.html\n"
    return f"{data}\nThe software (software/, Makefile) is under this licence:\n\n{text}"
