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

Beside r a node has a state t of what the past changes in the costs of the next part (``planning.states``); the two do
not depend on each other. An arc in which a radio is up that must be used again within its tail takes no longer.
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
        priced: The same where each of these has its contexts one after the other.
        device: Device of a bundle, or -1 for a crossing.
        bundle: Bundle's position in ``problem.bundles``, or -1.
        column: Frequency's column, or -1.
        changes: Whether it is a crossing between two devices, or into the first.
        up: (arcs, gaps) whether a radio of ``gaps`` is up and waits for its next transfer.
        gaps: Radios whose time between two transfers is a sum of parts that may exceed their tail: no single arc tells.
    """

    problem: Problem
    starts: Ints
    tail: Ints
    cell: Ints
    device: Ints
    bundle: Ints
    column: Ints
    changes: Bools
    priced: Ints
    up: Bools
    gaps: tuple[int, ...] = ()

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
        return self.gather(quantity.of_devices, quantity.crossing, quantity.contextual)

    def gather(self, of_devices: Sequence[Table], crossing: Table, contextual: bool = False) -> Ints:
        """Looks up something of each arc.

        Args:
            of_devices: For each device (..., bundles, frequencies).
            crossing: (N + 1, devices, devices).
            contextual: Whether both have an axis of contexts before these.
        """
        lead = of_devices[0].shape[: -3 if contextual else -2]
        parts = [costs.reshape(*lead, -1) for costs in of_devices]
        parts.append(np.broadcast_to(crossing.ravel(), (*lead, crossing.size)))
        found: Ints = np.concatenate(parts, axis=-1)[..., self.priced if contextual else self.cell]
        return found

    def crosses(self, pair: tuple[int, int]) -> Bools:
        """Which arcs are crossings from the first to the second device of a pair."""
        _, source, target = self._ways
        its: Bools = (self.device < 0) & (source == pair[0]) & (target == pair[1])
        return its

    @property
    def sends_input(self) -> Bools:
        """Which arcs are crossings by which the input leaves the edge device."""
        boundary, source, target = self._ways
        its: Bools = (self.device < 0) & (boundary == 0) & (source == 0) & (target > 0)
        return its

    @property
    def comes_back(self) -> Bools:
        """Which arcs are crossings behind which the edge device takes up the chain that others began."""
        boundary, source, target = self._ways
        its: Bools = (self.device < 0) & (boundary < len(self.problem.layers)) & (source > 0) & (target == 0)
        return its

    @property
    def _ways(self) -> tuple[Ints, Ints, Ints]:
        """Boundary and both devices of each crossing."""
        count = len(self.problem.devices)
        place = self.cell - sum(device.latency_ps.size for device in self.problem.devices)
        return place // count**2, place // count % count, place % count

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
            self.priced[kept],
            self.up[kept],
            self.gaps,
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
    devices = range(len(problem.devices))
    past = problem.states
    rules = states.enter.shape[1]
    options = sum(int(problem.usable[x].sum()) * max(1, len(past.arrived[x])) for x in devices)
    ends = max(len(past.done[x]) for x in devices)
    crossings = len(problem.layers) * len(problem.devices) ** 2 * (1 if past.is_single else 2 * ends)
    return float(rules * (options + crossings))


class _Nodes:
    """Numbers the nodes: of each boundary those done, then those arrived, each device's with its own states."""

    def __init__(self, problem: Problem, rules: int) -> None:
        past = problem.states
        self.rules = rules
        self._done = [len(one) for one in past.done]
        self._arrived = [len(one) for one in past.arrived]
        first = np.concatenate(([0], np.cumsum([*self._done, *self._arrived]))) * rules
        self._first_done, self._first_arrived = first[: len(self._done)], first[len(self._done) : -1]
        self._stride = int(first[-1])

    def done(self, boundary: Ints | int, device: int, rule: Ints | int, past: Ints | int) -> Ints:
        at: Ints = boundary * self._stride + self._first_done[device] + rule * self._done[device] + past
        return np.asarray(at)

    def arrived(self, boundary: Ints | int, device: int, rule: Ints | int, past: Ints | int) -> Ints:
        at: Ints = boundary * self._stride + self._first_arrived[device] + rule * self._arrived[device] + past
        return np.asarray(at)


class _Arcs(NamedTuple):
    """Some arcs of a kind: arrays, or one value for all of them."""

    head: Ints
    tail: Ints
    cell: Ints
    priced: Ints
    device: int
    bundle: Ints | int
    column: Ints | int
    changes: bool
    up: Ints | int


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
    nodes = _Nodes(problem, states.enter.shape[1])
    pruning = quantities if len(quantities) <= 2 else ()
    parts = _bundles(problem, states, nodes, pruning) + _crossings(problem, states, nodes)
    head, tail, cell, priced, device, bundle, column, changes, up = _joined(parts)
    sink = int(nodes.done(len(problem.layers) + 1, 0, 0, 0))
    starts = np.searchsorted(head, np.arange(sink + 2))
    gaps = open_gaps(problem)
    changed: Bools = changes > 0
    graph = Graph(problem, starts, tail, cell, device, bundle, column, changed, priced, _of_radios(up, gaps), gaps)
    radios = problem.acting.radios
    if not radios:
        return graph
    tails = np.array([radio.tail_ps for radio in radios])
    waits = _of_radios(up, range(len(radios)))
    late: Bools = np.any(waits & (graph.amounts(problem.true_costs[0])[:, None] > tails), axis=1)
    return graph.keep(~late) if late.any() else graph


def _joined(parts: Sequence[_Arcs]) -> list[Ints]:
    """The arcs of several kinds as one array a column, by ascending head."""
    ends = np.cumsum([part.head.size for part in parts]).tolist()
    columns = []
    for at in range(len(_Arcs._fields)):
        column = np.empty(ends[-1], np.int64)  # filled in place: np.broadcast_to takes longer than all else here
        begin = 0
        for part, end in zip(parts, ends, strict=True):
            column[begin:end] = part[at]
            begin = end
        columns.append(column)
    order = np.argsort(columns[0], kind="stable")
    return [column[order] for column in columns]


def open_gaps(problem: Problem) -> tuple[int, ...]:
    """Radios between whose transfers there may be several parts that together take longer than its tail."""
    radios = problem.acting.radios
    if not radios or (len(problem.devices) == 2 and not any(problem.several)):
        return ()
    longest = np.zeros(len(problem.layers), np.int64)
    for times in problem.true_costs[0].of_devices:
        np.maximum.at(longest, problem.bounds[1], times.max(axis=(0, 2)))
    crossings = problem.true_costs[0].crossing.max(axis=(0, 2, 3)).sum() if len(problem.devices) > 2 else 0
    most = int(longest.sum()) + int(crossings)
    return tuple(at for at, radio in enumerate(radios) if most > radio.tail_ps)


def _of_radios(up: Ints, radios: Sequence[int]) -> Bools:
    """(arcs, radios) the bits of some radios."""
    bits: Bools = np.asarray((up[:, None] >> np.array(radios, np.int64)) & 1 > 0)
    return bits


def _bits(up: Sequence[bool]) -> int:
    return sum(1 << at for at, is_up in enumerate(up) if is_up)


def _bundles(problem: Problem, states: _States, nodes: _Nodes, pruning: Sequence[Quantity]) -> list[_Arcs]:
    first, last = problem.bounds
    parts, before, priced_before, past = [], 0, 0, problem.states
    for x, device in enumerate(problem.devices):
        usable = problem.usable[x] & _fits(problem, x)[:, None]
        rows, columns = np.nonzero(usable)
        if pruning and not past.depends_on_frequency(x):
            rows, columns = _undominated(pruning[0], pruning[-1], x, usable)
        of_rule = states.bundle[x][:, last[rows] - first[rows] + 1]
        of_past = past.bundle[x][:, columns]
        possible = (of_rule >= 0)[:, None, :, None] & (of_past >= 0)
        r, t, option, ends = np.nonzero(possible)
        row, column = rows[option], columns[option]
        head = nodes.done(last[row] + 1, x, of_rule[r, option], of_past[t, option, ends])
        cell = row * device.latency_ps.shape[1] + column
        priced = priced_before + past.bundle_context[x][t, column, ends] * device.latency_ps.size + cell
        up = np.array([_bits(state.up) for state in past.arrived[x]], np.int64)[t]
        tail = nodes.arrived(first[row], x, r, t)
        parts.append(_Arcs(head, tail, before + cell, priced, x, row, column, False, up))
        before += device.latency_ps.size
        priced_before += device.latency_ps.size * len(past.bundles[x])
    return parts


def _undominated(one: Quantity, other: Quantity, device: int, usable: Bools) -> tuple[Ints, Ints]:
    """(bundle, column) of the options that no other of the same bundle beats in both amounts, whatever the context."""
    amounts = [quantity.of_devices[device] for quantity in (one, other)]
    if not one.contextual and not other.contextual:
        return undominated(amounts[0], amounts[1], usable)
    if usable.shape[1] == 1 or usable.size * usable.shape[1] * len(amounts[0]) > LARGEST_ARCS:
        return np.nonzero(usable)  # type: ignore[return-value]
    every = np.concatenate([costs if costs.ndim == 3 else costs[None] for costs in amounts])
    beaten = np.zeros(usable.shape, np.bool_)
    for column in range(usable.shape[1]):
        costs = every[..., column : column + 1]
        counts = usable & ~beaten
        as_good: Bools = np.all(costs <= every, axis=0) & counts[:, column : column + 1]
        better: Bools = np.any(costs < every, axis=0)
        as_good[:, : column + 1] &= better[:, : column + 1]
        beaten |= as_good
    return np.nonzero(usable & ~beaten)  # type: ignore[return-value]


def _crossings(problem: Problem, states: _States, nodes: _Nodes) -> list[_Arcs]:
    layers, past = len(problem.layers), problem.states
    rules = np.arange(nodes.rules)
    size = problem.crossing_ps.size
    cells = np.arange(size).reshape(problem.crossing_ps.shape)
    base = sum(device.latency_ps.size for device in problem.devices)
    priced_base = sum(
        device.latency_ps.size * len(contexts) for device, contexts in zip(problem.devices, past.bundles, strict=True)
    )

    def arcs(head: Ints, tail: Ints, place: Ints, context: Ints, changes: bool, up: Ints) -> _Arcs:
        ends = head, tail, base + place, priced_base + context * size + place
        return _Arcs(*ends, -1, -1, -1, changes, up)

    parts = []
    for d in range(len(problem.devices)):
        waits = np.array([_bits(state.up) for state in past.done[d]], np.int64)
        for x in range(len(problem.devices)):
            linked = np.flatnonzero(problem.crossing_ps[:layers, d, x] >= 0)
            # The edge device, which holds the input, may take up the chain at boundary 0 without a crossing.
            starts = linked[linked == 0] if d == 0 else linked[:0]
            moves = [(starts, states.enter[x], past.enter[d][x][:1], past.enter_context[d][x][:1])]
            if d != x:
                moves.append((linked[linked > 0], states.enter[x], past.enter[d][x], past.enter_context[d][x]))
            for boundaries, of_rule, of_past, contexts in moves:
                possible = (of_rule >= 0)[:, None, None] & (of_past >= 0)
                j, r, t, k = np.nonzero(np.broadcast_to(possible, (len(boundaries), *possible.shape)))
                at = boundaries[j]
                head, tail = nodes.arrived(at, x, of_rule[r], of_past[t, k]), nodes.done(at, d, r, t)
                up = waits[t]
                if d != x and past.kind.radio_of[d][x] >= 0:  # what it ends is no waiting
                    up = up & ~(1 << past.kind.radio_of[d][x])
                parts.append(arcs(head, tail, cells[at, d, x], contexts[t, k], True, up))
            if d == x:
                linked = linked[linked > 0]
                following = np.flatnonzero(states.stay >= 0)
                j, r, pair = np.nonzero(np.ones((len(linked), len(following), len(past.stay[d])), np.bool_))
                j, r = linked[j], following[r]
                before, after = past.stay[d][pair].T
                head, tail = nodes.arrived(j, x, states.stay[r], after), nodes.done(j, d, r, before)
                parts.append(arcs(head, tail, cells[j, d, x], np.zeros_like(j), False, waits[before]))
        if problem.crossing_ps[layers, d, 0] >= 0:
            home = np.flatnonzero(past.home[d] >= 0)
            r, t = np.repeat(rules, len(home)), np.tile(home, nodes.rules)
            sink = np.repeat(nodes.done(layers + 1, 0, 0, 0), len(r))
            place = np.repeat(cells[layers, d, 0], len(r))
            up = np.zeros_like(t)
            parts.append(arcs(sink, nodes.done(layers, d, r, t), place, past.home[d][t], True, up))
    return parts


def _fits(problem: Problem, device: int) -> Bools:
    """For each bundle whether it alone fits into the device's memory."""
    if device not in problem.memory_limits:
        return np.ones(len(problem.bundle_bytes), dtype=np.bool_)
    fits: Bools = problem.bundle_bytes <= problem.memory_limits[device]
    return fits
