"""What a plan costs: the one walk along a plan, and the one place where amounts are added up along it.

Amounts are numbers, or arrays with one entry a replicate; both are added up by the same lines.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Generic, NamedTuple, TypeVar, cast, overload

import numpy as np

from dime.contract.bundles import covers, spell
from dime.contract.errors import InputError
from dime.host.common.stats import Bools, Floats, Ints
from dime.host.planning import states
from dime.host.planning.problem import PER_J, PER_S, Choice, Problem
from dime.host.planning.quantity import Quantity

A = TypeVar("A", int, Ints, Floats)
"""A number, or an array with one entry a replicate."""
NOTHING: Mapping[Choice, int] = {}


class Part(NamedTuple):
    """One addend of what a plan costs.

    Attributes:
        source: The device that computes a bundle, or sends a tensor.
        target: The same device, or the one that receives; a tensor may stay where it is.
        row: The bundle's row in the devices' arrays, or the boundary.
        column: The frequency's column; -1 for a crossing.
        choice: The step of the plan; None for a crossing.
        context: Number of what its cost depends on beside that; see ``states``.
    """

    source: int
    target: int
    row: int
    column: int
    choice: Choice | None
    context: int = 0


def walk(problem: Problem, choices: Sequence[Choice]) -> list[Part]:
    """Walks along a plan: before each step the crossing that leads to it, at the end the result's way home.

    Raises:
        InputError: The plan does not tile the chain, or uses an option or a link that does not exist.
    """
    if not covers([choice.bundle for choice in choices], len(problem.layers)):
        raise InputError("the plan does not hold each layer exactly once, in order")
    parts, here = [], 0
    for choice in choices:
        bundle, device, frequency_hz = choice
        costs = problem.devices[device]
        parts.append(_crossing(problem, bundle.first, here, device))
        row = column = -1
        if bundle.last - bundle.first < problem.max_layers and frequency_hz in costs.frequencies_hz:
            row, column = problem.index(bundle), costs.frequencies_hz.index(frequency_hz)
        if column < 0 or costs.latency_ps[row, column] < 0:
            raise InputError(f"{costs.name} has no bundle '{spell(bundle, list(problem.layers))}' at {frequency_hz} Hz")
        parts.append(Part(device, device, row, column, choice))
        here = device
    parts.append(_crossing(problem, len(problem.layers), here, 0))
    return parts if problem.states.is_single else list(_in_context(problem, parts))


def _crossing(problem: Problem, boundary: int, source: int, target: int) -> Part:
    if problem.crossing_ps[boundary, source, target] < 0:
        names = problem.devices[source].name, problem.devices[target].name
        raise InputError(f"there is no link from {names[0]} to {names[1]}")
    return Part(source, target, boundary, -1, None)


def _in_context(problem: Problem, parts: Sequence[Part]) -> Iterator[Part]:
    """The same parts, each with the number of its context."""
    found, kind = problem.states, problem.states.kind
    stays_up = _stay_up(problem, parts)
    state = states.first_state(kind)
    for at, part in enumerate(parts):
        source, target, _, column, choice, _ = part
        if choice is None:
            crossing = states.crossing_context(kind, source, target, state, at in stays_up)
            yield part._replace(context=found.crossing_place[crossing])
            if source == target and at:  # nothing crosses: what ran before goes on, or the plan is over
                continue
            following = states.after_crossing(kind, source, target, state, at in stays_up)
        else:
            last = at + 1 == len(parts) - 1 or parts[at + 1].source != parts[at + 1].target
            bundle = states.bundle_context(kind, source, state, last)
            yield part._replace(context=found.bundle_place[source][bundle])
            leaves = last or not (kind.ends[source] or kind.changes[source])
            following = states.after_bundle(kind, source, state, column, leaves)
            if not last and following is not None:
                following = _going_on(kind, source, following, parts[at + 2].column)
        assert following is not None
        state = following


def _going_on(kind: states.Kind, device: int, state: states.State, column: int) -> states.State:
    """The state arrived from which a device goes on with a bundle at a frequency."""
    ways = list(states.after_stay(kind, device, state))
    return next((way for way in ways if way.sub == column), ways[-1])


def _stay_up(problem: Problem, parts: Sequence[Part]) -> set[int]:
    """The crossings after which their radio stays up, as its next transfer begins within the tail."""
    radios, kind = problem.acting.radios, problem.states.kind
    if not radios:
        return set()
    now, stay = 0, set()
    last_use: dict[int, tuple[int, int]] = {}
    for at, part in enumerate(parts):
        source, target, row, column, choice, _ = part
        if choice is not None:
            now += problem.own_ps(source, row, column, *_ends(problem, parts, at))
        elif source != target:
            radio = kind.radio_of[source][target]
            brought_up = radio >= 0
            if radio in last_use and now - last_use[radio][1] <= radios[radio].tail_ps:
                stay.add(last_use[radio][0])
                brought_up = False
            now += problem.transfer_ps(row, source, target)
            if brought_up:
                now += radios[radio].promotion_ps
            if radio >= 0:
                last_use[radio] = at, now
    return stay


def _ends(problem: Problem, parts: Sequence[Part], at: int) -> tuple[bool, bool, bool]:
    """Whether a bundle is the first and the last that its device runs in one go, and the frequency another."""
    before, after, part = parts[at - 1], parts[at + 1], parts[at]
    first = at == 1 or before.source != before.target
    last = at + 2 == len(parts) or after.source != after.target
    changed = not first and problem.states.kind.changes[part.source] and parts[at - 2].column != part.column
    return first, last, changed


@dataclass(frozen=True, eq=False)
class Sums(Generic[A]):
    """A quantity added up along a plan.

    Attributes:
        computing: Over the steps.
        crossing: Over the crossings.
        slowest: The largest sum that one device has altogether, what it does before it sends the input included, or one
            link one way (of a half-duplex one both ways): a pipeline's slowest stage.
    """

    computing: A
    crossing: A
    slowest: A

    @property
    def total(self) -> A:
        """Over steps and crossings."""
        return self.computing + self.crossing


@overload
def add_up(parts: Sequence[Part], quantity: Quantity, instead: Mapping[Choice, int] = ...) -> Sums[int]: ...


@overload
def add_up(parts: Sequence[Part], quantity: Quantity, instead: Mapping[Choice, Ints]) -> Sums[Ints]: ...


@overload
def add_up(parts: Sequence[Part], quantity: Quantity, instead: Mapping[Choice, Floats]) -> Sums[Floats]: ...


def add_up(
    parts: Sequence[Part], quantity: Quantity, instead: Mapping[Choice, int | Ints | Floats] = NOTHING
) -> Sums[int] | Sums[Ints] | Sums[Floats]:
    """Adds up a quantity along a plan.

    Args:
        parts: The plan, as ``walk`` gives it.
        quantity: The quantity.
        instead: Amounts that stand in for the quantity's own, by step.

    Returns:
        The sums: numbers, or arrays where any amount is one.
    """
    computing = crossing = 0
    stages: defaultdict[tuple[int, int], int] = defaultdict(int)
    for source, target, row, column, choice, context in parts:
        stage = source, target
        if choice is None:
            place = (context, row, source, target) if quantity.contextual else (row, source, target)
            sent = _of_cell(quantity.crossing, place)
            crossing = crossing + sent
            if not row and source != target:
                own = cast("int", quantity.at_input)
                sent = sent - own
                stages[source, source] = stages[source, source] + own
            if stage[::-1] in quantity.half_duplex:
                stage = target, source
            stages[stage] = stages[stage] + sent
        else:
            cell = (context, row, column) if quantity.contextual else (row, column)
            given = instead.get(choice)
            more = _of_cell(quantity.of_devices[source], cell) if given is None else cast("int", given)
            computing = computing + more
            stages[stage] = stages[stage] + more
    if isinstance(computing, np.ndarray):
        return Sums(computing, crossing, reduce(np.maximum, stages.values(), np.zeros_like(computing)))
    return Sums(computing, crossing, max(stages.values()))


def _of_cell(amounts: Ints | Floats, cell: tuple[int, ...]) -> int:
    """One cell's amount: a number, or an array with one entry a replicate, which is added up like one."""
    if amounts.ndim == len(cell):
        return cast("int", amounts[cell].item())
    return cast("int", amounts.T[cell[::-1]])


def amount(parts: Sequence[Part], quantity: Quantity) -> int:
    """A plan's amount of a quantity: its sum, or the slowest stage's."""
    sums = add_up(parts, quantity)
    return sums.slowest if quantity.slowest else sums.total


def _with_terms(
    problem: Problem, parts: Sequence[Part], instead: Mapping[Choice, tuple[A, A]]
) -> dict[Choice, tuple[A, A]]:
    """The same bundles' costs, with what terms make of them."""
    found = {}
    for source, _, row, column, choice, context in parts:
        if choice is not None and choice in instead:
            cell = (context, row, column) if problem.true_costs[0].contextual else (row, column)
            device = problem.devices[source]
            own = int(device.latency_ps[row, column]), int(device.energy_pj[row, column])
            total = (int(quantity.of_devices[source][cell]) for quantity in problem.true_costs)
            more_ps, more_pj = (all_ - alone for all_, alone in zip(total, own, strict=True))
            latency, energy = instead[choice]
            watts = bundle_w(problem, Part(source, source, row, column, choice, context))
            waits = np.rint(watts * (latency - own[0])).astype(np.int64) if watts else 0
            found[choice] = latency + more_ps, energy + more_pj + waits
    return found


def bundle_w(problem: Problem, part: Part) -> float:
    """Power of what waits, or stays up, while a bundle runs."""
    if problem.acting.is_empty:
        return 0.0
    return problem.acting.bundle_w(part.source, problem.states.bundles[part.source][part.context])


def waiting_s(problem: Problem, parts: Sequence[Part]) -> dict[tuple[int, int], float]:
    """How long each device waits at each frequency's column (-1: the most frugal), where that costs energy."""
    found: dict[tuple[int, int], float] = {}
    for part in parts:
        source, target, row, column, choice, at = part
        if choice is None and source == target:
            continue
        if choice is None:
            place: tuple[int, ...] = row, source, target
            table, left_at = problem.true_costs[0].crossing, problem.states.crossings[at].left_at
        else:
            place = row, column
            table, left_at = problem.true_costs[0].of_devices[source], problem.states.bundles[source][at].left_at
        seconds = int(table[(at, *place) if problem.true_costs[0].contextual else place]) / PER_S
        for device in problem.acting.waiting_w:
            if choice is None or device != source:
                key = device, left_at[device]
                found[key] = found.get(key, 0.0) + seconds
    return found


@dataclass(frozen=True)
class Costs(Generic[A]):
    """What a plan costs: numbers, or arrays with one entry a replicate.

    Attributes:
        latency_ps: Latency.
        energy_pj: Energy.
        period_ps: Slowest stage of a pipeline: all that one device does, or all that crosses one link one way.
    """

    latency_ps: A
    energy_pj: A
    period_ps: A

    def time_ps(self, problem: Problem) -> A:
        """The time that the goal counts: the latency, or the slowest stage's."""
        return self.period_ps if problem.goal.is_pipeline else self.latency_ps

    @overload
    def value(self: Costs[int], problem: Problem) -> float: ...

    @overload
    def value(self: Costs[Ints], problem: Problem) -> Floats: ...

    @overload
    def value(self: Costs[Floats], problem: Problem) -> Floats: ...

    def value(self, problem: Problem) -> float | Floats:
        """The goal's value, in its unit: s, J, s of the slowest stage, or the weighted sum."""
        goal = problem.goal
        if goal.kind == "weighted":
            return goal.per_s * (self.latency_ps / PER_S) + goal.per_j * (self.energy_pj / PER_J)
        return self.energy_pj / PER_J if goal.kind == "energy" else self.time_ps(problem) / PER_S

    def kept(self, problem: Problem) -> Bools:
        """Whether the limits on latency and energy are kept."""
        kept = np.ones(np.shape(self.latency_ps), np.bool_)
        if problem.latency_limit_ps is not None:
            kept &= self.latency_ps <= problem.latency_limit_ps
        if problem.energy_limit_pj is not None:
            kept &= self.energy_pj <= problem.energy_limit_pj
        return kept


@overload
def costs_of(problem: Problem, choices: Sequence[Choice]) -> Costs[int]: ...


@overload
def costs_of(problem: Problem, choices: Sequence[Choice], latency: Quantity, energy: Quantity) -> Costs[Ints]: ...


@overload
def costs_of(
    problem: Problem, choices: Sequence[Choice], *, instead: Mapping[Choice, tuple[Ints, Ints]]
) -> Costs[Ints]: ...


def costs_of(
    problem: Problem,
    choices: Sequence[Choice],
    latency: Quantity | None = None,
    energy: Quantity | None = None,
    instead: Mapping[Choice, tuple[Ints, Ints]] | None = None,
) -> Costs[int] | Costs[Ints]:
    """What a plan costs where all or some costs are others than the problem's.

    Args:
        problem: The problem.
        choices: The plan.
        latency: Latencies (ps) in place of the problem's.
        energy: Energies (pJ) in place of the problem's.
        instead: Step -> (latency, energy) that stand in for those.

    Raises:
        InputError: The plan does not tile the chain, or uses an option or a link that does not exist.
    """
    parts = walk(problem, choices)
    instead = instead and _with_terms(problem, parts, instead)
    times, energies = ({choice: both[at] for choice, both in (instead or {}).items()} for at in (0, 1))
    of_time = add_up(parts, latency or problem.latency, times)
    of_energy = add_up(parts, energy or problem.energy, energies)
    return Costs(of_time.total, of_energy.total, of_time.slowest)
