"""The suite's parts: every test is in one of them, and the table that says where it runs knows all marks."""

import re
import subprocess
from pathlib import Path

import pytest
from hypothesis import settings

ROOT = Path(__file__).resolve().parent.parent
SCRIPT = (ROOT / "scripts/test.sh").read_text()
MARKS = ("slow", "alone", "benchmark", "lab")


def parts(which):
    """The marks of each part of ``quick`` or ``all``."""
    block = re.search(rf"^    {which}\)\n(.*?);;", SCRIPT, re.MULTILINE | re.DOTALL)[1]
    return re.findall(r'(?:part|shared) "([^"]*)"', block)


def chosen(marks, expression):
    return eval(expression, {}, {mark: mark in marks for mark in MARKS})


@pytest.mark.parametrize("number", range(2 ** len(MARKS)))
def test_a_test_is_in_one_part_of_all_whatever_its_marks(number):
    marks = {mark for at, mark in enumerate(MARKS) if number >> at & 1}
    assert sum(chosen(marks, part) for part in parts("all")) == 1, marks
    assert sum(chosen(marks, part) for part in parts("quick")) == (not marks & {"slow", "benchmark", "lab"})


def test_the_gate_runs_all_and_the_table_knows_every_mark():
    assert re.search(r"^make test-all ", (ROOT / ".ci/run").read_text(), re.MULTILINE)
    assert "@scripts/test.sh all" in (ROOT / "Makefile").read_text()
    table = (ROOT / "CONTRIBUTING.md").read_text().partition("## Which test runs where")[2].partition("\n## ")[0]
    assert set(re.findall(r"^\|[^|]*\| `(\w+)` \|", table, re.MULTILINE)) == set(MARKS)


def test_arguments_that_name_tests_run_those_alone(monkeypatch):
    monkeypatch.setenv("ARGS", "tests/test_parts.py -k whatever_its_marks")
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)
    done = subprocess.run([ROOT / "scripts/test.sh", "quick"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "16 passed" in done.stdout and "workers" not in done.stdout


def test_processes_that_share_the_cores_have_byte_code_and_one_thread_each():
    assert "unset PYTHONDONTWRITEBYTECODE" in SCRIPT
    assert re.search(r"OMP_NUM_THREADS=1 .*part .*\n.*--numprocesses=", SCRIPT)


def test_no_test_has_a_deadline_that_other_tests_may_break():
    assert settings.default.deadline is None
