"""Bootstrap replicates of a problem: raw runs drawn anew, with what each plan and the frontier then cost.

Every replicate draws the runs of each bundle, device and clock with replacement and takes the trimmed means; and one
gain for each meter, by which all that it has measured is off together. Transfers are modelled, not measured, and stay
what they are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist
from time import monotonic

import numpy as np

from dime.contract.errors import InputError
from dime.host.common import statistics
from dime.host.common.statistics import Floats, Ints
from dime.host.planning.cost import Costs, costs_of
from dime.host.planning.problem import PER_J, PER_S, Choice, Problem, bundle_bounds
from dime.host.profiles.profiles import Profile
from dime.host.profiles.published import averaged
from dime.host.search.solvers import exact
from dime.host.search.solvers.exact import TradeOffs

Choices = tuple[Choice, ...]
LARGEST_SAMPLE = 50_000_000


@dataclass(frozen=True, eq=False)
class Samples:
    """Bootstrap replicates of a problem's costs.

    Attributes:
        problem: The problem, with the costs as measured.
        latency_ps: For each device (replicates, bundles, frequencies), negative where there is no option.
        energy_pj: The same of the energy, 0 where the profile has none.
        gains: For each device its meter's gain in each replicate, which is in the energies.
    """

    problem: Problem
    latency_ps: tuple[Ints, ...]
    energy_pj: tuple[Ints, ...]
    gains: tuple[Floats, ...]

    def __len__(self) -> int:
        return len(self.latency_ps[0])

    def trade_offs(self, time_limit_s: float) -> Iterator[TradeOffs]:
        """The frontier of each replicate, until time is out; at least one is given."""
        deadline = monotonic() + time_limit_s
        every = exact.replicated(self.problem, self.latency_ps, self.energy_pj, time_limit_s)
        for at, found in enumerate(every):
            if at and monotonic() > deadline:
                return
            yield found

    def cell(self, choice: Choice) -> tuple[Ints, Ints]:
        """Latency and energy of one step, one entry a replicate."""
        bundle, device, column = place(self.problem, choice)
        return self.latency_ps[device][:, bundle, column], self.energy_pj[device][:, bundle, column]

    def costs(self, choices: Choices) -> Costs:
        """What a plan costs in each replicate."""
        latency = replace(self.problem.latency, of_devices=self.latency_ps)
        return costs_of(self.problem, choices, latency, replace(self.problem.energy, of_devices=self.energy_pj))


def resample(
    problem: Problem,
    profiles: Sequence[Profile],
    replicates: int = statistics.REPLICATES,
    seed: int = statistics.SEED,
) -> Samples:
    """Draws bootstrap replicates of all costs of a problem.

    Args:
        problem: The problem.
        profiles: The profiles it was built from, in the same order.
        replicates: How many; fewer where they would not fit into memory.
        seed: Seed; each device has its own stream.

    Returns:
        The replicates.

    Raises:
        InputError: The profiles are not those of the problem, or there are fewer than two replicates.
    """
    check_profiles(problem, profiles)
    profiles = averaged(profiles, problem.arithmetic)
    if replicates < 2:
        raise InputError(f"a bootstrap needs at least 2 replicates, not {replicates}")
    cells = sum(device.latency_ps.size for device in problem.devices)
    count = max(2, min(replicates, LARGEST_SAMPLE // cells))
    first, last = bundle_bounds(len(problem.layers), problem.max_layers)
    latencies, energies, gains = [], [], list(draw_gains(profiles, count, seed))
    for at, (profile, device) in enumerate(zip(profiles, problem.devices, strict=True)):
        drawn = profile.bootstrap(count, seed + at)
        profiled = last - first < profile.max_layers
        latency = np.full((count, *device.latency_ps.shape), -1, np.int64)
        latency[:, profiled] = np.rint(drawn.duration_s * PER_S)
        energy = np.zeros_like(latency)
        if problem.has_energy and drawn.energy_j is not None:
            energy[:, profiled] = np.rint(drawn.energy_j * gains[at][:, None, None] * PER_J)
        latency[:, device.latency_ps < 0] = -1
        latencies.append(latency)
        energies.append(energy)
    return Samples(problem, tuple(latencies), tuple(energies), tuple(gains))


def draw_gains(profiles: Sequence[Profile], count: int, seed: int) -> Iterator[Floats]:
    """Draws each device's meter's gain, ``count`` times: normal, the same for devices that share a kind of meter.

    The draws are the quantiles of the distribution in an order of their own, so that few of them have its spread.
    """
    places = [NormalDist().inv_cdf((place + 0.5) / count) for place in range(count)]
    for profile in profiles:
        error = profile.gain.error if profile.gain and not profile.energy_model else None
        shared = np.random.default_rng([seed, *profile.meter.encode()])
        yield 1 + (error or 0.0) * shared.permutation(places)


def check_profiles(problem: Problem, profiles: Sequence[Profile]) -> None:
    """Checks that these are the profiles that a problem was built from.

    Raises:
        InputError: They are not, or not in this order.
    """
    names = [device.name for device in problem.devices]
    if [profile.device for profile in profiles] != names:
        given = ", ".join(profile.device for profile in profiles) or "none"
        raise InputError(f"the problem needs the profiles of {', '.join(names)}, in this order, not {given}")
    for profile, device in zip(profiles, problem.devices, strict=True):
        if profile.layers != problem.layers or profile.frequencies_hz != device.frequencies_hz:
            raise InputError(f"{profile.path} is not the profile that the problem has for {device.name}")


def plan_costs(problem: Problem, choices: Choices, cells: dict[Choice, tuple[Ints, Ints]]) -> Costs:
    """What a plan costs where some of its steps have other costs than the problem says.

    Args:
        problem: The problem.
        choices: The plan.
        cells: Step -> (latency, energy): numbers, or arrays of one length.
    """
    return costs_of(problem, choices, instead=cells)


def place(problem: Problem, choice: Choice) -> tuple[int, int, int]:
    """(bundle, device, column) of a step in the devices' arrays."""
    return (
        problem.index(choice.bundle),
        choice.device,
        problem.devices[choice.device].frequencies_hz.index(choice.frequency_hz),
    )
