"""Completion, in the shells themselves."""

import os
import shutil
import subprocess

import pytest

from dime.contract.errors import InputError
from dime.host.cli import arguments, completion
from dime.host.cli.main import COMMANDS


def shell(name, code, tmp_path):
    """What a shell prints that has read the script."""
    if not shutil.which(name):
        assert os.environ.get("CI") != "true"
        pytest.skip(f"there is no {name}")
    (tmp_path / "script").write_text(completion.script(name, COMMANDS))
    words = [name, *(["-f"] if name == "zsh" else []), "-c", code]
    done = subprocess.run(words, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0 and not done.stderr, done.stderr
    return done.stdout.split("\n")


ASKED = [
    (["so"], {"solve"}),
    (["power", "ser"], {"serve"}),
    (["solve", "--max-l"], {"--max-latency"}),
    (["power", "serve", "--ba"], {"--baud"}),
    (["solve", "--net=alexnet", "--goa"], {"--goal"}),
]


def bash(words, tmp_path):
    listed = " ".join(f"'{word}'" for word in ["dime", *words])
    code = f"compopt() {{ :; }}; source ./script; COMP_WORDS=({listed}); COMP_CWORD={len(words)}; _dime"
    return shell("bash", code + '; printf "%s\\n" "${COMPREPLY[@]}"', tmp_path)[:-1]


@pytest.mark.parametrize(("words", "expected"), ASKED)
def test_bash(words, expected, tmp_path):
    words = [part for word in words for part in (word.replace("=", " = ").split())]  # as bash parts them
    assert {word.rstrip("=") for word in bash(words, tmp_path)} == expected


def test_bash_offers_values(tmp_path):
    assert bash(["solve", "--goal", "=", "en"], tmp_path) == ["energy"]


@pytest.mark.parametrize(("words", "expected"), ASKED)
def test_fish(words, expected, tmp_path):
    said = shell("fish", f"source ./script; complete -C '{' '.join(['dime', *words])}'", tmp_path)
    assert {line.partition("\t")[0].rstrip("=") for line in said[:-1]} == expected


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["x"], [f"{name}:" for name in COMMANDS]),
        (["power", "x"], [f"{name}:" for name in COMMANDS["power"]]),
        (["solve", "x"], [f"--{name.replace('_', '-')}=[" for name in arguments.options(COMMANDS["solve"])]),
    ],
)
def test_zsh(words, expected, tmp_path):
    """The functions of zsh's completion print what they are given; they work in a terminal only."""
    listed = " ".join(["dime", *words])
    code = (
        "compdef() { :; }; _describe() { print -l $offered; }; _arguments() { print -l -- $@; };"
        f"source ./script; words=({listed}); CURRENT={len(words) + 1}; _dime"
    )
    said = [line for line in shell("zsh", code, tmp_path)[:-1] if line != "*:: :"]
    assert len(said) == len(expected)
    assert all(line.startswith(start) for line, start in zip(said, expected, strict=True))


def test_another_shell_is_refused():
    with pytest.raises(InputError, match="unknown shell 'tcsh'; known: bash"):
        completion.script("tcsh", COMMANDS)
