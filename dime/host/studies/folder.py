"""A study's folder read back: for each link the problem, the plan with its certificate, and the frontier."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dime.contract.bundles import Bundle
from dime.contract.errors import InputError, TableError
from dime.contract.run import FRONTIER, PLAN
from dime.host.planning import problem_files
from dime.host.planning.certificate import Certificate
from dime.host.planning.evaluation import evaluate
from dime.host.planning.plan import SAME, Plan, check, read_plan
from dime.host.planning.problem import PER_J, PER_S, Choice, Problem
from dime.host.search.frontier import Frontier


@dataclass(frozen=True, eq=False)
class SavedLink:
    """What was found for one link.

    Attributes:
        problem: The problem.
        plan: The best plan.
        frontier: Every best trade-off; None where there is no energy to trade.
    """

    problem: Problem
    plan: Plan
    frontier: Frontier | None

    @property
    def certificate(self) -> Certificate:
        """How sure it is that nothing is better than the plan."""
        return self.plan.certificate

    def check(self) -> None:
        """Recomputes everything that the plan and the frontier say, from the problem alone.

        Raises:
            InputError: Something does not hold.
        """
        check(self.problem, self.plan)
        if self.frontier is not None:
            for at in range(len(self.frontier)):
                _recompute(self.problem, self.frontier, at)


def load_study(folder: str | os.PathLike[str]) -> dict[str, SavedLink]:
    """Reads what ``dime solve`` wrote.

    Args:
        folder: The study's folder.

    Returns:
        What was found for each link, by the name of the link's own folder.

    Raises:
        TableError: It is no study's folder, or a file is missing or damaged.
    """
    places = sorted(path.parent for path in Path(folder).glob(f"*/{PLAN}"))
    if not places:
        raise TableError(f"{os.fspath(folder)} is no study's folder: there is no LINK/{PLAN} in it")
    return {place.name: _load_link(place) for place in places}


def _load_link(place: Path) -> SavedLink:
    if not (place / problem_files.PROBLEM).exists():
        raise TableError(f"{place} has no {problem_files.PROBLEM}: an earlier version of DIME made it; solve again")
    problem, plan = problem_files.read(place), read_plan(place / PLAN)
    front = place / FRONTIER
    return SavedLink(problem, plan, _read_frontier(problem, front) if front.exists() else None)


def _read_frontier(problem: Problem, path: Path) -> Frontier:
    import pyarrow
    from pyarrow import parquet

    try:
        time = problem.goal.time_name
        table = parquet.read_table(path, columns=[time, "energy_j", "steps"])
        complete = (table.schema.metadata or {}).get(b"complete") == b"true"
        said = [table.column(name).to_numpy() for name in (time, "energy_j")]
        plans = [_choices(json.loads(text)) for text in table.column("steps").to_pylist()]
        totals = [evaluate(problem, plan) for plan in plans]
    except OSError as error:
        raise TableError(f"{path}: {error.strerror or error}") from None
    except (pyarrow.ArrowException, InputError, ValueError, TypeError, KeyError, IndexError, RecursionError) as error:
        raise TableError(f"{path} is damaged: {error}") from None
    time_ps = np.array([one.time_ps(problem) for one in totals], np.int64)
    energy_pj = np.array([one.energy_pj for one in totals], np.int64)
    for told, known in zip(said, (time_ps / PER_S, energy_pj / PER_J), strict=True):
        if not np.allclose(told, known, rtol=SAME, atol=0):
            raise TableError(f"{path} is damaged: a point's time or energy is not that of its plan")
    return Frontier(problem, time_ps, energy_pj, complete, plans.__getitem__)


def _choices(steps: Sequence[Sequence[int]]) -> tuple[Choice, ...]:
    return tuple(Choice(Bundle(int(a), int(b)), int(device), int(hz)) for a, b, device, hz in steps)


def _recompute(problem: Problem, frontier: Frontier, at: int) -> None:
    totals = evaluate(problem, frontier.choices(at))
    if totals.broken:
        raise InputError(f"point {at + 1} of the frontier breaks a limit: {'; '.join(totals.broken)}")
    if at and not (
        frontier.time_ps[at] > frontier.time_ps[at - 1] and frontier.energy_pj[at] < frontier.energy_pj[at - 1]
    ):
        raise InputError(f"point {at + 1} of the frontier is dominated by the one before")
