"""SHA256SUMS: the hash of each file of an archive, and the hash of that list; ``sha256sum -c`` reads both."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from dime.contract import files
from dime.contract.errors import TableError

LIST, LIST_SUM, SIGNATURE = "SHA256SUMS", "SHA256SUMS.sha256", "SHA256SUMS.dsse.json"
UNLISTED = (LIST, LIST_SUM, SIGNATURE)
LINE = re.compile(r"([0-9a-f]{64})  ([^\n\\]+)")
LARGEST_LIST = 1 << 26


@dataclass(frozen=True)
class Change:
    """A file that is not as it was listed.

    Attributes:
        path: Its path in the archive.
        what: ``changed``, ``missing``, ``added``, or what else is wrong with it.
        expected: What it would have to be.
        found: What it is.
    """

    path: str
    what: str
    expected: str
    found: str


def walk(root: Path) -> list[str]:
    """The paths of all files below a folder, with slashes, in the order of the list.

    Raises:
        TableError: Something there is a link, or neither a file nor a folder.
    """
    found = []
    for folder, names, here in os.walk(root):
        for name in [*names, *here]:
            path = Path(folder) / name
            if path.is_symlink() or not (path.is_dir() or path.is_file()):
                raise TableError(f"{path}: an archive holds plain files only, no links")
        found += [(Path(folder) / name).relative_to(root).as_posix() for name in here]
    return sorted(found)


def hashes(root: Path) -> dict[str, str]:
    """Hash of each file that belongs into the list, by its path."""
    return {path: files.digest(root / path) for path in walk(root) if path not in UNLISTED}


def text(listed: Mapping[str, str]) -> str:
    """The list as it is written."""
    return "".join(f"{digest}  {path}\n" for path, digest in sorted(listed.items()))


def write(root: Path) -> str:
    """Writes the list and its hash.

    Returns:
        The hash of the list.

    Raises:
        OSError: The disk would not take it.
    """
    content = text(hashes(root)).encode()
    digest = hashlib.sha256(content).hexdigest()
    files.replace(root / LIST, content)
    files.replace(root / LIST_SUM, f"{digest}  {LIST}\n".encode())
    return digest


def read(root: Path) -> dict[str, str]:
    """Reads the list, of which unreadable lines are passed over: ``changes`` names the list then.

    Raises:
        TableError: There is none.
    """
    try:
        with open(root / LIST, encoding="utf-8", errors="replace", newline="") as stream:
            lines = stream.read(LARGEST_LIST).split("\n")
    except OSError as error:
        raise TableError(f"{root} is no artifact: {LIST}: {error.strerror}") from None
    found = (LINE.fullmatch(line) for line in lines)
    return {one[2]: one[1] for one in found if one is not None}


def changes(root: Path) -> list[Change]:
    """Everything that is not as it was listed; empty for an archive that is intact.

    Raises:
        TableError: There is no list, or a link among the files.
    """
    if not (root / LIST).exists() and (root / LIST_SUM).exists():
        return [Change(LIST, "missing", f"sha256 {(root / LIST_SUM).read_text(errors='replace')[:64]}", "no file")]
    listed, there = read(root), hashes(root)
    found = list(_of_files(listed, there))
    content = (root / LIST).read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    try:
        said = (root / LIST_SUM).read_bytes()
    except FileNotFoundError:
        found.append(Change(LIST_SUM, "missing", f"{digest}  {LIST}", "no file"))
        said = f"{digest}  {LIST}\n".encode()
    if said != f"{digest}  {LIST}\n".encode():
        shown = ascii(said.decode("utf-8", "replace"))[1:101]
        if content == text(there).encode():
            found.append(Change(LIST_SUM, "changed", f"{digest}  {LIST}", shown))
        else:
            found.append(Change(LIST, "changed", f"sha256 {shown[:64]}", f"sha256 {digest}"))
    elif content != text(listed).encode():
        found.append(Change(LIST, "changed", "lines 'HASH  PATH' in the order of their paths", "other lines"))
    return found


def _of_files(listed: Mapping[str, str], there: Mapping[str, str]) -> Iterator[Change]:
    for path in sorted({*listed, *there}):
        if path not in there:
            yield Change(path, "missing", f"sha256 {listed[path]}", "no file")
        elif path not in listed:
            yield Change(path, "added", "no file", f"sha256 {there[path]}")
        elif listed[path] != there[path]:
            yield Change(path, "changed", f"sha256 {listed[path]}", f"sha256 {there[path]}")
