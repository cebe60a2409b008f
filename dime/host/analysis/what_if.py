"""The plans of a problem as a small graph whose costs are lines in what a reader may ask: what if the link, or the
power while the edge device waits, were another one?

For every bandwidth, round trip, idle power and weight of energy the best plan is the shortest path through it, exactly,
so a page that has it needs no solver. An arc's latency is a + b x + c r, with x what the time on the air is multiplied
by and r the round trip; its energy a' + b' x, and what waits while it goes on draws its power over its latency.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from dime.contract.errors import InputError
from dime.host.analysis.break_even import split
from dime.host.common.stats import Bools, Floats, Ints
from dime.host.planning.problem import PER_J, PER_S, Problem
from dime.host.search import graph as graphs

LARGEST = 4000
"""Most arcs that a page is given."""


@dataclass(frozen=True, eq=False)
class Waiting:
    """The power that turns: of the edge device while it waits.

    Attributes:
        here: Its value in the problem: W, or 1 where it differs by frequency and is a multiple.
        unit: ``W``, or empty for a multiple.
    """

    here: float
    unit: str


@dataclass(frozen=True, eq=False)
class Arcs:
    """Arcs of the graph, in the order of the nodes that they lead to: columns of one length.

    Attributes:
        head: Node that each leads to; numbers of nodes only grow along a path.
        tail: Node that it comes from.
        device: Position of the device that computes; -1 for a crossing, or for staying where the tensor is.
        bundle: Position of the bundle in ``problem.bundles``, or -1.
        frequency_hz: Its frequency, or 0.
        latency_s: Latency where bits take no time and the round trip is 0.
        air_s: What is added for each multiple of the time on the air.
        trips: What is added for each second of round trip.
        energy_j: Energy without that of waiting, likewise.
        air_j: What is added for each multiple of the time on the air.
        waits: What ``Waiting`` multiplies to give the power that waits, W.
        beyond_s: By how much what waits does so for longer than the latency: a mean run is longer than a typical one.
    """

    head: Ints
    tail: Ints
    device: Ints
    bundle: Ints
    frequency_hz: Ints
    latency_s: Floats
    air_s: Floats
    trips: Floats
    energy_j: Floats
    air_j: Floats
    waits: Floats
    beyond_s: Floats

    def keep(self, kept: Bools) -> Arcs:
        """Fewer of them."""
        return Arcs(*(getattr(self, name)[kept] for name in self.__dataclass_fields__))


@dataclass(frozen=True, eq=False)
class WhatIf:
    """A problem's plans as paths from node 0 to the last one.

    Attributes:
        arcs: The arcs.
        nodes: How many nodes there are.
        waiting: The power that turns; None where it cannot.
        round_trip_s: The round trip of the problem's links.
    """

    arcs: Arcs
    nodes: int
    waiting: Waiting | None
    round_trip_s: float


def what_if(problem: Problem) -> WhatIf:
    """The graph of a problem.

    Raises:
        InputError: Its costs are no such lines, or it is too large for a page: the reason in one line.
    """
    if problem.goal.is_pipeline:
        raise InputError("the slowest stage is no sum over a plan's parts")
    if problem.memory_limits:
        raise InputError("memory is limited")
    graph = graphs.build(problem)
    if graph.gaps:
        raise InputError("how long a radio is silent depends on several bundles")
    trips = {link.round_trip_s for link in problem.joined.values() if link is not None} or {0.0}
    if len(trips) > 1:
        raise InputError("the links have different round trips")
    (still_ps, still_pj), (air_ps, air_pj) = split(problem, problem.joined, "bandwidth", 0.0)
    _, (trip_ps, _) = split(problem, problem.joined, "round_trip", None)
    waiting, waits = _waiting(problem, graph)
    told_w, beyond_ps = _watts(problem, graph), _beyond_ps(problem, graph)
    amounts = [graph.amounts(one) for one in (still_ps, still_pj, air_ps, air_pj, trip_ps)]
    latency_ps, energy_pj, more_ps, more_pj, more_trips = amounts
    arcs = Arcs(
        np.repeat(np.arange(len(graph.starts) - 1), np.diff(graph.starts)),
        graph.tail,
        graph.device,
        np.where(graph.device < 0, -1, graph.bundle),
        _frequencies(problem, graph),
        latency_ps / PER_S,
        more_ps / PER_S,
        more_trips / PER_S,
        (energy_pj - np.rint(told_w * (latency_ps + beyond_ps))) / PER_J,
        (more_pj - np.rint(told_w * more_ps)) / PER_J,
        waits,
        beyond_ps / PER_S,
    )
    arcs, nodes = _reached(arcs, graph.sink)
    arcs = _needed(arcs, with_hull=problem.latency_limit_ps is None and problem.energy_limit_pj is None)
    if len(arcs.head) > LARGEST:
        raise InputError(f"a page holds {LARGEST} options, and this problem has {len(arcs.head)}")
    return WhatIf(arcs, nodes, waiting, trips.pop())


def _frequencies(problem: Problem, graph: graphs.Graph) -> Ints:
    found = np.zeros(len(graph.tail), np.int64)
    for at, device in enumerate(problem.devices):
        its = graph.device == at
        found[its] = np.array(device.frequencies_hz)[graph.column[its]]
    return found


def _watts(problem: Problem, graph: graphs.Graph) -> Floats:
    """The power that waits in each arc, by the problem's own term."""
    if not problem.acting.waiting_w:
        return np.zeros(len(graph.tail))
    terms, states = problem.acting, problem.states
    of_devices = [
        np.broadcast_to(
            np.array([terms.waits_w(one.left_at, at) for one in states.bundles[at]])[:, None, None],
            (len(states.bundles[at]), *device.latency_ps.shape),
        )
        for at, device in enumerate(problem.devices)
    ]
    crossing = np.broadcast_to(
        np.array([terms.waits_w(one.left_at, None) for one in states.crossings])[:, None, None, None],
        (len(states.crossings), *problem.crossing_ps.shape),
    )
    found: Floats = graph.gather(of_devices, crossing, contextual=True).astype(np.float64)
    return found


def _beyond_ps(problem: Problem, graph: graphs.Graph) -> Floats:
    """How much longer a mean run is than a typical one."""
    of_devices = []
    for at, device in enumerate(problem.devices):
        table = problem.acting.beyond_ps[at] if at < len(problem.acting.beyond_ps) else None
        of_devices.append(np.zeros(device.latency_ps.shape) if table is None else table.astype(np.float64))
    found: Floats = graph.gather(of_devices, np.zeros(problem.crossing_ps.shape)).astype(np.float64)
    return found


def _waiting(problem: Problem, graph: graphs.Graph) -> tuple[Waiting | None, Floats]:
    """The power that turns, and how much of it each arc has."""
    nothing = np.zeros(len(graph.tail))
    counted = problem.acting.counted
    if not problem.has_energy or problem.arithmetic == "published":
        return None, nothing
    known = problem.acting.waiting_w
    watts = set(known.get(0, ()))
    only_edge = set(known) <= {0} and not any(counted[1:])
    if only_edge and len(watts) <= 1:
        return Waiting(watts.pop() if watts else 0.0, "W"), np.where(
            (graph.device > 0) | _crosses(problem, graph), 1.0, 0.0
        )
    return Waiting(1.0, ""), _watts(problem, graph)


def _crosses(problem: Problem, graph: graphs.Graph) -> Bools:
    """Which arcs are crossings from one device to another."""
    found: Bools = np.zeros(len(graph.tail), np.bool_)
    count = len(problem.devices)
    for source in range(count):
        for target in range(count):
            if source != target:
                found |= graph.crosses((source, target))
    return found


def _reached(arcs: Arcs, sink: int) -> tuple[Arcs, int]:
    """The arcs on a path from the first node to the last one, with nodes numbered anew."""
    ahead = np.zeros(sink + 1, np.bool_)
    ahead[0] = True
    for tail, head in zip(arcs.tail.tolist(), arcs.head.tolist(), strict=True):
        ahead[head] |= ahead[tail]
    back = np.zeros(sink + 1, np.bool_)
    back[sink] = True
    for tail, head in zip(arcs.tail[::-1].tolist(), arcs.head[::-1].tolist(), strict=True):
        back[tail] |= back[head]
    both = ahead & back
    number = np.cumsum(both) - 1
    kept = arcs.keep(both[arcs.tail] & both[arcs.head])
    return replace(kept, tail=number[kept.tail], head=number[kept.head]), int(both.sum())


def _needed(arcs: Arcs, with_hull: bool) -> Arcs:
    """Without bundles' options between two nodes that others beat in latency, energy and waiting.

    Without limits those go, too, that no weight of energy asks for: above the hull of the others, where all wait alike.
    """
    keep = np.ones(len(arcs.head), np.bool_)
    places: dict[tuple[int, int, int], list[int]] = {}
    for at in np.flatnonzero(arcs.device >= 0).tolist():
        places.setdefault((int(arcs.tail[at]), int(arcs.head[at]), int(arcs.bundle[at])), []).append(at)
    waited = arcs.waits * (arcs.latency_s + arcs.beyond_s)
    for options in places.values():
        ordered = sorted(options, key=lambda one: (arcs.latency_s[one], arcs.energy_j[one], waited[one]))
        left: list[int] = []
        for at in ordered:
            if any(arcs.energy_j[one] <= arcs.energy_j[at] and waited[one] <= waited[at] for one in left):
                keep[at] = False
            else:
                left.append(at)
        if with_hull and not arcs.waits[options].any():
            _leave_hull(arcs, left, keep)
    return arcs.keep(keep)


def _leave_hull(arcs: Arcs, options: list[int], keep: Bools) -> None:
    """Marks options that lie on or above a line between two others; they come by ascending latency."""
    hull: list[int] = []
    for at in options:
        while len(hull) > 1 and _is_above(arcs, hull[-2], hull[-1], at):
            keep[hull.pop()] = False
        hull.append(at)


def _is_above(arcs: Arcs, before: int, middle: int, after: int) -> bool:
    """Whether an option lies on or above the line between its neighbours."""
    rise = (arcs.energy_j[middle] - arcs.energy_j[before]) * (arcs.latency_s[after] - arcs.latency_s[before])
    fall = (arcs.energy_j[after] - arcs.energy_j[before]) * (arcs.latency_s[middle] - arcs.latency_s[before])
    return bool(rise >= fall)
