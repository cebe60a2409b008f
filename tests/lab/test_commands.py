"""What a person types at the lab's computer, with a Nano and a Le Potato on the bench and a meter on the Nano."""

import fcntl
import json
import os
import pty
import select
import struct
import subprocess
import termios
import time

import pandas as pd
import pytest
import torch

from dime.contract.run import RunSpec
from dime.host.cli import host_image
from dime.host.planning.plan import read_plan
from tests.lab.loads import Load, doctors_load
from tests.lab.meter import StandInMeter

from .board import FOUR_G
from .conftest import write_lab
from .place import REGISTRY, REPOSITORY, docker
from .test_remote_profile import GPU, leftovers, running

pytestmark = [pytest.mark.lab, pytest.mark.timeout(2400)]  # the first of a session builds the images
SHORT = ("RUNS=1", "ITERATIONS=1", "WARMUPS=0", "MAX_LAYERS=2")
WATTS = 3.0
HOST_IMAGE = f"{REGISTRY}/dime-host:latest"
IN_IMAGE = {"DIME_RUNTIME": "docker", "DIME_HOST_IMAGE": HOST_IMAGE}
PARTS = ("ssh", "engine", "runtime", "image", "disk", "clock", "board", "network")


def make(target, *words, check=True, **env):
    """Types ``make TARGET WORD...`` in the checkout."""
    done = subprocess.run(
        ["make", "-s", target, *map(str, words)], cwd=REPOSITORY, capture_output=True, text=True, check=False,
        env={**os.environ, **env}, stdin=subprocess.DEVNULL, timeout=1800,
    )  # fmt: skip
    if check and done.returncode:
        raise AssertionError(f"make {target} {words}: {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("bench")


@pytest.fixture(scope="module")
def profiled(folder, built, samples):
    """Both boards profiled by the commands, the Nano with its meter, two frequencies, and over a 4G link."""
    from .board import NANO, POTATO

    NANO.up()
    POTATO.up()
    load = Load(idle_w=WATTS)
    with StandInMeter(load, baud=500000) as meter:
        lab = write_lab(folder, nano_threads=[1], potato_threads=[1])
        port = f'meter = {{name = "smartpower3", port = "{meter.port}", baud = 500000}}\n'
        lab.write_text(lab.read_text().replace("[nano]\n", f"[nano]\n{port}"))
        time.sleep(0.2)
        there = (f"LAB={lab}", f"RESULTS={folder / 'results'}", f"SAMPLES={samples.parent}")
        with doctors_load(load):
            said = {"doctor": make("doctor", "DEVICE=nano,potato", there[0])}
        NANO.shape(FOUR_G)
        try:
            clocks = "FREQS=76800000,921600000"
            said["nano"] = make("profile", "DEVICE=nano", "NET=alexnet", clocks, *SHORT, *there)
        finally:
            NANO.shape(None)
    said["potato"] = make("profile", "DEVICE=potato", "NET=alexnet", "FREQS=-1", *SHORT, *there)
    return said


def test_doctor_tries_every_part(profiled):
    lines = profiled["doctor"].stdout.splitlines()
    parts = {(line.split()[0], line.split()[2]) for line in lines}
    for board in ("nano", "potato"):
        assert {(board, part) for part in PARTS} <= parts
    assert ("nano", "meter") in parts
    assert not [line for line in lines if " FAIL " in line]
    assert any("12 frequencies; the lowest and the highest were set" in line for line in lines)


def test_a_profile_on_the_nano_comes_home_with_joules(profiled, folder, nano):
    out = folder / "results/nano/alexnet"
    spec = RunSpec.read(str(out))
    assert (spec.state, spec.board, spec.origin) == ("complete", "nano", "measured")
    table = pd.read_parquet(out / "joint_profile.parquet")
    assert set(table.frequency) == {76800000, 921600000}
    assert len(table) == 2 * 15
    watts = table.energy_j / table.duration_s
    assert list(watts) == pytest.approx([WATTS] * len(watts), rel=0.02)
    quality = json.loads((out / "joint_quality.json").read_text())
    assert quality["clocks"][0]["source"] == "exchanges"
    logs = sorted(path.name for path in (out / "power").glob("*.csv"))
    assert len(logs) == 2 and all("nano" in name and "alexnet" in name for name in logs)
    assert leftovers(nano) == []
    assert nano.read(f"{GPU}/min_freq") == "76800000"


def test_joined_again_it_is_the_same(profiled, folder):
    before = (folder / "results/nano/alexnet/joint_profile.parquet").read_bytes()
    make("join", "DEVICE=nano", "NET=alexnet", f"RESULTS={folder / 'results'}")
    assert (folder / "results/nano/alexnet/joint_profile.parquet").read_bytes() == before


def solve_words(folder, out):
    return (
        "NET=alexnet", "EDGE=nano", "SERVER=potato", "LINK=4G", "GOAL=energy", "RULE=free", "REPLICATES=0",
        f"RESULTS={folder / 'results'}", f"OUT={folder / out}",
    )  # fmt: skip


def test_solve_gives_the_same_plan_here_and_in_the_host_image(profiled, folder):
    here = make("solve", *solve_words(folder, "here"))
    assert "optimal, proven by exact" in here.stdout
    words = [word.replace(f"{folder}/", "").partition("=") for word in solve_words(folder, "there")]
    there = subprocess.run(
        [REPOSITORY / ".venv/bin/dime", "solve", *(f"--{name.lower()}={value}" for name, _, value in words)],
        cwd=folder, capture_output=True, text=True, check=False, env={**os.environ, **IN_IMAGE},
    )  # fmt: skip
    assert there.returncode == 0, there.stderr
    one, other = (read_plan(folder / name / "4G/plan.json") for name in ("here", "there"))
    assert one == other
    assert "confirmed by Gurobi" in there.stdout


def test_files_made_in_the_host_image_belong_to_whoever_asked(profiled, folder, monkeypatch, tmp_path):
    os.chown(tmp_path, 4321, 4321)
    for parent in tmp_path.parents:
        if str(parent).startswith(str(tmp_path.parents[2])):
            os.chmod(parent, 0o755)
    subprocess.run(["cp", "-r", folder / "results", tmp_path], check=True)
    subprocess.run(["chown", "-R", "4321:4321", tmp_path], check=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "getuid", lambda: 4321)
    monkeypatch.setattr(os, "getgid", lambda: 4321)
    words = ["solve", "--net=alexnet", "--edge=nano", "--server=potato", "--link=4G", "--rule=free", "--out=plans"]
    assert host_image.run_in_host_image(words, HOST_IMAGE) == 0
    made = [path for path in (tmp_path / "plans").rglob("*")]
    assert made and {path.stat().st_uid for path in made} == {4321}


def test_samples_made_in_the_host_image_are_those_made_here(built, samples, tmp_path):
    """On another processor, for which the lab's host image holds PyTorch."""
    done = subprocess.run(
        [REPOSITORY / ".venv/bin/dime", "samples", "--net=alexnet", "--weights=seeded 0"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
        env={**os.environ, **IN_IMAGE, "DOCKER_DEFAULT_PLATFORM": "linux/arm64"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    made = sorted((tmp_path / "samples/alexnet").glob("*/*.pt"))
    assert [path.relative_to(tmp_path / "samples/alexnet") for path in made] == [
        path.relative_to(samples) for path in sorted(samples.glob("*/*.pt"))
    ]
    for path in made[:: max(1, len(made) // 10)]:
        there = torch.load(path, weights_only=True)
        here = torch.load(samples / path.relative_to(tmp_path / "samples/alexnet"), weights_only=True)
        torch.testing.assert_close(there, here, rtol=1e-3, atol=1e-4)


def test_collect_has_nothing_left_to_fetch_and_clean_device_removes_the_caches(profiled, folder, nano):
    assert make("collect", "DEVICE=nano", f"LAB={folder / 'lab.toml'}", f"RESULTS={folder / 'results'}").stdout == ""
    removed = make("clean-device", "DEVICE=nano", f"LAB={folder / 'lab.toml'}").stdout
    assert "volume dime-samples-alexnet" in removed and "image" in removed
    assert nano.docker("volume", "ls", "-q").stdout == ""
    assert "dime-jetson" not in nano.docker("images").stdout


class Terminal:
    """A person at a terminal in which a command runs."""

    def __init__(self, *command):
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
        words = ["setsid", "--ctty", "--wait", *map(str, command)]
        self.process = subprocess.Popen(words, cwd=REPOSITORY, stdin=slave, stdout=slave, stderr=slave)
        os.close(slave)
        self.text = ""

    def reads(self, words, seconds=180):
        """Reads until some words come."""
        deadline = time.monotonic() + seconds
        while words not in self.text:
            assert time.monotonic() < deadline, f"'{words}' did not come: {self.text[-2000:]}"
            if select.select([self._master], [], [], 1)[0]:
                try:
                    self.text += os.read(self._master, 65536).decode(errors="replace")
                except OSError:
                    assert words in self.text, f"ended without '{words}': {self.text[-2000:]}"
        self.text = self.text.partition(words)[2]

    def types(self, keys):
        os.write(self._master, keys.encode())


def test_ctrl_c_asks_whether_to_detach_or_stop(profiled, folder, samples, potato):
    command = (
        *(REPOSITORY / ".venv/bin/dime", "profile", "--net=alexnet", "--device=potato", "--freqs=-1", "--runs=1"),
        *("--iterations=1", "--warmups=0", "--max-layers=2", "--seed=7", f"--lab={folder / 'lab.toml'}"),
        *(f"--results={folder / 'other'}", f"--samples={samples.parent}"),
    )
    watching = Terminal(*command)
    watching.reads("%|")
    watching.types("\x03")
    watching.reads("[d]etach and let the runs go on, or [s]top them?")
    watching.types("d\r")
    watching.reads("the run goes on; the same command follows it again")
    assert watching.process.wait(60) == 130
    again = Terminal(*command)
    again.reads("finds the run that")
    again.types("\x03")
    again.reads("[s]top them?")
    again.types("s\r")
    again.reads("stopped as you wished")
    assert again.process.wait(90) == 130
    assert not running(potato)
    make("clean-device", "DEVICE=potato", f"LAB={folder / 'lab.toml'}")
    assert leftovers(potato) == []


def test_the_host_services_listen_on_this_computer_only():
    for path in sorted((REPOSITORY / "docker").glob("*.yml")):
        shown = docker("compose", "-f", path, "config", "--format=json").stdout
        for service in json.loads(shown)["services"].values():
            assert {port["host_ip"] for port in service.get("ports", [])} == {"127.0.0.1"}
            assert service["cap_drop"] == ["ALL"] and service["read_only"] is True
            assert not service.get("privileged")
