"""What is odd in a table is told, with the row or the ratio; what is usual is not."""

from dataclasses import replace

import numpy as np
import pytest

from dime.contract.errors import TableError
from dime.host.cli import main as cli
from dime.host.planning import plan
from dime.host.planning.formulation import build_problem
from dime.host.planning.plan import read_plan
from dime.host.planning.solution import make_plan
from dime.host.profiles.oddities import of_profiles, of_runs
from dime.host.profiles.profiles import load_profile
from dime.host.report import report_data, terminal
from dime.host.search.solvers import solve
from dime.host.studies.study import make_study
from dime.testing import synthetic
from tests.host.profiles.test_published_table import COLUMNS

SIZES = (4000, 3000, 2000, 1000)


def table(**changes):
    columns = {**COLUMNS, **changes}
    return [list(columns), *map(list, zip(*columns.values(), strict=True))]


def durations(**by_row):
    """The usual durations, but for those of some rows, counted from 1."""
    values = [[2.0, 5.0, 9.0, 3.0, 7.0, 4.0][at // 3] + at % 3 / 8 for at in range(18)]
    for row, value in by_row.items():
        values[int(row.removeprefix("row")) - 1] = value
    return values


@pytest.fixture
def load(tmp_path):
    def write_and_load(rows, name="server", **options):
        path = tmp_path / f"{name}.csv"
        path.write_text("".join(",".join(map(str, row)) + "\n" for row in rows))
        return load_profile(path, device=name, network="net", **options)

    return write_and_load


def test_a_usual_table_has_nothing_odd(load):
    edge, server = load(table(durs=durations()), "edge"), load(table(durs=durations()), "server")
    assert build_problem([edge, server], "WiFi", sizes_bytes=SIZES).warnings == ()
    for profile in (synthetic.profile(synthetic.ALEXNET), synthetic.server(synthetic.VIT)):
        assert of_profiles([profile], profile.sizes_bytes, profile.layer_bytes) == ()


class TestRepeats:
    def test_rows_that_are_there_twice_count_once(self, load):
        rows = table(durs=durations())
        once, twice = load(rows), load([*rows, *rows[1:]], "twice")
        assert np.array_equal(once.run_duration_s, twice.run_duration_s)
        assert [line.partition(": ")[2] for line in twice.warnings] == [
            "row 19 repeats row 1; 18 of 36 rows do so and are left out"
        ]

    @pytest.mark.parametrize("changes", [{"run": [0] * 18}, {"run": [0] * 18, "iter": [0] * 18}])
    def test_one_number_for_runs_that_differ_is_refused(self, load, changes):
        with pytest.raises(
            TableError, match=r"rows 1 and 2 are both run 0 of pass 0 of bundle 'conv1', with different"
        ):
            load(table(durs=durations(), **changes))

    def test_a_table_without_numbers_that_is_there_twice(self, load):
        rows = [row[:2] for row in table(durs=durations())]
        assert load(rows).warnings == ()
        assert "every row is there 2 times" in load([*rows, *rows[1:]], "twice").warnings[0]

    def test_a_coarse_clock_repeats_times(self, load):
        assert load([row[:2] for row in table(durs=[round(value) for value in durations()])]).warnings == ()


def test_zeros_are_told(load):
    (line,) = load(table(durs=durations(row5=0, row6=0))).warnings
    assert line.endswith("server.csv: the duration in row 5, of bundle 'conv1_conv2', is 0; so are 2 of 18")
    energies = [0 if at == 16 else 5 for at in range(18)]
    assert (
        "the energy in row 17, of bundle 'fc1', is 0" in load(table(durs=durations(), run_energy=energies)).warnings[0]
    )


@pytest.mark.parametrize(("value", "ratio"), [(900_000, "424000 times"), (0.002, "1/1000 of"), (300, "141 times")])
def test_a_run_far_from_the_others_is_told(load, value, ratio):
    (line,) = load(table(durs=durations(row3=value))).warnings
    assert "row 3, of bundle 'conv1', took " in line and f"{ratio} the median of its runs; 1 of 18 rows" in line


def test_so_is_its_energy(load):
    energies = [3e6 if at == 4 else 5e3 for at in range(18)]
    (line,) = load(table(durs=durations(), run_energy=energies)).warnings
    assert "row 5, of bundle 'conv1_conv2', has 3.00 J, 600 times the median of its runs; 1 of 18 rows" in line


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "values", [(1e300, 5e-324), (5e-324, 1e300), (0, 5e-324), (1e300, 0), (5e-324, 5e-324), (0, 0)]
)
def test_no_number_is_too_odd(load, values):
    times = [values[at % 2] if at < 6 else values[1 - at % 2] for at in range(18)]
    one, other = load(table(durs=times, run_energy=times), "one"), load(table(durs=durations()), "other")
    for profiles in ([one, other], [other, one], [one, replace(one, run_duration_s=one.run_duration_s[::-1].copy())]):
        assert all(line.isprintable() for line in of_profiles(profiles, SIZES, (10**18,) * 3))


def test_noise_is_not(load):
    assert load(table(durs=durations(row3=40))).warnings == ()  # 40 ms among 2 ms
    assert load(table(durs=[value / 1000 for value in durations(row3=40)])).warnings == ()


def test_less_time_than_a_part_takes(load):
    edge = load(table(durs=durations(row7=1.0, row8=1.0, row9=1.0)))
    (line,) = of_profiles([edge], SIZES, None)
    assert "bundle 'conv1_conv2_fc1' takes 1.00 ms, 1/7.12 of what a part of it takes; 1 of 6 bundles" in line


def test_less_time_than_bytes_take(load):
    edge = load(table(durs=durations()))
    assert of_profiles([edge], SIZES, (4000, 3000, 10**8)) == ()
    (line,) = of_profiles([edge], SIZES, (4000, 3000, 10**11))
    assert "more than any memory delivers; the durations of " in line and line.endswith("is it CSV_UNIT=s?")


class TestUnits:
    def test_seconds_taken_for_milliseconds(self, load):
        edge = synthetic.profile(synthetic.ALEXNET)
        server = replace(synthetic.server(synthetic.ALEXNET), path="s.csv", unit_taken="ms")
        quick = replace(server, run_duration_s=server.run_duration_s / 1000)
        assert of_profiles([edge, server], edge.sizes_bytes, None) == ()
        lines = of_profiles([edge, quick], edge.sizes_bytes, None)
        assert any(
            "times as fast as nano; the durations of s.csv were read as ms: is it CSV_UNIT=s?" in line for line in lines
        )
        assert of_profiles([edge, replace(quick, unit_taken="")], edge.sizes_bytes, None) == ()

    def test_milliseconds_taken_for_seconds(self, load):
        slow = load(table(durs=durations()), "slow", duration_unit="s")
        edge = load(table(durs=durations()), "edge")
        (line,) = of_profiles([edge, slow], SIZES, None)
        assert line.startswith("edge is 1000 times as fast as slow; the durations of ")
        assert line.endswith(("is it CSV_UNIT=s?", "is it CSV_UNIT=ms?"))


def test_it_reaches_terminal_plan_and_report(load, tmp_path):
    edge, server = load(table(durs=durations(row3=900_000))), synthetic_server(load)
    study = make_study([edge, server], "3G,WiFi", sizes_bytes=SIZES, replicates=0)
    warnings = study.links[0].problem.warnings
    assert len(warnings) == 2  # the mean of three runs, of which none is trimmed, is beyond that of what contains them
    text = " ".join(terminal.text(study).split())
    assert text.count("warning: ") == 2 and "took 900 s, 424000 times the median" in text
    assert max(map(len, terminal.sources(study))) <= 100
    study.links[1].plan.write(tmp_path / "plan.json")
    assert read_plan(tmp_path / "plan.json").warnings == warnings
    assert f"    warning: {warnings[0]}" in str(make_plan(study.links[0].problem, solve(study.links[0].problem)))
    assert report_data.collect(study)["warnings"] == list(warnings)


def synthetic_server(load):
    return load(table(durs=[value / 4 for value in durations()]), "other")


def test_plans_without_warnings_are_still_read(tmp_path):
    problem = build_problem([synthetic.profile(synthetic.ALEXNET), synthetic.server(synthetic.ALEXNET)], "WiFi")
    made = make_plan(problem, solve(problem))
    made.write(tmp_path / "plan.json")
    text = (tmp_path / "plan.json").read_text()
    (tmp_path / "old.json").write_text(text.replace(',\n "warnings": []', ""))
    assert "warnings" not in (tmp_path / "old.json").read_text()
    assert plan.read_plan(tmp_path / "old.json") == made


def test_the_dialect_is_told_in_a_line(load, tmp_path):
    (tmp_path / "semi.csv").write_text(
        "".join(";".join(map(str, row)).replace(".", ",") + "\n" for row in table(durs=durations()))
    )
    study = make_study(
        [load_profile(tmp_path / "semi.csv"), synthetic_server(load)], "3G", sizes_bytes=SIZES, replicates=0
    )
    assert "    its table was read with semicolons, decimal commas" in terminal.text(study).splitlines()
    assert report_data.collect(study)["sources"][0]["dialect"] == "semicolons, decimal commas"


def test_a_sweep_warns(load, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    load(table(durs=durations(row3=900_000)), "edge")
    load(table(durs=durations()), "server")
    words = ["sweep", "--net=net", "--edge=edge.csv", "--server=server.csv", "--link=WiFi", "--edge-power=5"]
    assert cli.main([*words, "--sizes=4000,3000,2000,1000"]) == 0
    assert capsys.readouterr().err.startswith("warning: edge.csv: row 3, of bundle 'conv1', took 900 s")


def test_rows_are_counted_before_repeats_are_left_out(load):
    rows = table(durs=durations(row18=0))
    lines = load([rows[0], rows[1], *rows[1:]]).warnings
    assert "row 2 repeats row 1" in lines[0] and "the duration in row 19" in lines[1]


def test_runs_by_themselves():
    profile = synthetic.profile(synthetic.ALEXNET, runs=4, frequencies_hz=(100, 200))
    first, last = (np.repeat(ends, 8) for ends in profile.bounds)
    from dime.host.profiles.profiles import RawRuns

    runs = RawRuns(first, last, np.tile(np.repeat([100, 200], 4), 36), profile.run_duration_s.copy(), None)
    assert of_runs(runs, profile.layers, "t") == []
    runs.duration_s[13] *= 1e6
    assert "row 14, of bundle 'conv1_conv2' at 200 Hz, took" in of_runs(runs, profile.layers, "t")[0]
