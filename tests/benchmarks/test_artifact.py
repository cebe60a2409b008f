"""Archives in numbers: a thousand changes, a hundred machines, and one that has nothing but Python and the zip."""

import json
import os
import shutil
import subprocess
import sys
import time
import zipfile
from collections import Counter

import pytest

from dime.host.provenance.check import check
from dime.host.provenance.evaluation import FAILS
from tests.host.conftest import dime
from tests.host.provenance.conftest import archive, place, zipped  # noqa: F401  fixtures
from tests.host.provenance.test_artifact import STUDIES, made_elsewhere
from tests.host.provenance.test_tampering import assert_found

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(3600)]
CHANGES, MACHINES = 1000, 100
CUT = ("unshare", "--map-root-user", "--net")  # a network without anything
LONGEST_S = 300


def pythons() -> list[str]:
    """Pythons in which DIME's wheel and libraries are installed: this one, and those that DIME_PYTHONS names."""
    return [sys.executable, *filter(None, os.environ.get("DIME_PYTHONS", "").split(os.pathsep))]


def test_a_thousand_changes_are_found_and_named(asked, figures, archive, place):  # noqa: F811
    found = Counter(assert_found(archive, place / "artifact", seed) for seed in range(CHANGES))
    kinds = ", ".join(f"{kind} {count}" for kind, count in sorted(found.items()))
    figures(f"artifact, tampering: {found.total()} of {CHANGES} found and named ({kinds})")
    assert found.total() == CHANGES


def test_a_hundred_clean_archives_raise_no_alarm(asked, figures, place, zipped, tmp_path):  # noqa: F811
    there, first = pythons(), {}
    for seed in range(MACHINES):
        folder, python = tmp_path / str(seed), there[seed % len(there)]
        made, alarms = made_elsewhere(place, folder, seed, python)
        assert not alarms, (seed, python, alarms)
        if python not in first:
            evaluation = check(made)
            assert evaluation.holds, str(evaluation)
            first[python] = tmp_path / f"{len(first)}.zip"
            shutil.copyfile(made, first[python])
        assert made.read_bytes() == first[python].read_bytes(), (seed, python)
        shutil.rmtree(folder)
    assert first[sys.executable].read_bytes() == zipped.read_bytes()
    versions = [json.loads(_inside(path, "artifact.json"))["versions"]["python"] for path in first.values()]
    figures(f"artifact, clean: 0 false alarms in {MACHINES} archives made by Python {', '.join(versions)}")


def test_each_python_checks_what_another_has_made(asked, figures, place, zipped, tmp_path):  # noqa: F811
    for number, python in enumerate(pythons()[1:]):
        words = [python, "-m", "dime.host", "check-artifact", zipped, f"--out={tmp_path / str(number)}"]
        done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
        said = json.loads((tmp_path / str(number) / "evaluation.json").read_text())
        failed = [row for row in said["rows"] if row["verdict"] == FAILS]
        figures(
            f"artifact, checked by Python {said['versions']['python']}: {len(said['rows'])} rows, {len(failed)} fail"
        )
        assert done.returncode == 0 and not failed, done.stdout + done.stderr


def _inside(path, name):
    with zipfile.ZipFile(path) as source:
        return source.read(next(one for one in source.namelist() if one.count("/") == 1 and one.endswith(f"/{name}")))


def oldest() -> str:
    """A Python of the oldest version, found on the path or in pyenv."""
    for words in (["python3.10"], ["pyenv", "exec", "python3.10"]):
        if shutil.which(words[0]):
            said = [*words, "-c", "import sys; print(sys.executable if sys.version_info[:2] == (3, 10) else '')"]
            environment = {**os.environ, "PYENV_VERSION": _in_pyenv()}
            done = subprocess.run(said, capture_output=True, text=True, check=False, env=environment)
            if done.returncode == 0 and done.stdout.strip():
                return done.stdout.strip()
    pytest.skip("there is no Python 3.10 here")


def _in_pyenv() -> str:
    if not shutil.which("pyenv"):
        return ""
    listed = subprocess.run(["pyenv", "versions", "--bare"], capture_output=True, text=True, check=False).stdout.split()
    return next((one for one in listed if one.startswith("3.10.")), "")


def cut_off() -> tuple[str, ...]:
    """What a command begins with to have no network; empty where that is not allowed."""
    done = subprocess.run([*CUT, "true"], capture_output=True, check=False) if shutil.which(CUT[0]) else None
    return CUT if done is not None and done.returncode == 0 else ()


def test_python_and_the_zip_are_enough(asked, figures, place, tmp_path):  # noqa: F811
    python = oldest()
    shutil.copytree(place / "results", tmp_path / "made" / "results")
    words = (f"--studies={' '.join(STUDIES)}", "--title=A small study", "--wheels=1")
    dime("artifact", *words, folder=tmp_path / "made")
    (made,) = (tmp_path / "made").glob("*.zip")
    with zipfile.ZipFile(made) as source:
        source.extractall(tmp_path / "bare")
    (unpacked,) = (tmp_path / "bare").iterdir()
    wheels = [path.name for path in (unpacked / "wheels").iterdir()]
    assert wheels and not any(name.startswith(("torch", "nvidia_c", "triton")) for name in wheels)
    shutil.rmtree(tmp_path / "made")
    (tmp_path / "home").mkdir()
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path / "home"), "TMPDIR": str(tmp_path), "LC_ALL": "C"}
    begun_s, before, cut = time.monotonic(), os.times(), cut_off()
    done = subprocess.run(
        [*cut, "make", "check-artifact", f"PYTHON={python}"],
        cwd=unpacked,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    took_s, after = time.monotonic() - begun_s, os.times()
    busy_s = sum(after[2:4]) - sum(before[2:4])  # which other work on this machine does not lengthen
    assert done.returncode == 0, done.stdout + done.stderr
    said = json.loads(next((tmp_path / "bare").glob("*-evaluation/evaluation.json")).read_text())
    assert said["holds"] and said["versions"]["python"].startswith("3.10.")
    there = tmp_path / "bare" / f"{unpacked.name}-venv" / "lib/python3.10/site-packages"
    assert not list(there.glob("torch*"))
    size = sum(path.stat().st_size for path in (unpacked / "wheels").iterdir()) >> 20
    network = "cut off" if cut else "not cut off, which is not allowed here"
    figures(
        f"artifact, bare Python 3.10: {took_s:.0f} s with set-up, {busy_s:.0f} s of them on the processor; wheels"
        f" {size} MiB, network {network}"
    )
    assert busy_s < LONGEST_S
