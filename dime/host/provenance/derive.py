"""Everything computed again from the raw rows, and compared; the optimum asked of a second solver."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path, PurePosixPath

import dime
from dime.contract.errors import DimeError, InputError, TableError
from dime.contract.run import PLAN
from dime.host.planning.links import FOLDER, RESULTS
from dime.host.planning.plan import SAME
from dime.host.profiles import link_profile
from dime.host.provenance import compare, software, steps, verified
from dime.host.provenance.document import Artifact
from dime.host.provenance.evaluation import FAILS, HOLDS, OPEN, PICTURES, Row
from dime.host.provenance.steps import Step
from dime.host.search import solvers
from dime.host.studies.folder import SavedLink, load_study

PART = "re-derived"
SECOND = "highs"
SECOND_S = 60.0
# Plans have terms from this version of plan.json on; what knew none is made again without them.
WITH_TERMS = 3
BEFORE_TERMS = ("--terms=none", "--joules=all")


def rows(root: Path, said: Artifact, work: Path) -> Iterator[Row]:
    """Derives everything again.

    Args:
        root: The archive.
        said: What it says of itself.
        work: An empty folder; what is made again stays there.

    Yields:
        A row for each file that a step makes, for each link's plan what ``check`` and a second solver say, for each
        verification and each measured link whether it is what its raw rows give.
    """
    newer = (said.dime, said.revision) != (dime.__version__, software.revision())
    for step in said.steps:
        plans = step.words[0] in ("solve", "sweep")
        failure = steps.run(step, root, work, BEFORE_TERMS if plans and _before_terms(root, step) else ())
        if failure:
            yield Row(PART, step.line, "runs", failure, FAILS)
            continue
        yield from (_output(root / path, work / path, path, said, newer) for path in step.outputs)
    for study in said.studies:
        if any((root / study).glob(f"*/{PLAN}")):
            yield from _plans(root, study)
            yield from verified.rows(root, study, PART, newer)
    yield from _links(root, newer)


def _links(root: Path, newer: bool) -> Iterator[Row]:
    """Fits each measured link again, from the raw rows of its exchanges."""
    for path in sorted((root / RESULTS / FOLDER).glob(f"*/*/{link_profile.DOCUMENT}")):
        place = path.relative_to(root).as_posix()
        try:
            said, rows = link_profile.read(path.parent), link_profile.read_transfers(path.with_name(link_profile.TABLE))
            again = link_profile.fit(rows, said.name, said.edge, said.server, said.origin, **said.about)
            expected, found = (json.loads(json.dumps(asdict(replace(one, path="")))) for one in (said, again))
            different = compare.of_values(expected, found, newer)
        except DimeError as error:
            yield Row(PART, place, "fitted again", str(error), FAILS)
            continue
        told = compare.told(different) if different else "equal"
        yield Row(PART, place, f"{compare.count_of(expected)} values", told, FAILS if different else HOLDS)


def _before_terms(root: Path, step: Step) -> bool:
    """Whether a step was done by a version that knew no terms beside computing and sending.

    Its plan says so; of a sweep, which has none, those of the archive do.
    """
    plans = [root / path for path in step.outputs if PurePosixPath(path).name == PLAN]
    for path in plans or sorted(root.glob(f"**/{PLAN}")):
        try:
            return int(json.loads(path.read_text(encoding="utf-8")).get("version", 1)) < WITH_TERMS
        except (OSError, ValueError, TypeError, AttributeError):
            return False  # that it is damaged is told elsewhere
    return False


def _output(expected: Path, found: Path, path: str, said: Artifact, newer: bool) -> Row:
    try:
        different = compare.of_files(expected, found, newer)
        count = compare.count(expected)
    except TableError as error:
        return Row(PART, path, "readable", str(error), FAILS)
    values = "1 value" if count == 1 else f"{count} values"
    if not different:
        return Row(PART, path, values, "equal", HOLDS)
    if expected.suffix in PICTURES and found.is_file():
        here, there = software.versions().get("matplotlib"), said.versions.get("matplotlib")
        if here != there or newer:
            return Row(PART, path, f"drawn by matplotlib {there}", f"drawn by {here}: not comparable", OPEN)
    return Row(PART, path, values, compare.told(different), FAILS)


def _plans(root: Path, study: str) -> Iterator[Row]:
    try:
        links = load_study(root / study)
    except DimeError as error:
        yield Row(PART, study, "a study", str(error), FAILS)
        return
    for name, link in links.items():
        what = f"{study}/{name}"
        try:
            link.check()
            yield Row(PART, f"{what}: sums and limits of every plan", "recomputed", "equal", HOLDS)
        except InputError as error:
            yield Row(PART, f"{what}: sums and limits of every plan", "recomputed", str(error), FAILS)
        yield _second(link, f"{what}: the optimum, by another solver")


def _second(link: SavedLink, what: str) -> Row:
    """Asks another solver whether there is anything better."""
    claimed = link.certificate
    if not claimed.proven or claimed.chance is not None:
        reason = "no optimum is claimed" if claimed.chance is None else "a limit with a probability is not linear"
        return Row(PART, what, "", reason, OPEN)
    reasons: list[str] = []
    for name in (SECOND, "gurobi"):
        against = solvers.reason_against(name, link.problem)
        if against is not None:
            reasons.append(against)
            continue
        other = solvers.load(name).solve(link.problem, SECOND_S, 0.0)
        if other.status != "optimal" or other.objective is None:
            reasons.append(f"{other.version} did not finish in {SECOND_S:g} s")
            continue
        bound = link.plan.value if claimed.bound is None else claimed.bound
        same = bound * (1 - SAME) <= other.objective and link.plan.value <= other.objective * (
            1 + SAME + (claimed.gap or 0)
        )
        found = f"{other.objective:.9g} by {other.version}"
        return Row(PART, what, f"{link.plan.value:.9g}", found, HOLDS if same else FAILS)
    return Row(PART, what, f"{link.plan.value:.9g}", "; ".join(reasons), OPEN)
