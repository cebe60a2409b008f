"""The documented lines for a notebook, as they stand in the documentation, on the files that a measurement leaves."""

import textwrap

import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet

from dime.contract import run, tables
from dime.host import notebook
from dime.host.planning.plan import Plan
from tests.host import synthetic
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
            writer.write(rows(profile))
    sizes = {name: [row[name] for row in rows(edge)] for name in ("input_bytes", "output_bytes")}
    columns = joined(edge, durs=None, run_energy=None, duration_s=edge.run_duration_s, energy_j=edge.run_energy_j)
    parquet.write_table(pa.table({**columns, **sizes}), tmp_path / "results" / "nano" / "alexnet" / run.JOINT_PROFILE)
    monkeypatch.chdir(tmp_path)


def documented():
    """The indented lines of the documentation's first part."""
    lines = notebook.__doc__.splitlines()
    start = next(at for at, line in enumerate(lines) if line.startswith("    "))
    end = next(at for at, line in enumerate(lines) if line and at > start and not line.startswith(" "))
    return textwrap.dedent("\n".join(lines[start:end]))


def test_the_documented_lines(results, capsys):
    names = {}
    exec(compile(documented(), "notebook", "exec"), names)  # the reader's notebook
    assert isinstance(names["table"], pd.DataFrame)
    assert {"latency_s", "energy_j", "plan"} <= set(names["table"])
    plan = names["plan"]
    assert isinstance(plan, Plan)
    assert plan.energy_j == pytest.approx(names["table"]["energy_j"].min())
    assert capsys.readouterr().out == f"{plan}\n"
    assert sum(line != "" for line in documented().splitlines()) == 6  # one import, five lines


def test_what_else_the_documentation_names(results):
    names = dict(vars(notebook))
    exec(compile(documented(), "notebook", "exec"), names)
    problem, plan = names["problem"], names["plan"]
    choices = plan.choices(problem)
    assert notebook.baselines.table(notebook.baselines.compare(problem))["gain"].max() > 0
    assert notebook.explain(problem, choices).rivals
    assert notebook.best_plans(problem).table()["here"].sum() == 1
    assert len(notebook.round_trips(problem, [0.0, 0.1])) == 2
    samples = notebook.resample(problem, names["profiles"], 50)
    assert notebook.bootstrap(samples, [choices]).table()["best_share"][0] > 0
    limited = problem.with_limits(notebook.Limits(latency_s=0.2, private_layers=2, rule="merged"))
    held = notebook.plan_with_confidence(limited, names["profiles"], 0.95).limits[0]
    assert held.share >= 0.95
    assert len(notebook.sweeps.tables({"4G": problem}).tables) == 4
