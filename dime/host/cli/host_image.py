"""A command run inside the host image, with the same results as outside."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from dime.contract.errors import DeviceError, InputError
from dime.host.bench import lab
from dime.host.bench.images.build import docker_command, run_command
from dime.host.search.solvers import gurobi

REVISION_OF = '{{index .Config.Labels "org.opencontainers.image.revision"}}'


def run_in_host_image(words: Sequence[str], image: str | None = None, licence: str | None = None) -> int:
    """Runs ``dime`` with these arguments in the host image, on the folder one is in; files belong to the person.

    Args:
        words: The arguments of ``dime``.
        image: The image; None takes DIME_HOST_IMAGE, or else what `find` finds.
        licence: A Gurobi licence file; None takes GRB_LICENSE_FILE. It is mounted, not copied. WLS variables are passed
            on by their names, so that no secret stands on a command line.

    Returns:
        The exit code.

    Raises:
        InputError: The licence file is not there.
        DeviceError: There is no docker command, or no host image.
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
    image = image or os.environ.get("DIME_HOST_IMAGE") or find(lab.load().registry)
    with run_command() as run:
        return subprocess.run([*run, *command, image, *words], check=False).returncode


def find(registry: str) -> str:
    """Finds the host image: this computer's own, the lab registry's that is here already, or that one pulled.

    Args:
        registry: The lab's registry; empty for none.

    Returns:
        Its name; told with its revision.

    Raises:
        DeviceError: It is nowhere to be had; the message says how to make it.
    """
    own = f"{lab.IMAGES['host']}:latest"
    names = [own, *([f"{registry}/{own}"] if registry else [])]
    pulled = ""
    for step in (0, 1):
        for name in names:
            shown = subprocess.run(
                [docker_command(), "image", "inspect", "--format", REVISION_OF, name],
                capture_output=True, text=True, check=False,
            )  # fmt: skip
            if shown.returncode == 0:
                print(f"runs in {name}, revision {shown.stdout.strip()[:12] or 'unknown'}", file=sys.stderr)
                return name
            pulled = shown.stderr.strip() or pulled
        if step == 0 and registry:
            subprocess.run([docker_command(), "pull", names[-1]], stdout=2, check=False)
    raise DeviceError(
        f"the host image is nowhere to be had, as {' or '.join(names)} ({pulled}); type: make build IMAGE=host"
    )
