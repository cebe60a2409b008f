"""Why this plan: how much better it is than the next ones, and how close it comes to its limits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from time import monotonic
from typing import TYPE_CHECKING

import numpy as np

from dime.contract.errors import InputError
from dime.host.analysis.resampling import Samples
from dime.host.analysis.uncertainty import difference
from dime.host.common import stats
from dime.host.common.stats import Bools
from dime.host.planning.cost import add_up, walk
from dime.host.planning.evaluation import evaluate, value
from dime.host.planning.plan import one_line
from dime.host.planning.problem import PER_J, PER_S, Choice, Problem
from dime.host.planning.solution import Solution
from dime.host.search.graph import build
from dime.host.search.quantities import UNLIMITED, of_goal, shortest_through
from dime.host.search.solvers import TIME_LIMIT_S, exact

if TYPE_CHECKING:
    import pandas as pd

Choices = tuple[Choice, ...]


@dataclass(frozen=True)
class Rival:
    """The best plan that differs from the chosen one.

    Attributes:
        what: In what it differs: ``any step`` or ``placement`` (some layer runs on another device).
        choices: Its steps.
        steps: The same in one line.
        value: The goal's value for it.
        margin: By how much it is worse than the chosen plan, in the goal's unit.
        share: The same as a share of the chosen plan's value; None where that is 0.
        interval: Ends of the margin's interval; None without raw runs, or where none would hold.
    """

    what: str
    choices: Choices
    steps: str
    value: float
    margin: float
    share: float | None
    interval: tuple[float, float] | None

    @property
    def sure(self) -> bool | None:
        """Whether the margin exceeds what the measurements leave open; None without raw runs."""
        return None if self.interval is None else self.interval[0] > 0


@dataclass(frozen=True)
class Slack:
    """How close the plan comes to one limit.

    Attributes:
        limit: Which one.
        most: What is allowed.
        used: What the plan takes.
        slack: What is left.
        unit: ``s``, ``J``, ``bytes``, ``layers`` or ``bundles``.
        price: What the goal's value would gain if this limit alone were dropped; None where that was not found out.
    """

    limit: str
    most: float
    used: float
    slack: float
    unit: str
    price: float | None


@dataclass(frozen=True)
class Explanation:
    """Why this plan.

    Attributes:
        value: The goal's value for it.
        unit: The goal's unit.
        rivals: The best other plan, and the best one that places some layer elsewhere; fewer where there are none, or
            where time ran out.
        slacks: One entry a limit.
        confidence: Share of the replicates inside of the intervals.
    """

    value: float
    unit: str
    rivals: tuple[Rival, ...]
    slacks: tuple[Slack, ...]
    confidence: float

    def __str__(self) -> str:
        lines = []
        for rival in self.rivals:
            worse = f"{rival.margin:.3g} {self.unit}".strip() + ("" if rival.share is None else f" ({rival.share:.2%})")
            if rival.interval is not None:
                low, high = rival.interval
                word = "sure" if rival.sure else "within what the measurements leave open"
                worse += f", {self.confidence:.0%} interval {low:.3g} to {high:.3g}: {word}"
            name = "second best" if rival.what == "any step" else "best with another placement"
            lines.append(f"{name}: {rival.steps}; worse by {worse}")
        for slack in self.slacks:
            price = (
                ""
                if slack.price is None
                else f"; without it the goal would gain {slack.price:.3g} {self.unit}".rstrip()
            )
            lines.append(
                f"{slack.limit}: {slack.used:.6g} of {slack.most:.6g} {slack.unit}, {slack.slack:.3g} left{price}"
            )
        return "\n".join(lines)

    def table(self) -> pd.DataFrame:
        """The limits, one row each, with the columns of ``Slack``."""
        import pandas as pd

        frame: pd.DataFrame = pd.DataFrame([vars(slack) for slack in self.slacks], columns=list(Slack.__annotations__))
        return frame


def explain(
    problem: Problem | Solution,
    choices: Sequence[Choice] | None = None,
    samples: Samples | None = None,
    confidence: float = stats.CONFIDENCE,
    time_limit_s: float = TIME_LIMIT_S,
) -> Explanation:
    """Explains a plan.

    Args:
        problem: The problem; or a solution, which knows its problem and its plan.
        choices: The plan; None: the solution's.
        samples: Replicates, for the intervals of the margins.
        confidence: Share of the replicates inside of the intervals.
        time_limit_s: Longest time for all searches together; what was not found by then is left out.

    Returns:
        The explanation.

    Raises:
        InputError: There is no plan to explain.
    """
    if isinstance(problem, Solution):
        choices = problem.choices if choices is None else choices
        if problem.problem is None:
            raise InputError(f"{problem.version} was not told to keep its problem")
        problem = problem.problem
    if choices is None:
        raise InputError("there is no plan to explain")
    plan, deadline = tuple(choices), monotonic() + time_limit_s
    best = value(problem, evaluate(problem, plan))
    rivals = []
    for what, found in (
        ("any step", second_best(problem, plan, time_limit_s)),
        ("placement", other_placement(problem, plan, deadline - monotonic())),
    ):
        if found is not None:
            other = value(problem, evaluate(problem, found))
            interval = None if samples is None else difference(samples, plan, found, confidence)
            share = (other - best) / best if best else None
            rivals.append(Rival(what, found, one_line(problem, found), other, other - best, share, interval))
    return Explanation(best, problem.goal.unit, tuple(rivals), slacks(problem, plan, deadline), confidence)


def second_best(problem: Problem, choices: Choices, time_limit_s: float = TIME_LIMIT_S) -> Choices | None:
    """The best of all plans but one.

    Returns:
        The plan, or None if there is no other one or time ran out.
    """
    if _is_shortest_path(problem):
        new = [np.ones(usable.shape, np.bool_) for usable in problem.usable]
        for choice in choices:
            _mark(problem, new, choice, False)
        return _best_with_any(problem, new)
    # Every other plan has the first k steps in common with it and not the next one, for exactly one k: the best of each
    # such class is one problem for the solver (Lawler, Management Science 18(7), 1972).
    first = problem.bounds[0]
    classes = []
    for at, choice in enumerate(choices):
        allowed = [np.repeat((first >= choice.bundle.first)[:, None], u.shape[1], axis=1) for u in problem.usable]
        for kept in choices[:at]:
            _mark(problem, allowed, kept, True)
        _mark(problem, allowed, choice, False)
        classes.append(allowed)
    return _best_of(problem, classes, time_limit_s)


def other_placement(problem: Problem, choices: Choices, time_limit_s: float = TIME_LIMIT_S) -> Choices | None:
    """The best of all plans in which at least one layer runs on another device.

    Returns:
        The plan, or None if there is none or time ran out.
    """
    first, last = problem.bounds
    if _is_shortest_path(problem):
        new = [np.zeros(usable.shape, np.bool_) for usable in problem.usable]
        for bundle, device, _ in choices:
            for other in range(len(new)):
                new[other][(first <= bundle.last) & (bundle.first <= last)] |= other != device
        return _best_with_any(problem, new)
    classes = []
    for bundle, device, _ in choices:
        for layer in range(bundle.first, bundle.last + 1):
            allowed = [np.ones(usable.shape, np.bool_) for usable in problem.usable]
            allowed[device][(first <= layer) & (layer <= last)] = False
            classes.append(allowed)
    return _best_of(problem, classes, time_limit_s)


def slacks(problem: Problem, choices: Choices, deadline: float = float("inf")) -> tuple[Slack, ...]:
    """How close a plan comes to each limit, and what each one costs."""
    limits, totals = problem.limits, evaluate(problem, choices)
    best = value(problem, totals)
    layers = {at: 0 for at in range(len(problem.devices))}
    for bundle, device, _ in choices:
        layers[device] += bundle.last - bundle.first + 1
    found = []

    def add(limit: str, most: float, used: float, unit: str, **without: object) -> None:
        price = None
        if monotonic() < deadline:
            freed = problem.with_limits(replace(limits, **without))  # type: ignore[arg-type]
            found_without = exact.solve(freed, min(deadline - monotonic(), TIME_LIMIT_S), 0.0)
            if found_without.status == "optimal" and found_without.objective is not None:
                price = max(0.0, best - found_without.objective)
        found.append(Slack(limit, most, used, most - used, unit, price))

    if problem.latency_limit_ps is not None:
        add("latency", problem.latency_limit_ps / PER_S, totals.latency_ps / PER_S, "s", latency_s=None)
    if problem.energy_limit_pj is not None:
        add("energy", problem.energy_limit_pj / PER_J, totals.energy_pj / PER_J, "J", energy_j=None)
    for at, most in problem.memory_limits.items():
        name = problem.devices[at].name
        used = add_up(walk(problem, choices), problem.memory[at]).total
        others = {device: limit for device, limit in limits.memory_bytes.items() if device != name}
        add(f"memory of {name}", most, used, "bytes", memory_bytes=others)
    if problem.private.any():
        elsewhere = len(problem.layers) - layers[0]
        most = len(problem.layers) - int(problem.private.sum())
        add(f"layers away from {problem.devices[0].name}", most, elsewhere, "layers", private_layers=0)
    if limits.max_bundle is not None:
        longest = max(choice.bundle.last - choice.bundle.first + 1 for choice in choices)
        add("largest bundle", limits.max_bundle, longest, "layers", max_bundle=None)
    for name, allowed in limits.frequencies_hz.items():
        free = {device: frequencies for device, frequencies in limits.frequencies_hz.items() if device != name}
        used = len({c.frequency_hz for c in choices if problem.devices[c.device].name == name})
        add(f"frequencies of {name}", len(set(allowed)), used, "frequencies", frequencies_hz=free)
    if limits.rule == "published":
        for at, named in enumerate(problem.devices):
            most = -(-layers[at] // problem.largest_bundles[at])
            add(f"bundles on {named.name}", most, sum(c.device == at for c in choices), "bundles", rule="free")
    return tuple(found)


def _mark(problem: Problem, allowed: list[Bools], choice: Choice, is_allowed: bool) -> None:
    column = problem.devices[choice.device].frequencies_hz.index(choice.frequency_hz)
    allowed[choice.device][problem.index(choice.bundle), column] = is_allowed


def _is_shortest_path(problem: Problem) -> bool:
    """Whether the best plan is a shortest path: nothing is limited that only a whole plan has."""
    limited = (problem.latency_limit_ps, problem.energy_limit_pj) != (None, None) or problem.memory_limits
    return not problem.goal.is_pipeline and not limited


def _best_with_any(problem: Problem, new: list[Bools]) -> Choices | None:
    """The best plan that has at least one of some options: a shortest path through an arc."""
    graph = build(problem)
    (cost,), _ = of_goal(problem, (problem.latency, problem.energy))
    wanted = graph.gather(new, np.zeros(problem.crossing_ps.shape, np.bool_))
    through = np.where(wanted, shortest_through(graph, cost), UNLIMITED)
    arc = int(through.argmin())
    if through[arc] >= UNLIMITED:
        return None
    bundle, device = problem.bundles[graph.bundle[arc]], int(graph.device[arc])
    first, last = problem.bounds
    allowed = [
        np.repeat(((last < bundle.first) | (first > bundle.last))[:, None], mask.shape[1], axis=1) for mask in new
    ]
    allowed[device][graph.bundle[arc], graph.column[arc]] = True
    return _best_of(problem, [allowed], TIME_LIMIT_S)


def _best_of(problem: Problem, classes: list[list[Bools]], time_limit_s: float) -> Choices | None:
    """The best plan of some classes, each given by the options it may use."""
    deadline = monotonic() + time_limit_s
    found = []
    for allowed in classes:
        left = deadline - monotonic()
        if left <= 0:
            return None
        restricted = problem.with_costs(
            [np.where(mask, device.latency_ps, -1) for mask, device in zip(allowed, problem.devices, strict=True)],
            [device.energy_pj for device in problem.devices],
        )
        solution = exact.solve(restricted, left, 0.0)
        if solution.status not in ("optimal", "infeasible"):
            return None
        if solution.choices is not None:
            found.append(solution.choices)
    return min(found, key=lambda choices: value(problem, evaluate(problem, choices)), default=None)
