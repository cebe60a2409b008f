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
ENVIRONMENT = {"RUNTIME", "ARGS"}  # read by make itself


def targets():
    """Target -> the options that its command takes."""
    found = {}
    for name, recipe in re.findall(r"^([a-z-]+):[^\n]*\n((?:\t[^\n]*\n)*)", MAKEFILE, re.MULTILINE):
        options = re.findall(r"\$\(call opt,([A-Z_ ]+)\)", recipe)
        direct = re.findall(r"\$\$?[({](?:or \$\()?([A-Z_]+)\b", recipe)
        found[name] = {option for part in options for option in part.split()} | set(direct)
    return found


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


def test_every_options_name_is_one_of_its_command():
    import inspect

    from dime.host.cli import main as cli

    commands = {**cli.COMMANDS, "power-server": cli.power_serve}
    for target, options in targets().items():
        if target in commands:
            known = {name.upper() for name in inspect.signature(commands[target]).parameters} | {"DEVICE", "NET"}
            assert {option for option in options if option not in ("DIME", "RUN")} - ENVIRONMENT <= known | {"RESULTS"}


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
    (tmp_path / "results").mkdir()
    (tmp_path / "results/demo").symlink_to(profiled / "results")
    code = re.search(r"```python\n(.*?)```", README, re.DOTALL)[1]
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "optimal, proven by exact" in done.stdout
    words = ["--results=results/demo", "--link=WiFi", "--goal=energy", "--edge-power=5", "--replicates=0"]
    by_command = dime("solve", "--net=alexnet", *words, folder=tmp_path).stdout
    # What is odd in the tables, on a machine that is busy, the command tells once above all links.
    plan = "\n".join(line for line in done.stdout.splitlines() if not line.startswith("    warning: "))
    assert plan in by_command, "Python and the command plan differently from the same files"
