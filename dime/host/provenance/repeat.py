"""An archive's measurements made again on this machine, and compared by rules that were fixed before.

On the same kind of device each bundle's time must be the same within a margin; on another kind the plan's conclusions
must hold: what the archived plan loses against the best one with the new profile, and the order of the bundles.
"""

from __future__ import annotations

import math
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from dime.contract.bundles import Bundle, spell
from dime.contract.errors import DimeError, InputError
from dime.contract.networks import BUILT_IN
from dime.contract.run import JOINT_PROFILE, RUN, TIMINGS, RunSpec
from dime.host.bench import lab as lab_file
from dime.host.campaign import profile as campaign
from dime.host.campaign.profile_options import ProfileOptions
from dime.host.common.stats import Floats, counted_once
from dime.host.planning.evaluation import evaluate
from dime.host.planning.problem import PER_S, Choice, Problem
from dime.host.profiles.profiles import Profile, load_profile
from dime.host.provenance import document, equivalence, software, steps
from dime.host.provenance.check import list_digest, opened
from dime.host.provenance.document import Artifact
from dime.host.provenance.evaluation import FAILS, HOLDS, OPEN, Evaluation, Row
from dime.host.studies.folder import load_study

PART = "measured again"
REGRET = 0.05
SAME_ORDER = 0.9
FASTEST = 0  # stands for a device's fastest clock


@dataclass(frozen=True)
class Options:
    """How it is measured and compared.

    Attributes:
        device: Names or tags of the lab file; ``local`` is this machine as edge and as server.
        lab: The lab file; None takes lab.toml, if there is one.
        margin: Relative difference of a bundle's time that does not matter.
        runs: Timed runs of each bundle in a pass; None: as in the archive.
        iterations: Passes; None: as in the archive.
        results: The folder that receives the profiles; complete ones there are taken as they are.
    """

    device: str = "local"
    lab: str | None = None
    margin: float = equivalence.MARGIN
    runs: int | None = None
    iterations: int | None = None
    results: str = "repeated"


def repeat(path: str | Path, options: Options) -> Evaluation:
    """Measures what this machine can measure, and compares.

    Args:
        path: The archive.
        options: How.

    Returns:
        What was found; what cannot be measured here is listed.

    Raises:
        TableError: It is no archive.
        InputError: No such device, or a margin that is none.
    """
    if not 0 < options.margin < 1:
        raise InputError(f"a margin is a share between 0 and 1, not {options.margin:g}")
    with opened(path) as (root, _), tempfile.TemporaryDirectory(prefix="dime-repeat-") as work:
        said = document.read(root)
        rows = list(_rows(root, said, options, Path(work)))
        return Evaluation(said.title, list_digest(root), tuple(rows), software.versions())


def _rows(root: Path, said: Artifact, options: Options, work: Path) -> Iterator[Row]:
    chosen = [device.name for device in lab_file.load(options.lab).choose(options.device)]
    folders = [one for one in said.profiles if (root / one / RUN).is_file()]
    for one in said.profiles:
        if one not in folders:
            yield Row(PART, one, "", "a published table: it does not say how it was measured", OPEN)
    known = {RunSpec.read(root / one).device for one in folders}
    measured: dict[str, Path] = {}
    for one in folders:
        spec = RunSpec.read(root / one)
        name = spec.device if spec.device in chosen else _stand_in(chosen, known) if one == folders[0] else ""
        if not name:
            here = f"no {spec.device} ({spec.board}, {spec.processor}) here: DEVICE= and LAB= name one"
            yield Row(PART, one, "", here, OPEN)
        elif spec.network not in BUILT_IN:
            yield Row(PART, one, "", f"the model of {spec.network} is not in the archive", OPEN)
        else:
            try:
                measured[one] = _measure(spec, name, options)
            except DimeError as error:
                yield Row(PART, one, "is measured", str(error), FAILS)
    for one, folder in measured.items():
        yield from of_profiles(root / one, folder, one, options.margin)
    if any(not same_kind(RunSpec.read(root / one), RunSpec.read(folder)) for one, folder in measured.items()):
        yield from _conclusions(root, said, measured, work)


def _stand_in(chosen: list[str], known: set[str]) -> str:
    """The device here that takes the place of the archive's first: the only one named, if it is none of theirs."""
    others = [name for name in chosen if name not in known]
    return others[0] if len(chosen) == 1 and others else ""


def _measure(spec: RunSpec, device: str, options: Options) -> Path:
    wanted = ProfileOptions(
        runs=options.runs or spec.runs,
        iterations=options.iterations or spec.iterations,
        warmups=spec.warmups,
        max_layers=spec.max_layers,
        seed=spec.seed,
    )
    weights = spec.weights.partition(" ")[0] if spec.weights else "auto"
    (folder,) = campaign.profile(
        spec.network,
        device,
        wanted,
        spec.threads,
        samples=str(Path(options.results) / "samples"),
        weights=weights if weights in ("pretrained", "seeded") else "auto",
        results=options.results,
        lab=options.lab,
        keep=True,
    )
    return folder


def same_kind(old: RunSpec, new: RunSpec) -> bool:
    """Whether two runs were on the same kind of device, used in the same way."""
    facts = [(one.board, one.processor, one.threads_used, _model(one)) for one in (old, new)]
    return facts[0] == facts[1]


def _model(spec: RunSpec) -> object:
    return (spec.description or {}).get("model")


def of_profiles(old_folder: Path, new_folder: Path, name: str, margin: float) -> Iterator[Row]:
    """Compares two runs' times.

    Args:
        old_folder: The archived run.
        new_folder: The one that was made again.
        name: What the archive calls it.
        margin: Relative difference that does not matter.
    """
    specs = RunSpec.read(old_folder), RunSpec.read(new_folder)
    profiles = [load_profile(folder / TIMINGS) for folder in (old_folder, new_folder)]
    cells = _cells(*profiles)
    if not cells:
        yield Row(PART, name, "bundles of the same layers and clocks", "none in common", OPEN)
        return
    means = [[_of_passes(profile, *cell) for cell in cells] for profile in profiles]
    if same_kind(*specs):
        names = [f"{spell(bundle, list(profiles[0].layers))} at {hz} Hz" for bundle, hz in cells]
        found = equivalence.compare(names, means[0], means[1], margin)
        counts = Counter(one.verdict for one in found)
        told = ", ".join(f"{counts[verdict]} {verdict}" for verdict in dict.fromkeys(one.verdict for one in found))
        ratio = float(np.median([one.ratio for one in found]))
        all_equal = counts[equivalence.EQUAL] == len(found)
        rule = f"{len(found)} bundles equal within {margin:.0%}, Holm at {equivalence.LEVEL:.0%}"
        yield Row(PART, name, rule, f"{told}; median of new over old {ratio:.3g}", HOLDS if all_equal else FAILS)
        for one in found:
            if one.verdict == equivalence.DIFFERENT:
                yield Row(PART, f"{name}: {one.name}", "1", f"{one.ratio:.3g} times the archived time", FAILS)
        return
    order = equivalence.rank_correlation(*(np.array([one.mean() for one in mean]) for mean in means))
    what = f"{name}: order of {len(cells)} bundles on another kind of device"
    if math.isnan(order):
        yield Row(PART, what, "", "all bundles take the same time: they have no order", OPEN)
        return
    yield Row(PART, what, f"rank correlation of {SAME_ORDER:g} or more", f"{order:.3f}", _holds(order >= SAME_ORDER))


def _holds(true: bool) -> str:
    return HOLDS if true else FAILS


def _cells(old: Profile, new: Profile) -> list[tuple[Bundle, int]]:
    """Bundles and clocks that both have; where each has one clock only, that is the same, whatever it is called."""
    if old.layers != new.layers:
        return []
    shared = set(old.frequencies_hz) & set(new.frequencies_hz)
    there = set(new.bundles)
    bundles = [bundle for bundle in old.bundles if bundle in there]
    if not shared:
        return [(bundle, FASTEST) for bundle in bundles]
    return [(bundle, hz) for bundle in bundles for hz in sorted(shared)]


def _of_passes(profile: Profile, bundle: Bundle, frequency_hz: int) -> Floats:
    """A bundle's typical time in each pass, or in each session where there are several: what counts once."""
    hz = max(profile.frequencies_hz) if frequency_hz == FASTEST else frequency_hz
    cell = profile.bundles.index(bundle) * len(profile.frequencies_hz) + profile.frequencies_hz.index(hz)
    part = slice(int(profile.starts[cell]), int(profile.starts[cell + 1]))
    durations = profile.run_duration_s[part]
    if profile.run_iteration is None:
        return durations
    passes = profile.run_iteration[part]
    if profile.run_session is not None:
        passes, _ = counted_once(np.zeros_like(passes), passes, profile.run_session[part])
    return np.array([np.median(durations[passes == one]) for one in np.unique(passes)])


def _conclusions(root: Path, said: Artifact, measured: Mapping[str, Path], work: Path) -> Iterator[Row]:
    """What the archived plans lose where a device is the one that was measured here."""
    for step in said.steps:
        if step.command != "solve":
            continue
        study = str(step.options["out"])
        swapped = {f"{one}/{table}": folder for one, folder in measured.items() for table in (JOINT_PROFILE, TIMINGS)}
        options = dict(step.options)
        if options.get("goal") != "latency" or options.get("max_energy") is not None:
            yield Row(PART, f"{study}: plans", "", "they are about energy, which only a meter here could tell", OPEN)
            continue
        for number, (table, folder) in enumerate(swapped.items()):
            for side in ("edge", "server"):
                text = str(options.get(side) or "")
                if table in text:
                    place = f"measured/{number}"
                    shutil.copytree(folder, work / place, dirs_exist_ok=True)
                    options[side] = text.replace(table, f"{place}/{TIMINGS}")
        options |= {"freqs": "", "replicates": 0, "figures": False, "edge_power": None}
        failure = steps.run(replace(step, options=options), root, work)
        if failure:
            yield Row(PART, f"{study}: plans with the new profile", "are found", failure, FAILS)
            continue
        old, new = load_study(root / study), load_study(work / study)
        for link in old:
            if link in new:
                yield _regret(old[link].plan.choices(old[link].problem), old[link].problem, new[link].problem,
                              new[link].plan.value, f"{study}/{link}: the archived plan, new profile")  # fmt: skip


def _regret(choices: tuple[Choice, ...], old: Problem, new: Problem, best: float, what: str) -> Row:
    """How much longer the archived plan takes than the best one; its clocks are the new device's of the same rank."""
    moved = []
    for bundle, device, hz in choices:
        mine, theirs = sorted(old.devices[device].frequencies_hz), sorted(new.devices[device].frequencies_hz)
        rank = mine.index(hz) / max(1, len(mine) - 1) if len(mine) > 1 else 1.0
        moved.append(Choice(bundle, device, hz if hz in theirs else theirs[round(rank * (len(theirs) - 1))]))
    try:
        found = evaluate(new, moved).latency_ps / PER_S
    except InputError as error:
        return Row(PART, what, "is possible", str(error), FAILS)
    regret = found / best - 1
    return Row(PART, what, f"at most {REGRET:.0%} above the best", f"{regret:.2%} above it", _holds(regret <= REGRET))
