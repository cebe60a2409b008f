"""The lab file: which devices are on the bench, how each is reached, what runs there, and which meter watches it."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, NamedTuple

from dime.contract.errors import InputError, unknown

DEFAULT_FILE = Path("lab.toml")
LOCAL = "local"

# What a kind of board needs that the host has to know before a container starts there; others are as "generic".
BOARDS: dict[str, dict[str, Any]] = {
    "nano": {"image": "dime-jetson", "platform": "linux/arm64", "runtime": "nvidia", "set_clock": True},
    "potato": {"image": "dime-host", "platform": "linux/arm64", "runtime": "", "set_clock": True},
    "generic": {"image": "dime-host", "platform": "", "runtime": "", "set_clock": False},
}


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
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Device:
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
        memory: Limit inside the container, as Docker spells it; empty for none.
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


# Known without a lab file: `local` is this machine in both roles, weak device (one thread) and server (all threads).
THIS_MACHINE = (Device("edge", threads=(1,), tags=(LOCAL,)), Device("server", tags=(LOCAL,)))
BUILT_IN = (LOCAL, *(device.name for device in THIS_MACHINE))


@dataclass(frozen=True)
class Lab:
    """The bench: its devices by name, and the registry that they pull from."""

    devices: Mapping[str, Device]
    registry: str = ""
    path: Path | None = None

    def choose(self, names: str) -> list[Device]:
        """Finds devices by a list of names and tags.

        Args:
            names: Names or tags, joined by commas; ``all`` for every device.

        Returns:
            The devices, each once, in the order asked for.

        Raises:
            InputError: A word is neither a name nor a tag; the known ones are listed.
        """
        chosen: dict[str, Device] = {}
        for word in filter(None, (part.strip() for part in names.split(","))):
            found = [d for d in self.devices.values() if word in (d.name, "all") or word in d.tags]
            found = found or [d for d in THIS_MACHINE if word == d.name or word in d.tags]
            if not found:
                source = (
                    f" in {self.path}" if self.path else f"; there is no {DEFAULT_FILE}, see docker/lab.example.toml"
                )
                raise InputError(f"{unknown('device', word, [*self.devices, *BUILT_IN])}{source}")
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
    registry = content.pop("registry", "")
    if not isinstance(registry, str):
        raise InputError(f'{file}: registry must be a text such as "bench:5000"')
    devices = {}
    for name, entry in content.items():
        if not isinstance(entry, dict):
            raise InputError(f"{file}: '{name}' is neither a device's table, such as [nano], nor registry = \"...\"")
        devices[name] = _device(f"{file} [{name}]", name, entry)
    return Lab(devices, registry, file)


def _device(where: str, name: str, entry: dict[str, Any]) -> Device:
    """Checks one device's table, whose place in the file ``where`` names."""
    if not re.fullmatch(r"[a-z0-9][a-z0-9_.-]*", name) or name == "all":
        raise InputError(f"{where}: a device's name has small letters, digits, '-', '_' and '.', and is not 'all'")
    known = [f.name for f in fields(Device) if f.name != "name"]
    for key in entry:
        if key not in known:
            raise InputError(f"{where}: {unknown('key', key, known)}")
    board = _text(where, "board", entry.get("board", "generic"))
    values = {**BOARDS.get(board, BOARDS["generic"]), **entry, "board": board}
    for key in ("engine", "image", "platform", "runtime", "memory"):
        if key in values:
            values[key] = _text(where, key, values[key])
    if not isinstance(values["set_clock"], bool):
        raise InputError(f"{where}: set_clock is true or false, not {values['set_clock']!r}")
    values["gpus"] = str(values.get("gpus", ""))
    if values["gpus"] and values["gpus"] != "all" and not values["gpus"].isdigit():
        raise InputError(f'{where}: gpus is a count or "all", not {values["gpus"]!r}')
    values["threads"] = _list(where, "threads", values.get("threads", [0]), int)
    if not values["threads"] or min(values["threads"]) < 0:
        raise InputError(f"{where}: threads is a list of counts such as [1, 4]; 0 leaves it to the library")
    values["tags"] = _list(where, "tags", values.get("tags", []), str)
    if "meter" in values:
        values["meter"] = _meter(where, values["meter"])
    values["engine"] = _engine(where, values.get("engine", ""))
    return Device(name=name, **values)


def _text(where: str, key: str, value: object) -> str:
    if not isinstance(value, str):
        raise InputError(f"{where}: {key} must be a text in quotes, not {value!r}")
    return value


def _list(where: str, key: str, value: object, kind: type) -> tuple[Any, ...]:
    items = value if isinstance(value, list) else [value]
    if not all(type(item) is kind for item in items):
        raise InputError(
            f"{where}: {key} must be a list of {'whole numbers' if kind is int else 'texts'}, not {value!r}"
        )
    return tuple(items)


def _meter(where: str, value: object) -> Meter:
    if isinstance(value, str):
        return Meter(value)
    if isinstance(value, dict) and isinstance(value.get("name"), str):
        return Meter(value["name"], {key: option for key, option in value.items() if key != "name"})
    raise InputError(f'{where}: meter must be {{name = "smartpower3", port = "/dev/ttyUSB0"}} or a name, not {value!r}')


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
