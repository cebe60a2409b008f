"""What the past of a plan changes in the costs of its next part: states, and the contexts of parts.

Walking along a plan, three things are to be known beside the place: which radios are still up since their last
transfer, at which frequency a device that waits was left, and, where a device may run several bundles in one go,
whether a bundle is the first or the last of them and whether the frequency changed before it. The states are numbered
for each device apart for *arrived* (a device takes up the chain) and *done* (it has finished a bundle). A *context* is
what the cost of a part depends on; a bundle's and a crossing's are numbered apart.

A radio's next transfer is guessed when one ends: within its tail, and then the radio stays up, which costs power all
the time; or later or never, and then the whole tail is paid at once and the next transfer must bring it up. The second
guess never costs less than what is true, so the best plan is found with the true one. The first is true only if the
time between the two transfers is within the tail, which whoever uses the states must see to.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

import numpy as np

from dime.host.common.stats import Ints

FRESH, STAYED, CHANGED, LEAVES = "fresh", "stayed", "changed", "leaves"
UNSET = -1  # a frequency: none yet, or of no matter since the device is at work
Sub = str | int  # of arrived: FRESH, STAYED, CHANGED or the frequency it stays at; of done: LEAVES, STAYED or that


class State(NamedTuple):
    """Radios that are up, the column of the frequency that each device was left at, and what is open on this device."""

    up: tuple[bool, ...]
    left_at: tuple[int, ...]
    sub: Sub


class BundleContext(NamedTuple):
    """What a bundle's cost depends on."""

    up: tuple[bool, ...]
    left_at: tuple[int, ...]
    first: bool
    last: bool
    changed: bool


class CrossingContext(NamedTuple):
    """What a crossing's cost depends on; ``up`` is before it, ``stays_up`` after it."""

    radio: int
    up: tuple[bool, ...]
    left_at: tuple[int, ...]
    stays_up: bool


class Kind(NamedTuple):
    """What the states of a problem depend on.

    Attributes:
        frequencies: How many each device has.
        radio_of: [source][target] the radio that a crossing uses, or -1.
        radios: How many there are.
        waits: For each device whether the frequency that it was left at matters while it waits.
        ends: For each device whether it matters which bundle of those run in one go is the first, or the last.
        changes: For each device whether another frequency within these costs something.
    """

    frequencies: tuple[int, ...]
    radio_of: tuple[tuple[int, ...], ...]
    radios: int
    waits: tuple[bool, ...]
    ends: tuple[bool, ...]
    changes: tuple[bool, ...]


@dataclass(frozen=True, eq=False)
class States:
    """The states of a problem, and which follows which.

    Attributes:
        kind: What they were made of.
        arrived: For each device its states.
        done: The same; the first one of the edge device is that of the beginning.
        bundle: For each device (arrived, frequencies, 2) the state done after a bundle that others follow (0), or that
            is the last in one go (1), or -1.
        bundle_context: The same of the contexts.
        enter: [source][target] (done, 2) the state arrived after a crossing after which its radio is down (0) or stays
            up (1), or -1; of a device to itself: how the edge device takes up the input.
        enter_context: The same of the contexts.
        stay: For each device (pairs, 2): states done, and arrived, where it goes on with another bundle.
        home: For each device (done) the context of the result's way home, or -1.
        bundles: For each device its contexts.
        crossings: The contexts of crossings; the first one is of a tensor that stays where it is.
    """

    kind: Kind
    arrived: tuple[tuple[State, ...], ...]
    done: tuple[tuple[State, ...], ...]
    bundle: tuple[Ints, ...]
    bundle_context: tuple[Ints, ...]
    enter: tuple[tuple[Ints, ...], ...]
    enter_context: tuple[tuple[Ints, ...], ...]
    stay: tuple[Ints, ...]
    home: tuple[Ints, ...]
    bundles: tuple[tuple[BundleContext, ...], ...]
    crossings: tuple[CrossingContext, ...]

    @cached_property
    def is_single(self) -> bool:
        """Whether every part has one context: the past changes nothing."""
        return len(self.crossings) == 1 and all(len(contexts) == 1 for contexts in self.bundles)

    @cached_property
    def bundle_place(self) -> tuple[dict[BundleContext, int], ...]:
        """Number of each context of each device."""
        return tuple({context: at for at, context in enumerate(contexts)} for contexts in self.bundles)

    @cached_property
    def crossing_place(self) -> dict[CrossingContext, int]:
        """Number of each context."""
        return {context: at for at, context in enumerate(self.crossings)}

    def depends_on_frequency(self, device: int) -> bool:
        """Whether a bundle's frequency changes more than its own cost."""
        return self.kind.frequencies[device] > 1 and (self.kind.waits[device] or self.kind.changes[device])


def kind_of_nothing(frequencies: tuple[int, ...]) -> Kind:
    """Where the past changes nothing."""
    none = (False,) * len(frequencies)
    return Kind(frequencies, ((-1,) * len(frequencies),) * len(frequencies), 0, none, none, none)


def bundle_context(kind: Kind, device: int, state: State, last: bool) -> BundleContext:
    """The context of a bundle that begins in a state."""
    first = kind.ends[device] and state.sub == FRESH
    left_at = tuple(UNSET if at == device else column for at, column in enumerate(state.left_at))
    return BundleContext(state.up, left_at, first, kind.ends[device] and last, state.sub == CHANGED)


def crossing_context(kind: Kind, source: int, target: int, state: State, stays_up: bool) -> CrossingContext:
    """The context of a crossing that begins in a state."""
    if source == target:
        return CrossingContext(-1, (False,) * kind.radios, (UNSET,) * len(kind.frequencies), False)
    return CrossingContext(kind.radio_of[source][target], state.up, state.left_at, stays_up)


def after_bundle(kind: Kind, device: int, state: State, column: int, last: bool) -> State | None:
    """The state done after a bundle; None: it may not begin in this state, or not so."""
    several = kind.ends[device] or kind.changes[device]
    if (isinstance(state.sub, int) and state.sub != column) or (not last and not several):
        return None
    left_at = list(state.left_at)
    if last or not several:
        left_at[device] = column if kind.waits[device] else UNSET
        return State(state.up, tuple(left_at), LEAVES)
    left_at[device] = UNSET
    return State(state.up, tuple(left_at), column if kind.changes[device] else STAYED)


def after_stay(kind: Kind, device: int, state: State) -> Iterator[State]:
    """The states arrived from which a device goes on with another bundle."""
    several = kind.ends[device] or kind.changes[device]
    if not several:
        left_at = tuple(UNSET if at == device else column for at, column in enumerate(state.left_at))
        yield State(state.up, left_at, FRESH)
    elif state.sub != LEAVES:
        yield state
        if kind.changes[device]:
            yield state._replace(sub=CHANGED)


def after_crossing(kind: Kind, source: int, target: int, state: State, stays_up: bool) -> State | None:
    """The state arrived on the target; None: the crossing is none that may follow."""
    if state.sub != LEAVES:
        return None
    up, radio = list(state.up), -1 if source == target else kind.radio_of[source][target]
    if radio >= 0:
        up[radio] = stays_up
    elif stays_up:
        return None
    left_at = tuple(UNSET if at == target else column for at, column in enumerate(state.left_at))
    return State(tuple(up), left_at, FRESH)


def first_state(kind: Kind) -> State:
    """The state in which every plan begins."""
    return State((False,) * kind.radios, (UNSET,) * len(kind.frequencies), LEAVES)


@lru_cache(maxsize=32)
def states(kind: Kind) -> States:
    """Finds all states by walking from the first one."""
    devices = range(len(kind.frequencies))
    done, arrived, bundles = [_Numbers() for _ in devices], [_Numbers() for _ in devices], [_Numbers() for _ in devices]
    crossings = _Numbers()
    crossings(crossing_context(kind, 0, 0, first_state(kind), False))
    done[0](first_state(kind))
    bundle: list[list[list[list[tuple[int, int]]]]] = [[] for _ in devices]
    enter: list[list[list[list[tuple[int, int]]]]] = [[[] for _ in devices] for _ in devices]
    stay: list[list[tuple[int, int]]] = [[] for _ in devices]
    home: list[list[int]] = [[] for _ in devices]
    while any(len(bundle[x]) < len(arrived[x].of) or len(home[x]) < len(done[x].of) for x in devices):
        for x in devices:
            for state in done[x].of[len(home[x]) :]:
                for to in devices:
                    row = []
                    for stays_up in (False, True):
                        following = None
                        if to != x or state == first_state(kind):
                            following = after_crossing(kind, x, to, state, stays_up)
                        context = crossing_context(kind, x, to, state, stays_up)
                        row.append((-1, 0) if following is None else (arrived[to](following), crossings(context)))
                    enter[x][to].append(row)
                number = done[x](state)
                stay[x] += [(number, arrived[x](following)) for following in after_stay(kind, x, state)]
                at_home = after_crossing(kind, x, 0, state, False)
                possible = at_home is not None and not any(at_home.up)
                home[x].append(crossings(crossing_context(kind, x, 0, state, False)) if possible else -1)
            for state in arrived[x].of[len(bundle[x]) :]:
                table = []
                for column in range(kind.frequencies[x]):
                    row = []
                    for last in (False, True):
                        following = after_bundle(kind, x, state, column, last)
                        here = bundle_context(kind, x, state, last)
                        row.append((-1, 0) if following is None else (done[x](following), bundles[x](here)))
                    table.append(row)
                bundle[x].append(table)
    pairs = [np.array(one, np.int64).reshape(len(one), kind.frequencies[x], 2, 2) for x, one in enumerate(bundle)]
    ways = [[np.array(one, np.int64).reshape(len(one), 2, 2) for one in row] for row in enter]
    return States(
        kind,
        tuple(tuple(one.of) for one in arrived),
        tuple(tuple(one.of) for one in done),
        tuple(one[..., 0] for one in pairs),
        tuple(one[..., 1] for one in pairs),
        tuple(tuple(one[..., 0] for one in row) for row in ways),
        tuple(tuple(one[..., 1] for one in row) for row in ways),
        tuple(np.array(one, np.int64).reshape(-1, 2) for one in stay),
        tuple(np.array(one, np.int64) for one in home),
        tuple(tuple(one.of or [_nowhere(kind)]) for one in bundles),
        tuple(crossings.of),
    )


def _nowhere(kind: Kind) -> BundleContext:
    """The context of a device that no plan reaches."""
    return BundleContext((False,) * kind.radios, (UNSET,) * len(kind.frequencies), False, False, False)


class _Numbers:
    """Numbers things in the order in which they are first seen."""

    def __init__(self) -> None:
        self.of: list[Any] = []  # Any: states, or contexts
        self._place: dict[object, int] = {}

    def __call__(self, thing: object) -> int:
        if thing not in self._place:
            self._place[thing] = len(self.of)
            self.of.append(thing)
        return self._place[thing]
