"""The devices of a study as they were profiled, and as they are reached now."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dime.contract import files
from dime.contract.errors import InputError, TableError
from dime.contract.run import RUN, RunSpec
from dime.contract.stages import digest_of
from dime.host.bench import lab as lab_file
from dime.host.bench.lab import LabDevice
from dime.host.profiles.profiles import Profile, load_profile


@dataclass(frozen=True, eq=False)
class Profiled:
    """One device of a study.

    Attributes:
        name: Its name in the plans.
        run: What run.json says of its profile.
        profile: The profile.
        device: Its entry of the lab file, or this machine.
    """

    name: str
    run: RunSpec
    profile: Profile
    device: LabDevice

    @property
    def network_digest(self) -> bytes:
        """SHA-256 of what tells the network that was profiled from any other."""
        run = self.run
        return digest_of(run.network, run.weights, run.graph, run.samples)


def find(sources: Sequence[Mapping[str, str]], study: Path, lab: str | None = None) -> tuple[Profiled, ...]:
    """Finds the devices that a study's plans are for.

    Args:
        sources: device, path and sha256 of each profile, as problem.json has them.
        study: The study's folder, which says where a profile's relative path may begin.
        lab: The lab file; None takes lab.toml, if there is one.

    Raises:
        InputError: A profile is another now, its device is not known, or what it says cannot be run.
        TableError: A profile is not there.
    """
    bench = lab_file.load(lab)
    found = tuple(_find(source, study, bench) for source in sources)
    for one in found[1:]:
        if one.network_digest != found[0].network_digest:
            differs = [name for name in ("network", "weights", "graph", "samples")
                       if getattr(one.run, name) != getattr(found[0].run, name)]  # fmt: skip
            raise InputError(
                f"{found[0].name} and {one.name} were profiled with other {' and '.join(differs)}: their parts of a"
                " plan do not make one network; profile both with the same feature maps and weights"
            )
    return found


def _find(source: Mapping[str, str], study: Path, bench: lab_file.Lab) -> Profiled:
    name, path = source["device"], _path(source, study)
    if not source["sha256"] or files.digest(path) != source["sha256"]:
        raise InputError(f"{path} is not the profile that the plans were made of any more (sha256): solve again")
    folder = path.parent
    if not (folder / RUN).exists():
        raise InputError(f"{path} is a table without a {RUN}: what it does not say of its device cannot be run")
    run = RunSpec.read(folder)
    if run.batch is not None and run.batch < 1:
        raise InputError(f"{folder / RUN} is for no batch")
    try:
        (device,) = bench.choose(re.sub(r"-[0-9]+threads$", "", name) if name not in bench.devices else name)
    except InputError as error:
        raise InputError(f"the plan is for {name}: {error}") from None
    return Profiled(name, run, load_profile(str(folder)), device)


def _path(source: Mapping[str, str], study: Path) -> Path:
    """Where a profile is: as the study was told, or seen from a folder above the study's."""
    told = Path(source["path"])
    for place in (Path(), *study.resolve().parents):
        if os.path.isfile(place / told):
            return place / told
    raise TableError(f"{told}, the profile of {source['device']} that the plans were made of, is not there")
