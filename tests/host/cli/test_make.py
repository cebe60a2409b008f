"""make's command line: each NAME=value reaches the command as it was typed, or is refused."""

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


def make(*words):
    """Runs make with a command in dime's place that prints its arguments, one a line."""
    return subprocess.run(
        ["make", *words, "DIME=printf '%s\\n'"], cwd=ROOT, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["solve", "NET=alexnet", "LNK=WiFi"], "takes no LNK=; did you mean LINK=?"),
        (["solve", "NET=alexnet", "link=WiFi"], "takes no link=; did you mean LINK=?"),
        (["demo", "LINK=WiFi"], "make demo takes no LINK="),
        (["check", "NET=alexnet"], "make check takes no NET="),
    ],
)
def test_a_name_that_no_target_takes_is_refused(words, message):
    done = make(*words)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stdout == ""
    assert not (ROOT / "pwned").exists()


@pytest.mark.parametrize("value", ["x$(touch pwned)", "`touch pwned`", 'x"; touch pwned; "', "it's", "a b", "x\ny"])
def test_a_value_is_data(value):
    typed = value.replace("$", "$$")
    done = make("solve", f"NET={typed}", "LINK=WiFi")
    assert done.stdout == f"solve\n--net={value}\n--link=WiFi\n", done.stderr
    done = make("join", "DEVICE=nano", f"NET={typed}")
    assert done.stdout == f"join\n--run=results/nano/{value}\n", done.stderr
    assert not (ROOT / "pwned").exists()


def test_goals_share_their_names_and_the_scripts_have_theirs():
    done = make("profile", "solve", "NET=alexnet", "LINK=WiFi", "PYTHON=python3", "RUNTIME=local")
    assert done.stdout.split() == ["profile", "--net=alexnet", "solve", "--net=alexnet", "--link=WiFi"], done.stderr


def test_join_says_what_it_lacks():
    done = make("join")
    assert done.returncode == 2
    assert "make join DEVICE=nano NET=alexnet" in done.stderr
