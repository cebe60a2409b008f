"""An archive checked: whether it is intact, and whether everything in it follows from its raw data."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dime.contract import files
from dime.contract.errors import TableError
from dime.host.provenance import archive, claims, derive, document, manifest, signature, software
from dime.host.provenance.evaluation import FAILS, HOLDS, Evaluation, Row

INTACT = "intact"


@contextmanager
def opened(path: str | Path) -> Iterator[tuple[Path, Path | None]]:
    """Gives an archive's folder, unpacked if need be, and the zip that it came in.

    Raises:
        TableError: It is no archive.
    """
    given = Path(path)
    if given.is_dir():
        yield given.resolve(), None
        return
    with tempfile.TemporaryDirectory(prefix="dime-artifact-") as place:
        yield archive.unpack(given, Path(place)), given


def check(path: str | Path, signer: str = "") -> Evaluation:
    """Checks an archive, without a network and without boards.

    Args:
        path: The zip, or a folder that it was unpacked to.
        signer: A public key or a file of allowed signers; empty: whoever signed it.

    Returns:
        What was found.

    Raises:
        TableError: It is no archive, or of a later version.
    """
    with opened(path) as (root, zipped), tempfile.TemporaryDirectory(prefix="dime-derive-") as work:
        rows = list(intact(root, zipped, Path(work)))
        try:
            said = document.read(root)
        except TableError as error:
            if all(row.verdict == HOLDS for row in rows):
                raise
            said, reason = None, str(error)
        if said is None:
            rows.append(Row(INTACT, document.DOCUMENT, "readable", reason, FAILS))
        elif any(row.verdict == FAILS and row.what == document.DOCUMENT for row in rows):
            rows.append(Row(derive.PART, "steps", "as they were listed", "changed, so none is run", FAILS))
        else:
            signed = signature.row(root, said, signer)
            rows += [signed] if signed else []
            made = Path(work) / "made"
            made.mkdir()
            rows += derive.rows(root, said, made)
            rows += _claims(root, made)
        title = said.title if said else Path(path).name
        return Evaluation(title, list_digest(root), tuple(rows), software.versions())


def _claims(root: Path, made: Path) -> Iterator[Row]:
    try:
        yield from claims.rows(root, made)
    except TableError as error:
        yield Row(claims.PART, claims.CLAIMS, "readable", str(error), FAILS)


def list_digest(root: Path) -> str:
    """The hash of an archive's list; empty where it has none."""
    path = root / manifest.LIST
    return files.digest(path) if path.is_file() else ""


def intact(root: Path, zipped: Path | None, work: Path) -> Iterator[Row]:
    """Whether every file is there and as it was listed, none was added, and the zip is the one that was written."""
    changed = manifest.changes(root)
    for one in changed:
        yield Row(INTACT, one.path, one.expected, f"{one.what}: {one.found}", FAILS)
    if not changed:
        yield Row(INTACT, f"{len(manifest.read(root))} files, and none besides", "hashes as listed", "the same", HOLDS)
    if zipped is not None:
        where = archive.differs(zipped, root, work / "packed.zip")
        what = "the zip's own bytes"
        if where:
            yield Row(INTACT, where, what, "not those that DIME writes for these files", FAILS)
        else:
            yield Row(INTACT, what, "as DIME writes them", "the same", HOLDS)
