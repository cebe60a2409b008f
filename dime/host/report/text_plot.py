"""A small picture of the trade-off in characters: the frontier, the chosen plan, the baselines by letter."""

from __future__ import annotations

import math
import string
from collections.abc import Callable, Sequence
from itertools import product

from dime.host.analysis.baselines import Row
from dime.host.common.units import plain, quantity
from dime.host.planning.plan import Plan
from dime.host.studies.study import LinkStudy

COLUMNS, ROWS = 50, 10
# A frontier of fewer points than rows is drawn in these.
FEW_ROWS = 6
POINT, CHOSEN, SEVERAL = "o", "D", "+"
# Baselines that cost more than this many times the frontier's most are told instead of drawn.
FAR = 1.5
# Axes that span more than this are logarithmic.
LARGEST_SPAN = 12.0
Place = tuple[float, float]


def lettered(rows: Sequence[Row]) -> list[tuple[str, Row]]:
    """DIME's row and the baselines', each with its letter."""
    letters = [CHOSEN, *string.ascii_lowercase, *map("".join, product(string.ascii_lowercase, repeat=2))]
    return list(zip(letters, rows, strict=False))


def trade_off(link: LinkStudy, width: int) -> list[str]:
    """Draws time against energy where there is more than one best trade-off.

    Args:
        link: The study of one link.
        width: Longest line.

    Returns:
        The lines, none where there is nothing to trade.
    """
    front = link.frontier
    if front is None or len(front) < 2:
        return []

    def place(plan: Plan) -> Place:
        time_s = plan.period_s if front.time_name == "period_s" else plan.latency_s
        return float(time_s or 0.0), plan.energy_j or 0.0

    points = list(zip(front.time_s.tolist(), front.energy_j.tolist(), strict=True))
    most = [FAR * max(values) for values in zip(*points, place(link.plan), strict=True)]
    rivals = [(letter, row, place(row.plan)) for letter, row in lettered(link.baselines)[1:] if row.plan]
    near = [(letter, at) for letter, _, at in rivals if at[0] <= most[0] and at[1] <= most[1]]
    every = [*points, place(link.plan), *(at for _, at in near)]
    rows = ROWS if len(points) > FEW_ROWS else FEW_ROWS
    across, up = _scale([x for x, _ in every], COLUMNS), _scale([y for _, y in every], rows)
    cells: dict[tuple[int, int], str] = {(up(y), across(x)): POINT for x, y in points}
    cells[up(place(link.plan)[1]), across(place(link.plan)[0])] = CHOSEN
    together: dict[tuple[int, int], list[str]] = {}
    for letter, (x, y) in near:
        together.setdefault((up(y), across(x)), []).append(letter)
    legend = [f"{POINT} best trade-off", f"{CHOSEN} DIME's plan"]
    for cell, letters in together.items():
        if cells.get(cell) == CHOSEN:
            legend[1] += f", {', '.join(letters)}"
        else:
            cells[cell] = letters[0] if len(letters) == 1 else SEVERAL
            legend += [f"{SEVERAL} {', '.join(letters)}"] if len(letters) > 1 else []
    legend += [
        f"{letter} off: {quantity(at[0], 's')}, {quantity(at[1], 'J')}"
        for letter, _, at in rivals
        if letter not in dict(near)
    ]
    return _render(cells, rows, every, legend, width)


def _scale(values: Sequence[float], count: int) -> Callable[[float], int]:
    """What turns a value into one of ``count`` places, from the least to the largest value."""
    low, high = min(values), max(values)
    view: Callable[[float], float] = math.log if low > 0 and high / low > LARGEST_SPAN else float
    span = view(high) - view(low)
    return lambda value: round((view(value) - view(low)) / span * (count - 1)) if span else count // 2


def _render(
    cells: dict[tuple[int, int], str], rows: int, every: Sequence[Place], legend: Sequence[str], width: int
) -> list[str]:
    times, energies = zip(*every, strict=True)
    ends = {0: quantity(min(energies), "J"), rows - 1: quantity(max(energies), "J")}
    margin = 4 + max(map(len, ends.values()))
    lines = []
    for row in range(rows - 1, -1, -1):
        drawn = "".join(cells.get((row, column), " ") for column in range(COLUMNS))
        lines.append(f"{ends.get(row, '').rjust(margin)} |{drawn}")
    left, right = quantity(min(times), "s"), quantity(max(times), "s")
    lines.append(" " * margin + " +" + "-" * COLUMNS)
    lines.append(" " * (margin + 2) + left + right.rjust(COLUMNS - len(left)))
    *first, last = range(len(lines))
    beside = [legend[at] if at < len(legend) else "" for at in first] + ["; ".join(legend[last:])]
    return [f"{line}  {plain(text)}"[:width].rstrip() for line, text in zip(lines, beside, strict=True)]
