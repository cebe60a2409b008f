"""A verification computed again: what was measured from its rows, what was predicted from the saved plan."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict, cast

import numpy as np

from dime.contract.errors import DimeError, TableError
from dime.contract.run import RunSpec
from dime.host.bench.lab import THIS_MACHINE
from dime.host.execution import comparison, plans, runs, verification_files
from dime.host.execution.comparison import OF_DEVICES, Compared, Measured, Part, Told
from dime.host.execution.devices import Profiled
from dime.host.execution.plans import Candidate
from dime.host.execution.runs import RanLink, Verification
from dime.host.execution.verification_files import FOLDER, RUNS, SUMMARY
from dime.host.planning import problem_files
from dime.host.planning.problem import Problem
from dime.host.profiles.profiles import load_profile
from dime.host.provenance import compare
from dime.host.provenance.evaluation import FAILS, HOLDS, OPEN, Row
from dime.host.studies.folder import SavedLink, load_study

if TYPE_CHECKING:
    from dime.contract import stages


class Ran(TypedDict):
    """A row of verification.parquet, as far as it is read."""

    link: str
    plan: str
    round: int
    request: int
    fallback: str
    stage: str
    what: str
    device: str
    target: str
    seconds: float
    origin: str


class ToldPlan(TypedDict):
    """A plan's entry in verification.json, as far as it is read before all of it is compared."""

    name: str
    also: list[str]


class ToldLink(TypedDict):
    """The same of a link."""

    name: str
    plans: list[ToldPlan]


# What a verification tells of itself that no row is kept of.
WITHOUT_ROWS = ("kept", "notes", "distance", "effect", "before", "after", "moved", "energies")
ALONE = "back_to_back"  # has rows from version 2 of the table on
NOT_READ = Measured(0.0, None, 0.0, 0.0, 0, 0)


def rows(root: Path, study: str, part: str, newer: bool) -> Iterator[Row]:
    """Computes every verification of a study again.

    Args:
        root: The archive.
        study: The study's folder in it.
        part: What the rows are a part of.
        newer: Whether another version of DIME has made the archive.

    Yields:
        A row for each link whose plans were run, and one for what is not computed again.
    """
    for path in sorted((root / study).glob(f"{FOLDER}/[0-9]*/{SUMMARY}")):
        place = path.relative_to(root).as_posix()
        try:
            yield from _of_one(root, root / study, path.parent, place, part, newer)
        except (DimeError, ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
            yield Row(part, place, "computed again", " ".join(str(error).split())[:200] or repr(error), FAILS)


def _of_one(root: Path, study: Path, folder: Path, place: str, part: str, newer: bool) -> Iterator[Row]:
    said = verification_files.read(folder)
    saved, table = load_study(study), _table(folder / RUNS)
    known = {str(row["stage"]) for row in table}
    for told in cast("list[ToldLink]", said["links"]):
        link = saved.get(told["name"])
        if link is None:
            raise TableError(f"it tells of {told['name']}, which the study has no plan for")
        made = _again(root, study, link, told, [row for row in table if row["link"] == told["name"]])
        again = json.loads(json.dumps(verification_files.summary(made)))
        expected, found = (_comparable(one, known) for one in (told, again["links"][0]))
        different = compare.of_values(expected, found, newer)
        if said["network"] != link.problem.network:
            different.append(compare.Difference("network", said["network"], link.problem.network))
        values = f"{compare.count_of(expected)} values"
        if different:
            yield Row(part, f"{place}: {told['name']}", values, compare.told(different), FAILS)
        else:
            yield Row(part, f"{place}: {told['name']}", values, "equal", HOLDS)
    lacking = [*(cause for cause in (*OF_DEVICES, ALONE) if cause not in known), *WITHOUT_ROWS]
    yield Row(part, f"{place}: {', '.join(lacking)}", "", "no rows are kept of them", OPEN)


def _table(path: Path) -> list[Ran]:
    columns = compare.read(path)
    kept = {name: values for name, values in columns.items() if name != "metadata"} if isinstance(columns, dict) else {}
    return [cast("Ran", dict(zip(kept, one, strict=True))) for one in zip(*kept.values(), strict=True)]


def _comparable(entry: object, known: set[str]) -> object:
    """A link's entry without what no row is kept of."""
    if isinstance(entry, list):
        return [_comparable(one, known) for one in entry]
    if not isinstance(entry, dict):
        return entry
    hidden = WITHOUT_ROWS if ALONE in known else (*WITHOUT_ROWS, ALONE)
    kept = {name: _comparable(one, known) for name, one in entry.items() if name not in hidden}
    if kept.get("cause") in OF_DEVICES and kept["cause"] not in known:
        del kept["measured"]
    return kept


def _again(root: Path, study: Path, link: SavedLink, told: ToldLink, table: Sequence[Ran]) -> Verification:
    devices = _profiled(root, study / told["name"])
    names = [one.name for one in devices]
    points = sum(name.startswith("point ") for plan in told["plans"] for name in (plan["name"], *plan["also"]))
    found, _ = plans.candidates(link, devices, points)
    compared = tuple(_compared(link.problem, one, [row for row in table if row["plan"] == one.name]) for one in found)
    crossed = {one.name for one in found if not one.is_local}
    origins = [row["origin"] for row in table if row["plan"] in crossed]
    ran = RanLink(
        told["name"],
        origins[0] if origins else "measured",
        {(names[a], names[b]): one for (a, b), one in runs.links_of(link.problem, devices, found).items()},
        found,
        compared,
        (),
        link.problem.goal.kind,
    )
    return Verification(study, link.problem.network, tuple(names), tuple({} for _ in names), (ran,), 0.0)


def _profiled(root: Path, place: Path) -> tuple[Profiled, ...]:
    found = []
    for one in problem_files.sources(place):
        folder = (root / one["path"]).parent
        found.append(Profiled(one["device"], RunSpec.read(folder), load_profile(str(folder)), THIS_MACHINE[0]))
    return tuple(found)


def _compared(problem: Problem, one: Candidate, table: Sequence[Ran]) -> Compared:
    requests = _by_round([row for row in table if row["stage"] == "request"])
    if not requests:
        raise TableError(f"{RUNS} has no request of {one.name}")
    is_flow = problem.goal.is_pipeline and not one.is_local
    if is_flow:
        values = [runs.periods(cast("Sequence[stages.Row]", of)) for of in requests]
    else:
        values = [np.array([row["seconds"] for row in of]) for of in requests]
    return Compared(
        one.name,
        one.also,
        one.plan.period_s if problem.goal.is_pipeline else one.plan.latency_s,
        one.interval_s,
        comparison.measure(values),
        () if is_flow else tuple(_stages(one.parts, table)),
        sum(bool(row["fallback"]) for of in requests for row in of),
    )


def _stages(parts: Sequence[Part], table: Sequence[Ran]) -> Iterator[Told]:
    if all(row["fallback"] for row in table):
        return
    for part in parts:
        rows = [row for row in table if row["stage"] == part.cause and row["device"] == part.device]
        if part.cause not in OF_DEVICES:
            rows = [row for row in rows if (row["what"], row["target"]) == (part.what, part.target)]
        times_s = [
            np.array([sum(one["seconds"] for one in of) for of in _by(each, "request")]) for each in _by_round(rows)
        ]
        alone = [row for row in table if row["stage"] == ALONE and part.cause == "compute"]
        alone = [row for row in alone if (row["device"], row["what"]) == (part.device, part.what)]
        alone_s = [np.array([row["seconds"] for row in of]) for of in _by_round(alone)]
        measured, before = (comparison.measure(one) if one else None for one in (times_s, alone_s))
        yield Told(part, measured or NOT_READ, before)


def _by_round(table: Sequence[Ran]) -> list[list[Ran]]:
    return _by(table, "round")


def _by(table: Sequence[Ran], column: str) -> list[list[Ran]]:
    key = itemgetter(column)
    return [list(rows) for _, rows in groupby(sorted(table, key=key), key)]
