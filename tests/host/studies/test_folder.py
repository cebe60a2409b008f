"""What a solve leaves is enough: problem, plan and frontier come back from the folder alone, and are checked there."""

import json
import zipfile
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from dime.contract.errors import DimeError, InputError, TableError
from dime.host.planning import problem_files
from dime.host.planning.evaluation import evaluate
from dime.host.planning.goals import Goal, Limits
from dime.host.report import output
from dime.host.search.frontier import frontier
from dime.host.search.solvers import solve
from dime.host.studies.folder import load_study
from dime.host.studies.study import make_study
from dime.testing import synthetic
from dime.testing.instances import random_problem


@pytest.fixture(scope="module")
def study():
    profiles = [synthetic.profile(synthetic.ALEXNET, runs=3), synthetic.server(synthetic.ALEXNET)]
    return make_study(profiles, "4G,WiFi", limits=Limits(latency_s=5, private_layers=("conv1",)), replicates=0)


def test_everything_comes_back_from_the_folder_alone(study, tmp_path):
    output.write(study, tmp_path / "plan")
    found = load_study(tmp_path / "plan")
    assert list(found) == ["4G", "WiFi"]
    for link, saved in zip(study.links, found.values(), strict=True):
        assert saved.plan == link.plan and saved.certificate == link.plan.certificate
        assert saved.frontier.complete and np.array_equal(saved.frontier.time_ps, link.frontier.time_ps)
        assert np.array_equal(saved.frontier.energy_pj, link.frontier.energy_pj)
        assert [saved.frontier.choices(at) for at in range(len(saved.frontier))] == [
            link.frontier.choices(at) for at in range(len(link.frontier))
        ]
        assert saved.problem.limits == link.problem.limits and saved.problem.joined == link.problem.joined
        assert solve(saved.problem).choices == link.solution.choices
        saved.check()
    profiles = json.loads((tmp_path / "plan/4G/problem.json").read_text())["profiles"]
    assert [profile["device"] for profile in profiles] == ["nano", "wiscad"]


@pytest.mark.parametrize("seed", [seed for seed in range(20) if seed != 17])  # which has no plan at all
def test_any_problem_is_read_back_as_it_was(seed, tmp_path):
    problem = random_problem(seed, Goal("weighted", 0.1 + seed, 1 / 3))
    problem_files.write(problem, tmp_path)
    again = problem_files.read(tmp_path)
    assert (again.goal, again.limits, again.layers, again.sizes_bytes) == (
        problem.goal, problem.limits, problem.layers, problem.sizes_bytes
    )  # fmt: skip
    one, other = frontier(problem), frontier(again)
    assert np.array_equal(one.time_ps, other.time_ps) and np.array_equal(one.energy_pj, other.energy_pj)
    choices = one.choices(0)
    assert evaluate(again, choices) == evaluate(problem, choices)
    with pytest.raises(InputError, match="exists already"):
        problem_files.write(problem, tmp_path)


def test_a_plan_that_is_not_the_problem_s_is_found_out(study, tmp_path):
    link = study.links[0]
    better = replace(link.plan, latency_s=link.plan.latency_s * 0.9)
    output.write(replace(study, links=(replace(link, plan=better),)), tmp_path / "plan")
    with pytest.raises(InputError, match="latency_s"):
        load_study(tmp_path / "plan")["4G"].check()


@pytest.mark.parametrize("name", ["latency_s", "energy_j"])
def test_a_point_that_is_not_its_plan_s_is_found_out(study, tmp_path, name):
    output.write(study, tmp_path / "plan")
    path = tmp_path / "plan/4G/frontier.parquet"
    table = parquet.read_table(path)
    better = pa.array(np.array(table.column(name)) * 0.99)
    parquet.write_table(table.set_column(table.column_names.index(name), name, better), path)
    with pytest.raises(TableError, match="is not that of its plan"):
        load_study(tmp_path / "plan")


def test_other_costs_than_those_that_were_written_are_found_out(study, tmp_path):
    output.write(study, tmp_path / "plan")
    path = tmp_path / "plan/4G/problem.npz"
    with np.load(path) as arrays:
        changed = {name: arrays[name] // 2 for name in arrays.files}
    np.savez(path, **changed)
    with pytest.raises(TableError, match="is not what was written"):
        load_study(tmp_path / "plan")


def test_a_folder_of_an_earlier_version_says_so(study, tmp_path):
    output.write(study, tmp_path / "plan")
    (tmp_path / "plan/WiFi/problem.json").unlink()
    with pytest.raises(TableError, match="an earlier version of DIME made it; solve again"):
        load_study(tmp_path / "plan")
    with pytest.raises(TableError, match="is no study's folder"):
        load_study(tmp_path)


def test_a_bomb_is_not_unpacked(study, tmp_path):
    output.write(study, tmp_path / "plan")
    path = tmp_path / "plan/4G/problem.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file, file.open("crossing_ps.npy", "w") as entry:
        for _ in range(2000):
            entry.write(bytes(1 << 20))
    with pytest.raises(TableError, match="too large for a problem"):
        load_study(tmp_path / "plan")


SAID = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_a_damaged_problem_is_one_line(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("damaged")
    problem_files.write(random_problem(1, Goal()), folder)
    said = json.loads((folder / "problem.json").read_text())
    name = data.draw(st.sampled_from(sorted(said)))
    said[name] = data.draw(SAID)
    (folder / "problem.json").write_text(json.dumps(said))
    try:
        problem_files.read(folder)
    except DimeError as error:
        assert "\n" not in str(error)
