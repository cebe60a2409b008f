"""What each link changes, in a sentence a link, for who sees a study for the first time; the report has the rest."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from itertools import groupby

from dime.host.analysis.baselines import Row
from dime.host.common.units import percent, plain, quantity
from dime.host.planning.encoded import Encoded, effect
from dime.host.report import sentences, text_plot
from dime.host.studies.study import LinkStudy, Study

WIDTH = 100
ALL_ON = "all on "


def text(study: Study) -> str:
    """What each link changes, then the trade-offs of the link that has most of them."""
    lines = ["what each link changes"]
    lines += [line for link in study.links for line in _wrapped(headline(link))]
    for missing in study.without_plan:
        lines += _wrapped(f"{missing.name}: no plan, because {missing.reason}")
    lines += [line for text in _sent(study.links) for line in _wrapped(text)]
    chosen = most_to_trade(study)
    if chosen is not None:
        lines += ["", *_trade_offs(chosen)]
    return "\n".join(lines)


def _sent(links: Sequence[LinkStudy]) -> Iterator[str]:
    """How what crosses is sent, what that does to the result, and what sending the input in another way would give."""
    encoded = links[0].problem.terms.encoded
    for place, several in groupby(encoded, key=lambda one: "features" if one.boundary else "input"):
        its = list(several)
        less = sum(one.plain_bytes for one in its) / sum(one.size_bytes for one in its)
        yield (
            f"sent: {place} as {its[0].encoding}, {less:.1f} times fewer bytes; {'at worst ' if len(its) > 1 else ''}"
            f"{effect(*_worst(its), its[0].images)}"
        )
    for at, other in enumerate(links[0].other_inputs):
        gives = [
            f"{link.name} {quantity(link.other_inputs[at].value, link.problem.goal.unit)}"
            for link in links
            if at < len(link.other_inputs) and link.other_inputs[at].value < link.plan.value
        ]
        if gives:
            changes = effect(other.same_class, other.distance, other.images)
            size = quantity(other.size_bytes, "B")
            yield f"with the input as {other.encoding} ({size}; {changes}) the best plans take: {', '.join(gives)}"


def _worst(several: Sequence[Encoded]) -> tuple[float | None, float | None]:
    same = [one.same_class for one in several if one.same_class is not None]
    off = [one.distance for one in several if one.distance is not None]
    return min(same, default=None), max(off, default=None)


def headline(link: LinkStudy) -> str:
    """The answer for one link: ``WiFi: conv1 on nano; conv2..fc3 on pc: 147 ms, 34 % less than all on edge; sure``."""
    return plain(f"{link.name}: {answer(link)}")


def answer(link: LinkStudy) -> str:
    """The same without the link's name."""
    goal = link.problem.goal
    steps = sentences.steps(link.problem, link.plan.choices(link.problem))
    told = f"{steps}: {quantity(link.plan.value, goal.unit)}"
    if goal.kind == "latency" and link.plan.energy_j is not None:
        told += f" and {quantity(link.plan.energy_j, 'J')}"
    saved = [f"{percent(row.gain)} less than {row.name}" for row in alone(link.baselines) if row.gain and row.gain > 0]
    return plain(f"{told}{', ' if saved else ''}{' and '.join(saved)}{_certainty(link)}")


def alone(rows: Sequence[Row]) -> Iterator[Row]:
    """The baselines that run everything on one device."""
    return (row for row in rows if row.name.startswith(ALL_ON))


def most_to_trade(study: Study) -> LinkStudy | None:
    """The link with the most best trade-offs, rather one whose plan is split; None where no link has two.

    A link of which nobody says what sending costs shows no trade-off that one could believe.
    """
    some = [
        (link, len(link.frontier))
        for link in study.links
        if link.frontier is not None and len(link.frontier) > 1 and _has_radio(link)
    ]
    chosen = max(some, key=lambda one: (len({step.device for step in one[0].plan.steps}) > 1, one[1]), default=None)
    return None if chosen is None else chosen[0]


def _has_radio(link: LinkStudy) -> bool:
    joined = [one for one in link.problem.joined.values() if one is not None]
    return not joined or any(one.has_radio for one in joined)


def is_sure(link: LinkStudy) -> bool | None:
    """Whether no other plan may be as good, as far as the measurements tell; None where that is not known."""
    rivals = link.explanation.rivals if link.explanation else ()
    return rivals[0].sure if rivals else None


def _certainty(link: LinkStudy) -> str:
    return {None: "", True: "; sure", False: "; not sure: another plan may be as good"}[is_sure(link)]


def _trade_offs(link: LinkStudy) -> Iterator[str]:
    front = link.frontier
    assert front is not None
    yield f"{plain(link.name)}: {len(front)} best trade-offs of time and energy"
    yield from text_plot.trade_off(link, WIDTH)
    for name, at in (("fastest", 0), ("least energy", len(front) - 1)):
        cost = f"{quantity(float(front.time_s[at]), 's')}, {quantity(float(front.energy_j[at]), 'J')}"
        yield from _wrapped(f"{name}: {cost}: {sentences.steps(link.problem, front.choices(at))}")


def _wrapped(line: str) -> list[str]:
    return textwrap.wrap(plain(line), WIDTH, initial_indent="  ", subsequent_indent="    ", break_on_hyphens=False)
