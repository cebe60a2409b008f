"""What was measured beside profiles, links and plans that were run: computed again from its rows."""

import csv
import json
import shutil
from pathlib import Path

import pytest
from pyarrow import parquet

from dime.contract import tables
from dime.host.profiles import link_profile
from dime.host.provenance import manifest
from dime.host.provenance.check import check
from dime.host.provenance.evaluation import FAILS, HOLDS, OPEN
from dime.host.provenance.make import Wanted, make
from tests.host.conftest import dime
from tests.host.execution import test_verify
from tests.host.links import exchanges
from tests.host.planning.test_traces import TEXT
from tests.host.provenance.conftest import RAW

LINK = "results/links/nano-pc/001"


def rows_of(archive):
    return {row.what: row for row in check(archive).rows if row.part == "re-derived"}


def failing(archive):
    """What fails once the list of files was made to fit again."""
    manifest.write(archive)
    return {row.what: row.found for row in check(archive).rows if row.verdict == FAILS}


@pytest.fixture(scope="module")
def linked(tmp_path_factory):
    """An archive of a study over a link that was measured, and over a trace."""
    folder = tmp_path_factory.mktemp("linked")
    shutil.copytree(RAW, folder / "results", ignore=shutil.ignore_patterns("joint_*", "plans", "*.md"))
    (folder / LINK).mkdir(parents=True)
    exchanged = exchanges(passes=3, noise="normal", between=0.05)
    with open(folder / LINK / link_profile.TABLE, "w", newline="") as stream:
        table = csv.writer(stream)
        table.writerow([one.name for one in tables.TRANSFERS])
        table.writerows([row[one.name] for one in tables.TRANSFERS] for row in exchanged)
    read = link_profile.read_transfers(folder / LINK / link_profile.TABLE)
    link_profile.write(link_profile.fit(read, "nano-pc", "nano", "pc", "emulated", seconds=1.5), folder / LINK)
    (folder / "train.csv").write_text(TEXT)
    dime("join", "results/nano/tiny", folder=folder)
    plan = ("--net=tiny", "--edge=nano", "--server=pc", "--link=nano-pc,train.csv", "--replicates=20")
    dime("solve", *plan, folder=folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        make(Wanted(("results/plans/tiny/001",), "Over a link", software=False))
    return folder / "artifact"


@pytest.fixture
def over_links(linked, tmp_path):
    return Path(shutil.copytree(linked, tmp_path / "archive"))


def test_a_measured_link_is_fitted_again(over_links):
    assert sorted(path.name for path in (over_links / LINK).iterdir()) == ["link.json", "transfers.csv"]
    assert (over_links / "train.csv").read_text() == TEXT
    said = json.loads((over_links / "artifact.json").read_text())
    (solved,) = (step for step in said["steps"] if step["command"] == "solve")
    assert {f"{LINK}/link.json", f"{LINK}/transfers.csv", "train.csv"} <= set(solved["inputs"])
    row = rows_of(over_links)[f"{LINK}/link.json"]
    assert (row.verdict, row.found) == (HOLDS, "equal") and int(row.expected.split()[0]) > 50


@pytest.mark.parametrize("damage", ["a rate", "a raw row", "the trace"])
def test_a_link_that_its_rows_do_not_give_is_found(over_links, damage):
    if damage == "a rate":
        path = over_links / LINK / "link.json"
        said = json.loads(path.read_text())
        said["upload_bit_s"]["value"] *= 1.001
        path.write_text(json.dumps(said))
        assert "upload_bit_s.value" in failing(over_links)[f"{LINK}/link.json"]
    elif damage == "a raw row":
        path = over_links / LINK / "transfers.csv"
        lines = path.read_text().splitlines(keepends=True)
        path.write_text("".join(lines[:3] + lines[4:]))
        assert f"{LINK}/link.json" in failing(over_links)
    else:
        path = over_links / "train.csv"
        path.write_text(path.read_text().replace("1,80,240", "1,81,240"))
        assert any("plan.json" in what for what in failing(over_links))


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """An archive of three studies whose plans were run: of a latency, of a pipeline, and with encodings."""
    folder = tmp_path_factory.mktemp("ran")
    test_verify.make(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("TMPDIR", str(folder))  # the lock of this computer is no other test's
        dime("verify", "--plans=results/plans/mine/001", "--runs=6", "--frontier=3", folder=folder)
        dime("verify", "--plans=results/plans/mine/002", "--link=WiFi", "--runs=12", folder=folder)
        coded = ("--encode=features:float16", "--private=2", "--memory=edge=22000", "--replicates=20")
        dime("solve", "--net=mine", "--edge-power=5", f"--link={test_verify.LINK}", *coded, folder=folder)
        dime("verify", "--plans=results/plans/mine/003", "--runs=6", folder=folder)
        studies = ("results/plans/mine/001", "results/plans/mine/002", "results/plans/mine/003")
        make(Wanted(studies, "Plans that were run", software=False))
    return folder / "artifact"


@pytest.fixture
def run_plans(ran, tmp_path):
    return Path(shutil.copytree(ran, tmp_path / "archive"))


FIRST = "results/plans/mine/001/verified/001"
SECOND = "results/plans/mine/002/verified/001"
THIRD = "results/plans/mine/003/verified/001"


@pytest.mark.slow
def test_plans_that_were_run_are_computed_again(run_plans):
    found = rows_of(run_plans)
    for folder, link in ((FIRST, test_verify.NAMED), (SECOND, "WiFi"), (THIRD, test_verify.NAMED)):
        row = found[f"{folder}/verification.json: {link}"]
        assert (row.verdict, row.found) == (HOLDS, "equal"), row
        assert int(row.expected.split()[0]) > 40
    assert sum(row.verdict == OPEN for what, row in found.items() if "verification.json" in what) == 3
    (told,) = json.loads((run_plans / THIRD / "verification.json").read_text())["links"]
    (entry,) = (one for one in told["plans"][0]["stages"] if one["cause"] == "encoding" and one["device"] == "edge")
    assert entry["measured"]["mean_s"] > 0 and told["plans"][0]["encoded"][0]["encoding"] == "float16"
    assert any(what.startswith(f"{THIRD}/verification.json: kept") for what in found), "there are rows of all causes"
    assert found["results/plans/mine/001/report.html"].found == "equal"
    assert '"verification"' in (run_plans / "results/plans/mine/001/report.html").read_text()


def change(said, *place, to):
    *inner, last = place
    for name in inner:
        said = said[name]
    said[last] = to(said[last])


CHANGES = {
    "a mean": (("plans", 0, "measured", "mean_s"), lambda value: value * 1.0001),
    "an interval": (("plans", 0, "measured", "interval_s", 1), lambda value: value * 1.001),
    "a quantile": (("plans", 1, "measured", "p95_s"), lambda value: value * 1.001),
    "a count": (("plans", 0, "measured", "requests"), lambda value: value + 1),
    "a verdict": (("plans", 0, "holds"), lambda value: not value),
    "an error": (("plans", 1, "relative_error"), lambda value: value + 0.001),
    "a prediction": (("plans", 0, "predicted", "mean_s"), lambda value: value * 0.999),
    "its interval": (("plans", 0, "predicted", "interval_s", 1), lambda value: value * 1.1),
    "a stage": (("plans", 0, "stages", 0, "measured", "median_s"), lambda value: value * 1.01),
    "a plan's name": (("plans", 1, "name"), lambda value: "JointDNN?"),
    "a step": (("plans", 0, "segments", 0, 0), lambda value: "server"),
    "the best": (("best",), lambda value: value + "?"),
    "the regret": (("regret",), lambda value: value + 0.01),
    "the order": (("is_ordered",), lambda value: not value),
    "the link": (("joined", 0, "upload_bit_s"), lambda value: value * 2),
}


@pytest.mark.slow
def test_each_changed_number_of_a_verification_is_found(run_plans, monkeypatch):
    from dime.host.provenance import verified

    path = run_plans / FIRST / "verification.json"
    whole = path.read_text()
    for what, (place, to) in CHANGES.items():
        said = json.loads(whole)
        change(said["links"][0], *place, to=to)
        path.write_text(json.dumps(said))
        rows = list(verified.rows(run_plans, "results/plans/mine/001", "part", False))
        assert any(row.verdict == FAILS and f"{FIRST}/verification.json" in row.what for row in rows), what
    path.write_text(whole)
    assert not any(row.verdict == FAILS for row in verified.rows(run_plans, "results/plans/mine/001", "part", False))


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["a row is gone", "a time", "no table", "another study's"])
def test_changed_rows_of_a_verification_are_found(run_plans, damage):
    path = run_plans / FIRST / "verification.parquet"
    table = parquet.read_table(path)
    rows = table.to_pylist()
    if damage == "a row is gone":
        rows = rows[1:]
    elif damage == "a time":
        at = next(at for at, row in enumerate(rows) if row["stage"] == "compute")
        rows[at]["seconds"] *= 1.5
    if damage == "no table":
        path.unlink()
    elif damage == "another study's":
        shutil.copyfile(run_plans / SECOND / "verification.parquet", path)
    else:
        parquet.write_table(type(table).from_pylist(rows, table.schema), path)
    assert any(what.startswith(f"{FIRST}/verification.json") for what in failing(run_plans))
