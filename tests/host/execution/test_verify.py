"""A study's plans run on this machine: two processes, and the plan's link between them, emulated."""

import json
import os
import shutil
import socket
import subprocess
import threading
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from pyarrow import parquet

import dime as python
from dime.contract.errors import DeviceError, InputError, TableError
from dime.contract.frames import OVERHEAD_BYTES
from dime.host.execution import running, runs, verification_files, ways
from dime.host.planning.links import Link, load_link
from dime.host.profiles.profiles import load_profile
from dime.host.report import verified
from tests.host.conftest import dime
from tests.host.execution import made
from tests.lab.meter import StandInMeter

MODEL = """
from torch import nn


def build():
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(inplace=True), nn.Conv2d(8, 4, 3, 2, 1), nn.Flatten(), nn.Linear(256, 10)
    )
"""
LINK = "up=20,down=50,rtt=0.004"
NAMED = "up_20_down_50_rtt_0.004"


def make(folder: Path) -> None:
    (folder / "mine.py").write_text(MODEL)
    words = ("--input=1x3x32x32", "--cuts=all", "--name=mine", "--encode=features:float16")
    dime("profile", "--net=mine.py:build", *words, "--runs=4", "--iterations=3", "--threads=1", folder=folder)
    plan = ("solve", "--net=mine", "--edge-power=5", "--replicates=20")
    dime(*plan, f"--link={LINK}", folder=folder)
    dime(*plan, "--link=WiFi,4G", "--goal=throughput", folder=folder)


@pytest.fixture
def here(mine, tmp_path, monkeypatch):
    """A copy of the planned folder, to write into."""
    made.copied(mine, tmp_path, monkeypatch)
    return Path("results/plans/mine/001")


def ours():
    """What runs of DIME's device side that this test has started."""
    listed = subprocess.run(["ps", "-eo", "pid,args"], capture_output=True, text=True, check=True).stdout
    return [line for line in listed.splitlines() if "entry.py device stage" in line and str(os.getcwd()) in line]


@pytest.mark.alone
def test_plans_are_run_and_compared(here):
    done = dime("verify", f"--plans={here}", "--runs=6", "--frontier=3", folder=".")
    folder = here / "verified" / "001"
    assert done.stdout.splitlines()[-1] == f"files: {folder}, {here}/report.html"
    assert "D DIME" in done.stdout and "the link was emulated" in done.stdout
    assert "95 % of what went through left within" in done.stdout
    said = json.loads((folder / "verification.json").read_text())
    assert (said["schema"], said["version"]) == ("dime.verification", 2)
    (link,) = said["links"]
    assert (link["name"], link["origin"], link["goal"]) == (NAMED, "emulated", "latency")
    assert link["joined"][0]["upload_bit_s"] == 20e6 and link["joined"][0]["kept"]["up"]["bytes"] > 6 * 12288
    for moment in ("before", "after"):
        measured = link["joined"][0][moment]
        assert 4e6 < measured["upload_bit_s"]["mean"] < 100e6 and len(measured["passes"]) == 5
    assert all(line in link["notes"] for line in link["joined"][0]["moved"])
    names = [plan["name"] for plan in link["plans"]] + [name for plan in link["plans"] for name in plan["also"]]
    assert {"DIME", "all on edge", "all on server", "best single cut", "JointDNN"} <= set(names)
    assert any(name.startswith("point ") for name in names)
    for plan in link["plans"]:
        assert plan["measured"]["requests"] == 6 and plan["measured"]["rounds"] == 5 and plan["fallbacks"] == 0
        assert plan["distance"] == 0 and plan["holds"] in (True, False)
        low, high = plan["predicted"]["interval_s"]
        assert low <= plan["predicted"]["mean_s"] <= high
        foretold = sum(stage["predicted"]["mean_s"] for stage in plan["stages"])
        assert foretold == pytest.approx(plan["predicted"]["mean_s"])
        total = sum(stage["measured"]["mean_s"] for stage in plan["stages"])
        assert total == pytest.approx(plan["measured"]["mean_s"], rel=0.5)
    server = next(plan for plan in link["plans"] if plan["name"] == "all on server")
    up = next(stage for stage in server["stages"] if stage["cause"] == "crossing" and stage["target"] == "server")
    assert up["size_bytes"] == 12288 and up["predicted"]["origin"] == "modelled"
    wire_s = (12288 + OVERHEAD_BYTES) * 8 / 20e6 + 0.002
    of_transport_s = sum(load_profile(f"results/{one}/mine").overheads.hop_s(12288) for one in ("edge", "server")) / 2
    assert up["predicted"]["mean_s"] == pytest.approx(wire_s + of_transport_s)
    assert up["measured"]["mean_s"] > 0.9 * up["predicted"]["mean_s"]
    assert server["fallback_s"][0] > 0
    for plan in link["plans"]:
        for stage in plan["stages"]:
            assert (stage["back_to_back"] is not None) == (stage["cause"] == "compute")
    assert all(one["back_to_back"]["requests"] == 20 for one in server["stages"] if one["cause"] == "compute")


def test_one_of_the_first_version_is_read(tmp_path):
    folder = verification_files.write(made.verification(), tmp_path / "study" / "verified" / "001")
    said = json.loads((folder / "verification.json").read_text())
    for joined in said["links"][0]["joined"]:
        for name in ("before", "after", "moved"):
            del joined[name]
    (folder / "verification.json").write_text(json.dumps({**said, "version": 1}))
    assert verification_files.read(folder)["links"] == said["links"]


@pytest.mark.alone
def test_joules_stand_beside_what_the_plan_has(here):
    with StandInMeter(lambda now_s: 3.0) as meter:
        options = f'{{name = "smartpower3", port = "{meter.port}", baud = 500000}}'
        Path("lab.toml").write_text(
            f'[edge]\nengine = "local"\nboard = "generic"\nmeter = {options}\n[server]\nengine = "local"\n'
            'board = "generic"\n'
        )
        found = runs.verify(here, runs=60)
    (link,) = found.links
    for compared, one in zip(link.compared, link.candidates, strict=True):
        (energy,) = compared.energies
        assert energy.device == "edge" and energy.predicted_j == pytest.approx(one.predicted_j)
        assert energy.mean_j is None or energy.mean_j >= 3.0 * 0.9 * compared.measured.mean_s
    assert any(compared.energies[0].mean_j is not None for compared in link.compared)
    written = verification_files.write(found, here / "verified" / "001")
    said = json.loads((written / "verification.json").read_text())["links"][0]["plans"]
    assert [plan["energies"][0]["device"] for plan in said] == ["edge"] * len(said)
    assert "joules of edge: " in verified.text(found)


def test_each_request_and_stage_has_a_row(here):
    found = runs.verify(here, runs=5)
    table = parquet.read_table(verification_files.write(found, here / "verified" / "001") / "verification.parquet")
    assert table.schema.metadata[b"schema"] == b"dime.verification_runs"
    assert table.column_names == list(verification_files.COLUMNS)
    rows = table.to_pylist()
    whole = [row for row in rows if row["stage"] == "request"]
    assert len(whole) == 5 * len(found.links[0].candidates)
    assert len({(row["plan"], row["request"]) for row in whole}) == len(whole)
    for one in whole:
        parts = [row for row in rows if row["request"] == one["request"] and row["stage"] != "request"]
        assert 0 < sum(row["seconds"] for row in parts) <= one["seconds"] * 1.001
        assert {row["origin"] for row in parts if row["stage"] == "compute"} == {"measured"}
        assert {row["origin"] for row in parts if row["stage"] == "crossing"} <= {"emulated"}
        assert {"copies", "clock", "overhead"} <= {row["stage"] for row in parts}
        assert sum(row["seconds"] for row in parts) == pytest.approx(one["seconds"], rel=1e-3)
    for compared in found.links[0].compared:
        alone = [row["seconds"] for row in rows if row["plan"] == compared.name and row["stage"] == "back_to_back"]
        assert len(alone) == sum(told.back_to_back.count for told in compared.stages if told.back_to_back is not None)


def test_the_report_gets_a_section_and_keeps_it(here):
    assert '"verification"' not in (here / "report.html").read_text()
    verification_files.write(made.verification(), here / "verified" / "001")
    dime("verify", f"--plans={here}", "--runs=1", folder=".")
    assert '"folder":"002"' in (here / "report.html").read_text()
    before = (here / "report.html").read_text()
    dime("report", f"--plans={here}", folder=".")
    assert (here / "report.html").read_text() == before


@contextmanager
def over(link):
    """Two ends of a connection that goes over a link."""
    with ExitStack() as stack:
        server = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        there = stack.enter_context(ways.shaped(server.getsockname(), link))
        caller = stack.enter_context(socket.create_connection(("127.0.0.1", there.port)))
        yield caller, stack.enter_context(server.accept()[0])


def send(end, size_bytes):
    threading.Thread(target=end.sendall, args=(bytes(size_bytes),), daemon=True).start()


@pytest.mark.alone
def test_a_pipeline_s_period_is_measured(here):
    found = python.verify(here.with_name("002"), link="WiFi", runs=40)
    (link,) = found.links
    assert link.goal == "throughput" and all(one.measured.mean_s > 0 for one in link.compared)
    crossing = [one for plan, one in zip(link.candidates, link.compared, strict=True) if not plan.is_local]
    (server,) = (one for one in crossing if one.name == "all on server")
    assert server.measured.count == 5 * runs.WINDOWS * 6 and any("several are under way" in one for one in link.notes)
    with over(load_link("WiFi")) as (caller, called):  # the same bytes by a socket that knows nothing of plans
        send(caller, 60 * 12288)
        called.recv(12288, socket.MSG_WAITALL)
        began = time.monotonic()
        called.recv(59 * 12288, socket.MSG_WAITALL)
        truth_s = (time.monotonic() - began) / 59
    assert truth_s > 0.97 * 12288 * 8 / 18.88e6
    truth_s = max(truth_s, server.predicted_s)  # what else runs on the machine may hold up, and never hastens
    assert 0.97 * server.predicted_s < server.measured.mean_s < 1.25 * truth_s
    assert server.measured.interval_s[0] < 1.05 * truth_s


def test_a_pipeline_s_period_is_not_that_of_its_beginning():
    """What has gathered comes at once: six results behind one that was held up, then one every 5 ms."""
    ends_ms = [40, 40, 40, 40, 40, 40, *range(45, 200, 5)]
    rows = [{"start_ns": 0, "end_ns": at * made.MS} for at in ends_ms]
    assert runs.periods(rows) == pytest.approx(0.005)


@pytest.mark.alone
def test_an_emulated_link_takes_turns_where_the_link_does():
    ends_s = {}
    for duplex in (True, False):
        with over(Link("a link", 8e6, 8e6, 0.0, duplex=duplex)) as ends:
            began = time.monotonic()
            for one in ends:
                send(one, 200000)
            for one in ends:
                one.recv(200000, socket.MSG_WAITALL)
            ends_s[duplex] = time.monotonic() - began
    assert 0.2 * 0.99 < ends_s[True] < 0.4 * 0.99 < ends_s[False]


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--runs=0"], "RUNS is 0; at least 1 request"),
        (["--frontier=-1"], "FRONTIER is -1"),
        (["--link=5G"], f"unknown link of results/plans/mine/001 '5G'; known: {NAMED}"),
        (["--link="], "LINK names no link"),
        (["--samples=nowhere"], "there are no feature maps of mine in nowhere"),
    ],
)
def test_what_cannot_be_run_is_told_in_one_line(here, words, reason):
    done = dime("verify", f"--plans={here}", *words, folder=".", check=False)
    assert done.returncode == 1 and reason in done.stderr and len(done.stderr.splitlines()) == 1
    assert not (here / "verified").exists()


def test_a_profile_that_has_changed_is_refused(here):
    with open("results/edge/mine/timings.csv", "a") as stream:
        stream.write("\n")
    with pytest.raises(InputError, match="not the profile that the plans were made of any more"):
        runs.verify(here)


def test_a_profile_that_is_gone_is_told(here):
    shutil.rmtree("results/server")
    with pytest.raises(TableError, match=r"the profile of server that the plans were made of, is not there"):
        runs.verify(here)


def test_a_device_that_the_lab_file_does_not_know_is_told(here):
    run = Path("results/server/mine/run.json")
    problem = here / NAMED / "problem.json"
    for path in (run, problem):
        path.write_text(path.read_text().replace('"server"', '"hub"'))
    with pytest.raises(InputError, match="the plan is for hub: unknown device 'hub'"):
        runs.verify(here)


def test_other_feature_maps_are_refused(here):
    named = ("--net=mine.py:build", "--input=1x3x32x32", "--cuts=all", "--name=mine")
    dime("samples", *named, "--samples=others", "--source=random", folder=".")
    with pytest.raises(DeviceError, match="feature maps here are others than those that were profiled"):
        runs.verify(here, samples="others")


def test_two_at_once_are_refused(here):
    with runs._alone(), pytest.raises(DeviceError, match="another verify is running on this computer"):
        runs.verify(here)


@pytest.mark.slow
@pytest.mark.alone
def test_a_stage_that_is_killed_ends_the_run_in_one_line(here, monkeypatch):
    killed = []
    entered = running.Running.__enter__

    def enter(one):
        found = entered(one)

        def kill():
            time.sleep(0.5)
            killed.append(time.monotonic())
            found.stages[1]._engine._begun.kill()

        threading.Thread(target=kill).start()
        return found

    monkeypatch.setattr(running.Running, "__enter__", enter)
    with pytest.raises(DeviceError, match=r"server: its stage has ended, killed by signal 9"):
        runs.verify(here, runs=2000)
    assert time.monotonic() - killed[0] < 15
    assert ours() == []
