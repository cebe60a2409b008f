"""scripts/device.sh with stand-ins for ssh and its kin: what it does in which order, and what it leaves alone."""

import os
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[3] / "scripts/device.sh"
SSH = """#!/bin/bash
echo "ssh $*" >>"$HOME/calls"
case "$*" in
    *" true") [ -e "$HOME/let-in" ] && exit 0; cat "$HOME/answer" >&2; exit 255 ;;
    *timedatectl*) echo yes ;;
    *nv_tegra_release*) exit 1 ;;
esac
"""
OTHERS = {
    "ssh-keygen": 'echo "ssh-keygen $*" >>"$HOME/calls"; mkdir -p "$HOME/.ssh"; touch "$HOME/.ssh/id_ed25519"',
    "ssh-copy-id": 'echo "ssh-copy-id $*" >>"$HOME/calls"; touch "$HOME/let-in"',
    "ssh-add": "exit 1",
}


@pytest.fixture
def home(tmp_path):
    (tmp_path / "bin").mkdir()
    for name, text in {"ssh": SSH, **{name: f"#!/bin/bash\n{text}\n" for name, text in OTHERS.items()}}.items():
        (tmp_path / "bin" / name).write_text(text)
        (tmp_path / "bin" / name).chmod(0o755)
    return tmp_path


def run(home, answer):
    """Runs the script against a board that answers so; gives its status, its words, and the programs it called."""
    (home / "answer").write_text(answer + "\n")
    environment = {**os.environ, "HOME": str(home), "PATH": f"{home / 'bin'}:{os.environ['PATH']}"}
    done = subprocess.run([SCRIPT, "dime@nano"], env=environment, capture_output=True, text=True, check=False)
    calls = [line.split()[0] for line in (home / "calls").read_text().splitlines()]
    return done.returncode, done.stdout, calls


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("ssh: connect to host nano port 22: No route to host", "No route to host"),
        ("ssh: Could not resolve hostname nano: Name or service not known", "Name or service not known"),
        ("@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @\nHost key verification failed.", "ssh-keygen -R nano"),
    ],
)
def test_no_key_is_made_for_a_board_that_is_not_reached(home, answer, expected):
    status, said, calls = run(home, answer)
    assert status == 1 and expected in said
    assert calls == ["ssh"] and not (home / ".ssh").exists()


@pytest.mark.parametrize("answer", ["dime@nano: Permission denied (publickey).", "Host key verification failed."])
def test_a_board_that_answers_gets_a_key_that_is_made_once(home, answer):
    status, said, calls = run(home, answer)
    assert status == 0, said
    assert calls[:3] == ["ssh", "ssh-keygen", "ssh-copy-id"] and "made a key for you" in said
    (home / "let-in").unlink()
    assert "ssh-keygen" not in run(home, answer)[2][len(calls) :]


def test_a_board_that_lets_one_in_needs_nothing(home):
    (home / "let-in").touch()
    status, _, calls = run(home, "")
    assert status == 0 and set(calls) == {"ssh"}
