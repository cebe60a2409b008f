"""Reads what a run has to share the machine with: quota, affinity, nice value, load, and time that is stolen."""

import os
import time
from typing import TYPE_CHECKING, List, Optional, Tuple

from dime.contract.timebase import monotonic_ns

if TYPE_CHECKING:
    from dime.contract.surroundings import Noted

TICK_S = 1.0 / os.sysconf("SC_CLK_TCK")
MOMENT_S = 0.2


def observe(root: str = "/", moment_s: float = 0.0) -> "Noted":
    """Notes the machine as this process finds it now.

    Args:
        root: Where /proc and /sys are found.
        moment_s: How long to watch what others do meanwhile; 0 does without.

    Returns:
        Noted: The fields of `dime.contract.surroundings.FIELDS`; None for what the system does not say.
    """
    before = _cpu_time(root) if moment_s else None
    if moment_s:
        time.sleep(moment_s)
    noted = _cpu_time(root)
    affinity = _field(root, "proc/self/status", "Cpus_allowed_list:")
    quota_cpus, throttled_s = quota(root)
    load = (_read(root, "proc/loadavg") or "").split()
    noted["cpus"] = _cpus(root)
    noted["affinity"] = affinity
    noted["affinity_cpus"] = _count(affinity)
    noted["nice"] = _nice(root)
    noted["quota_cpus"] = quota_cpus
    noted["throttled_s"] = throttled_s
    noted["load"] = float(load[0]) if load else None
    noted["others_cpus"] = None
    if before is not None:
        busy_s, own_s = _passed(before["busy_s"], noted["busy_s"]), _passed(before["own_s"], noted["own_s"])
        if busy_s is not None and own_s is not None:
            passed_s = max(noted["time_s"] - before["time_s"], moment_s)
            noted["others_cpus"] = max(busy_s - own_s, 0.0) / passed_s
    return noted


def _passed(before_s: Optional[float], after_s: Optional[float]) -> Optional[float]:
    return None if before_s is None or after_s is None else after_s - before_s


def quota(root: str = "/") -> Tuple[Optional[float], Optional[float]]:
    """CPU time in a second that the cgroups of this process allow, of version 1 or 2, and how long they held it back.

    Returns:
        tuple: CPUs, None for no limit; seconds so far, None where they are not counted.
    """
    groups = {}
    for line in (_read(root, "proc/self/cgroup") or "").splitlines():
        number, controllers, path = (line.split(":", 2) + ["", ""])[:3]
        for controller in ["2"] if number == "0" and not controllers else controllers.split(","):
            groups[controller] = path
    limits, held_s = [], []
    for line in (_read(root, "proc/self/mountinfo") or "").splitlines():
        place, kind = [part.split() for part in line.partition(" - ")[::2]]
        if len(place) < 5 or len(kind) < 2 or not kind[0].startswith("cgroup"):
            continue
        modern = kind[0] == "cgroup2"
        if not modern and "cpu" not in kind[-1].split(","):
            continue
        for folder in _with_parents(place[3], place[4], groups.get("2" if modern else "cpu", "")):
            limit = _limit(root, folder, modern)
            if limit is not None:
                limits.append(limit)
            count = _field(root, folder + "/cpu.stat", "throttled_usec" if modern else "throttled_time")
            if count and count.isdigit():
                held_s.append(int(count) * (1e-6 if modern else 1e-9))
    return min(limits) if limits else None, max(held_s) if held_s else None


def _with_parents(mounted: str, place: str, group: str) -> List[str]:
    """A cgroup's folder and those above it, as far as they are mounted here."""
    mounted = mounted.rstrip("/")
    inside = group[len(mounted) :].strip("/") if (group + "/").startswith(mounted + "/") else ""
    parts = [part for part in inside.split("/") if part]
    parts = [] if ".." in parts else parts
    return ["/".join([place] + parts[:count]).lstrip("/") for count in range(len(parts), -1, -1)]


def _limit(root: str, folder: str, modern: bool) -> Optional[float]:
    if modern:
        words = (_read(root, folder + "/cpu.max") or "").split()
    else:
        words = [(_read(root, folder + "/cpu.cfs_" + name) or "").strip() for name in ("quota_us", "period_us")]
    if len(words) == 2 and words[0].isdigit() and words[1].isdigit() and int(words[1]):
        return float(words[0]) / float(words[1])
    return None


def _cpu_time(root: str) -> "Noted":
    noted: Noted = {"time_s": monotonic_ns() * 1e-9, "busy_s": None, "own_s": None, "stolen_s": None}
    total = (_field(root, "proc/stat", "cpu ") or "").split()
    if len(total) >= 8 and all(part.isdigit() for part in total[:8]):
        user, nice, system, _, _, interrupts, soft, stolen = map(int, total[:8])
        noted["busy_s"] = (user + nice + system + interrupts + soft) * TICK_S
        noted["stolen_s"] = stolen * TICK_S
    own = _own(root)
    if len(own) > 14 and all(part.isdigit() for part in own[11:15]):
        noted["own_s"] = sum(map(int, own[11:15])) * TICK_S
    return noted


def _own(root: str) -> List[str]:
    """The fields of /proc/self/stat behind the name, which may hold anything."""
    return (_read(root, "proc/self/stat") or "").rpartition(")")[2].split()


def _nice(root: str) -> Optional[int]:
    own = _own(root)
    return int(own[16]) if len(own) > 16 and own[16].lstrip("-").isdigit() else None


def _cpus(root: str) -> Optional[int]:
    lines = (_read(root, "proc/stat") or "").splitlines()
    return sum(1 for line in lines if line.startswith("cpu") and line[3:4].isdigit()) or None


def _count(affinity: Optional[str]) -> Optional[int]:
    """How many CPUs a list such as 0-3,6 names."""
    try:
        ranges = [part.partition("-") for part in (affinity or "").split(",")]
        return sum(int(last or first) - int(first) + 1 for first, _, last in ranges)
    except ValueError:
        return None


def _field(root: str, path: str, name: str) -> Optional[str]:
    for line in (_read(root, path) or "").splitlines():
        if line.startswith(name):
            return line[len(name) :].strip()
    return None


def _read(root: str, path: str) -> Optional[str]:
    try:
        with open(os.path.join(root, path)) as stream:
            return stream.read()
    except (EnvironmentError, UnicodeDecodeError):
        return None
