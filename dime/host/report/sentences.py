"""What was found out about a link's plan, in a few lines of text: margins, limits, break-even points, certainty."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from dime.contract.bundles import Bundle, parse
from dime.host.analysis.uncertainty import ALL_BUNDLES
from dime.host.common.units import clock, percent, plain, quantity
from dime.host.planning.encoded import effect
from dime.host.planning.goals import Goal
from dime.host.planning.problem import Choice, Problem
from dime.host.studies.study import LinkStudy

if TYPE_CHECKING:
    from fractions import Fraction

    from dime.host.analysis.alternatives import Explanation, Slack
    from dime.host.analysis.break_even import BestPlans, Region
    from dime.host.analysis.uncertainty import Uncertainty
    from dime.host.planning.links import Link

INDENT = " " * 4
FEW = 3
# Rates of the links that there are; a plan for others is of no use to anybody.
PLAUSIBLE_BIT_S = 1e3, 10e9
# A chance below this is not worth a line.
LEAST_CHANCE = 0.01


def lines(link: LinkStudy, width: int) -> list[str]:
    """Everything that was found out, at most two lines for each finding.

    Args:
        link: The study of one link.
        width: Longest line.

    Returns:
        The lines, the most decisive first.
    """
    found: list[str] = []
    if link.uncertainty is not None:
        found += _certainty(link, link.uncertainty)
    if link.explanation is not None:
        found += _margins(link.problem, link.explanation)
        found += [_slack(slack, link.explanation.unit) for slack in link.explanation.slacks]
    for held in link.held:
        found.append(
            f"{held.name} below {quantity(held.limit, held.unit)}: holds in {percent(held.share)} of single runs by "
            f"the model, in {percent(held.drawn_share)} of drawn ones; mean {quantity(held.mean, held.unit)}, standard "
            f"deviation {quantity(held.sd, held.unit)}"
        )
    if not link.held:  # the maps are of means, whose plan is another one
        found += _break_evens(link)
    for other in link.other_inputs:
        here, there = (quantity(one, link.problem.goal.unit) for one in (link.plan.value, other.value))
        changes = effect(other.same_class, other.distance, other.images)
        found.append(
            f"with ENCODE=input:{other.encoding} ({quantity(other.size_bytes, 'B')}; {changes}) the best plan's"
            f" {goal_name(link.problem.goal)} is {there} instead of {here}"
        )
    found += [f"missing: {note}" for note in link.notes]
    return [line for text in found for line in _wrapped(plain(text), width)]


def steps(problem: Problem, choices: Sequence[Choice]) -> str:
    """A plan in a line, such as ``conv1..conv3 + conv4 at 922 MHz, conv5 at 614 MHz on nano; fc1..fc3 on wiscad``."""
    devices = []
    for device, held in groupby(choices, key=lambda choice: choice.device):
        parts = []
        for frequency_hz, group in groupby(held, key=lambda choice: choice.frequency_hz):
            names = " + ".join(stretch(problem, choice.bundle) for choice in group)
            parts.append(names + _clock(problem, device, frequency_hz))
        devices.append(f"{', '.join(parts)} on {problem.devices[device].name}")
    return "; ".join(devices)


def goal_name(goal: Goal) -> str:
    """What is made small, in words."""
    return {"throughput": "time of the slowest stage", "weighted": "weighted sum"}.get(goal.kind, goal.kind)


def stretch(problem: Problem, bundle: Bundle) -> str:
    """A bundle's first and last layer, such as ``conv1..conv5``."""
    first, last = problem.layers[bundle.first], problem.layers[bundle.last]
    return first if first == last else f"{first}..{last}"


def _clock(problem: Problem, device: int, frequency_hz: int) -> str:
    return "" if len(problem.devices[device].frequencies_hz) == 1 else f" at {clock(frequency_hz)}"


def _certainty(link: LinkStudy, found: Uncertainty) -> Iterator[str]:
    problem, chosen = link.problem, found.chosen
    unit = problem.goal.unit
    costs = [f"latency {_between(chosen.latency_s, 's')}"]
    if chosen.energy_j is not None:
        costs.append(f"energy {_between(chosen.energy_j, 'J')}")
    if problem.goal.kind not in ("latency", "energy") and chosen.value is not None:
        costs.append(f"{goal_name(problem.goal)} {_between(chosen.value, unit)}")
    told = [f"{percent(found.confidence)} interval: {', '.join(costs)}"]
    # A plan whose limits hold with a probability is not meant to be the best by its means.
    if not link.held and found.solved:
        told.append(f"the best in {percent(chosen.best_share)} of {found.solved} draws")
        if chosen.regret:
            told[-1] += f", {quantity(chosen.regret, unit)} from the best on average"
    if chosen.kept_share < 1:
        told.append(f"keeps the limits in {percent(chosen.kept_share)} of the draws")
    yield "; ".join(told)
    names = {device.name: at for at, device in enumerate(problem.devices)}
    cells = [
        f"{_measured(problem, cell.bundle)}"
        f"{_clock(problem, names[cell.device], cell.frequency_hz)} on {cell.device} ({percent(cell.chance)})"
        for cell in found.measure_next[:FEW]
        if cell.chance >= LEAST_CHANCE and not link.held
    ]
    if cells:
        yield f"measure again, by the chance to change the plan: {', '.join(cells)}"
    yield from found.notes


def _measured(problem: Problem, bundle: str) -> str:
    return (
        f"{bundle}, in more passes," if bundle == ALL_BUNDLES else stretch(problem, parse(bundle, list(problem.layers)))
    )


def _margins(problem: Problem, found: Explanation) -> Iterator[str]:
    told = set()
    for rival in found.rivals:
        if rival.choices in told:
            continue
        told.add(rival.choices)
        name = "second best" if rival.what == "any step" else "best placed otherwise"
        line = f"{name}: +{quantity(rival.margin, found.unit)}" if rival.margin else f"{name}, equally good"
        line += f" ({percent(rival.share)})" if rival.share else ""
        if rival.margin and rival.interval is not None:
            line += f", {'sure' if rival.sure else 'not sure'} ({_between(rival.interval, found.unit)})"
        yield f"{line}: {steps(problem, rival.choices)}"


def _slack(slack: Slack, goal_unit: str) -> str:
    most, used, left = (_amount(value, slack.unit) for value in (slack.most, slack.used, slack.slack))
    line = f"limit on {slack.limit}: {used} of {most}, {left} left"
    if slack.price is None:
        return line
    return f"{line}; costs {quantity(slack.price, goal_unit)}" if slack.price > 0 else f"{line}; costs nothing"


def _amount(value: float, unit: str) -> str:
    if unit in ("s", "J"):
        return quantity(value, unit)
    return quantity(value, "B") if unit == "bytes" else f"{value:g} {unit}"


def _break_evens(link: LinkStudy) -> Iterator[str]:
    steady = []
    for best in link.maps:
        at = best.regions.index(best.chosen)
        before = best.regions[at - 1] if at else None
        after = best.regions[at + 1] if at + 1 < len(best.regions) else None
        known = ""
        if best.link is not None and best.vary != "round_trip" and (before or after):
            slowest, fastest = PLAUSIBLE_BIT_S
            before = before if before and _bit_s(best, best.link, best.chosen.low) <= fastest else None
            after = after if after and _bit_s(best, best.link, after.low) >= slowest else None
            known = f" from {quantity(slowest, 'bit/s')} to {quantity(fastest, 'bit/s')}"
        if before is None and after is None:
            steady.append(best.vary.replace("_", " ") + known)
        elif best.vary == "round_trip":
            yield _nearest_trip(link.problem, best, before, after)
        else:
            if before is not None:
                yield f"from {_rate(best, best.chosen.low)} on: {_region(link.problem, before)}"
            if after is not None:
                yield f"up to {_rate(best, after.low)}: {_region(link.problem, after)}"
    if steady:
        yield f"the same plan at any {' and any '.join(steady)}"


def _nearest_trip(problem: Problem, best: BestPlans, before: Region | None, after: Region | None) -> str:
    low, here = best.chosen.low, best.here
    if before is not None and (after is None or here - low < after.low - here):
        return f"up to {quantity(float(low), 's')} round trip: {_region(problem, before)}"
    assert after is not None
    return f"from {quantity(float(after.low), 's')} round trip on: {_region(problem, after)}"


def _rate(best: BestPlans, knob: Fraction) -> str:
    """The rate at a value of the knob, which multiplies the time on the air."""
    if best.link is None:
        return f"{1 / float(knob):.3g} x the links' rates"
    return f"{quantity(_bit_s(best, best.link, knob), 'bit/s')} {'download' if best.vary == 'download' else 'upload'}"


def _bit_s(best: BestPlans, link: Link, knob: Fraction) -> float:
    return (link.download_bit_s if best.vary == "download" else link.upload_bit_s) / float(knob)


def _region(problem: Problem, region: Region) -> str:
    return "no plan keeps the limits" if region.choices is None else steps(problem, region.choices)


def _between(ends: Sequence[float], unit: str) -> str:
    """Two ends, with their unit once if it is the same."""
    low, high = (quantity(end, unit) for end in ends)
    number, _, prefixed = low.partition(" ")
    return f"{number if prefixed and high.endswith(f' {prefixed}') else low} to {high}"


def _wrapped(text: str, width: int) -> list[str]:
    return textwrap.wrap(
        text,
        width,
        initial_indent=INDENT,
        subsequent_indent=2 * INDENT,
        max_lines=2,
        placeholder=" …",
        break_on_hyphens=False,
    )
