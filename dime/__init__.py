"""DIME, Distributed Inference Model Estimation: which layers of a network should run where, and at which frequency.

    import dime

    profiles = [dime.load_profile("results/nano/alexnet"), dime.load_profile("results/server/alexnet")]  # edge first
    problem = dime.build_problem(profiles, "4G", "energy")
    table = dime.frontier(problem).table()  # every best trade-off of time and energy, a pandas table
    result = dime.solve(problem)  # result.plan: steps, latency_s, energy_j; result.certificate: who proves it
    print(result.plan)

Limits go in as ``build_problem(..., limits=Limits(latency_s=0.1, private_layers=2, rule="merged"))``. Then:

* ``baselines.table(baselines.compare(problem))``: the plan beside what others would do;
* ``explain(result)``: margins, slacks, prices of limits;
* ``best_plans(problem).table()``: the best plan for every bandwidth; ``round_trips`` for several round trips;
* ``samples = resample(problem, profiles)``, then ``bootstrap(samples, [result.choices]).table()``: intervals, how often
  the plan stays the best, its regret;
* ``plan_with_confidence(problem, profiles, 0.95)``: a plan whose limits hold with that probability;
* ``study("alexnet", "3G,4G,WiFi", results="results/demo")``: all of that for each link; a notebook shows it as a table,
  with ``plot()``, ``sweep([1, 5, 20])`` over bandwidths and ``report("folder")``;
* ``load_study("results/plans/alexnet/001")``: what ``dime solve`` found, read back: problem, plan, frontier;
* ``verify("results/plans/alexnet/001", runs=100)``: its plans run on the devices, predicted beside measured;
* ``sweeps.tables({"4G": problem}).tables``: the published tables.

Everything is loaded when it is first named, so that ``import dime`` alone costs nothing on a device.
"""

__version__ = "0.1.0"

_HOMES = {
    "Goal": "dime.host.planning.goals",
    "Limits": "dime.host.planning.goals",
    "Link": "dime.host.planning.links",
    "OutOfTimeError": "dime.contract.errors",
    "baselines": "dime.host.analysis",
    "best_plans": "dime.host.analysis.break_even",
    "bootstrap": "dime.host.analysis.uncertainty",
    "build_problem": "dime.host.planning.formulation",
    "explain": "dime.host.analysis.alternatives",
    "frontier": "dime.host.search.frontier",
    "load_link": "dime.host.planning.links",
    "load_profile": "dime.host.profiles.profiles",
    "load_study": "dime.host.studies.folder",
    "make_plan": "dime.host.planning.solution",
    "plan_with_confidence": "dime.host.analysis.chance_limits",
    "read_plan": "dime.host.planning.plan",
    "resample": "dime.host.analysis.resampling",
    "round_trips": "dime.host.analysis.break_even",
    "solve": "dime.host.search.solvers",
    "study": "dime.host.report.notebook",
    "sweeps": "dime.host.compat",
    "verify": "dime.host.execution.runs",
}
__all__ = list(_HOMES)


def __getattr__(name):  # a module's own attributes are found without it; Python 3.6 never asks
    # type: (str) -> object
    import importlib

    if name not in _HOMES:
        raise AttributeError(f"module 'dime' has no attribute '{name}'")
    home = importlib.import_module(_HOMES[name])
    found = getattr(home, name, None) or importlib.import_module(f"{_HOMES[name]}.{name}")
    globals()[name] = found
    return found


def __dir__():  # type: () -> list[str]
    return sorted(set(globals()) | set(_HOMES))
