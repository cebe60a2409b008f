"""The project's own artifact: from a real profile of this machine, by the commands that a person types."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.host.conftest import dime

LINKS = ("WiFi", "4G", "3G")
LONGEST_S = 60  # of processor time


@pytest.mark.slow
def test_a_study_of_this_machine_is_packed_and_checked_from_the_zip(profiled, tmp_path):
    shutil.copytree(profiled / "results", tmp_path / "results")
    shutil.copytree(profiled / "samples", tmp_path / "samples")
    plan = ("--net=alexnet", f"--link={','.join(LINKS)}", "--edge-power=5", "--replicates=200")
    dime("solve", *plan, folder=tmp_path)
    made = dime("artifact", "--studies=results/plans/alexnet/001", "--title=Ours", folder=tmp_path)
    assert "made again from its raw rows, and compared, in " in made.stderr
    zipped = tmp_path / made.stdout.splitlines()[-1]
    assert f"{zipped.name}: {zipped.stat().st_size / 1e6:.1f} MB" in made.stderr
    with zipfile.ZipFile(zipped) as source:
        source.extractall(tmp_path / "elsewhere")
    (archive,) = (tmp_path / "elsewhere").iterdir()
    assert list(archive.glob("samples/*/manifest.json"))
    shutil.rmtree(tmp_path / "results")
    before_s = _children_s()
    for words in (["sums"], ["check-artifact", f"DIME={Path(sys.executable).with_name('dime')}"]):
        done = subprocess.run(["make", *words], cwd=archive, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    took_s = _children_s() - before_s
    said = json.loads((tmp_path / "elsewhere" / f"{archive.name}-evaluation" / "evaluation.json").read_text())
    rows = {row["what"]: row for row in said["rows"]}
    study = "results/plans/alexnet/001"
    for name in ("report.json", *(f"{link}/{file}" for link in LINKS for file in ("plan.json", "frontier.parquet"))):
        assert rows[f"{study}/{name}"]["found"] == "equal"
    assert said["holds"] and not [row for row in said["rows"] if row["verdict"] == "fails"]
    print(f"{len(rows)} rows in {took_s:.0f} s of processor time")
    assert took_s < LONGEST_S


def _children_s() -> float:
    """Processor time of commands that have ended."""
    times = os.times()
    return times.children_user + times.children_system
