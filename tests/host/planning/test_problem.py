"""The problem, its costs and what building one refuses."""

from dataclasses import replace

import numpy as np
import pytest

from dime.contract.bundles import Bundle
from dime.contract.errors import InputError
from dime.host.planning.accounting import Accounting
from dime.host.planning.formulation import build_problem
from dime.host.planning.goals import Limits
from dime.host.planning.solution import make_plan
from dime.host.profiles.profiles import RawRuns, from_runs
from dime.host.search.frontier import frontier
from dime.host.search.solvers import solve
from dime.testing import synthetic

SIZES = (602112, 186624, 129792, 259584, 173056, 36864, 16384, 16384, 4000)


def one_run(device, frequency_hz, cost, with_energy):
    """A profile with one run a bundle; ``cost(first, last)`` gives seconds and joules."""
    bundles = [(first, last) for first in range(8) for last in range(first, 8)]
    first, last = np.array(bundles, dtype=np.int64).T
    seconds, joules = np.array([cost(*bundle) for bundle in bundles]).T
    runs = RawRuns(first, last, np.full(36, frequency_hz), seconds, joules if with_energy else None)
    return from_runs(runs, device=device, network="alexnet", layers=synthetic.ALEXNET.layers, path=device)


NO_TERMS = Accounting(terms="none")


def golden(arithmetic):
    nano = one_run(
        "nano", 691200000, lambda a, b: (0.016872313541546464, 0.08958015625) if (a, b) == (0, 4) else (9, 9), True
    )
    server = one_run("wiscad", -1, lambda a, b: (0.0, 0.0), False)
    return build_problem([nano, server], "4G", "latency", sizes_bytes=SIZES, arithmetic=arithmetic, accounting=NO_TERMS)


def test_the_published_example_with_its_arithmetic():
    problem = golden("published")
    plan = make_plan(problem, solve(problem, "exact"))
    assert plan.latency_s == pytest.approx(0.06728694681524951, rel=1e-9)
    assert plan.energy_j * 1e6 == pytest.approx(91600.34829106425, rel=1e-9)
    assert str(plan).splitlines()[:3] == [
        "('conv1_conv2_conv3_conv4_conv5', 691200000, 'nano'): 1.0",
        "('fc1_fc2_fc3', -1, 'wiscad'): 1.0",
        "    latency: 0.0672869 s   computation 0.0168723 s   communication 0.0504146 s",
    ]


def test_the_right_arithmetic_is_the_default():
    problem = golden("correct")
    plan = make_plan(problem, solve(problem, "exact"))
    assert plan.latency_s == pytest.approx(0.06728694681524951, rel=1e-9)
    assert plan.radio_j * 1e6 == pytest.approx(194224.199, rel=1e-9)
    assert plan.communication_s == pytest.approx(0.05041463327370304, rel=1e-9)


def test_options_and_crossings():
    problem = synthetic.problem(synthetic.ALEXNET)
    assert len(problem.options(Bundle(0, 7), 0)) == 12
    assert len(problem.options(Bundle(0, 7), 1)) == 1
    assert problem.crossing(5, 0, 0) == (0, 0)
    assert problem.crossing(5, 0, 1)[0] == round(36864 * 8 / 5.85e6 * 1e12)
    assert [problem.index(bundle) for bundle in problem.bundles] == list(range(36))


class TestRefusals:
    """What no solver could use is refused when the problem is made, in one line."""

    def test_no_profiles(self):
        with pytest.raises(InputError, match="the first is the edge device's"):
            build_problem([], "4G")

    def test_different_networks(self):
        with pytest.raises(InputError, match="are of different networks"):
            build_problem([synthetic.profile(synthetic.ALEXNET), synthetic.server(synthetic.VGG11)], "4G")

    def test_devices_of_the_same_name(self):
        with pytest.raises(InputError, match="called the same: nano, nano"):
            build_problem([synthetic.profile(synthetic.ALEXNET), synthetic.server(synthetic.ALEXNET, "nano")], "4G")

    def test_missing_sizes(self):
        profile = one_run("nano", 1, lambda a, b: (1, 1), True)
        with pytest.raises(InputError, match=r"nano does not say how large .*; give their"):
            build_problem([profile], "4G")
        with pytest.raises(InputError, match="must be 9 numbers"):
            build_problem([profile], "4G", sizes_bytes=(1, 2))
        with pytest.raises(InputError, match="must be 9 numbers"):
            build_problem([profile], "4G", sizes_bytes=(-1,) * 9)

    def test_sizes_that_disagree(self):
        other = replace(synthetic.server(synthetic.ALEXNET), sizes_bytes=(1,) * 9)
        with pytest.raises(InputError, match="disagree on the sizes"):
            build_problem([synthetic.profile(synthetic.ALEXNET), other], "4G")

    @pytest.mark.parametrize(
        ("goal", "limits"),
        [("energy", Limits()), ("weighted:1,1", Limits()), ("latency", Limits(energy_j=1.0))],
    )
    def test_energy_that_the_profile_does_not_have(self, goal, limits):
        profile = synthetic.profile(synthetic.ALEXNET, static_w=None)
        with pytest.raises(InputError, match="the profile of nano has no energy"):
            build_problem([profile, synthetic.server(synthetic.ALEXNET)], "4G", goal, limits)

    @pytest.mark.parametrize(
        ("limits", "message"),
        [
            (Limits(private_layers=9), "9 private layers of a network that has 8"),
            (Limits(private_layers=-1), "-1 private layers"),
            (Limits(private_layers=("conv9",)), "unknown private layer 'conv9'; known: conv1"),
            (Limits(memory_bytes={"moon": 1}), "unknown device in a limit 'moon'; known: nano, wiscad"),
            (Limits(frequencies_hz={"moon": (1,)}), "unknown device in a limit 'moon'"),
            (Limits(frequencies_hz={"nano": (1,)}), "unknown frequency of nano '1'; known: "),
            (Limits(memory_bytes={"nano": 1}), "needs the bytes that each layer takes"),
        ],
    )
    def test_limits_on_what_is_not_there(self, limits, message):
        with pytest.raises(InputError, match=message):
            synthetic.problem(synthetic.ALEXNET, limits=limits)

    @pytest.mark.parametrize(("seconds", "joules"), [(1e7, 1), (1, 1e7), (1e300, 1)])
    def test_costs_that_could_overflow(self, seconds, joules):
        with pytest.raises(InputError, match="check the units"):
            build_problem([one_run("nano", 1, lambda a, b: (seconds, joules), True)], "4G", sizes_bytes=SIZES)

    def test_a_chain_that_is_too_long_for_all_its_bundles(self):
        """Refused before anything of that size is made."""
        edge = synthetic.profile(synthetic.ALEXNET)
        long = replace(edge, layers=tuple(f"l{at}" for at in range(10_000)), max_layers=10_000)
        with pytest.raises(InputError, match="10000 layers in bundles of up to 10000 are too many"):
            build_problem([long], "4G")

    def test_negative_costs(self):
        problem = synthetic.problem(synthetic.ALEXNET)
        energy = problem.devices[0].energy_pj.copy()
        energy[3, 3] = -1
        with pytest.raises(InputError, match="nano has a negative energy"):
            problem.with_costs([d.latency_ps for d in problem.devices], [energy, problem.devices[1].energy_pj])


def test_without_energy_there_is_no_radio_energy_either():
    profiles = [synthetic.profile(synthetic.ALEXNET, static_w=None), synthetic.server(synthetic.ALEXNET)]
    problem = build_problem(profiles, "4G")
    plan = make_plan(problem, solve(problem))
    assert plan.energy_j is None and plan.radio_j is None and "energy" not in str(plan)
    assert len(frontier(problem)) == 1


def test_the_whole_output_may_be_sent_home():
    assert synthetic.problem(synthetic.ALEXNET).sizes_bytes[-1] == 4
    assert synthetic.problem(synthetic.ALEXNET, result_bytes=None).sizes_bytes[-1] == 4000


def test_a_server_s_energy_counts_only_if_its_profile_has_it():
    counted = synthetic.profile(synthetic.ALEXNET, "wiscad", (-1,), 8e12, 100.0, seed=2)
    edge = synthetic.profile(synthetic.ALEXNET)
    every = Accounting(joules="all")
    with_energy = build_problem([edge, counted], "4G", limits=Limits(private_layers=1), accounting=every)
    without = build_problem([edge, synthetic.server(synthetic.ALEXNET)], "4G", accounting=every)
    assert with_energy.devices[1].energy_pj.min() > 0 == without.devices[1].energy_pj.max()
    assert build_problem([edge, counted], "4G").devices[1].energy_pj.max() == 0  # the weak device's joules alone


def test_three_devices_with_a_hub():
    chain = synthetic.ALEXNET
    profiles = [synthetic.profile(chain), synthetic.profile(chain, "hub", (-1,), 1e12, seed=4), synthetic.server(chain)]
    problem = build_problem(profiles, "nano-hub: WiFi; nano-wiscad: 3G; hub-wiscad: WiFi")
    assert problem.crossing(5, 0, 1)[0] < problem.crossing(5, 0, 2)[0]
    missing = build_problem(profiles, "nano-hub: WiFi; nano-wiscad: none; hub-wiscad: WiFi")
    assert missing.crossing(5, 0, 2) is None
    assert len(frontier(missing)) > 1


def test_a_device_profiled_with_smaller_bundles_offers_only_those():
    small = synthetic.profile(synthetic.ALEXNET)
    first, last = np.array(small.bundles).T
    rows = np.flatnonzero((last - first < 3).repeat(12).repeat(20))
    cells = np.repeat(np.arange(36 * 12), 20)[rows]
    runs = RawRuns(
        first[cells // 12],
        last[cells // 12],
        np.array(small.frequencies_hz)[cells % 12],
        small.run_duration_s[rows],
        small.run_energy_j[rows],
    )
    edge = from_runs(runs, device="nano", network="alexnet", layers=small.layers, path="nano")
    assert edge.max_layers == 3
    problem = build_problem([edge, synthetic.server(synthetic.ALEXNET)], "4G")
    assert problem.options(Bundle(0, 3), 0) == () != problem.options(Bundle(0, 3), 1)
    assert len(problem.options(Bundle(0, 2), 0)) == 12


@pytest.fixture(scope="module")
def found():
    return frontier(synthetic.problem(synthetic.ALEXNET))


class TestFrontierObject:
    def test_table(self, found):
        table = found.table()
        assert list(table.columns) == ["latency_s", "energy_j", "knee", "plan"]
        assert len(table) == len(found) > 20
        assert table.latency_s.is_monotonic_increasing and table.energy_j.is_monotonic_decreasing
        assert table.knee.sum() == 1
        assert all(" @ " in text and " on " in text for text in table.plan)

    def test_ends_are_the_optima(self, found):
        for goal, at, name in (("latency", 0, "latency_s"), ("energy", -1, "energy_j")):
            best = solve(found.problem.with_goal(goal))
            assert best.objective == getattr(found.plan(at), name)

    def test_knee_lies_below_the_line_between_the_ends(self, found):
        x, y = found.time_s, found.energy_j
        below = (x - x[0]) / (x[-1] - x[0]) + (y - y[-1]) / (y[0] - y[-1])
        assert below[found.knee] == below.min() < 1

    def test_file(self, found, tmp_path):
        import pandas as pd

        path = tmp_path / "frontier.parquet"
        found.write(path)
        assert pd.read_parquet(path).drop(columns="steps").equals(found.table())
        with pytest.raises(InputError, match="exists already"):
            found.write(path)
        with pytest.raises(InputError, match="No such file"):
            found.write(tmp_path / "nowhere" / "frontier.parquet")

    def test_throughput_has_its_own_axis(self):
        found = frontier(synthetic.problem(synthetic.ALEXNET, goal="throughput"))
        assert found.time_name == "period_s" and "period_s" in found.table().columns
        assert found.plan(0).period_s == found.time_s[0] == solve(found.problem).objective
