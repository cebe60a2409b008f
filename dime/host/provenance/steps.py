"""The way from raw data to every table and plan: commands of DIME with what they read and what they write.

An archive's steps are data of whoever made it. What is run of them are four commands, with options that stay inside
the archive.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import dime
from dime.contract.errors import DeviceError, TableError
from dime.host.studies.request import Value

COMMANDS = ("join", "solve", "sweep", "report")
LONGEST_S = 3600.0
NAME = re.compile(r"[a-z][a-z0-9_]{0,40}")
# The package that runs now, by its place: never what a folder of the archive calls dime.
ENTRY = os.path.join(os.path.dirname(dime.__file__), "entry.py")


@dataclass(frozen=True)
class Step:
    """One command.

    Attributes:
        command: ``join``, ``solve``, ``sweep`` or ``report``.
        options: Option -> value; what is None takes its default.
        inputs: Files that it reads, by their paths in the archive.
        outputs: Files that it writes.
    """

    command: str
    options: Mapping[str, Value]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    @property
    def words(self) -> list[str]:
        """The command's words after ``dime``."""
        given = {name: value for name, value in self.options.items() if value is not None and value != ""}
        return [self.command, *(f"--{name.replace('_', '-')}={_word(value)}" for name, value in given.items())]

    @property
    def line(self) -> str:
        """The command as it is typed."""
        return shlex.join(["dime", *self.words])

    @property
    def place(self) -> str:
        """The folder that it writes into."""
        return os.path.commonpath([os.path.dirname(path) for path in self.outputs]) if self.outputs else ""

    def data(self) -> dict[str, object]:
        """What artifact.json holds of it."""
        return {**vars(self), "inputs": list(self.inputs), "outputs": list(self.outputs)}

    @classmethod
    def checked(cls, said: object, where: object) -> Step:
        """Takes a step from a file.

        Raises:
            TableError: It is none, or leads out of the archive.
        """
        fields = dict(said) if isinstance(said, dict) else {}
        command, options = fields.get("command"), fields.get("options")
        inputs, outputs = fields.get("inputs"), fields.get("outputs")
        if not (isinstance(command, str) and isinstance(options, dict)) or not (
            isinstance(inputs, list) and isinstance(outputs, list)
        ):
            raise TableError(f"{where} is damaged: a step has no command, options, inputs and outputs")
        step = cls(command, options, tuple(inputs), tuple(outputs))
        values = [value for value in step.options.values() if isinstance(value, str)]
        parts = [part for value in values for part in re.split(r"[=,;:\s]+", value)]
        if step.command not in COMMANDS or not all(
            NAME.fullmatch(str(name)) and isinstance(value, (str, int, float, type(None)))
            for name, value in step.options.items()
        ):
            raise TableError(f"{where} is damaged: a step is none of {', '.join(COMMANDS)} with plain options")
        for path in (*step.inputs, *step.outputs, *parts):
            if not isinstance(path, str) or leads_outside(path):
                raise TableError(f"{where} is damaged: a step leads out of the archive: {str(path)[:100]}")
        return step


def leads_outside(path: str) -> bool:
    """Whether a path is not one below the folder one is in."""
    parts = PurePosixPath(path).parts
    return path.startswith(("/", "~", "\\")) or ".." in parts or "\0" in path or bool(re.match(r"[A-Za-z]:[\\/]", path))


def _word(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def run(step: Step, archive: Path, work: Path, more: Sequence[str] = ()) -> str:
    """Makes a step's outputs again, in another folder.

    Args:
        step: The step.
        archive: Where raw data are.
        work: Where it is done; what earlier steps have made there is taken, the rest is copied from the archive.
        more: Words that are added to the command.

    Returns:
        Why it failed, in one line; empty where it did not.
    """
    for path in set(step.inputs) - set(step.outputs):  # what it makes is never there before
        target = work / path
        if not target.exists() and (archive / path).is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(archive / path, target)
    return command([*step.words, *more], work)


def command(words: Sequence[str], folder: Path) -> str:
    """Runs this very DIME in a folder, outside of any container.

    Returns:
        What it said of its failure, in one line; empty where it did not fail.

    Raises:
        DeviceError: It did not end.
    """
    environment = {name: value for name, value in os.environ.items() if name != "DIME_RUNTIME"}
    try:
        done = subprocess.run(
            [sys.executable, ENTRY, "host", *words], cwd=folder, env=environment, capture_output=True, check=False,
            timeout=LONGEST_S,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise DeviceError(f"{shlex.join(['dime', *words])} did not end in {LONGEST_S / 60:g} minutes") from None
    said = done.stderr.decode("utf-8", "replace").strip().splitlines()
    return "" if done.returncode == 0 else (said[-1] if said else f"exit status {done.returncode}")
