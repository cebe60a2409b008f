"""The lab file: which devices are on the bench, how each is reached, what runs there, and which meter watches it."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import dime
from dime.contract import plugins
from dime.contract.errors import InputError, nearest, unknown
from dime.contract.run import BOUNDS
from dime.host.bench import boards

T = TypeVar("T")
DEFAULT_FILE = Path("lab.toml")
LOCAL = "local"

IMAGES = {"host": "dime-host", "jetson": "dime-jetson"}  # what is built here, and how it is called in a registry
ARCHITECTURES = ("386", "amd64", "arm/v6", "arm/v7", "arm64", "arm64/v8", "ppc64le", "riscv64", "s390x")
PLATFORMS = tuple(f"linux/{name}" for name in ARCHITECTURES)
RUNTIMES = ("crun", "nvidia", "runc", "runsc")  # an engine may have others: only what looks like one of these is a slip
LEAST_MEMORY_BYTES = 6 << 20  # Docker's own
MOST_GPUS = 64

HOST_AND_PORT = r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:]+\])(?::(?P<port>[0-9]{1,5}))?"
PART = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
REGISTRY = re.compile(rf"(?P<host>{HOST_AND_PORT})(?:/{PART})*", re.ASCII)
IMAGE = re.compile(
    rf"(?:(?P<host>{HOST_AND_PORT})/)?(?P<path>{PART}(?:/{PART})*)(?::(?P<tag>\w[\w.-]{{0,127}}))?", re.ASCII
)
MEMORY = re.compile(r"(?P<count>[0-9]{1,15}(?:\.[0-9]{1,9})?) ?(?:(?P<unit>[kmgt])i?b?|b)?", re.ASCII | re.IGNORECASE)
WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", re.ASCII)
SSH_ADDRESS = re.compile(
    r"ssh://(?:(?P<user>[\w.][\w.@+-]*)@)?"
    r"(?P<host>\[[0-9A-Fa-f:.]+(?:%[\w.-]+)?\]|[\w.][\w.-]*)(?::(?P<port>[0-9]{1,5}))?/?",
    re.ASCII,
)


class Address(NamedTuple):
    """An engine's ssh address in its parts; what it does not say is empty or 0, and ssh's configuration decides."""

    user: str
    host: str
    port: int

    @classmethod
    def of(cls, text: str) -> Address | None:
        """Takes an address apart: the one place that does, so that case and brackets survive.

        Args:
            text: Such as ``ssh://dime@[fd15::81c3]:2222``.

        Returns:
            Its parts, the host without brackets; None for any other text.
        """
        found = SSH_ADDRESS.fullmatch(text)
        if found is None or int(found["port"] or 0) > 65535:
            return None
        return cls(found["user"] or "", found["host"].strip("[]"), int(found["port"] or 0))


@dataclass(frozen=True)
class Meter:
    """A power meter: its plug-in's name and the options that are passed on to it."""

    name: str
    options: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class LabDevice:
    """One device of the bench.

    Attributes:
        name: Its name in the lab file.
        engine: ``local`` (no container), ``unix://`` with a socket's path, or ``ssh://user@host[:port]``.
        board: The kind of board; a plug-in of the device side.
        image: Repository, with or without a tag, of the image that runs there.
        platform: Platform of that image; empty leaves it to the engine.
        runtime: The engine's runtime; empty for its default.
        set_clock: Whether runs fix the board's clock, for which the container must be privileged.
        gpus: Count of GPUs handed to the container, or ``all``; empty for none. Not for a Jetson.
        threads: Numbers of CPU threads to profile with; 0 leaves it to the tensor library.
        memory: Limit inside the container in bytes, as Docker spells it (``512b``); empty for none.
        meter: The meter that watches it, or None.
        tags: Words by which several devices are chosen at once.
    """

    name: str
    engine: str = LOCAL
    board: str = "generic"
    image: str = ""
    platform: str = ""
    runtime: str = ""
    set_clock: bool = False
    gpus: str = ""
    threads: tuple[int, ...] = (0,)
    memory: str = ""
    meter: Meter | None = None
    tags: tuple[str, ...] = ()

    @property
    def address(self) -> Address | None:
        """The parts of an ssh engine's address; None unless it is reached over ssh."""
        return Address.of(self.engine)

    @property
    def host(self) -> str:
        """The host's name in the engine's address, as it was typed; empty unless it is reached over ssh."""
        return self.address.host if self.address else ""


# Known without a lab file: `local` is this machine in both roles, weak device (one thread) and server (all threads);
# `standin` is a share of one of its cores.
THIS_MACHINE = (
    LabDevice("edge", threads=(1,), tags=(LOCAL,)),
    LabDevice("server", tags=(LOCAL,)),
    LabDevice("standin", board="standin", threads=(1,)),
)
BUILT_IN = (LOCAL, *(device.name for device in THIS_MACHINE))


@dataclass(frozen=True)
class Lab:
    """The bench: its devices by name, and the registry that they pull from."""

    devices: Mapping[str, LabDevice]
    registry: str = ""
    path: Path | None = None

    def choose(self, names: str) -> list[LabDevice]:
        """Finds devices by a list of names and tags.

        Args:
            names: Names or tags, joined by commas; ``all`` for every device.

        Returns:
            The devices, each once, in the order asked for.

        Raises:
            InputError: A word is neither a name nor a tag; the known ones are listed.
        """
        chosen: dict[str, LabDevice] = {}
        for word in filter(None, (part.strip() for part in names.split(","))):
            found = [d for d in self.devices.values() if word in (d.name, "all") or word in d.tags]
            found = found or [d for d in THIS_MACHINE if word == d.name or word in d.tags]
            if not found:
                source = (
                    f" in {self.path}" if self.path else f"; there is no {DEFAULT_FILE}, see docker/lab.example.toml"
                )
                if word == "all":
                    raise InputError(f"there is no device{source}")
                raise unknown("device", word, [*self.devices, *BUILT_IN], source)
            chosen |= {device.name: device for device in found}
        if not chosen:
            raise InputError(f"no device named; known: {', '.join(sorted([*self.devices, *BUILT_IN]))}")
        return list(chosen.values())


def load(path: str | Path | None = None) -> Lab:
    """Reads a lab file.

    Args:
        path: The file; None takes lab.toml of the working folder, and an empty lab if there is none.

    Returns:
        The lab.

    Raises:
        InputError: The file is missing, is not TOML, or has an entry that cannot be used; the entry is named.
    """
    file = Path(path) if path else DEFAULT_FILE
    if not path and not file.exists():
        return Lab({})
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib  # type: ignore[import-not-found,unused-ignore]
    try:
        content = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{file}: {error.strerror}; docker/lab.example.toml shows what it may hold") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{file}: {error}") from None
    registry = check_registry(content.pop("registry", ""), f"{file}: ")
    devices = {}
    for name, entry in content.items():
        if not isinstance(entry, dict):
            raise InputError(
                f"{file}: '{name}' is neither a device's table, such as [nano], nor registry = \"...\""
                f"{nearest(name, ['registry'])}"
            )
        devices[name] = _device(f"{file} [{name}]", name, entry)
    return Lab(devices, registry, file)


def check_registry(text: object, where: str = "") -> str:
    """Makes sure that a text is a registry's address, as image names have it in front.

    Args:
        text: Such as ``bench.lan:5000``; empty for none.
        where: What the text was found in, with a colon behind.

    Returns:
        The address without a slash at its end.

    Raises:
        InputError: It is none; the line says how it is written.
    """
    if not isinstance(text, str):
        raise InputError(f'{where}registry must be a text such as "bench:5000", not {text!r}')
    if not text:
        return ""
    bare = re.sub(r"^[a-z]+://", "", text).strip("/")
    found = REGISTRY.fullmatch(bare)
    if not found or int(found["port"] or 0) > 65535:
        raise InputError(f'{where}registry is a host and its port such as "bench:5000", not {text!r}')
    if bare != text.rstrip("/"):
        raise InputError(f'{where}registry is a host and its port without a scheme: write "{bare}", not {text!r}')
    if not found["port"] and not re.search(r"^localhost$|[.:]", found["host"]):
        raise InputError(
            f"{where}registry {text!r} has neither a port nor a dot: Docker takes it for an account of Docker Hub; "
            f'write "{found["host"]}:5000" or "docker.io/{bare}"'
        )
    return bare


def check_platform(text: str, where: str = "") -> str:
    """Makes sure that a text is a platform that images can be for.

    Raises:
        InputError: It is none; the line has the nearest one.
    """
    if text not in PLATFORMS:
        raise InputError(f"{where}{unknown('platform', text, PLATFORMS)}")
    return text


def _plug_ins(folder: str) -> list[str]:
    """Names of another side's or room's plug-ins, which are not imported here; those of other packages too."""
    places = [Path(place, folder) for place in dime.__path__]
    own = (file.stem for place in places for file in place.glob("[!_]*.py"))
    return sorted({*own, *plugins.added(Path(folder).name)})


def _device(where: str, name: str, entry: dict[str, Any]) -> LabDevice:  # Any: TOML, of which each key is checked
    """Checks one device's table, whose place in the file ``where`` names."""
    if not re.fullmatch(r"[a-z0-9][a-z0-9_.-]*", name) or name == "all":
        raise InputError(f"{where}: a device's name has small letters, digits, '-', '_' and '.', and is not 'all'")
    known = [f.name for f in fields(LabDevice) if f.name != "name"]
    for key in entry:
        if key not in known:
            raise InputError(f"{where}: {unknown('key', key, known)}")
    board = _text(where, "board", entry.get("board", "generic"))
    if board not in (kinds := boards.names()):
        raise InputError(f"{where}: {unknown('board', board, kinds)}")
    values = {**boards.facts(board), **entry, "board": board}
    for key in ("engine", "image", "platform", "runtime", "memory"):
        if key in values:
            values[key] = _text(where, key, values[key])
    values["engine"] = _engine(where, values.get("engine", ""))
    values["image"] = _image(where, values["image"])
    values["platform"] = check_platform(values["platform"], f"{where}: ") if values["platform"] else ""
    values["runtime"] = _runtime(where, values["runtime"])
    values["memory"] = _memory(where, values.get("memory", ""))
    values["gpus"] = _gpus(where, values.get("gpus", ""))
    if not isinstance(values["set_clock"], bool):
        raise InputError(f"{where}: set_clock is true or false, not {values['set_clock']!r}")
    values["threads"] = _list(where, "threads", values.get("threads", [0]), int)
    least, most = BOUNDS["threads"]
    if not values["threads"] or not least <= min(values["threads"]) <= max(values["threads"]) <= most:
        raise InputError(
            f"{where}: threads is a list of counts up to {most} such as [1, 4]; 0 leaves it to the library"
        )
    values["tags"] = _list(where, "tags", values.get("tags", []), str)
    for tag in values["tags"]:
        if not WORD.fullmatch(tag) or tag == "all":
            raise InputError(f"{where}: a tag has letters, digits, '-', '_' and '.', and is not 'all'; not {tag!r}")
    if "meter" in values:
        values["meter"] = _meter(where, values["meter"])
    return LabDevice(name=name, **values)


def _image(where: str, text: str) -> str:
    """An image's name, as Docker spells it; one that is nearly ours is a slip."""
    found = IMAGE.fullmatch(text)
    if not found:
        raise InputError(f'{where}: image is a name such as "dime-host" or "bench:5000/dime-host:v1", not {text!r}')
    name = found["path"].rpartition("/")[2]
    if name not in IMAGES.values() and (slip := nearest(name, IMAGES.values(), 0.75)):
        raise InputError(f"{where}: image {text!r} is none of ours{slip}")
    return text


def _runtime(where: str, text: str) -> str:
    if text and not WORD.fullmatch(text):
        raise InputError(f'{where}: runtime is a name such as "nvidia", not {text!r}')
    if text not in RUNTIMES and (slip := nearest(text, RUNTIMES, 0.8)):
        raise InputError(f"{where}: unknown runtime {text!r}{slip}")
    return text


def _memory(where: str, text: str) -> str:
    """A limit as Docker reads it: a number and k, m, g or t, which are powers of 1024."""
    found = MEMORY.fullmatch(text)
    if not text:
        return ""
    if not found:
        raise InputError(f'{where}: memory is a size such as "8g" or "512m", not {text!r}')
    unit = (found["unit"] or "b").lower()
    size_bytes = int(float(found["count"]) * 1024 ** "bkmgt".index(unit))
    if not LEAST_MEMORY_BYTES <= size_bytes < 1 << 63:
        raise InputError(f'{where}: memory is 6m, Docker\'s least, or more, such as "8g", not {text!r}')
    return f"{size_bytes}b"


def _gpus(where: str, value: object) -> str:
    if value in ("", "all") and isinstance(value, str):
        return value
    text = str(value) if type(value) in (int, str) else ""
    if not re.fullmatch("[0-9]{1,3}", text) or int(text) > MOST_GPUS:
        raise InputError(f'{where}: gpus is a count up to {MOST_GPUS} or "all", not {value!r}')
    return str(int(text)) if int(text) else ""


def _text(where: str, key: str, value: object) -> str:
    if not isinstance(value, str):
        raise InputError(f"{where}: {key} must be a text in quotes, not {value!r}")
    return value


def _list(where: str, key: str, value: object, kind: type[T]) -> tuple[T, ...]:
    items = value if isinstance(value, list) else [value]
    if not all(type(item) is kind for item in items):
        raise InputError(
            f"{where}: {key} must be a list of {'whole numbers' if kind is int else 'texts'}, not {value!r}"
        )
    return tuple(item for item in items if isinstance(item, kind))


def _meter(where: str, value: object) -> Meter:
    entry = {"name": value} if isinstance(value, str) else value
    if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
        raise InputError(
            f'{where}: meter must be {{name = "smartpower3", port = "/dev/ttyUSB0"}} or a name, not {value!r}'
        )
    name, known = entry["name"], _plug_ins("host/metering/meters")
    if name not in known:
        raise InputError(f"{where}: {unknown('meter', name, known)}")
    return Meter(name, {key: option for key, option in entry.items() if key != "name"})


def _engine(where: str, address: str) -> str:
    """Checks an engine's address, which is kept as it was given."""
    forms = "local, unix:///var/run/docker.sock or ssh://user@host"
    if address == LOCAL or address.startswith("unix:///"):
        return address
    login, _, _ = address.removeprefix("ssh://").rpartition("@")
    if address.startswith("ssh://") and ":" in login:
        raise InputError(f"{where}: a password does not belong into the lab file; use an ssh key (scripts/device.sh)")
    if Address.of(address):
        return address
    raise InputError(
        f"{where}: engine {address!r} is not one of {forms}" if address else f"{where}: lacks engine: {forms}"
    )
