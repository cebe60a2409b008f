"""The command line's arguments: checked and typed before anything runs.

Fire dispatches and prints the help. On its own it would run a command first and complain about a mistyped option
afterwards, read 1_000 as a number and 'false' as a true text; so every option is checked here before, values stay texts
until the command's annotations say what they are, and the command runs after Fire has returned.
"""

from __future__ import annotations

import dataclasses
import inspect
import sys
import textwrap
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext, redirect_stderr
from dataclasses import dataclass
from functools import partial
from typing import Any

from dime.contract.errors import InputError, unknown
from dime.contract.quantities import plain

Command = Callable[..., object]
Commands = Mapping[str, "Command | Commands"]
HELP = ("-h", "--help", "help")


@dataclass(frozen=True)
class Option:
    """One option of a command.

    Attributes:
        name: Its name in Python.
        kind: The type of its value.
        unit: The unit of a bare number; empty where it has none.
        default: ``inspect.Parameter.empty`` where it must be given.
        help: What it does.
        group: The parameter of the command, an options' class, whose field it is; empty for a parameter of its own.
    """

    name: str
    kind: type
    unit: str
    default: object
    help: str
    group: str

    @property
    def needed(self) -> bool:
        return self.default is inspect.Parameter.empty

    def convert(self, text: str) -> object:
        """Turns what was typed into the option's type."""
        return _convert(self.name, text, self.kind, self.unit)


def options(command: Command) -> dict[str, Option]:
    """The options of a command by name, in the order in which they may be given without their names."""
    found: dict[str, Option] = {}
    hints = typing.get_type_hints(command, include_extras=True)
    for name, parameter in inspect.signature(command).parameters.items():
        if dataclasses.is_dataclass(hints[name]):
            of_fields = typing.get_type_hints(hints[name], include_extras=True)
            for field in dataclasses.fields(hints[name]):
                default = inspect.Parameter.empty if field.default is dataclasses.MISSING else field.default
                kind, unit = _kind(of_fields[field.name])
                found[field.name] = Option(field.name, kind, unit, default, field.metadata.get("help", ""), name)
        else:
            kind, unit = _kind(hints[name])
            found[name] = Option(name, kind, unit, parameter.default, "", "")
    return dict(sorted(found.items(), key=lambda item: not item[1].needed))


@dataclass(frozen=True)
class Call:
    """A command with its arguments, ready to run."""

    run: Callable[[], object]


def _nothing(result: object) -> None:
    """What Fire is to print of a bound command."""


def parse(commands: Commands, arguments: Sequence[str], name: str) -> Call | None:
    """Finds the command that the arguments ask for, or prints help.

    Args:
        commands: Functions by name; a nested mapping is a group of commands.
        arguments: What was typed after the program's name.
        name: The program's name, for the help.

    Returns:
        The command, bound and typed but not run; None when help was printed instead.

    Raises:
        InputError: An unknown command or option, a missing or a surplus argument, a value of the wrong type.
    """
    import fire

    asks_help = not arguments or any(word in HELP for word in arguments)
    path = [word for word in arguments if word not in HELP] if asks_help else list(arguments)
    function, rest = _find(commands, path)
    command = path[: len(path) - len(rest)]
    if asks_help:
        command += ["--", "--help"]
    elif not isinstance(function, Mapping):
        command += [f"--{name}={text!r}" for name, text in _check(function, rest).items()]
    else:
        raise InputError(f"'{' '.join(arguments)}' needs one of: {', '.join(function)}")
    try:
        with redirect_stderr(sys.stdout) if asks_help else nullcontext():  # help that was asked for is no error
            result = fire.Fire(_deferred(commands), command=command, name=name, serialize=_nothing)
    except SystemExit as stopped:
        if stopped.code:
            raise InputError(f"cannot make sense of: {' '.join(arguments)}") from None
        return None
    return result if isinstance(result, Call) else None


def _find(commands: Commands, path: Sequence[str]) -> tuple[Command | Commands, list[str]]:
    """Walks down the groups; returns the command or group reached, and the words left."""
    place: Command | Commands = commands
    for position, word in enumerate(path):
        if not isinstance(place, Mapping):
            return place, list(path[position:])
        known = {key.replace("-", "_"): key for key in place}
        if word.replace("-", "_") not in known:
            raise unknown("command", word, place)
        place = place[known[word.replace("-", "_")]]
    return place, []


def _check(function: Command, words: Sequence[str]) -> dict[str, str]:
    """Assigns every word to a parameter; refuses what the function cannot take, and what it lacks."""
    known = options(function)
    given: dict[str, str] = {}
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if word.startswith("-") and not word[1:2].isdigit():
            option, has_value, value = word.partition("=")
            name = _named(option, known)
            if not has_value:
                flag = known[name].kind is bool and (not rest or rest[0].startswith("-"))
                if not flag and not rest:
                    raise InputError(f"{option} needs a value")
                value = "true" if flag else rest.pop(0)
        else:
            name, value = next((name for name in known if name not in given), ""), word
            if not name:
                raise InputError(f"'{word}' is one argument too many; options are written --name=value")
        if name in given:
            raise InputError(f"{_option(name)} is given twice")
        given[name] = value
    for name, one in known.items():
        if one.needed and name not in given:
            raise InputError(f"{_option(name)} is missing")
    for name, value in given.items():
        known[name].convert(value)
    return given


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")


def _named(option: str, known: Iterable[str]) -> str:
    """Finds the option that was named in full, or by its first letter where that is enough."""
    name = option[2:].replace("-", "_") if option.startswith("--") else ""
    by_letter = [name for name in known if option == f"-{name[0]}"]
    if name not in known and len(by_letter) != 1:
        raise unknown("option", option, map(_option, known))
    return name or by_letter[0]


def _kind(hint: Any) -> tuple[type, str]:  # Any: a class, or what typing makes of one, which has no name
    """An annotation's type and unit; ``X | None`` counts as X."""
    members = [member for member in typing.get_args(hint) if member is not type(None)]
    if hasattr(hint, "__metadata__"):
        return hint.__origin__, hint.__metadata__[0]
    return _kind(members[0]) if members else (hint, "")


def _convert(name: str, text: str, kind: type, unit: str = "") -> object:
    """Turns the text of an option into its parameter's type."""
    if kind is str:
        return text
    if kind is bool:
        truth = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
        if text.lower() not in truth:
            raise InputError(f"{_option(name)}: '{text}' is neither true nor false")
        return truth[text.lower()]
    try:
        if "_" in text:
            raise ValueError
        return kind(plain(text, unit) if unit else text)
    except InputError as error:
        raise InputError(f"{_option(name)}: {error}") from None
    except ValueError:
        what = {int: "a whole number", float: "a number"}.get(kind, kind.__name__)
        raise InputError(f"{_option(name)}: '{text}' is not {what}") from None


def _deferred(commands: Commands) -> Commands:
    return {
        name: _deferred(command) if isinstance(command, Mapping) else _defer(command)
        for name, command in commands.items()
    }


def _defer(function: Command) -> Callable[..., Call]:
    """The command as Fire is to see it: a parameter for each option, and the help that goes with it."""
    known = options(function)
    hints = typing.get_type_hints(function)
    groups: dict[str, Callable[..., object]] = {
        name: hints[name] for name in hints if dataclasses.is_dataclass(hints[name])
    }

    def bind(*values: object) -> Call:  # Fire fills in the defaults, which have their types already
        given = {
            name: option.convert(value) if isinstance(value, str) else value
            for (name, option), value in zip(known.items(), values, strict=True)
        }
        named: dict[str, object] = {name: given[name] for name, option in known.items() if not option.group}
        for group, made_of in groups.items():
            named[group] = made_of(**{name: given[name] for name, option in known.items() if option.group == group})
        return Call(partial(function, **named))

    plain = inspect.Parameter.POSITIONAL_OR_KEYWORD
    shown = [inspect.Parameter(o.name, plain, default=o.default, annotation=o.kind) for o in known.values()]
    bind.__name__, bind.__signature__ = function.__name__, inspect.Signature(shown)  # type: ignore[attr-defined]
    told = (textwrap.fill(f"{o.name}: {o.help}", 116, initial_indent=" " * 4, subsequent_indent=" " * 8)
            for o in known.values() if o.help)  # fmt: skip
    bind.__doc__ = "\n".join([inspect.getdoc(function) or "", "", "Args:", *told])
    return bind
