"""A study: the profiles of one network and, for each link, the problem with everything that was found out about it.

Frozen results, from which plan.json, frontier.parquet, the report and the text for the terminal are written.
"""

from __future__ import annotations

import glob
import os
import re
import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dime.contract.encodings import INPUT
from dime.contract.errors import InfeasibleError, InputError, OutOfTimeError, TableError, nearest
from dime.contract.networks import BUILT_IN
from dime.contract.quantities import whole
from dime.contract.run import RUN
from dime.host.analysis import baselines
from dime.host.bench import lab
from dime.host.common.units import plain, quantity
from dime.host.planning.accounting import ENCODING, Accounting
from dime.host.planning.encoded import parse
from dime.host.planning.evaluation import evaluate, value
from dime.host.planning.formulation import build_problem
from dime.host.planning.goals import Goal, Limits
from dime.host.planning.links import load_link
from dime.host.planning.plan import Plan, one_line
from dime.host.planning.problem import Problem
from dime.host.planning.solution import Solution, make_plan
from dime.host.profiles.profiles import Profile, load_profile
from dime.host.profiles.published import averaged
from dime.host.search import solvers
from dime.host.search.cross_check import confirm
from dime.host.search.frontier import Frontier, frontier

if TYPE_CHECKING:
    from dime.host.analysis.alternatives import Explanation
    from dime.host.analysis.break_even import BestPlans
    from dime.host.analysis.chance_limits import Held
    from dime.host.analysis.resampling import Samples
    from dime.host.analysis.uncertainty import Uncertainty

LINKS = "3G,4G,WiFi"
REPLICATES = 200
# Of a longer frontier only some points, evenly spread, get intervals.
MOST_INTERVALS = 200
BEYOND_LINEAR = "a limit that holds with a probability is beyond a linear integer program"
MAPS = ("bandwidth", "round_trip")


@dataclass(frozen=True, eq=False)
class OtherInput:
    """What the best plan would be worth if the input were sent in another way.

    Attributes:
        encoding: Such as ``jpeg90``.
        size_bytes: Bytes of it, the mean over the pictures.
        value: The goal's value of the best plan then.
        same_class: Share of the pictures whose first class stays the same; None where the result is no classes.
        distance: How far the network's result is from that without it, as a part of it, or None.
        images: How many pictures there were.
    """

    encoding: str
    size_bytes: int
    value: float
    same_class: float | None
    distance: float | None
    images: int


@dataclass(frozen=True, eq=False)
class LinkStudy:
    """What was found for one link.

    Attributes:
        name: The link's name, or its numbers.
        problem: The problem.
        solution: What the solver said.
        plan: The plan, checked.
        frontier: Every best trade-off; None where there is no energy to trade.
        baselines: The plan and every baseline, by what they really cost.
        uncertainty: What resampled runs say, of the plan first; None where that was not asked for.
        maps: The best plan for every bandwidth, and for every round trip, where they are defined.
        explanation: Margins over other plans and slacks of the limits; None for a plan that is best only among those
            whose limits hold with a probability.
        held: How each limit holds, where it is to hold with a probability.
        notes: What could not be found out, and why.
        other_inputs: What sending the input in another way would give, of those that every profile has measured.
    """

    name: str
    problem: Problem
    solution: Solution
    plan: Plan
    frontier: Frontier | None
    baselines: tuple[baselines.Row, ...]
    uncertainty: Uncertainty | None = None
    maps: tuple[BestPlans, ...] = ()
    explanation: Explanation | None = None
    held: tuple[Held, ...] = ()
    notes: tuple[str, ...] = ()
    other_inputs: tuple[OtherInput, ...] = ()

    def __repr__(self) -> str:
        costs = quantity(self.plan.latency_s, "s") + (f", {quantity(self.plan.energy_j, 'J')}" if self.frontier else "")
        found = "no frontier" if self.frontier is None else f"a frontier of {len(self.frontier)}"
        lines = [f"LinkStudy of {self.problem.network} over {self.name}: {costs}"]
        lines.append(f"  {one_line(self.problem, self.plan.choices(self.problem))}")
        lines.append(f"  {found}, {len(self.baselines)} baselines; {len(self.notes)} notes")
        return "\n".join(plain(line) for line in lines)


@dataclass(frozen=True)
class NoPlan:
    """A link without a plan, and why in one line: limits that no plan keeps, or time that ran out."""

    name: str
    reason: str


@dataclass(frozen=True, eq=False)
class Study:
    """The profiles, the edge device's first, and what was found for each link; at least one link has a plan."""

    profiles: tuple[Profile, ...]
    goal: Goal
    limits: Limits
    links: tuple[LinkStudy, ...]
    without_plan: tuple[NoPlan, ...] = ()

    def __repr__(self) -> str:
        devices = ", ".join(f"{profile.device} ({profile.origin})" for profile in self.profiles)
        lines = [
            f"Study of {self.network}: least {self.goal.kind}",
            f"  devices {devices}",
            f"  links {', '.join([*(link.name for link in self.links), *(link.name for link in self.without_plan)])}",
        ]
        return "\n".join(plain(line) for line in lines)

    @property
    def network(self) -> str:
        """The network's name."""
        return self.profiles[0].network


def find_profiles(
    net: str,
    edge: str,
    server: str,
    results: str = "results",
    edge_power_w: float | None = None,
    csv_unit: str = "ms",
    layers: str | None = None,
) -> tuple[Profile, ...]:
    """Loads the profiles of the devices that take part.

    Args:
        net: The network.
        edge: The weak device: its name (profile in RESULTS/NAME/NET), or a path to a run's folder or a table, which
            ``NAME=PATH`` names.
        server: The other devices in the same way, joined by commas.
        results: The folder that holds DEVICE/NET.
        edge_power_w: Models the edge device's energies as this constant power times time; None: as measured, if so.
        csv_unit: Unit of the durations of published CSV tables, ``ms`` or ``s``.
        layers: The network's layers in order, joined by commas, for published tables whose names do not tell it.

    Returns:
        The profiles, the edge device's first.

    Raises:
        InputError: There is no such profile; those that there are are listed.
        TableError: A table is damaged.
    """
    chain = tuple(layers.split(",")) if layers else None
    found = [_find(net, name.strip(), Path(results), csv_unit, chain) for name in (edge, *server.split(","))]
    if len({profile.device for profile in found}) < len(found):
        raise InputError(f"a device is named twice among {edge}, {server}")
    if edge_power_w is not None:
        found[0] = found[0].with_power(edge_power_w)
    return tuple(found)


def find_sizes(net: str, text: str, results: str = "results") -> tuple[int, ...]:
    """Finds how large the tensors between layers are, for published tables, which do not say it.

    Args:
        net: The network.
        text: The sizes in bytes of the input, of each tensor between two layers and of the result, joined by commas; or
            a profile of the same network, given as in ``find_profiles``.
        results: The folder that holds DEVICE/NET.

    Raises:
        InputError: The profile does not say it either.
        TableError: There is no such profile, or it is damaged.
    """
    numbers = [size.strip() for size in text.split(",") if size.strip()]
    if numbers and all(re.fullmatch(r"[0-9.]{1,18}\s*([kMG]i?)?B?", size) for size in numbers):
        return tuple(whole(size, "B") for size in numbers)
    profile = _find(net, text.strip(), Path(results))
    if profile.sizes_bytes is None:
        raise InputError(f"{profile.path} does not say how large the tensors between layers are")
    return profile.sizes_bytes


def _find(net: str, name: str, results: Path, csv_unit: str = "ms", layers: tuple[str, ...] | None = None) -> Profile:
    folder = results / name / net
    if os.path.exists(folder / RUN):  # pathlib's own raises for a name that is too long
        return load_profile(str(folder), layers=layers)
    given, equals, path = name.partition("=")
    if equals and given and path:
        if not os.path.exists(path):
            raise TableError(f"{path}: no such file or folder for the profile of {given}")
        return load_profile(path, device=given, network=net, layers=layers, duration_unit=csv_unit)
    if os.path.isfile(name) or (os.path.exists(name) and ("/" in name or Path(name).suffix)):
        device = None if Path(name).is_dir() else Path(name).stem.removeprefix(f"{net}_")
        return load_profile(name, device=device, network=net, layers=layers, duration_unit=csv_unit)
    raise TableError(f"no profile of {net} on '{name}' in {results}; {_what_there_is(net, name, results)}")


def _what_there_is(net: str, name: str, results: Path) -> str:
    """What may have been meant by a profile that is not there, and how to make it."""
    deeper = sorted(path.parents[2] for path in results.glob(f"*/{_plain(name)}/{_plain(net)}/{RUN}"))
    if deeper:
        return f"there is one in {deeper[0]}: give {shlex.quote(f'--results={deeper[0]}')} (make: RESULTS={deeper[0]})"
    there = sorted(path.parent.parent.name for path in results.glob(f"*/{_plain(net)}/{RUN}"))
    others = sorted({path.parent.name for path in results.glob(f"*/*/{RUN}")})
    if there:
        known = f"there are: {', '.join(there)}{nearest(name, there)}"
    elif others:
        known = f"there is none yet, only of {', '.join(others)}{nearest(net, [*others, *BUILT_IN])}"
    else:
        known = f"there is none yet{'' if net in BUILT_IN else nearest(net, BUILT_IN)}"
    try:
        bench = lab.load()
    except InputError:
        bench = lab.Lab({})
    if not re.fullmatch(r"[a-z0-9][a-z0-9_.-]*", name):
        return known
    make = shlex.join(["dime", "profile", f"--net={_known(net)}", f"--device={name}"])
    entry = (
        ""
        if name in (*bench.devices, *lab.BUILT_IN)
        else f"enter {name} into lab.toml (docker/lab.example.toml), then "
    )
    return f"{known}; make one: {entry}{make}"


def _known(net: str) -> str:
    """The built-in network that a name nearly is; else the name."""
    return next((one for one in BUILT_IN if one == net.lower()), net)


def _plain(name: str) -> str:
    """A name as a pattern for itself; one with a path in it matches nothing that a results' folder holds."""
    return glob.escape(name.replace("/", "_"))


def link_names(text: str) -> list[str]:
    """Splits ``3G,4G,WiFi``; a link given by its numbers, a file, or pair by pair is one by itself."""
    names = [text.strip()] if "=" in text or ":" in text else list(dict.fromkeys(map(str.strip, text.split(","))))
    for name in names:
        if ";" not in name and ":" not in name:
            load_link(name)
    return names


def make_study(
    profiles: Sequence[Profile],
    link: str = LINKS,
    goal: str = "latency",
    limits: Limits | None = None,
    *,
    confidence: float | None = None,
    replicates: int = REPLICATES,
    solver: str = "auto",
    time_limit_s: float = solvers.TIME_LIMIT_S,
    gap: float = 0.0,
    arithmetic: str = "correct",
    result_bytes: int | None = 4,
    sizes_bytes: Sequence[int] | None = None,
    accounting: Accounting | None = None,
) -> Study:
    """Plans for each link, and finds out what a reader will ask about the plans.

    Args:
        profiles: One a device, the edge device's first.
        link: Links by name, joined by commas, or one link in any form that ``links.connect`` takes.
        goal: What to make small; see ``Goal.parse``.
        limits: What to keep to.
        confidence: Probability with which single runs must keep the limits on latency and energy; None: means do.
        replicates: Bootstrap replicates for intervals, regret and what to measure again; 0: none of these.
        solver: A solver's name, or ``auto``.
        time_limit_s: Longest time for each search.
        gap: Relative distance from the optimum that is good enough.
        arithmetic: Of the runs' means and of the radio, ``correct`` or ``published``.
        result_bytes: What is sent home at the end for each input of a batch; None: the last layer's whole output.
        sizes_bytes: Sizes of the tensors at the N + 1 boundaries, where no profile has them.
        accounting: Whose joules count, and which terms.

    Returns:
        The study.

    Raises:
        InputError: An unknown name, or an option without a use.
        InfeasibleError: No link has a plan that keeps the limits; where some have, the others' reasons are results.
    """
    limits = limits or Limits()
    names = link_names(link)
    profiles = averaged(profiles, arithmetic)
    build = partial(
        build_problem,
        result_bytes=result_bytes,
        arithmetic=arithmetic,
        sizes_bytes=sizes_bytes,
        accounting=accounting,
    )
    problems = [build(profiles, name, goal, limits) for name in names]
    drawn, unsure = _draw(problems[0], profiles, replicates)
    studies, without = [], []
    for name, problem in zip(names, problems, strict=True):
        of_link = _unsure_link(problem) if drawn is not None else ()
        samples = None if drawn is None or of_link else replace(drawn, problem=problem)
        try:
            if confidence is None:
                found = _plan(name, problem, samples, solver, time_limit_s, gap)
            else:
                found = _plan_with_confidence(name, problem, profiles, confidence, solver, time_limit_s)
        except (InfeasibleError, OutOfTimeError) as error:
            without.append(NoPlan(name, str(error)))
            continue
        found = _with_uncertainty(_with_maps(found, time_limit_s), samples)
        others: tuple[OtherInput, ...] = ()
        if arithmetic != "published":
            others = tuple(_other_inputs(partial(build, profiles, name, goal, limits), problem, profiles, accounting))
        studies.append(replace(found, notes=(*found.notes, *unsure, *of_link), other_inputs=others))
    if not studies:
        raise InfeasibleError("; ".join(f"{link.name}: {link.reason}" for link in without))
    return Study(tuple(profiles), problems[0].goal, limits, tuple(studies), tuple(without))


def _other_inputs(
    build: Callable[..., Problem], problem: Problem, profiles: Sequence[Profile], accounting: Accounting | None
) -> Iterator[OtherInput]:
    """Plans anew for each encoding of the input that was measured and is not the one that is sent."""
    accounting = accounting or Accounting()
    sent = parse(accounting.encode)
    for (boundary, encoding), measured in (profiles[0].encodings or {}).items():
        if boundary or encoding == sent.get(INPUT) or ENCODING not in accounting.chosen or len(profiles) < 2:
            continue
        encode = ",".join(f"{place}:{name}" for place, name in {**sent, INPUT: encoding}.items())
        try:
            other = build(accounting=replace(accounting, encode=encode))
        except InputError:  # another device has not measured it
            continue
        found = solvers.solve(other, "exact")
        if found.choices is not None:
            yield OtherInput(
                encoding,
                other.sizes_bytes[0],
                value(other, evaluate(other, found.choices)),
                measured.same_class,
                measured.distance,
                measured.images,
            )


def _draw(problem: Problem, profiles: Sequence[Profile], replicates: int) -> tuple[Samples | None, tuple[str, ...]]:
    """Replicates that serve all links, whose own variation each adds; or why there are none."""
    if replicates < 0 or replicates == 1:
        raise InputError(f"a bootstrap needs at least 2 replicates, or 0 for none, not {replicates}")
    if not replicates:
        return None, ()
    from dime.host.analysis.resampling import resample, unknown

    reason = unknown(profiles)
    if reason:
        return None, (f"no interval, and nothing is called sure: {reason}",)
    return resample(problem, profiles, replicates), ()


def _unsure_link(problem: Problem) -> tuple[str, ...]:
    from dime.host.analysis.resampling import unknown_link

    reason = unknown_link(problem)
    return (f"no interval, and nothing is called sure: {reason}",) if reason else ()


def _plan(
    name: str, problem: Problem, samples: Samples | None, solver: str, time_limit_s: float, gap: float
) -> LinkStudy:
    from dime.host.analysis.alternatives import explain

    solution = solvers.solve(problem, solver, time_limit_s, gap)
    certificate = confirm(problem, solution, "gurobi" if solution.solver != "gurobi" else "exact")
    plan = replace(make_plan(problem, solution), certificate=certificate)
    return LinkStudy(
        name,
        problem,
        solution,
        plan,
        frontier(problem, time_limit_s) if problem.has_energy else None,
        baselines.compare(problem, solution.choices),
        explanation=explain(problem, plan.choices(problem), samples, time_limit_s=time_limit_s),
    )


def _plan_with_confidence(
    name: str, problem: Problem, profiles: Sequence[Profile], confidence: float, solver: str, time_limit_s: float
) -> LinkStudy:
    if solver not in ("auto", "exact"):
        raise InputError(f"a confidence is for the solver exact, not {solver}: it is beyond a linear integer program")
    from dime.host.analysis.chance_limits import plan_with_confidence

    found = plan_with_confidence(problem, profiles, confidence, time_limit_s)
    return LinkStudy(
        name,
        problem,
        solvers.solve(problem, "exact", time_limit_s),
        replace(found.plan, certificate=replace(found.plan.certificate, unconfirmed=BEYOND_LINEAR)),
        frontier(problem, time_limit_s) if problem.has_energy else None,
        baselines.compare(problem, found.choices),
        held=found.limits,
    )


def _with_maps(link: LinkStudy, time_limit_s: float) -> LinkStudy:
    from dime.host.analysis.break_even import best_plans

    maps = []
    missing: dict[str, list[str]] = {}
    for vary in MAPS:
        try:
            maps.append(best_plans(link.problem, vary=vary, time_limit_s=time_limit_s))
        except InputError as error:
            missing.setdefault(str(error), []).append(vary.replace("_", " "))
    notes = tuple(f"no map over the {' and the '.join(knobs)}: {reason}" for reason, knobs in missing.items())
    return replace(link, maps=tuple(maps), notes=notes)


def _with_uncertainty(link: LinkStudy, samples: Samples | None) -> LinkStudy:
    """The same, with the intervals of the plan, of the baselines and of the frontier."""
    if samples is None:
        return link
    from dime.host.analysis.uncertainty import bootstrap

    plans = [link.plan.choices(link.problem), *(row.choices for row in link.baselines if row.choices)]
    if link.frontier is not None:
        count = len(link.frontier)
        points = np.unique(np.linspace(0, count - 1, min(count, MOST_INTERVALS)).round().astype(int))
        plans += [link.frontier.choices(int(at)) for at in points]
    return replace(link, uncertainty=bootstrap(samples, list(dict.fromkeys(plans))))
