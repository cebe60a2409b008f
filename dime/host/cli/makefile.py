"""What make passes on to each command: ``python -m dime.host.cli.makefile > scripts/options.mk``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from dime.host.cli import arguments
from dime.host.cli.main import COMMANDS

NAMED = {"power-server": ("power", "serve")}  # make's name of a command that stands in a group
WITHOUT_TARGET = ("completion",)  # a shell's matter
PLACE = {"join": ("run",)}  # what a target makes of other words


def lines() -> Iterator[str]:
    """The file, line by line."""
    yield "# Made from the commands' own options: .venv/bin/python -m dime.host.cli.makefile > scripts/options.mk"
    targets = {
        name: command
        for name, command in COMMANDS.items()
        if not isinstance(command, Mapping) and name not in WITHOUT_TARGET
    }
    for target, (group, name) in NAMED.items():
        commands = COMMANDS[group]
        assert isinstance(commands, Mapping)
        command = commands[name]
        assert not isinstance(command, Mapping)
        targets[target] = command
    for target, command in sorted(targets.items()):
        names = [name.upper() for name in arguments.options(command) if name not in PLACE.get(target, ())]
        yield f"options.{target} := {' '.join(names)}"


if __name__ == "__main__":
    print("\n".join(lines()))
