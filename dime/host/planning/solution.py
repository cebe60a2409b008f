"""What a solver found for a problem, and how sure it is."""

from __future__ import annotations

from dataclasses import dataclass, field

from dime.contract.errors import InputError
from dime.host.planning.certificate import Certificate
from dime.host.planning.plan import Plan, check, describe
from dime.host.planning.problem import Choice, Problem


@dataclass(frozen=True)
class Solution:
    """What a solver found.

    Attributes:
        status: ``optimal``: proven within the gap asked for; ``feasible``: the best known when time or patience ran
            out; ``infeasible``: proven that no plan keeps the limits; ``unknown``: nothing found, nothing proven.
        choices: The plan, or None.
        objective: The goal's value for it, in the goal's unit.
        bound: No plan is better than this.
        solver: The solver's name.
        version: Its name and version as printed.
        seconds: Wall time it took, s.
        note: One line for the person, such as why another solver was used; mostly empty.
        backend: How the solver worked, where it has several ways that give the same.
        problem: What was solved; None where a solver was called by itself.
    """

    status: str
    choices: tuple[Choice, ...] | None
    objective: float | None
    bound: float | None
    solver: str
    version: str
    seconds: float
    note: str = ""
    backend: str = field(default="", compare=False)
    problem: Problem | None = field(default=None, repr=False, compare=False)

    @property
    def plan(self) -> Plan:
        """The plan, checked against the problem.

        Raises:
            InputError: There is none.
        """
        if self.problem is None:
            raise InputError(f"{self.version} was not told to keep its problem: make_plan(problem, solution)")
        return make_plan(self.problem, self)

    @property
    def certificate(self) -> Certificate:
        """What is claimed of the plan."""
        return Certificate(self.status, self.solver, self.version, self.objective, self.bound, self.seconds, self.note)

    @property
    def gap(self) -> float | None:
        """(objective - bound) / objective, or None where one of them is not known."""
        return self.certificate.gap


def make_plan(problem: Problem, solution: Solution) -> Plan:
    """Turns a solution into a plan and checks it.

    Raises:
        InputError: The solution has no choices, or the plan does not stand the check.
    """
    if solution.choices is None:
        raise InputError(f"{solution.version} found no plan")
    plan = describe(problem, solution.choices, solution.certificate)
    check(problem, plan)
    return plan
