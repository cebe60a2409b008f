"""Every command that a text of the code proposes is one that can be typed: each is found in the source and tried."""

import ast
import functools
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from dime.contract.errors import InputError
from dime.host.cli import arguments
from dime.host.cli import main as cli
from tests.host.conftest import dime

ROOT = Path(__file__).resolve().parents[2]
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
SAMPLES = {"net": "alexnet", "name": "nano", "device.name": "nano", "target": "host"}
VALUE = r"(?:=(?:'[^']*'|[^\s,;'\"`()]+))"
MAKE = re.compile(rf"\bmake ([a-z]+(?:-[a-z]+)*)((?: [A-Z_]+{VALUE})*)")
DIME = re.compile(rf"\bdime ((?:[a-z]+(?:-[a-z]+)*)(?: [a-z]+)?)((?: --[a-z-]+{VALUE}?)+)|\bdime ([a-z-]+)\b")
DEVICE = re.compile(r"python -m dime\.device ([a-z]+)((?: --[a-z-]+ \S+)*)")


def texts():
    """Every text in the source, with something in place of what is filled in."""
    for path in sorted((ROOT / "dime").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.JoinedStr):
                parts = (
                    part.value if isinstance(part, ast.Constant) else SAMPLES.get(ast.unparse(part.value), "x")
                    for part in node.values
                )
                yield path, "".join(map(str, parts))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield path, re.sub(r"\{\w*\}", "alexnet", node.value)
    for path in (ROOT / "scripts").glob("*.sh"):
        yield path, re.sub(r"\$\{?\w+[^}\s]*\}?", "x", path.read_text())


@functools.cache
def every():
    return list(texts())


def found(pattern):
    return sorted({tuple(part.strip() for part in match) for _, text in every() for match in pattern.findall(text)})


def test_what_make_is_told():
    hints = [(target, rest) for target, rest in found(MAKE) if target in TARGETS or rest]
    assert {"build", "clean-device", "push", "doctor"} <= {target for target, _ in hints}
    for target, rest in hints:
        words = ["make", "-n", target, *(word.rstrip(".") for word in shlex.split(rest)), "DIME=true"]
        done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, (words, done.stderr)


def test_what_dime_is_told():
    hints = []
    for command, options, bare in found(DIME):
        if options or bare in cli.COMMANDS:
            hints.append((command or bare, options))
    assert len(hints) > 20
    for command, options in hints:
        words = [*command.split(), *shlex.split(options)]
        if (not options and callable(cli.COMMANDS.get(command))) or command == "power":
            continue  # named, not proposed with its options
        try:
            arguments.parse(cli.COMMANDS, words, "dime")
        except InputError as error:
            assert "is missing" in str(error), (words, error)  # an option that is told to be added


def test_what_the_device_side_is_told():
    from dime.device.__main__ import _parser

    hints = [hint for hint in found(DEVICE) if hint[1]]
    assert hints
    for verb, options in hints:
        _parser().parse_args([verb, *shlex.split(options)])


def test_files_that_are_named_are_there():
    names = {
        name
        for _, text in every()
        for name in re.findall(r"(?<![/\w])(?:scripts|docker|images)/[a-z-]+\.[a-z.]+\b", text)
    }
    assert {"scripts/device.sh", "scripts/computer.sh", "docker/lab.example.toml"} <= names
    for name in names:
        assert (ROOT / name.rstrip(".")).exists(), name


def told(capsys, *words):
    assert cli.main(list(words)) == 1
    (line,) = (line for line in capsys.readouterr().err.splitlines() if line.startswith("dime: "))
    return line


@pytest.fixture
def empty(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_profile_that_is_missing_is_made_as_told(empty, profiled, capsys):
    (empty / "samples").symlink_to(profiled / "samples")
    line = told(capsys, "solve", "--net=alexnet")
    words = shlex.split(line.partition("make one: ")[2])
    assert words == ["dime", "profile", "--net=alexnet", "--device=edge"]
    dime(*words[1:], "--runs=1", "--iterations=1", "--warmups=0", "--max-layers=1", folder=empty)
    assert "on 'server'" in told(capsys, "solve", "--net=alexnet")


def test_a_device_is_entered_first(empty, capsys):
    line = told(capsys, "solve", "--net=alexnet", "--edge=pi")
    assert line.endswith(
        "enter pi into lab.toml (docker/lab.example.toml), then dime profile --net=alexnet --device=pi"
    )
    assert "unknown device 'pi'" in told(capsys, "profile", "--net=alexnet", "--device=pi")
    (empty / "lab.toml").write_text("[pi]\nengine = 'local'\n")
    line = told(capsys, "solve", "--net=alexnet", "--edge=pi")
    assert line.endswith("make one: dime profile --net=alexnet --device=pi")


def test_dime_alone_says_what_to_do_with_a_profile(empty, profiled, capsys):
    (empty / "results").symlink_to(profiled / "results")
    assert cli.main([]) == 0
    said = capsys.readouterr().out
    assert "profile of alexnet on edge, server" in said and "  dime solve --net=alexnet " in said


def test_a_network_in_other_letters(empty, profiled, capsys):
    assert "did you mean 'alexnet'?" in told(capsys, "profile", "--net=AlexNet")
    line = told(capsys, "solve", "--net=AlexNet", f"--results={profiled}/results")
    assert "did you mean 'alexnet'?" in line and line.endswith("dime profile --net=alexnet --device=edge")


def test_profiles_of_the_demo_are_found(empty, profiled, capsys):
    shutil.copytree(profiled / "results", empty / "results/demo")
    line = told(capsys, "solve", "--net=alexnet", "--link=WiFi", "--replicates=0")
    assert "there is one in results/demo: give --results=results/demo (make: RESULTS=results/demo)" in line
    assert cli.main(["solve", "--net=alexnet", "--link=WiFi", "--replicates=0", "--results=results/demo"]) == 0


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("collect", "dime: there is no device; there is no lab.toml, see docker/lab.example.toml"),
        ("clean-device --device=all", "dime: there is no device; there is no lab.toml"),
        ("clean-device --device=edge", "dime: edge: runs on this computer, where no run is left behind"),
        (
            "doctor --device=nano",
            "dime: unknown device 'nano'; known: edge, local, server, standin; there is no lab.toml",
        ),
        ("profile --net=alexnet --device=srver", "did you mean 'server'?"),
        ("profile --net=alexnet --weights=pretraind", "did you mean 'pretrained'?"),
        ("samples --net=alexnet --source=imagenete", "did you mean 'imagenette'?"),
        ("solv", "unknown command 'solv'; "),
        ("solve --net=alexnet --likn=WiFi", "did you mean '--link'?"),
    ],
)
def test_names_that_are_unknown(empty, capsys, words, expected):
    assert expected in told(capsys, *words.split())


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("--link=up=20", "link 'up=20' lacks down; the form is up=MBIT/S,down=MBIT/S"),
        ("--link=rtt=1", "lacks up and down"),
        ("--link=up=20,up=20", "up is given twice"),
        ("--link=upp=20,down=3", "unknown part 'upp'; known: .*; did you mean 'up'?"),
        ("--link=up=20MB,down=3", "'20MB': Mbit/s may end in bit/s, kbit/s, Mbit/s, Gbit/s"),
        ("--link=wifi", "did you mean 'WiFi'?"),
        ("--goal=latncy", "did you mean 'latency'?"),
        ("--rule=fre", "did you mean 'free'?"),
        ("--solver=exat", "did you mean 'exact'?"),
        ("--arithmetic=publshed", "did you mean 'published'?"),
        ("--private=conv11", "did you mean 'conv1'?"),
        ("--memory=egde=5", "did you mean 'edge'?"),
        ("--max-latency=20MB", "--max-latency: '20MB': seconds may end in "),
    ],
)
def test_a_slip_in_a_study(empty, profiled, capsys, words, expected):
    line = told(capsys, "solve", "--net=alexnet", f"--results={profiled}/results", "--replicates=0", words)
    assert re.search(expected.replace("?", r"\?").replace("(", r"\("), line), line


def test_units_are_read_on_every_option_that_has_one(empty, profiled, capsys):
    words = ["solve", "--net=alexnet", f"--results={profiled}/results", "--replicates=0", "--edge-power"]
    plain = ["5", "--max-latency=0.9", "--max-energy=4", "--time-limit=60", "--gap=0.01", "--result-bytes=4000"]
    plain += ["--memory=edge=300000000", "--link=up=20,down=50,rtt=0.01,like=WiFi"]
    units = ["5W", "--max-latency=900ms", "--max-energy=4000mJ", "--time-limit=1min", "--gap=1%", "--result-bytes=4kB"]
    units += ["--memory=edge=300MB", "--link=up=20Mbit/s,down=50000kbit/s,rtt=10ms,like=WiFi"]
    outcomes = []
    for number, given in enumerate((plain, units)):
        status, said = cli.main([*words, *given, f"--out=plan{number}"]), capsys.readouterr()
        assert status == 0, said.err
        outcomes.append(re.search(r"latency: .*", said.out)[0])
    assert outcomes[0] == outcomes[1]
