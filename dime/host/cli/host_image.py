"""A command run inside the host image, with the same results as outside."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from dime.contract.errors import InputError
from dime.host.bench.images import run_command
from dime.host.search.solvers import gurobi


def run_in_host_image(words: Sequence[str], image: str | None = None, licence: str | None = None) -> int:
    """Runs ``dime`` with these arguments in the host image, on the folder one is in; files belong to the person.

    Args:
        words: The arguments of ``dime``.
        image: The image; None takes DIME_HOST_IMAGE, or else dime-host.
        licence: A Gurobi licence file; None takes GRB_LICENSE_FILE. It is mounted, not copied. WLS variables are passed
            on by their names, so that no secret stands on a command line.

    Returns:
        The exit code.

    Raises:
        InputError: The licence file is not there.
        DeviceError: There is no docker command.
    """
    here = os.getcwd()
    command = ["--init", "--network=none", "--cap-drop=ALL", "--user"]
    command += [f"{os.getuid()}:{os.getgid()}", "--security-opt=no-new-privileges", "--volume", f"{here}:{here}"]
    command += ["--workdir", here, "--env", "HOME=/tmp", "--no-healthcheck"]
    file = licence or os.environ.get("GRB_LICENSE_FILE")
    if file:
        if not Path(file).is_file():
            raise InputError(f"the Gurobi licence {file} is not there")
        command += ["--volume", f"{Path(file).resolve()}:/opt/gurobi/gurobi.lic:ro"]
    wls = [name for name in gurobi.WLS if name in os.environ]
    if wls:
        command.remove("--network=none")  # a WLS licence is asked for over the network
        command += [part for name in wls for part in ("--env", name)]
    if sys.stdin.isatty() and sys.stderr.isatty():
        command += ["--interactive", "--tty"]
    image = image or os.environ.get("DIME_HOST_IMAGE", "dime-host")
    with run_command() as run:
        return subprocess.run([*run, *command, image, *words], check=False).returncode
