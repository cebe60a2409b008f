"""The frontier: every best trade-off between time and energy that a problem has, exactly."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from dime.contract import schemas
from dime.contract.errors import InfeasibleError, OutOfTimeError
from dime.host.common import places
from dime.host.common.stats import Floats, Ints
from dime.host.common.units import plain, quantity
from dime.host.planning.certificate import Certificate
from dime.host.planning.plan import Plan, describe, one_line
from dime.host.planning.problem import PER_J, PER_S, Choice, Problem
from dime.host.search.solvers import TIME_LIMIT_S, exact

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow


@dataclass(frozen=True, eq=False)
class Frontier:
    """Undominated plans, by ascending time and descending energy; ``frontier(problem)`` makes one.

    Attributes:
        problem: What they solve.
        time_ps: Latency of each; for the goal throughput the slowest stage's time.
        energy_pj: Energy of each; all 0 if the problem has no energy, and then there is one point.
        complete: Whether these are all there are: False if time ran out.
        choices: Gives the steps of the k-th point.
    """

    problem: Problem
    time_ps: Ints
    energy_pj: Ints
    complete: bool
    choices: Callable[[int], tuple[Choice, ...]]

    def __len__(self) -> int:
        return len(self.time_ps)

    def __repr__(self) -> str:
        whole = "every one" if self.complete else "not all: time ran out"
        lines = [f"Frontier of {self.problem.network}: {len(self)} best trade-offs of time and energy, {whole}"]
        lines += [
            f"  {name}: {quantity(float(self.time_s[at]), 's')}, {quantity(float(self.energy_j[at]), 'J')}"
            for name, at in (("fastest", 0), ("least energy", -1))
            if len(self)
        ]
        return "\n".join(map(plain, lines))

    @property
    def time_name(self) -> str:
        """``latency_s``, or ``period_s`` for the goal throughput."""
        return self.problem.goal.time_name

    @property
    def time_s(self) -> Floats:
        """The first axis in seconds."""
        return self.time_ps / PER_S

    @property
    def energy_j(self) -> Floats:
        """The second axis in joules."""
        return self.energy_pj / PER_J

    @cached_property
    def knee(self) -> int:
        """The point farthest below the straight line from the fastest to the most frugal, both axes scaled to 0..1."""
        if len(self) < 3:
            return 0
        x = (self.time_s - self.time_s[0]) / (self.time_s[-1] - self.time_s[0])
        y = (self.energy_j - self.energy_j[-1]) / (self.energy_j[0] - self.energy_j[-1])
        return int(np.argmin(x + y))

    def plan(self, at: int) -> Plan:
        """The plan of a point; negative positions count from the end."""
        at = range(len(self))[at]
        certificate = Certificate("undominated", "exact", exact.version(), complete=self.complete)
        return describe(self.problem, self.choices(at), certificate)

    def table(self, plans: bool = True) -> pd.DataFrame:
        """One row a point: time, energy, whether it is the knee, (``plans``) the bundles with frequency and device."""
        import pandas as pd

        columns = {self.time_name: self.time_s, "energy_j": self.energy_j, "knee": np.arange(len(self)) == self.knee}
        table: pd.DataFrame = pd.DataFrame(columns)
        if plans:
            table["plan"] = [one_line(self.problem, self.choices(at)) for at in range(len(self))]
        return table

    def write(self, path: str | os.PathLike[str], plans: bool = True) -> None:
        """Writes frontier.parquet with the columns of ``table`` and (``plans``) ``steps``, the plan as data.

        ``steps`` is a JSON list of [first layer, last layer, device's position, frequency in Hz]. The file's metadata
        say its schema, its version, the batch, and whether the frontier is complete.

        Raises:
            InputError: The file exists already, or the disk would not take it.
        """
        import pyarrow
        from pyarrow import parquet

        # Columns are made of buffers: pyarrow.array would import pandas, which takes a second.
        columns = {
            self.time_name: _column(pyarrow.float64(), self.time_s),
            "energy_j": _column(pyarrow.float64(), self.energy_j),
            "knee": _column(
                pyarrow.bool_(), np.packbits(np.arange(len(self)) == self.knee, bitorder="little"), len(self)
            ),
        }
        if plans:
            choices = [self.choices(at) for at in range(len(self))]
            columns["plan"] = _texts([one_line(self.problem, plan) for plan in choices])
            columns["steps"] = _texts([json.dumps([[*bundle, *where] for bundle, *where in plan]) for plan in choices])
        about = {"schema": schemas.FRONTIER.name, "version": str(schemas.FRONTIER.version)}
        about["complete"] = str(self.complete).lower()
        about["batch"] = str(self.problem.batch)
        content = pyarrow.Table.from_arrays(list(columns.values()), list(columns)).replace_schema_metadata(about)
        written = pyarrow.BufferOutputStream()
        parquet.write_table(content, written)
        places.write_new(path, written.getvalue().to_pybytes())


def _column(kind: pyarrow.DataType, values: NDArray[np.generic], count: int | None = None) -> pyarrow.Array:
    import pyarrow

    buffer = pyarrow.py_buffer(np.ascontiguousarray(values))
    return pyarrow.Array.from_buffers(kind, len(values) if count is None else count, [None, buffer])


def _texts(values: Sequence[str]) -> pyarrow.Array:
    import pyarrow

    builder = pyarrow.lib.StringBuilder()
    builder.append_values(list(values))
    return builder.finish()


def frontier(problem: Problem, time_limit_s: float = TIME_LIMIT_S) -> Frontier:
    """Finds every undominated plan that keeps the problem's limits.

    Args:
        problem: The problem. Its goal only matters if it is throughput: then the first axis is the slowest stage.
        time_limit_s: Longest wall time.

    Returns:
        The frontier; ``complete`` says whether it is all of it.

    Raises:
        InfeasibleError: No plan keeps the limits.
        OutOfTimeError: Not a single point was found in the time.
    """
    found = exact.trade_offs(problem, time_limit_s)
    if not len(found.time_ps):
        if not found.complete:
            raise OutOfTimeError(f"no point of the frontier was found in {time_limit_s:g} s; give it more time")
        from dime.host.search.conflict import explain

        raise InfeasibleError(explain(problem, time_limit_s))
    return Frontier(problem, found.time_ps, found.energy_pj, found.complete, found.choices)
