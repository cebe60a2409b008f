"""What is the same for every file: its hash."""

from __future__ import annotations

import hashlib
import os

BLOCK = 1 << 20


def sha256(path: str | os.PathLike[str]) -> str:
    """SHA-256 of a file's content, which need not fit into memory.

    Raises:
        OSError: It cannot be read.
    """
    found = hashlib.sha256()
    with open(path, "rb") as stream:
        while block := stream.read(BLOCK):
            found.update(block)
    return found.hexdigest()
