"""``dime report`` as a person meets it: after ``dime solve``, and on a folder that is none or is damaged."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.host.conftest import dime

MAKEFILE = Path(__file__).parents[3] / "Makefile"


@pytest.fixture(scope="module")
def solved(profiled, tmp_path_factory):
    """A folder with the plans of a real profile, for one link, with figures."""
    folder = tmp_path_factory.mktemp("solved")
    options = "--net=alexnet", f"--results={profiled / 'results'}", "--link=WiFi", "--edge-power=5", "--replicates=20"
    dime("solve", *options, "--out=plans", "--figures", folder=folder)
    return folder


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_page_and_figures_come_back_as_they_were(solved):
    before = contents(solved / "plans")
    (solved / "plans/report.html").unlink()
    (solved / "plans/figures/plan_WiFi.svg").write_text("an older one")
    done = dime("report", "--plans=plans", "--figures=1", folder=solved)
    assert contents(solved / "plans") == before
    assert done.stdout.splitlines()[0] == "plans/report.html"
    assert "plans/figures/plan_WiFi.svg" in done.stdout.splitlines()
    assert done.stderr == ""


def test_the_page_tells_the_command_that_solved(solved):
    data = json.loads((solved / "plans/report.json").read_text())["data"]
    assert data["command"].startswith("dime solve --net=alexnet") and "--edge-power=5" in data["command"]


def test_what_is_no_study_or_a_damaged_one_is_one_line_and_nothing_changes(solved, tmp_path):
    done = dime("report", f"--plans={tmp_path}", folder=solved, check=False)
    assert done.returncode == 1
    assert (
        done.stderr == f"dime: there is no {tmp_path}/report.json; a study's folder has one: dime solve --net=NETWORK\n"
    )
    text = (solved / "plans/report.json").read_text()
    for damaged in (text[:-100], text.replace('"latency_s":', '"latency":', 1), text.encode()[:50] + b"\xff\xfe"):
        content = damaged if isinstance(damaged, bytes) else damaged.encode()
        (tmp_path / "report.json").write_bytes(content)
        done = dime("report", f"--plans={tmp_path}", "--figures", folder=solved, check=False)
        assert done.returncode == 1
        assert done.stderr.startswith(f"dime: {tmp_path}/report.json is damaged: ") and done.stderr.count("\n") == 1
        assert contents(tmp_path) == {Path("report.json"): content}


def test_make_report_is_the_same_command():
    words = ["make", "-n", "-f", str(MAKEFILE), "report", "PLANS=results/plans/vgg11/001", "FIGURES=1"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    done = subprocess.run(
        words, cwd=MAKEFILE.parent, env=environment, capture_output=True, text=True, timeout=60, check=True
    )
    words = done.stdout.splitlines()[-1].split()
    # The values themselves come through the environment, so that no shell reads them.
    assert words == [".venv/bin/dime", "report", '--plans="$PLANS"', '--figures="$FIGURES"']
