"""Studies side by side: what each says for each link, and by how much the others differ from the first."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Sequence
from itertools import groupby

from dime.contract.errors import InputError
from dime.host.common.units import percent, plain, quantity
from dime.host.planning.plan import Plan, Step
from dime.host.studies.folder import load_study

WIDTH = 100
NAME, FIGURE, CHANGE = 30, 10, 12


def text(folders: Sequence[str | os.PathLike[str]]) -> str:
    """Puts studies side by side.

    Args:
        folders: Studies' folders, as ``dime solve`` has named them.

    Returns:
        For each link that any of them has, a line a study: latency and energy, their difference from the first
        study's, and the plan.

    Raises:
        InputError: There are fewer than two.
        TableError: One is no study's folder, or damaged.
    """
    if len(folders) < 2:
        raise InputError("a comparison needs at least two studies' folders")
    names = _names(folders)
    studies = [{name: link.plan for name, link in load_study(folder).items()} for folder in folders]
    links = list(dict.fromkeys(name for study in studies for name in study))
    lines = [_line("study", "latency", "", "energy", "")]
    for link in links:
        lines.append(plain(link))
        first = next((study[link] for study in studies if link in study), None)
        for name, study in zip(names, studies, strict=True):
            lines += _study(name, study.get(link), first)
    lines.append("differences: of the first study that has the link")
    return "\n".join(line.rstrip() for line in lines)


def _names(folders: Sequence[str | os.PathLike[str]]) -> list[str]:
    """What tells the folders apart: their paths without the parts that all of them begin with."""
    parts = [os.path.normpath(os.fspath(folder)).split(os.sep) for folder in folders]
    shortest = min(len(one) for one in parts) - 1
    common = next((at for at in range(shortest) if len({one[at] for one in parts}) > 1), shortest)
    return ["/".join(one[common:]) for one in parts]


def _study(name: str, plan: Plan | None, first: Plan | None) -> list[str]:
    shown = f"  {_cut(name, NAME - 2)}"
    if plan is None:
        return [f"{shown}: has no plan for it"]
    changes = ["", ""]
    if plan is not first and first is not None:
        changes = [_change(plan.latency_s, first.latency_s), _change(plan.energy_j, first.energy_j)]
    line = _line(shown, quantity(plan.latency_s, "s"), changes[0], quantity(plan.energy_j, "J"), changes[1])
    return [line, *textwrap.wrap(plain(steps(plan)), WIDTH, initial_indent=" " * 6, subsequent_indent=" " * 8)]


def steps(plan: Plan) -> str:
    """A plan in a line, by what stands in its file."""
    shown = []
    for device, held in groupby(plan.steps, key=lambda step: step.device):
        shown.append(f"{' + '.join(map(_step, held))} on {device}")
    return "; ".join(shown)


def _step(step: Step) -> str:
    return step.bundle if step.frequency_hz < 0 else f"{step.bundle} at {quantity(step.frequency_hz, 'Hz')}"


def _change(value: float | None, first: float | None) -> str:
    if value is None or not first:
        return ""
    part = value / first - 1
    return "the same" if abs(part) < 5e-4 else f"{'+' if part > 0 else '-'}{percent(abs(part))}"


def _line(name: str, *cells: str) -> str:
    widths = (FIGURE, CHANGE, FIGURE, CHANGE)
    return plain(name.ljust(NAME) + "".join(cell.rjust(wide) for cell, wide in zip(cells, widths, strict=True)))


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"…{text[1 - most :]}"
