"""The published tables: the same answers as one solve a limit, in the published form."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings

from dime.contract.errors import InfeasibleError, InputError
from dime.host.compat import sweeps
from dime.host.planning.evaluation import evaluate
from dime.host.planning.formulation import build_problem
from dime.host.planning.goals import Limits
from dime.host.search import solvers
from dime.host.search.frontier import frontier
from dime.testing import synthetic
from tests.host import small


@settings(max_examples=40, deadline=None)
@given(small.problems(goals=("latency",), devices=(2, 3)))
def test_the_ends_of_the_grid_are_the_best_and_the_worst_plan(problem):
    plans = [plan[1] for plan in small.all_plans(problem)]
    assert sweeps.worst(problem, "latency") == max(totals.latency_ps for totals in plans)
    assert sweeps.worst(problem, "energy") == max(totals.energy_pj for totals in plans)
    limits_ps, limits_pj = sweeps.grids(problem, frontier(problem), 5)
    assert limits_ps[0] == min(totals.latency_ps for totals in plans)
    assert limits_pj[0] == min(totals.energy_pj for totals in plans)
    assert limits_ps[-1] == max(totals.latency_ps for totals in plans)
    assert (np.diff(np.diff(limits_pj)) <= 1).all()


@settings(max_examples=30, deadline=None)
@given(small.problems(goals=("latency",)))
def test_every_answer_is_the_best_within_its_limit(problem):
    plans = [plan[1] for plan in small.all_plans(problem)]
    front = frontier(problem)
    limits_ps, limits_pj = sweeps.grids(problem, front, 7)
    for answer, limit in zip(sweeps.least_latency(front, limits_pj), limits_pj, strict=True):
        within = [(t.latency_ps, t.energy_pj) for t in plans if t.energy_pj <= limit]
        assert (answer.latency_s, answer.energy_j) == pytest.approx([cost / 1e12 for cost in min(within)], rel=1e-12)
    for answer, limit in zip(sweeps.least_energy(front, limits_ps), limits_ps, strict=True):
        within = [(t.energy_pj, t.latency_ps) for t in plans if t.latency_ps <= limit]
        assert (answer.energy_j, answer.latency_s) == pytest.approx([cost / 1e12 for cost in min(within)], rel=1e-12)
        totals = evaluate(problem, answer.choices)
        assert (totals.energy_pj, totals.latency_ps) == min(within)


@pytest.mark.parametrize("solver", ["exact", "highs"])
def test_forty_solves_say_the_same(solver):
    problem = small.problem(4, 2, 5, limits=Limits(rule="published"))
    made = sweeps.tables({"test": problem}).tables
    for name, goal, column, limit in (
        ("net_d0_min_lat_df.csv", "latency", "lat", "energy"),
        ("net_d0_min_energy_df.csv", "energy", "energy", "lat"),
    ):
        table = made[name]
        assert len(table) == 20
        for row in table.to_dict("records"):
            most = row[limit + "_constr"]
            limits = {"energy_j": most / 1e6} if limit == "energy" else {"latency_s": most}
            asked = problem.with_goal(goal).with_limits(replace(problem.limits, **limits))
            solution = solvers.solve(asked, solver)
            assert solution.solver == solver
            assert row[column] / (1e6 if column == "energy" else 1) == pytest.approx(solution.objective, rel=1e-9)


@pytest.fixture(scope="module")
def made():
    problems = {
        link: synthetic.problem(synthetic.ALEXNET, link, limits=Limits(rule="published")) for link in ("3G", "WiFi")
    }
    return sweeps.tables(problems).tables


def test_the_published_columns(made):
    assert list(made) == [f"alexnet_nano_{name}_df.csv" for name in ("min_lat", "min_energy", "privacy", "frequency")]
    shared = ["frequency_setting", "conn", "edge_bundle"]
    assert list(made["alexnet_nano_min_lat_df.csv"]) == ["lat", "energy", "energy_constr", *shared]
    assert list(made["alexnet_nano_min_energy_df.csv"]) == ["lat", "lat_constr", "energy", *shared]
    assert list(made["alexnet_nano_privacy_df.csv"]) == ["lat", "energy", *shared, "num_private_layers"]
    for table in made.values():
        assert list(table["conn"].unique()) == ["3G", "WiFi"]
    for name in ("min_lat", "min_energy"):
        assert (made[f"alexnet_nano_{name}_df.csv"].groupby("conn").size() == 20).all()
    row = made["alexnet_nano_min_lat_df.csv"].iloc[0]
    assert row["energy"] <= row["energy_constr"]
    assert row["energy"] > 1e4  # microjoules
    assert int(row["frequency_setting"]) in synthetic.TWELVE_HZ


def test_more_private_layers_never_cost_less(made):
    for _, table in made["alexnet_nano_privacy_df.csv"].groupby("conn"):
        assert list(table["num_private_layers"]) == list(range(9))
        assert (np.diff(table["energy"]) >= 0).all()
    last = made["alexnet_nano_privacy_df.csv"].iloc[-1]
    assert last["edge_bundle"] == "_".join(synthetic.ALEXNET.layers)


def test_free_clocks_are_never_worse_than_one(made):
    table = made["alexnet_nano_frequency_df.csv"]
    for goal, column, limit in (("min_lat", "lat", "energy_constr"), ("min_energy", "energy", "lat_constr")):
        rows = table[table["goal"] == goal].pivot(index=["conn", limit], columns="frequencies", values=column)
        assert rows["free"].notna().all()
        for clocks in ("fastest", "slowest"):
            there = rows[clocks].notna()
            assert (rows["free"][there] <= rows[clocks][there]).all()
        assert not rows.notna().all(axis=None)  # the slowest clock cannot be the fastest plan
    hz = table[(table["frequencies"] == "slowest") & (table["frequency_setting"] != "")]["frequency_setting"]
    assert set(hz.dropna()) == {str(synthetic.TWELVE_HZ[0])}


def test_the_files_are_written_once(tmp_path):
    problems = {"test": small.problem(3, 2, 1)}
    paths = sweeps.write(sweeps.tables(problems), tmp_path / "out")
    assert [path.name for path in paths] == list(sweeps.tables(problems).tables)
    again = pd.read_csv(paths[0])
    assert len(again) == 20
    assert again["lat"].to_numpy() == pytest.approx(sweeps.tables(problems).tables[paths[0].name]["lat"].to_numpy())
    with pytest.raises(InputError, match="exists already"):
        sweeps.write(sweeps.tables(problems), tmp_path / "out")


def test_bad_input():
    chain = synthetic.ALEXNET
    without = build_problem([synthetic.profile(chain, static_w=None), synthetic.server(chain)], "4G")
    with pytest.raises(InputError, match="nano has no energy"):
        sweeps.tables({"4G": without})
    with pytest.raises(InputError, match="at least 2 points"):
        sweeps.tables({"test": small.problem(2, 2, 1)}, points=1)
    crowded = small.problem(2, 2, 1, limits=Limits(memory_bytes={"d0": 0, "d1": 0}))
    with pytest.raises(InfeasibleError):
        sweeps.tables({"test": crowded})
    assert sweeps.tables({}).tables == {}


def test_the_slowest_clock_is_the_slowest_that_the_limits_leave():
    published = synthetic.TWELVE_HZ[6:]  # as the published sweep had them: nothing below 537.6 MHz
    limits = Limits(rule="published", frequencies_hz={"nano": published})
    made = sweeps.tables({"3G": synthetic.problem(synthetic.ALEXNET, "3G", limits=limits)}).tables
    table = made["alexnet_nano_frequency_df.csv"]
    clocks = {
        int(hz) for text in table[table.frequencies == "slowest"].frequency_setting for hz in text.split("|") if hz
    }
    assert clocks == {published[0]} == {537600000}


def test_a_link_without_a_plan_is_told_and_costs_no_other():
    limits = Limits(memory_bytes={"nano": 0, "wiscad": 0})
    bad = synthetic.problem(synthetic.ALEXNET, "3G", layer_bytes=[1] * 8, limits=limits)
    good = synthetic.problem(synthetic.ALEXNET, "WiFi")
    made = sweeps.tables({"3G": bad, "WiFi": good}, points=3)
    assert list(made.without_plan) == ["3G"]
    assert set(made.tables["alexnet_nano_min_lat_df.csv"].conn) == {"WiFi"}
    with pytest.raises(InfeasibleError, match=r"^3G: "):
        sweeps.tables({"3G": bad}, points=3)
