"""Files and folders: one writer at a time, and what a full disk says."""

import errno
import fcntl
import os
from contextlib import contextmanager
from typing import Iterable, Iterator

from dime.contract.errors import DeviceError, TableError

AGAIN = "make room and give the same command again; what was measured is kept"
ELSEWHERE = "take another folder"
LONGEST_PATH = 4000  # of the system's 4096, some are left for the files in it
HINTS = {
    errno.ENOSPC: AGAIN,
    errno.EDQUOT: AGAIN,
    errno.EFBIG: AGAIN,
    errno.EIO: "the disk is failing; " + ELSEWHERE,
    errno.EROFS: ELSEWHERE,
    errno.EACCES: ELSEWHERE,
    errno.EPERM: ELSEWHERE,
    errno.EEXIST: ELSEWHERE,
    errno.ENOTDIR: ELSEWHERE,
    errno.ENAMETOOLONG: ELSEWHERE,
}


@contextmanager
def locked(folder: str) -> Iterator[None]:
    """Holds a folder, which is made if need be, for this process alone; the hold ends with the process at the latest.

    A folder that was made for it and is still empty then goes again.

    Args:
        folder: Its path.

    Raises:
        TableError: Another process holds it.
        DeviceError: The folder cannot be made or written to.
    """
    with disk_errors(folder):
        if len(os.fsencode(folder)) > LONGEST_PATH:
            raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG), folder[:60] + "...")
        made = list(_missing(folder))
        if made:
            os.makedirs(folder)
        handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise TableError("{} is being written to by another process; wait for it or take another".format(folder))
        except OSError:
            pass  # Some network disks have no locks; there the person must take care.
        yield
    finally:
        os.close(handle)
        _remove_empty(made)


def _missing(folder: str) -> Iterator[str]:
    """The folder and those above it that are not there, the innermost first."""
    while folder and not os.path.isdir(folder):
        yield folder
        folder = os.path.dirname(folder)


def _remove_empty(folders: Iterable[str]) -> None:
    for folder in folders:
        try:
            os.rmdir(folder)
        except EnvironmentError:
            return


@contextmanager
def disk_errors(path: str) -> Iterator[None]:
    """Turns what a disk refuses into one clear line.

    Args:
        path: What is being written.

    Raises:
        DeviceError: In place of the OSErrors in HINTS, and of any that names the path, what is in it or above it;
            others are no disk's, and pass.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in HINTS and not _is_of(error.filename, path):
            raise
        hint = HINTS.get(error.errno or 0, ELSEWHERE)
        raise DeviceError("cannot write {}: {}; {}".format(error.filename or path or "''", error.strerror, hint))


def _is_of(name: object, path: str) -> bool:
    """Whether a name is that of a path, or of what is in it or above it."""
    if not isinstance(name, str):
        return False
    longer, shorter = sorted((name.rstrip("/") + "/", path.rstrip("/") + "/"), key=len, reverse=True)
    return longer.startswith(shorter) or not path
