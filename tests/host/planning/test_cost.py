"""The walk along a plan: sums of numbers and of replicates, of problem's quantities and of others."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dime.contract.errors import InputError
from dime.host.planning.cost import add_up, costs_of, walk
from dime.host.planning.evaluation import evaluate
from dime.host.planning.goals import Limits
from dime.testing.instances import random_problem
from tests.host import small


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 4))
def test_replicates_add_up_as_each_of_them_does(seed, count):
    problem = small.problem(3, 3, seed)
    plans = small.all_plans(problem)
    choices = plans[seed % len(plans)][2]
    generator = np.random.default_rng(seed)
    drawn = [
        np.where(costs >= 0, generator.integers(0, 9**9, (count, *costs.shape)), -1)
        for costs in problem.latency.of_devices
    ]
    together = add_up(walk(problem, choices), replace(problem.latency, of_devices=drawn))
    some = {choices[0]: (drawn[choices[0].device][0].max() + np.arange(count), np.zeros(count, np.int64))}
    changed = costs_of(problem, choices, instead=some)
    for at in range(count):
        one = problem.with_costs([d[at] for d in drawn], [d.energy_pj for d in problem.devices])
        totals = evaluate(one, choices)
        assert (together.computing[at], together.crossing) == (totals.computation_ps, totals.communication_ps)
        assert (together.total[at], together.slowest[at]) == (totals.latency_ps, totals.period_ps)
        own = add_up(walk(problem, choices), problem.latency)
        first = add_up(walk(problem, choices), problem.latency, {choices[0]: 0})
        assert changed.latency_ps[at] == first.total + some[choices[0]][0][at]
        assert isinstance(own.total, int) and own.total >= first.total


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6))
def test_memory_is_a_quantity_as_latency_and_energy_are(seed):
    problem = random_problem(seed)
    if problem.layer_bytes is None:
        return
    total = sum(problem.layer_bytes)
    problem = problem.with_limits(
        Limits(memory_bytes={d.name: max(0, total - 1) for d in problem.devices}, rule="free")
    )
    for _, _, choices in small.all_plans(problem)[:5]:
        for at, memory in problem.memory.items():
            held = sum(sum(problem.layer_bytes[c.bundle.first : c.bundle.last + 1]) for c in choices if c.device == at)
            assert add_up(walk(problem, choices), memory).total == held <= memory.most
            assert memory.unit == "bytes"


def test_a_plan_that_is_none_has_no_costs():
    problem = small.problem(3, 2, 1)
    choices = small.all_plans(problem)[0][2]
    for wrong, said in (
        (choices[1:], "each layer exactly once"),
        ((choices[0]._replace(frequency_hz=7), *choices[1:]), "has no bundle"),
    ):
        for ask in (walk, evaluate, costs_of):
            with pytest.raises(InputError, match=said):
                ask(problem, wrong)
