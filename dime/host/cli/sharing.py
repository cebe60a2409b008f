"""Commands for who shares results and who checks them: artifact, check-artifact."""

from __future__ import annotations

from pathlib import Path

from dime.contract.errors import DimeError
from dime.host.cli.options import CheckedArtifact, MadeArtifact


def artifact(wanted: MadeArtifact) -> None:
    """Packs studies with their raw data, so that anybody can check every number without boards and without a network.

    Examples:
        dime artifact --studies="results/plans/alexnet/001 results/plans/vgg11/001" --title="Where to cut AlexNet"
    """
    from dime.host.provenance.make import Wanted, make

    authors = tuple(name.strip() for name in wanted.authors.split(";") if name.strip())
    studies = tuple(wanted.studies.replace(",", " ").split())
    path = make(
        Wanted(
            studies,
            wanted.title,
            authors,
            wanted.out,
            wanted.lab,
            wanted.wheels,
            wanted.licence,
            wanted.claims,
            wanted.sign,
        )
    )
    print(f"{wanted.out}\n{path}")


def check_artifact(given: CheckedArtifact) -> None:
    """Checks an archive: that no file was changed, and that everything in it follows from its raw data.

    Examples:
        dime check-artifact --artifact=dime-artifact-alexnet-0123456789ab.zip
    """
    from dime.host.provenance.check import check

    found = check(given.artifact, given.signer)
    print(found)
    found.write(Path(given.out))
    print(f"files: {given.out}")
    if not found.holds:
        raise DimeError(f"{given.artifact} does not hold; see above")
