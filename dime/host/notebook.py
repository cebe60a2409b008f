"""The planner from Python, for example in a notebook; the command line is a thin skin over the same functions.

    from dime.host.notebook import build_problem, frontier, load_profile, make_plan, solve

    profiles = [load_profile("results/nano/alexnet"), load_profile("results/server/alexnet")]  # the device comes first
    problem = build_problem(profiles, "4G", "energy")
    table = frontier(problem).table()  # every best trade-off of time and energy, a pandas table
    plan = make_plan(problem, solve(problem))  # the best plan for the goal: plan.steps, plan.latency_s, plan.energy_j
    print(plan)

Limits go in as ``build_problem(..., limits=Limits(latency_s=0.1, private_layers=2, rule="merged"))``. Then:

* ``baselines.table(baselines.compare(problem))``: the plan beside what others would do;
* ``explain(problem, plan.choices(problem))``: margins, slacks, prices of limits;
* ``best_plans(problem).table()``: the best plan for every bandwidth; ``round_trips`` for several round trips;
* ``samples = resample(problem, profiles)``, then ``bootstrap(samples, [plan.choices(problem)]).table()``: intervals,
  how often the plan stays the best, its regret;
* ``plan_with_confidence(problem, profiles, 0.95)``: a plan whose limits hold with that probability;
* ``sweeps.tables({"4G": problem}).tables``: the published tables.
"""

from dime.host.analysis import baselines
from dime.host.analysis.break_even import best_plans, round_trips
from dime.host.analysis.confidence import plan_with_confidence
from dime.host.analysis.explain import explain
from dime.host.analysis.resampling import resample
from dime.host.analysis.uncertainty import bootstrap
from dime.host.compat import sweeps
from dime.host.planning.goals import Goal, Limits
from dime.host.planning.links import Link, load_link
from dime.host.planning.plan import make_plan, read_plan
from dime.host.planning.problem import build_problem
from dime.host.profiles.profiles import load_profile
from dime.host.search.frontier import frontier
from dime.host.search.solvers import solve

__all__ = [
    "Goal",
    "Limits",
    "Link",
    "baselines",
    "best_plans",
    "bootstrap",
    "build_problem",
    "explain",
    "frontier",
    "load_link",
    "load_profile",
    "make_plan",
    "plan_with_confidence",
    "read_plan",
    "resample",
    "round_trips",
    "solve",
    "sweeps",
]
