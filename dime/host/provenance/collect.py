"""What goes into an archive: the studies, the raw data of their profiles, and the steps from these to those.

Files keep their paths below the folder one is in, so that the commands inside the archive are the ones that were typed.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePath

from dime.contract import files, run
from dime.contract.errors import InputError, TableError
from dime.contract.run import RunSpec
from dime.host.execution import verification_files
from dime.host.metering import power_trace
from dime.host.planning import links, problem_files
from dime.host.profiles import joint_profile
from dime.host.provenance.private import DOCUMENTS, Private
from dime.host.provenance.steps import Step, leads_outside
from dime.host.report import page
from dime.host.studies import request as requests
from dime.host.studies.request import Value

JOINED = (run.JOINT_PROFILE, joint_profile.SUMMARY, joint_profile.QUALITY)
OF_A_LINK = (run.PLAN, run.FRONTIER, problem_files.PROBLEM, problem_files.ARRAYS)
MANIFEST = "manifest.json"


@dataclass
class Collected:
    """What has been taken so far.

    Attributes:
        root: The archive's folder.
        private: What must not get there.
        paths: Path on this computer -> path in the archive, of every file that was taken.
        steps: The steps.
        studies: The studies' folders in the archive.
        profiles: The profiles' tables or folders there.
        missing: What is not there, a line each.
        maps: Whether feature maps are taken.
        say: Told how large they are, before they are.
    """

    root: Path
    private: Private
    paths: dict[str, str] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)
    studies: list[str] = field(default_factory=list)
    profiles: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    maps: bool = False
    say: Callable[[str], None] = print

    def take(self, path: Path, place: str | None = None) -> str:
        """Copies one file, made plain if it is a document.

        Args:
            path: The file.
            place: Its path in the archive; None: as here, where that is below the folder one is in.

        Returns:
            Its path in the archive.

        Raises:
            InputError: It is gone, or is a table that holds something private.
        """
        known = self.paths.get(str(path))
        if known is not None:
            return known
        place = place or self._place(path)
        target = self.root / place
        if target.exists():
            raise InputError(
                f"{path} and another file would both be {place} in the archive; put them under other names"
            )
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
        except FileNotFoundError:
            raise InputError(f"{path} is gone; without it the study cannot be made again") from None
        except OSError as error:
            raise InputError(f"{path}: {error.strerror}") from None
        self._make_plain(target, path)
        self.paths[str(path)] = place
        return place

    def _place(self, path: Path) -> str:
        """Where a file goes: as it is called here, or for one from elsewhere below ``elsewhere``."""
        name = PurePath(path).as_posix()
        if PurePath(name).is_absolute():
            name = PurePath(path).relative_to(Path.cwd()).as_posix() if path.is_relative_to(Path.cwd()) else name
        if leads_outside(name):
            parts = [part for part in PurePath(name).parts if part not in ("/", "..")]
            name = "/".join(["elsewhere", *parts[-3:]])
        return PurePath(name).as_posix()

    def _make_plain(self, target: Path, path: Path) -> None:
        content = target.read_bytes()
        if target.suffix in DOCUMENTS:
            text = content.decode("utf-8", "replace")
            plain = self.private.plain(text)
            if plain != text:
                target.write_bytes(plain.encode())
        elif target.suffix != ".pt" and (found := self.private.found_in(content.decode("latin-1"))):
            raise InputError(f"{path} holds {found}; a table is not rewritten: take it out and plan again")


def study(folder: Path, into: Collected) -> None:
    """Takes a study or sweeps, with the profiles that they were made from.

    Raises:
        InputError: A profile is gone, was changed since, or is not complete.
        TableError: The folder is no study's, or a file is damaged.
    """
    asked = requests.read(folder)
    tables = []
    for one in asked.profiles:
        path = Path(one["path"])
        if not path.is_file():
            raise InputError(f"{folder}: its profile {path} is gone; bring it back, or plan again")
        if files.digest(path) != one["sha256"]:
            raise InputError(f"{folder}: its profile {path} was changed since; plan again")
        if not re.fullmatch(r"[^,=;:/\\\s]+", one["device"]):
            raise InputError(f"{folder}: a device called {one['device']!r} cannot be named on a command line")
        tables.append((one["device"], _profile(path, into)))
    taken = [into.take(path) for path in _files(folder)]
    place = _place_of(folder, into)
    options = _options(asked, tables, place, into)
    (into.root / place / run.REQUEST).unlink()
    requests.Request(
        asked.command,
        options,
        tuple({**one, "path": table} for one, (_, table) in zip(asked.profiles, tables, strict=True)),
    ).write(into.root / place)
    made = [path for path in taken if _is_made(path, place, asked.command)]
    inputs = sorted({path for _, table in tables for path in _beside(table, into)} | set(_inputs(options, into)))
    figures = [path for path in made if path.startswith(f"{place}/{page.FIGURES}/")]
    drawn = [] if options.get("figures") else figures
    ran = [path for path in taken if path.startswith(f"{place}/{verification_files.FOLDER}/")]
    later = [*([f"{place}/{run.REPORT}"] if ran else []), *drawn]  # the page shows what was run
    into.steps.append(Step(asked.command, options, tuple(inputs), tuple(path for path in made if path not in later)))
    if later:
        needs = [f"{place}/{page.KEPT}", *ran, *([] if ran else [f"{place}/{run.REPORT}"])]
        into.steps.append(Step("report", {"plans": place, "figures": bool(drawn) or None}, tuple(needs), tuple(later)))
    into.studies.append(place)
    if asked.command == "solve":
        _relocate(into.root / place, [table for _, table in tables])


def _profile(path: Path, into: Collected) -> str:
    """Takes a profile's table with everything that it came from, and the step that joins it."""
    known = into.paths.get(str(path))
    if known is not None:
        return known
    folder = path.parent
    if not (folder / run.RUN).is_file():
        into.missing.append(f"{path}: a published table, without the runs' own records")
        place = into.take(path)
        into.profiles.append(place)
        return place
    spec = RunSpec.read(folder)
    if spec.state not in ("complete", None):
        raise InputError(f"{folder} is not complete: its state is {spec.state}; resume it, then plan again")
    place = ""
    for one in _files(folder):
        taken = into.take(one)
        place = taken if one == path else place
    into.profiles.append(str(PurePath(place).parent.as_posix()))
    _maps(spec, folder, into)
    if (folder / run.JOINT_PROFILE).is_file():
        _join(folder, PurePath(place).parent.as_posix(), into)
    return place


def _join(folder: Path, place: str, into: Collected) -> None:
    if not (folder / run.TIMINGS).is_file():
        into.missing.append(f"{folder}: its {run.TIMINGS}; the joined table is what it begins with")
        return
    asked = _asked(folder / joint_profile.QUALITY)
    given: dict[str, Value] = {"run": place}
    for name in ("power", "calibration"):
        if asked.get(name):
            source = Path(asked[name])
            if not source.exists():
                raise InputError(f"{folder}: it was joined with {source}, which is gone; join it again")
            found = list(_files(source)) if source.is_dir() else _with_quality(source)
            places = [into.take(one) for one in found]
            given[name] = PurePath(places[0]).parent.as_posix() if source.is_dir() else places[0]
    given |= {name: asked.get(name) or None for name in ("clock", "channel", "force")}
    given["energy_error"] = repr(float(asked["target"])) if asked.get("target") else None
    outputs = [f"{place}/{name}" for name in JOINED if (folder / name).is_file()]
    inputs = {path for path in into.paths.values() if path.startswith(f"{place}/")} | set(_inputs(given, into))
    into.steps.append(Step("join", given, tuple(sorted(inputs - set(outputs))), tuple(outputs)))


def _asked(path: Path) -> dict[str, str]:
    try:
        said = json.loads(path.read_text(encoding="utf-8")).get(joint_profile.ASKED) or {}
        return dict(said)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, AttributeError, TypeError, RecursionError) as error:
        raise TableError(f"{path} is damaged: {error}") from None


def _with_quality(path: Path) -> list[Path]:
    """A file, and what stands beside it about it."""
    return [path, *(one for one in [power_trace.quality_path(path)] if one.is_file())]


def _maps(spec: RunSpec, folder: Path, into: Collected) -> None:
    """Takes the feature maps' manifest where it is found, by the hash that the run has noted; the maps on request."""
    for place in sorted(Path("samples").glob(f"*/{MANIFEST}")):
        if files.digest(place) == spec.samples:
            if into.maps and str(place) not in into.paths:
                maps = list(_files(place.parent))
                size = sum(path.stat().st_size for path in maps)
                into.say(f"feature maps of {spec.network}: {len(maps)} files, {size / 1e6:.0f} MB")
                for path in maps:
                    into.take(path)
            into.take(place)
            return
    if into.maps:
        raise InputError(f"{folder}: the feature maps that it was profiled with are not in samples any more")
    into.missing.append(f"{folder}: the manifest of its feature maps, which is not in samples any more")


def _files(folder: Path) -> Iterator[Path]:
    """A folder's files but for those that are hidden or half written.

    Raises:
        InputError: There is a link, or no folder.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} is gone")
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder).parts
        if any(part.startswith(".") or part.endswith(files.PART) for part in inside):
            continue
        if path.is_file():
            yield path


def _place_of(folder: Path, into: Collected) -> str:
    """The archive's folder for one of this computer's, by a file that was taken from it."""
    return PurePath(into.paths[str(folder / run.REQUEST)]).parent.as_posix()


def _is_made(path: str, place: str, command: str) -> bool:
    """Whether a command has made a file of its folder; the rest was put there by others, or is what was asked."""
    inside = PurePath(path).relative_to(place).parts
    if command == "sweep":
        return inside[-1].endswith(("_df.csv", "_sweeps.json", run.REQUEST))
    of_link = len(inside) == 2 and (inside[1] in OF_A_LINK or inside[0] == page.FIGURES)
    return of_link or inside in ((run.REPORT,), (page.KEPT,), (run.REQUEST,))


def _beside(table: str, into: Collected) -> list[str]:
    """A profile's table, and in its folder what is read with it."""
    folder = PurePath(table).parent.as_posix()
    beside = (run.RUN, run.TIMINGS, run.JOINT_PROFILE, joint_profile.QUALITY)
    there = [path for path in into.paths.values() if PurePath(path).parent.as_posix() == folder]
    if f"{folder}/{run.RUN}" not in there:
        return [table]
    kept = [path for path in there if PurePath(path).suffix in (".json", ".csv", ".parquet")]
    return [path for path in kept if PurePath(path).name in beside or not PurePath(path).name.startswith("joint_")]


def _options(asked: requests.Request, tables: list[tuple[str, str]], place: str, into: Collected) -> dict[str, Value]:
    """A command's options as they are inside the archive: profiles by their tables, files by their places there."""
    options = dict(asked.options)
    results = str(options.get("results") or "results")
    named = [f"{device}={table}" for device, table in tables]
    options |= {"edge": named[0], "server": ",".join(named[1:]), "out": place, "results": "results"}
    options |= {name: None for name in ("write_lp",) if name in options}
    _links(str(options.get("link") or ""), Path(results), into)
    for name, value in options.items():
        if name in ("edge", "server", "out", "results") or not isinstance(value, str) or not value:
            continue
        run_of = Path(results) / value / str(options["net"])
        options[name] = _taken(str(run_of) if name == "sizes" and (run_of / run.RUN).is_file() else value, into)
    return options


def _links(text: str, results: Path, into: Collected) -> None:
    """Takes the measured links that are called by their names, to where commands in the archive find them."""
    for name in re.split(r"[,;:\s]+", text):
        folder = results / links.FOLDER / name
        if name and "/" not in name and folder.is_dir():
            for path in _files(folder):
                into.take(path, f"{links.RESULTS}/{links.FOLDER}/{name}/{path.relative_to(folder).as_posix()}")


def _taken(value: str, into: Collected) -> str:
    """A value in which each file or folder that it names is one of the archive."""

    def place(found: re.Match[str]) -> str:
        path = Path(found[0])
        if path.is_file():
            return into.take(path)
        if "/" in found[0] and path.is_dir():
            places = [into.take(one) for one in _files(path)]
            return PurePath(places[0]).parent.as_posix() if places else found[0]
        return found[0]

    return re.sub(r"[^=,;:\s]+", place, value)


def _inputs(options: dict[str, Value], into: Collected) -> list[str]:
    """The archive's files that the options name."""
    texts = [value for name, value in options.items() if name != "out" and isinstance(value, str)]
    words = {word for text in texts for word in re.split(r"[=,;:\s]+", text) if word}
    folders = tuple([f"{word}/" for word in words if "/" in word])
    folders += tuple(f"{links.RESULTS}/{links.FOLDER}/{word}/" for word in words)
    return [path for path in into.paths.values() if path in words or path.startswith(folders)]


def _relocate(place: Path, tables: list[str]) -> None:
    """Says in a study's documents where its profiles are in the archive, and makes its page anew where that changed."""
    changed = False
    for path in [*sorted(place.glob(f"*/{problem_files.PROBLEM}")), place / page.KEPT]:
        said = json.loads(path.read_text(encoding="utf-8"))
        entries = said["profiles"] if path.name == problem_files.PROBLEM else said["data"]["sources"]
        for one, table in zip(entries, tables, strict=True):
            one["path"] = table
        content = page.kept(said["text"], said["data"], said) if path.name == page.KEPT else files.as_json(said)
        if content != path.read_bytes():
            changed = True
            path.write_bytes(content)
    if changed:
        page.remake(place)
