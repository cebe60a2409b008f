"""HiGHS: the integer program of ``_ilp`` through highspy. It needs no licence and takes models of any size."""

from __future__ import annotations

from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

import numpy as np

from dime.contract.errors import InputError
from dime.host.planning.problem import Problem
from dime.host.planning.solution import Solution
from dime.host.search.solvers import Capabilities, _ilp, conclude

if TYPE_CHECKING:
    import highspy

CAPABILITIES = Capabilities()
TOLERANCE = 1e-9
LARGEST_OPTIONS = 200_000


def available() -> str | None:
    """Why HiGHS cannot be used: it is not installed."""
    try:
        import highspy  # noqa: F401
    except ImportError as error:
        return f"highs is not installed ({error})"
    return None


def version() -> str:
    """Name and version."""
    import highspy

    return f"HiGHS {highspy.HIGHS_VERSION_MAJOR}.{highspy.HIGHS_VERSION_MINOR}.{highspy.HIGHS_VERSION_PATCH}"


def refuses(problem: Problem) -> str | None:
    """Programs that would take minutes to build."""
    options = sum(int(usable.sum()) for usable in problem.usable)
    return f"highs is asked for {LARGEST_OPTIONS} options at most, not {options}" if options > LARGEST_OPTIONS else None


def solve(problem: Problem, time_limit_s: float, gap: float) -> Solution:
    """Solves the integer program; a plan that the tolerance alone lets pass a limit is excluded, and another found."""
    import highspy

    began = monotonic()
    program = _ilp.build(problem)
    solver, unit = load(program)
    solver.setOptionValue("mip_rel_gap", gap)
    solver.setOptionValue("mip_abs_gap", 0.0)
    for option in ("primal_feasibility_tolerance", "dual_feasibility_tolerance", "mip_feasibility_tolerance"):
        solver.setOptionValue(option, TOLERANCE)
    solver.HandleUserInterrupt = True
    while True:
        solver.setOptionValue("time_limit", max(0.0, time_limit_s - (monotonic() - began)))
        _run(solver)
        info = solver.getInfo()
        found = info.primal_solution_status == highspy.SolutionStatus.kSolutionStatusFeasible
        plan = program.plan(solver.getSolution().col_value) if found else None
        if plan is None or program.keeps_limits(plan):
            break
        add(solver, program.exclude(plan))
    code = solver.getModelStatus()
    status = "feasible" if plan is not None else "unknown"
    if code == highspy.HighsModelStatus.kOptimal:
        status = "optimal"
    elif code in (highspy.HighsModelStatus.kInfeasible, highspy.HighsModelStatus.kUnboundedOrInfeasible):
        status = "infeasible"
    bound = None if (status == "optimal" and not gap) or plan is None else float(info.mip_dual_bound) * unit
    return conclude(problem, status, plan, bound, "highs", version(), monotonic() - began)


def _run(solver: highspy.Highs) -> None:
    """Runs HiGHS beside this thread, so that Ctrl-C ends the command at once and is not taken for a time limit."""
    solver.startSolve()
    try:
        while not solver.wait(0.1)[0]:
            pass
    except KeyboardInterrupt:
        solver.cancelSolve()  # type: ignore[no-untyped-call]
        solver.wait(1.0)
        raise


def write_lp(problem: Problem, path: str) -> None:
    """Does the work of ``solvers.write_lp``, which documents it."""
    if not path.endswith(".lp"):
        raise InputError(f"{path}: the integer program is written as an LP file; its name must end in .lp")
    try:
        with open(path, "x", encoding="utf-8"):
            pass
    except FileExistsError:
        raise InputError(f"{path} exists already; nothing was overwritten") from None
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from None
    import highspy

    solver, unit = load(_ilp.build(problem))
    try:
        written = solver.writeModel(path) != highspy.HighsStatus.kError
        header, _, program = Path(path).read_text(encoding="utf-8").partition("\n")
        about = f"\\ {problem.goal.kind} = {unit!r} {problem.goal.unit} x obj".rstrip()
        Path(path).write_text(f"{header}\n{about}\n{program}", encoding="utf-8")
    except OSError:
        written = False
    if not written:
        raise InputError(f"{path}: the disk would not take the integer program")


def load(program: _ilp.Model) -> tuple[highspy.Highs, float]:
    """Gives a program to HiGHS; returns it with the goal's value for a scaled cost of 1."""
    import highspy

    class Quiet(highspy.Highs):
        """HiGHS without the banner that it prints when callbacks are enabled, before any option could be set."""

        def enableCallbacks(self) -> None:  # noqa: N802
            self.setOptionValue("output_flag", False)
            super().enableCallbacks()  # type: ignore[no-untyped-call]

    solver = Quiet()  # type: ignore[no-untyped-call]
    cost, unit = program.scaled_cost()
    count = len(cost)
    none = np.empty(0, np.int32)
    solver.addCols(count, cost, np.zeros(count), np.array(program.upper), 0, none, none, np.empty(0))
    whole = np.flatnonzero(program.whole).astype(np.int32)
    kinds = np.full(len(whole), highspy.HighsVarType.kInteger)
    solver.changeColsIntegrality(len(whole), whole, kinds)
    for row in program.rows:
        add(solver, row)
    for at, name in enumerate(program.names):
        solver.passColName(at, name)
    for at, row in enumerate(program.rows):
        solver.passRowName(at, row.name)
    return solver, unit


def add(solver: highspy.Highs, row: _ilp.Row) -> None:
    """Adds a row to HiGHS."""
    coefficients, low, high = row.scaled()
    columns = np.array(row.columns, dtype=np.int32)
    solver.addRow(low, high, len(columns), columns, coefficients)
