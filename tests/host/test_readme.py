"""The README: what it tells a person to type exists, and its example from Python runs."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.host.conftest import dime

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
MAKEFILE = (ROOT / "Makefile").read_text()
OPTIONS = (ROOT / "scripts/options.mk").read_text()
ENVIRONMENT = {"RUNTIME", "ARGS"}  # read by make itself
JOIN = {"DEVICE", "NET", "RESULTS"}  # which name its run


def targets():
    """Target -> the options that its command takes."""
    options = dict(line.removeprefix("options.").split(" := ") for line in OPTIONS.splitlines()[1:])
    names = re.findall(r"^([a-z-]+):", MAKEFILE, re.MULTILINE)
    return {name: {*options.get(name, "").split(), *(JOIN if name == "join" else ())} for name in names}


def typed():
    """Every ``make TARGET NAME=value...`` of the README."""
    text = "\n".join(re.findall(r"`([^`\n]+)`", README) + re.findall(r"```\n(.*?)```", README, re.DOTALL))
    return re.findall(r"\bmake ([a-z-]+)((?: +\[?[A-Z_]+=)?[^\n#`]*)", text)


def test_every_command_exists_with_its_options():
    known = targets()
    assert len(typed()) > 12
    for target, rest in typed():
        assert target in known, target
        for option in re.findall(r"\b([A-Z_]+)=", rest):
            assert option in known[target] | ENVIRONMENT, f"make {target} {option}="


def test_make_knows_the_options_of_every_command():
    from dime.host.cli import makefile

    assert "\n".join(makefile.lines()) + "\n" == OPTIONS, f"{makefile.__doc__}"
    for target in re.findall(r"^options\.(\S+)", OPTIONS, re.MULTILINE):
        assert re.search(rf"^{target}: .*\n\t.*\$\(options\)$", MAKEFILE, re.MULTILINE), target


def test_the_tree_is_the_tree():
    tree = re.search(r"## The tree\s+```\n(.*?)```", README, re.DOTALL)[1]
    named = re.findall(r"^(\S+/)\s", tree, re.MULTILINE)
    assert len(named) >= 8
    assert all((ROOT / name).is_dir() for name in named)


@pytest.mark.parametrize("name", ["computer.sh", "device.sh", "meter.sh"])
def test_scripts_explain_themselves(name):
    done = subprocess.run(
        [ROOT / "scripts" / name, *(["--help", "x", "y"] if name == "computer.sh" else [])],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert f"scripts/{name}" in done.stdout


def test_the_example_from_python_runs(profiled, tmp_path):
    (tmp_path / "results").symlink_to(profiled / "results")
    code = re.search(r"```python\n(.*?)```", README, re.DOTALL)[1]
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "optimal, proven by exact" in done.stdout
    words = ["--link=WiFi", "--goal=energy", "--edge-power=5", "--replicates=0"]
    by_command = dime("solve", "--net=alexnet", *words, folder=tmp_path).stdout
    # What is odd in the tables, on a machine that is busy, the command tells once above all links.
    plan = "\n".join(line for line in done.stdout.splitlines() if not line.startswith("    warning: "))
    assert plan in by_command, "Python and the command plan differently from the same files"
