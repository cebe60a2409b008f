"""What the planner takes against what it replaces, side by side in one run: times are printed, ratios asserted.

The profiles are modelled (roofline times with overhead and noise, twelve frequencies); times and ratios are real.
"""

import subprocess
import sys
from time import perf_counter

import numpy as np
import pytest

from dime.host.planning.formulation import build_problem
from dime.host.planning.goals import Limits
from dime.host.search import backends
from dime.host.search.frontier import frontier
from dime.host.search.solvers import _ilp, exact, gurobi
from dime.testing import synthetic

pytestmark = pytest.mark.benchmark
SWEEP = 20


def best_of(count, work):
    """Shortest wall time of several runs, s, and the last result: what the work takes when nothing else runs."""
    shortest = np.inf
    for _ in range(count):
        began = perf_counter()
        result = work()
        shortest = min(shortest, perf_counter() - began)
    return shortest, result


@pytest.fixture(scope="module", autouse=True)
def loaded():
    """Compiles, or loads, the kernel before anything is timed."""
    backends.prepare()


def gurobi_sweep(problem, found):
    """As published: 20 least latencies under evenly spaced limits on energy, and 20 the other way round.

    The model is built once and only the limit's right-hand side and the objective change, which favours Gurobi.

    Returns:
        Wall time of building and solving, and the distinct points found.
    """
    import gurobipy
    from gurobipy import GRB

    began = perf_counter()
    with gurobipy.Model(env=gurobi._environment()) as model:
        programs = {goal: _ilp.build(problem.with_goal(goal)) for goal in ("latency", "energy")}
        costs = {goal: program.scaled_cost() for goal, program in programs.items()}
        program = programs["latency"]
        columns = [
            model.addVar(0, upper, 0, GRB.BINARY if whole else GRB.CONTINUOUS)
            for upper, whole in zip(program.upper, program.whole, strict=True)
        ]
        for row in program.rows:
            coefficients, low, high = row.scaled()
            terms = gurobipy.LinExpr(coefficients.tolist(), [columns[column] for column in row.columns])
            model.addConstr(terms == low if low == high else terms <= high)
        sums = {goal: gurobipy.LinExpr(cost.tolist(), columns) for goal, (cost, _) in costs.items()}
        points = set()
        for goal, other, ends in (
            ("latency", "energy", (found.energy_j[-1], found.energy_j[0])),
            ("energy", "latency", (found.time_s[0], found.time_s[-1])),
        ):
            model.setObjective(sums[goal])
            limit = model.addConstr(sums[other] <= 0)
            for most in np.linspace(*ends, SWEEP):
                limit.RHS = most / costs[other][1] * (1 + 1e-9)
                model.optimize()
                points.add(tuple(round(sums[name].getValue() * costs[name][1], 9) for name in ("latency", "energy")))
            model.remove(limit)
    return perf_counter() - began, points


@pytest.mark.parametrize("rule", ["free", "merged", "published"])
@pytest.mark.parametrize(
    ("chain", "link"), [(synthetic.ALEXNET, "4G"), (synthetic.VGG11, "4G"), (synthetic.VIT, "3G")], ids=str
)
def test_complete_frontier_against_a_gurobi_sweep(chain, link, rule, figures):
    problem = synthetic.problem(chain, link, limits=Limits(rule=rule))
    taken, found = best_of(20, lambda: frontier(problem))
    python_s, _ = best_of(3, lambda: exact.trade_offs(problem, 60, "plain"))
    if gurobi.available():
        pytest.skip(gurobi.available())
    swept, points = gurobi_sweep(problem, found)
    figures(
        f"{chain.network}, {link}, {rule}: complete frontier of {len(found)} points {taken * 1e3:.2f} ms"
        f" (labels in plain Python {python_s * 1e3:.2f} ms); Gurobi, {2 * SWEEP} solves, {len(points)} points:"
        f" {swept * 1e3:.0f} ms; {swept / taken:.0f} x"
    )
    assert swept / taken > 100


@pytest.mark.parametrize(("layers", "devices"), [(100, 3), (200, 2), (500, 2)])
def test_large_chains(layers, devices, figures):
    problem = synthetic.large_problem(layers, devices)
    small, _ = best_of(2, lambda: exact.trade_offs(synthetic.large_problem(50, devices), 60))
    taken, found = best_of(2, lambda: exact.trade_offs(problem, 60))
    figures(
        f"{layers} layers, {devices} devices, 12 frequencies: {len(found.time_ps)} points in {taken:.2f} s,"
        f" {taken / small:.0f} x a chain of 50"
    )
    assert found.complete


def test_memory_of_the_largest_chain(figures):
    code = (
        "from pathlib import Path; from dime.testing import synthetic; from dime.host.search.solvers import exact;"
        "found = exact.trade_offs(synthetic.large_problem(500, 2), 60); assert found.complete;"
        "print(Path('/proc/self/status').read_text().partition('VmHWM:')[2].split()[0])"  # not that of the parent
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    used = int(done.stdout) / 1024
    figures(f"500 layers, 2 devices: {used:.0f} MiB at most, Python and libraries included")
    assert used < 2000


def test_a_thousand_bootstrap_frontiers(figures):
    profiles = [synthetic.profile(synthetic.ALEXNET, runs=100), synthetic.server(synthetic.ALEXNET)]
    problem = build_problem(profiles, "4G")

    def replicate():
        drawn = [profile.bootstrap(1000, at) for at, profile in enumerate(profiles)]
        latency = [np.rint(draw.duration_s * 1e12).astype(np.int64) for draw in drawn]
        energy = [
            np.zeros_like(time) if draw.energy_j is None else np.rint(draw.energy_j * 1e12).astype(np.int64)
            for draw, time in zip(drawn, latency, strict=True)
        ]
        return list(exact.replicated(problem, latency, energy, 60))

    taken, found = best_of(2, replicate)
    one, _ = best_of(5, lambda: exact.trade_offs(problem, 60))
    figures(
        f"1000 bootstrap frontiers of AlexNet (43,200 runs resampled): {taken:.2f} s,"
        f" {taken / 1000 / one:.2f} x one frontier each"
    )
    assert len(found) == 1000
