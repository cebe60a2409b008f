"""Files and folders that appear whole or not at all, and what tells one from another: its hash.

What the disk refuses is an OSError here; each side says it in its own words.
"""

import hashlib
import json
import os
import shutil
from contextlib import contextmanager
from typing import Any, Callable, Iterator, Optional, Union

Name = Union[str, "os.PathLike[str]"]

PART = ".part"  # What ends the name of a file or folder that is being written.
BLOCK_BYTES = 1 << 20


# Any: a caller knows what its document may hold.
def as_json(content: object, default: Optional[Callable[[Any], object]] = None) -> bytes:
    """A JSON document as DIME writes it into a file, for people too.

    Args:
        content: The document.
        default: Turns what JSON does not know into what it does.
    """
    return (json.dumps(content, indent=1, default=default) + "\n").encode()


def new(path: Name, content: bytes) -> None:
    """Writes a file that was not there; links are not followed. One that the disk does not take leaves nothing.

    Raises:
        FileExistsError: There is one already.
        OSError: The disk would not take it.
    """
    with open(path, "xb") as stream:
        try:
            stream.write(content)
            stream.flush()
        except BaseException:
            os.unlink(path)
            raise


def replace(path: Name, content: bytes) -> None:
    """Writes a file in place of the one that may be there; a reader sees either, and so does one after a power cut.

    Raises:
        OSError: The disk would not take it; the one before is still there.
    """
    with replacing(path) as part:
        new(part, content)


@contextmanager
def replacing(path: Name) -> Iterator[str]:
    """Gives the name under which a file is to be written; it takes the other's place once the block has ended well.

    Raises:
        OSError: The disk would not take it; the one before is still there.
    """
    part = os.fspath(path) + PART
    try:
        if os.path.lexists(part):
            os.unlink(part)
        yield part
        with open(part, "rb") as stream:
            os.fsync(stream.fileno())
        os.replace(part, path)
    finally:
        if os.path.lexists(part):
            os.unlink(part)


@contextmanager
def making(folder: Name, aside: Optional[Name] = None) -> Iterator[str]:
    """Gives the name of an empty folder to be filled; it gets its own name once the block has ended well.

    Args:
        folder: The folder, which must not exist yet, or be empty.
        aside: Where it is filled, on the same disk; what is there goes.

    Raises:
        OSError: The disk would not take it, or the folder is there and not empty.
    """
    part = os.fspath(folder) + PART if aside is None else os.fspath(aside)
    shutil.rmtree(part, ignore_errors=True)
    try:
        os.makedirs(part)
        yield part
        os.rename(part, folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def move(source: Name, target: Name) -> None:
    """Gives a finished file or folder its name in one step; a file that has it is replaced, a folder must be empty.

    Raises:
        OSError: The disk refused.
    """
    os.replace(source, target)


def digest(path: Name, algorithm: str = "sha256") -> str:
    """Hash of a file's content, which need not fit into memory, in hexadecimal.

    Raises:
        OSError: It cannot be read.
    """
    found = hashlib.new(algorithm)
    with open(path, "rb") as stream:
        for block in iter(lambda: stream.read(BLOCK_BYTES), b""):
            found.update(block)
    return found.hexdigest()
