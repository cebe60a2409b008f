"""The planner from Python: the lines of `help(dime)` as they stand, on the files that a measurement leaves."""

import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet

import dime
from dime.contract import run, tables
from dime.host.planning.plan import Plan
from dime.testing import synthetic
from tests.host.profiles.test_profiles import joined, rows


@pytest.fixture
def results(tmp_path, monkeypatch):
    """results/nano/alexnet with joined power, results/server/alexnet with timings alone."""
    edge = synthetic.profile(synthetic.ALEXNET, runs=4, frequencies_hz=(460800000, 921600000))
    for name, profile in (("nano", edge), ("server", synthetic.server(synthetic.ALEXNET))):
        folder = tmp_path / "results" / name / "alexnet"
        folder.mkdir(parents=True)
        spec = dict.fromkeys(run.SPEC_FIELDS)
        spec.update(network="alexnet", layers=list(profile.layers), device=name, max_layers=8, origin="modelled")
        run.RunSpec(**spec).write(str(folder))
        with tables.Writer(str(folder / run.TIMINGS), tables.TIMINGS) as writer:
            writer.write([{**row, "iteration": row["run"], "run": 0} for row in rows(profile)])
    sizes = {name: [row[name] for row in rows(edge)] for name in ("input_bytes", "output_bytes")}
    passes = [row["run"] for row in rows(edge)]
    columns = joined(
        edge,
        iter=passes,
        run=[0] * len(passes),
        durs=None,
        run_energy=None,
        duration_s=edge.run_duration_s,
        energy_j=edge.run_energy_j,
    )
    parquet.write_table(pa.table({**columns, **sizes}), tmp_path / "results" / "nano" / "alexnet" / run.JOINT_PROFILE)
    monkeypatch.chdir(tmp_path)


def documented():
    """The indented lines of the documentation's first part."""
    lines = dime.__doc__.splitlines()
    start = next(at for at, line in enumerate(lines) if line.startswith("    "))
    end = next(at for at, line in enumerate(lines) if line and at > start and not line.startswith(" "))
    return textwrap.dedent("\n".join(lines[start:end]))


def test_the_documented_lines(results, capsys):
    names = {}
    exec(compile(documented(), "notebook", "exec"), names)  # the reader's notebook
    assert isinstance(names["table"], pd.DataFrame)
    assert {"latency_s", "energy_j", "plan"} <= set(names["table"])
    plan = names["result"].plan
    assert isinstance(plan, Plan)
    assert plan.energy_j == pytest.approx(names["table"]["energy_j"].min())
    assert capsys.readouterr().out == f"{plan}\n"
    assert sum(line != "" for line in documented().splitlines()) == 6  # one import, five lines


def test_what_else_the_documentation_names(results):
    names = {}
    exec(compile(documented(), "notebook", "exec"), names)
    problem, result = names["problem"], names["result"]
    choices = result.choices
    assert dime.baselines.table(dime.baselines.compare(problem))["gain"].max() > 0
    assert dime.explain(result).rivals == dime.explain(problem, choices).rivals
    assert dime.best_plans(problem).table()["here"].sum() == 1
    assert len(dime.round_trips(problem, [0.0, 0.1])) == 2
    samples = dime.resample(problem, names["profiles"], 50)
    assert dime.bootstrap(samples, [choices]).table()["best_share"][0] > 0
    limited = problem.with_limits(dime.Limits(latency_s=0.2, private_layers=2, rule="merged"))
    held = dime.plan_with_confidence(limited, names["profiles"], 0.95).limits[0]
    assert held.share >= 0.95
    assert len(dime.sweeps.tables({"4G": problem}).tables) == 4


def test_every_name_is_there_and_nothing_else(results):
    assert [name for name in dime.__all__ if getattr(dime, name, None) is None] == []
    assert set(dime.__all__) <= set(dir(dime))
    with pytest.raises(AttributeError, match="no attribute 'slove'"):
        dime.slove  # noqa: B018


def test_the_stub_names_the_same_things():
    stub = (Path(dime.__file__).parent / "__init__.pyi").read_text()
    assert sorted(re.findall(r"import \w+ as (\w+)", stub)) == dime.__all__


def test_importing_it_loads_nothing():
    code = "import sys; before = set(sys.modules); import dime; print(sorted(set(sys.modules) - before))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout == "['dime']\n"


def test_the_earlier_name_still_works(results):
    code = textwrap.dedent(
        """
        from dime.host import notebook
        from dime.host.notebook import build_problem, load_profile, make_plan, solve
        problem = build_problem([load_profile(f"results/{name}/alexnet") for name in ("nano", "server")], "WiFi")
        print(make_plan(problem, solve(problem)).steps == notebook.solve(problem).plan.steps)
        """
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.stdout == "True\n", result.stderr
