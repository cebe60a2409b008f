"""A problem as a directed graph without cycles, in which every path from source to sink is a plan.

Two nodes for each boundary j, device x and state r of the counting rules: *arrived*, the tensor at boundary j is on x
and x takes up the chain; *done*, x has finished layer j - 1. A bundle's option leads from arrived to done, a crossing
(or nothing at all, on the same device) from done to arrived, and the result's way home from done at N to the sink.
Nodes are numbered so that every arc leads to a higher number.

The state r carries what the past forbids the future:

M is each device's own.

* the merged rule: whether the bundle just done had the largest size M, and may be followed on the same device;
* the published rule: which of the devices with M >= N have had their one bundle, and for each of the others its waste
  M x bundles - layers, which only grows and must stay below M;
* a pipeline: which devices have had their stage.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from dime.contract.errors import InputError
from dime.host.common.stats import Bools, Ints
from dime.host.planning.problem import Choice, Problem
from dime.host.planning.quantity import Quantity, Table

LARGEST_ARCS = 6_000_000
_ABSENT = np.int64(2**62)


@dataclass(frozen=True, eq=False)
class Graph:
    """Arcs, ordered by the node they lead to.

    Attributes:
        problem: The problem whose plans are its paths.
        starts: First arc of each node (nodes + 1).
        tail: Node that an arc comes from.
        cell: Place of its amounts, where those of all devices and of the crossings stand one after the other.
        device: Device of a bundle, or -1 for a crossing.
        bundle: Bundle's position in ``problem.bundles``, or -1.
        column: Frequency's column, or -1.
        changes: Whether it is a crossing between two devices, or into the first.
    """

    problem: Problem
    starts: Ints
    tail: Ints
    cell: Ints
    device: Ints
    bundle: Ints
    column: Ints
    changes: Bools

    @property
    def source(self) -> int:
        """Node at which every plan begins: done, at boundary 0, on the edge device."""
        return 0

    @property
    def sink(self) -> int:
        """Node at which every plan ends."""
        return len(self.starts) - 2

    def amounts(self, quantity: Quantity) -> Ints:
        """A quantity's amount of each arc; its leading axes (of replicates) are kept."""
        return self.gather(quantity.of_devices, quantity.crossing)

    def gather(self, of_devices: Sequence[Table], crossing: Table) -> Ints:
        """Looks up something of each arc.

        Args:
            of_devices: For each device (..., bundles, frequencies).
            crossing: (N + 1, devices, devices).
        """
        lead = of_devices[0].shape[:-2]
        parts = [costs.reshape(*lead, -1) for costs in of_devices]
        parts.append(np.broadcast_to(crossing.ravel(), (*lead, crossing.size)))
        found: Ints = np.concatenate(parts, axis=-1)[..., self.cell]
        return found

    def choices(self, arcs: list[int]) -> tuple[Choice, ...]:
        """The plan along a path."""
        return tuple(
            Choice(
                self.problem.bundles[self.bundle[arc]],
                int(self.device[arc]),
                self.problem.devices[self.device[arc]].frequencies_hz[self.column[arc]],
            )
            for arc in arcs
            if self.device[arc] >= 0
        )

    def keep(self, kept: Bools) -> Graph:
        """The same graph with fewer arcs."""
        before = np.concatenate(([0], np.cumsum(kept)))
        return Graph(
            self.problem,
            before[self.starts],
            self.tail[kept],
            self.cell[kept],
            self.device[kept],
            self.bundle[kept],
            self.column[kept],
            self.changes[kept],
        )


def undominated(first: Ints, second: Ints, usable: Bools) -> tuple[Ints, Ints]:
    """(bundle, column) of a device's options that no other option of the same bundle beats in both amounts.

    Of equal options one is kept. No goal or limit distinguishes options by anything but their amounts.
    """
    some = np.where(usable, first, _ABSENT)
    rows = np.arange(len(some))[:, None]
    by_second = np.argsort(second, axis=1, kind="stable")
    order = np.take_along_axis(by_second, np.argsort(some[rows, by_second], axis=1, kind="stable"), axis=1)
    others = np.where(usable, second, _ABSENT)[rows, order]
    best_before = np.minimum.accumulate(others, axis=1)
    better = np.ones_like(usable)
    better[:, 1:] = others[:, 1:] < best_before[:, :-1]
    at, place = np.nonzero(better & (others < _ABSENT))
    return at, order[at, place]


@dataclass(frozen=True)
class _States:
    """The reachable states r.

    ``bundle`` (devices, states, lengths), ``enter`` (devices, states) and ``stay`` (states) say which one follows, or
    -1: after a bundle, after moving to a device, after going on with another bundle on the same one.
    """

    bundle: Ints
    enter: Ints
    stay: Ints


def _states(problem: Problem) -> _States | None:
    """Finds all states by walking from the first one; None if there are too many."""
    return _walk(
        problem.largest_bundles,
        problem.limits.rule,
        problem.goal.is_pipeline,
        len(problem.layers),
    )


@lru_cache(maxsize=32)
def _walk(largest: tuple[int, ...], rule: str, pipeline: bool, layers: int) -> _States | None:
    devices, longest = len(largest), max(largest)

    def after_bundle(state: tuple[int, ...], device: int, length: int) -> tuple[int, ...] | None:
        if length > largest[device]:
            return None
        if rule == "merged":
            return (int(length == largest[device]), *state[1:])
        if rule == "free":
            return state
        single = largest[device] >= layers
        spent = state[device] + (1 if single else largest[device] - length)
        most = 1 if single else largest[device] - 1
        return None if spent > most else (*state[:device], spent, *state[device + 1 :])

    def after_enter(state: tuple[int, ...], device: int) -> tuple[int, ...] | None:
        if rule == "merged":
            state = (0, *state[1:])
        if not pipeline:
            return state
        return None if state[devices] & 1 << device else (*state[:devices], state[devices] | 1 << device)

    def after_stay(state: tuple[int, ...]) -> tuple[int, ...] | None:
        if rule == "merged":
            return (0, *state[1:]) if state[0] else None
        return state

    number = {(0,) * (devices + 1): 0}
    bundles: list[list[list[int]]] = []
    enters: list[list[int]] = []
    stays: list[int] = []
    waiting = list(number)
    for state in waiting:
        if len(waiting) * devices * longest > LARGEST_ARCS:
            return None
        new = [
            *(after_bundle(state, x, length) for x in range(devices) for length in range(1, longest + 1)),
            *(after_enter(state, x) for x in range(devices)),
            after_stay(state),
        ]
        for following in new:
            if following is not None and following not in number:
                number[following] = len(number)
                waiting.append(following)
        ids = [-1 if following is None else number[following] for following in new]
        bundles.append([[-1, *ids[x * longest : (x + 1) * longest]] for x in range(devices)])
        enters.append(ids[devices * longest : -1])
        stays.append(ids[-1])
    return _States(np.array(bundles).transpose(1, 0, 2), np.array(enters).T, np.array(stays))


def estimate(problem: Problem) -> float:
    """An upper bound on the number of arcs."""
    states = _states(problem)
    if states is None:
        return float("inf")
    options = sum(int(usable.sum()) for usable in problem.usable)
    return float(states.enter.shape[1] * (options + len(problem.layers) * len(problem.devices) ** 2))


class _Nodes(NamedTuple):
    """Numbers the nodes."""

    devices: int
    states: int

    def done(self, boundary: Ints | int, device: int, state: Ints | int) -> Ints:
        return np.asarray((boundary * 2 * self.devices + device) * self.states + state)

    def arrived(self, boundary: Ints | int, device: int, state: Ints | int) -> Ints:
        return np.asarray(((boundary * 2 + 1) * self.devices + device) * self.states + state)


class _Arcs(NamedTuple):
    """Some arcs of a kind: arrays, or one value for all of them."""

    head: Ints
    tail: Ints
    cell: Ints
    device: int
    bundle: Ints | int
    column: Ints | int
    changes: bool


def build(problem: Problem, quantities: Sequence[Quantity] = ()) -> Graph:
    """Builds the graph of a problem.

    Args:
        problem: The problem.
        quantities: One or two: options that another one of the same bundle and device beats in all of them are left
            out. None, or more: every option is in it.

    Returns:
        The graph; forbidden options are not in it.
    """
    states = _states(problem)
    if states is None:
        raise InputError("the bundle-count rule needs too many states for this largest bundle")
    nodes = _Nodes(len(problem.devices), states.enter.shape[1])
    pruning = quantities if len(quantities) <= 2 else ()
    parts = _bundles(problem, states, nodes, pruning) + _crossings(problem, states, nodes)
    columns = [
        np.concatenate([np.broadcast_to(np.asarray(part[at]), part.head.shape) for part in parts])
        for at in range(len(_Arcs._fields))
    ]
    order = np.argsort(columns[0], kind="stable")
    head, tail, cell, device, bundle, column, changes = (column[order] for column in columns)
    sink = int(nodes.done(len(problem.layers) + 1, 0, 0))
    starts = np.searchsorted(head, np.arange(sink + 2))
    return Graph(problem, starts, tail, cell, device, bundle, column, changes)


def _bundles(problem: Problem, states: _States, nodes: _Nodes, pruning: Sequence[Quantity]) -> list[_Arcs]:
    first, last = problem.bounds
    parts, before = [], 0
    for x, device in enumerate(problem.devices):
        usable = problem.usable[x] & _fits(problem, x)[:, None]
        rows, columns = np.nonzero(usable)
        if pruning:
            rows, columns = undominated(pruning[0].of_devices[x], pruning[-1].of_devices[x], usable)
        length = last[rows] - first[rows] + 1
        for r in range(nodes.states):
            after = states.bundle[x, r, length]
            row, column, following = rows[after >= 0], columns[after >= 0], after[after >= 0]
            ends = nodes.done(last[row] + 1, x, following), nodes.arrived(first[row], x, r)
            cell = before + row * device.latency_ps.shape[1] + column
            parts.append(_Arcs(*ends, cell, x, row, column, False))
        before += device.latency_ps.size
    return parts


def _crossings(problem: Problem, states: _States, nodes: _Nodes) -> list[_Arcs]:
    layers, every = len(problem.layers), np.arange(nodes.states)
    cells = np.arange(problem.crossing_ps.size).reshape(problem.crossing_ps.shape)
    cells += sum(device.latency_ps.size for device in problem.devices)
    parts = []
    for d in range(nodes.devices):
        for x in range(nodes.devices):
            # The edge device, which holds the input, may take up the chain at boundary 0 without a crossing.
            moves = [(np.zeros(1, np.int64), states.enter[x], True)] if d == 0 else []
            moves.append((np.arange(1, layers), states.stay if d == x else states.enter[x], d != x))
            for boundaries, after, changes in moves:
                linked = boundaries[problem.crossing_ps[boundaries, d, x] >= 0]
                j, r = (grid.ravel() for grid in np.meshgrid(linked, np.flatnonzero(after >= 0), indexing="ij"))
                ends = nodes.arrived(j, x, after[r]), nodes.done(j, d, r)
                parts.append(_Arcs(*ends, cells[j, d, x], -1, -1, -1, changes))
        if problem.crossing_ps[layers, d, 0] >= 0:
            ends = np.repeat(nodes.done(layers + 1, 0, 0), nodes.states), nodes.done(layers, d, every)
            parts.append(_Arcs(*ends, cells[layers, d, [0]], -1, -1, -1, True))
    return parts


def _fits(problem: Problem, device: int) -> Bools:
    """For each bundle whether it alone fits into the device's memory."""
    if device not in problem.memory_limits:
        return np.ones(len(problem.bundle_bytes), dtype=np.bool_)
    fits: Bools = problem.bundle_bytes <= problem.memory_limits[device]
    return fits
