"""overheads.csv, as a profile reads it, and as the term that a plan has of it."""

import math
from dataclasses import replace

import numpy as np
import pytest

from dime.contract import tables
from dime.contract.errors import TableError
from dime.host.analysis import resampling
from dime.host.analysis.resampling import resample
from dime.host.execution import plans
from dime.host.planning import problem_files
from dime.host.planning.accounting import OVERHEAD, PROTOCOL, Accounting
from dime.host.planning.evaluation import evaluate
from dime.host.planning.formulation import build_problem
from dime.host.planning.links import Link
from dime.host.planning.plan import describe
from dime.host.planning.problem import PER_S
from dime.host.profiles import overheads
from dime.host.search.solvers import brute_force
from dime.testing import synthetic

TIMES_S = {"begin": 1e-4, "enter": 2e-4, "leave": 3e-4, "forward": 5e-5, "finish": 6e-5, "cold": 7e-4}
BASE_S, BYTE_S = 1e-4, 1e-9
CHAIN = synthetic.ALEXNET
NOMINAL = Link("made up", 1e7, 1e7, 0.01)


def rows(hertz=-1, rounds=4, times=1.0, hops=((4, 0), (4000, 0), (100_000, 0))):
    """Times that differ from round to round by a known part."""
    for run in range(rounds):
        part = times * (1 + 0.1 * (run - (rounds - 1) / 2))
        made = [(kind, 0, seconds) for kind, seconds in TIMES_S.items()]
        made += [("hop", size, BASE_S + size * BYTE_S) for size, _ in hops]
        for what, size, seconds in made:
            row = {"frequency_hz": hertz, "run": run, "boundary": 0, "what": what, "size_bytes": size}
            yield {**row, "seconds": seconds * part}


def read(folder, given, frequencies_hz=(-1,)):
    path = folder / "overheads.csv"
    path.unlink(missing_ok=True)
    with tables.Writer(str(path), tables.OVERHEADS) as writer:
        writer.write(given)
    return overheads.read(str(path), frequencies_hz)


def test_a_table_tells_each_kind_by_frequency_and_what_a_byte_takes(tmp_path):
    found = read(tmp_path, [*rows(100), *rows(200, times=2.0)], (100, 200))
    for kind, seconds in TIMES_S.items():
        assert found.typical_s[kind] == (pytest.approx(seconds), pytest.approx(2 * seconds))
        assert [len(its) for its in found.rounds_s[kind]] == [4, 4]
    assert found.hop_s(10_000) == pytest.approx(1.5 * (BASE_S + 10_000 * BYTE_S))
    assert found.is_whole and found.mean_s("finish") == pytest.approx(1.5 * 6e-5)
    assert found.first_s(0, 0, True) == pytest.approx(8e-4) and found.first_s(0, 1, False) == pytest.approx(18e-4)
    assert found.first_s(3, 0, True) == pytest.approx(9e-4) and found.last_s(1) == pytest.approx(6e-4)


def test_a_frequency_that_was_not_measured_leaves_it_unknown(tmp_path):
    found = read(tmp_path, rows(100), (100, 200))
    assert not found.is_whole and math.isnan(found.typical_s["enter"][1])
    for kind in (*TIMES_S, "hop"):
        assert read(tmp_path, [row for row in rows() if row["what"] != kind]).is_whole == (kind in ("begin", "cold"))
    one_layer = read(tmp_path, [row for row in rows() if row["what"] != "begin"])
    assert one_layer.is_whole and one_layer.first_s(0, 0, True) == one_layer.first_s(0, 0, False)
    faster = [{**row, "seconds": -1.0} if row["what"] == "cold" else row for row in rows()]
    assert read(tmp_path, faster).first_s(0, 0, True) == 0.0


def test_a_table_of_nonsense_is_refused(tmp_path):
    for change in ({"what": "other"}, {"seconds": 1e9}, {"seconds": math.inf}, {"seconds": -1.0}, {"size_bytes": -1}):
        with pytest.raises(TableError):
            read(tmp_path, [{**next(rows()), **change}])
            pytest.fail(f"{change} was read")
    with pytest.raises(TableError, match="not every kind of overhead has all rounds"):
        read(tmp_path, [row for row in rows() if (row["what"], row["run"]) != ("leave", 2)])


def profiles(folder):
    edge, server = synthetic.profile(CHAIN, frequencies_hz=(100, 200)), synthetic.server(CHAIN)
    clocks = [*rows(100), *rows(200, times=0.5)]
    return [
        replace(edge, overheads=read(folder, clocks, (100, 200))),
        replace(server, overheads=read(folder, rows(-1, times=3.0), (-1,))),
    ]


def test_a_plan_has_what_each_device_and_the_transport_take(tmp_path):
    pair = profiles(tmp_path)
    with_it = build_problem(pair, NOMINAL, "latency")
    without = build_problem(pair, NOMINAL, "latency", accounting=Accounting(terms="protocol"))
    for choices in [one for one in brute_force.plans(with_it) if not evaluate(with_it, one).broken][:300]:
        devices = [one.device for one in choices]
        goes = [(one.device, one) for at, one in enumerate(choices) if at == 0 or devices[at - 1] != one.device]
        ends = [one for at, one in enumerate(choices) if at == len(choices) - 1 or devices[at + 1] != one.device]
        expected_s = 0.0
        for at, (device, one) in enumerate(goes):
            column = with_it.devices[device].frequencies_hz.index(one.frequency_hz)
            expected_s += pair[device].overheads.first_s(one.bundle.first, column, device == 0)
            last = ends[at]
            column = with_it.devices[device].frequencies_hz.index(last.frequency_hz)
            expected_s += pair[device].overheads.last_s(column)
        here, crossed = 0, []
        for device, one in goes:
            crossed += [one.bundle.first] if device != here else []
            here = device
        crossed += [len(CHAIN.layers)] if here else []
        for boundary in crossed:
            size = with_it.sizes_bytes[boundary]
            expected_s += sum(one.overheads.hop_s(size) for one in pair) / 2
        expected_s += pair[0].overheads.mean_s("forward") if 0 in crossed else 0.0
        expected_s += pair[0].overheads.mean_s("finish") if len(CHAIN.layers) in crossed else 0.0
        more_ps = evaluate(with_it, choices).latency_ps - evaluate(without, choices).latency_ps
        assert more_ps / PER_S == pytest.approx(expected_s, abs=1e-11)
        term = next(one for one in describe(with_it, choices).terms if one.term == OVERHEAD)
        assert term.latency_s == pytest.approx(expected_s, abs=1e-11) and "by its profile" in term.source


def test_a_link_that_was_measured_has_the_transport_in_its_numbers(tmp_path):
    pair = profiles(tmp_path)
    measured = replace(NOMINAL, origin="measured", passes=((0.01, 1e-7, 1e-7), (0.0101, 1e-7, 1e-7)))
    known, nominal = (build_problem(pair, link, "latency").terms.crossing[OVERHEAD][0] for link in (measured, NOMINAL))
    assert (nominal[:, 0, 1] > known[:, 0, 1]).all()
    assert not known[1:-1].any() and known[0, 0, 1] and known[-1, 1, 0]


def test_what_was_not_measured_is_named_and_a_problem_is_read_as_it_was_written(tmp_path):
    pair = profiles(tmp_path)
    made = build_problem([pair[0], replace(pair[1], overheads=None)], NOMINAL, "latency")
    assert [(one.of, one.reason) for one in made.terms.missing if one.term == OVERHEAD] == [
        (pair[1].device, "profile it again"),
        (pair[0].device, "what bundles take longer behind a wait: profile it again"),
    ]
    assert made.terms.first_ps[OVERHEAD][1] is None and made.terms.first_ps[OVERHEAD][0] is not None
    problem_files.write(made, tmp_path)
    again = problem_files.read(tmp_path)
    choices = next(c for c in brute_force.plans(made) if len(c) == 2)
    assert evaluate(again, choices) == evaluate(made, choices)
    left_out = build_problem(pair, NOMINAL, "latency", accounting=Accounting(terms=PROTOCOL))
    assert OVERHEAD not in left_out.terms.first_ps and OVERHEAD not in left_out.terms.crossing


def test_rounds_tell_how_far_it_may_be_off(tmp_path):
    pair = profiles(tmp_path)
    made = build_problem(pair, NOMINAL, "latency")
    choices = next(c for c in brute_force.plans(made) if len(c) == 1 and c[0].device == 1)
    certain = [replace(one, overheads=replace(one.overheads, rounds_s={
        kind: tuple(np.full_like(its, its.mean()) for its in of) for kind, of in one.overheads.rounds_s.items()
    })) for one in pair]  # fmt: skip
    widths = []
    for given in (certain, pair):
        low_s, high_s = resample(made, given, 4).interval(choices, (), "latency")
        widths.append((high_s - low_s) / 2)
    rounds_s = pair[1].overheads.first_rounds_s(0, 0, False) + pair[1].overheads.rounds_s["leave"][0]
    error_s = rounds_s.std(ddof=1) / 2
    assert widths[1] > widths[0] and widths[1] ** 2 - widths[0] ** 2 > error_s**2
    assert resampling.resample(made, pair, 4).terms.first_ps[OVERHEAD][1].std(axis=0).any()


def test_each_stage_of_a_plan_has_its_own_part(tmp_path):
    """What the planner counts to one term is told where a run measures it: compute, crossings, and each device."""
    pair = profiles(tmp_path)
    made = build_problem(pair, NOMINAL, "latency")
    devices = [type("Device", (), {"name": one.device, "profile": one, "run": None}) for one in pair]
    for choices in [one for one in brute_force.plans(made) if not evaluate(made, one).broken][:300]:
        plan = describe(made, choices)
        parts = plans.parts_of(made, devices, plan, choices)
        assert sum(part.predicted_s for part in parts) == pytest.approx(plan.latency_s)
        for part in parts:
            if part.cause == "overhead":
                assert part.predicted_s > 0 and part.interval_s[0] < part.predicted_s < part.interval_s[1]
        if len(choices) == 1 and choices[0].device == 1:
            told = {(part.cause, part.device): part.predicted_s for part in parts if part.cause != "crossing"}
            assert told["overhead", pair[0].device] == pytest.approx(5e-5 * 0.75 + 6e-5 * 0.75)
            assert told["overhead", pair[1].device] == pytest.approx(3 * (2e-4 + 3e-4))
            alone_s = pair[1].means.duration_s[made.bundles.index(choices[0].bundle), 0]
            assert told["compute", pair[1].device] == pytest.approx(alone_s + 3 * 7e-4)
