"""An archive made: everything collected, made plain, described, listed, checked once, and packed."""

from __future__ import annotations

import hashlib
import math
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import dime
from dime.contract import files
from dime.contract.errors import InputError
from dime.contract.run import RUN, TIMINGS, RunSpec
from dime.host.bench import lab as lab_file
from dime.host.common import places
from dime.host.provenance import (
    archive,
    claims,
    collect,
    compare,
    crate,
    derive,
    document,
    images,
    manifest,
    pages,
    signature,
    software,
)
from dime.host.provenance.claims import Claim
from dime.host.provenance.collect import Collected
from dime.host.provenance.document import Artifact
from dime.host.provenance.evaluation import FAILS
from dime.host.provenance.private import Private, plain_lab
from dime.host.provenance.steps import Step

SOFTWARE, WHEELS = "software", "wheels"


@dataclass(frozen=True)
class Wanted:
    """What an archive is to be.

    Attributes:
        studies: Folders of studies and of sweeps.
        title: Its title.
        authors: Their names.
        out: The folder that receives it; one that holds an artifact already is replaced.
        lab: The lab file; None takes lab.toml, if there is one.
        wheels: Versions of Python whose wheels go into it; empty for none.
        licence: The licence of the data, by its SPDX identifier.
        claims: A file of claims; empty: those that were edited in ``out``, or else those that DIME makes.
        sign: The ssh key that signs it; empty for none.
        images: Whether the container images go into it, from the engines of the lab.
        maps: Whether the feature maps go into it.
        software: Whether the source, the wheel and the lock files go into it, as they do but in tests.
    """

    studies: tuple[str, ...]
    title: str
    authors: tuple[str, ...] = ()
    out: str = "artifact"
    lab: str | None = None
    wheels: str = ""
    licence: str = "MIT"
    claims: str = ""
    sign: str = ""
    images: bool = False
    maps: bool = False
    software: bool = True


def make(wanted: Wanted, say: Callable[[str], None] = lambda text: None) -> Path:
    """Makes an archive.

    Args:
        wanted: What it is to be.
        say: Told in a line what was done, how long it took and how large it is.

    Returns:
        The zip.

    Raises:
        InputError: A study cannot be made again, the folder is something else, or the disk would not take it.
        TableError: A file of a study is damaged.
    """
    out = Path(wanted.out)
    if out.exists() and not (out / document.DOCUMENT).is_file():
        raise InputError(f"{out} is there and is no artifact; nothing was overwritten")
    places.check(out)
    if not wanted.studies:
        raise InputError("no study is named; make artifact STUDIES='results/plans/alexnet/001'")
    aside = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir(parents=True)
        said = _fill(wanted, aside, say)
        digest = manifest.write(aside)
        if wanted.sign:
            signature.sign(aside, said, wanted.sign)
        begun_s = time.monotonic()
        _prove(aside, said)
        say(f"made again from its raw rows, and compared, in {time.monotonic() - begun_s:.0f} s")
        name = f"dime-artifact-{_slug(said)}-{digest[:12]}"
        target = out.parent / f"{name}.zip"
        archive.pack(aside, target, name)
        say(f"{target.name}: {target.stat().st_size / 1e6:.1f} MB")
        shutil.rmtree(out, ignore_errors=True)
        files.move(aside, out)
        return target
    except OSError as error:
        raise InputError(f"{error.filename or out}: {error.strerror}") from None
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _fill(wanted: Wanted, root: Path, say: Callable[[str], None]) -> Artifact:
    bench = lab_file.load(wanted.lab)
    hosts = [device.host for device in bench.devices.values() if device.host]
    into = Collected(root, Private.known([*bench.devices, *_names(wanted.studies)], [*hosts, bench.registry]))
    into.maps, into.say = wanted.maps, say
    for study in dict.fromkeys(wanted.studies):
        collect.study(Path(study), into)
    if wanted.software:
        _software(root, wanted.wheels)
    noted = images.of_runs(spec for _, spec in _runs(root, into))
    if wanted.images:
        into.missing += images.fetch(root, noted, bench, say)
    made = claims.text(list(_claims(root, into)))
    said = Artifact(
        into.private.plain(wanted.title),
        wanted.authors,
        _newest(root, into),
        dime.__version__,
        software.revision(),
        software.versions(),
        tuple(into.studies),
        tuple(dict.fromkeys(into.profiles)),
        tuple(_in_order(into)),
        tuple(dict.fromkeys(into.private.plain(one) for one in into.missing)),
        images={device: into.private.plain(text) for device, text in noted.items()},
        licence=pages.check_licence(wanted.licence),
        claims_sha256=hashlib.sha256(made.encode()).hexdigest(),
        signed=bool(wanted.sign),
    )
    said.write(root)
    files.new(root / claims.CLAIMS, into.private.plain(_edited(wanted) or made).encode())
    if bench.path is not None:
        files.new(root / lab_file.DEFAULT_FILE, into.private.plain(plain_lab(bench)).encode())
    pages.write(root, said, claims.read(root / claims.CLAIMS), bool(wanted.wheels))
    crate.write(root, said)
    return said


def _claims(root: Path, into: Collected) -> Iterator[Claim]:
    size_mb = math.ceil(sum(path.stat().st_size for path in root.rglob("*") if path.is_file()) / 1e6)
    specs = _runs(root, into)
    minutes = math.ceil(sum(_seconds(folder / TIMINGS) for folder, _ in specs) / 60)
    hardware = ", ".join(dict.fromkeys(f"{spec.device} ({spec.board}, {spec.processor})" for _, spec in specs))
    for step in into.steps:
        if step.command == "solve":
            yield from claims.of_study(root, str(step.options["out"]), step.line, minutes, size_mb, hardware or "none")


def _runs(root: Path, into: Collected) -> list[tuple[Path, RunSpec]]:
    """The profiles that have their runs' own records."""
    return [(root / place, RunSpec.read(root / place)) for place in into.profiles if (root / place / RUN).is_file()]


def _seconds(path: Path) -> float:
    """How long a profile took, from its first window to its last."""
    if not path.is_file():
        return 0.0
    starts, ends = (compare.column(path, name) for name in ("start_ns", "end_ns"))
    numbers = [[value for value in values if compare.is_number(value)] for values in (starts, ends)]
    return (max(numbers[1], default=0) - min(numbers[0], default=0)) * 1e-9


def _edited(wanted: Wanted) -> str:
    """The claims that a person has written: in a file of their own, or in the artifact that is there."""
    if wanted.claims:
        try:
            return Path(wanted.claims).read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            raise InputError(f"{wanted.claims}: {getattr(error, 'strerror', None) or error}") from None
    there = Path(wanted.out) / claims.CLAIMS
    if not there.is_file():
        return ""
    content = there.read_bytes()
    same = hashlib.sha256(content).hexdigest() == document.read(Path(wanted.out)).claims_sha256
    return "" if same else content.decode("utf-8", "replace")


def _software(root: Path, pythons: str) -> None:
    (root / SOFTWARE).mkdir()
    software.source(root / SOFTWARE / f"dime-{dime.__version__}-source.tar")
    software.wheel(root / SOFTWARE)
    for name, content in software.locks().items():
        files.new(root / SOFTWARE / name, content)
    if pythons:
        (root / WHEELS).mkdir()
        software.wheels(root / WHEELS, pythons)


def _names(studies: Sequence[str]) -> list[str]:
    """Names by which the studies are told, which are public: of devices and networks."""
    from dime.host.studies import request

    found = []
    for study in studies:
        asked = request.read(study)
        found += [str(asked.options.get("net", "")), *(one["device"] for one in asked.profiles)]
    return found


def _in_order(into: Collected) -> list[Step]:
    """The steps, joins first."""
    joins = [step for step in into.steps if step.command == "join"]
    return [*joins, *(step for step in into.steps if step.command != "join")]


def _newest(root: Path, into: Collected) -> str:
    """When the newest of the runs was started: the archive's date, so that it does not change with the clock."""
    found = ["1980-01-01T00:00:00Z"]
    for path in into.paths.values():
        if Path(path).name == RUN:
            found.append(str(RunSpec.read((root / path).parent).started_utc or ""))
    return max(found)


def _slug(said: Artifact) -> str:
    networks = dict.fromkeys(str(step.options["net"]) for step in said.steps if "net" in step.options)
    kept = ["".join(char if char.isalnum() or char in "_." else "_" for char in name) for name in networks]
    return "-".join(kept)[:60] or "study"


def _prove(root: Path, said: Artifact) -> None:
    """Makes sure that the archive passes its own check before anybody gets it.

    Raises:
        InputError: Something cannot be made again from what is in it.
    """
    with tempfile.TemporaryDirectory(prefix="dime-derive-") as work:
        found = [*derive.rows(root, said, Path(work)), *claims.rows(root, Path(work))]
        failed = [row for row in found if row.verdict == FAILS]
    if failed:
        more = f" (and {len(failed) - 1} more)" if len(failed) > 1 else ""
        raise InputError(f"{failed[0].what} cannot be made again from what it came from: {failed[0].found}{more}")
