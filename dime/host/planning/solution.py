"""What a solver found for a problem, and how sure it is."""

from __future__ import annotations

from dataclasses import dataclass

from dime.host.planning.certificate import Certificate
from dime.host.planning.problem import Choice


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
    """

    status: str
    choices: tuple[Choice, ...] | None
    objective: float | None
    bound: float | None
    solver: str
    version: str
    seconds: float
    note: str = ""

    @property
    def certificate(self) -> Certificate:
        """What is claimed of the plan."""
        return Certificate(self.status, self.solver, self.version, self.objective, self.bound, self.seconds, self.note)

    @property
    def gap(self) -> float | None:
        """(objective - bound) / objective, or None where one of them is not known."""
        return self.certificate.gap
