"""The README's bench section, typed as it stands on a fresh checkout; only how much is measured is said besides."""

import json
import os
import re
import shutil
import subprocess
import tarfile
import time
from pathlib import Path

import pytest

from dime.host.bench.lab import IMAGES
from dime.host.metering import alive
from dime.host.planning.plan import read_plan
from dime.host.provenance import document, images
from tests.lab.loads import Load, doctors_load
from tests.lab.meter import StandInMeter

from .board import NANO
from .place import HOME, REPOSITORY, docker, environment, run, wait_for
from .test_remote_profile import leftovers

pytestmark = [pytest.mark.lab, pytest.mark.timeout(1800)]
WATTS = 3.0
LITTLE = "RUNS=1 ITERATIONS=1 WARMUPS=0 MAX_LAYERS=1"
PORTS = (Path("/dev/ttyUSB0"), Path("/dev/smartpower3"))
UDEV = """#!/bin/sh
case $1 in
info) printf 'ID_VENDOR_ID=10c4\\nID_MODEL_ID=ea60\\nID_SERIAL_SHORT=1\\n' ;;
trigger) ln -sfn "$(readlink -f /dev/ttyUSB0)" /dev/smartpower3 ;;
esac
"""


def blocks():
    """The section's code blocks: first set-up, the lab file's lines, the commands."""
    section = re.search(r"^## On a bench\n(.*?)^## ", (REPOSITORY / "README.md").read_text(), re.M | re.S)[1]
    return re.findall(r"^```\n(.*?)^```", section, re.M | re.S)


@pytest.fixture(scope="module")
def checkout(built, samples, tmp_path_factory):
    """A fresh checkout, a person's shell in it, a meter at /dev/ttyUSB0; none of our images is there."""
    if any(port.exists() or port.is_symlink() for port in PORTS):
        pytest.skip(f"{PORTS[0]} or {PORTS[1]} is a real meter's here")
    NANO.up()
    if NANO.enter("id", "dime", check=False).returncode:
        NANO.reboot()
    folder = tmp_path_factory.mktemp("readme")
    place, tools = folder / "dime", folder / "bin"
    files = run("git", "ls-files", cwd=REPOSITORY).stdout.splitlines()
    for name in files:
        if (REPOSITORY / name).exists():
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(REPOSITORY / name, place / name)
    (place / ".venv").symlink_to(REPOSITORY / ".venv")
    tools.mkdir()
    (tools / "udevadm").write_text(UDEV)
    (tools / "tee").write_text(f"#!/bin/sh\ncat > {folder}/rule\n")
    (tools / "ssh").write_text(
        f'#!/bin/sh\nexec /usr/bin/ssh -F {HOME}/.ssh/config -o UserKnownHostsFile={HOME}/.ssh/known_hosts "$@"\n'
    )
    for tool in tools.iterdir():
        tool.chmod(0o755)
    for name in IMAGES.values():
        docker("image", "rm", "--force", f"{name}:latest", check=False)
    NANO.enter("sh", "-c", "docker rmi --force $(docker images --quiet)", check=False)
    load = Load(idle_w=WATTS)
    with StandInMeter(load, baud=921600) as meter, doctors_load(load):
        os.chmod(os.path.realpath(meter.port), 0o666)
        PORTS[0].symlink_to(os.path.realpath(meter.port))
        settings = {key.upper(): value for key, value in built.items()}
        people = {**environment(), **settings, "CI": "true", "COMPOSE_PROJECT_NAME": "dime-readme"}
        people["PATH"] = f"{tools}:{people['PATH']}"
        yield place, people
        docker("compose", "-f", place / "docker/compose.yml", "-p", "dime-readme", "down", check=False)
        for port in PORTS:
            port.unlink(missing_ok=True)


def types(checkout, line, **more):
    """Types one line; a profile measures little."""
    place, people = checkout
    words = line.partition("#")[0].strip()
    if words.startswith("make profile"):
        words += f" {LITTLE}" + (" FREQS=921600000" if "DEVICE=nano" in words else "")
    done = subprocess.run(
        ["bash", "-c", words], cwd=place, env={**people, **more}, stdin=subprocess.DEVNULL, capture_output=True,
        text=True, check=False, timeout=1500,
    )  # fmt: skip
    assert done.returncode == 0, f"{words}: {done.returncode}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done


def test_the_bench_section_as_it_stands(checkout):
    place, _ = checkout
    setup, lab_file, commands = blocks()
    for line in setup.splitlines():
        types(checkout, line)
    (place / "lab.toml").write_text(lab_file)
    plans = place / "results/plans/alexnet"
    for line in commands.splitlines():
        said = types(checkout, line, METER_GROUP="tty", PORT="5077")
        if line.startswith("make doctor"):
            assert " FAIL " not in said.stdout
        if line.startswith("RUNTIME=docker"):
            assert "runs in dime-host:latest, revision " in said.stderr
            assert read_plan(plans / "001/4G/plan.json") == read_plan(plans / "002/4G/plan.json")
    assert "smartpower3" in (place.parent / "rule").read_text()
    table = json.loads((place / "results/nano/alexnet/joint_quality.json").read_text())
    assert table["clocks"]
    wait_for("the power server", lambda: alive.asks(5077) in ("hello", "challenge"), 60)
    service = docker("ps", "-q", "--filter", "label=com.docker.compose.project=dime-readme").stdout.strip()
    checked = docker("exec", service, "python3", "-m", "dime.host.metering.alive", "5000")
    assert checked.stdout.strip() in ("hello", "challenge")
    assert leftovers(NANO) == []
    assert "sent-" in NANO.docker("images").stdout


def test_its_study_is_packed_with_the_boards_image(at_length, checkout):
    """As docs/howto/artifact.md has it, from the board's own engine; what comes of it is checked by its command."""
    place, _ = checkout
    said = types(checkout, 'make artifact STUDIES=results/plans/alexnet/001 TITLE="Where to cut" IMAGES=1')
    (name,) = document.read(place / "artifact").images.values()
    assert re.search(rf"^.*image {name}: \d+ MB as the engine has it$", said.stderr, re.M)
    with tarfile.open(images.place(place / "artifact", name)) as packed:
        manifest = json.load(packed.extractfile("manifest.json"))
        config = json.load(packed.extractfile(manifest[0]["Config"]))
        assert all(layer in packed.getnames() for layer in manifest[0]["Layers"])
    assert config["architecture"] == "arm64"
    assert "IMAGES=1" not in (place / "artifact/README.md").read_text()
    types(checkout, f"make check-artifact ARTIFACT={said.stdout.splitlines()[-1]}")


def test_a_port_that_is_no_meter_does_not_restart_for_ever(checkout):
    place, people = checkout
    if not (place / "lab.toml").exists():
        types(checkout, "make build IMAGE=host PLATFORM=linux/amd64")
    words = ("compose", "-f", place / "docker/compose.yml", "-p", "dime-nometer")
    everywhere = {**people, "METER_PORT": "/dev/null", "PORT": "5078"}
    subprocess.run(["docker", *map(str, words), "up", "-d"], env=everywhere, check=True, capture_output=True)
    try:
        name = "dime-nometer-power-server-1"

        def over():
            state = json.loads(docker("inspect", name).stdout)[0]
            return state["RestartCount"] == 3 and state["State"]["Status"] == "exited"

        wait_for("the end of its restarts", over, 120)
        time.sleep(5)
        assert over()
    finally:
        docker(*words, "down", check=False)
