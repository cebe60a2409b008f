"""``dime solve`` and ``dime sweep`` as a person meets them: what is printed, what is written, what is refused."""

import os
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest

from dime import load_study
from dime.contract.bundles import spell
from dime.host.cli import main as cli
from dime.host.planning.formulation import build_problem
from dime.host.planning.plan import check, read_plan
from dime.host.profiles.profiles import load_profile
from dime.testing import synthetic
from tests.host.conftest import dime

CHAIN = synthetic.ALEXNET
SIZES = ",".join(str(size) for size in CHAIN.sizes_bytes)


@pytest.fixture
def folder(profiled, tmp_path, monkeypatch):
    """A folder in which the real profiles can be found, and plans are written anew."""
    (tmp_path / "results").mkdir()
    for device in ("edge", "server"):
        (tmp_path / "results" / device).symlink_to(profiled / "results" / device)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """The published formats: the device's parquet and the server's CSV, in ms and in s."""
    folder = tmp_path_factory.mktemp("published")
    edge, server = synthetic.profile(CHAIN, frequencies_hz=(460800000, 921600000), runs=5), synthetic.server(CHAIN)
    for profile, name in ((edge, "alexnet_nano"), (server, "wiscad")):
        cell = np.repeat(np.arange(len(profile.starts) - 1), np.diff(profile.starts))
        row, column = np.divmod(cell, len(profile.frequencies_hz))
        names = np.array([spell(bundle, list(profile.layers)) for bundle in profile.bundles])
        table = pd.DataFrame({"layers": names[row], "durs": profile.run_duration_s, "iter": 0, "run": range(len(cell))})
        if profile is edge:
            table["frequency"] = np.array(profile.frequencies_hz)[column]
            table["run_energy"] = profile.run_energy_j * 1e6
            table.to_parquet(folder / f"{name}.parquet")
        else:
            table.to_csv(folder / f"{name}_s.csv", index=False)
            table.assign(durs=table.durs * 1e3).to_csv(folder / f"{name}.csv", index=False)
    return folder


def solve(*words):
    """Runs ``dime solve`` in this process; the exit code."""
    return cli.main(["solve", "--net=alexnet", *words])


def test_a_plan_is_printed_proven_and_written(folder, capsys):
    assert solve("--edge-power=5", "--goal=energy", "--link=4G") == 0
    text = capsys.readouterr().out
    assert re.search(r"^\('\w+', -1, '(edge|server)'\): 1.0$", text, re.MULTILINE)
    assert re.search(r"latency: \S+ s   computation \S+ s   communication \S+ s", text)
    assert "optimal, proven by exact" in text
    assert re.search(r"confirmed by Gurobi \d+|not confirmed: .*licence", text)
    assert re.search(r"frontier: \d+ point", text)
    assert "results/plans/alexnet/001" in text
    written = folder / "results/plans/alexnet/001"
    plan = read_plan(written / "4G/plan.json")
    profiles = [load_profile("results/edge/alexnet").with_power(5.0), load_profile("results/server/alexnet")]
    check(build_problem(profiles, "4G", "energy"), plan)
    points = pd.read_parquet(written / "4G/frontier.parquet")
    assert points.energy_j.min() == pytest.approx(plan.energy_j, abs=1e-9)
    assert list(points) == ["latency_s", "energy_j", "knee", "plan", "steps"]
    assert points.knee.sum() == 1
    assert "</html>" in (written / "report.html").read_text()


def test_the_next_plan_gets_the_next_folder_and_a_given_one_must_be_new(folder, capsys):
    assert solve("--link=WiFi", "--replicates=0") == solve("--link=WiFi", "--replicates=0") == 0
    assert (folder / "results/plans/alexnet/002/WiFi/plan.json").exists()
    capsys.readouterr()
    assert solve("--link=WiFi", "--out=results/plans/alexnet/001") == 1
    assert "exists already; nothing was overwritten" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--goal=speed"], "unknown goal 'speed'; known: .*latency"),
        (["--link=6G"], "unknown link '6G'; known: .*3G.*4G.*WiFi"),
        (["--server=wiscad"], r"no profile of alexnet on 'wiscad' in results; there are: edge, server"),
        (["--solver=cplex"], "unknown solver 'cplex'; known: .*exact.*gurobi"),
        (["--goal=energy"], "the profile of edge has no energy"),
        (["--max-latency=0.0001"], "no plan .*latency.*"),
        (["--edge-power=5", "--goal=energy", "--confidence=95%"], "a confidence needs a limit"),
        (["--max-latency=1", "--confidence=much"], "a confidence is typed as 95% or 0.95, not 'much'"),
        (["--max-latency=9", "--confidence=0.9", "--solver=gurobi"], "a confidence is for the solver exact"),
        (["--replicates=1"], "at least 2 replicates, or 0 for none"),
        (["--private=conv9"], "unknown private layer 'conv9'"),
        (["--sizes=1,2,3"], "sizes in bytes must be 9 numbers"),
        (["--sizes=nano"], "no profile of alexnet on 'nano'"),
        (["--write-lp=nowhere/x.lp"], "nowhere/x.lp"),
    ],
)
def test_a_mistake_is_one_line_and_writes_nothing(folder, words, message, capsys):
    assert solve(*words) == 1
    said = capsys.readouterr()
    assert re.search(message, said.err), said.err
    assert said.err.count("\n") == 1
    assert said.out == ""
    assert not (folder / "results/plans").exists()


def test_an_infeasible_limit_says_the_best_that_is_possible(folder, capsys):
    assert solve("--link=4G", "--max-latency=0.0001") == 1
    least = float(re.search(r"possible with all other limits: latency (\S+) s", capsys.readouterr().err)[1])
    assert solve("--link=4G", f"--max-latency={least}", "--replicates=0") == 0


def test_each_limit_shows_in_the_plan(folder):
    out = folder / "limited"
    assert solve("--link=WiFi", "--private=conv1,conv2", "--max-bundle=3", "--rule=free", f"--out={out}") == 0
    plan = read_plan(out / "WiFi/plan.json")
    assert all(step.last - step.first < 3 for step in plan.steps)
    assert all(step.device == "edge" for step in plan.steps if step.first < 2)


def test_a_limit_may_hold_with_a_probability(folder, capsys):
    words = ["--link=WiFi", "--edge-power=5", "--goal=energy", "--max-latency=5"]
    assert solve(*words, "--confidence=95%", "--out=sure") == 0
    assert "whose limits hold with 0.95" in capsys.readouterr().out
    assert read_plan(folder / "sure/WiFi/plan.json").latency_s <= 5


def test_published_tables_need_sizes_and_then_give_plans(published, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = [f"--edge={published / 'alexnet_nano.parquet'}", "--link=4G", "--replicates=0"]
    milliseconds, seconds = (f"--server={published / name}" for name in ("wiscad.csv", "wiscad_s.csv"))
    assert solve(*words, milliseconds) == 1
    assert "9 sizes in bytes" in capsys.readouterr().err
    assert solve(*words, milliseconds, f"--sizes={SIZES}", "--out=a") == 0
    assert solve(*words, seconds, "--csv-unit=s", f"--sizes={SIZES}", "--out=b") == 0
    one, other = (read_plan(tmp_path / name / "4G/plan.json") for name in "ab")
    assert one.latency_s == pytest.approx(other.latency_s, abs=1e-11)
    assert one.steps[0].device == "nano"


def test_the_order_of_layers_is_given_where_names_do_not_tell_it(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for name, factor in (("nano", 10), ("wiscad", 1)):
        times = [f"{layer},{factor * (at + 1)}\n" for at, layer in enumerate(("c", "a", "b"))]
        (tmp_path / f"{name}.csv").write_text("layers,durs\n" + "".join(times))
    (tmp_path / "nano.csv").rename("nano")  # its name says nothing
    words = ["--net=small", "--edge=nano", "--server=wiscad.csv", "--link=WiFi", "--sizes=400,300,200,100"]
    for command in (["solve", "--replicates=0"], ["sweep", "--edge-power=5"]):
        assert cli.main([*command, *words]) == 1
        assert "give layers=a,b,c,... in their order (--layers=, with make LAYERS=)" in capsys.readouterr().err
        assert cli.main([*command, *words, "--layers=c, a,b", f"--out={command[0]}"]) == 0
        capsys.readouterr()
    steps = read_plan(tmp_path / "solve/WiFi/plan.json").steps
    assert [step.bundle for step in steps] == ["c", "a", "b"]


def test_sizes_may_come_from_another_profile(published, folder):
    words = [f"--edge={published / 'alexnet_nano.parquet'}", f"--server={published / 'wiscad.csv'}", "--link=4G"]
    assert solve(*words, "--sizes=edge", "--replicates=0") == 0


def test_the_integer_program_can_be_written_and_read_by_another_solver(folder):
    import highspy

    assert solve("--link=4G", "--write-lp=program.lp", "--replicates=0", "--out=out") == 0
    solver = highspy.Highs()
    solver.silent()
    solver.readModel("program.lp")
    solver.run()
    unit_s = float(re.search(r"^\\ latency = (\S+) s x obj$", (folder / "program.lp").read_text(), re.MULTILINE)[1])
    found_s = solver.getObjectiveValue() * unit_s
    assert found_s == pytest.approx(read_plan(folder / "out/4G/plan.json").value, rel=1e-6)


def test_the_published_tables(folder, capsys):
    assert cli.main(["sweep", "--net=alexnet", "--edge-power=5", "--out=tables"]) == 0
    assert "alexnet_edge_min_lat_df.csv" in capsys.readouterr().out
    table = pd.read_csv("tables/alexnet_edge_min_lat_df.csv")
    assert {"lat", "energy", "energy_constr", "frequency_setting", "conn", "edge_bundle"} == set(table)
    assert set(table.conn) == {"3G", "4G", "WiFi"}


def test_a_licence_that_is_none_is_one_line_and_no_failure(folder):
    os.environ["GRB_LICENSE_FILE"] = str(folder / "nowhere.lic")
    try:
        result = dime("solve", "--net=alexnet", "--link=4G", "--replicates=0", folder=folder)
    finally:
        del os.environ["GRB_LICENSE_FILE"]
    lines = [line for line in result.stdout.splitlines() if "not confirmed" in line]
    assert len(lines) == 1 and "licence" in lines[0]


def test_gurobi_asked_for_by_name_without_a_licence_falls_back(folder, monkeypatch):
    monkeypatch.setenv("GRB_LICENSE_FILE", str(folder / "nowhere.lic"))
    result = dime("solve", "--net=alexnet", "--link=4G", "--solver=gurobi", "--replicates=0", folder=folder)
    assert "proven by exact" in result.stdout
    assert len([line for line in result.stdout.splitlines() if "gurobi" in line.lower() and "licence" in line]) >= 1


def test_a_reader_that_has_enough_is_no_traceback(folder):
    words = [sys.executable, "-m", "dime.host", "solve", "--net=alexnet", "--link=4G", "--replicates=0"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(60) == 141


# How Python starts is not ours: the time counts from where the command's own first lines run
STARTED = "import sys; from dime.host.__main__ import main; print('started', flush=True); sys.exit(main())"


@pytest.mark.parametrize("after_s", [0.1, 0.6, 1.5, 3.5, 6.0])
def test_one_interrupt_ends_a_solve_wherever_it_is(folder, after_s):
    words = [sys.executable, "-c", STARTED, "solve", "--net=alexnet", "--edge-power=5", "--replicates=100000"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "started\n"
        time.sleep(after_s)
        process.send_signal(signal.SIGINT)
        began = time.monotonic()
        told = process.stderr.read()
        assert process.wait(60) == 130
        took_s, busy = time.monotonic() - began, max(1, os.getloadavg()[0] / os.cpu_count())
    assert took_s < 4 * busy  # 2 s where nothing else runs
    assert told.splitlines()[-1] in ("dime: interrupted; nothing was written", "dime: interrupted; nothing was done")
    assert sorted(path.name for path in (folder / "results").iterdir()) == ["edge", "server"]


def test_a_finished_study_s_report_is_made_anew_by_a_command(folder, capsys):
    assert solve("--edge-power=5", "--link=4G", "--out=plan") == 0
    first = (folder / "plan/report.html").read_bytes()
    (folder / "plan/report.html").unlink()
    capsys.readouterr()
    assert cli.main(["report", "--plans=plan", "--figures"]) == 0
    named = capsys.readouterr().out.splitlines()
    assert (folder / "plan/report.html").read_bytes() == first
    assert {"plan/report.html", "plan/figures/map_bandwidth_4G.svg", "plan/figures/map_bandwidth_4G.png"} <= set(named)
    assert all((folder / name).exists() for name in named)


def test_a_report_of_nothing_is_one_line(folder, capsys):
    assert cli.main(["report", "--plans=results"]) == 1
    told = capsys.readouterr().err
    assert told.startswith("dime: there is no results/report.json") and told.count("\n") == 1
    assert sorted(path.name for path in (folder / "results").iterdir()) == ["edge", "server"]


def test_tables_may_be_named_and_swept_with_limits(published, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    sizes = ",".join(map(str, CHAIN.sizes_bytes))
    words = [
        f"--edge=nano={published}/alexnet_nano.parquet",
        f"--server=wiscad={published}/wiscad.csv",
        f"--sizes={sizes}",
    ]
    assert cli.main(["sweep", "--net=alexnet", *words, "--freqs=nano=921600000", "--private=1", "--out=tables"]) == 0
    table = pd.read_csv("tables/alexnet_nano_frequency_df.csv")
    assert set(table[table.frequencies == "slowest"].frequency_setting.dropna().astype(str)) == {"921600000"}
    words.append("--link=4G")
    assert cli.main(["solve", "--net=alexnet", *words, "--replicates=0", "--goal=energy", "--freqs=921.6MHz"]) == 0
    told = capsys.readouterr().out
    problem = load_study("results/plans/alexnet/001")["4G"].problem
    assert problem.limits.frequencies_hz == {"nano": (921600000,)}
    assert "on nano" in told or "'nano'" in told
    assert cli.main(["solve", "--net=alexnet", "--edge=nano=missing.parquet", *words[1:]]) == 1
    assert "missing.parquet: no such file or folder for the profile of nano" in capsys.readouterr().err


HUGE = ["1e300", "1e-300", "5e-324", "-0.0", "nan", "inf", "-1e300", "1e19"]


@pytest.mark.parametrize("value", HUGE)
@pytest.mark.parametrize(
    "option",
    ["max-latency", "max-energy", "edge-power", "time-limit", "gap", "result-bytes", "replicates", "max-bundle"],
)
def test_no_number_of_an_option_is_a_traceback(folder, option, value, capsys):
    status = solve(f"--{option}={value}", "--link=WiFi", *([] if option == "replicates" else ["--replicates=0"]))
    told = capsys.readouterr()
    assert status in (0, 1)
    assert "Traceback" not in told.err and (status == 0 or len(told.err.strip().splitlines()) == 1)


@pytest.mark.parametrize("value", HUGE)
@pytest.mark.parametrize(
    "words",
    [
        "--link=up={},down=50",
        "--link=up=20,down={}",
        "--link=up=20,down=50,rtt={}",
        "--link=up=20,down=50,alpha_up={}",
        "--link=up=20,down=50,beta={}",
        "--goal=weighted:{},1",
        "--goal=weighted:1,{}",
        "--memory=edge={}",
        "--freqs=edge={}",
        "--private={}",
        "--confidence={}",
        "--sizes={},1,1,1,1,1,1,1,1",
    ],
)
def test_no_number_in_a_text_is_a_traceback(folder, words, value, capsys):
    status = solve(words.format(value), "--edge-power=5", "--replicates=0", *([] if "link" in words else ["--link=4G"]))
    told = capsys.readouterr()
    assert status in (0, 1)
    assert "Traceback" not in told.err and (status == 0 or len(told.err.strip().splitlines()) == 1)
