"""The problem, its costs and what building one refuses."""

import numpy as np
import pytest

from dime.contract.bundles import Bundle
from dime.host.plan import make_plan
from dime.host.problem import build_problem
from dime.host.profiles import RawRuns, from_runs
from dime.host.solvers import solve
from tests.host import synthetic

SIZES = (602112, 186624, 129792, 259584, 173056, 36864, 16384, 16384, 4000)


def one_run(device, frequency_hz, cost, with_energy):
    """A profile with one run a bundle; ``cost(first, last)`` gives seconds and joules."""
    bundles = [(first, last) for first in range(8) for last in range(first, 8)]
    first, last = np.array(bundles, dtype=np.int64).T
    seconds, joules = np.array([cost(*bundle) for bundle in bundles]).T
    runs = RawRuns(first, last, np.full(36, frequency_hz), seconds, joules if with_energy else None)
    return from_runs(runs, device=device, network="alexnet", layers=synthetic.ALEXNET.layers, path=device)


def golden(arithmetic):
    nano = one_run(
        "nano", 691200000, lambda a, b: (0.016872313541546464, 0.08958015625) if (a, b) == (0, 4) else (9, 9), True
    )
    server = one_run("wiscad", -1, lambda a, b: (0.0, 0.0), False)
    return build_problem([nano, server], "4G", "latency", sizes_bytes=SIZES, arithmetic=arithmetic)


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
