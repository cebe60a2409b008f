"""A link that changes over time: read, planned with by its mean, and told in quantiles."""

from dataclasses import replace

import numpy as np
import pytest

from dime.contract.errors import InputError, TableError
from dime.host.planning import plan as plans
from dime.host.planning import traces
from dime.host.planning.formulation import build_problem
from dime.host.planning.goals import Limits
from dime.host.planning.links import Link, load_link
from dime.host.planning.plan import check, describe, read_plan
from dime.host.report import output, page
from dime.host.studies.study import make_study
from tests.host import small

SIZES = (20_000, 8_000, 4_000, 1_000)
TEXT = "time,up,down,rtt\n0,8,24,0.002\n1,80,240,0.001\n4,0.8,2.4,0.1\n5,8,24,0.002\n"
SHARES = np.array([1, 3, 1, 1]) / 6


@pytest.fixture
def trace(tmp_path):
    (tmp_path / "train.csv").write_text(TEXT)
    return str(tmp_path / "train.csv")


def test_each_row_holds_until_the_next(trace):
    rows = traces.read(trace)
    assert [row[0] for row in rows] == pytest.approx(SHARES)
    link = load_link(trace)
    assert (link.name, link.origin) == (trace, "replayed")
    assert link.round_trip_s == pytest.approx(SHARES @ [0.002, 0.001, 0.1, 0.002])
    assert 1 / link.upload_bit_s == pytest.approx(SHARES @ [1 / 8e6, 1 / 80e6, 1 / 0.8e6, 1 / 8e6])


def test_a_transfer_takes_on_average_what_the_link_says(trace):
    link = load_link(trace)
    for upload in (True, False):
        times = traces.transfer_s(link.trace, 12_345, upload)
        assert SHARES @ times == pytest.approx(link.latency_s(12_345, upload))


def test_quantiles_are_those_of_the_time(trace):
    rows = traces.read(trace)
    found = dict(traces.quantiles(rows, np.array([2.0, 1.0, 4.0, 3.0]), (0.05, 0.5, 0.51, 0.67, 0.9, 1.0)))
    assert found == {0.05: 1.0, 0.5: 1.0, 0.51: 2.0, 0.67: 3.0, 0.9: 4.0, 1.0: 4.0}


def made(link, goal="latency"):
    return build_problem(small.profiles(3, 2, 1, 0.05), link, goal, Limits(rule="free"), sizes_bytes=SIZES)


def test_a_plans_quantiles_are_those_of_its_latency_at_each_row(trace, tmp_path):
    link = load_link(trace)
    problem = made(link)
    for _, totals, choices in small.all_plans(problem):
        plan = describe(problem, choices)
        values = []
        for _, trip_s, up, down in link.trace:
            there = made(Link("now", 1 / up, 1 / down, trip_s))
            values.append(describe(there, choices).latency_s)
        assert SHARES @ values == pytest.approx(totals.latency_ps / 1e12, rel=1e-6)
        expected = traces.quantiles(link.trace, np.array(values))
        assert np.allclose(plan.over_trace, expected, rtol=1e-6)
    assert "latency over the link's trace: in 5% at most" in str(plan)
    plan.write(tmp_path / "plan.json")
    read = read_plan(tmp_path / "plan.json")
    assert read.over_trace == plan.over_trace
    check(problem, read)
    with pytest.raises(InputError, match="over the link's trace"):
        check(problem, replace(read, over_trace=((0.5, 1.0),) * 5))


def test_other_links_have_none(trace):
    assert describe(made(small.LINK), small.all_plans(made(small.LINK))[0][2]).over_trace == ()
    assert plans.Plan.__dataclass_fields__["over_trace"].default == ()


def test_two_different_traces_are_not_mixed(trace, tmp_path):
    (tmp_path / "other.csv").write_text(TEXT.replace("80", "40"))
    other = str(tmp_path / "other.csv")
    profiles = small.profiles(2, 3, 1, 0.05)
    pairs = {("d0", "d1"): trace, ("d0", "d2"): other, ("d1", "d2"): None}
    problem = build_problem(profiles, pairs, "latency", Limits(rule="free"), sizes_bytes=SIZES[:3])
    assert describe(problem, small.all_plans(problem)[0][2]).over_trace == ()


def test_plan_report_and_terminal_tell_them(trace, tmp_path):
    profiles = [replace(one, sizes_bytes=SIZES) for one in small.profiles(3, 2, 1, 0.05)]
    study = make_study(profiles, trace, replicates=0)
    text = output.write(study, tmp_path / "out")
    assert "latency over the link's trace" in text
    assert "trace of 4 rows" in text
    (link,) = page._read(tmp_path / "out" / "report.json")[0]["links"]
    assert [one["share"] for one in link["plan"]["over_trace"]] == list(traces.SHARES)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "is empty"),
        ("time,up,down,rtt\n", "0 rows|no rows"),
        ("time,up,down,rtt\n0,1,1,0\n", "has 1 rows; a trace has 2 to 10000"),
        ("time,up,down\n0,1,1\n1,1,1\n", "lacks the columns rtt"),
        ("time,up,down,rtt\n0,1,1,0\n0,1,1,0\n", "line 3: time does not go on"),
        ("time,up,down,rtt\n1,1,1,0\n2,1,1,0\n0,1,1,0\n", "line 4: time does not go on, 2 is followed by 0"),
        ("time,up,down,rtt\n0,0,1,0\n1,1,1,0\n", "line 2: up: 0.0 breaks the rule"),
        ("time,up,down,rtt\n0,1,1,-1\n1,1,1,0\n", "line 2: rtt: -1.0 breaks the rule"),
        ("time,up,down,rtt\n0,nan,1,0\n1,1,1,0\n", "line 2: up: nan is not a finite number"),
        ("time,up,down,rtt\n0,fast,1,0\n1,1,1,0\n", "line 2: up: 'fast' is not float"),
        ("time,up,down,rtt\n0,1,1,0\n1,1,1", "truncated"),
        ("time,up,down,rtt\n" + "".join(f"{at},1,1,0\n" for at in range(10_001)), "has 10001 rows"),
        ("x" * (9 << 20), "larger than 8 MiB"),
    ],
)
def test_a_damaged_trace_is_one_line(tmp_path, text, told):
    (tmp_path / "bad.csv").write_text(text)
    with pytest.raises(TableError, match=told) as found:
        load_link(str(tmp_path / "bad.csv"))
    assert "\n" not in str(found.value)


def test_a_trace_that_is_not_there_is_told():
    with pytest.raises(TableError, match=r"none\.csv: No such file"):
        load_link("none.csv")
