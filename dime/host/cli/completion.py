"""Completion scripts for shells, made from the commands and their options."""

from __future__ import annotations

import inspect
import shlex
from collections.abc import Callable, Iterator, Mapping
from typing import TypeAlias

from dime.contract.errors import unknown
from dime.contract.networks import BUILT_IN
from dime.host.cli import arguments

Entry: TypeAlias = arguments.Command | arguments.Commands  # what a name stands for: a command, or a group of them


def _values() -> dict[str, tuple[str, ...]]:
    """Values that can be told without looking at this folder; files are offered for all others."""
    from dime.host.planning import goals, links

    return {
        "net": tuple(BUILT_IN),
        "link": tuple(links.known_links()),
        "goal": goals.GOALS,
        "rule": goals.RULES,
        "arithmetic": links.ARITHMETICS,
    }


def script(shell: str, commands: arguments.Commands) -> str:
    """Makes the script.

    Args:
        shell: bash, zsh or fish.
        commands: Functions by name; a nested mapping is a group of commands.

    Raises:
        InputError: There is none for that shell.
    """
    shells: dict[str, Callable[[arguments.Commands], Iterator[str]]] = {"bash": _bash, "zsh": _zsh, "fish": _fish}
    if shell not in shells:
        raise unknown("shell", shell, shells)
    return "\n".join(shells[shell](commands))


def _leaves(commands: arguments.Commands, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Entry]]:
    """Every command with the words that call it; a group of commands stands before its own."""
    for name, command in commands.items():
        yield (*path, name), command
        if isinstance(command, Mapping):
            yield from _leaves(command, (*path, name))


def _told(command: Entry) -> str:
    """What a command does, in a line."""
    if isinstance(command, Mapping):
        return ", ".join(command)
    return (inspect.getdoc(command) or "").partition("\n")[0].rstrip(".")


def _options(command: Entry) -> list[tuple[str, arguments.Option]]:
    if isinstance(command, Mapping):
        return []
    return [(name.replace("_", "-"), option) for name, option in arguments.options(command).items()]


def _bash(commands: arguments.Commands) -> Iterator[str]:
    yield """\
# dime completion bash: source <(dime completion bash)
_dime() {
    local current=${COMP_WORDS[COMP_CWORD]} option="" word path="" offered
    for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
        case $path/$word in"""
    for path, _ in _leaves(commands):
        yield f"            {'/'.join(('', *path))}) path={'/'.join(('', *path))} ;;"
    yield """\
        esac
    done
    if [[ $current = "=" ]]; then
        current="" option=${COMP_WORDS[COMP_CWORD-1]}
    elif [[ ${COMP_WORDS[COMP_CWORD-1]} = "=" ]]; then
        option=${COMP_WORDS[COMP_CWORD-2]}
    fi
    case $path$option in
        ?*--*)
            case $option in"""
    for name, values in _values().items():
        yield f"                --{name}) offered={shlex.quote(' '.join(values))} ;;"
    yield """\
                *) compopt -o filenames; mapfile -t COMPREPLY < <(compgen -f -- "$current"); return ;;
            esac ;;"""
    yield f'        "") offered="{" ".join(commands)}" ;;'
    for path, command in _leaves(commands):
        words = list(command) if isinstance(command, Mapping) else [f"--{name}=" for name, _ in _options(command)]
        yield f'        {"/".join(("", *path))}) offered="{" ".join(words)}" ;;'
    yield """\
    esac
    mapfile -t COMPREPLY < <(compgen -W "$offered" -- "$current")
    [[ ${COMPREPLY[0]-} = *= ]] && compopt -o nospace
}
complete -F _dime dime"""


def _zsh(commands: arguments.Commands) -> Iterator[str]:
    def quoted(text: str) -> str:
        for sign in "\\[]:":
            text = text.replace(sign, "\\" + sign)
        return "'" + text.replace("'", "'\\''") + "'"

    def described(group: arguments.Commands) -> str:
        return " ".join(quoted(name)[:-1] + ":" + quoted(_told(command))[1:] for name, command in group.items())

    of_option = _values()
    yield "#compdef dime"
    yield '# dime completion zsh: dime completion zsh > "${fpath[1]}/_dime"'
    yield "_dime() {"
    yield "    local -a offered"
    yield '    local path_="" word'
    yield '    for word in "${(@)words[2,CURRENT-1]}"; do'
    yield "        case $path_/$word in"
    for path, _ in _leaves(commands):
        yield f"            {'/'.join(('', *path))}) path_={'/'.join(('', *path))} ;;"
    yield "        esac"
    yield "    done"
    yield "    case $path_ in"
    yield f"        '') offered=({described(commands)}); _describe command offered ;;"
    for path, command in _leaves(commands):
        place = "/".join(("", *path))
        if isinstance(command, Mapping):
            yield f"        {place}) offered=({described(command)}); _describe command offered ;;"
            continue
        yield f"        {place}) _arguments \\"
        for name, option in _options(command):
            values = f"({' '.join(of_option[name])})" if name in of_option else "_files"
            yield f"            {quoted(f'--{name}=')[:-1]}[{quoted(option.help)[1:-1]}]:{name}:{values}' \\"
        yield "            '*:: :' ;;"
    yield "    esac"
    yield "}"
    yield 'if [ "$funcstack[1]" = "_dime" ]; then _dime "$@"; else compdef _dime dime; fi'


def _fish(commands: arguments.Commands) -> Iterator[str]:
    def quoted(text: str) -> str:
        return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"

    of_option = _values()
    yield "# dime completion fish: dime completion fish > ~/.config/fish/completions/dime.fish"
    yield "complete -c dime -f"
    inner: dict[tuple[str, ...], str] = {
        path: " ".join(group) for path, group in _leaves(commands) if isinstance(group, Mapping)
    }
    for path, command in _leaves(commands):
        *before, name = path
        seen = "; and ".join(f"__fish_seen_subcommand_from {word}" for word in before) or "__fish_use_subcommand"
        if before:
            seen += f"; and not __fish_seen_subcommand_from {inner[tuple(before)]}"
        yield f"complete -c dime -n {quoted(seen)} -a {name} -d {quoted(_told(command))}"
        here = "; and ".join(f"__fish_seen_subcommand_from {word}" for word in path)
        for option, about in _options(command):
            values = f"-x -a {quoted(' '.join(of_option[option]))}" if option in of_option else "-r -F"
            yield f"complete -c dime -n {quoted(here)} -l {option} {values} -d {quoted(about.help)}"
