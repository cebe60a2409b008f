"""A study's files: for each link its problem, plan and frontier in a folder of its own, and one report over all."""

from __future__ import annotations

import errno
import os
import re
from itertools import count
from pathlib import Path

from dime.contract import files
from dime.contract.errors import InputError
from dime.contract.run import FRONTIER, PLAN, REPORT
from dime.host.common import places
from dime.host.planning import problem_files
from dime.host.report import page as report
from dime.host.report import terminal
from dime.host.search import solvers
from dime.host.studies.request import Request, made_of
from dime.host.studies.study import Study


def folder(results: str, net: str, out: str | None = None) -> Path:
    """Chooses a folder that does not exist yet.

    Args:
        results: The folder of all results.
        net: The network.
        out: The folder asked for; None takes the next free RESULTS/plans/NET/NUMBER.

    Raises:
        InputError: The folder asked for exists already, or could not be made.
    """
    if out is None:
        found = next(path for n in count(1) if not (path := Path(results) / "plans" / net / f"{n:03}").exists())
    elif Path(out).exists():
        raise InputError(f"{out} exists already; nothing was overwritten")
    else:
        found = Path(out)
    places.check(found)
    return found


def write(
    study: Study,
    into: Path,
    figures: bool = False,
    write_lp: str | None = None,
    command: str = "",
    request: Request | None = None,
) -> str:
    """Writes everything.

    Args:
        study: What was found.
        into: The folder, which must not exist yet.
        figures: Also writes each picture as PNG and SVG.
        write_lp: A file for the integer program of the first link, or None.
        command: The command line that asked for it, for the report.
        request: What was asked for, as data.

    Returns:
        The text for the terminal; it ends with where the files are.

    Raises:
        InputError: A file exists already, or the disk would not take it.
    """
    if write_lp:
        solvers.write_lp(study.links[0].problem, write_lp)
    profiles = made_of(study.profiles)
    aside = into.with_name(f".{into.name}.{os.getpid()}")  # so that a full disk leaves nothing half-written
    try:
        with files.making(into, aside):
            for link in study.links:
                place = aside / re.sub(r"[^A-Za-z0-9._-]+", "_", link.name)
                place.mkdir(parents=True)
                link.plan.write(place / PLAN)
                problem_files.write(link.problem, place, profiles)
                if link.frontier is not None:
                    link.frontier.write(place / FRONTIER)
            report.write(study, aside / REPORT, command)
            if request is not None:
                request.write(aside)
            if figures:
                report.figures(study, aside / report.FIGURES)
            text = terminal.text(study)
    except OSError as error:
        if error.errno == errno.ENOTEMPTY:
            raise InputError(f"{into} exists already; nothing was overwritten") from None
        raise InputError(f"{into}: {error.strerror}") from None
    except InputError as error:
        raise InputError(str(error).replace(str(aside), str(into))) from None
    return f"{text}\nfiles: {into}\n"
