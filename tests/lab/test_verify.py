"""A plan run on two boards over ssh: its stages are containers there, and whatever happens nothing is left of them."""

import os
import subprocess
import sys
import threading
import time

import pytest
from pyarrow import parquet

from dime.contract.errors import DeviceError
from dime.host.bench.lock import HOLD
from dime.host.execution import running, runs, verification_files
from tests.host.execution import made
from tests.host.execution.test_faults import SOON_S, Command

from .board import NANO, POTATO
from .conftest import write_lab
from .place import wait_for
from .test_remote_profile import GPU, leftovers

pytestmark = [pytest.mark.lab, pytest.mark.timeout(2400)]  # the first of a session builds the images
MODEL = """
from torch import nn


def build():
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(inplace=True), nn.Conv2d(8, 4, 3, 2, 1), nn.Flatten(), nn.Linear(256, 10)
    )


INPUT = (1, 3, 32, 32)
"""
NAMED = ("--net=mine.py:build", "--cuts=all", "--name=mine")
ENCODED = "--encode=input:jpeg90,features:float16"
A_SPLIT = ("--private=2", "--memory=nano=22000")  # whatever is fast
HERTZ = 76800000, 921600000
REQUESTS_BYTES = 200_000  # of some requests, and no engine is asked so much meanwhile


@pytest.fixture(scope="module")
def folder(tmp_path_factory, built):
    """A study of both boards, over the link between them and over WiFi."""
    NANO.up()
    POTATO.up()
    folder = tmp_path_factory.mktemp("verify")
    (folder / "mine.py").write_text(MODEL)
    write_lab(folder)

    def dime(*words):
        done = subprocess.run(
            [sys.executable, "-m", "dime.host", *words], cwd=folder, capture_output=True, text=True, check=False,
            env={**os.environ, "OMP_NUM_THREADS": "1"}, timeout=1200,
        )  # fmt: skip
        assert not done.returncode, f"{words}: {done.stdout}\n{done.stderr}"

    short = (*NAMED, ENCODED, "--runs=2", "--iterations=2", "--warmups=1", "--threads=1")
    dime("profile", *short, "--device=nano", f"--freqs={HERTZ[0]},{HERTZ[1]}")
    dime("profile", *short, "--device=potato", "--freqs=-1")
    dime("link", "--edge=nano", "--server=potato", "--iterations=3", "--runs=1", "--largest=20kB")
    planned = ("solve", "--net=mine", "--edge=nano", "--server=potato")
    dime(*planned, "--link=nano-potato,WiFi", "--replicates=20")
    dime(*planned, "--link=nano-potato", "--replicates=0", ENCODED, *A_SPLIT)
    return folder


@pytest.fixture
def study(folder, nano, potato, monkeypatch):
    monkeypatch.chdir(folder)
    return folder / "results/plans/mine/001"


@pytest.fixture
def on_the_server(monkeypatch):
    made.only(monkeypatch, "all on potato")


def clocks():
    return [NANO.read(f"{GPU}/{name}") for name in ("min_freq", "max_freq")]


def stages(board):
    return board.docker("ps", "-q", "--filter", f"name=^{HOLD}$").stdout.split()


def test_a_plan_is_run_over_the_link_between_the_boards(study):
    before = clocks()
    shown = []

    def look(text):
        shown.extend(board.docker("inspect", *stages(board)).stdout for board in (NANO, POTATO) if not shown[1:])

    (link,) = runs.verify(study, "nano-potato", runs=3, say=look).links
    assert (link.origin, dict(link.kept)) == ("measured", {})
    assert {one.fallbacks for one in link.compared} == {0} and len(link.compared) > 1
    assert "--token=/results/.token" in shown[0] and '"NetworkMode": "host"' in shown[1]
    assert leftovers(NANO) == leftovers(POTATO) == []
    assert clocks() == before


def test_a_link_that_is_none_of_theirs_is_emulated_beside_the_server(study):
    (link,) = runs.verify(study, "WiFi", runs=3).links
    assert link.origin == "emulated" and link.kept["nano", "potato"]["up"]["bytes"] > 0
    assert {one.fallbacks for one in link.compared} == {0}
    assert leftovers(NANO) == leftovers(POTATO) == []


def test_plans_that_encode_are_run_on_the_boards(study, tmp_path):
    said = []
    found = runs.verify(study.with_name("002"), runs=3, say=said.append)
    (link,) = found.links
    coded = [pair for pair in zip(link.candidates, link.compared, strict=True) if pair[0].encoded]
    assert {each.encoding for one, _ in coded for each in one.encoded} == {"float16", "jpeg90"}
    for one, told in coded:
        assert told.fallbacks == 0 and told.distance < 0.01 and told.effect.images == 6
        assert any(f"{one.name}: the result is the whole network's with the same encodings" in line for line in said)
        coding = {stage.part.device: stage for stage in told.stages if stage.part.cause == "encoding"}
        assert set(coding) == {"nano", "potato"}
        assert all(stage.part.predicted_s > 0 and stage.measured.mean_s > 0 for stage in coding.values())
    rows = parquet.read_table(verification_files.write(found, tmp_path / "001") / "verification.parquet").to_pylist()
    for one, _ in coded:
        of_plan = [row for row in rows if row["plan"] == one.name and row["request"] >= 0]
        requests = [row for row in of_plan if row["stage"] == "request"]
        assert len(requests) == 3
        for request in requests:
            parts = [row for row in of_plan if row["request"] == request["request"] and row["stage"] != "request"]
            assert {row["device"] for row in parts if row["stage"] == "encoding"} == {"nano", "potato"}
            assert sum(row["seconds"] for row in parts) == pytest.approx(request["seconds"], rel=1e-3)
            (sent,) = (row["bytes"] for row in parts if row["stage"] == "crossing" and row["target"] == "potato")
            assert 0 < sent <= one.encoded[0].most_bytes < one.encoded[0].plain_bytes
    assert leftovers(NANO) == leftovers(POTATO) == []


def sent_bytes():
    """All that the Nano has sent."""
    (line,) = (one for one in NANO.enter("cat", "/proc/net/dev").stdout.splitlines() if "eth0:" in one)
    return int(line.partition(":")[2].split()[8])


def containers(board):
    return board.docker("ps", "-q").stdout.split()


def of_the_device_side(board):
    return board.enter("pgrep", "-af", "dime.device", check=False).stdout.splitlines()


def test_ctrl_c_while_requests_run_leaves_nothing_on_the_boards(study):
    before = clocks()
    command = Command(f"--plans={study}", "--link=WiFi", "--runs=1000")
    for line in command.process.stderr:
        if "round 1 of" in line:
            break
    at_first = sent_bytes()
    wait_for("requests that cross", lambda: sent_bytes() - at_first > REQUESTS_BYTES, 30)
    assert of_the_device_side(NANO) and of_the_device_side(POTATO) and len(containers(POTATO)) == 2  # and the link
    started_s = time.monotonic()
    said = command.interrupt()
    assert time.monotonic() - started_s < SOON_S
    assert command.process.returncode == 130 and "Traceback" not in said
    assert said.splitlines()[-1].startswith("dime: interrupted; nothing was written")
    assert leftovers(NANO) == leftovers(POTATO) == []
    assert of_the_device_side(NANO) == of_the_device_side(POTATO) == []
    assert clocks() == before
    assert not (study / "verified").exists()
    runs.verify(study, "WiFi", runs=1)
    assert leftovers(NANO) == leftovers(POTATO) == []


def in_mid_run(study, monkeypatch, happens):
    """Runs plans until something happens to the server behind the first request of a round; gives the line then."""
    asked, gone = running.StageProcess.ask, []

    def work():
        time.sleep(1.0)
        happens()

    def ask(one, said, within_s):
        if "go" in said:
            gone.append(threading.Thread(target=work))
            if len(gone) == 2:  # behind what is checked
                gone[1].start()
        return asked(one, said, within_s)

    monkeypatch.setattr(running.StageProcess, "ask", ask)
    with pytest.raises(DeviceError) as told:
        runs.verify(study, "nano-potato", runs=4000)
    gone[1].join()
    return str(told.value)


def test_a_stage_that_is_killed_leaves_its_requests_to_the_edge(study, on_the_server, monkeypatch):
    monkeypatch.setattr(running, "GRACE_S", 120.0)  # boards that are emulated may be slow
    line = in_mid_run(study, monkeypatch, lambda: POTATO.docker("kill", *stages(POTATO)))
    assert line.startswith("potato: its stage has ended, killed by signal 9; ") and "finished on nano alone" in line
    assert leftovers(NANO) == leftovers(POTATO) == []


def test_an_engine_that_is_restarted_ends_the_run_in_one_line(at_length, study, monkeypatch):
    def restart():
        POTATO.stop_docker()
        POTATO.start_docker()

    line = in_mid_run(study, monkeypatch, restart)
    assert line.startswith("potato: ") and "\n" not in line
    assert leftovers(NANO) == leftovers(POTATO) == []


def test_a_link_that_is_cut_and_healed_is_survived(study, on_the_server):
    cut = []

    def pull(text):
        if not cut:
            cut.append("")
            POTATO.cut()
            threading.Timer(3.0, POTATO.heal).start()

    (link,) = runs.verify(study, "nano-potato", runs=40, say=pull).links
    assert sum(len(rows) for rows in link.rows[0]) == 40
    assert leftovers(NANO) == leftovers(POTATO) == []


def test_a_command_that_is_killed_leaves_what_ends_by_itself(at_length, study, folder):
    words = ["verify", f"--plans={study}", "--link=nano-potato", "--runs=4000"]
    command = subprocess.Popen([sys.executable, "-m", "dime.host", *words], cwd=folder)
    wait_for("both stages", lambda: stages(NANO) and stages(POTATO), 120)
    time.sleep(20)
    command.kill()
    command.wait()
    wait_for("the stages to end", lambda: not stages(NANO) and not stages(POTATO), 300)
    runs.verify(study, "nano-potato", runs=1)
    assert leftovers(NANO) == leftovers(POTATO) == []
