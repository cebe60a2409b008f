"""Commands for who shares results and who checks them: artifact, check-artifact, repeat-artifact."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from dime.contract.errors import DimeError
from dime.host.cli.options import CheckedArtifact, LabFile, MadeArtifact, RepeatedArtifact

if TYPE_CHECKING:
    from dime.host.provenance.evaluation import Evaluation


def artifact(wanted: MadeArtifact, lab: LabFile) -> None:
    """Packs studies with their raw data, so that anybody can check every number without boards and without a network.

    Examples:
        dime artifact --studies='results/plans/alexnet/001 results/plans/vgg11/001' --title='Where to cut AlexNet'
    """
    from dime.host.common import console
    from dime.host.provenance.make import Wanted, make

    authors = tuple(name.strip() for name in wanted.authors.split(";") if name.strip())
    studies = tuple(wanted.studies.replace(",", " ").split())
    path = make(
        Wanted(
            studies,
            wanted.title,
            authors,
            wanted.out,
            lab.lab,
            wanted.wheels,
            wanted.licence,
            wanted.claims,
            wanted.sign,
            wanted.images,
            wanted.maps,
        ),
        console.tell,
    )
    print(f"{wanted.out}\n{path}")


def check_artifact(given: CheckedArtifact) -> None:
    """Checks an archive: that no file was changed, and that everything in it follows from its raw data.

    Examples:
        dime check-artifact --artifact=dime-artifact-alexnet-0123456789ab.zip
    """
    from dime.host.provenance.check import check

    found = check(given.artifact, given.signer)
    _end(found, given.artifact, given.out)


def repeat_artifact(given: RepeatedArtifact, lab: LabFile) -> None:
    """Measures an archive's networks on this machine or a device, and says whether that agrees with the archive.

    Examples:
        dime repeat-artifact --artifact=dime-artifact-alexnet-0123456789ab.zip
        dime repeat-artifact --artifact=dime-artifact-alexnet-0123456789ab.zip --device=nano --margin=5%
    """
    from dime.host.provenance.repeat import Options, repeat

    options = Options(given.device, lab.lab, given.margin, given.runs, given.iterations, given.results)
    _end(repeat(given.artifact, options), given.artifact, given.out)


def _end(found: Evaluation, artifact: str, out: str) -> None:
    """Shows and writes what was found; the exit status says whether it holds."""
    print(found)
    found.write(Path(out))
    print(f"files: {out}")
    if not found.holds:
        raise DimeError(f"{artifact} does not hold; see above")
