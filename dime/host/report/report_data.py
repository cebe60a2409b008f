"""What the report shows, as plain data: one source for the page and for the static figures.

Steps of a plan are short rows, ``[first, last, device, frequency_hz]``; devices are positions in ``devices``.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

import dime
from dime.contract.bundles import enumerate_bundles
from dime.contract.errors import DimeError
from dime.contract.run import RUN, RunSpec
from dime.host.analysis.baselines import Row, layer_sums
from dime.host.planning.plan import Plan
from dime.host.planning.problem import Choice, Problem
from dime.host.profiles.profiles import Profile
from dime.host.report.findings import goal_name
from dime.host.search.frontier import Frontier
from dime.host.studies.study import MOST_INTERVALS, LinkStudy, Study

if TYPE_CHECKING:
    from dime.host.analysis.alternatives import Explanation
    from dime.host.analysis.break_even import BestPlans

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
Data = dict[str, Any]  # Any: a part of report.json: numbers, texts, lists and objects, whose names are the report's own
# A plan -> [[low, high] of its time in s, [low, high] of its energy in J, or empty].
Intervals = dict[tuple[Choice, ...] | None, list[list[float]]]


def collect(study: Study, command: str = "") -> Data:
    """Gathers everything that the report shows.

    Args:
        study: What was found.
        command: The command line that asked for it.

    Returns:
        Numbers, texts, lists and dictionaries, as JSON takes them; SI units.
    """
    problem = study.links[0].problem
    return {
        "network": study.network,
        "batch": problem.batch,
        "layers": list(problem.layers),
        "goal": study.goal.kind,
        "goal_name": goal_name(study.goal),
        "has_energy": problem.has_energy,
        "arithmetic": problem.arithmetic,
        "warnings": list(problem.warnings),
        "devices": [_device(profile, at) for at, profile in enumerate(study.profiles)],
        "links": [_link(link) for link in study.links],
        "without_plan": [asdict(link) for link in study.without_plan],
        "effect": [effect for at in range(len(problem.devices)) for effect in _bundle_effect(study, at)],
        "sources": [_source(profile) for profile in study.profiles],
        "command": command,
        "versions": {"dime": dime.__version__, "python": platform.python_version()},
    }


def _device(profile: Profile, at: int) -> Data:
    return {
        "name": profile.device,
        "is_edge": at == 0,
        "origin": profile.origin,
        "energy_origin": None if profile.run_energy_j is None else profile.energy_origin,
        "energy_model": profile.energy_model,
        "energy_gain": profile.gain.told if profile.gain is not None and profile.run_energy_j is not None else "",
        "frequencies_hz": list(profile.frequencies_hz),
        "runs": len(profile.run_duration_s),
        "bundles": len(profile.bundles),
        "weights": profile.weights,
    }


def _link(link: LinkStudy) -> Data:
    known = _intervals(link)
    return {
        "name": link.name,
        "rates": _rates(link),
        "sizes_bytes": list(link.problem.sizes_bytes),
        "plan": _plan(link.problem, link.plan),
        "certificate": link.plan.certificate.data(),
        "proof": str(link.plan.certificate),
        "confirmation": link.plan.certificate.confirmation,
        "frontier": None if link.frontier is None else _frontier(link.frontier, known),
        "baselines": [{**_baseline(link.problem, row), "interval": known.get(row.choices)} for row in link.baselines],
        "interval": known.get(link.plan.choices(link.problem)),
        "certainty": _certainty(link),
        "maps": [_map(best) for best in link.maps],
        "held": [asdict(held) for held in link.held],
        "notes": list(link.notes),
        "explanation": None if link.explanation is None else _explanation(link.explanation),
    }


def _explanation(found: Explanation) -> Data:
    rivals = [
        {
            "what": rival.what,
            "steps": _steps(rival.choices),
            "margin": rival.margin,
            "share": rival.share,
            "interval": None if rival.interval is None else list(rival.interval),
        }
        for rival in found.rivals
    ]
    slacks = [asdict(slack) for slack in found.slacks]
    return {"unit": found.unit, "confidence": found.confidence, "rivals": rivals, "slacks": slacks}


def _map(best: BestPlans) -> Data:
    """The knob's ranges; a rate is the link's own over the knob, so that the last region has the slowest links."""
    return {
        "vary": best.vary,
        "here": float(best.here),
        "round_trip_s": best.round_trip_s,
        "rates_bit_s": None if best.link is None else [best.link.upload_bit_s, best.link.download_bit_s],
        "unit": best.problem.goal.unit,
        "regions": [
            {
                "low": float(region.low),
                "high": None if region.high is None else float(region.high),
                "steps": None if region.choices is None else _steps(region.choices),
                "constant": float(region.constant),
                "slope": float(region.slope),
            }
            for region in best.regions
        ],
    }


def _intervals(link: LinkStudy) -> Intervals:
    """Ends of each known plan's time (of the slowest stage, for a pipeline) and energy."""
    if link.uncertainty is None:
        return {}
    time = "value" if link.problem.goal.is_pipeline else "latency_s"
    needs_energy = link.problem.has_energy
    return {
        plan.choices: [list(getattr(plan, time)), list(plan.energy_j or ())]
        for plan in link.uncertainty.plans
        if getattr(plan, time) is not None and (plan.energy_j is not None or not needs_energy)
    }


def _certainty(link: LinkStudy) -> Data | None:
    found = link.uncertainty
    if found is None:
        return None
    chosen = found.chosen
    return {
        "confidence": found.confidence,
        "replicates": found.solved,
        "notes": list(found.notes),
        "unit": link.problem.goal.unit,
        **{name: getattr(chosen, name) for name in ("latency_s", "energy_j", "value", "best_share", "frontier_share")},
        **{name: getattr(chosen, name) for name in ("kept_share", "regret", "regret_high")},
        "infeasible_share": found.infeasible_share,
        "winners": [[_steps(choices), share] for choices, share in found.winners[:MOST_WINNERS]],
        "other_winners": max(0, len(found.winners) - MOST_WINNERS),
        "measure_next": [asdict(cell) for cell in found.measure_next],
    }


def _rates(link: LinkStudy) -> list[Data]:
    """What joins each pair of devices."""
    return [
        {
            "pair": [weaker, other],
            "upload_bit_s": joined.upload_bit_s,
            "download_bit_s": joined.download_bit_s,
            "round_trip_s": joined.round_trip_s,
            "source": joined.source,
        }
        for (weaker, other), joined in link.problem.joined.items()
        if joined is not None
    ]


def _plan(problem: Problem, plan: Plan) -> Data:
    names = [device.name for device in problem.devices]
    return {
        "steps": _steps(plan.choices(problem)),
        "costs": [[step.latency_s, step.energy_j] for step in plan.steps],
        "transfers": [
            [t.boundary, names.index(t.source), names.index(t.target), t.size_bytes, t.latency_s, t.energy_j]
            for t in plan.transfers
        ],
        **{
            name: getattr(plan, name)
            for name in (
                *("latency_s", "computation_s", "communication_s", "energy_j", "computation_j", "radio_j"),
                *("period_s", "value"),
            )
        },
    }


def _steps(choices: Sequence[Choice]) -> list[list[int]]:
    return [[*choice.bundle, choice.device, choice.frequency_hz] for choice in choices]


def _frontier(frontier: Frontier, intervals: Intervals) -> Data:
    kept = thin(len(frontier), (frontier.knee,))
    choices = [frontier.choices(at) for at in kept]
    return {
        "time_name": frontier.time_name,
        "time_s": [_short(frontier.time_s[at]) for at in kept],
        "energy_j": [_short(frontier.energy_j[at]) for at in kept],
        "steps": [_steps(steps) for steps in choices],
        "intervals": [intervals.get(steps) for steps in choices],
        "places": kept,
        "knee": kept.index(frontier.knee),
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


def _baseline(problem: Problem, row: Row) -> Data:
    return {
        "name": row.name,
        "source": row.source,
        "plan": None if row.plan is None else _plan(problem, row.plan),
        "believed_latency_s": row.believed_latency_s,
        "believed_energy_j": row.believed_energy_j,
        "gain": row.gain,
        "reason": row.reason,
    }


def _bundle_effect(study: Study, at: int) -> list[Data]:
    """For a device, at its fastest clock and at those that plans use: each bundle against the sum of its layers."""
    problem = study.links[0].problem
    device, sums = problem.devices[at], layer_sums(problem).devices[at]
    used = {step.frequency_hz for link in study.links for step in link.plan.steps if step.device == device.name}
    found = []
    for column, frequency_hz in enumerate(device.frequencies_hz):
        if frequency_hz not in {*used, max(device.frequencies_hz)}:
            continue
        rows = [
            [first, last, int(device.latency_ps[row, column]) / 1e12, int(sums.latency_ps[row, column]) / 1e12]
            for row, (first, last) in enumerate(enumerate_bundles(len(problem.layers), problem.max_layers))
            if last > first and device.latency_ps[row, column] >= 0 and sums.latency_ps[row, column] > 0
        ]
        kept = thin(len(rows))
        found.append(
            {"device": at, "frequency_hz": frequency_hz, "bundles": [rows[k] for k in kept], "count": len(rows)}
        )
    return found


def _source(profile: Profile) -> Data:
    """What run.json says, where the profile was read from a run's folder."""
    facts: list[list[str]] = []
    try:
        run = RunSpec.read(os.path.dirname(profile.path) or ".")
        facts = [[name, _fact(getattr(run, name))] for name in RUN_FACTS if getattr(run, name) not in (None, {}, [])]
    except DimeError:
        pass
    found = {"device": profile.device, "path": profile.path, "file": RUN if facts else "", "facts": facts}
    return {**found, "dialect": profile.dialect} if profile.dialect else found


def _fact(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_fact(item)}" for key, item in value.items() if item not in (None, {}, []))
    if isinstance(value, list):
        return ", ".join(map(_fact, value))
    return str(value)
