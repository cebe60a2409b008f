"""What a bare machine needs beside the zip and Python: the wheels."""

import subprocess
from pathlib import Path

import pytest

from dime.contract.errors import InputError
from dime.host.provenance import software

LOCK = """\
always==1 \\
    --hash=sha256:aa
older==2 ; python_full_version < '3.11' \\
    --hash=sha256:bb \\
    --hash=sha256:cc
newer==3 ; python_full_version >= '3.12' \\
    --hash=sha256:dd
elsewhere==4 ; sys_platform == 'win32' \\
    --hash=sha256:ee
"""


def test_wheels_are_those_of_the_version_that_is_asked_for(monkeypatch, tmp_path):
    asked = {}

    def pip(words, **_):
        version = next(word.partition("=")[2] for word in words if word.startswith("--python-version="))
        asked[version] = Path(words[-1].partition("=")[2]).read_text()
        return subprocess.CompletedProcess(words, 0, "", "")

    (tmp_path / "images/host").mkdir(parents=True)
    (tmp_path / software.LOCKS[0]).write_text(LOCK)
    monkeypatch.setattr(software, "CHECKOUT", tmp_path)
    monkeypatch.setattr(software.subprocess, "run", pip)
    software.wheels(tmp_path, "1")
    software.wheels(tmp_path, "3.12, 3.11")
    always = "always==1 \\\n    --hash=sha256:aa\n"
    assert asked == {
        "3.10": f"{always}older==2 \\\n    --hash=sha256:bb \\\n    --hash=sha256:cc\n",
        "3.11": always,
        "3.12": f"{always}newer==3 \\\n    --hash=sha256:dd\n",
    }


@pytest.mark.parametrize("text", ["3", "2.7", "3.9", "three", "3.10.1", "3.10,,"])
def test_what_is_no_version_is_refused(text):
    with pytest.raises(InputError, match="is no version of Python that DIME runs on"):
        software.versions_of(text)
