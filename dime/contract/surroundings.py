"""What a run had to share the machine with: what is noted at its start and at its end, and what is to be said of it."""

from collections import OrderedDict
from typing import TYPE_CHECKING, Dict, List, Mapping, Optional

if TYPE_CHECKING:
    from typing import TypedDict  # novm

    Noted = TypedDict(
        "Noted",
        {
            "time_s": float,
            "cpus": Optional[int],
            "affinity": Optional[str],
            "affinity_cpus": Optional[int],
            "nice": Optional[int],
            "quota_cpus": Optional[float],
            "throttled_s": Optional[float],
            "load": Optional[float],
            "busy_s": Optional[float],
            "own_s": Optional[float],
            "stolen_s": Optional[float],
            "others_cpus": Optional[float],
        },
        total=False,
    )

OTHERS_CPUS = 0.25  # Below that it may be what every system does now and then.
STOLEN_SHARE = 0.02
FIELDS = OrderedDict(
    [
        ("time_s", "monotonic clock"),
        ("cpus", "CPUs of the machine"),
        ("affinity", "those that may be used, such as 0-3"),
        ("affinity_cpus", "their count"),
        ("nice", "0 is normal, more gives way to others"),
        ("quota_cpus", "CPU time that the cgroups allow in a second; None for no limit"),
        ("throttled_s", "how long they have held their processes back so far"),
        ("load", "the system's load average over the last minute"),
        ("busy_s", "CPU time that everything on the machine has used so far"),
        ("own_s", "CPU time that this process has used so far"),
        ("stolen_s", "CPU time that the machine's own host has taken so far"),
        ("others_cpus", "CPUs that others used in a moment before the start"),
    ]
)


def judge(start: Mapping[str, object], end: Mapping[str, object], threads: object) -> Dict[str, str]:
    """Says what may have made a run slower than the device is.

    Args:
        start: What was noted at the start, a mapping with FIELDS as far as they are known.
        end: The same at the end; empty while it goes on.
        threads: CPU threads of the run, if they are known.

    Returns:
        OrderedDict: Kind -> a line of text; empty where nothing is known that did.
    """
    said: Dict[str, str] = OrderedDict()
    quota, cpus = _number(start, "quota_cpus"), _number(start, "cpus")
    if quota is not None and not (cpus and quota >= cpus):
        held_s = _passed(start, end, "throttled_s")
        said["quota"] = "measured under a quota of {:.3g}{} CPUs (cgroup){}".format(
            quota,
            " of {:.0f}".format(cpus) if cpus else "",
            ", which held it back for {:.3g} s".format(held_s) * (held_s > 0),
        )
    allowed = _number(start, "affinity_cpus")
    asked = _number({"threads": threads}, "threads")
    if allowed is not None and asked is not None and asked > allowed:
        said["affinity"] = "measured with {} threads on {:.0f} CPUs (affinity)".format(threads, allowed)
    nice = _number(start, "nice")
    if nice is not None and nice > 0:
        said["nice"] = "measured at nice {:.0f}: what else ran went first".format(nice)
    passed_s = _passed(start, end, "time_s")
    others = _number(start, "others_cpus") or 0.0
    if passed_s > 0:
        others = max(others, (_passed(start, end, "busy_s") - _passed(start, end, "own_s")) / passed_s)
        stolen = _passed(start, end, "stolen_s") / passed_s / max(cpus or 1.0, 1.0)
        if stolen > STOLEN_SHARE:
            said["stolen"] = "{:.0%} of the CPUs' time was taken by this machine's own host meanwhile".format(
                min(stolen, 1.0)
            )
    if others > OTHERS_CPUS:
        said["others"] = "other work took {:.2g}{} CPUs meanwhile".format(
            others, " of {:.0f}".format(cpus) if cpus else ""
        )
    return said


def of_sessions(sessions: object, threads: object) -> List[str]:
    """The lines of `judge` for what a run.json says of its sessions, which may be anything; each line once."""
    found: Dict[str, None] = OrderedDict()
    for session in sessions if isinstance(sessions, list) else []:
        noted = session.get("surroundings") if isinstance(session, dict) else None
        start, end = (noted.get(when) for when in ("start", "end")) if isinstance(noted, dict) else (None, None)
        if isinstance(start, dict):
            for text in judge(start, end if isinstance(end, dict) else {}, threads).values():
                found[text] = None
    return list(found)


def _number(noted: Mapping[str, object], name: str) -> Optional[float]:
    value = noted.get(name)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < 1e15:
        return None
    return float(value)


def _passed(start: Mapping[str, object], end: Mapping[str, object], name: str) -> float:
    """How much a count has grown; 0 where that is not known."""
    before, after = _number(start, name), _number(end, name)
    return max(after - before, 0.0) if before is not None and after is not None else 0.0
