"""Solvers: one file each, found by its name. All of them answer the same Problem with the same Solution.

A solver is a module with

* ``CAPABILITIES``: goals and limits that it takes;
* ``available()``: None, or one line saying why it cannot be used here;
* ``version()``: name and version, as reports print them;
* ``refuses(problem)``: None, or one line saying why this problem is not for it (its size, mostly);
* ``solve(problem, time_limit_s, gap)``: the Solution.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, replace
from typing import Protocol, cast

from dime.contract import plugins
from dime.contract.errors import InfeasibleError, InputError, OutOfTimeError
from dime.host.planning.evaluation import evaluate, value
from dime.host.planning.goals import GOALS
from dime.host.planning.problem import Choice, Problem
from dime.host.planning.solution import Solution

LIMITS = ("latency", "energy", "private", "memory", "frequencies", "max_bundle", "published rule", "merged rule")
PREFERRED = ("exact", "gurobi", "highs")
TIME_LIMIT_S = 60.0


@dataclass(frozen=True)
class Capabilities:
    """Goals and limits (names of GOALS and LIMITS) that a solver takes."""

    goals: frozenset[str] = frozenset(GOALS)
    limits: frozenset[str] = frozenset(LIMITS)


class Solver(Protocol):
    """The interface of a solver's module."""

    CAPABILITIES: Capabilities

    def available(self) -> str | None: ...

    def version(self) -> str: ...

    def refuses(self, problem: Problem) -> str | None: ...

    def solve(self, problem: Problem, time_limit_s: float, gap: float) -> Solution: ...


def names() -> list[str]:
    """The solvers there are."""
    return list(plugins.names(sys.modules[__name__]))


def load(name: str) -> Solver:
    """Imports a solver.

    Raises:
        InputError: There is none of that name.
    """
    return cast(Solver, plugins.load(sys.modules[__name__], name))


def limits_of(problem: Problem) -> frozenset[str]:
    """Names, among LIMITS, of the limits that the problem has."""
    limits = problem.limits
    has = (
        limits.latency_s is not None,
        limits.energy_j is not None,
        problem.private.any(),
        limits.memory_bytes,
        limits.frequencies_hz,
        limits.max_bundle is not None,
        limits.rule == "published",
        limits.rule == "merged",
    )
    return frozenset(name for name, there in zip(LIMITS, has, strict=True) if there)


def reason_against(name: str, problem: Problem) -> str | None:
    """Why a solver cannot take a problem here, in one line; None if it can."""
    solver = load(name)
    if problem.goal.kind not in solver.CAPABILITIES.goals:
        return f"{name} does not know the goal {problem.goal.kind}"
    unmet = limits_of(problem) - solver.CAPABILITIES.limits
    if unmet:
        return f"{name} does not know limits on {', '.join(sorted(unmet))}"
    return solver.available() or solver.refuses(problem)


def solve(problem: Problem, solver: str = "auto", time_limit_s: float = TIME_LIMIT_S, gap: float = 0.0) -> Solution:
    """Finds the best plan.

    Args:
        problem: The problem.
        solver: A solver's name, or ``auto``. A solver that cannot take the problem (no licence, too large) is replaced
            by the next one that can, and the solution's note says so.
        time_limit_s: Longest wall time; what is best by then is returned as ``feasible``.
        gap: Relative distance from the optimum that is good enough; 0 asks for the optimum itself.

    Returns:
        An ``optimal`` or ``feasible`` solution, its choices checked against the problem.

    Raises:
        InfeasibleError: No plan keeps the limits; the message says which of them exclude each other, and what is
            possible.
        InputError: The solver is unknown, or none can take the problem.
        OutOfTimeError: Nothing was found in the time.
    """
    if not time_limit_s > 0 or not 0 <= gap < 1:
        raise InputError(f"a time limit must be > 0 s and a gap in 0..1, not {time_limit_s} s and {gap}")
    if solver != "auto":
        load(solver)
    order = ([] if solver == "auto" else [solver]) + [name for name in PREFERRED if name != solver]
    against = []
    for name in order:
        reason = reason_against(name, problem)
        if reason is not None:
            against.append(reason)
            continue
        solution = load(name).solve(problem, time_limit_s, gap)
        if solution.status == "infeasible":
            from dime.host.search.conflict import explain

            raise InfeasibleError(explain(problem, time_limit_s))
        if solution.choices is None:
            raise OutOfTimeError(f"{name} found no plan in {time_limit_s:g} s; give it more time", bound=solution.bound)
        broken = evaluate(problem, solution.choices).broken
        if broken:
            raise AssertionError(f"{name} returned a plan that breaks a limit: {'; '.join(broken)}")
        note = f"{'; '.join(against)}; solved by {name}" if against else solution.note
        return replace(solution, note=note, problem=problem)
    raise InputError("no solver takes this problem: " + "; ".join(against))


def write_lp(problem: Problem, path: str | os.PathLike[str]) -> None:
    """Writes the integer program of a problem as an LP file, which every solver of integer programs reads.

    Raises:
        InputError: The file exists already, its name does not end in .lp, or the disk would not take it.
    """
    from dime.host.search.solvers import highs

    highs.write_lp(problem, os.fspath(path))


def conclude(
    problem: Problem,
    status: str,
    choices: tuple[Choice, ...] | None,
    bound: float | None,
    name: str,
    version: str,
    seconds: float,
) -> Solution:
    """Makes a Solution whose objective is recomputed from the problem; an optimal one without a bound is its own.

    Of equally good plans an optimal one is the first by ``_ties``, whichever of them the solver has come upon.
    """
    if choices is not None and status == "optimal" and bound is None and name not in ("exact", "brute_force"):
        choices = _first_of_equals(problem, choices)
    objective = None if choices is None else value(problem, evaluate(problem, choices))
    if objective is not None:
        if bound is not None:
            bound = min(bound, objective)
        elif status == "optimal":
            bound = objective
    return Solution(status, choices, objective, bound, name, version, seconds)


def _first_of_equals(problem: Problem, choices: tuple[Choice, ...]) -> tuple[Choice, ...]:
    from dime.host.search.solvers import _ties, exact

    if exact.refuses(problem) is not None:
        return choices
    other = exact.solve(problem, TIME_LIMIT_S, 0.0)
    if other.status != "optimal" or other.choices is None:
        return choices
    return min(choices, other.choices, key=lambda plan: _ties.key(problem, plan))
