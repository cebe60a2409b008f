"""A verification as two files: verification.json, what was predicted and measured; verification.parquet, every stage.

They lie in STUDY/verified/NUMBER, which says the order in which they were made.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from dime.contract import files, schemas
from dime.contract.errors import InputError, TableError
from dime.host.common import places
from dime.host.execution import comparison
from dime.host.execution.comparison import OF_DEVICES, Compared, Effect, Measured, Told
from dime.host.execution.joules import Energy
from dime.host.execution.link_check import Checked
from dime.host.execution.plans import Candidate
from dime.host.execution.runs import RanLink, Verification
from dime.host.planning.encoded import Encoded
from dime.host.profiles.link_profile import Estimate, LinkProfile

if TYPE_CHECKING:
    from dime.contract.stages import Row

FOLDER, SUMMARY, RUNS = "verified", "verification.json", "verification.parquet"

RULE = "a prediction holds if the measured mean lies in its 95 % interval, widened by the measurement's own"

# Column of verification.parquet -> what it holds. A crossing begins on the source's clock and ends on the target's.
COLUMNS = {
    "link": "the link's name",
    "plan": "the plan's name",
    "round": "the round, from 0",
    "request": "the request's number in the run; -1: none, but a bundle's runs one after the other before the round",
    "picture": "its picture",
    "fallback": "the device that was silent, where the edge device finished by itself; else empty",
    "stage": "compute, crossing, copies, clock, encoding, overhead (of a device), request: all of it; or back_to_back",
    "what": "the bundle, or the layer that a tensor enters",
    "device": "the device that computes, or sends",
    "target": "the device that receives; empty for what is computed",
    "frequency_hz": "the clock that was set; -1: left alone",
    "start_ns": "on the device's monotonic clock, if one stretch; of a crossing its first byte out, on the source's",
    "end_ns": "the same; of a crossing its last byte in, on the target's",
    "bytes": "what crossed: a picture's own bytes, where it was encoded",
    "seconds": "how long it took; of a crossing without comparing two clocks",
    "origin": "measured, or emulated: it went through an emulated link",
}


def folder(study: str | os.PathLike[str]) -> Path:
    """The next free STUDY/verified/NUMBER."""
    return next(path for n in count(1) if not (path := Path(study) / FOLDER / f"{n:03}").exists())


def write(found: Verification, into: Path, command: str = "") -> Path:
    """Writes both files.

    Args:
        found: What was found.
        into: The folder, which must not exist yet.
        command: The command line that asked for it.

    Returns:
        The folder.

    Raises:
        InputError: It exists already, or the disk would not take it.
    """
    aside = into.with_name(f".{into.name}.{os.getpid()}")
    try:
        with files.making(into, aside):
            _write_runs(found, aside / RUNS)
            content = schemas.stamped(schemas.VERIFICATION, summary(found, command))
            places.write_new(aside / SUMMARY, files.as_json(content))
    except OSError as error:
        raise InputError(f"{into}: {error.strerror}") from None
    return into


def read(folder: str | os.PathLike[str]) -> dict[str, object]:
    """Reads verification.json, with the name of its folder.

    Raises:
        TableError: It is missing, damaged, or of a later version.
    """
    path = Path(folder) / SUMMARY
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
        schemas.version(schemas.VERIFICATION, said, path)
        for link in said["links"]:
            for plan in link["plans"]:
                float(plan["measured"]["mean_s"])
        return {**schemas.without(said), "folder": path.parent.name}
    except OSError as error:
        raise TableError(f"{path}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise TableError(f"{path} is damaged: {error}") from None


def summary(found: Verification, command: str = "") -> dict[str, object]:
    """What verification.json holds."""
    return {
        "network": found.network,
        "devices": [{"name": name, **facts} for name, facts in zip(found.devices, found.facts, strict=True)],
        "versions": dict(found.versions),
        "started_utc": found.started_utc,
        "seconds": found.seconds,
        "command": command,
        "verdict": RULE,
        "links": [_link(link, found) for link in found.links],
    }


def _link(link: RanLink, found: Verification) -> dict[str, object]:
    return {
        "name": link.name,
        "origin": link.origin,
        "goal": link.goal,
        "joined": [
            {
                **{"caller": a, "called": b, **asdict(one), "kept": link.kept.get((a, b), {})},
                **_checked(link.checked.get((a, b))),
            }
            for (a, b), one in link.links.items()
        ],
        "plans": [
            _plan(one, compared, found.devices) for one, compared in zip(link.candidates, link.compared, strict=True)
        ],
        "best": link.best.name,
        "regret": link.regret,
        "is_ordered": link.is_ordered,
        "notes": list(link.notes),
    }


def _checked(one: Checked | None) -> dict[str, object]:
    """What a link was before and after, and what moved; nothing where it was not measured."""
    if one is None:
        return {"before": None, "after": None, "moved": []}
    said = {"size_bytes": one.size_bytes}
    return {
        "before": {**said, **_rates(one.before)},
        "after": None if one.after is None else {**said, **_rates(one.after)},
        "moved": list(one.moved),
    }


def _rates(found: LinkProfile) -> dict[str, object]:
    estimates = {name: getattr(found, name) for name in ("round_trip_s", "upload_bit_s", "download_bit_s")}
    return {
        **{name: {"mean": one.value, "interval": _ends(_both(one))} for name, one in estimates.items()},
        "passes": [list(one) for one in found.passes],
    }


def _both(one: Estimate) -> tuple[float, float] | None:
    return None if one.low is None or one.high is None else (one.low, one.high)


def _plan(one: Candidate, compared: Compared, names: Sequence[str]) -> dict[str, object]:
    return {
        "letter": one.letter,
        "name": one.name,
        "also": list(one.also),
        "segments": [[names[segment.device], [[*step.bundle, step.frequency_hz] for step in segment.steps]]
                     for segment in one.segments],
        "predicted": {"mean_s": compared.predicted_s, "interval_s": _ends(compared.predicted_interval_s)},
        "measured": _measured(compared.measured),
        "holds": compared.holds,
        "relative_error": compared.error,
        "distance": compared.distance,
        "encoded": [_encoded(each) for each in one.encoded],
        "effect": None if compared.effect is None else asdict(compared.effect),
        "fallbacks": compared.fallbacks,
        "fallback_s": list(one.fallback_s),
        "energies": [_energy(each, one) for each in compared.energies],
        "stages": [_stage(told) for told in compared.stages],
    }  # fmt: skip


def _encoded(one: Encoded) -> dict[str, object]:
    """How what crosses at a boundary was sent, and what that did to the result when it was profiled, alone."""
    names = ("boundary", "encoding", "size_bytes", "most_bytes", "plain_bytes", "origin")
    profiled = Effect(one.same_class, one.distance, one.images)
    return {**{name: getattr(one, name) for name in names}, "profiled_effect": asdict(profiled)}


def _energy(found: Energy, one: Candidate) -> dict[str, object]:
    """Joules a request; those of stages where the meter can tell windows so short."""
    names = {part.at: part.what for part in one.parts if part.cause == "compute"}
    return {
        "device": found.device,
        "predicted": {"mean_j": found.predicted_j, "interval_j": _ends(found.predicted_interval_j)},
        "measured": {"mean_j": found.mean_j, "interval_j": _ends(found.interval_j), "why_not": found.why_not},
        "holds": found.holds,
        "stages": [{"what": names[at], "mean_j": mean_j} for at, mean_j in found.steps_j.items()],
    }


def _stage(told: Told) -> dict[str, object]:
    part = told.part
    return {
        **{name: getattr(part, name) for name in ("cause", "what", "device", "target", "frequency_hz", "size_bytes")},
        "predicted": {"mean_s": part.predicted_s, "interval_s": _ends(part.interval_s), "origin": part.origin},
        "measured": _measured(told.measured),
        "back_to_back": None if told.back_to_back is None else _measured(told.back_to_back),
    }


def _measured(one: Measured) -> dict[str, object]:
    return {
        "mean_s": one.mean_s,
        "interval_s": _ends(one.interval_s),
        "median_s": one.median_s,
        "p95_s": one.p95_s,
        "requests": one.count,
        "rounds": one.rounds,
    }


def _ends(interval: comparison.Interval | None) -> list[float] | None:
    return None if interval is None else list(interval)


def _write_runs(found: Verification, path: Path) -> None:
    import pyarrow
    from pyarrow import parquet

    rows = [row for link in found.links for row in (*_rows(link, found), *_back_to_back(link))]
    kinds = {"round": pyarrow.int64(), "request": pyarrow.int64(), "frequency_hz": pyarrow.int64(),
             "start_ns": pyarrow.int64(), "end_ns": pyarrow.int64(), "bytes": pyarrow.int64(),
             "seconds": pyarrow.float64()}  # fmt: skip
    schema = pyarrow.schema(
        [(name, kinds.get(name, pyarrow.string())) for name in COLUMNS],
        metadata={"schema": schemas.VERIFICATION_RUNS.name, "version": str(schemas.VERIFICATION_RUNS.version)},
    )
    written = pyarrow.BufferOutputStream()
    parquet.write_table(pyarrow.Table.from_pylist(rows, schema), written)
    places.write_new(path, written.getvalue().to_pybytes())


def _rows(link: RanLink, found: Verification) -> Iterator[dict[str, object]]:
    """One row a request and stage, and one for all of the request."""
    for one, of_rounds in zip(link.candidates, link.rows, strict=True):
        for turn, rows in enumerate(of_rounds):
            for row in rows:
                about = {
                    **{"link": link.name, "plan": one.name, "round": turn, "request": row["number"]},
                    **{"picture": row["picture"], "fallback": row["fallback"]},
                }
                yield {
                    **about, "stage": "request", "what": "", "device": found.devices[0], "target": "",
                    "frequency_hz": -1, "start_ns": row["start_ns"], "end_ns": row["end_ns"], "bytes": 0,
                    "seconds": (row["end_ns"] - row["start_ns"]) / 1e9,
                    "origin": link.origin if len(one.segments) > 1 else "measured",
                }  # fmt: skip
                if not row["fallback"]:
                    yield from _stages(about, row, one, found.devices, link.origin)


def _stages(
    about: Mapping[str, object], row: Row, one: Candidate, names: Sequence[str], origin: str
) -> Iterator[dict[str, object]]:
    parts = {(part.cause, *part.at): part for part in one.parts}
    times = comparison.stage_times(row, one.segments, one.delays_s)
    for at, (segment, stamps) in enumerate(zip(one.segments, row["segments"], strict=True)):
        if at:
            part = parts["crossing", at - 1, 0]
            yield {
                **about, "stage": "crossing", "what": part.what, "device": part.device, "target": part.target,
                "frequency_hz": -1, "start_ns": row["segments"][at - 1]["out_first"], "end_ns": stamps["in_last"],
                "bytes": stamps["in_bytes"], "seconds": times["crossing", at - 1, 0], "origin": origin,
            }  # fmt: skip
        for number, (step, stamp) in enumerate(zip(segment.steps, stamps["steps"], strict=True)):
            yield {
                **about, "stage": "compute", "what": parts["compute", at, number].what,
                "device": names[segment.device], "target": "", "frequency_hz": step.frequency_hz,
                "start_ns": stamp["start"], "end_ns": stamp["end"], "bytes": 0,
                "seconds": stamp["compute"] / 1e9, "origin": "measured",
            }  # fmt: skip
    for part in one.parts:
        if part.cause in OF_DEVICES:
            yield {
                **about, "stage": part.cause, "what": "", "device": part.device, "target": "", "frequency_hz": -1,
                "start_ns": None, "end_ns": None, "bytes": 0,
                "seconds": comparison.of_device(times, part, one.segments), "origin": "measured",
            }  # fmt: skip


def _back_to_back(link: RanLink) -> Iterator[dict[str, object]]:
    """One row a run of a bundle before a round; no request is meant."""
    for one, of_rounds in zip(link.candidates, link.alone, strict=False):
        bundles = {part.at: part for part in one.parts if part.cause == "compute"}
        for turn, found in enumerate(of_rounds):
            for at, times_s in found.items():
                for seconds in times_s if at in bundles else ():
                    yield {
                        "link": link.name, "plan": one.name, "round": turn, "request": -1, "picture": "",
                        "fallback": "", "stage": "back_to_back", "what": bundles[at].what,
                        "device": bundles[at].device, "target": "",
                        "frequency_hz": bundles[at].frequency_hz, "start_ns": None, "end_ns": None, "bytes": 0,
                        "seconds": seconds, "origin": "measured",
                    }  # fmt: skip
