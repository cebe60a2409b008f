"""A study's plans run on its devices: checked first, then timed in rounds, and compared with what was predicted."""

from __future__ import annotations

import os
import platform
import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

import dime
from dime.contract import stages
from dime.contract.errors import DeviceError, InputError, unknown
from dime.host.bench import engines
from dime.host.bench import lab as lab_file
from dime.host.campaign import profile
from dime.host.common.stats import Floats
from dime.host.execution import comparison, joules, link_check
from dime.host.execution.comparison import Compared
from dime.host.execution.devices import Profiled, find
from dime.host.execution.link_check import Checked
from dime.host.execution.plans import Candidate, candidates
from dime.host.execution.running import Linked, Running
from dime.host.metering.recorder import Recorder
from dime.host.planning import problem_files
from dime.host.planning.accounting import WAITING
from dime.host.planning.links import Link
from dime.host.planning.problem import Problem
from dime.host.studies.folder import SavedLink, load_study

if TYPE_CHECKING:
    from dime.contract.stages import Asked, Row

RUNS, ROUNDS, WARMUPS = 30, 5, 1
WINDOWS = 6  # so many times what is under way at once in a pipeline's round: else it tells of its beginning
PLAN_S = 90.0  # a plan is run for so long at most
LEAST_RUNS = 5
LEAST_SILENCE_S, TIMES_PREDICTED = 2.0, 4.0
CHECKED = 3  # pictures whose whole result is compared; of a plan that encodes all whose encodings were profiled
SAME_BITS = ("versions", "processor", "model", "threads", "pillow")  # facts of devices that compute the same
EMULATED = "emulated"


@dataclass(frozen=True, eq=False)
class RanLink:
    """What was run for one link.

    Attributes:
        name: The link's name.
        origin: ``measured``, or ``emulated`` where the link was.
        links: (caller, called) devices -> the link between them as the caller sees it.
        candidates: The plans.
        compared: The same, predicted and measured.
        rows: For each plan the requests of each round.
        goal: The goal's kind.
        notes: What else there is to say.
        kept: (caller, called) devices -> how well the emulated link between them was kept, for each direction.
        checked: (caller, called) devices -> the link before and after, where it was measured.
        alone: For each plan and round what its bundles took one run after the other before.
    """

    name: str
    origin: str
    links: Mapping[tuple[str, str], Link]
    candidates: tuple[Candidate, ...]
    compared: tuple[Compared, ...]
    rows: tuple[tuple[tuple[Row, ...], ...], ...]
    goal: str
    notes: tuple[str, ...] = ()
    kept: Mapping[tuple[str, str], object] = field(default_factory=dict)
    checked: Mapping[tuple[str, str], Checked] = field(default_factory=dict)
    alone: tuple[tuple[Mapping[tuple[int, int], Sequence[float]], ...], ...] = ()

    @property
    def late_s(self) -> float | None:
        """Within how much of their time 95 % of the bytes left the emulated links; None where none tells it."""
        found = []
        for ways in self.kept.values():
            for way in ways.values() if isinstance(ways, dict) else ():
                if isinstance(way, dict) and isinstance(late := way.get("late_p95_s"), float):
                    found.append(late)
        return max(found, default=None)

    @property
    def best(self) -> Compared:
        """The plan that was measured to take least."""
        return min(self.compared, key=lambda one: one.measured.mean_s)

    @property
    def regret(self) -> float:
        """What DIME's plan takes more than the best of those that were run, as a part of it."""
        return self.compared[0].measured.mean_s / self.best.measured.mean_s - 1

    @property
    def is_ordered(self) -> bool:
        """Whether the plans' measured order is the predicted one, up to differences within the measurement."""
        ranked = sorted(self.compared, key=lambda one: one.predicted_s)
        return all(
            a.measured.mean_s <= b.measured.mean_s + a.measured.half_s + b.measured.half_s
            for at, a in enumerate(ranked)
            for b in ranked[at + 1 :]
        )


@dataclass(frozen=True, eq=False)
class Verification:
    """What was found out for each link.

    Attributes:
        study: The study's folder.
        network: The network.
        devices: Names of the devices, the edge device's first.
        facts: What each said of what it computes with.
        links: The links.
        seconds: How long it took.
    """

    study: Path
    network: str
    devices: tuple[str, ...]
    facts: tuple[Mapping[str, object], ...]
    links: tuple[RanLink, ...]
    seconds: float
    started_utc: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)


def verify(
    plans: str | os.PathLike[str],
    link: str | None = None,
    frontier: int = 0,
    runs: int = RUNS,
    *,
    samples: str = "samples",
    weights: str = "",
    lab: str | None = None,
    seed: int = 0,
    say: Callable[[str], None] | None = None,
    meter: str = "",
) -> Verification:
    """Runs a study's plans on its devices, and holds the predictions against what happened.

    Args:
        plans: The study's folder, as ``dime solve`` has named it.
        link: Links of it by name, joined by commas; None: all.
        frontier: Points of the frontier that are run as well, evenly spread.
        runs: Requests of each plan that count.
        samples: The folder that holds the feature maps of all networks.
        weights: A state_dict's file, where the weights came from one; else those that were profiled are taken.
        lab: The lab file; None takes lab.toml, if there is one.
        seed: Of the order in which the plans are run.
        say: Told in a line what is done.
        meter: The meter of this computer that watches the edge device, where no lab file names it: its name, then its
            options as NAME=VALUE, joined by commas.

    Returns:
        What was predicted and what was measured.

    Raises:
        InputError: A link that the study does not have, or an option without a use.
        DeviceError: A device cannot do its part, or computes something else.
    """
    begun_s, say = time.monotonic(), say or (lambda text: None)
    if runs < 1:
        raise InputError(f"RUNS is {runs}; at least 1 request is needed to measure anything")
    if frontier < 0:
        raise InputError(f"FRONTIER is {frontier}; it must be 0 or more points")
    study = Path(plans)
    chosen = _chosen(load_study(study), link, study)
    devices = joules.metered(find(problem_files.sources(study / next(iter(chosen))), study, lab), meter)
    for name in chosen:
        if [one["sha256"] for one in problem_files.sources(study / name)] != [
            one["sha256"] for one in problem_files.sources(study / next(iter(chosen)))
        ]:
            raise InputError(f"{study / name} was planned from other profiles than the study's other links")
    planned = {name: candidates(saved, devices, frontier) for name, saved in chosen.items()}
    network = devices[0].run.network
    folder = _samples(Path(samples), network)
    content = [
        [name, [[stages.told(one.segments), _encodings(one)] for one in found]] for name, (found, _) in planned.items()
    ]
    joined = {name: links_of(saved.problem, devices, planned[name][0]) for name, saved in chosen.items()}
    real = {pair for links in joined.values() for pair in _real(links, devices)}
    is_here = [not engines.of(one.device).is_apart for one in devices]
    if weights and not all(is_here):
        raise InputError("WEIGHTS is a file of this computer, and containers have only what was profiled: leave it out")
    registry = lab_file.load(lab).registry
    names = [device.name for device in devices]
    with _alone() if any(is_here) else nullcontext():
        before = {
            name: link_check.measure(devices, links, max(chosen[name].problem.sizes_bytes), lab, _real(links, devices))
            for name, links in joined.items()
        }
        ran: list[RanLink] = []
        facts: tuple[Mapping[str, object], ...] = ()
        with (
            joules.watching(devices) as meters,
            Running(devices, folder, content, weights, registry, real) as running,
        ):
            for name, saved in chosen.items():
                (found, unsure), links = planned[name], joined[name]
                with running.linked(links, _real(links, devices)) as linked:
                    facts = facts or tuple(_facts(running, devices, saved.problem, found[0]))
                    one = _run(
                        name,
                        saved.problem,
                        devices,
                        found,
                        unsure,
                        links,
                        linked,
                        runs,
                        seed,
                        say,
                        facts,
                        meters=meters,
                    )
                ran.append(replace(one, kept={(names[a], names[b]): kept for (a, b), kept in linked.kept.items()}))
        for at, (name, links) in enumerate(joined.items()):
            checked = link_check.again(devices, links, before[name], lab, _real(links, devices))
            moved = tuple(line for one in checked.values() for line in one.moved)
            of_names = {(names[a], names[b]): one for (a, b), one in checked.items()}
            ran[at] = replace(ran[at], checked=of_names, notes=(*ran[at].notes, *moved))
    return Verification(
        study,
        network,
        tuple(one.name for one in devices),
        facts,
        tuple(ran),
        time.monotonic() - begun_s,
        time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        {"dime": dime.__version__, "python": platform.python_version()},
    )


def _chosen(saved: Mapping[str, SavedLink], link: str | None, study: Path) -> dict[str, SavedLink]:
    if link is None:
        return dict(saved)
    found = {}
    for name in filter(None, (part.strip() for part in link.split(","))):
        if name not in saved:
            raise unknown(f"link of {study}", name, saved)
        found[name] = saved[name]
    if not found:
        raise InputError("LINK names no link")
    return found


def _samples(folder: Path, network: str) -> Path:
    place = profile.feature_maps(folder, network)
    if place is not None:
        return place
    raise InputError(
        f"there are no feature maps of {network} in {folder}: say where those are that were profiled, SAMPLES="
    )


@contextmanager
def _alone() -> Iterator[None]:
    """One verification at once on this computer: two would measure each other.

    Raises:
        DeviceError: There is another.
    """
    import fcntl
    import tempfile

    path = Path(tempfile.gettempdir(), f"dime-verify-{os.getuid()}.lock")
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DeviceError(
                "another verify is running on this computer: two at once would measure each other"
            ) from None
        yield
    finally:
        os.close(handle)


def links_of(problem: Problem, devices: Sequence[Profiled], found: Iterable[Candidate]) -> dict[tuple[int, int], Link]:
    """The link of each pair of devices between which something crosses, as the one that stands first sees it."""
    pairs = set()
    for one in found:
        for a, b in zip(one.segments, one.segments[1:], strict=False):
            pairs.add((min(a.device, b.device), max(a.device, b.device)))
    links = {}
    for first, second in sorted(pairs):
        link = problem.joined.get((first, second))
        if link is None and (back := problem.joined.get((second, first))) is not None:
            link = replace(back, upload_bit_s=back.download_bit_s, download_bit_s=back.upload_bit_s)
        if link is None:
            raise InputError(
                f"the plan does not say what link joins {devices[first].name} and {devices[second].name}: it was made"
                " from crossings alone"
            )
        links[first, second] = link
    return links


def is_real(link: Link, devices: Sequence[Profiled], pair: tuple[int, int]) -> bool:
    """Whether a link is the one between these two devices, which was measured: then nothing has to be emulated."""
    names = [devices[at].device.name for at in pair]
    ends = {"-".join(names), "-".join(reversed(names))}
    return link.origin == "measured" and bool(ends & set(Path(link.name.partition(",")[0]).parts))


def _real(links: Mapping[tuple[int, int], Link], devices: Sequence[Profiled]) -> set[tuple[int, int]]:
    return {pair for pair, link in links.items() if is_real(link, devices, pair)}


def _facts(
    running: Running, devices: Sequence[Profiled], problem: Problem, one: Candidate
) -> Iterator[Mapping[str, object]]:
    """What each device says of itself; their weights must be the same."""
    whole = [[0, [[0, len(problem.layers) - 1, -1]]]]  # without any hop
    facts = running.facts({**_order(problem, devices, one, requests=1, exact=False), "segments": whole})
    for device, said in zip(devices, facts, strict=True):
        if said.get("weights_sha256") != facts[0].get("weights_sha256"):
            raise DeviceError(
                f"{device.name} and {devices[0].name} have other weights, though they are called the same"
            )
        yield said


def _window(problem: Problem, one: Candidate) -> int:
    """How many requests of a plan are under way at once."""
    if not problem.goal.is_pipeline or one.is_local:
        return 1
    return min(2 * len(one.segments), stages.MOST_WINDOW)


def _order(
    problem: Problem,
    devices: Sequence[Profiled],
    one: Candidate,
    *,
    requests: int,
    exact: bool,
    warmups: int = 0,
    check: bool = False,
    first_picture: int = 0,
) -> Asked:
    window = 1 if check else _window(problem, one)
    return {
        "plan": one.name,
        "names": [device.name for device in devices],
        "segments": stages.told(one.segments),
        "requests": requests,
        "warmups": warmups,
        "check": check,
        "exact": exact,
        "window": window,
        "result_bytes": problem.sizes_bytes[-1],
        "batch": problem.batch,
        "first_picture": first_picture,
        "pictures": min((each.images for each in one.encoded), default=0),
        "encodings": _encodings(one),
        "input_hz": problem.input_hz,
        "silence_s": max(LEAST_SILENCE_S, TIMES_PREDICTED * one.plan.latency_s * window),
    }


def _encodings(one: Candidate) -> list[list[object]]:
    """How what crosses in a plan is encoded, as an order has it."""
    return [[each.boundary, each.encoding, each.most_bytes] for each in one.encoded]


def _is_exact(facts: Sequence[Mapping[str, object]], one: Candidate) -> bool:
    """Whether all devices of a plan compute the same bits: the same software, processor and number of threads."""
    used = {segment.device for segment in one.segments if segment.steps} | {0}
    said = [{name: facts[at].get(name) for name in SAME_BITS} for at in used]
    return all(other == said[0] for other in said)


def _run(
    name: str,
    problem: Problem,
    devices: Sequence[Profiled],
    found: Sequence[Candidate],
    unsure: str,
    links: Mapping[tuple[int, int], Link],
    linked: Linked,
    runs: int,
    seed: int,
    say: Callable[[str], None],
    facts: Sequence[Mapping[str, object]],
    *,
    meters: Mapping[int, Recorder],
) -> RanLink:
    """Checks each plan of a link, and then runs them round by round, in an order of its own."""
    checks = []
    for one in found:
        requests = max([CHECKED, *(each.images for each in one.encoded)])
        order = _order(problem, devices, one, requests=requests, exact=_is_exact(facts, one), check=True)
        checks.append(linked.execute(order, _within_s(order, one)).rows)
        changed = comparison.effect(checks[-1])
        with_it = "" if changed is None else f" with the same encodings; {changed}"
        say(f"{name}: {one.name}: the result is the whole network's{with_it}")
    counts = [_count(problem, one, runs) for one in found]
    rounds = min(
        ROUNDS, runs, *(count // min(2, _window(problem, one)) for count, one in zip(counts, found, strict=True))
    )
    rows: list[list[list[Row]]] = [[] for _ in found]
    alone: list[list[dict[tuple[int, int], list[float]]]] = [[] for _ in found]
    spent: list[list[dict[int, joules.Round]]] = [[] for _ in found]
    for turn in range(rounds):
        places = list(range(len(found)))
        random.Random(f"{seed} {name} {turn}").shuffle(places)
        for at in places:
            one = found[at]
            requests = counts[at] // rounds + (turn < counts[at] % rounds)
            warmups = WARMUPS * _window(problem, one)  # which fill a pipeline
            order = _order(
                problem, devices, one, requests=requests, exact=False, warmups=warmups, first_picture=turn * requests
            )
            ran = linked.execute(order, _within_s(order, one))
            rows[at].append(ran.rows)
            alone[at].append(ran.back_to_back_s)
            spent[at].append(joules.of_round(meters, ran.rows, one.segments, linked.clocks(meters) if meters else {}))
        say(f"{name}: round {turn + 1} of {rounds}")
    compared = tuple(
        replace(
            _compare(problem, one, rows[at], alone[at], checks[at]), energies=_energies(problem, one, spent[at], meters)
        )
        for at, one in enumerate(found)
    )
    notes = [f"no interval, and no verdict: {unsure}"] if unsure else []
    if meters and not problem.has_energy:
        notes.append(
            "joules were measured, and the plans have no energies to hold them against: profile with the meter"
        )
    if meters and problem.has_energy and any(one.term == WAITING for one in problem.acting.missing):
        notes.append("the plans' joules are without those of waiting, which are among the measured ones")
    short = [f"{one.name} {count}" for one, count in zip(found, counts, strict=True) if count < runs]
    if short:
        notes.append(f"fewer requests than {runs}, for they take long: {', '.join(short)}")
    more = [f"{one.name} {count}" for one, count in zip(found, counts, strict=True) if count > runs]
    if more:
        notes.append(f"more requests than {runs}, for several are under way at once: {', '.join(more)}")
    names = [device.name for device in devices]
    return RanLink(
        name,
        EMULATED if any(not is_real(link, devices, pair) for pair, link in links.items()) else "measured",
        {(names[a], names[b]): link for (a, b), link in links.items()},
        tuple(found),
        compared,
        tuple(tuple(tuple(one) for one in of) for of in rows),
        problem.goal.kind,
        tuple(notes),
        alone=tuple(map(tuple, alone)),
    )


def _count(problem: Problem, one: Candidate, runs: int) -> int:
    """How many requests a plan gets: fewer where each takes long, more where several are under way at once."""
    window = _window(problem, one)
    each_s = one.plan.latency_s if window == 1 else one.plan.period_s
    wanted = runs if window == 1 else max(runs, min(ROUNDS, runs) * WINDOWS * window)
    return max(min(wanted, LEAST_RUNS), min(wanted, int(PLAN_S / max(each_s, 1e-9))))


def _within_s(order: Asked, one: Candidate) -> float:
    local_s = max((seconds or 0.0 for seconds in one.fallback_s), default=0.0)
    a_request_s = order["silence_s"] + 4 * (local_s + one.plan.latency_s)
    return 60.0 + float((order["requests"] + order["warmups"]) * a_request_s)


def _compare(
    problem: Problem,
    one: Candidate,
    rounds: Sequence[Sequence[Row]],
    alone: Sequence[Mapping[tuple[int, int], Sequence[float]]],
    check: Sequence[Row],
) -> Compared:
    is_pipeline = problem.goal.is_pipeline
    if is_pipeline and not one.is_local:
        values = [periods(rows) for rows in rounds]
    else:
        values = [np.array([(row["end_ns"] - row["start_ns"]) / 1e9 for row in rows]) for rows in rounds]
    told = (
        ()
        if is_pipeline and not one.is_local
        else comparison.by_stage(one.parts, rounds, one.segments, one.delays_s, alone)
    )
    fallbacks = sum(bool(row["fallback"]) for rows in rounds for row in rows)
    return Compared(
        one.name,
        one.also,
        one.plan.period_s if is_pipeline else one.plan.latency_s,
        one.interval_s,
        comparison.measure(values),
        told,
        fallbacks,
        comparison.farthest(check),
        comparison.effect(check),
    )


def _energies(
    problem: Problem, one: Candidate, spent: Sequence[Mapping[int, joules.Round]], meters: Iterable[int]
) -> tuple[joules.Energy, ...]:
    """What each watched device took; the plan's joules are those of the devices that count, which must be that one."""
    counted = [at for at in range(len(problem.devices)) if (problem.acting.counted or (True,))[at : at + 1] == (True,)]
    found = []
    for at in meters:
        foretold = (one.predicted_j, one.interval_j) if counted == [at] else (None, None)
        found.append(joules.summed_up(problem.devices[at].name, [each[at] for each in spent], *foretold))
    return tuple(found)


def periods(rows: Sequence[Row]) -> Floats:
    """The time from one result to the next while all stages are busy, once for each request of the round.

    It is the median slope of results that are half of the round apart or more: one that was held up, and what had
    gathered behind it when the round began, do not move it.
    """
    ends_s = np.sort(np.array([row["end_ns"] for row in rows], np.float64)) / 1e9
    count = len(ends_s)
    if count < 2:
        return np.array([(rows[0]["end_ns"] - rows[0]["start_ns"]) / 1e9])
    first, last = np.triu_indices(count, max(1, count // 2))
    return np.full(count, np.median((ends_s[last] - ends_s[first]) / (last - first)))
