"""An optimum asked of another solver: whether both say the same."""

from __future__ import annotations

from dataclasses import replace

from dime.contract.errors import InputError
from dime.host.planning.certificate import Certificate
from dime.host.planning.plan import SAME
from dime.host.planning.problem import Problem
from dime.host.planning.solution import Solution
from dime.host.search.solvers import load, reason_against


def confirm(problem: Problem, solution: Solution, solver: str = "gurobi", time_limit_s: float = 10.0) -> Certificate:
    """Lets another solver confirm an optimum.

    Args:
        problem: The problem.
        solution: What was found for it.
        solver: The solver to ask.
        time_limit_s: Longest time it may take.

    Returns:
        The solution's certificate with who confirms it, or why nobody does.

    Raises:
        InputError: The other solver proves that a better plan exists, or that there is none: one of the two is wrong.
    """
    claimed = solution.certificate
    reason = reason_against(solver, problem)
    if reason is not None:
        return replace(claimed, unconfirmed=reason)
    other = load(solver).solve(problem, time_limit_s, 0.0)
    if other.status == "infeasible" or (
        other.objective is not None
        and solution.objective is not None
        and (
            other.objective < (solution.bound or 0.0) * (1 - SAME)
            or solution.objective < (other.bound or 0.0) * (1 - SAME)
        )
    ):
        raise InputError(f"{other.version} contradicts {solution.version}: {other.objective}, not {solution.objective}")
    if solution.status != "optimal" or solution.objective is None:
        return replace(claimed, unconfirmed=f"{solution.version} did not finish")
    if other.status != "optimal" or other.objective is None:
        return replace(claimed, unconfirmed=f"{other.version} did not finish in {time_limit_s:g} s")
    if other.objective < solution.objective * (1 - SAME):
        return replace(claimed, unconfirmed=f"{other.version} finds {other.objective:.6g}, which is within the gap")
    return replace(claimed, confirmed_by=other.version)
