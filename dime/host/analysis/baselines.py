"""Baselines: how others would place the same network, what they believe it costs, and what it really costs.

Each baseline is a function ``f(problem) -> choices``. It keeps the problem's goal and limits where its method can; what
it cannot see (a bundle's time differs from the sum of its layers') shows when its plan is evaluated by bundle.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import inf
from time import monotonic
from typing import TYPE_CHECKING, Protocol

import numpy as np

from dime.contract.bundles import Bundle
from dime.contract.errors import InfeasibleError, OutOfTimeError
from dime.host.common.stats import Ints
from dime.host.planning.certificate import Certificate
from dime.host.planning.evaluation import evaluate, value
from dime.host.planning.goals import Limits
from dime.host.planning.plan import Plan, describe, one_line
from dime.host.planning.problem import PER_J, PER_S, Choice, Problem
from dime.host.search.solvers import TIME_LIMIT_S, exact, solve

if TYPE_CHECKING:
    import pandas as pd

Choices = tuple[Choice, ...]


class Method(Protocol):
    """A baseline."""

    def __call__(self, problem: Problem, *, deadline: float = inf) -> Choices: ...


@dataclass(frozen=True)
class Row:
    """One line of the comparison.

    Attributes:
        name: The baseline's name; the first line's is ``DIME``.
        source: Where the method comes from.
        choices: Its plan, or None if it has none at all.
        plan: The same, readable, with what it really costs; by bundle.
        believed_latency_s: What its maker believes it to take.
        believed_energy_j: The same for the energy; None without energy.
        believed_value: The same for the goal.
        gain: Share of the goal's value that DIME's plan saves: 1 - DIME / baseline; None where the baseline has no plan
            that keeps the limits.
        reason: Why it is infeasible, in one line; empty if it is not.
        steps: The plan in one line.
    """

    name: str
    source: str
    choices: Choices | None
    plan: Plan | None
    believed_latency_s: float | None
    believed_energy_j: float | None
    believed_value: float | None
    gain: float | None
    reason: str
    steps: str = ""

    @property
    def feasible(self) -> bool:
        """Whether it is a plan that keeps all limits."""
        return not self.reason


def all_on(problem: Problem, device: int = 0, *, deadline: float = inf) -> Choices:
    """Everything on one device: the status quo without partitioning.

    Args:
        problem: The problem.
        device: The device's position; 0 is the edge device ("all on the device"), another one gets the input over its
            link and sends the result home ("all on the server").
        deadline: ``time.monotonic()`` after which to give up; so for all baselines.

    Returns:
        One bundle at its best frequency, or ceil(N / M) of them where the largest bundle M is smaller than the network.

    Raises:
        InfeasibleError: No such plan keeps the limits.
    """
    return _solve(_single_bundles(_only(problem, [device])), deadline)


def best_single_cut(problem: Problem, *, deadline: float = inf) -> Choices:
    """The best of all single cuts: the first k layers on the device, the rest on one server, 0 <= k <= N.

    The plans of Neurosurgeon (Kang et al., ASPLOS 2017, doi 10.1145/3037697.3037698) and JALAD (Li et al., ICPADS 2018,
    pp. 671-678; without its compression), chosen here by what their two bundles were measured to cost.

    Raises:
        InfeasibleError: No such plan keeps the limits.
    """
    found = []
    for server in range(1, len(problem.devices)):
        at = range(len(problem.layers))
        crossing_ps = problem.crossing_ps.copy()
        crossing_ps[at, server, 0] = -1
        restricted = _single_bundles(replace(_only(problem, [0, server]), crossing_ps=crossing_ps))
        try:
            found.append(_solve(restricted, deadline))
        except InfeasibleError:
            continue
    return _best(problem, found)


def single_cut_by_layers(problem: Problem, *, deadline: float = inf) -> Choices:
    """The single cut that looks best on sums of single-layer times.

    Neurosurgeon (Kang et al., ASPLOS 2017, doi 10.1145/3037697.3037698) predicts layer by layer and adds up.

    Raises:
        InfeasibleError: No such plan seems to keep the limits.
    """
    return best_single_cut(layer_sums(problem), deadline=deadline)


def joint_dnn(problem: Problem, *, deadline: float = inf) -> Choices:
    """A shortest path over single layers with any number of crossings.

    JointDNN (Eshratifar, Abrishami, Pedram, IEEE Transactions on Mobile Computing 20(2), 2021,
    doi 10.1109/TMC.2019.2947893). It knows no frequencies: the edge device gets the one that serves the goal best,
    every other device its fastest. Neighbouring layers on a device then run as one bundle; no rule counts bundles.

    Raises:
        InfeasibleError: No such plan seems to keep the limits.
    """
    allowed = [
        sorted(problem.limits.frequencies_hz.get(device.name, device.frequencies_hz)) for device in problem.devices
    ]
    fastest = {
        device.name: (of_device[-1],) for device, of_device in zip(problem.devices, allowed, strict=True) if of_device
    }
    found = []
    for frequency in allowed[0]:
        frequencies = {**fastest, problem.devices[0].name: (frequency,)}
        limits = replace(problem.limits, frequencies_hz=frequencies, max_bundle=1, rule="free")
        try:
            found.append(_solve(problem.with_limits(limits), deadline))
        except InfeasibleError:
            continue
    return _merged(problem, _best(problem, found))


def sum_of_layers(problem: Problem, *, deadline: float = inf) -> Choices:
    """DIME's own problem, frequencies, rule and all, where every bundle is believed to cost the sum of its layers.

    What planning from a profile of single layers amounts to; DIME (SMARTCOMP 2024,
    doi 10.1109/SMARTCOMP61445.2024.00081) measures bundles instead.

    Raises:
        InfeasibleError: No such plan seems to keep the limits.
    """
    return _merged(problem, _solve(layer_sums(problem), deadline))


def layer_sums(problem: Problem) -> Problem:
    """The same problem, with the cost of each bundle replaced by the sum of its layers' at the same frequency."""
    first, last = problem.bounds
    single = np.flatnonzero(first == last)
    latencies, energies = [], []
    for device in problem.devices:
        there = _sums((device.latency_ps[single] >= 0).astype(np.int64), first, last) > last[:, None] - first[:, None]
        latency = _sums(np.maximum(device.latency_ps[single], 0), first, last)
        latencies.append(np.where(there & (device.latency_ps >= 0), latency, -1))
        energies.append(_sums(device.energy_pj[single], first, last))
    return problem.with_costs(latencies, energies)


def compare(
    problem: Problem, choices: Sequence[Choice] | None = None, time_limit_s: float = TIME_LIMIT_S
) -> tuple[Row, ...]:
    """Compares DIME's plan with all baselines.

    Args:
        problem: The problem.
        choices: DIME's plan; None: found here.
        time_limit_s: Longest time for all baselines together; one that is not found by then has no plan, and says so.

    Returns:
        DIME's line, then one a baseline.

    Raises:
        InfeasibleError: No plan at all keeps the limits.
    """
    chosen = tuple(choices) if choices is not None else solve(problem).choices or ()
    best = value(problem, evaluate(problem, chosen))
    rows = [_row(problem, "DIME", "this plan", chosen, problem, best)]
    deadline = monotonic() + time_limit_s
    plan: Choices | None
    for name, source, method, belief in _baselines(problem):
        # JointDNN has no bundle-count rule to keep.
        judge = problem.with_limits(replace(problem.limits, rule="free")) if method is joint_dnn else problem
        plan, reason = None, ""
        try:
            plan = method(problem, deadline=deadline)
        except OutOfTimeError as error:
            reason = str(error)
        except InfeasibleError as error:
            plan, reason = _without_limits(method, problem, deadline), str(error)
        rows.append(_row(judge, name, source, plan, belief, best, reason))
    return tuple(rows)


def table(rows: Sequence[Row]) -> pd.DataFrame:
    """The comparison as a table, one line a row.

    Columns: name, latency_s, energy_j, period_s and value of what the plan really costs, believed_latency_s,
    believed_energy_j and believed_value, gain, reason, and the plan's bundles.
    """
    import pandas as pd

    frame: pd.DataFrame = pd.DataFrame(
        [
            {
                "name": row.name,
                **{name: getattr(row.plan, name, None) for name in ("latency_s", "energy_j", "period_s", "value")},
                "believed_latency_s": row.believed_latency_s,
                "believed_energy_j": row.believed_energy_j,
                "believed_value": row.believed_value,
                "gain": row.gain,
                "reason": row.reason,
                "plan": row.steps,
            }
            for row in rows
        ]
    )
    return frame


def _baselines(problem: Problem) -> Iterator[tuple[str, str, Method, Problem]]:
    """(name, source, function, the problem it believes in) of each baseline."""
    sums = layer_sums(problem)
    for at, device in enumerate(problem.devices):
        yield f"all on {device.name}", "no partitioning", partial(all_on, device=at), problem
    if len(problem.devices) > 1:
        yield "best single cut", "JALAD 2018, Neurosurgeon 2017", best_single_cut, problem
        yield "single cut by layers", "Neurosurgeon 2017", single_cut_by_layers, sums
    yield "JointDNN", "JointDNN 2021", joint_dnn, sums
    yield "sum of layers", "single-layer profile", sum_of_layers, sums


def _row(
    problem: Problem, name: str, source: str, choices: Choices | None, belief: Problem, best: float, reason: str = ""
) -> Row:
    if choices is None:
        return Row(name, source, None, None, None, None, None, None, reason)
    totals, believed = evaluate(problem, choices), evaluate(belief, choices)
    reason = "; ".join(totals.broken) or reason
    real = value(problem, totals)
    return Row(
        name,
        source,
        choices,
        describe(problem, choices, Certificate("given", note=reason and f"infeasible: {reason}")),
        believed.latency_ps / PER_S,
        believed.energy_pj / PER_J if problem.has_energy else None,
        value(problem, believed),
        None if reason or real == 0 else 1 - best / real,
        reason,
        one_line(problem, choices),
    )


def _without_limits(method: Method, problem: Problem, deadline: float) -> Choices | None:
    """The plan that a baseline would like best, to say which limit it breaks; None if there is none."""
    try:
        return method(problem.with_limits(Limits(max_bundle=problem.limits.max_bundle)), deadline=deadline)
    except (InfeasibleError, OutOfTimeError):
        return None


def _solve(problem: Problem, deadline: float) -> Choices:
    left = deadline - monotonic()
    solution = exact.solve(problem, min(left, TIME_LIMIT_S), 0.0) if left > 0 else None
    if solution is not None and solution.status == "infeasible":
        raise InfeasibleError("no plan of this kind keeps the limits, or a link is missing")
    if solution is None or solution.choices is None:
        raise OutOfTimeError("not found in time")
    return solution.choices


def _best(problem: Problem, found: Sequence[Choices]) -> Choices:
    if not found:
        raise InfeasibleError("no plan of this kind keeps the limits, or a link is missing")
    return min(found, key=lambda choices: value(problem, evaluate(problem, choices)))


def _only(problem: Problem, devices: Sequence[int]) -> Problem:
    """The same problem where only some devices may compute."""
    latencies = [
        device.latency_ps if at in devices else np.full_like(device.latency_ps, -1)
        for at, device in enumerate(problem.devices)
    ]
    return problem.with_costs(latencies, [device.energy_pj for device in problem.devices])


def _single_bundles(problem: Problem) -> Problem:
    """The same problem with as few bundles a device as the largest bundle allows."""
    rule = "merged" if problem.limits.rule == "merged" else "published"
    return problem.with_limits(replace(problem.limits, rule=rule))


def _merged(problem: Problem, choices: Choices) -> Choices:
    """Joins neighbours on one device and frequency into bundles as large as allowed."""
    merged: list[Choice] = []
    for choice in choices:
        bundle, device, frequency_hz = choice
        if merged and merged[-1][1:] == choice[1:]:
            joined = Bundle(merged[-1].bundle.first, bundle.last)
            if joined.last - joined.first < problem.largest_bundles[device] and frequency_hz in {
                option.frequency_hz for option in problem.options(joined, device)
            }:
                merged[-1] = Choice(joined, device, frequency_hz)
                continue
        merged.append(choice)
    return tuple(merged)


def _sums(of_layers: Ints, first: Ints, last: Ints) -> Ints:
    """Sums over the layers of each bundle: (layers, frequencies) -> (bundles, frequencies)."""
    before = np.concatenate((np.zeros((1, of_layers.shape[1]), np.int64), np.cumsum(of_layers, axis=0)))
    sums: Ints = before[last + 1] - before[first]
    return sums
