"""The documentation builds without a warning, and what it tells a person to type works."""

import json
import os
import re
import shlex
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from dime.host.cli import arguments
from dime.host.cli.main import COMMANDS
from tests.host.conftest import dime
from tests.host.test_readme import ENVIRONMENT, targets

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(path for path in DOCS.rglob("*.md") if path.parent.name != "generated")
TEXT = {path.relative_to(DOCS): path.read_text() for path in PAGES}


def blocks(text, language=""):
    """Fenced blocks of a language; those of nothing are what a person types."""
    fenced = re.findall(r"^( *)```(.*)\n((?:.*\n)*?)\1```$", text, re.MULTILINE)
    return [textwrap.dedent(block) for _, named, block in fenced if named == language]


TYPED = [
    (str(page), line)
    for page, text in TEXT.items()
    for line in [
        *(line for block in blocks(text) for line in block.splitlines() if line),
        *re.findall(r"`((?:dime |make |scripts/)[^`\n]*)`", text),
    ]
]


def test_the_site_builds_without_a_warning(tmp_path):
    words = ["-q", "-n", "-W", "--keep-going", "-b", "html", "-d", tmp_path / "tree", DOCS, tmp_path / "site"]
    done = subprocess.run([sys.executable, "-m", "sphinx", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    site = "".join(path.read_text() for path in (tmp_path / "site").rglob("*.html"))
    assert not re.search(r"<(?:script|link|img)[^>]+(?:src|href)=\"https?:", site), (
        "a page asks for something elsewhere"
    )
    commands = (tmp_path / "site/generated/commands.html").read_text()
    for name in ("dime power calibrate", "--max-latency", "--edge-power"):
        assert name in commands
    assert "copy_in_s" in (tmp_path / "site/generated/files.html").read_text()


@pytest.mark.parametrize(("page", "line"), TYPED)
def test_what_is_typed_exists(page, line):
    program, *words = shlex.split(line, comments=True)
    if program == "dime":
        if words and "COMMAND" not in words and words != ["--version"]:
            whole = any("--" in word or "=" in word for word in words) or words in (["demo"], ["doctor"])
            assert not whole or arguments.parse(COMMANDS, words, "dime"), line
    elif program == "make":
        known = targets()
        for word in words:
            name, _, value = word.partition("=")
            if value or word.endswith("="):
                assert name in known[words[0]] | ENVIRONMENT, line
            else:
                assert name in known, line
    else:
        assert (ROOT / program).is_file(), line


@pytest.fixture(scope="module")
def there(profiled, tmp_path_factory):
    """A folder with profiles and a plan."""
    folder = tmp_path_factory.mktemp("docs")
    (folder / "results/plans").mkdir(parents=True)
    for device in ("edge", "server"):
        (folder / "results" / device).symlink_to(profiled / "results" / device)
    dime("solve", "--net=alexnet", "--link=WiFi", "--replicates=0", folder=folder)
    return folder


def run(code, folder):
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    words = [sys.executable, "-c", code]
    done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_notebook_runs(there):
    notebook = json.loads((DOCS / "from_python.ipynb").read_text())
    assert all(not cell.get("outputs") for cell in notebook["cells"]), "what it prints is of whoever runs it"
    cells = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    said = run("\n".join(cells), there)
    assert said.count("optimal, proven by exact") == 2


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in TEXT if blocks(TEXT[page], "python")], ids=str)
def test_examples_in_python_run(page, there):
    run("\n".join(blocks(TEXT[page], "python")), there)
