"""`dime` alone says what to type next, by what stands in the folder."""

import json
import re
import shlex

import pytest

from dime.host.cli import arguments
from dime.host.cli import main as cli
from dime.host.studies import next_steps


@pytest.fixture
def there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(folder, device, net="alexnet", state="complete"):
    place = folder / "results" / device / net
    place.mkdir(parents=True)
    (place / "run.json").write_text(json.dumps({"network": net, "state": state}))


@pytest.fixture(autouse=True)
def states(monkeypatch):
    """Runs whose only field is the state."""

    class Spec:
        @staticmethod
        def read(folder):
            from types import SimpleNamespace

            with open(f"{folder}/run.json") as stream:
                return SimpleNamespace(state=json.load(stream)["state"])

    monkeypatch.setattr(next_steps, "RunSpec", Spec)


def told(capsys):
    assert cli.main([]) == 0
    said = capsys.readouterr().out
    commands = re.findall(r"^  (dime .*?)\s+# ", said, re.MULTILINE)
    for command in commands:
        if command != "dime --help":
            assert arguments.parse(cli.COMMANDS, shlex.split(command)[1:], "dime"), command
    return said, commands


def test_an_empty_folder(there, capsys):
    said, commands = told(capsys)
    assert "there is no profile in this folder yet" in said
    assert commands == ["dime demo", "dime profile --net=alexnet --device=local", "dime --help"]


def test_a_lab_file_without_a_profile(there, capsys):
    (there / "lab.toml").write_text('[nano]\nengine = "ssh://dime@nano"\nboard = "nano"\n')
    said, commands = told(capsys)
    assert "lab.toml: nano" in said
    assert commands[0] == "dime doctor" and "dime profile --net=alexnet --device=nano" in commands


def test_a_lab_file_that_cannot_be_read(there, capsys):
    (there / "lab.toml").write_text("[nano")
    said, commands = told(capsys)
    assert "lab.toml" in said and commands == ["dime doctor"]


def test_profiles_without_a_plan(there, capsys):
    run(there, "edge")
    run(there, "server")
    assert told(capsys)[1] == ["dime solve --net=alexnet", "dime --help"]


def test_other_names_are_told_to_solve(there, capsys):
    run(there, "nano")
    run(there, "gpu server")
    assert told(capsys)[1][0] == "dime solve --net=alexnet --edge=nano '--server=gpu server'"


def test_one_profile_needs_another(there, capsys):
    run(there, "edge")
    said, commands = told(capsys)
    assert "profile of alexnet on edge" in said and commands[0] == "dime profile --net=alexnet --device=local"


def test_a_profile_that_is_not_finished(there, capsys):
    run(there, "edge", state="running")
    said, commands = told(capsys)
    assert "on no device yet" in said and commands[0] == "dime profile --net=alexnet --device=edge"


def test_a_plan(there, capsys):
    run(there, "edge")
    run(there, "server")
    for number in ("001", "002"):
        place = there / "results/plans/alexnet" / number
        place.mkdir(parents=True)
        (place / "report.html").touch()
    said, commands = told(capsys)
    assert "open results/plans/alexnet/002/report.html" in said
    rest = ["dime report --plans=results/plans/alexnet/002 --figures", "dime solve --net=alexnet --goal=energy"]
    assert commands[:3] == ["dime verify --plans=results/plans/alexnet/002", *rest]
    (place / "verified/001").mkdir(parents=True)
    assert told(capsys)[1][:2] == rest


def test_the_demos_report(there, capsys):
    place = there / "results/demo/plans/alexnet/001"
    place.mkdir(parents=True)
    (place / "report.html").touch()
    said, commands = told(capsys)
    assert "results/demo/plans/alexnet/001/report.html" in said and "dime demo" not in commands
