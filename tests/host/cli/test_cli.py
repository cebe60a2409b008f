"""The command line as a person meets it: real processes, a real profile, one clear line for each mistake."""

import re
import shutil
import subprocess
import sys

import pytest

from dime import __version__
from tests.host.conftest import dime

FIRST_LINE = r"^dime: .+$"


def fails(message, *arguments, folder):
    result = dime(*arguments, folder=folder, check=False)
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    assert re.search(message, result.stderr), result.stderr
    assert len([line for line in result.stderr.splitlines() if line.startswith("dime: ")]) == 1
    assert not result.stdout.strip()


def test_a_profile_has_one_row_a_run_and_says_how_it_was_made(profiled):
    for device in ("edge", "server"):
        rows = (profiled / "results" / device / "alexnet" / "timings.csv").read_text().splitlines()
        assert len(rows) == 1 + 36 * 2 * 2
        assert '"origin": "measured"' in (profiled / "results" / device / "alexnet" / "run.json").read_text()


@pytest.mark.parametrize(
    ("message", "arguments"),
    [
        ("unknown command 'profil'; known: .*profile.*solve", ["profil"]),
        ("unknown option '--nett'; known: .*--net", ["profile", "--nett=alexnet"]),
        ("unknown network 'alexnett'; known: .*alexnet, resnet18, .*vgg11, vit_b_16", ["profile", "--net=alexnett"]),
        ("unknown device 'nanoo'; known: edge, local, server", ["profile", "--net=alexnet", "--device=nanoo"]),
        ("runs is 0; it must be at least 1", ["profile", "--net=alexnet", "--runs=0"]),
        ("threads is -1; it must be", ["profile", "--net=alexnet", "--threads=-1"]),
        ("'fast' is neither all nor whole numbers of hertz", ["profile", "--net=alexnet", "--freqs=fast"]),
        ("unknown device in freqs 'nana'", ["profile", "--net=alexnet", "--freqs=nana=1MHz"]),
        ("'some' is no share such as 3% or 0.03", ["profile", "--net=alexnet", "--energy-error=some"]),
        ("weights 'mine': not a file; known: auto, pretrained", ["samples", "--net=alexnet", "--weights=mine"]),
        ("source '.*nowhere'.*not a folder", ["samples", "--net=alexnet", "--source=nowhere"]),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing(message, arguments, tmp_path):
    fails(message, *arguments, folder=tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("word", ["--version", "-V"])
def test_it_says_its_version(word, tmp_path):
    assert dime(word, folder=tmp_path).stdout == f"dime {__version__}\n"


def test_a_second_run_overwrites_nothing(profiled):
    before = (profiled / "results/edge/alexnet/timings.csv").read_bytes()
    fails("complete already; nothing was overwritten", "profile", "--net=alexnet", folder=profiled)
    assert (profiled / "results/edge/alexnet/timings.csv").read_bytes() == before


def test_a_device_that_is_still_missing_is_profiled_beside_complete_ones(profiled, tmp_path):
    shutil.copytree(profiled / "results/edge", tmp_path / "results/edge")
    shutil.copytree(profiled / "samples", tmp_path / "samples")
    options = ["--runs=1", "--iterations=1", "--warmups=0", "--max-layers=1", "--threads=1"]
    result = dime("profile", "--net=alexnet", *options, folder=tmp_path)
    assert "results/edge/alexnet is complete already and was kept" in result.stderr
    assert (tmp_path / "results/server/alexnet/timings.csv").exists()


def test_help_waits_for_nothing_that_it_does_not_need():
    code = "import sys; from dime.host.cli import main as cli; cli.main(sys.argv[1:]);"
    code += (
        "print({'docker', 'gurobipy', 'matplotlib', 'numba', 'numpy', 'pandas', 'pyarrow', 'torch'} & set(sys.modules))"
    )
    for words in (["--help"], ["profile", "--help"], ["solve", "--help"]):
        result = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=True)
        assert result.stdout.endswith("set()\n"), result.stdout[-300:]
