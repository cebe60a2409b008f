"""A run's folder on this computer: whether it can take a run, said before the measuring, and how copies of one meet."""

from __future__ import annotations

import filecmp
from pathlib import Path

from dime.contract import files
from dime.contract.errors import TableError
from dime.contract.run import FROM_DEVICE, RUN, TIMINGS, RunSpec
from dime.host.bench.transfer import STILL_THERE, on_this_computer
from dime.host.common import places

DERIVED = "joint_*"  # what was made from a shorter copy


def is_complete(folder: Path) -> bool:
    """Whether a run's folder holds a complete run."""
    spec = _spec(folder)
    return bool(spec is not None and spec.state == "complete")


def check(folder: Path, device: str, there: RunSpec | None) -> None:
    """Makes sure that a folder can take a run, before anything is measured.

    Args:
        folder: The run's folder.
        device: The device's name.
        there: The run's RunSpec as it is on the device by now; None for one that begins.

    Raises:
        TableError: The folder holds another run.
        InputError: The folder cannot be written to.
    """
    places.check(folder / RUN)
    here = _spec(folder)
    if here is None and (folder / TIMINGS).exists():
        raise TableError(f"{folder} holds {TIMINGS} without {RUN}; move it away, or take another folder")
    if here is None or (there is not None and _same(here, there)):
        return
    if here.state == "complete":
        raise TableError(f"{folder} holds a complete run; nothing was overwritten, take another folder")
    raise TableError(
        f"{folder} holds an unfinished run that this command does not go on with: it is no longer on {device}, or had "
        "other options or another image; move it away, or take another folder"
    )


def merge(source: Path, target: Path) -> None:
    """Moves a run's copy into place: the longer copy of a run replaces the shorter, and nothing replaces another run.

    Args:
        source: A folder that was checked.
        target: The run's folder; files of this computer's own, such as a power log, may be in it.

    Raises:
        TableError: Another run is there; nothing is overwritten.
        DeviceError: This computer's disk refuses.
    """
    with on_this_computer(target, STILL_THERE):
        if not target.exists():
            files.move(source, target)
            return
        here, there = _spec(target), _spec(source)
        if here is None and not (target / TIMINGS).exists():
            _replace(source, target)
            return
        if here is None or there is None or not _same(here, there):
            raise TableError(f"{target} holds another run; nothing was overwritten, take another folder")
        if here.state == "complete":
            if there.state == "complete" and not _equal(source, target):
                raise TableError(f"{target} holds this run, with other rows; nothing was overwritten")
            return
        if _length(there, source) >= _length(here, target) and not _equal(source, target):
            _replace(source, target)
            for path in target.glob(DERIVED):
                path.unlink()


def _spec(folder: Path) -> RunSpec | None:
    return RunSpec.read(str(folder)) if (folder / RUN).exists() else None


def _same(one: RunSpec, other: RunSpec) -> bool:
    """Whether two descriptions are of one run, which may have gone on between them: it has begun only once."""
    return not one.differences(other) and _beginning(one) == _beginning(other)


def _beginning(spec: RunSpec) -> tuple[object, ...]:
    first = spec.sessions[0] if isinstance(spec.sessions, list) and spec.sessions else None
    known = (first.get("boot_id"), first.get("start_ns")) if isinstance(first, dict) else ()
    return (spec.started_utc, *known)


def _length(spec: RunSpec, folder: Path) -> tuple[bool, int, int]:
    """How far a copy has got: a run that goes on drops the rows of the bundle in which it was cut off."""
    sessions = len(spec.sessions) if isinstance(spec.sessions, list) else 0
    path = folder / TIMINGS
    if not path.exists():
        return spec.state == "complete", sessions, 0
    with open(path, "rb") as table:
        return spec.state == "complete", sessions, sum(1 for _ in table)


def _equal(source: Path, target: Path) -> bool:
    def same(name: str) -> bool:
        there = [(folder / name).exists() for folder in (source, target)]
        return there == [False, False] or (all(there) and filecmp.cmp(source / name, target / name, shallow=False))

    return all(same(name) for name in FROM_DEVICE)


def _replace(source: Path, target: Path) -> None:
    """Moves a run's files, its description last: whoever looks meanwhile sees a run that is not complete."""
    for name in sorted(FROM_DEVICE, key=RUN.__eq__):
        if (source / name).exists():
            files.move(source / name, target / name)
        else:
            (target / name).unlink(missing_ok=True)
