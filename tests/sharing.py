"""What takes long to make is made once a run of the suite, however many processes share the tests."""

import fcntl
import os
import shutil
from pathlib import Path


def once(tmp_path_factory, name, make):
    """A folder that the first process makes, and the others wait for.

    Args:
        tmp_path_factory: pytest's own.
        name: The folder's name.
        make: Fills the folder, given its path.
    """
    if not os.environ.get("PYTEST_XDIST_WORKER"):
        folder = tmp_path_factory.mktemp(name)
        make(folder)
        return folder
    folder = Path(str(tmp_path_factory.getbasetemp())).parent / name  # the workers' own folders stand side by side
    made = folder.with_name(name + ".made")
    with open(str(folder) + ".lock", "a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            shutil.rmtree(str(folder), ignore_errors=True)
            folder.mkdir()
            make(folder)
            made.touch()
    return folder
