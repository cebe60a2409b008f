"""What report.json held in earlier versions, as today's model.

Version 1 had sentences about a plan's proof only. Up to version 2 steps, costs, transfers, intervals and more were
lists whose entries were known by their positions, and so were devices; some fields came in between. Up to version 3 a
plan's terms, and what is in no sum, stood in the text only; no link had its sentence, nor what answers a what-if.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, cast

from dime.host.report import model, text_plot

Old = dict[str, Any]  # Any: a document of a form that no type describes any more; a wrong one raises
GOAL_UNITS = {"latency": "s", "energy": "J", "throughput": "s", "weighted": ""}


def upgrade(data: Old, version: int) -> model.Report:
    """Turns what an earlier version wrote into what this one reads.

    Args:
        data: The document's data.
        version: Its version.

    Raises:
        KeyError: It is damaged; ValueError, TypeError, IndexError or AttributeError, too.
    """
    if version < 2:
        for link in data["links"]:
            link["certificate"] = _certificate_of_sentences(link["proof"], link["confirmation"])
    if version < 3:
        data = _Named(data).report()
    return cast(model.Report, _with_terms(data) if version < 4 else data)


def _with_terms(data: Old) -> Old:
    """The same, with the fields that version 3 did not have, empty."""
    data["options"] = []
    for link in data["links"]:
        link.update(other_inputs=[], answer="", is_sure=None, what_if=None, without_what_if="")
        for plan in (link["plan"], *(row["plan"] for row in link["baselines"])):
            if plan is not None:
                plan.update(terms=[], without=[], encoded=[])
    return data


def _certificate_of_sentences(proof: str, confirmation: str) -> Old:
    proven = re.match("optimal|within|best mean", proof) is not None
    _, _, by = confirmation.partition("confirmed by ")
    return {"status": "optimal" if proven else "feasible", "confirmed_by": by}


class _Named:
    """Gives names to what was found by its position."""

    def __init__(self, data: Old) -> None:
        self.data = data
        self.devices: list[str] = [device["name"] for device in data["devices"]]

    def report(self) -> Old:
        old = self.data
        return {
            "network": old["network"],
            "batch": old.get("batch", 1),
            "layers": old["layers"],
            "goal": old["goal"],
            "goal_name": old["goal_name"],
            "goal_unit": GOAL_UNITS[old["goal"]],
            "has_energy": old["has_energy"],
            "arithmetic": old["arithmetic"],
            "warnings": old.get("warnings", []),
            "devices": [_device(device) for device in old["devices"]],
            "links": [self.link(link) for link in old["links"]],
            "without_plan": old.get("without_plan", []),
            "effect": [self.effect(effect) for effect in old["effect"]],
            "sources": [
                {
                    "device": source["device"],
                    "path": source["path"],
                    "dialect": source.get("dialect", ""),
                    "file": source["file"],
                    "facts": [{"name": name, "value": value} for name, value in source["facts"]],
                }
                for source in old["sources"]
            ],
            "command": old["command"],
            "versions": old["versions"],
        }

    def link(self, old: Old) -> Old:
        rows = zip((letter for letter, _ in text_plot.lettered(old["baselines"])), old["baselines"], strict=True)
        return {
            "name": old["name"],
            "rates": [self.rate(rate) for rate in old["rates"]],
            "tensors": [{"boundary": at, "size_bytes": size} for at, size in enumerate(old["sizes_bytes"])],
            "plan": self.plan(old["plan"]),
            "certificate": _certificate(old["certificate"]),
            "proof": old["proof"],
            "confirmation": old["confirmation"],
            "frontier": None if old["frontier"] is None else self.frontier(old["frontier"]),
            "baselines": [self.baseline(letter, row) for letter, row in rows],
            "interval": _plan_interval(old["interval"]),
            "certainty": None if old["certainty"] is None else self.certainty(old["certainty"]),
            "maps": [self.map(best) for best in old["maps"]],
            "held": [_held(held) for held in old["held"]],
            "notes": old["notes"],
            "explanation": None if old["explanation"] is None else self.explanation(old["explanation"]),
            "other_inputs": [],
        }

    def rate(self, old: Old) -> model.Rate:
        first, second = old["pair"]
        return {
            "from_device": self.devices[first],
            "to_device": self.devices[second],
            "upload_bit_s": old["upload_bit_s"],
            "download_bit_s": old["download_bit_s"],
            "round_trip_s": old["round_trip_s"],
            "source": old["source"],
        }

    def steps(self, old: Sequence[Sequence[int]]) -> list[model.Step]:
        return [
            {"first": first, "last": last, "device": self.devices[device], "frequency_hz": frequency_hz}
            for first, last, device, frequency_hz in old
        ]

    def plan(self, old: Old) -> model.Plan:
        steps = zip(self.steps(old["steps"]), old["costs"], strict=True)
        return {
            "steps": [{**step, "latency_s": latency_s, "energy_j": energy_j} for step, (latency_s, energy_j) in steps],
            "transfers": [
                {
                    "boundary": boundary,
                    "source": self.devices[source],
                    "target": self.devices[target],
                    "size_bytes": size_bytes,
                    "latency_s": latency_s,
                    "energy_j": energy_j,
                }
                for boundary, source, target, size_bytes, latency_s, energy_j in old["transfers"]
            ],
            "latency_s": old["latency_s"],
            "computation_s": old["computation_s"],
            "communication_s": old["communication_s"],
            "energy_j": old["energy_j"],
            "computation_j": old["computation_j"],
            "radio_j": old["radio_j"],
            "period_s": old["period_s"],
            "value": old["value"],
            "over_trace": [],
            "terms": [],
            "without": [],
            "encoded": [],
        }

    def frontier(self, old: Old) -> model.Frontier:
        places = old.get("places") or list(range(len(old["time_s"])))
        points = zip(places, old["time_s"], old["energy_j"], old["steps"], old["intervals"], strict=True)
        return {
            "time_name": old["time_name"],
            "points": [
                {
                    "number": place + 1,
                    "time_s": time_s,
                    "energy_j": energy_j,
                    "steps": self.steps(steps),
                    "interval": _plan_interval(interval),
                }
                for place, time_s, energy_j, steps, interval in points
            ],
            "knee_number": places[old["knee"]] + 1,
            "count": old["count"],
            "complete": old["complete"],
        }

    def baseline(self, letter: str, old: Old) -> model.Baseline:
        return {
            "letter": letter,
            "is_chosen": letter == text_plot.CHOSEN,
            "name": old["name"],
            "source": old["source"],
            "plan": None if old["plan"] is None else self.plan(old["plan"]),
            "believed_latency_s": old["believed_latency_s"],
            "believed_energy_j": old["believed_energy_j"],
            "gain": old["gain"],
            "reason": old["reason"],
            "interval": _plan_interval(old["interval"]),
        }

    def certainty(self, old: Old) -> model.Certainty:
        return {
            "confidence": old["confidence"],
            "replicates": old["replicates"],
            "notes": old.get("notes", []),
            "latency_s": _ends(old["latency_s"]),
            "energy_j": _interval(old["energy_j"]),
            "value": _interval(old["value"]),
            "best_share": old["best_share"],
            "frontier_share": old["frontier_share"],
            "kept_share": old["kept_share"],
            "regret": old["regret"],
            "regret_high": old["regret_high"],
            "infeasible_share": old["infeasible_share"],
            "winners": [{"steps": self.steps(steps), "share": share} for steps, share in old["winners"]],
            "other_winners": old["other_winners"],
            "measure_next": old["measure_next"],
        }

    def map(self, old: Old) -> model.Map:
        rates = old["rates_bit_s"]
        return {
            "vary": old["vary"],
            "knob_unit": "s" if old["vary"] == "round_trip" else "",
            "here": old["here"],
            "round_trip_s": old["round_trip_s"],
            "rates": None if rates is None else {"upload_bit_s": rates[0], "download_bit_s": rates[1]},
            "regions": [
                {
                    "low": region["low"],
                    "high": region["high"],
                    "steps": None if region["steps"] is None else self.steps(region["steps"]),
                    "constant": region["constant"],
                    "slope": region["slope"],
                }
                for region in old["regions"]
            ],
        }

    def explanation(self, old: Old) -> model.Explanation:
        return {
            "confidence": old["confidence"],
            "rivals": [
                {
                    "what": rival["what"],
                    "steps": self.steps(rival["steps"]),
                    "margin": rival["margin"],
                    "share": rival["share"],
                    "interval": _interval(rival["interval"]),
                }
                for rival in old["rivals"]
            ],
            "slacks": old["slacks"],
        }

    def effect(self, old: Old) -> model.Effect:
        return {
            "device": self.devices[old["device"]],
            "frequency_hz": old["frequency_hz"],
            "bundles": [
                {"first": first, "last": last, "latency_s": latency_s, "sum_s": sum_s}
                for first, last, latency_s, sum_s in old["bundles"]
            ],
            "count": old["count"],
        }


def _device(old: Old) -> model.Device:
    return {
        "name": old["name"],
        "is_edge": old["is_edge"],
        "origin": old["origin"],
        "energy_origin": old["energy_origin"],
        "energy_model": old["energy_model"],
        "energy_gain": old.get("energy_gain", ""),
        "frequencies_hz": old["frequencies_hz"],
        "runs": old["runs"],
        "bundles": old["bundles"],
        "weights": old["weights"] or "",
    }


def _held(old: Old) -> model.Held:
    return {
        "name": old["name"],
        "unit": "s" if old["name"] == "latency" else "J",
        "limit": old["limit"],
        "mean": old["mean"],
        "sd": old["sd"],
        "bound": old["bound"],
        "share": old["share"],
        "drawn_share": old["drawn_share"],
    }


def _certificate(old: Old) -> model.Certificate:
    return {
        "status": old["status"],
        "solver": old.get("solver", ""),
        "version": old.get("version", ""),
        "objective": old.get("objective"),
        "bound": old.get("bound"),
        "note": old.get("note", ""),
        "complete": old.get("complete"),
        "chance": old.get("chance"),
        "confirmed_by": old["confirmed_by"],
        "unconfirmed": old.get("unconfirmed", ""),
    }


def _ends(old: Sequence[float]) -> model.Interval:
    low, high = old
    return {"low": low, "high": high}


def _interval(old: Sequence[float] | None) -> model.Interval | None:
    return _ends(old) if old else None


def _plan_interval(old: Sequence[Sequence[float]] | None) -> model.PlanInterval | None:
    if old is None:
        return None
    time_s, energy_j = old
    return {"time_s": _ends(time_s), "energy_j": _interval(energy_j)}
