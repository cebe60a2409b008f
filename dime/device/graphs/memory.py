"""How much memory a document may take while it is checked: what it declares, with room for what operations need aside.

The kernel bounds the whole process meanwhile, so that no operation's arguments need to be understood: an allocation
beyond that fails, and is an error like any other.
"""

import os
import resource
from contextlib import contextmanager
from typing import TYPE_CHECKING, Iterator, Optional

from dime.contract.errors import DeviceError
from dime.device.graphs.document import size_bytes

if TYPE_CHECKING:
    from dime.device.graphs.document import Document

ASIDE = 16  # times the largest declared bytes: a convolution may lay out its input once for each place of its kernel
# A container's limit on its memory, and what it takes: control groups of version 2, and of version 1.
LIMITS = (
    ("sys/fs/cgroup", "memory.max", "memory.current"),
    ("sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes"),
)
SLACK_BYTES, SLACK_A_CORE_BYTES = 256 << 20, 16 << 20  # the libraries themselves, and their threads' stacks


def check(document: "Document") -> None:
    """Makes sure that a network fits before any of it is read.

    Raises:
        DeviceError: It needs more than is free.
    """
    constants = sum(size_bytes(constant) for constant in document.constants.values())
    largest, where = document.largest_bytes()
    free = free_bytes()
    if free is not None and constants + largest > free:
        raise DeviceError(
            "the network {} needs {} MiB for its weights and {} MiB for what it computes (in {}); {} MiB are free"
            " here".format(
                document.name, constants >> 20, largest >> 20, document.nodes[where].module or "its start", free >> 20
            )
        )


def free_bytes(root: str = "/") -> Optional[int]:
    """Memory and swap that are free, or what a container's limit leaves of it; None where Linux does not say."""
    found = []
    try:
        with open(os.path.join(root, "proc/meminfo")) as stream:
            said = dict(line.split(":", 1) for line in stream if ":" in line)
        found.append(1024 * sum(int(said[name].split()[0]) for name in ("MemAvailable", "SwapFree")))
    except (EnvironmentError, KeyError, ValueError):
        pass
    for folder, most, taken in LIMITS:
        try:
            limit, used = [int(_read(os.path.join(root, folder, name))) for name in (most, taken)]
        except (EnvironmentError, ValueError):  # no such control group, or no limit ("max")
            continue
        found.append(max(0, limit - used + _cached_bytes(os.path.join(root, folder, "memory.stat"))))
    return min(found) if found else None


def _read(path: str) -> str:
    with open(path) as stream:
        return stream.read()


def _cached_bytes(path: str) -> int:
    """What a control group counts as taken, and the kernel gives back when it is asked for: files' contents."""
    try:
        said = dict(line.split(" ", 1) for line in _read(path).splitlines() if " " in line)
        return sum(int(said.get(name, 0)) for name in ("active_file", "inactive_file"))
    except (EnvironmentError, ValueError):
        return 0


@contextmanager
def bounded(document: "Document") -> Iterator[None]:
    """Lets the process take only so much more memory than it has as the document may need."""
    taken, free = _taken_bytes(), free_bytes()
    if taken is None:
        yield
        return
    more = SLACK_BYTES + SLACK_A_CORE_BYTES * (os.cpu_count() or 1) + ASIDE * document.largest_bytes()[0]
    limit = taken + (more if free is None else min(more, free))
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    bounds = [limit] + [bound for bound in (soft, hard) if bound != resource.RLIM_INFINITY]
    resource.setrlimit(resource.RLIMIT_DATA, (min(bounds), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def _taken_bytes() -> Optional[int]:
    """What the kernel counts against RLIMIT_DATA."""
    try:
        with open("/proc/self/status") as stream:
            return 1024 * next(int(line.split()[1]) for line in stream if line.startswith("VmData:"))
    except (EnvironmentError, StopIteration, ValueError):
        return None
