"""A problem as two files, so that a plan can be checked from its folder alone: problem.json and problem.npz.

The JSON holds what a person reads: layers, devices, links as numbers, goal, limits, and the hashes of the profiles. The
arrays of costs stand in the other file, whose hash the JSON names.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from dime.contract import files, schemas
from dime.contract.errors import InputError, TableError
from dime.host.common import places
from dime.host.common.stats import Ints
from dime.host.planning.encoded import Encoded
from dime.host.planning.goals import Goal, Limits
from dime.host.planning.links import Link
from dime.host.planning.problem import LARGEST_TABLE, Device, Problem
from dime.host.planning.terms import NOTHING, TERMS, Fact, Missing, Radio, Terms

PROBLEM, ARRAYS = "problem.json", "problem.npz"
LARGEST_JSON = 1 << 26


def write(problem: Problem, folder: str | os.PathLike[str], profiles: Sequence[Mapping[str, str]] = ()) -> None:
    """Writes problem.json and problem.npz.

    Args:
        problem: The problem.
        folder: A folder that has neither.
        profiles: device, path and sha256 of each profile that it was made of.

    Raises:
        InputError: One exists already, or the disk would not take it.
    """
    where = Path(folder)
    limits = asdict(problem.limits)
    limits["frequencies_hz"] = {name: sorted(values) for name, values in problem.limits.frequencies_hz.items()}
    arrays = io.BytesIO()
    np.savez(arrays, **_arrays(problem))  # type: ignore[arg-type]
    places.write_new(where / ARRAYS, arrays.getvalue())
    content = {
        "network": problem.network,
        "batch": problem.batch,
        "layers": list(problem.layers),
        "max_layers": problem.max_layers,
        "devices": [
            {
                "name": device.name,
                "frequencies_hz": list(device.frequencies_hz),
                "has_energy": device.has_energy,
                "origin": device.origin,
                "energy_origin": device.energy_origin,
                "max_layers": device.max_layers,
            }
            for device in problem.devices
        ],
        "goal": asdict(problem.goal),
        "limits": limits,
        "has_energy": problem.has_energy,
        "sizes_bytes": list(problem.sizes_bytes),
        "layer_bytes": None if problem.layer_bytes is None else list(problem.layer_bytes),
        "links": problem.links,
        "joined": [
            {"weaker": weaker, "other": other, "link": None if link is None else asdict(link)}
            for (weaker, other), link in problem.joined.items()
        ],
        "arithmetic": problem.arithmetic,
        "warnings": list(problem.warnings),
        "terms": _terms(problem.terms),
        "profiles": list(profiles),
        "arrays_sha256": hashlib.sha256(arrays.getvalue()).hexdigest(),
    }
    places.write_new(where / PROBLEM, files.as_json(schemas.stamped(schemas.PROBLEM, content), default=int))


def read(folder: str | os.PathLike[str]) -> Problem:
    """Reads a problem.

    Raises:
        TableError: A file is missing, damaged, or of a later version.
    """
    path = Path(folder) / PROBLEM
    try:
        with open(path, encoding="utf-8") as stream:
            said = json.loads(stream.read(LARGEST_JSON))
        schemas.version(schemas.PROBLEM, said, path)
        arrays = _read_arrays(Path(folder) / ARRAYS, said["arrays_sha256"])
        devices = []
        for at, device in enumerate(said["devices"]):
            frequencies_hz = tuple(int(hz) for hz in device.pop("frequencies_hz"))
            costs = arrays[f"latency_ps_{at}"], arrays[f"energy_pj_{at}"]
            devices.append(Device(device.pop("name"), frequencies_hz, *costs, **device))
        limits = said["limits"]
        if not isinstance(limits["private_layers"], int):
            limits["private_layers"] = tuple(limits["private_layers"])
        limits["frequencies_hz"] = {name: tuple(map(int, values)) for name, values in limits["frequencies_hz"].items()}
        for pair in said["joined"]:
            if pair["link"] is not None:
                pair["link"].update({name: _rows(pair["link"].get(name, ())) for name in ("passes", "trace")})
        layer_bytes = said["layer_bytes"]
        return Problem(
            network=str(said["network"]),
            layers=tuple(map(str, said["layers"])),
            max_layers=int(said["max_layers"]),
            devices=tuple(devices),
            crossing_ps=arrays["crossing_ps"],
            crossing_pj=arrays["crossing_pj"],
            sizes_bytes=tuple(map(int, said["sizes_bytes"])),
            goal=Goal(**said["goal"]),
            limits=Limits(**limits),
            has_energy=bool(said["has_energy"]),
            layer_bytes=None if layer_bytes is None else tuple(map(int, layer_bytes)),
            links=str(said["links"]),
            joined={
                (int(pair["weaker"]), int(pair["other"])): None if pair["link"] is None else Link(**pair["link"])
                for pair in said["joined"]
            },
            arithmetic=str(said["arithmetic"]),
            warnings=tuple(map(str, said["warnings"])),
            batch=int(said.get("batch", 1)),
            terms=_read_terms(said["terms"], arrays, devices) if "terms" in said else NOTHING,  # not before version 2
        )
    except OSError as error:
        raise TableError(f"{path}: {error.strerror}") from None
    except (
        *(ValueError, TypeError, KeyError, AttributeError, IndexError, OverflowError, RecursionError, MemoryError),
        InputError,
    ) as error:
        raise TableError(f"{path} is damaged: {' '.join(str(error).split())}") from None


def _rows(said: Iterable[Iterable[float]]) -> tuple[tuple[float, ...], ...]:
    """Rows of numbers, which JSON has as lists."""
    return tuple(tuple(map(float, row)) for row in said)


def sources(folder: str | os.PathLike[str]) -> list[dict[str, str]]:
    """The profiles that a problem was made of: device, path and sha256 of each, the edge device's first.

    Raises:
        TableError: The file is missing or damaged.
    """
    path = Path(folder) / PROBLEM
    try:
        with open(path, encoding="utf-8") as stream:
            said = json.loads(stream.read(LARGEST_JSON))
        schemas.version(schemas.PROBLEM, said, path)
        return [{name: str(one[name]) for name in ("device", "path", "sha256")} for one in said["profiles"]]
    except OSError as error:
        raise TableError(f"{path}: {error.strerror}") from None
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise TableError(f"{path} is damaged: {' '.join(str(error).split())}") from None


def _arrays(problem: Problem) -> dict[str, Ints]:
    found = {"crossing_ps": problem.crossing_ps, "crossing_pj": problem.crossing_pj}
    for at, device in enumerate(problem.devices):
        found[f"latency_ps_{at}"], found[f"energy_pj_{at}"] = device.latency_ps, device.energy_pj
    terms = problem.terms
    for end, of_term in (("first", terms.first_ps), ("last", terms.last_ps), ("change", {"": terms.change_ps})):
        for term, of_devices in of_term.items():
            for at, table in enumerate(of_devices):
                if table is not None:
                    found[f"{end}_{term}_{at}"] = table
    if terms.input_ps is not None:
        found["input_ps"] = terms.input_ps
    for name, of_devices in (("waited_ps", terms.waited_ps), ("beyond_ps", terms.beyond_ps)):
        for at, table in enumerate(of_devices):
            if table is not None:
                found[f"{name}_{at}"] = table
    for term, (ps, pj) in terms.crossing.items():
        found[f"crossing_{term}_ps"], found[f"crossing_{term}_pj"] = ps, pj
    return found


def _terms(terms: Terms) -> dict[str, object]:
    """What the JSON holds of them; tables stand in the other file."""
    return {
        "counted": list(terms.counted),
        "idle_w": list(terms.idle_w),
        "working_w": list(terms.working_w),
        "radios": [asdict(radio) for radio in terms.radios],
        "connect_trips": terms.connect_trips,
        "encoded": [asdict(one) for one in terms.encoded],
        "input_on_link": terms.input_on_link,
        "facts": [asdict(fact) for fact in terms.facts],
        "missing": [asdict(one) for one in terms.missing],
    }


# Any: a part of problem.json as it was read; what is of the wrong form raises
def _read_terms(said: Mapping[str, Any], arrays: Mapping[str, Ints], devices: Sequence[Device]) -> Terms:
    """Reads terms, which must be of these devices.

    Raises:
        ValueError: They are not.
    """
    count, boundaries = len(devices), len(arrays["crossing_ps"])

    def powers(name: str) -> tuple[tuple[float, ...] | None, ...]:
        found = tuple(None if one is None else tuple(map(float, one)) for one in said[name])
        for one, device in zip(found, devices, strict=bool(found)):
            if one is not None and (len(one) != len(device.frequencies_hz) or not all(0 <= w < math.inf for w in one)):
                raise ValueError(f"{name} are no powers of {device.name}")
        return found

    def ends(name: str) -> dict[str, tuple[Ints | None, ...]]:
        found = {term: tuple(arrays.get(f"{name}_{term}_{at}") for at in range(count)) for term in (*TERMS, "")}
        for of_devices in found.values():
            for table, device in zip(of_devices, devices, strict=True):
                shape = (boundaries, len(device.frequencies_hz)) if name != "change" else (len(device.frequencies_hz),)
                if table is not None and (table.shape != shape or table.min() < 0):
                    raise ValueError(f"a term of {device.name} has another shape, or is negative")
        return {term: tables for term, tables in found.items() if any(table is not None for table in tables)}

    crossing = {
        term: (arrays[f"crossing_{term}_ps"], arrays[f"crossing_{term}_pj"])
        for term in TERMS
        if f"crossing_{term}_ps" in arrays
    }
    shape = arrays["crossing_ps"].shape
    if any(table.shape != shape or table.min() < 0 for both in crossing.values() for table in both):
        raise ValueError("a term of transfers has another shape, or is negative")
    radios = tuple(
        Radio(**{**one, "pairs": tuple((int(a), int(b)) for a, b in one["pairs"])}) for one in said["radios"]
    )
    for radio in radios:
        places = [radio.device, *(at for pair in radio.pairs for at in pair)]
        costs = radio.promotion_ps, radio.promotion_pj, radio.tail_ps, radio.tail_w
        if not all(0 <= at < count for at in places) or not all(0 <= cost < math.inf for cost in costs):
            raise ValueError("a radio is none of these devices'")
    encoded = tuple(Encoded(**one) for one in said.get("encoded", ()))  # not before version 3
    for one in encoded:
        if not 0 <= one.boundary < boundaries - 1 or min(one.size_bytes, one.most_bytes, one.plain_bytes) < 0:
            raise ValueError("what is sent encoded is no tensor of this network")
    input_ps = arrays.get("input_ps")
    if input_ps is not None and (input_ps.shape != (len(devices[0].frequencies_hz),) or input_ps.min() < 0):
        raise ValueError("the input's encoding has other times than the edge device has frequencies")
    beyond_ps = tuple(arrays.get(f"beyond_ps_{at}") for at in range(count))
    for table, device in zip(beyond_ps, devices, strict=True):
        if table is not None and (table.shape != device.latency_ps.shape or (device.latency_ps + table).min() < -1):
            raise ValueError(f"mean times of {device.name} have another shape, or are negative")
    waited_ps = tuple(arrays.get(f"waited_ps_{at}") for at in range(count))  # not before version 6
    for table, device in zip(waited_ps, devices, strict=True):
        if table is not None and (table.shape != device.latency_ps.shape or table.min(initial=0) < 0):
            raise ValueError(f"waits of {device.name} have another shape, or are negative")
    counted = tuple(map(bool, said["counted"]))
    if len(counted) not in (0, count):
        raise ValueError("joules count of other devices")
    return Terms(
        counted=counted,
        idle_w=powers("idle_w"),
        working_w=powers("working_w"),
        radios=radios,
        first_ps=ends("first"),
        last_ps=ends("last"),
        change_ps=ends("change").get("", (None,) * count),
        crossing=crossing,
        encoded=encoded,
        input_ps=input_ps,
        input_on_link=input_ps is not None and bool(said.get("input_on_link", True)),  # not before version 4
        connect_trips=int(said["connect_trips"]),
        facts=tuple(Fact(**one) for one in said["facts"]),
        missing=tuple(Missing(**one) for one in said["missing"]),
        waited_ps=waited_ps if any(table is not None for table in waited_ps) else (),
        beyond_ps=beyond_ps if any(table is not None for table in beyond_ps) else (),
    )


def _read_arrays(path: Path, sha256: str) -> dict[str, Ints]:
    """Reads arrays of integers that are as large as a problem's may be, and the ones that were written."""
    most = 64 * LARGEST_TABLE
    try:
        with open(path, "rb") as stream:
            content = stream.read(most)
        with zipfile.ZipFile(io.BytesIO(content)) as entries:
            if sum(entry.file_size for entry in entries.infolist()) > most:
                raise TableError(f"{path} is too large for a problem")
        if hashlib.sha256(content).hexdigest() != sha256:
            raise TableError(f"{path} is damaged: it is not what was written (sha256)")
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            found = {name: file[name] for name in file.files}
    except zipfile.BadZipFile as error:
        raise TableError(f"{path} is damaged: {error}") from None
    if any(array.dtype != np.int64 for array in found.values()):
        raise TableError(f"{path} is damaged: costs are integers of 64 bits")
    return found
