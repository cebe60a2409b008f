"""The planning problem: profiles, links, goal and limits, frozen, with every cost an integer and no solver in it.

A network is a chain of N layers. A *bundle* is a contiguous run of them; on each device it has one option a frequency:
latency and energy. A *plan* tiles the chain with bundles, each on a device at a frequency. Between bundles on
different devices the tensor crosses a link, and so do the input (which starts on the edge device, number 0) and the
result (which must get back to it). Bundles back to back on one device are legal and cost nothing between them.

Costs are integers, picoseconds and picojoules: equal sums of floats differ in their last digit, and a dominated plan
would survive.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from typing import NamedTuple

import numpy as np

from dime.contract.bundles import Bundle, enumerate_bundles
from dime.contract.errors import InputError, unknown
from dime.host.common.stats import Bools, Ints
from dime.host.common.units import plain
from dime.host.planning.goals import Goal, Limits
from dime.host.planning.links import Link
from dime.host.planning.quantity import Quantity
from dime.host.planning.states import States
from dime.host.planning.terms import ENCODING, NOTHING, RADIO, WAITING, Tables, Terms, by_term, priced, states_of

PER_S = 10**12
PER_J = 10**12
LARGEST_SUM = 2**62
LARGEST_TABLE = 30_000_000
COSTS = ("latency_ps", "energy_pj")


class Option(NamedTuple):
    """One way to run a bundle on a device."""

    frequency_hz: int
    latency_ps: int
    energy_pj: int


class Choice(NamedTuple):
    """One step of a plan: a bundle, the device's position in ``Problem.devices``, and the frequency."""

    bundle: Bundle
    device: int
    frequency_hz: int


@dataclass(frozen=True, eq=False)
class Device:
    """A device's options.

    Attributes:
        name: Its name.
        frequencies_hz: Frequencies, one a column of the arrays.
        latency_ps: (bundles, frequencies); negative where there is no such option.
        energy_pj: (bundles, frequencies); 0 where the profile has no energy.
        has_energy: Whether its energy was measured or modelled at all.
        origin: ``measured``, ``replayed``, ``emulated`` or ``modelled``: where the latencies come from.
        energy_origin: The same for energies.
        max_layers: Largest bundle that was profiled on it; None: the problem's.
    """

    name: str
    frequencies_hz: tuple[int, ...]
    latency_ps: Ints
    energy_pj: Ints
    has_energy: bool = True
    origin: str = "measured"
    energy_origin: str = "measured"
    max_layers: int | None = None


@dataclass(frozen=True, eq=False)
class Problem:
    """A planning problem; ``formulation.build_problem`` makes one from profiles.

    Attributes:
        network: The network's name.
        layers: Its layers, in order.
        max_layers: Largest bundle that has options on any device. Bundles are those of ``enumerate_bundles``, in that
            order.
        devices: The devices; the first is the edge device, which holds input and output.
        crossing_ps: (N + 1, devices, devices) latency of the tensor at a boundary, from one device to another;
            negative where there is no link, 0 on the diagonal. Boundary 0 is the input, N the result.
        crossing_pj: The same of radio energy.
        sizes_bytes: What is sent at each boundary (N + 1): the tensor, or what it is encoded to.
        goal: What to make small.
        limits: What to keep to.
        has_energy: Whether energies mean anything: the edge device's profile has them.
        layer_bytes: Memory that each layer takes where it runs (weights and activations), or None if not known.
        links: How the links were named, for people.
        joined: (weaker, other) positions of devices -> the link that joins them, or None for a pair without one; empty
            where the crossings were given as numbers.
        arithmetic: Of the runs' means and of the radio, ``correct`` or ``published``.
        warnings: What is odd in the tables behind it, a line each.
        batch: Inputs that a run computes at once; a plan is for all of them.
        terms: What a plan costs beside its bundles and transfers.
        instead: Two quantities in the places of latency and energy; None: these themselves.
    """

    network: str
    layers: tuple[str, ...]
    max_layers: int
    devices: tuple[Device, ...]
    crossing_ps: Ints
    crossing_pj: Ints
    sizes_bytes: tuple[int, ...]
    goal: Goal = field(default_factory=Goal)
    limits: Limits = field(default_factory=Limits)
    has_energy: bool = True
    layer_bytes: tuple[int, ...] | None = None
    links: str = ""
    joined: Mapping[tuple[int, int], Link | None] = field(default_factory=dict)
    arithmetic: str = "correct"
    warnings: tuple[str, ...] = ()
    batch: int = 1
    terms: Terms = NOTHING
    instead: tuple[Quantity, Quantity] | None = None

    def __post_init__(self) -> None:
        _check(self)

    def __repr__(self) -> str:
        names = ", ".join(f"{device.name} ({device.origin})" for device in self.devices)
        lines = [
            f"Problem: least {self.goal.kind} of {self.network}, {len(self.layers)} layers, over {self.links}",
            f"  devices {names}",
            f"  {'with' if self.has_energy else 'without'} energy; {len(self.warnings)} warnings",
        ]
        return "\n".join(map(plain, lines))

    @cached_property
    def bundles(self) -> list[Bundle]:
        """All bundles that may have options, ordered by first, then last layer."""
        return list(enumerate_bundles(len(self.layers), self.max_layers))

    @cached_property
    def bounds(self) -> tuple[Ints, Ints]:
        """First and last layer of each bundle, as arrays."""
        return bundle_bounds(len(self.layers), self.max_layers)

    @cached_property
    def acting(self) -> Terms:
        """The terms that the goal knows: of a pipeline, in which inferences overlap, not all."""
        terms = self.terms.overlapping() if self.goal.is_pipeline else self.terms
        return terms.with_input(self.crossing_ps.shape, self.edge_columns)

    @cached_property
    def edge_columns(self) -> tuple[int, ...]:
        """Columns of the edge device's frequencies that the limits leave."""
        edge = self.devices[0]
        allowed = self.limits.frequencies_hz.get(edge.name, edge.frequencies_hz)
        return tuple(column for column, hertz in enumerate(edge.frequencies_hz) if hertz in allowed)

    @property
    def input_hz(self) -> int:
        """The clock at which the edge device encodes the input before it is sent; -1 where it does not, or has none."""
        if self.terms.input_ps is None or not self.edge_columns:
            return -1
        return self.devices[0].frequencies_hz[self.terms.input_column(self.edge_columns)]

    @cached_property
    def several(self) -> tuple[bool, ...]:
        """For each device whether it may run several bundles in one go."""
        free = self.limits.rule == "free" and len(self.layers) > 1
        return tuple(free or largest < len(self.layers) for largest in self.largest_bundles)

    @cached_property
    def states(self) -> States:
        """What the past of a plan changes in the costs of its next part."""
        return states_of(self.acting, tuple(len(device.frequencies_hz) for device in self.devices), self.several)

    @property
    def unknown_energy(self) -> str:
        """Why the energy of a plan that leaves the weak device is not known at all; empty where some of it is."""
        missing = {one.term: str(one) for one in reversed(self.terms.missing)}
        if RADIO not in missing or WAITING not in missing or self.instead is not None:
            return ""
        return f"without {missing[RADIO]}, and without {missing[WAITING]}"

    @cached_property
    def half_duplex(self) -> tuple[tuple[int, int], ...]:
        """Pairs of devices whose link sends one way at a time."""
        if self.arithmetic == "published":
            return ()
        return tuple(pair for pair, link in self.joined.items() if link is not None and not link.duplex)

    @cached_property
    def true_costs(self) -> tuple[Quantity, Quantity]:
        """Latency and energy, whatever stands in their places."""
        times, energies = (tuple(getattr(device, name) for device in self.devices) for name in COSTS)
        return self.quantities(times, energies)

    def quantities(
        self,
        latency_ps: Sequence[Ints],
        energy_pj: Sequence[Ints],
        crossing_ps: Ints | None = None,
        acting: Terms | None = None,
    ) -> tuple[Quantity, Quantity]:
        """Latency and energy with all terms, where a device's bundles cost (..., bundles, frequencies).

        ``crossing_ps`` takes the place of the crossings' times, (..., boundaries, devices, devices), and ``acting``
        that of the terms, which depend on the past as the problem's do.
        """
        crossing_ps = self.crossing_ps if crossing_ps is None else crossing_ps
        tables: tuple[Tables, Tables] = priced(self, latency_ps, energy_pj, crossing_ps, self.crossing_pj, acting)
        (times, crossing_ps), (energies, crossing_pj) = tables
        time = Quantity(
            "latency",
            "ps",
            times,
            crossing_ps,
            self.latency_limit_ps,
            contextual=not self.states.is_single,
            half_duplex=self.half_duplex,
            at_input=(self.acting if acting is None else acting).at_input_ps,
        )
        energy = replace(time, name="energy", unit="pJ", of_devices=energies, crossing=crossing_pj, at_input=0)
        return time, replace(energy, most=self.energy_limit_pj)

    def own_ps(self, device: int, row: int, column: int, first: bool, last: bool, changed: bool) -> int:
        """What a bundle takes, with copies and the like, as the first or last of those that a device runs in one go."""
        ends = self.states.kind.ends[device]
        context = self._by_ends[device][ends and first, ends and last, changed]
        return int(self.true_costs[0].of_devices[device][context, row, column])

    @cached_property
    def _by_ends(self) -> tuple[dict[tuple[bool, bool, bool], int], ...]:
        return tuple(
            {(one.first, one.last, one.changed): at for at, one in enumerate(contexts)}
            for contexts in self.states.bundles
        )

    def transfer_ps(self, boundary: int, source: int, target: int) -> int:
        """What a crossing takes where the radio is up."""
        place = boundary, source, target
        return int(self.crossing_ps[place] + sum(ps[place] for ps, _ in self.acting.crossing.values()))

    @cached_property
    def by_term(self) -> dict[str, tuple[Quantity, Quantity]]:
        """Term -> what it alone adds: latency and energy."""
        time, energy = self.true_costs
        return {
            name: (
                replace(
                    time, of_devices=times[0], crossing=times[1], at_input=time.at_input if name == ENCODING else 0
                ),
                replace(energy, of_devices=joules[0], crossing=joules[1]),
            )
            for name, (times, joules) in by_term(self).items()
        }

    @cached_property
    def latency(self) -> Quantity:
        """Latencies, ps, with their limit."""
        return self.true_costs[0] if self.instead is None else replace(self.instead[0], most=self.latency_limit_ps)

    @cached_property
    def energy(self) -> Quantity:
        """Energies, pJ, with their limit."""
        return self.true_costs[1] if self.instead is None else replace(self.instead[1], most=self.energy_limit_pj)

    @cached_property
    def period(self) -> Quantity:
        """The slowest stage's time, ps, of a plan as a pipeline."""
        return replace(self.latency, name="period", most=None, slowest=True)

    @cached_property
    def time(self) -> Quantity:
        """The time that the goal counts: the latency, or the slowest stage's."""
        return self.period if self.goal.is_pipeline else self.latency

    @cached_property
    def bundle_bytes(self) -> Ints:
        """Memory that each bundle takes where it runs; 0 where that is not known."""
        before = np.concatenate(([0], np.cumsum(self.layer_bytes or np.zeros(len(self.layers), np.int64))))
        first, last = self.bounds
        taken: Ints = before[last + 1] - before[first]
        return taken

    @cached_property
    def memory(self) -> dict[int, Quantity]:
        """Device's position -> what it holds, bytes, where that is limited."""
        crossing = np.zeros_like(self.crossing_ps)
        return {
            limited: Quantity(
                f"memory of {self.devices[limited].name}",
                "bytes",
                tuple(
                    np.broadcast_to((self.bundle_bytes * (at == limited))[:, None], device.latency_ps.shape)
                    for at, device in enumerate(self.devices)
                ),
                crossing,
                most,
            )
            for limited, most in self.memory_limits.items()
        }

    @cached_property
    def latency_limit_ps(self) -> int | None:
        """The limit on latency, to the nearest picosecond."""
        return None if self.limits.latency_s is None else integer(self.limits.latency_s, PER_S)

    @cached_property
    def energy_limit_pj(self) -> int | None:
        """The limit on energy, to the nearest picojoule."""
        return None if self.limits.energy_j is None else integer(self.limits.energy_j, PER_J)

    @cached_property
    def private(self) -> Bools:
        """For each layer whether it must run on the edge device."""
        named = self.limits.private_layers
        if isinstance(named, int):
            return np.arange(len(self.layers)) < named
        return np.isin(self.layers, named)

    @cached_property
    def memory_limits(self) -> dict[int, int]:
        """Device's position -> most bytes it may hold, where that is less than the whole network takes."""
        total = sum(self.layer_bytes or ())
        names = [device.name for device in self.devices]
        return {names.index(name): most for name, most in self.limits.memory_bytes.items() if most < total}

    @cached_property
    def largest_bundles(self) -> tuple[int, ...]:
        """M of each device: the largest bundle that its profile has and the limits allow."""
        most = min(self.max_layers, self.limits.max_bundle or self.max_layers)
        return tuple(min(most, device.max_layers or most) for device in self.devices)

    @cached_property
    def usable(self) -> tuple[Bools, ...]:
        """For each device which of its options, (bundles, frequencies), the limits on single bundles leave."""
        first, last = self.bounds
        before = np.concatenate(([0], np.cumsum(self.private)))
        private = before[last + 1] > before[first]
        result = []
        for at, device in enumerate(self.devices):
            fitting = last - first < self.largest_bundles[at]
            allowed = self.limits.frequencies_hz.get(device.name, device.frequencies_hz)
            column = np.array([frequency in allowed for frequency in device.frequencies_hz])
            row = fitting if at == 0 else fitting & ~private
            result.append((device.latency_ps >= 0) & row[:, None] & column)
        return tuple(result)

    def options(self, bundle: Bundle, device: int) -> tuple[Option, ...]:
        """The usable options of a bundle on a device, in the order of its frequencies."""
        at = self.index(bundle)
        costs = self.devices[device]
        return tuple(
            Option(costs.frequencies_hz[k], int(costs.latency_ps[at, k]), int(costs.energy_pj[at, k]))
            for k in np.flatnonzero(self.usable[device][at])
        )

    def index(self, bundle: Bundle) -> int:
        """Position of a bundle in ``bundles`` and in the devices' arrays."""
        return int(_row_offsets(len(self.layers), self.max_layers)[bundle.first]) + bundle.last - bundle.first

    def crossing(self, boundary: int, source: int, target: int) -> tuple[int, int] | None:
        """Latency (ps) and energy (pJ) of moving the tensor at a boundary, or None where there is no link."""
        latency = int(self.crossing_ps[boundary, source, target])
        return None if latency < 0 else (latency, int(self.crossing_pj[boundary, source, target]))

    def with_goal(self, goal: str | Goal) -> Problem:
        """The same problem with another goal."""
        return replace(self, goal=Goal.parse(goal) if isinstance(goal, str) else goal)

    def with_limits(self, limits: Limits) -> Problem:
        """The same problem with other limits."""
        return replace(self, limits=limits.named(self.devices[0].name))

    def with_costs(self, latency_ps: Sequence[Ints], energy_pj: Sequence[Ints]) -> Problem:
        """The same problem with other costs of the bundles, one (bundles, frequencies) array a device."""
        devices = zip(self.devices, latency_ps, energy_pj, strict=True)
        return replace(
            self, devices=tuple(replace(d, latency_ps=latency, energy_pj=energy) for d, latency, energy in devices)
        )


@lru_cache(maxsize=32)
def _row_offsets(layer_count: int, max_layers: int) -> Ints:
    """Position of the first bundle that starts at each layer, in the order of ``enumerate_bundles``."""
    lengths = np.minimum(max_layers, layer_count - np.arange(layer_count))
    return np.concatenate(([0], np.cumsum(lengths)[:-1]))


@lru_cache(maxsize=32)
def bundle_bounds(layer_count: int, max_layers: int) -> tuple[Ints, Ints]:
    """First and last layers of ``enumerate_bundles(layer_count, max_layers)``, as arrays."""
    lengths = np.minimum(max_layers, layer_count - np.arange(layer_count))
    first = np.repeat(np.arange(layer_count), lengths)
    return first, np.arange(len(first)) - _row_offsets(layer_count, max_layers)[first] + first


def check_names(names: Sequence[str]) -> None:
    if len(set(names)) < len(names):
        raise InputError(f"two devices are called the same: {', '.join(names)}; name one with load_profile(device=...)")


def _check(problem: Problem) -> None:
    """Refuses what no solver could handle: unknown names, missing energy, costs that are negative or too large."""
    limits, names = problem.limits, [device.name for device in problem.devices]
    check_names(names)
    if not problem.has_energy and (
        problem.goal.kind == "energy" or problem.goal.per_j > 0 or limits.energy_j is not None
    ):
        raise InputError(
            f"the profile of {names[0]} has no energy: join its power, model it as so many watts (EDGE_POWER=5),"
            " or plan for latency or throughput"
        )
    unknown_energy = problem.unknown_energy
    if unknown_energy and (problem.goal.kind == "energy" or problem.goal.per_j > 0 or limits.energy_j is not None):
        raise InputError(f"what a plan that sends costs in energy is not known: {unknown_energy}")
    for name in (*limits.memory_bytes, *limits.frequencies_hz):
        if name not in names:
            raise unknown("device in a limit", name, names)
    if limits.memory_bytes and problem.layer_bytes is None:
        raise InputError(
            "a limit on memory needs the bytes that each layer takes (layer_bytes); profiles made by DIME say them"
        )
    for device in problem.devices:
        for frequency in limits.frequencies_hz.get(device.name, ()):
            if frequency not in device.frequencies_hz:
                raise unknown(f"frequency of {device.name}", frequency, device.frequencies_hz)
    private = limits.private_layers
    if isinstance(private, int) and not 0 <= private <= len(problem.layers):
        raise InputError(f"{private} private layers of a network that has {len(problem.layers)}")
    for layer in () if isinstance(private, int) else private:
        if layer not in problem.layers:
            raise unknown("private layer", layer, problem.layers)
    _check_sizes(problem)


def _check_sizes(problem: Problem) -> None:
    bundle_count = len(problem.bounds[0])
    for device in problem.devices:
        if device.latency_ps.shape != (bundle_count, len(device.frequencies_hz)) != device.energy_pj.shape:
            raise InputError(f"{device.name} needs costs of {bundle_count} bundles x {len(device.frequencies_hz)}")
        if device.energy_pj.size and int(device.energy_pj.min()) < 0:
            raise InputError(f"{device.name} has a negative energy")
    for crossing, costs in (
        (problem.crossing_ps, [device.latency_ps for device in problem.devices]),
        (problem.crossing_pj, [device.energy_pj for device in problem.devices]),
    ):
        greatest = np.zeros(len(problem.layers))
        for cost in costs:
            np.maximum.at(greatest, problem.bounds[1], cost.max(axis=1))
        terms = problem.acting
        total = greatest.sum() + crossing.reshape(len(crossing), -1).max(axis=1).sum(dtype=np.float64)
        total += (len(problem.layers) + 1) * terms.most_ps
        if max(total, float(total) * terms.most_w, len(problem.layers) * terms.most_pj) >= LARGEST_SUM:
            raise InputError("a plan could take 53 days or 4.6 MJ and more: check the units of the tables")


def integer(quantity: float, per_unit: int) -> int:
    """Rounds seconds or joules; more than any plan can take is as much as any plan can take."""
    return min(round(min(quantity, LARGEST_SUM / per_unit) * per_unit), LARGEST_SUM)
