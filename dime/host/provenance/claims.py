"""claims.toml: what a paper says, each with the file and the value that back it; made by DIME, edited by a person."""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeGuard

import numpy as np

from dime.contract.errors import InputError, TableError
from dime.contract.run import FRONTIER, PLAN
from dime.host.common.units import quantity
from dime.host.planning.plan import Plan, read_plan
from dime.host.provenance import compare
from dime.host.provenance.evaluation import FAILS, HOLDS, Row
from dime.host.provenance.steps import leads_outside

CLAIMS = "claims.toml"
PART = "claims"
HEAD = """\
# What is claimed, and what backs it. Edit it as your paper says it; an edited file is kept when the artifact is made
# again.
#   says       the claim, in your words; name the table or figure
#   file       where its number stands; command makes that file from the raw data in this archive
#   value      the number's place in it: latency_s, data.links[0].plan.value, column[row], column.count
#   expected   what you print; tolerance is relative
#   minutes    of the short way, from the archived data, without a network: about, README.md says by what;
#              full_minutes, disk_mb and hardware of the full one, which measures again (make repeat-artifact): as long
#              as the archived profiles took, and the size of the archive's data
"""
LARGEST = 1 << 22
MOST = 10_000


@dataclass(frozen=True)
class Claim:
    """One claim; see HEAD for its fields."""

    says: str
    command: str
    file: str
    value: str
    expected: float | str
    tolerance: float = compare.TOLERANCE
    minutes: float = 1
    full_minutes: float = 0
    disk_mb: float = 0
    hardware: str = "none"


def of_study(
    root: Path, study: str, command: str, full_minutes: float, disk_mb: float, hardware: str
) -> Iterator[Claim]:
    """What a study claims by itself: for each link what the plan costs, and how many best trade-offs there are.

    Args:
        root: The archive.
        study: The study's folder in it.
        command: The command that makes it.
        full_minutes: How long measuring took.
        disk_mb: What the data take.
        hardware: What was measured on.
    """
    rest = (compare.TOLERANCE, 1.0, full_minutes, disk_mb, hardware)
    for path in sorted((root / study).glob(f"*/{PLAN}")):
        plan, place = read_plan(path), path.relative_to(root).as_posix()
        for name, number, unit in _numbers(plan):
            what = f"{quantity(number, unit)} {name}"
            says = f"{plan.network} over {plan.links}: the plan with the best {plan.goal} has {what}"
            value = f"{name}_{unit.lower()}"
            yield Claim(says, command, place, value, number, *rest)
        front = path.with_name(FRONTIER)
        if front.is_file():
            count = len(compare.column(front, "energy_j"))
            says = f"{plan.network} over {plan.links}: there are {count} best trade-offs of time and energy"
            yield Claim(says, command, front.relative_to(root).as_posix(), "energy_j.count", count, 0.0, *rest[1:])


def _numbers(plan: Plan) -> Iterator[tuple[str, float, str]]:
    yield "latency", plan.latency_s, "s"
    if plan.energy_j is not None:
        yield "energy", plan.energy_j, "J"


def text(claims: Sequence[Claim]) -> str:
    """The file."""
    parts = [HEAD]
    for claim in claims:
        parts.append("\n[[claim]]\n" + "".join(f"{name} = {_toml(value)}\n" for name, value in vars(claim).items()))
    return "".join(parts)


def _toml(value: object) -> str:
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return repr(value)


def read(path: Path) -> tuple[Claim, ...]:
    """Reads claims.

    Raises:
        TableError: The file cannot be read, or is no list of claims; the claim is named.
    """
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib  # type: ignore[import-not-found,unused-ignore]
    try:
        with open(path, encoding="utf-8") as stream:
            said = tomllib.loads(stream.read(LARGEST)).get("claim", [])
    except OSError as error:
        raise TableError(f"{path}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise TableError(f"{path} is damaged: {' '.join(str(error).split())}") from None
    if not isinstance(said, list) or len(said) > MOST:
        raise TableError(f"{path} is damaged: claims stand below [[claim]], at most {MOST}")
    return tuple(_claim(one, f"{path}, claim {number}") for number, one in enumerate(said, 1))


def _claim(said: object, where: str) -> Claim:
    known = Claim.__dataclass_fields__
    if not isinstance(said, Mapping):
        raise TableError(f"{where}: it is no table")
    strange = [name for name in said if name not in known]
    missing = [name for name in ("says", "file", "value", "expected") if name not in said]
    if strange or missing:
        raise TableError(
            f"{where}: it lacks {', '.join(missing) or 'nothing'} and has unknown {', '.join(strange) or 'nothing'}"
        )
    claim = Claim(**{"command": "", **said})
    texts = (claim.says, claim.command, claim.file, claim.value, claim.hardware)
    numbers = (claim.tolerance, claim.minutes, claim.full_minutes, claim.disk_mb)
    if not all(isinstance(one, str) for one in texts) or not all(_is_number(one) and one >= 0 for one in numbers):
        raise TableError(f"{where}: a text or a number is none")
    if not isinstance(claim.expected, str) and not _is_number(claim.expected):
        raise TableError(f"{where}: expected is neither a number nor a text")
    if leads_outside(claim.file):
        raise TableError(f"{where}: {claim.file[:100]} leads out of the archive")
    return claim


def _is_number(value: object) -> TypeGuard[int | float]:
    return compare.is_number(value) and math.isfinite(value)


def rows(root: Path, made: Path) -> Iterator[Row]:
    """Holds each claim against the file that was made again, or where no step makes it against the archive's own.

    Args:
        root: The archive.
        made: The folder of what was made again.

    Raises:
        TableError: The claims cannot be read.
    """
    for claim in read(root / CLAIMS):
        path = made / claim.file if (made / claim.file).is_file() else root / claim.file
        expected = str(claim.expected)
        try:
            found = look_up(compare.read(path), claim.value)
        except (OSError, InputError, TableError) as error:
            yield Row(PART, claim.says, expected, f"{claim.file}: {error}", FAILS)
            continue
        yield Row(PART, claim.says, expected, str(found), HOLDS if _same(claim, found) else FAILS)


def _same(claim: Claim, found: object) -> bool:
    if isinstance(claim.expected, str):
        return str(found) == claim.expected
    return _is_number(found) and compare.same_number(float(claim.expected), float(found), claim.tolerance)


def look_up(document: object, place: str) -> object:
    """A value of a document or table by its place, such as ``data.links[0].plan.value`` or ``energy_j.count``.

    Raises:
        InputError: There is nothing there.
    """
    value = document
    for name in re.findall(r"\[-?\d+\]|[^.\[\]]+", place):
        try:
            if isinstance(value, Mapping):
                value = value[name]
            elif name.startswith("[") and isinstance(value, (list, np.ndarray)):
                value = value[int(name[1:-1])]
            elif name == "count" and isinstance(value, (list, np.ndarray)):
                value = len(value)
            else:
                raise KeyError(name)
        except (KeyError, IndexError, TypeError):
            raise InputError(f"it has no {place}: nothing at {name}") from None
    if isinstance(value, (dict, list)):
        raise InputError(f"{place} is no single value")
    return value
