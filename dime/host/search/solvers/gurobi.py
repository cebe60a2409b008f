"""Gurobi: the integer program of ``_ilp`` through gurobipy.

A licence is found by gurobipy itself: GRB_LICENSE_FILE, gurobi.lic in its usual places, or the one that comes with the
package, which takes up to 2000 variables and 2000 rows. Where the environment holds the three words of a licence that a
web service hands to containers (WLS), that one is asked for.
"""

from __future__ import annotations

import os
from functools import lru_cache
from time import monotonic
from typing import TYPE_CHECKING

from dime.host.planning.problem import Problem
from dime.host.planning.solution import Solution
from dime.host.search.solvers import Capabilities, _ilp, conclude

if TYPE_CHECKING:
    import gurobipy

CAPABILITIES = Capabilities()
FREE_SIZE = 2000
TOLERANCE = 1e-9
WLS = {"GRB_WLSACCESSID": "WLSAccessID", "GRB_WLSSECRET": "WLSSecret", "GRB_LICENSEID": "LicenseID"}


@lru_cache(maxsize=1)
def _environment() -> gurobipy.Env:
    import gurobipy

    params: dict[str, str | int] = {"OutputFlag": 0, "LogToConsole": 0}
    if all(variable in os.environ for variable in WLS):
        params |= {parameter: os.environ[variable] for variable, parameter in WLS.items()}
        params["LicenseID"] = int(params["LicenseID"])
    return gurobipy.Env(params=params)


@lru_cache(maxsize=1)
def available() -> str | None:
    """Why Gurobi cannot be used: it is not installed, or its licence is missing or has expired."""
    try:
        import gurobipy
    except ImportError as error:
        return f"gurobi is not installed ({error})"
    try:
        _environment()
    except (gurobipy.GurobiError, ValueError, OverflowError) as error:
        reason = str(error).splitlines() or [type(error).__name__]
        return f"gurobi has no usable licence ({reason[0]})"
    return None


def version() -> str:
    """Name and version."""
    import gurobipy

    return "Gurobi " + ".".join(map(str, gurobipy.gurobi.version()))


def refuses(problem: Problem) -> str | None:
    """Models over 2000 variables or rows, if the licence takes no more."""
    if available() is not None:
        return None
    layers, devices = len(problem.layers), len(problem.devices)
    options = sum(int(usable.sum()) for usable in problem.usable)
    small = problem.states.is_single and options + layers * devices * (devices + 1) <= FREE_SIZE // 2
    if small or not _size_limited():
        return None
    if options > 50 * FREE_SIZE:
        size = options
    else:
        model = _ilp.build(problem, FREE_SIZE)
        size = max(len(model.names), len(model.rows))
    return f"gurobi's licence takes {FREE_SIZE} variables and rows, this has {size}" if size > FREE_SIZE else None


@lru_cache(maxsize=1)
def _size_limited() -> bool:
    """Whether the licence refuses a model that is just too large for the free one."""
    import gurobipy

    with gurobipy.Model(env=_environment()) as model:
        model.addVars(FREE_SIZE + 1)
        try:
            model.optimize()
        except gurobipy.GurobiError as error:
            return bool(error.errno == gurobipy.GRB.Error.SIZE_LIMIT_EXCEEDED)
    return False


def solve(problem: Problem, time_limit_s: float, gap: float) -> Solution:
    """Solves the integer program; a plan that only the tolerance lets pass a limit is excluded, and the next one found.

    Raises:
        KeyboardInterrupt: Ctrl-C, which Gurobi takes for its time limit.
    """
    import gurobipy
    from gurobipy import GRB

    began = monotonic()
    program = _ilp.build(problem, FREE_SIZE)
    cost, unit = program.scaled_cost()

    with gurobipy.Model(env=_environment()) as model:
        model.Params.FeasibilityTol = model.Params.IntFeasTol = model.Params.OptimalityTol = TOLERANCE
        model.Params.MIPGap, model.Params.MIPGapAbs = gap, 0.0
        columns = [
            model.addVar(0, upper, price, GRB.BINARY if whole else GRB.CONTINUOUS, name)
            for upper, price, whole, name in zip(program.upper, cost, program.whole, program.names, strict=True)
        ]

        def add(row: _ilp.Row) -> None:
            coefficients, low, high = row.scaled()
            terms = gurobipy.LinExpr(coefficients.tolist(), [columns[column] for column in row.columns])
            if low == high:
                model.addLConstr(terms, GRB.EQUAL, low, row.name)
            else:
                if low > -_ilp.INFINITE:
                    model.addLConstr(terms, GRB.GREATER_EQUAL, low, row.name)
                if high < _ilp.INFINITE:
                    model.addLConstr(terms, GRB.LESS_EQUAL, high, row.name)

        for row in program.rows:
            add(row)
        while True:
            model.Params.TimeLimit = max(0.0, time_limit_s - (monotonic() - began))
            model.optimize()
            if model.Status == GRB.INTERRUPTED:
                raise KeyboardInterrupt
            plan = program.plan(model.getAttr("X", columns)) if model.SolCount else None
            if plan is None or program.keeps_limits(plan):
                break
            add(program.exclude(plan))
        status = _status(model.Status, plan is not None)
        exactly = status == "optimal" and not gap
        bound = None if exactly or plan is None else float(model.ObjBound) * unit
        return conclude(problem, status, plan, bound, "gurobi", version(), monotonic() - began)


def _status(code: int, found: bool) -> str:
    from gurobipy import GRB

    if code in (GRB.INFEASIBLE, GRB.INF_OR_UNBD):
        return "infeasible"
    if code == GRB.OPTIMAL:
        return "optimal"
    return "feasible" if found else "unknown"
