"""Reads what a run has to share the machine with: quota, affinity, nice value, load, and time that is stolen."""

import os
import time
from collections import OrderedDict

from dime.contract.clock import monotonic_ns

TICK_S = 1.0 / os.sysconf("SC_CLK_TCK")
MOMENT_S = 0.2


def observe(root="/", moment_s=0.0):
    """Notes the machine as this process finds it now.

    Args:
        root: Where /proc and /sys are found.
        moment_s: How long to watch what others do meanwhile; 0 does without.

    Returns:
        OrderedDict: The fields of `dime.contract.surroundings.FIELDS`; None for what the system does not say.
    """
    before = _cpu_time(root) if moment_s else None
    if moment_s:
        time.sleep(moment_s)
    noted = _cpu_time(root)
    affinity = _field(root, "proc/self/status", "Cpus_allowed_list:")
    quota_cpus, throttled_s = quota(root)
    load = (_read(root, "proc/loadavg") or "").split()
    noted.update(
        cpus=_cpus(root),
        affinity=affinity,
        affinity_cpus=_count(affinity),
        nice=_nice(root),
        quota_cpus=quota_cpus,
        throttled_s=throttled_s,
        load=float(load[0]) if load else None,
        others_cpus=None,
    )
    if before and noted["busy_s"] is not None and noted["own_s"] is not None:
        used_s = (noted["busy_s"] - before["busy_s"]) - (noted["own_s"] - before["own_s"])
        noted["others_cpus"] = max(used_s, 0.0) / max(noted["time_s"] - before["time_s"], moment_s)
    return noted


def quota(root="/"):
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
        place, _, kind = line.partition(" - ")
        place, kind = place.split(), kind.split()
        if len(place) < 5 or len(kind) < 2 or not kind[0].startswith("cgroup"):
            continue
        modern = kind[0] == "cgroup2"
        if not modern and "cpu" not in kind[-1].split(","):
            continue
        for folder in _with_parents(place[3], place[4], groups.get("2" if modern else "cpu", "")):
            limits.append(_limit(root, folder, modern))
            count = _field(root, folder + "/cpu.stat", "throttled_usec" if modern else "throttled_time")
            if count and count.isdigit():
                held_s.append(int(count) * (1e-6 if modern else 1e-9))
    limits = [limit for limit in limits if limit is not None]
    return min(limits) if limits else None, max(held_s) if held_s else None


def _with_parents(mounted, place, group):
    """A cgroup's folder and those above it, as far as they are mounted here."""
    mounted = mounted.rstrip("/")
    inside = group[len(mounted) :].strip("/") if (group + "/").startswith(mounted + "/") else ""
    parts = [part for part in inside.split("/") if part]
    parts = [] if ".." in parts else parts
    return ["/".join([place] + parts[:count]).lstrip("/") for count in range(len(parts), -1, -1)]


def _limit(root, folder, modern):
    if modern:
        words = (_read(root, folder + "/cpu.max") or "").split()
    else:
        words = [(_read(root, folder + "/cpu.cfs_" + name) or "").strip() for name in ("quota_us", "period_us")]
    if len(words) == 2 and words[0].isdigit() and words[1].isdigit() and int(words[1]):
        return float(words[0]) / float(words[1])
    return None


def _cpu_time(root):
    noted = OrderedDict([("time_s", monotonic_ns() * 1e-9), ("busy_s", None), ("own_s", None), ("stolen_s", None)])
    total = (_field(root, "proc/stat", "cpu ") or "").split()
    if len(total) >= 8 and all(part.isdigit() for part in total[:8]):
        user, nice, system, _, _, interrupts, soft, stolen = map(int, total[:8])
        noted.update(busy_s=(user + nice + system + interrupts + soft) * TICK_S, stolen_s=stolen * TICK_S)
    own = _own(root)
    if len(own) > 14 and all(part.isdigit() for part in own[11:15]):
        noted["own_s"] = sum(map(int, own[11:15])) * TICK_S
    return noted


def _own(root):
    """The fields of /proc/self/stat behind the name, which may hold anything."""
    return (_read(root, "proc/self/stat") or "").rpartition(")")[2].split()


def _nice(root):
    own = _own(root)
    return int(own[16]) if len(own) > 16 and own[16].lstrip("-").isdigit() else None


def _cpus(root):
    lines = (_read(root, "proc/stat") or "").splitlines()
    return sum(1 for line in lines if line.startswith("cpu") and line[3:4].isdigit()) or None


def _count(affinity):
    """How many CPUs a list such as 0-3,6 names."""
    try:
        ranges = [part.partition("-") for part in (affinity or "").split(",")]
        return sum(int(last or first) - int(first) + 1 for first, _, last in ranges)
    except ValueError:
        return None


def _field(root, path, name):
    for line in (_read(root, path) or "").splitlines():
        if line.startswith(name):
            return line[len(name) :].strip()
    return None


def _read(root, path):
    try:
        with open(os.path.join(root, path)) as stream:
            return stream.read()
    except (EnvironmentError, UnicodeDecodeError):
        return None
