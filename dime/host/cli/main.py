"""The command `dime`: one function for each arrow of the data's path, in this room's files by theme.

The only place that catches DimeError, and what the system refuses of a file that a person has named.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Sequence

from dime import __version__
from dime.contract.errors import DimeError, unknown
from dime.host.cli import arguments, bench, demo, endings, measuring, metering, planning, sharing
from dime.host.cli.options import Shell
from dime.host.common import console

# What a disk answers to a write, where Python names no file.
DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS)


def completion(wanted: Shell) -> None:
    """Prints a script by which a shell completes commands, options and names.

    Examples:
        source <(dime completion bash)
        dime completion zsh > "${fpath[1]}/_dime"
        dime completion fish > ~/.config/fish/completions/dime.fish
    """
    from dime.host.cli.completion import script

    print(script(wanted.shell, COMMANDS))


COMMANDS: arguments.Commands = {
    "demo": demo.demo,
    "network": measuring.network,
    "samples": measuring.samples,
    "profile": measuring.profile,
    "link": measuring.link,
    "join": measuring.join,
    "solve": planning.solve,
    "report": planning.report,
    "verify": planning.verify,
    "compare": planning.compare,
    "sweep": planning.sweep,
    "artifact": sharing.artifact,
    "check-artifact": sharing.check_artifact,
    "repeat-artifact": sharing.repeat_artifact,
    "power": {
        "serve": metering.serve,
        "log": metering.log,
        "meters": metering.meters,
        "calibrate": metering.calibrate,
    },
    "lab": {"check": bench.doctor},
    "doctor": bench.doctor,
    "build": bench.build,
    "push": bench.push,
    "collect": bench.collect,
    "clean-device": bench.clean_device,
    "completion": completion,
}

# What an interrupt leaves, of the commands that do not say it themselves.
KEPT = {
    "network": "nothing was written",
    "samples": "finished feature maps are kept, the same command makes the others",
    "link": "nothing was written",
    "join": "nothing was written",
    "solve": "nothing was written",
    "sweep": "nothing was written",
    "report": "nothing was written",
    "artifact": "nothing was written",
    "check-artifact": "nothing was written",
    "verify": "nothing was written, and what a device still runs of it ends by itself",
}


def _kept(words: Sequence[str]) -> str:
    return KEPT.get(words[0], "") if words else ""


def _version() -> None:
    print(f"dime {__version__}")


def _next_steps() -> None:
    from pathlib import Path

    from dime.host.studies.next_steps import next_steps

    print("\n".join(next_steps(Path())))


def _refusal(error: OSError) -> str:
    """What the system said, of which file."""
    name = error.filename if error.filename2 is None else error.filename2
    reason = error.strerror or str(error)
    return reason if name is None else f"{os.fsdecode(name) if isinstance(name, bytes) else name}: {reason}"


def _runtime() -> str:
    """Where commands run, by DIME_RUNTIME: ``local``, or ``docker``: in the host image, on the folder one is in."""
    runtime = os.environ.get("DIME_RUNTIME", "local")
    if runtime not in ("local", "docker"):
        raise unknown("runtime", runtime, ("local", "docker"))
    return runtime


def main(words: Sequence[str] | None = None) -> int:
    """Runs one command.

    Args:
        words: The command line; None takes the process's own. Without a word it says what to do next in this folder.

    Returns:
        The exit code: 0, 1 for a failure that is told in one line, 130 for Ctrl-C, 141 where nobody reads the output.
    """
    words = sys.argv[1:] if words is None else words
    try:
        own = {(): _next_steps, ("--version",): _version, ("-V",): _version}.get(tuple(words))
        call = arguments.Call(own) if own else arguments.parse(COMMANDS, words, "dime")
        if call and _runtime() == "docker":
            from dime.host.cli.host_image import run_in_host_image

            with endings.in_order():
                return run_in_host_image(words)
        if call:
            with console.plainly(), endings.in_order(_kept(words)):
                call.run()
                sys.stdout.flush()
    except DimeError as error:
        print(f"dime: {console.line(error)}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # whoever read our output has enough, such as head
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as error:
        if error.filename is None and error.errno not in DISK:
            raise
        print(f"dime: {console.line(_refusal(error))}", file=sys.stderr)
        return 1
    except KeyboardInterrupt as stop:
        kept = str(stop) or _kept(words)
        print(f"dime: interrupted{kept and '; '}{console.line(kept)}", file=sys.stderr)
        return 130
    return 0
