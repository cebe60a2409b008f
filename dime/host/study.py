"""A study: the profiles of one network and, for each link, the problem with everything that was found out about it.

Frozen results, from which plan.json, frontier.parquet, the report and the text for the terminal are written.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dime.contract.errors import InputError, TableError
from dime.contract.run import RUN
from dime.host import baselines, solvers
from dime.host.frontier import Frontier, frontier
from dime.host.goals import Goal, Limits
from dime.host.links import load_link
from dime.host.plan import Plan, confirm, make_plan
from dime.host.problem import Problem, build_problem
from dime.host.profiles import Profile, load_profile
from dime.host.solvers import Solution

if TYPE_CHECKING:
    from dime.host.break_even import BestPlans
    from dime.host.explain import Explanation
    from dime.host.uncertainty import Uncertainty

LINKS = "3G,4G,WiFi"


@dataclass(frozen=True, eq=False)
class LinkStudy:
    """What was found for one link.

    Attributes:
        name: The link's name, or its numbers.
        problem: The problem.
        solution: What the solver said.
        plan: The plan, checked.
        confirmation: ``confirmed by Gurobi 13.0.3``, or why it is not.
        frontier: Every best trade-off; None where there is no energy to trade.
        baselines: The plan and every baseline, by what they really cost.
        uncertainty: What resampled runs say, of the plan first; None where that was not asked for.
        maps: The best plan for every bandwidth, and what else was asked for.
        explanation: Margins over other plans and slacks of the limits; None where that was not asked for.
    """

    name: str
    problem: Problem
    solution: Solution
    plan: Plan
    confirmation: str
    frontier: Frontier | None
    baselines: tuple[baselines.Row, ...]
    uncertainty: Uncertainty | None = None
    maps: tuple[BestPlans, ...] = ()
    explanation: Explanation | None = None


@dataclass(frozen=True, eq=False)
class Study:
    """The profiles, the edge device's first, and what was found for each link."""

    profiles: tuple[Profile, ...]
    goal: Goal
    limits: Limits
    links: tuple[LinkStudy, ...]

    @property
    def network(self) -> str:
        """The network's name."""
        return self.profiles[0].network


def find_profiles(
    net: str, edge: str, server: str, results: str = "results", edge_power_w: float | None = None
) -> tuple[Profile, ...]:
    """Loads the profiles of the devices that take part.

    Args:
        net: The network.
        edge: The weak device: its name (profile in RESULTS/NAME/NET), or a path to a run's folder or a table.
        server: The other devices in the same way, joined by commas.
        results: The folder that holds DEVICE/NET.
        edge_power_w: Models the edge device's energies as this constant power times time; None: as measured, if so.

    Returns:
        The profiles, the edge device's first.

    Raises:
        InputError: There is no such profile; those that there are are listed.
        TableError: A table is damaged.
    """
    found = [_find(net, name.strip(), Path(results)) for name in (edge, *server.split(","))]
    if len({profile.device for profile in found}) < len(found):
        raise InputError(f"a device is named twice among {edge}, {server}")
    if edge_power_w is not None:
        found[0] = found[0].with_power(edge_power_w)
    return tuple(found)


def _find(net: str, name: str, results: Path) -> Profile:
    folder = results / name / net
    if (folder / RUN).exists():
        return load_profile(str(folder))
    if Path(name).exists() and ("/" in name or Path(name).suffix):
        return load_profile(name, network=net)
    there = sorted(path.parent.parent.name for path in results.glob(f"*/{net}/{RUN}"))
    known = f"there are: {', '.join(there)}" if there else "there is none yet"
    raise TableError(f"no profile of {net} on '{name}' in {results}; {known}; make one: dime profile --net={net}")


def link_names(text: str) -> list[str]:
    """Splits ``3G,4G,WiFi``; a link given by its numbers, a file, or pair by pair is one by itself."""
    names = [text.strip()] if "=" in text or ":" in text else [name.strip() for name in text.split(",")]
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
    solver: str = "auto",
    time_limit_s: float = solvers.TIME_LIMIT_S,
    gap: float = 0.0,
    arithmetic: str = "correct",
    result_bytes: int | None = 4,
) -> Study:
    """Plans for each link, and finds out what a reader will ask about the plans.

    Args:
        profiles: One a device, the edge device's first.
        link: Links by name, joined by commas, or one link in any form that ``links.connect`` takes.
        goal: What to make small; see ``Goal.parse``.
        limits: What to keep to.
        solver: A solver's name, or ``auto``.
        time_limit_s: Longest time for each search.
        gap: Relative distance from the optimum that is good enough.
        arithmetic: Radio arithmetic, ``correct`` or ``published``.
        result_bytes: What is sent home at the end; None: the last layer's whole output.

    Returns:
        The study.

    Raises:
        InputError: An unknown name, or an option without a use.
        InfeasibleError: No plan keeps the limits.
    """
    limits = limits or Limits()
    studies = []
    for name in link_names(link):
        problem = build_problem(profiles, name, goal, limits, arithmetic=arithmetic, result_bytes=result_bytes)
        solution = solvers.solve(problem, solver, time_limit_s, gap)
        other = "gurobi" if solution.solver != "gurobi" else "exact"
        studies.append(
            LinkStudy(
                name,
                problem,
                solution,
                make_plan(problem, solution),
                confirm(problem, solution, other),
                frontier(problem, time_limit_s) if problem.has_energy else None,
                baselines.compare(problem, solution.choices),
            )
        )
    return Study(tuple(profiles), studies[0].problem.goal, limits, tuple(studies))
