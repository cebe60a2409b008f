"""The published tables: sweeps over limits on energy and latency, private layers and the choice of frequencies.

| file | question | columns |
|---|---|---|
| NET_EDGE_min_lat_df.csv | least latency for each limit on energy | lat, energy, energy_constr, frequency_setting, conn, edge_bundle |
| NET_EDGE_min_energy_df.csv | least energy for each limit on latency | lat, lat_constr, energy, frequency_setting, conn, edge_bundle |
| NET_EDGE_privacy_df.csv | least energy with the first k layers on the device | lat, energy, frequency_setting, conn, edge_bundle, num_private_layers |
| NET_EDGE_frequency_df.csv | both sweeps with all frequencies, the fastest, the slowest | frequencies, and those above |

Units are the published ones: lat in s, energy in uJ. ``frequency_setting`` and ``edge_bundle`` are frequency and bundle on
the edge device, joined by ``|`` where it has several, empty where it has none; ``conn`` is the link. The 20 limits are
the published grid, evenly spaced from the least that any plan needs to the most that any plan would take, the worst plan
included. All limits are answered from one complete frontier, with the same optima as 40 separate solves.
"""  # noqa: E501

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dime.contract import files, schemas
from dime.contract.bundles import spell
from dime.contract.errors import InfeasibleError, InputError
from dime.host.common import places
from dime.host.common.stats import Ints
from dime.host.planning.evaluation import evaluate
from dime.host.planning.problem import PER_J, PER_S, Choice, Problem
from dime.host.search.frontier import Frontier, frontier
from dime.host.search.quantities import as_problem
from dime.host.search.solvers import TIME_LIMIT_S, exact

if TYPE_CHECKING:
    import pandas as pd

POINTS = 20
UJ_PER_J = 1e6
FREQUENCIES = ("free", "fastest", "slowest")


@dataclass(frozen=True)
class Answer:
    """The best plan under one limit.

    Attributes:
        limit: The limit, s or J.
        latency_s: Latency of the plan, or None where no plan keeps the limit; so for the next two.
        energy_j: Its energy.
        choices: Its steps.
    """

    limit: float
    latency_s: float | None
    energy_j: float | None
    choices: tuple[Choice, ...] | None


def least_latency(front: Frontier, limits_pj: Ints) -> list[Answer]:
    """The fastest plan within each limit on energy; of equally fast ones the most frugal."""
    # Energy falls along the frontier: the first point within the limit is the fastest.
    places = np.searchsorted(-front.energy_pj, -limits_pj, side="left")
    return _answers(front, (limits_pj / PER_J).tolist(), places)


def least_energy(front: Frontier, limits_ps: Ints) -> list[Answer]:
    """The most frugal plan within each limit on latency; of equally frugal ones the fastest."""
    places = np.searchsorted(front.time_ps, limits_ps, side="right") - 1
    return _answers(front, (limits_ps / PER_S).tolist(), places)


def worst(problem: Problem, quantity: str) -> int:
    """The most that any plan takes which keeps the limits, as the published sweeps' last limit.

    A longest path is a shortest one where every cost c becomes U - c. So that every plan has the same number of U,
    each bundle counts one for each of its layers and for each boundary inside it, each boundary it ends at one more.

    With radios that stay up it is the most of the plans that look worst where each transfer brings its radio up.

    Args:
        problem: The problem.
        quantity: ``latency`` or ``energy``.

    Returns:
        Picoseconds or picojoules.
    """
    own = problem.true_costs[quantity == "energy"]
    first, last = problem.bounds
    length = (last - first + 1)[:, None]
    per_layer = max(int((-(-cost // length)).max(initial=0)) for cost in own.of_devices)
    per_boundary = int(own.crossing.max())
    mirrored = replace(
        own,
        of_devices=[length * per_layer + (length - 1) * per_boundary - cost for cost in own.of_devices],
        crossing=per_boundary - own.crossing,
    )
    nothing = replace(own, of_devices=list(map(np.zeros_like, own.of_devices)), crossing=np.zeros_like(own.crossing))
    upside_down = as_problem(problem, mirrored, nothing, "latency")
    solution = exact.solve(upside_down, TIME_LIMIT_S, 0.0)
    if solution.choices is None:
        raise InfeasibleError("no plan keeps the limits of the sweep")
    totals = evaluate(problem, solution.choices)
    return totals.latency_ps if quantity == "latency" else totals.energy_pj


def grids(problem: Problem, front: Frontier, points: int = POINTS) -> tuple[Ints, Ints]:
    """The published limits, evenly spaced from the least to the worst: on latency (ps) and on energy (pJ)."""
    ends = (front.time_ps[0], worst(problem, "latency")), (front.energy_pj[-1], worst(problem, "energy"))
    latency, energy = (np.rint(np.linspace(*end, points)).astype(np.int64) for end in ends)
    # The ends are exact, whatever linspace makes of large numbers.
    latency[0], energy[0] = ends[0][0], ends[1][0]
    return latency, energy


@dataclass(frozen=True, eq=False)
class Sweeps:
    """The four tables by file name, the links that are in none each with its reason, and the file about the tables."""

    tables: dict[str, pd.DataFrame]
    without_plan: dict[str, str]
    about: str = ""


def tables(problems: Mapping[str, Problem], points: int = POINTS) -> Sweeps:
    """All four tables.

    Args:
        problems: The link's name -> the problem. Its goal and its limits on latency and energy are not used; all other
            limits hold.
        points: Number of limits in a sweep.

    Returns:
        The tables, the rows of all links in the order given.

    Raises:
        InputError: There is no energy to trade, or fewer than two points.
        InfeasibleError: On no link a plan keeps the other limits.
    """
    import pandas as pd

    without: dict[str, str] = {}
    if points < 2:
        raise InputError(f"a sweep needs at least 2 points, not {points}")
    parts: dict[str, list[pd.DataFrame]] = {"min_lat": [], "min_energy": [], "privacy": [], "frequency": []}
    for link, given in problems.items():
        if not given.has_energy:
            raise InputError(f"the profile of {given.devices[0].name} has no energy: a sweep trades it against latency")
        problem = _unlimited(given)
        try:
            front = frontier(problem)
        except InfeasibleError as error:
            without[link] = str(error)
            continue
        limits_ps, limits_pj = grids(problem, front, points)
        parts["min_lat"].append(_table(problem, link, least_latency(front, limits_pj), "energy_constr"))
        parts["min_energy"].append(_table(problem, link, least_energy(front, limits_ps), "lat_constr"))
        parts["privacy"].append(_privacy(problem, link))
        parts["frequency"].append(_frequencies(problem, link, limits_ps, limits_pj))
    if without and not parts["min_lat"]:
        raise InfeasibleError("; ".join(f"{link}: {reason}" for link, reason in without.items()))
    if not problems:
        return Sweeps({}, {})
    one = next(iter(problems.values()))
    stem = f"{one.network}_{one.devices[0].name}"
    joined = {f"{stem}_{name}_df.csv": pd.concat(tables, ignore_index=True) for name, tables in parts.items()}
    return Sweeps(joined, without, f"{stem}_sweeps.json")


def write(made: Sweeps, folder: str | Path) -> list[Path]:
    """Writes all four tables as CSV into a folder, which is made if it is not there, and beside them what they are.

    Returns:
        The files.

    Raises:
        InputError: A file exists already, or the disk would not take it.
    """
    paths = [Path(folder) / name for name in made.tables]
    about = [path.with_name(made.about) for path in paths[:1]]
    for path in paths + about:
        if path.exists():
            raise InputError(f"{path} exists already; nothing was overwritten")
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        for path, table in zip(paths, made.tables.values(), strict=True):
            places.write_new(path, table.to_csv(index=False).encode())
        for path in about:
            said = schemas.stamped(schemas.SWEEPS, {}, **dict.fromkeys(made.tables, schemas.SWEEP))
            places.write_new(path, files.as_json(said))
    except OSError as error:
        raise InputError(f"{folder}: {error.strerror}") from None
    return paths


def _unlimited(problem: Problem) -> Problem:
    return problem.with_goal("latency").with_limits(replace(problem.limits, latency_s=None, energy_j=None))


def _answers(front: Frontier, limits: list[float], places: Ints) -> list[Answer]:
    choices = cache(front.choices)
    return [
        Answer(limit, float(front.time_s[at]), float(front.energy_j[at]), choices(at))
        if 0 <= at < len(front)
        else Answer(limit, None, None, None)
        for limit, at in zip(limits, places.tolist(), strict=True)
    ]


def _privacy(problem: Problem, link: str) -> pd.DataFrame:
    """Least energy for each number of layers, 0 to N, that must stay on the edge device."""
    answers = []
    for count in range(len(problem.layers) + 1):
        restricted = problem.with_goal("energy").with_limits(replace(problem.limits, private_layers=count))
        choices = exact.solve(restricted, TIME_LIMIT_S, 0.0).choices
        totals = evaluate(problem, choices) if choices is not None else None
        answers.append(
            Answer(
                count,
                None if totals is None else totals.latency_ps / PER_S,
                None if totals is None else totals.energy_pj / PER_J,
                choices,
            )
        )
    table = _table(problem, link, answers, "num_private_layers")
    table["num_private_layers"] = table.pop("num_private_layers")
    return table


def _frequencies(problem: Problem, link: str, limits_ps: Ints, limits_pj: Ints) -> pd.DataFrame:
    import pandas as pd

    parts = []
    for frequencies in FREQUENCIES:
        try:
            front = frontier(restrict_frequencies(problem, frequencies))
        except InfeasibleError:
            continue
        for answers, name in (
            (least_latency(front, limits_pj), "energy_constr"),
            (least_energy(front, limits_ps), "lat_constr"),
        ):
            part = _table(problem, link, answers, name)
            part.insert(0, "goal", "min_lat" if name == "energy_constr" else "min_energy")
            part.insert(0, "frequencies", frequencies)
            parts.append(part)
    order = ["frequencies", "goal", "lat", "energy", "energy_constr", "lat_constr", "frequency_setting", "conn"]
    joined: pd.DataFrame = pd.concat(parts, ignore_index=True)[[*order, "edge_bundle"]]
    return joined


def restrict_frequencies(problem: Problem, frequencies: str) -> Problem:
    """The same problem with all frequencies (``free``), the ``fastest`` or the ``slowest`` that limits leave."""
    if frequencies == "free":
        return problem
    choose = max if frequencies == "fastest" else min
    allowed = {
        device.name: (choose(problem.limits.frequencies_hz.get(device.name, device.frequencies_hz)),)
        for device in problem.devices
    }
    return problem.with_limits(replace(problem.limits, frequencies_hz=allowed))


def _table(problem: Problem, link: str, answers: list[Answer], limit: str) -> pd.DataFrame:
    """One row a limit, in the published order of columns."""
    import pandas as pd

    edge = [[c for c in answer.choices or () if c.device == 0] for answer in answers]
    # A published limit on energy is in uJ; one on latency in s and a number of layers stay what they are.
    limits = [answer.limit * (UJ_PER_J if limit == "energy_constr" else 1) for answer in answers]
    columns = {
        "lat": [answer.latency_s for answer in answers],
        "energy": [None if answer.energy_j is None else answer.energy_j * UJ_PER_J for answer in answers],
        limit: [int(value) for value in limits] if limit == "num_private_layers" else limits,
        "frequency_setting": ["|".join(str(choice.frequency_hz) for choice in steps) for steps in edge],
        "conn": [link] * len(answers),
        "edge_bundle": ["|".join(spell(choice.bundle, list(problem.layers)) for choice in steps) for steps in edge],
    }
    order = list(columns)
    if limit == "lat_constr":
        order.remove(limit)
        order.insert(1, limit)
    frame: pd.DataFrame = pd.DataFrame(columns)[order].astype({"lat": float, "energy": float})
    return frame
