"""A study as text for the terminal, at most 100 columns wide: each link's plan and why, then what the plans gain."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial

from dime.host.analysis.baselines import Row
from dime.host.common.units import plain, quantity, share
from dime.host.planning.plan import Plan
from dime.host.report import sentences, text_plot
from dime.host.search.frontier import Frontier
from dime.host.studies.study import LinkStudy, Study

WIDTH = 100
MODELLED = "modelled"
NAME, FIGURE, ORIGIN, SAVED = 24, 9, 17, 7


def text(study: Study) -> str:
    """Renders a study: each link's plan with its proof and frontier, then one comparison over all links.

    Every figure is labelled measured, replayed, emulated or modelled. A plan's own lines keep their form, however long.
    """
    return "\n\n".join(
        ["\n".join(sources(study)), *(_link(link) for link in study.links), *_without_plan(study), comparison(study)]
    )


def origins(plan: Plan) -> tuple[str, str]:
    """Where a plan's latency and energy come from, such as ``measured+modelled``; empty where there is no energy."""
    sent = [MODELLED] if plan.transfers else []
    in_time = [one.origin for one in plan.terms if one.latency_s]
    in_energy = [one.origin for one in plan.terms if one.energy_j]
    latency = dict.fromkeys([*(step.origin for step in plan.steps), *sent, *in_time])
    energy = dict.fromkeys([*(step.energy_origin for step in plan.steps if step.energy_origin), *sent, *in_energy])
    return "+".join(latency), "+".join(energy) if plan.energy_j is not None else ""


def sources(study: Study) -> Iterator[str]:
    """Where the numbers come from: the network, then a line a device and one for the links."""
    batch = study.links[0].problem.batch
    yield _cut(
        f"{plain(study.network)}{f', batch of {batch}' if batch > 1 else ''}: least {sentences.goal_name(study.goal)}"
    )
    for profile in study.profiles:
        energy = "no energy"
        if profile.run_energy_j is not None:
            energy = f"energy {profile.energy_origin}"
            energy += f" ({plain(profile.energy_model)})" if profile.energy_model else ""
        yield _cut(
            f"  {plain(profile.device)}: time {profile.origin} ({len(profile.run_duration_s)} runs of "
            f"{len(profile.bundles)} bundles), {energy}, weights {plain(profile.weights or 'not stated')}"
        )
        if profile.gain is not None and profile.run_energy_j is not None:
            told = f"its energies, by {plain(profile.meter)}: {plain(profile.gain.told)}"
            yield from textwrap.wrap(told, WIDTH, initial_indent="    ", subsequent_indent="    ")
        if profile.dialect:
            yield _cut(f"    its table was read with {plain(profile.dialect)}")
    yield f"  links: transfer time and radio energy {MODELLED} from rates"
    for link in dict.fromkeys(one for found in study.links for one in found.problem.joined.values() if one):
        if link.origin != MODELLED:
            yield _cut(f"    rates: {plain(link.source)}")
    if study.links[0].problem.arithmetic == "published":
        yield "  arithmetic: published, of the runs' means and of the radio energies"
    else:
        energies = "; energies are plain means" if any(p.run_energy_j is not None for p in study.profiles) else ""
        yield f"  times are those of typical runs, without each pass's extremes{energies}"
    facts = dict.fromkeys(fact for link in study.links for fact in link.problem.acting.facts)
    for fact in facts:
        told = f"{fact.term}: {fact.origin}, {plain(fact.source)}"
        yield from textwrap.wrap(told, WIDTH, initial_indent="  ", subsequent_indent="    ", break_on_hyphens=False)
    missing = dict.fromkeys(str(one) for link in study.links for one in link.problem.acting.missing)
    for reason in missing:
        told = f"without {plain(reason)}"
        yield from textwrap.wrap(told, WIDTH, initial_indent="  ", subsequent_indent="    ", break_on_hyphens=False)
    for warning in study.links[0].problem.warnings:
        yield from textwrap.wrap(
            f"warning: {plain(warning)}", WIDTH, initial_indent="  ", subsequent_indent="    ", break_on_hyphens=False
        )


def _without_plan(study: Study) -> Iterator[str]:
    for link in study.without_plan:
        title = _cut(f"-- {plain(link.name)} ".ljust(WIDTH, "-"))
        reason = f"no plan, because {plain(link.reason)}"
        yield "\n".join([title, *textwrap.wrap(reason, WIDTH, break_on_hyphens=False)])


def comparison(study: Study) -> str:
    """The table of DIME's plan and every baseline, for every link; equal plans are named once."""
    with_energy = any(link.plan.energy_j is not None for link in study.links)
    is_pipeline = study.goal.is_pipeline
    header = _line(
        "plan", ("slowest" if is_pipeline else "latency", "from"), ("energy", "from") if with_energy else None, "saved"
    )
    room = WIDTH - len(header) - 2
    write = partial(_row, with_energy=with_energy, is_pipeline=is_pipeline, room=room)
    lines = [header]
    for link in study.links:
        longest = max((row.plan.latency_s for row in link.baselines if row.plan), default=0.0)
        lines.append(_cut(plain(link.name)))
        first: dict[object, str] = {}
        equal: dict[str, list[str]] = {}
        for letter, row in text_plot.lettered(link.baselines):
            name = f"{letter} {plain(row.name)}"
            known = first.setdefault((row.choices, row.reason) if row.choices else letter, name)
            if known == name:
                lines.append(write(name, row, letter == text_plot.CHOSEN, longest))
            else:
                equal.setdefault(known, []).append(name)
        for known, names in equal.items():
            lines += textwrap.wrap(
                f"same plan as {known}: {', '.join(names)}", WIDTH, initial_indent="  ", subsequent_indent="    "
            )
    lines.append(f"saved: share of the {sentences.goal_name(study.goal)} that DIME's plan saves")
    lines.append("bars: latency, # computation, . communication")
    return "\n".join(line.rstrip() for line in lines)


def _link(link: LinkStudy) -> str:
    lines = [_cut(f"-- {plain(link.name)} ".ljust(WIDTH, "-")), *str(replace(link.plan, warnings=())).splitlines()]
    if confirmation := link.plan.certificate.confirmation:
        lines.append(f"    {plain(confirmation)}")
    if link.frontier is not None and len(link.frontier):
        lines.append(f"    frontier: {_points(link.frontier)}")
    lines += sentences.lines(link, WIDTH)
    lines += text_plot.trade_off(link, WIDTH)
    return "\n".join(lines)


def _points(frontier: Frontier) -> str:
    places = {"fastest": 0, "knee": frontier.knee, "least energy": len(frontier) - 1}
    if frontier.knee in (0, len(frontier) - 1):
        del places["knee"]
    costs = {
        name: f"{quantity(float(frontier.time_s[at]), 's')}, {quantity(float(frontier.energy_j[at]), 'J')}"
        for name, at in places.items()
    }
    whole = "" if frontier.complete else " (time ran out: not all of it)"
    if len(frontier) == 1:
        return f"1 point{whole}: {costs['fastest']}"
    return f"{len(frontier)} points{whole}; " + "; ".join(f"{name} {cost}" for name, cost in costs.items())


def _row(name: str, row: Row, is_ours: bool, longest: float, *, with_energy: bool, is_pipeline: bool, room: int) -> str:
    name = f"  {name}"
    if row.plan is None:
        return _cut(f"{name}: {plain(row.reason)}")
    latency_from, energy_from = origins(row.plan)
    line = _line(
        name,
        (quantity(row.plan.period_s if is_pipeline else row.plan.latency_s, "s"), latency_from),
        (_energy(row.plan), energy_from) if with_energy else None,
        "" if is_ours else share(row.gain) if row.feasible else "no",
    )
    line = f"{line}  {_bar(row.plan, longest, room)}"
    return line + "\n" + _cut(f"    {plain(row.reason)}") if row.reason else line


def _energy(plan: Plan) -> str:
    return "not known" if plan.energy_j is None else quantity(plan.energy_j, "J")


def _bar(plan: Plan, longest: float, width: int) -> str:
    """The latency, to scale but at least one character long."""
    total = max(1, round(width * plan.latency_s / longest)) if longest else 0
    computing = round(total * plan.computation_s / plan.latency_s) if plan.latency_s else 0
    return "#" * computing + "." * (total - computing)


def _line(name: str, latency: Sequence[str], energy: Sequence[str] | None, saved: str) -> str:
    cells = [name[:NAME].ljust(NAME)]
    for figure, origin in (latency, energy) if energy else (latency,):
        cells += [figure.rjust(FIGURE), origin[:ORIGIN].ljust(ORIGIN)]
    return " ".join([*cells, saved.rjust(SAVED)])


def _cut(line: str) -> str:
    return line if len(line) <= WIDTH else line[: WIDTH - 1] + "…"
