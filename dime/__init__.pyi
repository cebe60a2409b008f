from dime.contract.errors import OutOfTimeError as OutOfTimeError
from dime.host.analysis import baselines as baselines
from dime.host.analysis.alternatives import explain as explain
from dime.host.analysis.break_even import best_plans as best_plans
from dime.host.analysis.break_even import round_trips as round_trips
from dime.host.analysis.chance_limits import plan_with_confidence as plan_with_confidence
from dime.host.analysis.resampling import resample as resample
from dime.host.analysis.uncertainty import bootstrap as bootstrap
from dime.host.compat import sweeps as sweeps
from dime.host.execution.runs import verify as verify
from dime.host.planning.goals import Goal as Goal
from dime.host.planning.goals import Limits as Limits
from dime.host.planning.links import Link as Link
from dime.host.planning.links import load_link as load_link
from dime.host.planning.plan import read_plan as read_plan
from dime.host.planning.problem import build_problem as build_problem
from dime.host.planning.solution import make_plan as make_plan
from dime.host.profiles.profiles import load_profile as load_profile
from dime.host.report.notebook import study as study
from dime.host.search.frontier import frontier as frontier
from dime.host.search.solvers import solve as solve
from dime.host.studies.folder import load_study as load_study

__version__: str
