"""Bootstrap frontiers, and what a plan that holds with a probability costs, measured side by side in one run."""

import time

import pytest

from dime.host.analysis import chance_limits, resampling, uncertainty
from dime.host.planning.formulation import build_problem
from dime.host.planning.goals import Limits
from dime.host.search.frontier import frontier
from dime.host.search.solvers import exact
from dime.testing import synthetic

pytestmark = pytest.mark.benchmark


@pytest.mark.parametrize("rule", ["merged", "free"])
@pytest.mark.parametrize("chain", [synthetic.ALEXNET, synthetic.VIT], ids=lambda chain: chain.network)
def test_a_thousand_bootstrap_frontiers(chain, rule, figures):
    profiles = [synthetic.profile(chain), synthetic.server(chain)]
    problem = build_problem(profiles, "4G", "energy", Limits(rule=rule))
    front = frontier(problem)
    samples = resampling.resample(problem, profiles, 150)
    list(samples.trade_offs(60))  # what is compiled is loaded

    began = time.perf_counter()
    samples = resampling.resample(problem, profiles, 1000)
    drawn_s = time.perf_counter() - began
    began = time.perf_counter()
    solved = sum(1 for _ in samples.trade_offs(600))
    batch_s = time.perf_counter() - began
    began = time.perf_counter()
    for at in range(0, 1000, 20):
        costs = [d[at] for d in samples.latency_ps], [d[at] for d in samples.energy_pj]
        exact.trade_offs(problem.with_costs(*costs), 60)
    single_s = (time.perf_counter() - began) * 20
    began = time.perf_counter()
    whole = uncertainty.bootstrap(samples, [front.choices(at) for at in range(len(front))])
    whole_s = time.perf_counter() - began
    figures(
        f"{chain.network}, {rule}: drawing 1000 replicates {drawn_s:.2f} s, their frontiers {batch_s:.2f} s"
        f" ({single_s / batch_s:.1f} x faster than one problem after the other),"
        f" with intervals of {len(front)} plans {whole_s:.2f} s"
    )
    assert solved == whole.solved == 1000


def test_a_limit_that_holds_costs_a_few_solves(figures):
    chain = synthetic.ALEXNET
    profiles = [synthetic.profile(chain), synthetic.server(chain)]
    problem = build_problem(profiles, "4G", "energy", Limits(latency_s=0.1))
    found = chance_limits.plan_with_confidence(problem, profiles, 0.95)
    began = time.perf_counter()
    exact.solve(problem, 60, 0.0)
    solve_s = time.perf_counter() - began
    began = time.perf_counter()
    found = chance_limits.plan_with_confidence(problem, profiles, 0.95)
    confident_s = time.perf_counter() - began
    assert found.limits[0].bound <= 0.1
    figures(f"alexnet, free: a limit that holds with 95 % takes {confident_s / solve_s:.1f} plain solves")
