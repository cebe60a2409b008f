"""What the report shows, gathered from a study: one source for the page and for the static figures."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

import dime
from dime.contract.bundles import enumerate_bundles
from dime.contract.errors import DimeError, InputError
from dime.contract.run import RUN, RunSpec
from dime.host.analysis.baselines import Row, layer_sums
from dime.host.planning.plan import Plan
from dime.host.planning.problem import Choice, Problem
from dime.host.profiles.profiles import Profile
from dime.host.report import model, overview, text_plot
from dime.host.report.sentences import goal_name
from dime.host.search.frontier import Frontier
from dime.host.studies.study import MOST_INTERVALS, LinkStudy, Study

if TYPE_CHECKING:
    from dime.host.analysis.alternatives import Explanation
    from dime.host.analysis.break_even import BestPlans
    from dime.host.analysis.chance_limits import Held
    from dime.host.analysis.uncertainty import Uncertainty
    from dime.host.planning.certificate import Certificate

# A frontier or a scatter with more points than this is drawn thinned, and says so: of a frontier, every second point
# drawn is then one that has an interval.
MOST_POINTS = 2 * MOST_INTERVALS - 1
RUN_FACTS = (
    *(
        "network",
        "batch",
        "device",
        "board",
        "processor",
        "threads",
        "threads_used",
        "weights",
        "origin",
        "iterations",
        "runs",
        "warmups",
    ),
    *("min_window_s", "max_layers", "seed", "samples", "governor", "frequencies_hz", "versions", "description"),
    *("temperatures_c", "started_utc", "state", "command_line"),
)
MOST_WINNERS = 6
Intervals = dict[tuple[Choice, ...] | None, model.PlanInterval]  # by plan


def collect(study: Study, command: str = "") -> model.Report:
    """Gathers everything that the report shows.

    Args:
        study: What was found.
        command: The command line that asked for it.

    Returns:
        What report.json holds; SI units.
    """
    problem = study.links[0].problem
    options: list[model.Options] = []
    return {
        "network": study.network,
        "batch": problem.batch,
        "layers": list(problem.layers),
        "goal": study.goal.kind,
        "goal_name": goal_name(study.goal),
        "goal_unit": study.goal.unit,
        "has_energy": problem.has_energy,
        "arithmetic": problem.arithmetic,
        "warnings": list(problem.warnings),
        "devices": [_device(profile, at == 0) for at, profile in enumerate(study.profiles)],
        "links": [_link(link, options) for link in study.links],
        "without_plan": [{"name": link.name, "reason": link.reason} for link in study.without_plan],
        "effect": [effect for at in range(len(problem.devices)) for effect in _bundle_effect(study, at)],
        "sources": [_source(profile) for profile in study.profiles],
        "command": command,
        "versions": {"dime": dime.__version__, "python": platform.python_version()},
        "options": options,
    }


def _device(profile: Profile, is_edge: bool) -> model.Device:
    return {
        "name": profile.device,
        "is_edge": is_edge,
        "origin": profile.origin,
        "energy_origin": None if profile.run_energy_j is None else profile.energy_origin,
        "energy_model": profile.energy_model,
        "energy_gain": profile.gain.told if profile.gain is not None and profile.run_energy_j is not None else "",
        "frequencies_hz": list(profile.frequencies_hz),
        "runs": len(profile.run_duration_s),
        "bundles": len(profile.bundles),
        "weights": profile.weights or "",
    }


def _link(link: LinkStudy, options: list[model.Options]) -> model.Link:
    known = _intervals(link)
    what_if, without = _what_if(link, options)
    problem, certificate = link.problem, link.plan.certificate
    return {
        "name": link.name,
        "rates": _rates(link),
        "tensors": [{"boundary": at, "size_bytes": size} for at, size in enumerate(problem.sizes_bytes)],
        "plan": _plan(problem, link.plan),
        "certificate": _certificate(certificate),
        "proof": str(certificate),
        "confirmation": certificate.confirmation,
        "frontier": None if link.frontier is None else _frontier(problem, link.frontier, known),
        "baselines": [
            _baseline(problem, row, letter, known.get(row.choices))
            for letter, row in text_plot.lettered(link.baselines)
        ],
        "interval": known.get(link.plan.choices(problem)),
        "certainty": None if link.uncertainty is None else _certainty(problem, link.uncertainty),
        "maps": [_map(best) for best in link.maps],
        "held": [_held(held) for held in link.held],
        "notes": list(link.notes),
        "explanation": None if link.explanation is None else _explanation(problem, link.explanation),
        "other_inputs": [
            {
                "encoding": one.encoding,
                "size_bytes": one.size_bytes,
                "value": one.value,
                "same_class": one.same_class,
                "distance": one.distance,
                "images": one.images,
            }
            for one in link.other_inputs
        ],
        "answer": overview.answer(link),
        "is_sure": overview.is_sure(link),
        "what_if": what_if,
        "without_what_if": without,
    }


def _what_if(link: LinkStudy, options: list[model.Options]) -> tuple[model.WhatIf | None, str]:
    """A link's what-if, whose steps' table is put among ``options`` if it is not there; or why there is none."""
    if link.held:
        return None, "its limits hold with a probability"
    from dime.host.analysis.what_if import what_if

    problem = link.problem
    try:
        found = what_if(problem)
    except InputError as error:
        return None, str(error)
    arcs = found.arcs
    steps, ways = arcs.keep(arcs.device >= 0), arcs.keep(arcs.device < 0)
    table: model.Options = {
        "number": len(options),
        "head": steps.head.tolist(),
        "tail": steps.tail.tolist(),
        "device": [problem.devices[device].name for device in steps.device],
        "first": problem.bounds[0][steps.bundle].tolist(),
        "last": problem.bounds[1][steps.bundle].tolist(),
        "frequency_hz": steps.frequency_hz.tolist(),
        "latency_s": steps.latency_s.tolist(),
        "energy_j": steps.energy_j.tolist(),
        "waits": steps.waits.tolist(),
        "beyond_s": steps.beyond_s.tolist(),
    }
    same = next((one for one in options if {**one, "number": table["number"]} == table), None)
    if same is None:
        options.append(table)
    weights = {"latency": (1.0, 0.0), "energy": (0.0, 1.0)}.get(
        problem.goal.kind, (problem.goal.per_s, problem.goal.per_j)
    )
    crossings: model.Crossings = {
        "head": ways.head.tolist(),
        "tail": ways.tail.tolist(),
        "latency_s": ways.latency_s.tolist(),
        "air_s": ways.air_s.tolist(),
        "trips": ways.trips.tolist(),
        "energy_j": ways.energy_j.tolist(),
        "air_j": ways.air_j.tolist(),
        "waits": ways.waits.tolist(),
    }
    return {
        "options": (same or table)["number"],
        "crossings": crossings,
        "nodes": found.nodes,
        "round_trip_s": found.round_trip_s,
        "waiting": found.waiting.here if found.waiting else None,
        "waiting_unit": found.waiting.unit if found.waiting else "",
        "per_s": weights[0],
        "per_j": weights[1],
        "latency_limit_s": problem.limits.latency_s,
        "energy_limit_j": problem.limits.energy_j,
    }, ""


def _certificate(certificate: Certificate) -> model.Certificate:
    return {
        "status": certificate.status,
        "solver": certificate.solver,
        "version": certificate.version,
        "objective": certificate.objective,
        "bound": certificate.bound,
        "note": certificate.note,
        "complete": certificate.complete,
        "chance": certificate.chance,
        "confirmed_by": certificate.confirmed_by,
        "unconfirmed": certificate.unconfirmed,
    }


def _held(held: Held) -> model.Held:
    return {
        "name": held.name,
        "unit": held.unit,
        "limit": held.limit,
        "mean": held.mean,
        "sd": held.sd,
        "bound": held.bound,
        "share": held.share,
        "drawn_share": held.drawn_share,
    }


def _explanation(problem: Problem, found: Explanation) -> model.Explanation:
    return {
        "confidence": found.confidence,
        "rivals": [
            {
                "what": rival.what,
                "steps": _steps(problem, rival.choices),
                "margin": rival.margin,
                "share": rival.share,
                "interval": _interval(rival.interval),
            }
            for rival in found.rivals
        ],
        "slacks": [
            {
                "limit": slack.limit,
                "unit": slack.unit,
                "most": slack.most,
                "used": slack.used,
                "slack": slack.slack,
                "price": slack.price,
            }
            for slack in found.slacks
        ],
    }


def _map(best: BestPlans) -> model.Map:
    """The knob's ranges; a rate is the link's own over the knob, so that the last region has the slowest links."""
    link = best.link
    return {
        "vary": best.vary,
        "knob_unit": "s" if best.vary == "round_trip" else "",
        "here": float(best.here),
        "round_trip_s": best.round_trip_s,
        "rates": None if link is None else {"upload_bit_s": link.upload_bit_s, "download_bit_s": link.download_bit_s},
        "regions": [
            {
                "low": float(region.low),
                "high": None if region.high is None else float(region.high),
                "steps": None if region.choices is None else _steps(best.problem, region.choices),
                "constant": float(region.constant),
                "slope": float(region.slope),
            }
            for region in best.regions
        ],
    }


def _interval(ends: tuple[float, float] | None) -> model.Interval | None:
    return None if ends is None else {"low": ends[0], "high": ends[1]}


def _intervals(link: LinkStudy) -> Intervals:
    """Ends of each known plan's time (of the slowest stage, for a pipeline) and energy."""
    found: Intervals = {}
    for plan in link.uncertainty.plans if link.uncertainty is not None else ():
        time_s = _interval(plan.value if link.problem.goal.is_pipeline else plan.latency_s)
        if time_s is not None and (plan.energy_j is not None or not link.problem.has_energy):
            found[plan.choices] = {"time_s": time_s, "energy_j": _interval(plan.energy_j)}
    return found


def _certainty(problem: Problem, found: Uncertainty) -> model.Certainty:
    chosen = found.chosen
    return {
        "confidence": found.confidence,
        "replicates": found.solved,
        "notes": list(found.notes),
        "latency_s": {"low": chosen.latency_s[0], "high": chosen.latency_s[1]},
        "energy_j": _interval(chosen.energy_j),
        "value": _interval(chosen.value),
        "best_share": chosen.best_share,
        "frontier_share": chosen.frontier_share,
        "kept_share": chosen.kept_share,
        "regret": chosen.regret,
        "regret_high": chosen.regret_high,
        "infeasible_share": found.infeasible_share,
        "winners": [
            {"steps": _steps(problem, choices), "share": share} for choices, share in found.winners[:MOST_WINNERS]
        ],
        "other_winners": max(0, len(found.winners) - MOST_WINNERS),
        "measure_next": [
            {
                "device": cell.device,
                "bundle": cell.bundle,
                "frequency_hz": cell.frequency_hz,
                "chance": cell.chance,
                "gain": cell.gain,
            }
            for cell in found.measure_next
        ],
    }


def _rates(link: LinkStudy) -> list[model.Rate]:
    """What joins each pair of devices."""
    devices = link.problem.devices
    return [
        {
            "from_device": devices[weaker].name,
            "to_device": devices[other].name,
            "upload_bit_s": joined.upload_bit_s,
            "download_bit_s": joined.download_bit_s,
            "round_trip_s": joined.round_trip_s,
            "source": joined.source,
        }
        for (weaker, other), joined in link.problem.joined.items()
        if joined is not None
    ]


def _plan(problem: Problem, plan: Plan) -> model.Plan:
    steps = zip(_steps(problem, plan.choices(problem)), plan.steps, strict=True)
    return {
        "steps": [{**step, "latency_s": cost.latency_s, "energy_j": cost.energy_j} for step, cost in steps],
        "transfers": [
            {
                "boundary": sent.boundary,
                "source": sent.source,
                "target": sent.target,
                "size_bytes": sent.size_bytes,
                "latency_s": sent.latency_s,
                "energy_j": sent.energy_j,
            }
            for sent in plan.transfers
        ],
        "latency_s": plan.latency_s,
        "computation_s": plan.computation_s,
        "communication_s": plan.communication_s,
        "energy_j": plan.energy_j,
        "computation_j": plan.computation_j,
        "radio_j": plan.radio_j,
        "period_s": plan.period_s,
        "value": plan.value,
        "over_trace": [{"share": share, "latency_s": latency_s} for share, latency_s in plan.over_trace],
        "terms": [
            {
                "name": one.term,
                "latency_s": one.latency_s,
                "energy_j": one.energy_j,
                "origin": one.origin,
                "source": one.source,
            }
            for one in plan.terms
        ],
        "without": list(plan.without),
        "encoded": [
            {
                "boundary": one.boundary,
                "encoding": one.encoding,
                "size_bytes": one.size_bytes,
                "most_bytes": one.most_bytes,
                "plain_bytes": one.plain_bytes,
                "same_class": one.same_class,
                "distance": one.distance,
                "images": one.images,
                "origin": one.origin,
            }
            for one in plan.encoded
        ],
    }


def _steps(problem: Problem, choices: Sequence[Choice]) -> list[model.Step]:
    return [
        {
            "first": choice.bundle.first,
            "last": choice.bundle.last,
            "device": problem.devices[choice.device].name,
            "frequency_hz": choice.frequency_hz,
        }
        for choice in choices
    ]


def _frontier(problem: Problem, frontier: Frontier, intervals: Intervals) -> model.Frontier:
    points: list[model.Point] = []
    for at in thin(len(frontier), (frontier.knee,)):
        choices = frontier.choices(at)
        points.append(
            {
                "number": at + 1,
                "time_s": _short(frontier.time_s[at]),
                "energy_j": _short(frontier.energy_j[at]),
                "steps": _steps(problem, choices),
                "interval": intervals.get(choices),
            }
        )
    return {
        "time_name": frontier.time_name,
        "points": points,
        "knee_number": frontier.knee + 1,
        "count": len(frontier),
        "complete": frontier.complete,
    }


def thin(count: int, always: Sequence[int] = (), most: int = MOST_POINTS) -> list[int]:
    """Positions that stand for ``count`` points: all, or evenly spread ones with both ends and those named."""
    if count <= most:
        return list(range(count))
    spread = np.linspace(0, count - 1, most).round().astype(int)
    return sorted({*spread.tolist(), *always})


def _short(number: float) -> float:
    return float(f"{number:.9g}")


def _baseline(problem: Problem, row: Row, letter: str, interval: model.PlanInterval | None) -> model.Baseline:
    return {
        "letter": letter,
        "is_chosen": letter == text_plot.CHOSEN,
        "name": row.name,
        "source": row.source,
        "plan": None if row.plan is None else _plan(problem, row.plan),
        "believed_latency_s": row.believed_latency_s,
        "believed_energy_j": row.believed_energy_j,
        "gain": row.gain,
        "reason": row.reason,
        "interval": interval,
    }


def _bundle_effect(study: Study, at: int) -> list[model.Effect]:
    """For a device, at its fastest frequency and at those that plans use: each bundle against the sum of its layers."""
    problem = study.links[0].problem
    device, sums = problem.devices[at], layer_sums(problem).devices[at]
    used = {step.frequency_hz for link in study.links for step in link.plan.steps if step.device == device.name}
    found: list[model.Effect] = []
    for column, frequency_hz in enumerate(device.frequencies_hz):
        if frequency_hz not in {*used, max(device.frequencies_hz)}:
            continue
        rows: list[model.BundleEffect] = [
            {
                "first": first,
                "last": last,
                "latency_s": int(device.latency_ps[row, column]) / 1e12,
                "sum_s": int(sums.latency_ps[row, column]) / 1e12,
            }
            for row, (first, last) in enumerate(enumerate_bundles(len(problem.layers), problem.max_layers))
            if last > first and device.latency_ps[row, column] >= 0 and sums.latency_ps[row, column] > 0
        ]
        kept = [rows[k] for k in thin(len(rows))]
        found.append({"device": device.name, "frequency_hz": frequency_hz, "bundles": kept, "count": len(rows)})
    return found


def _source(profile: Profile) -> model.Source:
    """What run.json says, where the profile was read from a run's folder."""
    facts: list[model.Fact] = []
    try:
        run = RunSpec.read(os.path.dirname(profile.path) or ".")
        for name in RUN_FACTS:
            if getattr(run, name) not in (None, {}, []):
                facts.append({"name": name, "value": _fact(getattr(run, name))})
    except DimeError:
        pass
    return {
        "device": profile.device,
        "path": profile.path,
        "dialect": profile.dialect,
        "file": RUN if facts else "",
        "facts": facts,
    }


def _fact(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_fact(item)}" for key, item in value.items() if item not in (None, {}, []))
    if isinstance(value, list):
        return ", ".join(map(_fact, value))
    return str(value)
