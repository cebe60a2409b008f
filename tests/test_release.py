"""A release: one version everywhere, and a wheel that needs no checkout."""

import os
import re
import subprocess
import zipfile
from pathlib import Path

import pytest

import dime

ROOT = Path(__file__).resolve().parent.parent


def release(*words, dist):
    return subprocess.run(
        [ROOT / "scripts/release.sh", *words], capture_output=True, text=True, check=False,
        env={**os.environ, "DIST": str(dist), "TMPDIR": str(dist.parent)},
    )  # fmt: skip


def test_the_version_is_the_same_everywhere():
    newest = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    cited = re.search(r"^version: (\S+)$", (ROOT / "CITATION.cff").read_text(), re.MULTILINE)
    assert newest[1] == cited[1] == dime.__version__


def test_the_wheel_holds_all_that_the_package_has(tmp_path):
    done = release("wheel", dist=tmp_path)
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != ".gitignore") == [
        "SHA256SUMS", f"dime-{dime.__version__}-py3-none-any.whl", f"dime-{dime.__version__}.tar.gz"
    ]  # fmt: skip
    (wheel,) = tmp_path.glob("*.whl")
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if name.startswith("dime/")}
    tracked = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "dime"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout.split()  # fmt: skip
    assert packed == {name for name in tracked if (ROOT / name).exists()}
    first = wheel.read_bytes()
    again = release("wheel", dist=tmp_path)
    assert again.returncode == 0, again.stderr
    assert wheel.read_bytes() == first, "the same source gives the same wheel"


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_demo_runs_from_the_wheel_in_an_empty_environment(tmp_path):
    done = release("packages", dist=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "the wheel works" in done.stderr


def test_a_word_that_it_does_not_know_is_refused(tmp_path):
    done = release("weel", dist=tmp_path)
    assert done.returncode == 2 and "scripts/release.sh" in done.stderr
    assert not list(tmp_path.iterdir())
