"""Every solver passes the suite; a file in dime/host/search/solvers is a solver. And how one is chosen."""

import signal
import subprocess
import sys
import time

import pytest

from dime.contract.errors import InfeasibleError, InputError
from dime.host.planning.goals import Limits
from dime.host.planning.solution import make_plan
from dime.host.search import solvers
from dime.testing import synthetic
from dime.testing.solvers import *  # noqa: F403


@pytest.fixture(params=solvers.names())
def solver(request):
    module = solvers.load(request.param)
    if module.available() is not None:
        pytest.skip(module.available())
    return module


class TestChoosing:
    def test_auto_is_exact(self):
        assert solvers.solve(synthetic.problem(synthetic.ALEXNET)).solver == "exact"

    def test_one_that_is_too_small_is_replaced_with_one_line(self):
        solution = solvers.solve(synthetic.problem(synthetic.ALEXNET), "brute_force")
        assert solution.status == "optimal" and solution.solver == "exact"
        assert "brute_force" in solution.note and "solved by exact" in solution.note and "\n" not in solution.note
        assert solution.note in str(make_plan(synthetic.problem(synthetic.ALEXNET), solution))

    def test_unknown_solvers_are_refused_with_the_known_ones(self):
        with pytest.raises(InputError, match=r"unknown solver 'cplex'; known: brute_force, exact, gurobi, highs"):
            solvers.solve(synthetic.problem(synthetic.ALEXNET), "cplex")

    @pytest.mark.parametrize(("time_limit_s", "gap"), [(0, 0), (-1, 0), (float("nan"), 0), (1, -0.1), (1, 1)])
    def test_impossible_time_and_gap(self, time_limit_s, gap):
        with pytest.raises(InputError, match="time limit"):
            solvers.solve(synthetic.problem(synthetic.ALEXNET), time_limit_s=time_limit_s, gap=gap)

    def test_infeasible_problems_are_explained(self):
        with pytest.raises(InfeasibleError, match=r"latency <= 0.001 s; possible .* latency 0\.0\d+ s"):
            solvers.solve(synthetic.problem(synthetic.ALEXNET, limits=Limits(latency_s=0.001)))


@pytest.mark.parametrize("name", solvers.names())
def test_an_interrupt_ends_the_search_and_is_not_taken_for_its_time_limit(name):
    """Ctrl-C in a process of its own, in the middle of searches without end."""
    if reason := solvers.load(name).available():
        pytest.skip(reason)
    size = "12, 3, 1" if name == "gurobi" else "40, 3"
    code = (
        "from dime.testing import synthetic; from dime.host.planning.goals import Goal;"
        "from dime.host.search.solvers import load;"
        f"problem = synthetic.large_problem({size}, goal=Goal('throughput')); print('go', flush=True)\n"
        f"while True: load({name!r}).solve(problem, 300.0, 0.0)"
    )
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", code], **pipes) as run:
        assert run.stdout.readline() == "go\n"
        time.sleep(2)
        run.send_signal(signal.SIGINT)
        _, told = run.communicate(timeout=30)
    assert run.returncode == -signal.SIGINT and told.splitlines()[-1] == "KeyboardInterrupt"
