"""The lab by hand: ``up``, ``down [--purge]``, ``status``, ``env``, or ``NAME WHAT`` for a board.

WHAT is one of up, off, reboot, cut, heal, shape, unshape, start-docker, stop-docker, kill-docker, fill, free, or
``run COMMAND...``. ``eval "$(python -m tests.lab env)"`` makes a shell the one of a person at the lab's computer.
"""

import signal
import sys

from . import machine
from .board import BOARDS, FOUR_G
from .place import SOCKET, LabError, environment, say


def up() -> None:
    reason = machine.missing()
    if reason:
        raise LabError(reason)
    machine.up()
    for board in BOARDS:
        board.up()
    addresses = ", ".join(f"{board.name} {board.address}" for board in BOARDS)
    say(f"is up: engine {SOCKET}, registry {machine.REGISTRY}, boards {addresses}")


def down(purge: bool = False) -> None:
    for board in BOARDS:
        board.off()
    machine.down(purge)


def main(words: list[str]) -> int:
    boards = {board.name: board for board in BOARDS}
    try:
        match words:
            case ["up"]:
                up()
            case ["down"]:
                down()
            case ["down", "--purge"]:
                down(purge=True)
            case ["status"]:
                for board in BOARDS:
                    print(board.name, "on" if board.pid else "off")
            case ["env"]:
                for key in ("HOME", "DOCKER_HOST", "PATH"):
                    print(f"export {key}='{environment()[key]}'")
            case [name, "run", *command] if name in boards:
                print(boards[name].enter(*command).stdout, end="")
            case [name, what] if name in boards:
                board = boards[name]
                {
                    "up": board.up, "off": board.off, "reboot": board.reboot, "cut": board.cut, "heal": board.heal,
                    "shape": lambda: board.shape(FOUR_G), "unshape": lambda: board.shape(None),
                    "start-docker": board.start_docker, "stop-docker": board.stop_docker,
                    "kill-docker": lambda: board.stop_docker(signal.SIGKILL),
                    "fill": lambda: board.fill_disk(1), "free": board.free_disk,
                }[what]()  # fmt: skip
            case _:
                print(__doc__)
                return 2
    except (LabError, KeyError) as error:
        say(str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
