"""What a plan costs and which limits it breaks, computed from the problem alone: the yardstick for every solver."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

from dime.contract.bundles import spell
from dime.host.common.units import clock
from dime.host.planning.cost import Costs, Part, add_up, walk
from dime.host.planning.problem import PER_J, PER_S, Choice, Problem


@dataclass(frozen=True)
class Totals(Costs[int]):
    """What a plan costs, recomputed from the problem alone.

    Attributes:
        computation_ps: Latency of the bundles.
        communication_ps: Latency of the crossings, input and result included.
        computation_pj: Energy of the bundles on devices whose profile has energy.
        radio_pj: Energy of the crossings.
        terms: Term -> (ps, pj) of what comes on top of these; they are in latency and energy, and in nothing else here.
        broken: One line for each limit, or rule of the goal, that the plan does not keep.
    """

    latency_ps: int
    energy_pj: int
    period_ps: int
    computation_ps: int
    communication_ps: int
    computation_pj: int
    radio_pj: int
    broken: tuple[str, ...]
    terms: Mapping[str, tuple[int, int]] = field(default_factory=dict)


def evaluate(problem: Problem, choices: Sequence[Choice]) -> Totals:
    """Computes what a plan costs and which limits it breaks, from the problem alone.

    Raises:
        InputError: The plan does not tile the chain, or uses an option or a link that does not exist.
    """
    parts = walk(problem, choices)
    time, energy = add_up(parts, problem.latency), add_up(parts, problem.energy)
    broken = _forbidden(problem, parts)
    if problem.goal.is_pipeline and _stages(choices) > len({choice.device for choice in choices}):
        broken.append("a device holds two stages of the pipeline")
    broken += _broken(problem, choices, parts, time.total, energy.total)
    return Totals(
        time.total,
        energy.total,
        time.slowest,
        time.computing,
        time.crossing,
        energy.computing,
        energy.crossing,
        tuple(broken),
    )


def itemised(problem: Problem, choices: Sequence[Choice]) -> Totals:
    """The same, where each term stands by itself, and computation and communication without them."""
    totals, parts = evaluate(problem, choices), walk(problem, choices)
    sums = {
        name: tuple(add_up(parts, quantity) for quantity in quantities) for name, quantities in problem.by_term.items()
    }
    times, energies = [time for time, _ in sums.values()], [energy for _, energy in sums.values()]
    return replace(
        totals,
        computation_ps=totals.computation_ps - sum(one.computing for one in times),
        communication_ps=totals.communication_ps - sum(one.crossing for one in times),
        computation_pj=totals.computation_pj - sum(one.computing for one in energies),
        radio_pj=totals.radio_pj - sum(one.crossing for one in energies),
        terms={name: (time.total, energy.total) for name, (time, energy) in sums.items()},
    )


def value(problem: Problem, costs: Costs[int]) -> float:
    """The goal's value for a plan: s, J, s of the slowest stage, or the weighted sum."""
    return float(costs.value(problem))


def _forbidden(problem: Problem, parts: Sequence[Part]) -> list[str]:
    broken = []
    for device, _, row, column, choice, _ in parts:
        if choice is not None and not problem.usable[device][row, column]:
            name = spell(choice.bundle, list(problem.layers))
            at = "" if choice.frequency_hz < 0 else f" at {clock(choice.frequency_hz)}"
            broken.append(f"'{name}' on {problem.devices[device].name}{at} is not allowed")
    return broken


def _stages(choices: Sequence[Choice]) -> int:
    """Runs of bundles on one device."""
    return 1 + sum(before.device != after.device for before, after in pairwise(choices))


def _broken(
    problem: Problem, choices: Sequence[Choice], parts: Sequence[Part], latency_ps: int, energy_pj: int
) -> list[str]:
    broken = []
    if problem.latency_limit_ps is not None and latency_ps > problem.latency_limit_ps:
        broken.append(f"latency {latency_ps / PER_S:g} s is over {problem.limits.latency_s:g} s")
    if problem.energy_limit_pj is not None and energy_pj > problem.energy_limit_pj:
        broken.append(f"energy {energy_pj / PER_J:g} J is over {problem.limits.energy_j:g} J")
    for before, after in pairwise(choices):
        short = before.bundle.last - before.bundle.first + 1 < problem.largest_bundles[before.device]
        if problem.limits.rule == "merged" and before.device == after.device and short:
            broken.append(f"{problem.devices[after.device].name} runs bundles back to back that could be one")
    for at, device in enumerate(problem.devices):
        held = [c.bundle for c in choices if c.device == at]
        layers = sum(bundle.last - bundle.first + 1 for bundle in held)
        if problem.limits.rule == "published" and len(held) > -(-layers // problem.largest_bundles[at]):
            broken.append(f"{device.name} has {len(held)} bundles of {layers} layers")
        used = add_up(parts, problem.memory[at]).total if at in problem.memory else 0
        if used > problem.memory_limits.get(at, 0):
            broken.append(f"{device.name} holds {used} bytes, over {problem.memory_limits[at]}")
    return broken
