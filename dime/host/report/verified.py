"""Plans that were run, as lines for the terminal and as data for the page."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence

from dime.host.common.units import percent, plain, quantity
from dime.host.execution.comparison import Compared, Told
from dime.host.execution.joules import Energy
from dime.host.execution.plans import Candidate
from dime.host.execution.runs import RanLink, Verification

WIDTH = 100
LINK, NAME = 6, 22
SAID = {
    "crossing": "crossing",
    "compute": "compute",
    "copies": "copies to and from the GPU",
    "clock": "change of clock",
    "encoding": "encoding",
    "overhead": "overhead",
}


def text(found: Verification) -> str:
    """What a person sees at the end: for each link a line a plan, and which is the best of those that were run."""
    return "\n".join(line for link in found.links for line in _link(link))


def _link(link: RanLink) -> Iterator[str]:
    label, indent = plain(link.name), " " * (LINK + 1)
    figures = [_figure(one.predicted_s, one.predicted_interval_s) for one in link.compared]
    widest = max(map(len, figures))
    for one, compared, predicted in zip(link.candidates, link.compared, figures, strict=True):
        verdict = {True: "holds", False: "does not hold", None: "no verdict"}[compared.holds]
        measured = _figure(compared.measured.mean_s, compared.measured.interval_s)
        name = _cut(f"{one.letter or '*'} {plain(one.name)}", NAME)
        yield (
            f"{label:<{LINK}} {name:<{NAME}} predicted {predicted:<{widest}}  measured {measured}"
            f"  {compared.error:+.1%}  {verdict}"
        )
        if compared.holds is False and compared.cause is not None:
            yield f"{indent}  most of it: {_cause(compared.cause)}"
            if compared.meanwhile_s is not None:
                meanwhile = quantity(compared.meanwhile_s, "s")
                yield f"{indent}  with each bundle as fast as it was back to back meanwhile: {meanwhile}"
        for line in _encoded(one, compared):
            yield from textwrap.wrap(line, WIDTH, initial_indent=f"{indent}  ", subsequent_indent=f"{indent}    ")
        yield from (f"{indent}  {_joules(each)}" for each in compared.energies)
        if compared.fallbacks:
            yield (
                f"{indent}  {compared.fallbacks} of {compared.measured.count} requests were finished on the edge"
                " device alone: the other side was silent"
            )
        label = ""
    if len(link.compared) > 1:
        yield from (f"{indent}{line}" for line in textwrap.wrap(_order(link), WIDTH - len(indent)))
    for note in link.notes:
        yield from textwrap.wrap(plain(note), WIDTH, initial_indent=indent, subsequent_indent=indent + "  ")
    if link.origin != "measured":
        late_s = link.late_s
        kept = "" if late_s is None else f"; 95 % of what went through left within {quantity(late_s, 's')} of its time"
        yield f"{indent}the link was {link.origin}: real bytes, in real time{kept}"


def _encoded(one: Candidate, compared: Compared) -> Iterator[str]:
    """What was encoded on the way, what that took, and what it did to the result."""
    if not one.encoded:
        return
    places = {"input" if each.boundary == 0 else "features": each.encoding for each in one.encoded}
    times = [
        f"{plain(told.part.device)} {quantity(told.part.predicted_s, 's')}, measured"
        f" {quantity(told.measured.mean_s, 's')}"
        for told in compared.stages
        if told.part.cause == "encoding"
    ]
    took = f"; predicted on {'; on '.join(times)}" if times else ""
    sent = " and ".join(f"{place} as {encoding}" for place, encoding in places.items())
    yield f"encoded: {sent}{'' if compared.effect is None else f'; {compared.effect}'}{took}"


def _joules(found: Energy) -> str:
    """A plan's joules on one device."""
    name = plain(found.device)
    if found.mean_j is None:
        return f"joules of {name}: not told by its meter: {plain(found.why_not)}"
    measured = _figure(found.mean_j, found.interval_j, "J")
    if found.predicted_j is None:
        return f"joules of {name}: measured {measured}; the plan has none of it"
    verdict = {True: "holds", False: "does not hold", None: "no verdict"}[found.holds]
    predicted = _figure(found.predicted_j, found.predicted_interval_j, "J")
    return f"joules of {name}: predicted {predicted}  measured {measured}  {verdict}"


def _order(link: RanLink) -> str:
    count = len(link.compared)
    order = f"the order of the {count} is as predicted" if link.is_ordered else "their order is not the predicted one"
    behind = "" if link.regret <= 0 else f"; DIME's plan takes {percent(link.regret)} more"
    letter = next(one.letter or "*" for one in link.candidates if one.name == link.best.name)
    return f"the best of {count} plans that were run is {letter} {plain(link.best.name)}{behind}; {order}"


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"


def _figure(value: float, interval: Sequence[float] | None, of: str = "s") -> str:
    """A time or energy with its interval, such as ``53.7 ms (51.8 to 56.2)``; the unit once, where it is the same."""
    mean = quantity(value, of)
    if interval is None:
        return mean
    ends = [quantity(max(0.0, end), of) for end in interval]
    unit = mean.partition(" ")[2]
    if all(end.endswith(f" {unit}") for end in ends):
        ends = [end.partition(" ")[0] for end in ends]
    return f"{mean} ({' to '.join(ends)})"


def _cause(told: Told) -> str:
    part = told.part
    where = f"{part.device} to {part.target}" if part.target else f"on {part.device}"
    what = f" {part.what}" if part.what else ""
    return (
        f"{SAID[part.cause]}{plain(what)} {plain(where)}, predicted {quantity(part.predicted_s, 's')}, "
        f"measured {quantity(told.measured.mean_s, 's')}"
        + ("" if told.back_to_back is None else f"; back to back meanwhile {quantity(told.back_to_back.mean_s, 's')}")
    )
