"""Every command from folders that are no help: the one that holds the clone, the root, one that takes no file."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from dime.host.cli.main import COMMANDS
from dime.host.metering.meters import smartpower3
from tests.lab import meter as stand_in

DIME = Path(sys.executable).with_name("dime")
ROOT = Path(__file__).resolve().parents[3]
CLONE, AT_ROOT, READ_ONLY = "the folder that holds the clone", "the root", "a read-only folder"
QUICK = "--runs=1", "--iterations=1", "--warmups=0", "--max-layers=1", "--threads=1", "--device=edge"


def works(text):
    return 0, text


def refuses(text):
    return 1, text


# Words with {given}, a folder of profiles and feature maps, and {own}, an empty one -> what is expected.
EVERY_COMMAND = {
    "network --net=alexnet": works("7 layers"),
    "samples --net=alexnet --samples={own}/samples --weights=seeded": works("samples/alexnet"),
    "profile --net=alexnet --samples={given}/samples --results={own}/r " + " ".join(QUICK): works("r/edge/alexnet"),
    "link --iterations=1 --runs=1 --largest=1kB --results={own}/links": works("edge-server: up"),
    "join --run={given}/results/edge/alexnet": refuses("power"),
    "solve --net=alexnet --results={given}/results --link=WiFi --replicates=0 --out={own}/plan": works("{own}/plan"),
    "report --plans={own}/plan": works("plan/report.html"),
    "compare {own}/plan {own}/plan": works("the same"),
    "verify --plans={own}/plan --runs=0": refuses("RUNS is 0"),
    "sweep --net=alexnet --results={given}/results --link=WiFi --edge-power=5 --out={own}/t": works("_min_lat_df.csv"),
    "demo --net=nothing": refuses("nothing"),
    "power meters": works("replay"),
    "power log {own}/log.csv --meter=replay --recording={own}/nowhere.csv": refuses("nowhere.csv"),
    "power calibrate {own}/c.json --watts=5 --watts-error=1% --meter=replay --recording={own}/nowhere.csv": refuses(
        "nowhere.csv"
    ),
    "power serve --meter=replay --recording={own}/nowhere.csv --folder={own}/power": refuses("nowhere.csv"),
    "doctor": works("local"),
    "lab check": works("local"),
    "build --image=nothing": refuses("nothing"),
    "push --registry= ": refuses("registry"),
    "collect": refuses("lab.toml"),
    "clean-device --device=nano": refuses("nano"),
    "completion bash": works("_dime"),
    "artifact --studies={own}/nowhere --out={own}/artifact": refuses("nowhere"),
    "check-artifact --artifact={own}/nowhere.zip --out={own}/e": refuses("nowhere.zip"),
    "repeat-artifact --artifact={own}/nowhere.zip --results={own}/m --out={own}/e": refuses("nowhere.zip"),
}
# Words that would write where one is.
WRITES_HERE = [
    "samples --net=alexnet --weights=seeded",
    "profile --net=alexnet --samples={given}/samples " + " ".join(QUICK),
    "solve --net=alexnet --results={given}/results --link=WiFi --replicates=0 --out=plan",
    "solve --net=alexnet --results={given}/results --link=WiFi --replicates=0 --out={own}/lp --write-lp=program.lp",
    "sweep --net=alexnet --results={given}/results --link=WiFi --edge-power=5 --out=tables",
    "power log log.csv --meter=replay --recording={own}/recording.csv --at-once",
    "power serve --meter=replay --recording={own}/recording.csv",
]

RECORDING = ",".join([*smartpower3.COLUMNS, "timestamp\n"]) + "".join(
    f"{stand_in.line(5 * at, (1000, 0), bug=False)[:-2].decode()},{1700000000000000000 + 5000000 * at}\n"
    for at in range(20)
)


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    folder = tmp_path_factory.mktemp("own")
    (folder / "recording.csv").write_text(RECORDING)
    return folder


@pytest.fixture(scope="module", params=[CLONE, AT_ROOT, READ_ONLY])
def here(request, tmp_path_factory):
    """Words that go there and run what follows, and what is there."""
    if request.param == AT_ROOT:
        return request.param, ["env", "--chdir=/"]
    folder = tmp_path_factory.mktemp("here")
    if request.param == CLONE:
        (folder / "dime").mkdir()
        for name in ("queue", "torch", "random", "numpy"):
            (folder / f"{name}.py").write_text("raise SystemExit('another module was taken')")
        return request.param, ["env", f"--chdir={folder}"]
    if os.getuid() != 0:
        folder.chmod(0o555)
        return request.param, ["env", f"--chdir={folder}"]
    script = f'mount -t tmpfs -o ro none {folder} && cd {folder} && exec "$@"'
    prefix = ["unshare", "--mount", "sh", "-c", script, "sh"]
    if subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode:
        pytest.skip("root may write everywhere here, and may not mount")
    return request.param, prefix


def run(prefix, words, profiled, own):
    own.mkdir(exist_ok=True)
    done = subprocess.run(
        [*prefix, str(DIME), *words.format(given=profiled, own=own).split()],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done


def test_every_command_is_among_those_tried():
    names = {
        name if callable(command) else f"{name} {inner}"
        for name, command in COMMANDS.items()
        for inner in ([""] if callable(command) else command)
    }
    assert {name for name in names if any(words.startswith(name) for words in EVERY_COMMAND)} == names


@pytest.mark.slow
def test_every_command_works_from_there(here, profiled, tmp_path):
    name, prefix = here
    for words, (status, text) in EVERY_COMMAND.items():
        done = run(prefix, words, profiled, tmp_path)
        assert done.returncode == status, (name, words, done.stdout, done.stderr)
        assert text.format(own=tmp_path) in (done.stdout if status == 0 else done.stderr), (name, words, done)


def test_what_would_write_there_says_in_a_line_that_it_cannot(here, profiled, own):
    name, prefix = here
    if name != READ_ONLY:
        pytest.skip("it can")
    for words in WRITES_HERE:
        done = run(prefix, words, profiled, own)
        assert done.returncode == 1, (words, done.stdout, done.stderr)
        told = done.stderr.strip().splitlines()
        assert re.match("dime: .*([Rr]ead-only file system|may not be written to)", told[-1]), (words, done.stderr)
        assert sum(line.startswith("dime: ") for line in told) == 1


def test_python_beside_the_clone_finds_the_package(tmp_path):
    (tmp_path / "dime").mkdir()
    code = "import dime.host.notebook, dime.device; print(dime.__version__)"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_clone_in_the_mounted_folder_does_not_run_in_the_image_s_place(tmp_path):
    (tmp_path / "dime").mkdir()
    (tmp_path / "dime/__init__.py").write_text("raise SystemExit('another clone was taken')")
    entry = next(
        line for line in (ROOT / "images/host/Dockerfile").read_text().splitlines() if line.startswith("ENTRYPOINT")
    )
    assert entry == 'ENTRYPOINT ["python3", "/dime/dime/entry.py", "host"]'
    done = subprocess.run(
        [sys.executable, ROOT / "dime/entry.py", "host", "power", "meters"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "replay" in done.stdout
