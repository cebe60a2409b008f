"""An archive from end to end: made, checked from the zip alone, the same each time."""

import json
import math
import os
import random
import shutil
import subprocess
import sys

import pytest

from dime.contract.errors import InputError
from dime.host.provenance import claims, compare, document, make, pages
from dime.host.provenance.archive import unpack
from dime.host.provenance.check import intact
from dime.host.provenance.evaluation import HOLDS
from dime.host.provenance.software import CHECKOUT
from tests.host.conftest import dime
from tests.host.provenance import elsewhere
from tests.host.provenance.elsewhere import STUDIES


def test_the_check_needs_the_zip_alone(zipped, tmp_path):
    shutil.copyfile(zipped, tmp_path / "a.zip")
    done = dime("check-artifact", "a.zip", folder=tmp_path)
    assert "fails" not in done.stdout.replace("0 fails", "")
    said = json.loads((tmp_path / "evaluation/evaluation.json").read_text())
    assert said["holds"]
    parts = {}
    for row in said["rows"]:
        parts.setdefault(row["part"], []).append(row)
    assert [row["what"] for row in parts["intact"]][1] == "the zip's own bytes"
    made = {row["what"]: row for row in parts["re-derived"]}
    for name in (
        "nano/tiny/joint_profile.parquet",
        "plans/tiny/001/report.json",
        "plans/tiny/002/tiny_nano_privacy_df.csv",
    ):
        assert made[f"results/{name}"]["found"] == "equal"
    (proof,) = (row for what, row in made.items() if "another solver" in what)
    assert "HiGHS" in proof["found"] and proof["verdict"] == "holds"
    page = (tmp_path / "evaluation/evaluation.html").read_text()
    assert "A small study" in page and "<script" not in page


def test_pages_tell_times_that_were_measured_or_that_are_told_as_estimates(place):
    archive = place / "artifact"
    for name in pages.PAGES:
        assert "{{" not in (archive / name).read_text()
    text = (archive / "README.md").read_text()
    assert f"About: {pages.SETUP_S} s of processor time for the set-up and {pages.STUDY_S} s a study" in text
    took_ns = 0
    for device in ("nano", "pc"):
        table = compare.read(archive / "results" / device / "tiny/timings.csv")
        took_ns += max(table["end_ns"]) - min(table["start_ns"])
    (full,) = {claim.full_minutes for claim in claims.read(archive / claims.CLAIMS)}
    assert full == math.ceil(took_ns / 60e9) and f"| {full:g} min, as the archived profiles took |" in text
    assert [pages.minutes(studies) for studies in (1, 8, 9)] == [1, 1, 2]


def test_no_step_reads_what_it_makes(place):
    steps = document.read(place / "artifact").steps
    assert [step.command for step in steps] == ["join", "solve", "sweep"]
    assert not any(set(step.inputs) & set(step.outputs) for step in steps)


def test_hashes_are_checked_without_dime(archive):
    for name in ("SHA256SUMS", "SHA256SUMS.sha256"):
        done = subprocess.run(["sha256sum", "--strict", "-c", name], cwd=archive, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr


def made_elsewhere(place, folder, seed, python=sys.executable):
    """The archive made again as on another machine: other time zone, locale, umask, order of names, times of files.

    Returns:
        The zip, and what a check of it does not find as it was listed.
    """
    draw = random.Random(seed)
    paths = sorted(path for path in (place / "results").rglob("*") if path.is_file())
    draw.shuffle(paths)
    for path in paths:
        target = folder / path.relative_to(place)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
        os.utime(target, (draw.randrange(2**31),) * 2)
    settings = {
        "TZ": draw.choice(["Asia/Kathmandu", "America/St_Johns", "UTC", "Pacific/Apia"]),
        "LC_ALL": draw.choice(["C", "POSIX", "C.UTF-8", "de_DE.UTF-8", "tr_TR.UTF-8"]),
        "HOME": f"/home/person{seed}",
        "PYTHONHASHSEED": str(seed),
        "PYTHONPATH": str(CHECKOUT),
    }
    words = [python, elsewhere.__file__, draw.choice(["077", "022", "002", "027"]), draw.choice(["artifact", "other"])]
    done = subprocess.run(
        words, cwd=folder, env={**os.environ, **settings}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    made = folder / done.stdout.strip()
    for name in ("in", "work"):
        (folder / name).mkdir()
    return made, [row for row in intact(unpack(made, folder / "in"), made, folder / "work") if row.verdict != HOLDS]


@pytest.mark.parametrize("seed", range(3))
def test_made_again_under_other_settings_it_is_the_same_zip(place, zipped, tmp_path, seed):
    again, alarms = made_elsewhere(place, tmp_path, seed)
    assert not alarms
    assert again.name == zipped.name and again.read_bytes() == zipped.read_bytes()


def changed(place, tmp_path):
    for name in ("nano", "pc", "plans"):
        shutil.copytree(place / "results" / name, tmp_path / "results" / name)
    return tmp_path


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: (f / "results/pc/tiny/timings.csv").unlink(), "results/pc/tiny/timings.csv is gone"),
        (lambda f: (f / "results/pc/tiny/timings.csv").open("a").write("x"), "timings.csv was changed since"),
        (lambda f: edit(f / "results/pc/tiny/run.json", state="running"), "is not complete: its state is running"),
        (lambda f: (f / "results/plans/tiny/001/request.json").unlink(), "has no request.json.*earlier version"),
        (lambda f: shutil.rmtree(f / "results/plans/tiny/001"), "results/plans/tiny/001 has no request.json"),
    ],
)
def test_a_study_that_cannot_be_made_again_is_refused(place, tmp_path, monkeypatch, damage, message):
    monkeypatch.chdir(changed(place, tmp_path))
    damage(tmp_path)
    with pytest.raises(Exception, match=message):
        make.make(make.Wanted(STUDIES[:1], "x"))
    assert not list(tmp_path.glob("*artifact*"))


def edit(path, **fields):
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


def test_a_result_that_does_not_follow_from_the_raw_data_is_no_archive(place, tmp_path, monkeypatch):
    monkeypatch.chdir(changed(place, tmp_path))
    link = next((tmp_path / "results/plans/tiny/001").glob("*/plan.json"))
    edit(link, latency_s=1.0)
    with pytest.raises(InputError, match=r"plan\.json cannot be made again from what it came from: latency_s"):
        make.make(make.Wanted(STUDIES[:1], "x"))


def test_what_is_there_and_no_artifact_is_not_replaced(place, tmp_path, monkeypatch):
    monkeypatch.chdir(place)
    (tmp_path / "mine").mkdir()
    with pytest.raises(InputError, match="is no artifact; nothing was overwritten"):
        make.make(make.Wanted(STUDIES, "x", out=str(tmp_path / "mine")))
