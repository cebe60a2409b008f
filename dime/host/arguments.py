"""The command line's arguments: checked and typed before anything runs.

Fire dispatches and prints the help. On its own it would run a command first and complain about a mistyped option
afterwards, read 1_000 as a number and 'false' as a true text; so every option is checked here before, values stay texts
until the command's annotations say what they are, and the command runs after Fire has returned.
"""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial, wraps
from typing import Any

from dime.contract.errors import InputError, unknown

Commands = Mapping[str, Any]
HELP = ("-h", "--help", "help")


@dataclass(frozen=True)
class Call:
    """A command with its arguments, ready to run."""

    run: Callable[[], Any]

    def __str__(self) -> str:
        return ""


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
    if not asks_help:
        if not callable(function):
            raise InputError(f"'{' '.join(arguments)}' needs one of: {', '.join(function)}")
        _check(function, rest)
    command = [*path[: len(path) - len(rest)], "--", "--help"] if asks_help else path
    try:
        result = fire.Fire(_deferred(commands), command=command, name=name, serialize=str)
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


def _check(function: Callable[..., Any], words: Sequence[str]) -> None:
    """Refuses what the function cannot take, and what it lacks."""
    parameters = inspect.signature(function).parameters
    hints = typing.get_type_hints(function)
    positional = iter(parameters)
    given: dict[str, str] = {}
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if word.startswith("--"):
            option, has_value, value = word[2:].partition("=")
            key = option.replace("-", "_")
            if key not in parameters:
                raise unknown("option", f"--{option}", [f"--{name.replace('_', '-')}" for name in parameters])
            if not has_value:
                flag = hints[key] is bool and (not rest or rest[0].startswith("-"))
                if not flag and not rest:
                    raise InputError(f"--{option} needs a value")
                value = "true" if flag else rest.pop(0)
        elif word.startswith("-") and not word[1:2].isdigit():
            raise unknown("option", word, [f"--{name.replace('_', '-')}" for name in parameters])
        else:
            key = next((name for name in positional if name not in given), "")
            if not key:
                raise InputError(f"'{word}' is one argument too many; options are written --name=value")
            value = word
        if key in given:
            raise InputError(f"--{key.replace('_', '-')} is given twice")
        given[key] = value
    for name, parameter in parameters.items():
        if name not in given and parameter.default is parameter.empty:
            raise InputError(f"--{name.replace('_', '-')} is missing")
    for key, value in given.items():
        _convert(key, value, hints[key])


def _convert(name: str, text: Any, hint: Any) -> Any:
    """Turns the text of an option into the type that the command's annotation names."""
    options = [one for one in typing.get_args(hint) if one is not type(None)]
    kind = options[0] if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union else hint
    if not isinstance(text, str) or kind is str:
        return text
    if kind is bool:
        truth = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
        if text.lower() not in truth:
            raise InputError(f"--{name.replace('_', '-')}: '{text}' is neither true nor false")
        return truth[text.lower()]
    try:
        if "_" in text:
            raise ValueError
        return kind(text)
    except ValueError:
        what = {int: "a whole number", float: "a number"}.get(kind, kind.__name__)
        raise InputError(f"--{name.replace('_', '-')}: '{text}' is not {what}") from None


def _deferred(commands: Commands) -> dict[str, Any]:
    return {
        name: _deferred(command) if isinstance(command, Mapping) else _defer(command)
        for name, command in commands.items()
    }


def _defer(function: Callable[..., Any]) -> Callable[..., Call]:
    from fire.decorators import SetParseFns

    hints = typing.get_type_hints(function)
    names = list(inspect.signature(function).parameters)

    @wraps(function)
    def bind(*values: Any, **named: Any) -> Call:
        given = dict(zip(names, values, strict=False)) | named
        return Call(partial(function, **{name: _convert(name, value, hints[name]) for name, value in given.items()}))

    return typing.cast(Callable[..., Call], SetParseFns(**dict.fromkeys(names, str))(bind))
