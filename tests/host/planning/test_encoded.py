"""ENCODE=: fewer bytes cross, encoding and decoding take what was measured, and the effect on the result is told."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from dime.contract.bundles import Bundle
from dime.contract.errors import InputError, TableError
from dime.host.analysis import resampling
from dime.host.analysis.break_even import best_plans
from dime.host.common.units import quantity
from dime.host.planning import problem_files
from dime.host.planning.accounting import Accounting
from dime.host.planning.evaluation import evaluate
from dime.host.planning.formulation import build_problem
from dime.host.planning.goals import Goal, Limits
from dime.host.planning.links import Link
from dime.host.planning.plan import check, describe, read_plan
from dime.host.planning.problem import Choice, Device, Problem
from dime.host.planning.solution import make_plan
from dime.host.planning.terms import ENCODING, PROTOCOL, Terms
from dime.host.profiles.encodings import Encoding
from dime.host.report import overview, sentences
from dime.host.search.solvers import brute_force, exact, highs, solve
from dime.host.studies.study import make_study
from dime.testing import synthetic
from tests.host.planning import timeline

CHAIN = synthetic.ALEXNET
JPEG, HALF = "input:jpeg90", "features:float16"


def coded(profile, per_mb_s=0.004, **changes):
    """The same profile, with encodings that take so long for each MB at its fastest clock."""
    top, found = max(profile.frequencies_hz), {}
    sizes = CHAIN.sizes_bytes
    for boundary, name, part in [(0, "uint8", 4), (0, "jpeg90", 25), *((at, "float16", 2) for at in range(1, 8))]:
        time_s = [sizes[boundary] / 1e6 * per_mb_s * (top / hz if hz > 0 else 1) for hz in profile.frequencies_hz]
        less = sizes[boundary] // part
        found[boundary, name] = Encoding(
            tuple(time_s), tuple(one / 2 for one in time_s), less, less * (1 + (name == "jpeg90")), sizes[boundary],
            0.875, 0.02, 8,
        )  # fmt: skip
    return replace(profile, encodings={**found, **changes.get("more", {})})


def profiles():
    edge = synthetic.profile(CHAIN, frequencies_hz=(100, 200))
    return [coded(replace(edge, idle_w=(1.0, 1.5))), coded(synthetic.server(CHAIN), 0.0005)]


def problem(encode="", goal="latency", link="4G", limits=None, given=None, **accounting):
    return build_problem(given or profiles(), link, goal, limits, accounting=Accounting(encode=encode, **accounting))


def on_server(made):
    return next(c for c in brute_force.plans(made) if len(c) == 1 and c[0].device == 1)


def test_the_encoded_input_crosses_and_what_encoding_takes_is_charged():
    plain, made = problem(), problem(JPEG)
    before, after = describe(plain, on_server(plain)), describe(made, on_server(made))
    size = CHAIN.sizes_bytes[0]
    assert after.transfers[0].size_bytes == size // 25
    line = next(one for one in after.terms if one.term == "encoding")
    assert line.latency_s == pytest.approx(size / 1e6 * (0.004 + 0.0005 / 2))  # by the fastest clock, then the server
    watts = made.terms.working_w[0][1]
    assert line.energy_j == pytest.approx(watts * size / 1e6 * 0.004)
    saved_s = before.latency_s - after.latency_s
    air_s = (size - size // 25) * 8 / made.joined[0, 1].upload_bit_s
    assert saved_s == pytest.approx(air_s - line.latency_s)
    waited = {one.term: one.energy_j for one in after.terms}["waiting"]
    choices = on_server(made)
    longer_s = made.terms.beyond_ps[1][made.bundles.index(choices[0].bundle), 0] / 1e12
    asked_s = after.latency_s - size / 1e6 * 0.004 + longer_s
    assert waited == pytest.approx(1.0 * asked_s), "the device works while it encodes"
    assert line.origin == "modelled" and "times of nano and bytes (means), by its profile" in line.source


def test_what_it_does_to_the_result_and_that_sizes_are_means_is_told():
    made = problem(f"{JPEG},{HALF}")
    text = " ".join(str(describe(made, on_server(made))).split())
    size = CHAIN.sizes_bytes[0]
    assert (
        f"sent encoded: input as jpeg90, {size // 25} B on average, up to {size // 25 * 2} B instead of {size} B; first"
        " class the same in 7 of 8, result off by 0.02 of it modelled" in text
    )
    assert "float16" not in text, "no features cross"
    plain = problem()
    told = next(str(one) for one in plain.terms.missing if one.of == "the input")
    assert told.startswith("encoding of the input: it is sent as it was profiled (float32")
    assert "ENCODE=input:uint8 or input:jpeg90 sends less" in told
    bare = problem(given=[replace(one, encodings=None) for one in profiles()])
    assert "a profile with ENCODE=all tells what less gives" in " ".join(map(str, bare.terms.missing))


@pytest.mark.parametrize("goal", ["latency", "energy", "throughput", "weighted:1,0.5"])
@pytest.mark.parametrize("rule", ["free", "merged"])
def test_every_plan_costs_what_a_timeline_says(goal, rule):
    made = problem(f"{JPEG},{HALF}", goal, limits=Limits(rule=rule, frequencies_hz={"nano": (100,)}))
    compared = 0
    for choices in brute_force.plans(made):
        totals = evaluate(made, choices)
        if totals.broken:
            continue
        played = timeline.play(made, choices)
        assert (totals.latency_ps, totals.period_ps) == (played.now, max(played.stages.values()))
        assert totals.energy_pj == pytest.approx(played.energy, abs=5)
        compared += 1
        if compared == 200:
            break
    assert compared > 10
    best = min(
        (
            evaluate(made, choices).value(made)
            for choices in brute_force.plans(made)
            if not evaluate(made, choices).broken
        ),
    )
    assert evaluate(made, solve(made).choices).value(made) == pytest.approx(best, rel=1e-12)


MILLISECOND = 10**9
ALL_AWAY, BACK_AGAIN, OVER, ALL_HOME = (
    (Choice(Bundle(0, 1), 1, 1),),
    (Choice(Bundle(0, 0), 1, 1), Choice(Bundle(1, 1), 0, 1)),
    (Choice(Bundle(0, 0), 0, 1), Choice(Bundle(1, 1), 1, 1)),
    (Choice(Bundle(0, 1), 0, 1),),
)


def by_hand(input_ms, edge_ms, server_ms, up_ms=(10, 50, 0), down_ms=(0, 4, 2), duplex=True, **terms):
    """Two layers: what a device takes for the first, for both, and for the second."""
    crossing_ps = np.zeros((3, 2, 2), np.int64)
    crossing_ps[:, 0, 1], crossing_ps[:, 1, 0] = np.array(up_ms) * MILLISECOND, np.array(down_ms) * MILLISECOND
    devices = tuple(
        Device(name, (1,), np.array(times)[:, None] * MILLISECOND, np.zeros((3, 1), np.int64))
        for name, times in (("edge", edge_ms), ("server", server_ms))
    )
    return Problem(
        "by hand", ("a", "b"), 2, devices, crossing_ps, np.zeros_like(crossing_ps), (9, 9, 9), Goal("throughput"),
        Limits(rule="free"), joined={(0, 1): Link("x", 1e6, 1e6, duplex=duplex)},
        terms=Terms(input_ps=np.array([input_ms]) * MILLISECOND, **terms),
    )  # fmt: skip


def periods_ms(made, *plans):
    return [evaluate(made, plan).period_ps / MILLISECOND for plan in plans]


def test_in_a_pipeline_the_input_is_encoded_in_the_stage_of_the_device_that_does_it():
    made = by_hand(7, (40, 90, 6), (5, 12, 30))
    assert periods_ms(made, ALL_AWAY, BACK_AGAIN, OVER, ALL_HOME) == [12, 7 + 6, 50, 90]
    assert solve(made).choices == ALL_AWAY, "the link's 10 ms and the 7 ms before them are two stages"
    slow = by_hand(20, (40, 90, 6), (5, 12, 30))
    assert periods_ms(slow, ALL_AWAY, BACK_AGAIN) == [20, 26]
    assert evaluate(slow, ALL_AWAY).latency_ps == (20 + 10 + 12 + 2) * MILLISECOND, "a latency is the sum it was"


def test_a_device_that_encodes_the_input_and_takes_up_the_chain_later_does_both_in_one_stage():
    """On the link's stage, the encoding made another plan the best one, and another stage the slowest."""
    made = by_hand(9, (40, 90, 12), (5, 20, 30))
    on_link = replace(made, terms=replace(made.terms, input_on_link=True))
    assert periods_ms(made, ALL_AWAY, BACK_AGAIN) == [20, 9 + 12]
    assert periods_ms(on_link, ALL_AWAY, BACK_AGAIN) == [20, 9 + 10]
    for solver in (exact, highs, brute_force):
        assert solver.solve(made, 60, 0).choices == ALL_AWAY, solver.__name__
        assert solver.solve(on_link, 60, 0).choices == BACK_AGAIN, solver.__name__
    plan = make_plan(made, solve(made))
    assert plan.period_s == pytest.approx(0.020) and "slowest stage: 0.02 s" in str(plan)


def test_what_the_protocol_and_both_ways_of_a_half_duplex_link_take_is_the_link_s_and_the_rest_the_devices():
    header = np.zeros((3, 2, 2), np.int64)
    header[:, 0, 1] = header[:, 1, 0] = 5 * MILLISECOND
    table = np.full((3, 1), MILLISECOND)
    own = {
        "first_ps": {ENCODING: (None, table * 8)},  # the server decodes what arrives
        "last_ps": {ENCODING: (None, table * 16)},  # and encodes what leaves it
        "crossing": {PROTOCOL: (header, np.zeros_like(header))},
    }
    made = by_hand(7, (40, 90, 6), (5, 12, 30), duplex=False, **own)
    half = 10 + 5 + 4 + 5
    assert periods_ms(made, BACK_AGAIN) == [max(7 + 6, half, 5 + 8 + 16)] == [29]
    made = by_hand(7, (40, 90, 6), (5, 12, 30), duplex=False, crossing=own["crossing"])
    assert periods_ms(made, BACK_AGAIN) == [half]
    assert periods_ms(replace(made, terms=replace(made.terms, input_on_link=True)), BACK_AGAIN) == [half + 7]
    played = timeline.play(made, BACK_AGAIN)
    assert dict(played.stages) == {(0, 0): 13 * MILLISECOND, (0, 1): half * MILLISECOND, (1, 1): 5 * MILLISECOND}


def test_a_problem_of_an_earlier_version_counts_it_as_that_did(tmp_path):
    made = by_hand(9, (40, 90, 12), (5, 20, 30))
    earlier = replace(made, terms=replace(made.terms, input_on_link=True))
    plan = make_plan(earlier, solve(earlier))
    problem_files.write(made, tmp_path)
    assert solve(problem_files.read(tmp_path)).choices == ALL_AWAY
    said = json.loads((tmp_path / "problem.json").read_text())
    said["version"] = 3
    del said["terms"]["input_on_link"]
    (tmp_path / "problem.json").write_text(json.dumps(said))
    again = problem_files.read(tmp_path)
    check(again, plan)
    assert solve(again).choices == BACK_AGAIN
    (tmp_path / "anew").mkdir()
    problem_files.write(again, tmp_path / "anew")
    check(problem_files.read(tmp_path / "anew"), plan)


def test_sending_less_changes_the_plan_where_it_is_worth_it():
    given = [coded(synthetic.profile(CHAIN)), coded(synthetic.server(CHAIN))]
    plain, made = problem(given=given), problem(JPEG, given=given)
    assert solve(plain).choices != solve(made).choices
    assert make_plan(made, solve(made)).latency_s < 0.9 * make_plan(plain, solve(plain)).latency_s


def test_a_map_over_the_bandwidth_ends_at_the_plan_itself():
    made = problem(f"{JPEG},{HALF}", "energy")
    found = best_plans(made)
    region = found.chosen
    assert float(region.constant + region.slope) == pytest.approx(make_plan(made, solve(made)).value, rel=1e-9)
    trips = best_plans(made, vary="round_trip").chosen
    assert evaluate(made, trips.choices).value(made) == pytest.approx(make_plan(made, solve(made)).value, rel=1e-9)


def test_it_is_written_and_read_back_and_checked(tmp_path):
    made = problem(f"{JPEG},{HALF}", limits=Limits(rule="free"))
    plan = make_plan(made, solve(made))
    assert plan.encoded
    plan.write(tmp_path / "plan.json")
    problem_files.write(made, tmp_path)
    again = problem_files.read(tmp_path)
    assert again.terms.encoded == made.terms.encoded and again.sizes_bytes == made.sizes_bytes
    assert again.terms.input_ps.tolist() == made.terms.input_ps.tolist()
    check(again, read_plan(tmp_path / "plan.json"))
    with pytest.raises(InputError, match="says of what is sent encoded what the problem does not"):
        check(made, replace(plan, encoded=()))
    said = json.loads((tmp_path / "problem.json").read_text())
    said["terms"]["encoded"][0]["boundary"] = 8
    (tmp_path / "problem.json").write_text(json.dumps(said))
    with pytest.raises(TableError, match="is no tensor of this network"):
        problem_files.read(tmp_path)


@pytest.mark.parametrize(
    ("encode", "line"),
    [
        ("input:gif", "unknown encoding of input 'gif'"),
        ("output:uint8", "'output:uint8' is no encoding such as"),
        ("all", "ENCODE=all is for a profile"),
        ("input:uint8,input:jpeg90", "the input cannot be sent as uint8 and as jpeg90"),
        (
            "input:jpeg50",
            r"ENCODE=input:jpeg50: the profile of nano has not measured it \(measured: features:float16, in",
        ),
        ("features:uint8", "ENCODE=features:uint8: the profile of nano has not measured it"),
    ],
)
def test_what_cannot_be_is_one_line(encode, line):
    with pytest.raises(InputError, match=line) as refused:
        problem(encode)
    assert "\n" not in str(refused.value)


def test_a_device_without_the_codec_a_clock_without_times_and_another_tensor_are_refused():
    edge, server = profiles()
    with pytest.raises(
        InputError, match="the profile of wiscad has not measured it; profile it with ENCODE=input:jpeg90"
    ):
        problem(JPEG, given=[edge, replace(server, encodings=None)])
    one = edge.encodings[0, "jpeg90"]
    cut = coded(edge, more={(0, "jpeg90"): replace(one, encode_s=(0.1, math.nan))})
    with pytest.raises(InputError, match="ENCODE=input:jpeg90: nano has not measured it at 200 Hz; profile it again"):
        problem(JPEG, given=[cut, server])
    other = coded(edge, more={(0, "jpeg90"): replace(one, plain_bytes=5)})
    with pytest.raises(InputError, match="has encoded 5 bytes before layer conv1, and 602112 are planned with"):
        problem(JPEG, given=[other, server])
    with pytest.raises(InputError, match="asks for the term encoding, which TERMS=none leaves out"):
        problem(JPEG, terms="none")
    for endless in (1e300, math.inf):
        slow = coded(edge, more={(0, "jpeg90"): replace(one, encode_s=(endless, endless))})
        with pytest.raises(InputError, match="a plan could take 53 days"):
            problem(JPEG, given=[slow, server])


def test_the_published_arithmetic_leaves_it_out_and_says_so():
    given = profiles()
    plain = build_problem(given, "4G", arithmetic="published")
    made = build_problem(given, "4G", arithmetic="published", accounting=Accounting(encode=JPEG))
    assert made.sizes_bytes == plain.sizes_bytes and made.terms.is_empty
    assert any(line.startswith("ENCODE=input:jpeg90 is left out") for line in made.warnings)


def test_a_study_says_what_another_encoding_of_the_input_would_give():
    given = [coded(synthetic.profile(CHAIN)), coded(synthetic.server(CHAIN))]
    found = make_study(given, "4G", replicates=0)
    others = {one.encoding: one for one in found.links[0].other_inputs}
    assert set(others) == {"uint8", "jpeg90"} and others["jpeg90"].value < others["uint8"].value
    sent = make_study(given, "4G", replicates=0, accounting=Accounting(encode=JPEG))
    assert sent.links[0].plan.value == pytest.approx(others["jpeg90"].value)
    assert [one.encoding for one in sent.links[0].other_inputs] == ["uint8"]
    told = " ".join(" ".join(sentences.lines(found.links[0], 100)).split())
    assert (
        "with ENCODE=input:jpeg90 (24.1 kB; first class the same in 7 of 8, result off by 0.02 of it) the best" in told
    )


def varying():
    """Profiles that have encoded in three rounds, which differ."""
    given = []
    for profile in (synthetic.profile(CHAIN), synthetic.server(CHAIN)):
        made = coded(profile)
        rounds = {
            key: replace(
                one,
                encode_rounds_s=tuple(np.outer([0.9, 1.0, 1.1], [time_s, time_s]) for time_s in one.encode_s),
                decode_rounds_s=tuple(np.outer([0.9, 1.0, 1.1], [time_s, time_s]) for time_s in one.decode_s),
            )
            for key, one in made.encodings.items()
        }
        given.append(replace(made, encodings=rounds))
    return given


def test_features_alone_are_drawn_too():
    """What is encoded varies, and the input is not among it."""
    given = varying()
    for encode in (HALF, JPEG, f"{JPEG},{HALF}"):
        found = make_study(given, "WiFi", replicates=20, accounting=Accounting(encode=encode))
        assert found.links[0].uncertainty is not None


def test_replicates_of_a_pipeline_have_their_own_encoding_in_the_edge_device_s_stage():
    given = varying()
    made = build_problem(given, "WiFi", "throughput", accounting=Accounting(encode=JPEG))
    samples = resampling.resample(made, given, 3)
    assert len(set(samples.terms.input_ps[:, 0].tolist())) > 1
    own = [
        replace(
            made.with_costs([d[at] for d in samples.latency_ps], [d[at] for d in samples.energy_pj]),
            terms=resampling._replicate(samples.terms, at),
        )
        for at in range(3)
    ]
    last, edge_hz, server_hz = (
        len(made.layers) - 1,
        made.devices[0].frequencies_hz[-1],
        made.devices[1].frequencies_hz[0],
    )
    away = Choice(Bundle(0, last), 1, server_hz)
    back = Choice(Bundle(0, 1), 1, server_hz), Choice(Bundle(2, last), 0, edge_hz)
    for choices in ((away,), back, solve(made).choices):
        costs = samples.costs(choices)
        for at, one in enumerate(own):
            played = timeline.play(one, choices)
            assert costs.period_ps[at] == evaluate(one, choices).period_ps == max(played.stages.values())
    for at, found in enumerate(samples.trade_offs(60.0)):
        assert sorted(found.values) == sorted(exact.trade_offs(own[at], 60.0).values)


def test_the_overview_says_how_what_crosses_is_sent_and_what_less_would_give():
    given = [coded(synthetic.profile(CHAIN)), coded(synthetic.server(CHAIN))]
    how = Accounting(encode="input:uint8,features:float16")
    text = " ".join(overview.text(make_study(given, "4G,WiFi", replicates=0, accounting=how)).split())
    told = "first class the same in 7 of 8, result off by 0.02 of it"
    assert f"sent: input as uint8, 4.0 times fewer bytes; {told}" in text
    assert f"sent: features as float16, 2.0 times fewer bytes; at worst {told}" in text
    best = {name: make_study(given, name, replicates=0, accounting=Accounting(encode=f"{JPEG},{HALF}")).links[0].plan
            for name in ("4G", "WiFi")}  # fmt: skip
    gives = ", ".join(f"{name} {quantity(plan.value, 's')}" for name, plan in best.items())
    assert f"with the input as jpeg90 (24.1 kB; {told}) the best plans take: {gives}" in text
    assert "sent:" not in overview.text(make_study(given, "WiFi", replicates=0))
