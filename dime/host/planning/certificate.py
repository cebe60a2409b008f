"""How sure it is that nothing is better than a plan: data, and the one sentence that says it."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, field
from typing import TypedDict


@dataclass(frozen=True)
class Certificate:
    """What is claimed of a plan, and by whom; ``str(certificate)`` is the sentence.

    Attributes:
        status: ``optimal``: proven within the gap; ``feasible``: the best known when time or patience ran out;
            ``undominated``: nothing that was found is as good in time and in energy; ``given``: nothing is claimed.
        solver: The solver's name; empty for a given plan.
        version: Its name and version.
        objective: The goal's value, in the goal's unit; None where it is not known.
        bound: No plan has a better one; None if nothing is known.
        seconds: Wall time it took, s; no part of what is compared or written, so that the same plan is the same file.
        note: One line for the person, such as why another solver was used; mostly empty.
        complete: Of an undominated plan, whether the whole frontier was found.
        chance: Probability with which the plan's limits hold in single runs; None where means keep them.
        confirmed_by: Another solver, with its version, that finds the same; empty if none does.
        unconfirmed: Why none does; empty where nobody was asked.
    """

    status: str
    solver: str = ""
    version: str = ""
    objective: float | None = None
    bound: float | None = None
    seconds: float | None = field(default=None, compare=False)
    note: str = ""
    complete: bool | None = None
    chance: float | None = None
    confirmed_by: str = ""
    unconfirmed: str = ""

    @property
    def gap(self) -> float | None:
        """(objective - bound) / objective, or None where one of them is not known."""
        if self.objective is None or self.bound is None:
            return None
        return max(0.0, self.objective - self.bound) / self.objective if self.objective else 0.0

    def data(self) -> dict[str, object]:
        """What files hold of it."""
        return {name: said for name, said in asdict(self).items() if name != "seconds"}

    @property
    def proven(self) -> bool:
        """Whether nothing can be better, within the gap."""
        return self.status == "optimal"

    def __str__(self) -> str:
        if self.status == "given":
            return self.note or "given"
        if self.status == "undominated":
            found = "complete frontier" if self.complete else "part of the frontier found in time"
            return f"undominated, on the {found}"
        if self.chance is not None:
            text = f"best mean whose limits hold with {self.chance:.4g}, exact under independent normal runs"
        elif self.proven:
            text = f"within {self.gap:.2%} of the optimum" if self.gap else "optimal"
            text += f", proven by {self.version}"
        else:
            text = f"best known, found by {self.version}; "
            text += "no bound" if self.gap is None else f"bound {self.bound:.6g}, gap {self.gap:.2%}"
        return f"{text} ({self.note})" if self.note else text

    @property
    def confirmation(self) -> str:
        """``confirmed by Gurobi 13.0.3``, or why it is not; empty where nobody was asked."""
        if self.confirmed_by:
            return f"confirmed by {self.confirmed_by}"
        return f"not confirmed: {self.unconfirmed}" if self.unconfirmed else ""


class Sentence(TypedDict):
    """What a plan.json before version 2 holds of it."""

    proof: str
    solver: str
    value: float
    bound: float | None


def from_sentence(fields: Sentence) -> Certificate:
    """Reads the certificate of a plan.json before version 2, which held the sentence, the bound and the version."""
    text, version = str(fields["proof"]), str(fields["solver"])
    chance = re.match(r"best mean whose limits hold with ([\d.]+)", text)
    status = "given"
    if chance or text.startswith(("optimal", "within")):
        status = "optimal"
    elif text.startswith("best known"):
        status = "feasible"
    elif text.startswith("undominated"):
        status = "undominated"
    return Certificate(
        status,
        version.partition(" ")[0].lower(),
        version,
        objective=fields["value"],
        bound=fields["bound"],
        note=text if status == "given" else _note(text),
        complete="complete" in text if status == "undominated" else None,
        chance=float(chance[1]) if chance else None,
    )


def _note(text: str) -> str:
    noted = re.search(r"\((.*)\)$", text)
    return noted[1] if noted else ""
