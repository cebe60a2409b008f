"""timings.csv + power.csv + clock.json -> joint_profile.parquet: seconds and joules of every run.

Beside it joint_summary.csv, each bundle's means with 95 % intervals, and joint_quality.json: the clocks, the idle
power, and what was rejected. What each column of the parquet is stands in COLUMNS, and in the parquet's own metadata.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypedDict, cast

import numpy as np
from numpy.typing import NDArray

from dime.contract import files, run, schemas, tables
from dime.contract.errors import TableError, unknown
from dime.contract.run import RunSpec
from dime.host.common.stats import Bools, counted_once
from dime.host.metering import alignment, integrate, power_trace, suspends
from dime.host.metering import timebase as clocks
from dime.host.metering.api import FLOAT, TIMESTAMP
from dime.host.metering.gain import ENERGY_GAIN, Gain
from dime.host.metering.meter_timebase import INTEGERS
from dime.host.metering.power_trace import Trace
from dime.host.metering.quality import GainData
from dime.host.profiles import warm_up
from dime.host.profiles.joint_summary import Column, Groups, short_of, summarise
from dime.host.profiles.profile_files import sessions_of
from dime.host.profiles.published_table import library_errors

if TYPE_CHECKING:
    import pyarrow

    from dime.contract.run import Session
    from dime.contract.timebase import ClockSession, Code, Log

SUMMARY = "joint_summary.csv"
QUALITY = run.JOINT_QUALITY
ASKED = "asked"  # in it, how the join was asked for: files may have moved since, and earlier versions did not say
POWER_FOLDER = "power"
# A load pattern's place is taken as known to so many of its standard uncertainties.
CODE_SIGMAS = 4.0
# A rest is looked at in parts of so many seconds, and of so many of the meter's periods.
LEAST_PART_S = 1.0
PERIODS_A_PART = 10
ASLEEP = "while a computer slept"
NO_CLOCK = "no clock since a computer slept"
WITHOUT_WARM_UP = "it is a warm-up, and joint_summary.csv, like plans, is without it"
CLOCKS = ("exchanges", "pattern", "same machine")
_UNKNOWN: ClockSession = {"start_ns": 0, "boot_id": None, "bursts": [], "logs": []}


class Timed(TypedDict):
    """Columns of timings.csv."""

    bundle: NDArray[np.object_]
    first_layer: NDArray[np.object_]
    last_layer: NDArray[np.object_]
    frequency_hz: INTEGERS
    iteration: INTEGERS
    run: INTEGERS
    image: NDArray[np.object_]
    repeats: INTEGERS
    duration_s: FLOAT
    start_ns: INTEGERS
    end_ns: INTEGERS
    input_bytes: INTEGERS
    output_bytes: INTEGERS
    input_shape: NDArray[np.object_]
    output_shape: NDArray[np.object_]


class Quality(TypedDict, total=False):
    """What joint_quality.json holds."""

    clocks: list[dict[str, object]]
    codes: list[dict[str, object]]
    breaks: list[dict[str, object]]
    idle_w: dict[int, float]
    idle_w_sd: dict[int, float]
    origin: str
    rows: int
    rejected: dict[str, int]
    meter: str
    channel: str
    period_s: float
    trace_clock_error_s: float
    log: dict[str, int]
    gain: GainData
    forced: bool
    asked: dict[str, object]


_TIMED = {column.name: column.meaning for column in tables.TIMINGS}
COLUMNS = {
    "layers": _TIMED["bundle"],
    **{name: _TIMED[name] for name in ("first_layer", "last_layer", "frequency_hz", "iteration", "run", "repeats")},
    "session": "the run's session, from 0, between which it was cut off or the device did something else",
    "duration_s": _TIMED["duration_s"] + "; a profile's time is that of a typical run, the mean of trimmed passes",
    "single_s": _TIMED["single_s"] + "; empty: not measured",
    "energy_j": "energy of one run: the span's divided by repeats; a profile's energy is the plain mean of passes",
    "edge_j": "what of it is a correction for the span's edges",
    "samples": "the meter's readings in the span",
    "copy_in_s": _TIMED["copy_in_s"] + "; empty: not measured",
    "copy_out_s": _TIMED["copy_out_s"] + "; empty: not measured",
    "waited_s": _TIMED["waited_s"] + "; empty: not measured",
    "idle_w": "power at rest at this frequency, before its first pass and after its last",
    "idle_w_sd": "its standard uncertainty, the meter's gain apart",
    "frequency_change_s": "time of a change to this frequency, until it reads back and work is as fast as it stays",
    "input_bytes": _TIMED["input_bytes"],
    "output_bytes": _TIMED["output_bytes"],
    "frequency": "frequency_hz, as published tables name it",
    "iter": "iteration, as published tables name it",
    "durs": "duration_s, as published tables name it",
    "run_energy": "energy_j in uJ, as published tables have it",
    "device": "name of the device",
    "origin": ", ".join(run.ORIGINS[:-1]) + " or " + run.ORIGINS[-1],
}


@dataclass(frozen=True)
class Joined:
    """A joint profile on disk.

    Attributes:
        path: The parquet.
        rows: Its rows.
        summary: Columns of the summary.
        quality: Clocks, idle power, rejections.
        notes: What a person should know, a line each.
    """

    path: Path
    rows: int
    summary: Mapping[str, Column]
    quality: Quality
    notes: Sequence[str]


def join(
    run_folder: str | os.PathLike[str],
    power: str | os.PathLike[str] | None = None,
    clock: str | None = None,
    channel: str = "",
    target: float = 0.0,
    force: bool = False,
    calibration: str | os.PathLike[str] | None = None,
) -> Joined:
    """Joins a run's timings with the power logged meanwhile.

    Args:
        run_folder: The run's folder, with run.json, timings.csv and clock.json.
        power: A power log, or the folder that holds the logs; None: the run's own folder, or ``power`` in it.
        clock: Which clock to believe: ``exchanges``, ``pattern`` or ``same machine``; None: the first there is.
        channel: The meter's channel that feeds the device; empty: as the logger was told, or the only one that was on.
        target: Relative half-width that energies should reach; misses are named in the notes. 0: none.
        force: Join although clocks disagree by more than their error bars; never across a computer's sleep.
        calibration: A file of ``dime power calibrate``; None: as the logger was told, or what the meter's maker states.

    Returns:
        What was written. Written twice from the same measurements it is the same.

    Raises:
        TableError: A file is missing or damaged; no row has an energy; the clocks disagree; another result is there.
        InputError: No such clock or channel.
    """
    if clock and clock not in CLOCKS:
        raise unknown("clock", clock, CLOCKS)
    folder = Path(run_folder)
    spec = RunSpec.read(folder)
    columns = _columns(folder / run.TIMINGS)
    sessions = clocks.read(folder) or _unlogged(spec)
    traces = [power_trace.load(path, channel, calibration) for path in _logs(folder, power, sessions)]
    trace = power_trace.join(traces)
    session_of = _sessions(spec, sessions, columns)
    quality: Quality = {"clocks": [], "codes": [], "breaks": []}
    start_ns, end_ns = (
        np.full_like(columns["start_ns"], trace.epoch_ns),
        np.full_like(columns["end_ns"], trace.epoch_ns),
    )
    error_s, placed = np.zeros(len(start_ns)), np.zeros(len(start_ns), bool)
    lost = {reason: np.zeros(len(start_ns), bool) for reason in (ASLEEP, NO_CLOCK)}
    breaks: list[suspends.Break] = []
    idle = _Idle(trace)
    for number in np.unique(session_of).tolist():
        session = sessions[number] if sessions else _UNKNOWN
        rows = session_of == number
        pieces, report = _pieces(session, traces, clock, force)
        for piece in pieces:
            inside = rows & (columns["start_ns"] >= piece.from_ns) & (columns["end_ns"] <= piece.to_ns)
            placed |= inside
            if piece.clock is None:
                lost[NO_CLOCK] |= inside
                continue
            late = _late(piece, trace, columns, inside)
            begin_ns = piece.clock.logger_ns(columns["start_ns"][inside])
            over_ns = piece.clock.logger_ns(columns["end_ns"][inside])
            start_ns[inside], end_ns[inside] = begin_ns + late.shift_ns(begin_ns), over_ns + late.shift_ns(over_ns)
            error_s[inside] = late.spread_s(begin_ns)
            last_ns = int(columns["end_ns"][inside if inside.any() else rows].max())
            told = piece.clock.report(last_ns) | {
                "others": [other.report(last_ns) for other in piece.others],
                "trace_late": late._asdict(),
            }
            quality["clocks"].append(told)
            idle.add(session, piece)
        quality["codes"] += report
        breaks += [piece.ended_by for piece in pieces if piece.ended_by is not None]
        quality["breaks"] = [vars(one) for one in breaks]
        lost[ASLEEP] |= rows & ~placed
    quality |= {"idle_w": idle.watts(), "idle_w_sd": idle.errors_w()}
    energies = integrate.measure(trace, start_ns, end_ns, error_s)
    for reason, rows in lost.items():
        energies = integrate.without(energies, rows, reason)
    kept = energies.rejected == ""
    quality |= {
        "origin": _origin(spec, trace),
        "rows": int(kept.sum()),
        "rejected": dict(Counter(energies.rejected[~kept].tolist())),
        "meter": trace.meter,
        "channel": trace.channel,
        "period_s": trace.period_s,
        "trace_clock_error_s": trace.clock_error_s,
        "log": dict(trace.counts),
        "gain": trace.gain.data(),
        "forced": force,
        "asked": {
            "power": None if power is None else os.fspath(power),
            "clock": clock,
            "channel": channel,
            "target": target,
            "force": force,
            "calibration": None if calibration is None else os.fspath(calibration),
        },
    }
    if not kept.any():
        reasons = ", ".join(f"{count} {reason}" for reason, count in quality["rejected"].items())
        raise TableError(f"{folder}: no row can be given an energy: {reasons}; {_advice(trace, start_ns, end_ns)}")
    table = _table(spec, columns, energies, kept, quality)
    settled, warmed = _without_warm_up(columns, kept)
    summary = _summary(columns, energies, settled, quality, trace.gain, sessions_of(spec, len(kept)))
    notes = _notes(columns, kept, quality, breaks, trace.gain, summary, target) + warmed
    _write(folder, table, summary, quality, trace)
    return Joined(folder / run.JOINT_PROFILE, int(kept.sum()), summary, quality, notes)


def _columns(path: Path) -> Timed:
    rows = tables.read(path, tables.TIMINGS)
    kinds: dict[type, type[np.generic]] = {int: np.int64, float: np.float64, str: np.object_}
    found: dict[str, NDArray[np.generic]] = {}
    for one in tables.TIMINGS:
        try:
            found[one.name] = np.array([row[one.name] for row in rows], dtype=kinds[one.kind])
        except OverflowError:
            raise TableError(f"{path}: {one.name} has a number beyond 64 bits") from None
    columns = cast(Timed, found)  # which has the names and kinds of tables.TIMINGS
    backwards = np.flatnonzero(columns["end_ns"] - columns["start_ns"] <= 0)
    if len(backwards):
        raise TableError(f"{path} line {int(backwards[0]) + 2}: a window that ends before it begins")
    return columns


def _logs(folder: Path, power: str | os.PathLike[str] | None, sessions: Sequence[ClockSession]) -> list[Path]:
    """Finds the run's power logs: the file named, those that the device asked for, or all of a folder."""
    place = Path(power) if power is not None else folder
    if power is not None and not place.is_dir():
        return [place]
    asked = [str(log["file"]) for session in sessions for log in session["logs"]]
    bases = (place, place / POWER_FOLDER)
    found = [path for path in (base / name for base in bases for name in asked) if path.is_file()]
    missing = sorted(set(asked) - {path.name for path in found})
    if found and missing:
        raise TableError(f"{place} lacks the power logs {', '.join(missing)}; name the folder: --power FOLDER")
    if not found and (place / run.POWER).is_file():
        found = [place / run.POWER]
    if not found:
        found = sorted(path for base in bases for path in base.glob("*.csv") if _is_log(path))
    if not found:
        raise TableError(f"{place} holds no power log{': ' + ', '.join(missing) if missing else ''}; name it: --power")
    return found


def _is_log(path: Path) -> bool:
    with path.open(encoding="utf-8", errors="replace") as stream:
        return stream.readline().rstrip().endswith("," + TIMESTAMP)


def _unlogged(spec: RunSpec) -> list[ClockSession]:
    """Stands in for a missing clock.json: the run's sessions, of which only the machine is known."""
    return [
        {"start_ns": one.get("start_ns", 0), "boot_id": one.get("boot_id"), "bursts": [], "logs": []}
        for one in spec.sessions or []
    ]


def _sessions(spec: RunSpec, sessions: Sequence[ClockSession], columns: Timed) -> INTEGERS:
    """Each row's entry in clock.json: a run that was cut off and resumed, perhaps rebooted, has several clocks."""
    rows = len(columns["start_ns"])
    number = np.zeros(rows, np.int64)
    starts = spec.sessions or []
    if not all({"rows", "start_ns"} <= set(one) for one in starts):
        raise TableError(f"{run.RUN} is damaged: a session lacks rows or start_ns")
    if not starts:
        return number
    over: Session = {"rows": rows}
    for begin, end in zip(starts, [*starts[1:], over], strict=True):
        fitting = [
            place
            for place, one in enumerate(sessions)
            if one.get("boot_id") == begin.get("boot_id") and one["start_ns"] <= begin["start_ns"]
        ]
        if sessions and not fitting and end["rows"] > begin["rows"]:
            raise TableError(f"clock.json knows nothing of the session that began with row {begin['rows']}")
        number[begin["rows"] : end["rows"]] = max(fitting, key=lambda place: sessions[place]["start_ns"], default=0)
    return number


class _Piece(NamedTuple):
    """A stretch of a session in which both clocks went on.

    Attributes:
        from_ns: Its beginning on the device's clock.
        to_ns: Its end.
        clock: The clock that was chosen for it; None where there is none.
        others: The other clocks there are.
        ended_by: What it ends with; None for the last one.
        codes: The busy times of the load patterns that were found in it, on the device's clock.
    """

    from_ns: int
    to_ns: int
    clock: clocks.Clock | None
    others: list[clocks.Clock]
    ended_by: suspends.Break | None
    codes: Sequence[Sequence[Sequence[int]]]


def _pieces(
    session: ClockSession, traces: Sequence[Trace], wanted: str | None, force: bool
) -> tuple[list[_Piece], list[dict[str, object]]]:
    """Chooses a session's clocks, one for each stretch between two sleeps of a computer.

    Returns:
        The stretches, and what was found of each code.
    """
    found = [
        (trace, log, code, clocks.find_code(trace, code["busy_ns"]))
        for log in session.get("logs", [])
        for trace in traces
        if Path(trace.name).name == log["file"] or len(traces) == 1
        for code in log["codes"]
    ]
    bursts = [burst for burst in session.get("bursts", []) if burst]
    anchors = suspends.of_bursts(bursts) or [
        suspends.Anchor(one.device_ns, one.offset_ns, CODE_SIGMAS * one.error_s) for *_, one in found if one is not None
    ]
    breaks = suspends.breaks(anchors, [sleep for trace in traces for sleep in trace.sleeps])
    pieces, report = [], []
    for (from_ns, to_ns), ended_by in zip(suspends.stretches(breaks), [*breaks, None], strict=True):
        own = [burst for burst in bursts if from_ns <= suspends.of_bursts([burst])[0].device_ns <= to_ns]
        codes = [one for one in found if from_ns <= one[2]["busy_ns"][0][0] and one[2]["busy_ns"][-1][1] <= to_ns]
        chosen, others, told = _clock(own, codes, clocks.same_machine(traces[0], session.get("boot_id")), wanted, force)
        report += told
        patterns = [code["busy_ns"] for _, _, code, seen in codes if seen is not None]
        pieces.append(_Piece(from_ns, to_ns, chosen, others, ended_by, patterns))
    if all(piece.clock is None for piece in pieces):
        lacking = wanted or "exchanges, a load pattern, a common machine"
        raise TableError(f"no clock relates the run's times to the power log's; missing: {lacking}")
    return pieces, report


def _clock(
    bursts: Sequence[Sequence[Sequence[int]]],
    found: Sequence[tuple[Trace, Log, Code, clocks.Found | None]],
    same: clocks.Clock | None,
    wanted: str | None,
    force: bool,
) -> tuple[clocks.Clock | None, list[clocks.Clock], list[dict[str, object]]]:
    """Chooses a clock; whichever that is, the codes found in the power must fit the one that is no code's.

    Returns:
        The clock, the others there are, and what was found of each code.
    """
    seen = [one for *_, one in found if one is not None]
    offers = [
        clocks.from_exchanges(bursts) if bursts else None,
        same,
        clocks.from_codes(seen) if seen else None,
    ]
    there = [one for one in offers if one is not None]
    chosen = next((one for one in there if wanted in (None, one.source)), None)
    if chosen is None:
        return None, there, []
    others = [one for one in there if one is not chosen]
    checked = next((one for one in (chosen, *others) if one.source != "pattern"), chosen)
    report = []
    for trace, log, code, one in found:
        entry: dict[str, object] = {"log": log["file"], "where": code["where"], "found": one is not None}
        if one is not None:
            difference_s, allowed_s = clocks.disagreement(checked, one, trace)
            entry |= {"correlation": one.correlation, "difference_s": difference_s, "allowed_s": allowed_s}
            if abs(difference_s) > allowed_s and not force:
                raise TableError(
                    f"{trace.name}: the clocks disagree: {checked.source} and the load pattern at the {code['where']}"
                    f" differ by {difference_s * 1e3:.1f} ms, their error bars allow {allowed_s * 1e3:.1f} ms; joules"
                    " near a change of load would be wrong; --force joins all the same"
                )
        report.append(entry)
    return chosen, others, report


def _late(piece: _Piece, trace: Trace, columns: Timed, inside: Bools) -> alignment.Displacement:
    """How late the trace is in a piece: by its load patterns, or where there are none by the windows' own edges."""
    assert piece.clock is not None
    start_ns = columns["start_ns"][inside]
    if piece.codes:
        edges_ns = np.array([edge for busy in piece.codes for pair in busy for edge in pair], dtype=np.int64)
        group = np.arange(len(edges_ns)) // 2
    else:
        edges_ns = np.concatenate([start_ns, columns["end_ns"][inside]])
        group = np.unique(np.concatenate([columns["bundle"][inside]] * 2).astype(str), return_inverse=True)[1]
    if not len(start_ns):
        return alignment.Displacement(trace.epoch_ns, 0.0, 0.0, trace.clock_error_s, 0.0, 0)
    order = np.argsort(edges_ns)
    before_s = float(np.hypot(piece.clock.error_s(start_ns), trace.clock_error_s).max())
    return alignment.learn(trace, piece.clock.logger_ns(edges_ns[order]), group[order], before_s)


class _Idle:
    """Power while the device rested, by frequency."""

    def __init__(self, trace: Trace) -> None:
        self._trace, self._whole = trace, integrate.Integral(trace)
        self._rests: dict[int, list[_Rest]] = {}

    def add(self, session: ClockSession, piece: _Piece) -> None:
        """Measures the rests of a session that lie in one of its pieces."""
        assert piece.clock is not None
        for log in session.get("logs", []):
            inside = [one for one in log["idle_ns"] if piece.from_ns <= one[0] and one[1] <= piece.to_ns]
            if not inside:
                continue
            windows = piece.clock.logger_ns(np.array(inside, dtype=np.int64))
            rests = integrate.measure(self._trace, windows[:, 0], windows[:, 1], 0.0)
            for at in np.flatnonzero(rests.rejected == ""):
                from_s, to_s = self._trace.seconds(windows[at])
                rest = _Rest(
                    float(rests.energy_j[at] - rests.edge_j[at]),
                    float(windows[at, 1] - windows[at, 0]) * 1e-9,
                    self._parts_w(float(from_s), float(to_s)),
                    float(rests.resolution_j[at] / (to_s - from_s)),
                )
                self._rests.setdefault(int(log["frequency_hz"]), []).append(rest)

    def _parts_w(self, from_s: float, to_s: float) -> FLOAT:
        """Power of the parts of a rest."""
        part_s = max(LEAST_PART_S, PERIODS_A_PART * self._trace.period_s)
        edges_s = np.linspace(from_s, to_s, max(1, int((to_s - from_s) / part_s + 1e-6)) + 1)
        return np.asarray(np.diff(self._whole.energy_j(edges_s)) / np.diff(edges_s))

    def watts(self) -> dict[int, float]:
        return {
            hertz: sum(rest.joules for rest in rests) / sum(rest.seconds for rest in rests)
            for hertz, rests in self._rests.items()
        }

    def errors_w(self) -> dict[int, float]:
        """Standard uncertainty of each, the meter's gain apart: how rests differ, or a rest's parts if that is more.

        Beside it the steps that the meter cuts values to, which no length evens out.
        """
        errors = {}
        for hertz, rests in self._rests.items():
            means = np.array([rest.joules / rest.seconds for rest in rests])
            seen = []
            if len(means) > 1:
                seen.append(means.std(ddof=1) / np.sqrt(len(means)))
            parts = sum(len(rest.parts_w) for rest in rests)
            if parts > len(rests):
                squares = sum(float(((rest.parts_w - rest.parts_w.mean()) ** 2).sum()) for rest in rests)
                seen.append(np.sqrt(squares / (parts - len(rests)) / parts))
            if seen:
                errors[hertz] = float(np.hypot(max(seen), np.mean([rest.step_w for rest in rests])))
        return errors


class _Rest(NamedTuple):
    """A stretch in which the device rested: its joules, seconds, the power of its parts, and of the meter's steps."""

    joules: float
    seconds: float
    parts_w: FLOAT
    step_w: float


def _origin(spec: RunSpec, trace: Trace) -> str:
    origins = [spec.origin or "measured", trace.origin]
    return max(origins, key=run.ORIGINS.index)


def _table(
    spec: RunSpec, columns: Timed, energies: integrate.Energies, kept: Bools, quality: Quality
) -> dict[str, Sequence[str] | NDArray[np.generic]]:
    repeats = columns["repeats"][kept]
    energy_j = energies.energy_j[kept] / repeats
    present: dict[str, NDArray[np.generic]] = dict(columns)  # type: ignore[arg-type]
    session = sessions_of(spec, len(kept))
    table: dict[str, Sequence[str] | NDArray[np.generic] | None] = {
        **{name: values[kept] for name, values in present.items() if name in COLUMNS},
        "layers": columns["bundle"][kept],
        "session": None if session is None else session[kept],
        "energy_j": energy_j,
        "edge_j": energies.edge_j[kept] / repeats,
        "samples": energies.samples[kept],
        "idle_w": _by_frequency(quality["idle_w"], columns["frequency_hz"][kept]),
        "idle_w_sd": _by_frequency(quality["idle_w_sd"], columns["frequency_hz"][kept]),
        "frequency_change_s": _by_frequency(run.frequency_change_s(spec.sessions), columns["frequency_hz"][kept]),
        "frequency": columns["frequency_hz"][kept],
        "iter": columns["iteration"][kept],
        "durs": columns["duration_s"][kept],
        "run_energy": energy_j * 1e6,
        "device": [spec.device] * len(repeats),
        "origin": [quality["origin"]] * len(repeats),
    }
    return {name: values for name in COLUMNS if (values := table[name]) is not None}


def _by_frequency(known: Mapping[int, float], frequency_hz: INTEGERS) -> FLOAT:
    """What is known of each row's frequency; NaN where nothing is."""
    return np.array([known.get(hertz, np.nan) for hertz in frequency_hz.tolist()])


def _without_warm_up(columns: Timed, kept: Bools) -> tuple[Bools, list[str]]:
    """The rows that the summary is of, and a note where the first pass is not among them."""
    names = np.unique(columns["bundle"][kept].astype(str), return_inverse=True)[1]
    hertz = np.unique(columns["frequency_hz"][kept], return_inverse=True)[1]
    cell = np.unique(names * (int(hertz.max()) + 1) + hertz, return_inverse=True)[1]
    passes = columns["iteration"]
    slower = warm_up.of_rows(cell, passes[kept], columns["duration_s"][kept])
    if slower is None:
        return kept, []
    note = f"the first pass is slower by {slower:.2%}, more than passes differ: {WITHOUT_WARM_UP}"
    return kept & (passes > passes[kept].min()), [note]


def _summary(
    columns: Timed,
    energies: integrate.Energies,
    kept: Bools,
    quality: Quality,
    gain: Gain,
    sessions: INTEGERS | None,
) -> dict[str, Column]:
    bundle, frequency = columns["bundle"][kept], columns["frequency_hz"][kept]
    places: dict[tuple[str, int], int] = {}
    keys = zip(bundle.tolist(), frequency.tolist(), strict=True)
    group = np.array([places.setdefault(key, len(places)) for key in keys])
    names: list[dict[str, str | int]] = [{"layers": name, "frequency_hz": hertz} for name, hertz in places]
    kept_energies = integrate.Energies(**{name: value[kept] for name, value in vars(energies).items()})
    hertz = np.array([hertz for _, hertz in places])
    idle = _by_frequency(quality["idle_w"], hertz), _by_frequency(quality["idle_w_sd"], hertz)
    passes, unit = columns["iteration"][kept], None
    if sessions is not None:
        unit, _ = counted_once(np.unique(frequency, return_inverse=True)[1], passes, sessions[kept])
    groups = Groups.of(group, passes, unit)
    return summarise(
        names, groups, columns["duration_s"][kept], columns["repeats"][kept], kept_energies, idle, gain.error
    )


def _notes(
    columns: Timed,
    kept: Bools,
    quality: Quality,
    breaks: Sequence[suspends.Break],
    gain: Gain,
    summary: Mapping[str, Column],
    target: float,
) -> list[str]:
    notes = [one.told for one in breaks]
    notes += [f"{count} of {len(kept)} rows rejected: {reason}" for reason, count in quality["rejected"].items()]
    have = set(zip(summary["layers"], summary["frequency_hz"], strict=True))
    lost = sorted(set(zip(columns["bundle"].tolist(), columns["frequency_hz"].tolist(), strict=True)) - have)
    if lost:
        shown = ", ".join(f"{name} at {hertz} Hz" for name, hertz in lost[:5])
        notes.append(f"no energy at all for {len(lost)} bundles: {shown}{', ...' if len(lost) > 5 else ''}")
    missed = [one for one in quality["codes"] if not one["found"]]
    if missed:
        notes.append(f"{len(missed)} of {len(quality['codes'])} load patterns were not found in the power")
    damaged = {key: n for key, n in quality["log"].items() if n and key not in ("rows",)}
    if damaged:
        notes.append("power log: " + ", ".join(f"{count} {name}" for name, count in damaged.items()))
    if gain.error is None:
        notes.append(f"energies: {gain.told}")
    return notes + (short_of(summary, target) if target else [])


def _advice(trace: Trace, start_ns: INTEGERS, end_ns: INTEGERS) -> str:
    first_s, last_s = trace.seconds(start_ns).min(), trace.seconds(end_ns).max()
    return (
        f"the log covers {trace.time_s[0]:.3f} to {trace.time_s[-1]:.3f} s, a reading each {trace.period_s * 1e3:g} ms;"
        f" the run {first_s:.3f} to {last_s:.3f} s, in windows of {np.median(end_ns - start_ns) * 1e-6:.3g} ms;"
        " profile with --min-window-s, or check that log and run belong together"
    )


def _write(
    folder: Path, table: Mapping[str, object], summary: Mapping[str, object], quality: Quality, trace: Trace
) -> None:
    """Writes the three files, each in one step; none may replace a different result."""
    import pyarrow
    from pyarrow import csv, parquet

    parquet_bytes, summary_bytes = pyarrow.BufferOutputStream(), pyarrow.BufferOutputStream()
    measured = {"meter": trace.meter, "channel": trace.channel, **trace.gain.data()}
    about = {
        "schema": schemas.JOINT_PROFILE.name,
        "version": str(schemas.JOINT_PROFILE.version),
        ENERGY_GAIN: json.dumps(measured),
    }
    arrow = pyarrow.table(
        {name: pyarrow.array(values, from_pandas=True) for name, values in table.items()},
    )
    fields = [field.with_metadata({"meaning": COLUMNS[field.name]}) for field in arrow.schema]
    arrow = arrow.cast(pyarrow.schema(fields, about))
    parquet.write_table(arrow, parquet_bytes)
    csv.write_csv(pyarrow.table(dict(summary)), summary_bytes)
    made = {
        run.JOINT_PROFILE: parquet_bytes.getvalue().to_pybytes(),
        SUMMARY: summary_bytes.getvalue().to_pybytes(),
        QUALITY: files.as_json(schemas.stamped(schemas.JOINT_QUALITY, quality, **{SUMMARY: schemas.JOINT_SUMMARY})),
    }
    for name, content in made.items():
        path = folder / name
        if path.exists() and not _is_same(path, content):
            raise TableError(f"{path} holds another result; nothing was overwritten, move it away first")
    for name, content in made.items():
        try:
            files.replace(folder / name, content)
        except OSError as error:
            raise TableError(f"{folder / name}: {error.strerror}") from None


def _is_same(path: Path, content: bytes) -> bool:
    """Whether a file holds a result already, perhaps without what an earlier version did not write."""
    before = path.read_bytes()
    if before == content:
        return True
    try:
        if path.suffix == ".json":
            told, now = (schemas.without(json.loads(text)) for text in (before, content))
            return all(name == ASKED or (name in now and now[name] == value) for name, value in told.items())
        earlier, later = (_rows(path, text) for text in (before, content))
        shared = [name for name in later.column_names if name in earlier.column_names]
        return (
            len(shared) == earlier.num_columns
            and earlier.equals(later.select(shared), check_metadata=False)
            and (all((later.schema.metadata or {}).get(name) == text for name, text in _about(earlier).items()))
        )
    except (TableError, ValueError, RecursionError, AttributeError, KeyError):
        return False


def _about(table: pyarrow.Table) -> dict[bytes, bytes]:
    """What a table's metadata say but of its schema."""
    return {name: text for name, text in (table.schema.metadata or {}).items() if name.decode() not in schemas.KEYS}


def _rows(path: Path, content: bytes) -> pyarrow.Table:
    import pyarrow
    from pyarrow import csv, parquet

    with library_errors("no table"):
        if path.suffix == ".csv":
            return csv.read_csv(pyarrow.BufferReader(content))
        with parquet.ParquetFile(pyarrow.BufferReader(content)) as file:
            return file.read()
