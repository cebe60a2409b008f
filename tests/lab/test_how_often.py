"""Plans run in containers on two devices over ssh, of this machine's own processor: how often predictions hold."""

import os
import pty
import shutil
from pathlib import Path

import pytest

from dime.contract.run import RUN, RunSpec
from dime.host.bench.images import build
from dime.host.execution import runs
from tests.benchmarks.verified_networks import LARGE, PLAN_S, SMALL, Processes, how_often

from .board import NANO, POTATO
from .images import SETTINGS, wheels
from .place import REGISTRY

pytestmark = [pytest.mark.lab, pytest.mark.benchmark, pytest.mark.timeout(9000)]
BOARDS = {"camera": (NANO, "standin"), "strong": (POTATO, "generic")}
PLATFORM = "linux/amd64"


class Containers(Processes):
    """An edge device that is a share of a core, and a server, each with an engine, a disk and an address of its own."""

    where, edge, server = "containers", *BOARDS

    def folder_of(self, folder, device, name):
        volumes = Path(f"/proc/{BOARDS[device][0].pid}/root/var/lib/docker/volumes")
        runs_there = [path.parent for path in volumes.glob(f"*/_data/run/{RUN}")]  # of other networks, too
        return next((run for run in runs_there if RunSpec.read(str(run)).network == name), None)

    def begin(self, folder, words):
        shutil.copy(folder.parent / "lab.toml", folder)
        self._keyboard, slave = pty.openpty()
        command = self.command(folder, words, stdin=slave)
        os.close(slave)
        return command

    def interrupt(self, command):
        os.write(self._keyboard, b"s\n")  # what it asks, whether to let go or to stop
        super().interrupt(command)


@pytest.fixture(scope="module")
def native(bench):
    """The host image for this machine's own processor, in the registry."""
    folder = wheels("amd64")
    build.build("host", PLATFORM, REGISTRY, True, **{**SETTINGS, "host_torch": "wheels", "host_wheels": str(folder)})
    for board, _ in BOARDS.values():
        board.up()


@pytest.mark.parametrize(("names", "passes", "of_pass"), [(SMALL, 2, 2), (LARGE, 1, 1)])
def test_how_often_predictions_hold(
    asked, native, names, passes, of_pass, tmp_path, figures, figures_file, monkeypatch
):
    monkeypatch.setattr(runs, "PLAN_S", PLAN_S)
    text = f'registry = "{REGISTRY}"\n'
    for name, (board, kind) in BOARDS.items():
        text += f'[{name}]\nengine = "{board.engine}"\nboard = "{kind}"\nimage = "{REGISTRY}/dime-host"\n'
        text += f'platform = "{PLATFORM}"\nthreads = [1]\n'
    (tmp_path / "lab.toml").write_text(text)
    table = Path(figures_file).with_name("verification.csv")
    how_often(Containers(), tmp_path, names, passes, of_pass, figures, table, str(tmp_path / "lab.toml"))
