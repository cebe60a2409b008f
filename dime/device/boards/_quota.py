"""A share of one core by the kernel's own quota: a cgroup (version 2) beside this process's, where one may be made."""

import os
from contextlib import contextmanager
from typing import Callable, Iterator, NamedTuple, Optional

from dime.contract.errors import DeviceError
from dime.device.boards import _sysfs

NAME = "dime-standin-{}"
PERIOD_US, LEAST_QUOTA_US = 10000, 1000  # the kernel takes no quota below one millisecond

Groups = NamedTuple("Groups", [("own", str), ("above", str)])
Groups.__doc__ = "Folders of the cgroup that this process is in, and of the one in which another may be made."


def groups(root: str) -> Optional[Groups]:
    """Finds where a cgroup with a quota may be made; None where none shares out CPU time, or there is no right."""
    paths = [
        line[3:]
        for line in (_sysfs.read(os.path.join(root, "proc/self/cgroup")) or "").split("\n")
        if line[:3] == "0::"
    ]
    for line in (_sysfs.read(os.path.join(root, "proc/self/mountinfo")) or "").split("\n"):
        place, kind = [part.split() for part in line.partition(" - ")[::2]]
        if len(place) < 5 or kind[:1] != ["cgroup2"] or not paths or ".." in paths[0].split("/"):
            continue
        mounted = os.path.join(root, place[4].lstrip("/"))
        own = os.path.join(mounted, paths[0].strip("/")).rstrip("/")
        above = own if own == mounted.rstrip("/") else os.path.dirname(own)
        controllers = (_sysfs.read(os.path.join(above, "cgroup.subtree_control")) or "").split()
        if "cpu" in controllers and all(
            os.access(path, os.W_OK) for path in (above, os.path.join(above, "cgroup.procs"))
        ):
            return Groups(own, above)
    return None


@contextmanager
def held(found: Groups, share: float) -> Iterator[Callable[[], None]]:
    """Holds this process to a share of one core and sets it free on every way out.

    Gives:
        A function that makes sure that the quota still stands.

    Raises:
        DeviceError: The kernel refused.
    """
    period_us = max(PERIOD_US, int(LEAST_QUOTA_US / share))
    quota = "{} {}".format(int(round(share * period_us)), period_us)
    folder = os.path.join(found.above, NAME.format(os.getpid()))
    limit, member = os.path.join(folder, "cpu.max"), str(os.getpid())
    try:
        os.mkdir(folder)
    except EnvironmentError as error:
        raise DeviceError("cannot make {}: {}".format(folder, error.strerror))

    def verify() -> None:
        if _sysfs.read(limit) != quota:
            raise DeviceError("{} reads {!r} after {!r} was set".format(limit, _sysfs.read(limit), quota))

    try:
        _sysfs.write(limit, quota)
        _sysfs.write(os.path.join(folder, "cgroup.procs"), member)
        verify()
        yield verify
    finally:
        _sysfs.write(os.path.join(found.own, "cgroup.procs"), member)
        _sysfs.remove_folder(folder)
