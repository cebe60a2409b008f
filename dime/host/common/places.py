"""Whether a place can take files, asked before the work whose result goes there."""

from __future__ import annotations

import os
from pathlib import Path

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
