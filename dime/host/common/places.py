"""Whether a place can take files, asked before the work whose result goes there; and results that overwrite nothing."""

from __future__ import annotations

import os
from pathlib import Path

from dime.contract import files
from dime.contract.errors import InputError


def check(path: Path) -> None:
    """Makes sure that a file or folder could be made there.

    Args:
        path: The file or folder; those above it are made when it is.

    Raises:
        InputError: What is there of its path is no folder, or may not be written to.
    """
    place = path
    while not place.exists() and place != place.parent:
        place = place.parent
    if place == path and not place.is_dir():
        place = place.parent
    if not place.is_dir():
        raise InputError(f"cannot write {path}: {place} is no folder")
    if not os.access(place, os.W_OK | os.X_OK):
        raise InputError(f"cannot write {path}: {place} may not be written to")


def write_new(path: str | os.PathLike[str], content: bytes) -> None:
    """Writes a file that was not there.

    Raises:
        InputError: It exists already, or the disk would not take it.
    """
    try:
        files.new(path, content)
    except FileExistsError:
        raise InputError(f"{os.fspath(path)} exists already; nothing was overwritten") from None
    except OSError as error:
        raise InputError(f"{os.fspath(path)}: {error.strerror}") from None
