"""Nothing that is private gets into an archive, and the study can still be made again from what is in it."""

import json
import shutil
import zipfile

import pytest

from dime.contract.errors import InputError
from dime.host.bench import lab as lab_file
from dime.host.provenance import collect
from dime.host.provenance.collect import Collected
from dime.host.provenance.private import REMOVED, Private, plain_lab
from tests.host.conftest import dime
from tests.host.provenance.conftest import LINK, RAW
from tests.host.provenance.test_artifact import edit

HOST, PERSON = "lab-7.example.org", "adaexample"
PLANTED = {
    "a token of GitHub": "ghp_0123456789abcdefghijklmnopqrstuvwxyz",
    "a variable": "correcthorsebatterystaple",
    "a licence": "WLSSECRET=c0ffee00-dead-beef-0000-000000000000",
    "a key": "b3BlbnNzaC1rZXktdjEAAAAABG5vbmU",
    "a computer": HOST,
    "an address": f"ssh://{PERSON}@{HOST}",
    "a home": f"/home/{PERSON}/thesis/plans",
    "another home": f"/Users/{PERSON}/x.py",
}
LAB = f"""
registry = "{HOST}:5000"
[board]
engine = "ssh://{PERSON}@{HOST}"
board = "nano"
image = "{HOST}:5000/mine:1"
"""
METER = 'meter = { name = "smartpower3", port = "/dev/serial/by-id/adas", baud = 921600 }\n'


def words(planted):
    key = f"-----BEGIN OPENSSH PRIVATE KEY-----\n{planted['a key']}\n-----END OPENSSH PRIVATE KEY-----"
    return " ".join([*(text for what, text in planted.items() if what != "a key"), key])


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    """An archive of a study in whose records everything private was planted."""
    folder = tmp_path_factory.mktemp("private")
    shutil.copytree(RAW, folder / "results", ignore=shutil.ignore_patterns("joint_*", "plans", "*.md"))
    (folder / "lab.toml").write_text(LAB + METER)
    (folder / "gurobi.lic").write_text("WLSACCESSID=aaaa-bbbb\n" + PLANTED["a licence"] + "\n")
    for run in ("nano", "pc"):
        path = folder / "results" / run / "tiny/run.json"
        told = {"command_line": f"{words(PLANTED)} --out={folder}/x", "description": {"model": "A board", "on": HOST}}
        edit(path, **told)
    server = folder / "results/pc/tiny"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BENCH_TOKEN", PLANTED["a variable"])
        patch.setenv("GRB_LICENSE_FILE", str(folder / "gurobi.lic"))
        dime("join", "results/nano/tiny", folder=folder)
        plan = ("--net=tiny", "--edge=nano", f"--server={server}", LINK, "--replicates=0")
        patch.delenv("GRB_LICENSE_FILE")
        dime("solve", *plan, folder=folder)
        patch.setenv("GRB_LICENSE_FILE", str(folder / "gurobi.lic"))
        dime("artifact", "--studies=results/plans/tiny/001", f"--title=By {HOST}", folder=folder)
    return folder


def test_nothing_planted_is_in_it(packed):
    (path,) = packed.glob("*.zip")
    with zipfile.ZipFile(path) as source:
        content = {name: source.read(name) for name in source.namelist()}
    for what, planted in {**PLANTED, "a person": PERSON, "the folder": str(packed), "a port": "by-id"}.items():
        for name, data in content.items():
            if "-source.tar" not in name:  # in which this very file stands
                assert planted.encode() not in data, (what, name)


def test_the_lab_is_there_without_where_it_is(packed):
    lab = lab_file.load(packed / "artifact/lab.toml")
    device = lab.devices["board"]
    assert (device.engine, device.board, device.image) == ("ssh://host", "nano", "mine:1")
    assert device.meter.name == "smartpower3"


def test_the_report_names_paths_of_the_archive(packed):
    said = json.loads((packed / "artifact/results/plans/tiny/001/report.json").read_text())
    assert [one["path"] for one in said["data"]["sources"]] == [
        "results/nano/tiny/joint_profile.parquet",
        "results/pc/tiny/timings.csv",
    ]
    assert REMOVED in json.dumps(said)


def test_a_table_with_something_private_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "power.csv").write_text("a,b\n1,/home/adaexample/x\n")
    into = Collected(tmp_path / "archive", Private.known())
    with pytest.raises(InputError, match=r"power\.csv holds a path into a home in line 2; a table is not rewritten"):
        into.take(tmp_path / "power.csv")


def test_names_that_a_study_is_told_by_are_public(monkeypatch):
    monkeypatch.setattr("socket.gethostname", lambda: "jetson")
    assert Private.known(["jetson"]).plain("on jetson") == "on jetson"
    assert Private.known(["edge"]).plain("on jetson, jetson-2 and jetsons") == f"on {REMOVED}, jetson-2 and jetsons"


def test_a_file_from_elsewhere_has_a_place_in_the_archive(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    (tmp_path / "there").mkdir()
    (tmp_path / "there/server.csv").write_text("a\n1\n")
    monkeypatch.chdir(tmp_path / "here")
    into = Collected(tmp_path / "archive", Private.known())
    place = into.take(tmp_path / "there/server.csv")
    assert place.startswith("elsewhere/") and (tmp_path / "archive" / place).read_text() == "a\n1\n"
    assert collect.leads_outside("../x") and not collect.leads_outside(place)
    assert plain_lab(lab_file.Lab({})) == ""
