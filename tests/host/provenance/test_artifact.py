"""An archive from end to end: made, checked from the zip alone, the same each time."""

import contextlib
import json
import locale
import os
import random
import shutil
import subprocess
import time

import pytest

from dime.contract.errors import InputError
from dime.host.provenance import make
from dime.host.provenance.archive import unpack
from dime.host.provenance.check import intact
from dime.host.provenance.evaluation import HOLDS
from tests.host.conftest import dime

STUDIES = ("results/plans/tiny/001", "results/plans/tiny/002")


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


def test_hashes_are_checked_without_dime(archive):
    for name in ("SHA256SUMS", "SHA256SUMS.sha256"):
        done = subprocess.run(["sha256sum", "--strict", "-c", name], cwd=archive, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr


def made_elsewhere(place, folder, seed, monkeypatch):
    """The archive made again as on another machine: other time zone, locale, umask, order of names, times of files."""
    draw = random.Random(seed)
    shutil.copytree(place / "results", folder / "results")
    for path in (folder / "results").rglob("*"):
        os.utime(path, (draw.randrange(2**31),) * 2)
    monkeypatch.chdir(folder)
    monkeypatch.setattr(make, "_prove", lambda *_: None)
    monkeypatch.setenv("TZ", draw.choice(["Asia/Kathmandu", "America/St_Johns", "UTC", "Pacific/Apia"]))
    monkeypatch.setenv("LC_ALL", draw.choice(["C", "POSIX", "C.UTF-8", "de_DE.UTF-8", "tr_TR.UTF-8"]))
    monkeypatch.setenv("HOME", f"/home/person{seed}")
    time.tzset()
    before = locale.setlocale(locale.LC_ALL)
    with contextlib.suppress(locale.Error):
        locale.setlocale(locale.LC_ALL, "")
    mask = os.umask(draw.choice([0o077, 0o022, 0o002, 0o027]))
    try:
        out = draw.choice(["artifact", "other"])
        made = make.make(make.Wanted(STUDIES, "A small study", ("Ada Example",), out)).resolve()
        (folder / "in").mkdir()
        (folder / "work").mkdir()
        rows = list(intact(unpack(made, folder / "in"), made, folder / "work"))
    finally:
        os.umask(mask)
        locale.setlocale(locale.LC_ALL, before)
        monkeypatch.undo()
        time.tzset()
    return made, [row for row in rows if row.verdict != HOLDS]


def assert_clean(place, zipped, folder, seed, monkeypatch):
    again, alarms = made_elsewhere(place, folder, seed, monkeypatch)
    assert not alarms
    assert again.name == zipped.name and again.read_bytes() == zipped.read_bytes()


@pytest.mark.parametrize("seed", range(3))
def test_made_again_under_other_settings_it_is_the_same_zip(place, zipped, tmp_path, monkeypatch, seed):
    assert_clean(place, zipped, tmp_path, seed, monkeypatch)


@pytest.mark.benchmark
def test_a_hundred_clean_archives_raise_no_alarm(asked, place, zipped, tmp_path, monkeypatch):
    for seed in range(100):
        (tmp_path / str(seed)).mkdir()
        assert_clean(place, zipped, tmp_path / str(seed), seed, monkeypatch)
        shutil.rmtree(tmp_path / str(seed))


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
