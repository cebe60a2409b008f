"""What goes wrong while plans are run by the command: one clear line, or a whole result, and nothing left anywhere."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import pytest

from dime.contract import handshake
from dime.contract.errors import DeviceError
from dime.device.executing import part as device_side
from dime.host.bench import attended, tunnel
from dime.host.execution import running, runs, stage_process
from tests.host.bench import contained
from tests.host.conftest import dime
from tests.host.execution.test_in_containers import lab, left, planned, study  # noqa: F401 # fixtures

ROOT = Path(__file__).parents[3]
SOON_S = 15.0
NAMES = ("edge", "server", "hub")


class Command:
    """`dime verify` as a person types it, in the foreground of a terminal of its own."""

    def __init__(self, *words):
        self.process = subprocess.Popen(
            [sys.executable, "-m", "dime.host", "verify", *map(str, words)], start_new_session=True, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )  # fmt: skip

    def interrupt(self):
        """Ctrl-C, which a terminal sends to all that runs there; gives what was said until the end."""
        os.killpg(self.process.pid, signal.SIGINT)
        said, errors = self.process.communicate(timeout=120)
        return said + errors


def ours():
    """What of the device side was started in this folder, and still runs."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            words = (place / "cmdline").read_text().split("\0")
            if "device" in words and os.readlink(place / "cwd") == os.getcwd():
                found.append(words[words.index("device") + 1])
    return sorted(found)


def wait_for(what, ready, seconds=120):
    until_s = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < until_s, f"{what} did not come"
        time.sleep(0.1)


def test_ctrl_c_leaves_no_process(study, tmp_path):  # noqa: F811
    command = Command(f"--plans={study}", "--runs=100000")
    wait_for("an emulated link", lambda: ours() == ["shape", "stage", "stage"])
    time.sleep(0.5)
    said = command.interrupt()
    assert command.process.returncode == 130 and "Traceback" not in said
    assert "kept" not in said and "goes on" not in said
    wait_for("the processes' end", lambda: ours() == [], SOON_S)
    assert not (study / "verified").exists()
    if "nothing was written" not in said:  # else a busy machine took more than a person is kept for
        assert list(tmp_path.glob("dime-*/*")) == []


@pytest.mark.slow
def test_ctrl_c_leaves_nothing_on_any_engine(study, lab):  # noqa: F811
    command = Command(f"--plans={study}", "--runs=100000")
    wait_for("an emulated link", lambda: "shape" in [words[0] for words in lab["server"].words])
    time.sleep(0.5)
    said = command.interrupt()
    assert command.process.returncode == 130 and "Traceback" not in said
    assert left(lab) == [[], []] and not (study / "verified").exists()


@pytest.mark.slow
def test_ctrl_c_while_stages_still_load_tells_all_to_end_before_the_first_is_waited_for(study, lab):  # noqa: F811
    asleep = changed(lab["server"].folder, "import time\n\ntime.sleep(60)\n")
    events = []
    for host in lab.values():
        host.environment, host.engine.events = {"PYTHONPATH": asleep}, events
    command = Command(f"--plans={study}", "--runs=100000")
    wait_for("both stages", lambda: all("stage" in [words[0] for words in host.words] for host in lab.values()))
    time.sleep(0.5)
    said = command.interrupt()
    assert command.process.returncode == 130 and "Traceback" not in said
    assert left(lab) == [[], []]
    told = [at for at, what in enumerate(events) if what.startswith("kill")]
    assert len(told) >= 2 and not [what for what in events[told[0] : told[1]] if what.startswith("remove")]


@pytest.mark.slow
def test_another_token_is_told(study, lab):  # noqa: F811
    """The server's container finds another one in its file than the command gave it."""
    lab["server"].token = b"ab" * 32
    with pytest.raises(DeviceError, match=r"^server: .*token") as told:
        runs.verify(study, runs=1)
    assert "\n" not in str(told.value) and left(lab) == [[], []]


@pytest.mark.slow
def test_weights_of_the_same_name_that_are_others_are_told(study, lab):  # noqa: F811
    lab["server"].environment = {"PYTHONPATH": changed(
        lab["server"].folder,
        "from dime.device.executing import work\n\nmade = work.Work.__init__\n\n\n"
        "def make(self, network, *others, **more):\n"
        "    first = network.module(work.Bundle(0, 0))\n"
        "    for tensor in [*first.parameters(), *first.buffers()]:\n        tensor.data.add_(1e-3)\n"
        "    made(self, network, *others, **more)\n\n\nwork.Work.__init__ = make\n",
    )}  # fmt: skip
    with pytest.raises(DeviceError, match=r"^server and edge have other weights, though they are called the same$"):
        runs.verify(study, runs=1)
    assert left(lab) == [[], []]


@pytest.mark.slow
def test_a_plan_over_three_devices_is_run(study):  # noqa: F811
    """Memory is such that no two can hold the network; every pair has its own link."""
    shutil.copytree("results/server", "results/hub")
    run = Path("results/hub/mine/run.json")
    run.write_text(run.read_text().replace('"server"', '"hub"'))
    most = "--memory=edge=21500,server=13000,hub=13000"
    three = (
        "solve",
        "--net=mine",
        "--edge-power=5",
        "--replicates=20",
        "--link=WiFi",
        "--server=server,hub",
        "--out=three",
    )
    dime(*three, most, folder=".")
    with tempfile.TemporaryDirectory(dir="/tmp") as folder, contained.hosts(Path(folder), *NAMES) as found:
        contained.write_lab(Path("lab.toml"), found)
        (link,) = runs.verify("three", runs=3).links
        assert left(found) == [[], [], []]
    assert {segment.device for segment in link.candidates[0].segments} == {0, 1, 2}
    assert {one.fallbacks for one in link.compared} == {0} and len(link.kept) == 3
    assert all(ways["up"]["bytes"] > 0 for ways in link.kept.values())


def test_a_line_comes_within_fifteen_seconds():
    """By what each part may take: to see that a stage or its engine is gone, and to give up the rest."""
    gone_s = attended.POLL_S + stage_process.LOST_S + stage_process.RETRY_S
    assert gone_s + running.GRACE_S + stage_process.SOON_S <= SOON_S
    silent_s = max(handshake.WITHIN_S, device_side.CALL_S)
    assert silent_s + stage_process.SOON_S + stage_process.END_S <= SOON_S
    assert tunnel.DEAD_S + stage_process.SOON_S <= SOON_S  # a computer that is gone


def changed(folder, program):
    """A folder in which Python finds what changes DIME before it runs."""
    (folder / "sitecustomize.py").write_text(f"import sys\nsys.path.insert(0, {str(ROOT)!r})\n{program}")
    return str(folder)
