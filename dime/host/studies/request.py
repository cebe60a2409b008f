"""What a person asked for, kept beside what came of it: by it the same is made again from the same profiles."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from dime.contract import files, schemas
from dime.contract.errors import TableError
from dime.contract.run import REQUEST
from dime.host.common import places
from dime.host.profiles.profiles import Profile

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

COMMANDS = ("solve", "sweep")
Value: TypeAlias = "str | int | float | bool | None"  # of an option


@dataclass(frozen=True)
class Request:
    """One command with all of its options, those that were not typed, too.

    Attributes:
        command: ``solve`` or ``sweep``.
        options: Name -> value, in the units of the command line.
        profiles: device, path and sha256 of each profile's table, the edge device's first.
    """

    command: str
    options: Mapping[str, Value]
    profiles: tuple[Mapping[str, str], ...]

    @classmethod
    def of(cls, command: str, profiles: Sequence[Profile], *groups: DataclassInstance) -> Request:
        """Takes down a command.

        Args:
            command: Its name.
            profiles: The profiles that it was given.
            *groups: The dataclasses that hold its options.
        """
        options = {name: value for group in groups for name, value in asdict(group).items()}
        return cls(command, options, tuple(made_of(profiles)))

    def write(self, folder: str | os.PathLike[str]) -> None:
        """Writes request.json.

        Raises:
            InputError: It exists already, or the disk would not take it.
        """
        content = schemas.stamped(schemas.REQUEST, {**vars(self), "profiles": list(self.profiles)})
        places.write_new(Path(folder) / REQUEST, files.as_json(content))


def made_of(profiles: Sequence[Profile]) -> list[dict[str, str]]:
    """Device, path and SHA-256 of each profile's table; the hash is empty where the table is not on this disk."""
    return [{"device": one.device, "path": one.path, "sha256": _digest(one.path)} for one in profiles]


def read(folder: str | os.PathLike[str]) -> Request:
    """Reads request.json.

    Raises:
        TableError: It is missing, damaged, or of a later version.
    """
    path = Path(folder) / REQUEST
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
        schemas.version(schemas.REQUEST, said, path)
        command, options, profiles = said["command"], said["options"], said["profiles"]
        texts = [one[name] for one in profiles for name in ("device", "path", "sha256")]
        plain = all(isinstance(value, (str, int, float, type(None))) for value in options.values())
        if command not in COMMANDS or not plain or not all(isinstance(text, str) for text in texts):
            raise ValueError("it is no command with options and profiles")
        return Request(command, options, tuple(profiles))
    except FileNotFoundError:
        raise TableError(
            f"{os.fspath(folder)} has no {REQUEST}: it is no study's folder, or an earlier version of DIME made it;"
            " solve again"
        ) from None
    except OSError as error:
        raise TableError(f"{path}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise TableError(f"{path} is damaged: {' '.join(str(error).split())}") from None


def _digest(path: str) -> str:
    try:
        return files.digest(path)
    except OSError:
        return ""
