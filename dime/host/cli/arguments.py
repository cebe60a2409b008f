"""The command line's arguments: checked and typed before anything runs.

Fire dispatches and prints the help. On its own it would run a command first and complain about a mistyped option
afterwards, read 1_000 as a number and 'false' as a true text; so every option is checked here before, values stay texts
until the command's annotations say what they are, and the command runs after Fire has returned.
"""

from __future__ import annotations

import inspect
import sys
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext, redirect_stderr
from dataclasses import dataclass
from functools import partial, wraps
from typing import Annotated, Any, TypeAlias

from dime.contract.errors import InputError, unknown
from dime.contract.quantities import plain

# Numbers that may be typed with their unit; a bare one is in this.
Seconds: TypeAlias = Annotated[float, "s"]
Joules: TypeAlias = Annotated[float, "J"]
Watts: TypeAlias = Annotated[float, "W"]
Bytes: TypeAlias = Annotated[int, "B"]
Share: TypeAlias = Annotated[float, "%"]
Commands = Mapping[str, Any]
HELP = ("-h", "--help", "help")


@dataclass(frozen=True)
class Call:
    """A command with its arguments, ready to run."""

    run: Callable[[], Any]


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
    elif callable(function):
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


def _find(commands: Commands, path: Sequence[str]) -> tuple[Any, list[str]]:
    """Walks down the groups; returns the command or group reached, and the words left."""
    place: Any = commands
    for position, word in enumerate(path):
        if callable(place):
            return place, list(path[position:])
        known = {key.replace("-", "_"): key for key in place}
        if word.replace("-", "_") not in known:
            raise unknown("command", word, place)
        place = place[known[word.replace("-", "_")]]
    return place, []


def _check(function: Callable[..., Any], words: Sequence[str]) -> dict[str, str]:
    """Assigns every word to a parameter; refuses what the function cannot take, and what it lacks."""
    parameters = inspect.signature(function).parameters
    kinds = _kinds(function)
    given: dict[str, str] = {}
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if word.startswith("-") and not word[1:2].isdigit():
            option, has_value, value = word.partition("=")
            name = _parameter(option, parameters)
            if not has_value:
                flag = kinds[name] is bool and (not rest or rest[0].startswith("-"))
                if not flag and not rest:
                    raise InputError(f"{option} needs a value")
                value = "true" if flag else rest.pop(0)
        else:
            name, value = next((name for name in parameters if name not in given), ""), word
            if not name:
                raise InputError(f"'{word}' is one argument too many; options are written --name=value")
        if name in given:
            raise InputError(f"{_option(name)} is given twice")
        given[name] = value
    for name, parameter in parameters.items():
        if name not in given and parameter.default is parameter.empty:
            raise InputError(f"{_option(name)} is missing")
    units = _units(function)
    for name, value in given.items():
        _convert(name, value, kinds[name], units.get(name))
    return given


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")


def _parameter(option: str, parameters: Iterable[str]) -> str:
    """Finds the parameter that an option names in full, or by its first letter where that is enough."""
    name = option[2:].replace("-", "_") if option.startswith("--") else ""
    by_letter = [name for name in parameters if option == f"-{name[0]}"]
    if name not in parameters and len(by_letter) != 1:
        raise unknown("option", option, map(_option, parameters))
    return name or by_letter[0]


def _kinds(function: Callable[..., Any]) -> dict[str, type]:
    """The type of each parameter; ``X | None`` counts as X."""
    hints = typing.get_type_hints(function)
    kinds = {}
    for name in inspect.signature(function).parameters:
        members = [member for member in typing.get_args(hints[name]) if member is not type(None)]
        kinds[name] = members[0] if members else hints[name]
    return kinds


def _units(function: Callable[..., Any]) -> dict[str, str]:
    """The unit of each parameter that has one."""
    hints = typing.get_type_hints(function, include_extras=True)
    found: dict[str, str] = {}
    for name, hint in hints.items():
        for member in (hint, *typing.get_args(hint)):
            if hasattr(member, "__metadata__"):
                found[name] = member.__metadata__[0]
    return found


def _convert(name: str, text: str, kind: type, unit: str | None = None) -> Any:
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


def _deferred(commands: Commands) -> dict[str, Any]:
    return {
        name: _deferred(command) if isinstance(command, Mapping) else _defer(command)
        for name, command in commands.items()
    }


def _defer(function: Callable[..., Any]) -> Callable[..., Call]:
    kinds, units = _kinds(function), _units(function)

    def convert(name: str, text: str) -> Any:
        return _convert(name, text, kinds[name], units.get(name))

    @wraps(function)
    def bind(*values: Any) -> Call:  # Fire fills in the defaults, which have their types already
        named = zip(kinds, values, strict=True)
        return Call(partial(function, *(convert(name, v) if isinstance(v, str) else v for name, v in named)))

    signature = inspect.signature(function)
    shown = [parameter.replace(annotation=kinds[name]) for name, parameter in signature.parameters.items()]
    bind.__signature__ = signature.replace(parameters=shown)  # type: ignore[attr-defined]
    return bind
