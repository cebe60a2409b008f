"""Files and folders: hashes, one writer at a time, and what a full disk says."""

import errno
import fcntl
import hashlib
import os
from contextlib import contextmanager

from dime.contract.errors import DeviceError, TableError


@contextmanager
def locked(folder):
    """Holds a folder, which is made if need be, for this process alone; the hold ends with the process at the latest.

    Args:
        folder: Its path.

    Raises:
        TableError: Another process holds it.
        DeviceError: The folder cannot be made or written to.
    """
    with disk_errors(folder):
        if not os.path.isdir(folder):
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


@contextmanager
def disk_errors(path):
    """Turns what a disk refuses into one clear line.

    Args:
        path: What is being written, for the message.

    Raises:
        DeviceError: In place of any OSError.
    """
    try:
        yield
    except OSError as error:
        hint = {
            errno.ENOSPC: "make room on the disk and give the same command again",
            errno.EDQUOT: "your quota is used up; make room and give the same command again",
            errno.EROFS: "the disk is read-only; take another folder",
            errno.EACCES: "you may not write there; take another folder",
        }.get(error.errno, "what was already written is kept")
        raise DeviceError("cannot write {}: {}; {}".format(error.filename or path, error.strerror or error, hint))


def digest(path):
    """SHA-256 of a file, in hexadecimal."""
    found = hashlib.sha256()
    with open(path, "rb") as stream:
        for piece in iter(lambda: stream.read(1 << 20), b""):
            found.update(piece)
    return found.hexdigest()
