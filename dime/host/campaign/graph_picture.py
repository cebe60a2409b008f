"""A network's graph as a picture: what crosses at each place, the cuts, and the branches; SVG of our own."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from xml.sax.saxutils import escape

from dime.contract.errors import InputError
from dime.host.campaign.naming import NetworkFacts
from dime.host.common import places
from dime.host.common.units import quantity

WIDTH, LEFT, RIGHT = 1200, 70, 20
TOP, BARS, NAMES, ARCS, BOTTOM = 50, 220, 130, 150, 40
KEPT, LEFT_OUT, BRANCH = "#0b62a4", "#c3cad1", "#b0541e"
LONGEST_NAME = 22


def check(path: str | None) -> None:
    """Makes sure that a picture can be written, before anything is traced.

    Raises:
        InputError: It is no SVG, or exists already.
    """
    if path is not None and not path.endswith(".svg"):
        raise InputError(f"FIGURE {path}: the picture is an SVG; name it FILE.svg")
    if path is not None and os.path.exists(path):
        raise InputError(f"{path} exists already; nothing was overwritten")


def write(facts: NetworkFacts, path: str) -> None:
    """Writes the picture of a network into a new file.

    Raises:
        InputError: The file exists already, or the disk would not take it.
    """
    check(path)
    places.write_new(path, svg(facts).encode())


def svg(facts: NetworkFacts) -> str:
    """Draws a network.

    Args:
        facts: What the device side says of it: name, inputs, operations, places, branches.

    Returns:
        An SVG document: bars of the bytes at each place (logarithmic), cuts dark and named, below them the operations
        in their order with an arc for each tensor that is needed later than by the next one.
    """
    height = TOP + BARS + NAMES + ARCS + BOTTOM
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" '
            'font-size="11">',
            f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
            *_head(facts),
            *_bars(facts),
            *_branches(facts),
            "</svg>",
            "",
        ]
    )


def _x(facts: NetworkFacts, node: float) -> float:
    """Where a node stands; the place behind it lies half a step to its right, the input at -1."""
    return LEFT + (WIDTH - LEFT - RIGHT) * (node + 1.5) / (float(facts["operations"]) + 1.5)


def _head(facts: NetworkFacts) -> Iterator[str]:
    kept = sum(1 for place in facts["places"] if place["kept"])
    inputs = ", ".join(f"{'x'.join(map(str, shape))} {dtype}" for shape, dtype in facts["inputs"])
    told = f"{facts['operations']} operations, {len(facts['places'])} places, {kept} layers"
    yield f'<text x="{LEFT}" y="20" font-size="15">{escape(facts["name"])}</text>'
    yield f'<text x="{LEFT}" y="37">{escape(inputs)}; {told}</text>'
    legend = ((KEPT, "a cut"), (LEFT_OUT, "a place that is left out"), (BRANCH, "a tensor that is needed later on"))
    for number, (colour, what) in enumerate(legend):
        left = WIDTH - 560 + 150 * number + (40 if number == 2 else 0)
        yield f'<rect x="{left}" y="11" width="10" height="10" fill="{colour}"/>'
        yield f'<text x="{left + 14}" y="20">{what}</text>'


def _bars(facts: NetworkFacts) -> Iterator[str]:
    places, floor = facts["places"], TOP + BARS
    sizes = [max(1, place["size_bytes"]) for place in places]
    low, high = math.floor(math.log10(min(sizes))), math.ceil(math.log10(max(sizes)) + 1e-9)
    high = max(high, low + 1)

    def level(size: float) -> float:
        return 8 + (BARS - 12) * (math.log10(max(1, size)) - low) / (high - low)

    for power in range(low, high + 1):
        y = floor - level(10**power)
        yield f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="#e6e9ec"/>'
        yield f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{quantity(10**power, "B")}</text>'
    wide = max(1.0, min(14.0, 0.7 * (WIDTH - LEFT - RIGHT) / (facts["operations"] + 1.5)))
    free = 0.0
    for place in sorted(places, key=lambda one: (bool(one["kept"]), one["node"])):
        x, tall = _x(facts, place["node"] + 0.5), level(place["size_bytes"])
        shapes = " + ".join("x".join(map(str, shape)) or "1" for shape in place["shapes"])
        tip = f"{place['name']}: {shapes}, {quantity(place['size_bytes'], 'B')}; {place['kept'] or 'left out'}"
        yield (
            f'<rect x="{x - wide / 2:.1f}" y="{floor - tall:.1f}" width="{wide:.1f}" height="{tall:.1f}" '
            f'fill="{KEPT if place["kept"] else LEFT_OUT}"><title>{escape(tip)}</title></rect>'
        )
        if place["kept"]:
            end = TOP + BARS + NAMES + ARCS
            yield (
                f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{floor}" y2="{end}" stroke="{KEPT}" stroke-dasharray="2 4" '
                'stroke-opacity="0.5"/>'
            )
            at = free = max(x, free + 12)  # names that would lie on each other are moved on
            name = place["name"] if len(place["name"]) <= LONGEST_NAME else place["name"][: LONGEST_NAME - 1] + "…"
            yield (
                f'<text transform="translate({min(at, WIDTH - 14) + 3:.1f} {floor + 8}) rotate(90)" '
                f'fill="{KEPT}">{escape(name)}</text>'
            )


def _branches(facts: NetworkFacts) -> Iterator[str]:
    ground = TOP + BARS + NAMES + ARCS
    first, last = _x(facts, -1), _x(facts, facts["operations"] - 1)
    yield f'<line x1="{first:.1f}" x2="{last:.1f}" y1="{ground}" y2="{ground}" stroke="#5b6570"/>'
    for node in range(-1, facts["operations"]):
        yield f'<circle cx="{_x(facts, node):.1f}" cy="{ground}" r="1.6" fill="#5b6570"/>'
    yield f'<text x="{first:.1f}" y="{ground + 18}">input</text>'
    yield f'<text x="{last:.1f}" y="{ground + 18}" text-anchor="end">output</text>'
    for start, end in facts["branches"]:
        left, right = _x(facts, start), _x(facts, end)
        tall = 2 * min(ARCS - 12.0, 10 + 0.35 * (right - left))
        middle = (left + right) / 2
        yield (
            f'<path d="M {left:.1f} {ground} Q {middle:.1f} {ground - tall:.1f} {right:.1f} {ground}" fill="none" '
            f'stroke="{BRANCH}" stroke-opacity="0.7"/>'
        )
