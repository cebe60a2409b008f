"""What a plan costs and which limits it breaks, computed from the problem alone: the yardstick for every solver."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from dime.contract.bundles import Bundle, covers, spell
from dime.contract.errors import InputError
from dime.host.common.units import clock
from dime.host.planning.problem import PER_J, PER_S, Choice, Problem


@dataclass(frozen=True)
class Totals:
    """What a plan costs, recomputed from the problem alone.

    Attributes:
        computation_ps: Sum over bundles.
        communication_ps: Sum over crossings, input and result included.
        computation_pj: Energy of the bundles on devices whose profile has energy.
        radio_pj: Energy of the crossings.
        period_ps: Slowest stage of a pipeline: all that one device computes, or all that crosses one link one way.
        broken: One line for each limit, or rule of the goal, that the plan does not keep.
    """

    computation_ps: int
    communication_ps: int
    computation_pj: int
    radio_pj: int
    period_ps: int
    broken: tuple[str, ...]

    @property
    def latency_ps(self) -> int:
        return self.computation_ps + self.communication_ps

    @property
    def energy_pj(self) -> int:
        return self.computation_pj + self.radio_pj


def evaluate(problem: Problem, choices: Sequence[Choice]) -> Totals:
    """Computes what a plan costs and which limits it breaks, from the problem alone.

    Raises:
        InputError: The plan does not tile the chain, or uses an option or a link that does not exist.
    """
    if not covers([choice.bundle for choice in choices], len(problem.layers)):
        raise InputError("the plan does not hold each layer exactly once, in order")
    compute_ps = compute_pj = send_ps = send_pj = here = stages = 0
    busy_ps: dict[tuple[int, int], int] = {}
    crossings = []
    broken = []
    for bundle, device, frequency_hz in choices:
        latency, energy = _cost(problem, bundle, device, frequency_hz)
        compute_ps, compute_pj = compute_ps + latency, compute_pj + energy
        busy_ps[device, device] = busy_ps.get((device, device), 0) + latency
        crossings.append((bundle.first, here, device))
        stages += device != here or bundle.first == 0
        here = device
        column = problem.devices[device].frequencies_hz.index(frequency_hz)
        if not problem.usable[device][problem.index(bundle), column]:
            name = spell(bundle, list(problem.layers))
            at = "" if frequency_hz < 0 else f" at {clock(frequency_hz)}"
            broken.append(f"'{name}' on {problem.devices[device].name}{at} is not allowed")
    if problem.goal.kind == "throughput" and len(busy_ps) < stages:
        broken.append("a device holds two stages of the pipeline")
    for boundary, source, target in [*crossings, (len(problem.layers), here, 0)]:
        cost = problem.crossing(boundary, source, target)
        if cost is None:
            raise InputError(f"there is no link from {problem.devices[source].name} to {problem.devices[target].name}")
        send_ps, send_pj = send_ps + cost[0], send_pj + cost[1]
        busy_ps[source, target] = busy_ps.get((source, target), 0) + cost[0]
    totals = Totals(compute_ps, send_ps, compute_pj, send_pj, max(busy_ps.values()), ())
    broken += _broken(problem, choices, totals)
    return replace(totals, broken=tuple(broken))


def value(problem: Problem, totals: Totals) -> float:
    """The goal's value for a plan: s, J, s of the slowest stage, or the weighted sum."""
    kind = problem.goal.kind
    if kind == "weighted":
        return problem.goal.per_s * (totals.latency_ps / PER_S) + problem.goal.per_j * (totals.energy_pj / PER_J)
    amounts = {"latency": totals.latency_ps, "energy": totals.energy_pj, "throughput": totals.period_ps}
    return amounts[kind] / (PER_J if kind == "energy" else PER_S)


def _cost(problem: Problem, bundle: Bundle, device: int, frequency_hz: int) -> tuple[int, int]:
    costs = problem.devices[device]
    if bundle.last - bundle.first < problem.max_layers and frequency_hz in costs.frequencies_hz:
        at, column = problem.index(bundle), costs.frequencies_hz.index(frequency_hz)
        if costs.latency_ps[at, column] >= 0:
            return int(costs.latency_ps[at, column]), int(costs.energy_pj[at, column])
    raise InputError(f"{costs.name} has no bundle '{spell(bundle, list(problem.layers))}' at {frequency_hz} Hz")


def _broken(problem: Problem, choices: Sequence[Choice], totals: Totals) -> list[str]:
    broken = []
    if problem.latency_limit_ps is not None and totals.latency_ps > problem.latency_limit_ps:
        broken.append(f"latency {totals.latency_ps / PER_S:g} s is over {problem.limits.latency_s:g} s")
    if problem.energy_limit_pj is not None and totals.energy_pj > problem.energy_limit_pj:
        broken.append(f"energy {totals.energy_pj / PER_J:g} J is over {problem.limits.energy_j:g} J")
    for before, after in pairwise(choices):
        short = before.bundle.last - before.bundle.first + 1 < problem.largest_bundles[before.device]
        if problem.limits.rule == "merged" and before.device == after.device and short:
            broken.append(f"{problem.devices[after.device].name} runs bundles back to back that could be one")
    for at, device in enumerate(problem.devices):
        held = [c.bundle for c in choices if c.device == at]
        layers = sum(bundle.last - bundle.first + 1 for bundle in held)
        if problem.limits.rule == "published" and len(held) > -(-layers // problem.largest_bundles[at]):
            broken.append(f"{device.name} has {len(held)} bundles of {layers} layers")
        used = sum(sum((problem.layer_bytes or ())[bundle.first : bundle.last + 1]) for bundle in held)
        if at in problem.memory_limits and used > problem.memory_limits[at]:
            broken.append(f"{device.name} holds {used} bytes, over {problem.memory_limits[at]}")
    return broken
