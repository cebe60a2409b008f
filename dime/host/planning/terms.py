"""What a plan costs beside computing and sending: waiting, radios' states, protocol, copies, encodings, frequencies.

Each term is additive over the parts of a plan, given their contexts (``states``); its amounts stand in tables like the
bundles' own. What is not known of a device or a link is no term, and said: ``Terms.without``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import numpy.typing as npt

from dime.contract.run import ORIGINS
from dime.host.common.stats import Floats, Ints
from dime.host.planning.accounting import (
    COPIES,
    ENCODING,
    FREQUENCY_CHANGE,
    OVERHEAD,
    PROTOCOL,
    RADIO_STATES,
    TERMS,
    WAITING,
)
from dime.host.planning.encoded import Encoded
from dime.host.planning.states import BundleContext, CrossingContext, Kind, States, kind_of_nothing, states

if TYPE_CHECKING:
    from dime.host.planning.problem import Problem

Table = npt.NDArray[Any]  # Any: integers, but where nothing is searched
__all__ = ["COPIES", "ENCODING", "FREQUENCY_CHANGE", "OVERHEAD", "PROTOCOL", "RADIO_STATES", "TERMS", "WAITING"]
RADIO = "radio"  # the power while bits are on the air, which is a part of a transfer and no term


Kept = TypeVar("Kept")


@dataclass(frozen=True)
class Radio:
    """A radio that must be brought up, and stays up for a while.

    Attributes:
        device: The device that it belongs to.
        pairs: (weaker, other) devices whose transfers it makes.
        promotion_ps: Time before the first bit.
        promotion_pj: Energy of it.
        tail_ps: Time that it stays up after the last bit.
        tail_w: Its power in that time.
    """

    device: int
    pairs: tuple[tuple[int, int], ...]
    promotion_ps: int
    promotion_pj: int
    tail_ps: int
    tail_w: float

    @property
    def tail_pj(self) -> int:
        """Energy of a whole tail."""
        return round(self.tail_w * self.tail_ps)


@dataclass(frozen=True)
class Fact:
    """Where a term's numbers come from."""

    term: str
    origin: str
    source: str


@dataclass(frozen=True)
class Missing:
    """A term, or the radio's power, that is not known of a device or a link, and why."""

    term: str
    of: str
    reason: str

    def __str__(self) -> str:
        return f"{self.term} of {self.of}: {self.reason}"


@dataclass(frozen=True, eq=False)
class Terms:
    """Everything that a plan costs beside its bundles and transfers.

    Attributes:
        counted: For each device whether its joules count.
        idle_w: For each device its power at each frequency while it waits; None where it is not known, or not counted.
        working_w: For each device its power at each frequency while it copies or encodes; None likewise.
        radios: Radios with states.
        first_ps: Term -> for each device (boundaries, frequencies) what comes before the first bundle that it runs in
            one go, or None.
        last_ps: The same of what comes after the last one.
        change_ps: For each device what another frequency between two bundles takes, by the one that is set; or None.
        crossing: Term -> (latency, energy) of what comes on top of a crossing, (boundaries, devices, devices).
        encoded: How tensors are sent that are encoded before.
        input_ps: What the edge device takes to encode the input, where that leaves it, by frequency; or None.
        input_on_link: Whether that counts to the link's stage of a pipeline, as it once did, not to the edge device's.
        facts: Where the terms' numbers come from.
        connect_trips: Round trips of a connection that each transfer begins with; their time stands in ``crossing``.
        missing: What is not known and therefore in no sum.
        waited_ps: For each device (bundles, frequencies) by how much a bundle takes longer behind a wait than back to
            back, 0 for the whole network on the edge device; or None. It is part of the overhead.
        beyond_ps: For each device (bundles, frequencies) by how much the mean time of a bundle is longer than that of a
            typical run; or None. A latency is a typical one, but a device that waits takes joules for the mean.
    """

    counted: tuple[bool, ...] = ()
    idle_w: tuple[tuple[float, ...] | None, ...] = ()
    working_w: tuple[tuple[float, ...] | None, ...] = ()
    radios: tuple[Radio, ...] = ()
    first_ps: Mapping[str, tuple[Ints | None, ...]] = field(default_factory=dict)
    last_ps: Mapping[str, tuple[Ints | None, ...]] = field(default_factory=dict)
    change_ps: tuple[Ints | None, ...] = ()
    crossing: Mapping[str, tuple[Ints, Ints]] = field(default_factory=dict)
    encoded: tuple[Encoded, ...] = ()
    input_ps: Ints | None = None
    input_on_link: bool = False
    facts: tuple[Fact, ...] = ()
    connect_trips: int = 0
    missing: tuple[Missing, ...] = ()
    waited_ps: tuple[Ints | None, ...] = ()
    beyond_ps: tuple[Ints | None, ...] = ()

    @property
    def most_w(self) -> float:
        """What all that waits draws at most together, W."""
        return sum(max(watts) for watts in self.waiting_w.values()) + sum(radio.tail_w for radio in self.radios)

    @property
    def most_pj(self) -> float:
        """What all radios' promotions and tails at one transfer take together, pJ."""
        return sum(radio.promotion_pj + radio.tail_w * radio.tail_ps for radio in self.radios)

    @property
    def is_empty(self) -> bool:
        """Whether nothing comes on top of bundles and transfers."""
        ends = [*self.first_ps.values(), *self.last_ps.values(), self.change_ps, self.waited_ps, self.idle_w]
        ends.append((self.input_ps,))
        return not self.radios and not self.crossing and not any(one is not None for end in ends for one in end)

    @property
    def most_ps(self) -> float:
        """What comes on top of any bundle or crossing at most."""
        ends = [one for of_devices in (*self.first_ps.values(), *self.last_ps.values()) for one in of_devices]
        of_time = [*ends, *self.change_ps, *self.waited_ps, self.input_ps, *(ps for ps, _ in self.crossing.values())]
        return sum(float(one.max(initial=0)) for one in of_time if one is not None)

    @property
    def joined_facts(self) -> tuple[Fact, ...]:
        """One fact a term: where the numbers of all devices and links come from, and the least of their origins."""
        found = []
        for term in TERMS:
            its = [fact for fact in self.facts if fact.term == term]
            if its:
                origin = max((fact.origin for fact in its), key=ORIGINS.index)
                found.append(Fact(term, origin, "; ".join(dict.fromkeys(fact.source for fact in its))))
        return tuple(found)

    @property
    def at_input_ps(self) -> Ints | int:
        """What sending the input takes of the edge device's stage; one a replicate where times have several."""
        if ENCODING not in self.crossing or self.input_on_link:
            return 0
        found: Ints = self.crossing[ENCODING][0][..., 0, 0, :].max(axis=-1)  # the same for each that it is sent to
        return found if found.ndim else int(found)

    @cached_property
    def waiting_w(self) -> dict[int, tuple[float, ...]]:
        """Device that waits at a cost -> its power by frequency."""
        return {at: watts for at, watts in enumerate(self.idle_w) if watts is not None}

    def overlapping(self) -> Terms:
        """The terms of a pipeline, in which inferences overlap: nothing waits, and radios are up while bits flow.

        What a request takes beside its bundles was measured behind waits, and lies beside what others take.
        """
        left_out = {WAITING, RADIO_STATES, OVERHEAD}

        def kept(of_terms: Mapping[str, Kept]) -> dict[str, Kept]:
            return {term: its for term, its in of_terms.items() if term not in left_out}

        return replace(
            self,
            idle_w=(),
            radios=(),
            first_ps=kept(self.first_ps),
            last_ps=kept(self.last_ps),
            crossing=kept(self.crossing),
            waited_ps=(),
            facts=tuple(fact for fact in self.facts if fact.term not in left_out),
            missing=(
                *(one for one in self.missing if one.term not in left_out),
                *(Missing(term, "a pipeline", "its inferences overlap") for term in (WAITING, RADIO_STATES, OVERHEAD)),
            ),
        )

    def with_input(self, shape: tuple[int, ...], columns: Sequence[int]) -> Terms:
        """The same, where the edge device encodes the input at the fastest of some frequencies before it is sent.

        Nothing of the network has run by then that would have set one.
        """
        times_ps = self.input_ps
        if times_ps is None or not columns:
            return self
        watts = self.working_w[0] if self.working_w else None
        column = self.input_column(columns)
        ps = np.zeros((*times_ps.shape[:-1], *shape), np.int64)
        pj = np.zeros_like(ps)
        ps[..., 0, 0, 1:] = times_ps[..., column, None]
        if watts is not None:
            pj = picojoules(watts[column], ps)
        return replace(self, crossing={**self.crossing, ENCODING: (ps, pj)})

    def input_column(self, columns: Sequence[int]) -> int:
        """The fastest of some frequencies' columns at encoding the input; of several as fast the most frugal one."""
        times_ps, watts = self.input_ps, self.working_w[0] if self.working_w else None
        assert times_ps is not None
        return min(columns, key=lambda at: (float(times_ps[..., at].mean()), 0.0 if watts is None else watts[at]))

    def kind(self, frequencies: tuple[int, ...], several: Sequence[bool]) -> Kind:
        """What the states of a problem depend on.

        Args:
            frequencies: How many each device has.
            several: For each device whether it may run several bundles in one go.
        """
        nothing = kind_of_nothing(frequencies)
        if self.is_empty:
            return nothing
        devices = range(len(frequencies))
        ways = [[-1] * len(frequencies) for _ in devices]
        for number, radio in enumerate(self.radios):
            for a, b in radio.pairs:
                ways[a][b] = ways[b][a] = number

        def has(of_devices: Sequence[Ints | None], device: int) -> bool:
            return device < len(of_devices) and of_devices[device] is not None

        ends = [*self.first_ps.values(), *self.last_ps.values()]
        return Kind(
            frequencies,
            tuple(map(tuple, ways)),
            len(self.radios),
            tuple(len(set(self.waiting_w.get(at, ()))) > 1 for at in devices),
            tuple(several[at] and any(has(one, at) for one in ends) for at in devices),
            tuple(several[at] and frequencies[at] > 1 and has(self.change_ps, at) for at in devices),
        )

    def waits_w(self, left_at: Sequence[int], busy: int | None) -> float:
        """Power of all devices that wait while one is busy, or none is.

        A device waits at the frequency of the bundle that it ran last; before its first one, at the most frugal.
        """
        total = 0.0
        for device, watts in self.waiting_w.items():
            if device != busy:
                total += watts[left_at[device]] if left_at[device] >= 0 else min(watts)
        return total

    def bundle_w(self, device: int, context: BundleContext) -> float:
        """Power of what waits, or stays up, while a device runs a bundle."""
        return self.waits_w(context.left_at, device) + self.tails_w(context.up)

    def tails_w(self, up: Sequence[bool], radio: int = -1) -> float:
        """Power of the radios that are up while another one, or none, sends."""
        return sum(
            one.tail_w
            for at, one in enumerate(self.radios)
            if up[at] and at != radio and (not self.counted or self.counted[one.device])
        )

    def of_bundles(
        self, problem: Problem, device: int, context: BundleContext, latency: Table
    ) -> Iterator[tuple[str, Table, Table]]:
        """What each term adds to the bundles of a device in a context, ps and pJ.

        Args:
            problem: The problem.
            device: The device.
            context: The context.
            latency: What the bundles take, (..., bundles, frequencies).
        """
        first, last = problem.bounds
        one_bundle = not problem.states.kind.ends[device]
        total = latency
        works_w = self.working_w[device] if device < len(self.working_w) else None
        more: list[tuple[str, Ints]] = []
        for of_term, rows, there in (
            (self.first_ps, first, context.first or one_bundle),
            (self.last_ps, last + 1, context.last or one_bundle),
        ):
            for term, of_devices in of_term.items():
                table = of_devices[device]
                if there and table is not None:
                    more.append((term, table[..., rows, :]))
        change = self.change_ps[device] if device < len(self.change_ps) else None
        if context.changed and change is not None:
            more.append((FREQUENCY_CHANGE, np.broadcast_to(change, latency.shape[-2:])))
        waited = self.waited_ps[device] if device < len(self.waited_ps) else None
        if waited is not None:
            more.append((OVERHEAD, waited))
        for term, ps in more:
            total = total + ps
            yield term, ps, np.zeros_like(ps) if works_w is None else picojoules(np.array(works_w), ps)
        beyond = self.beyond_ps[device] if device < len(self.beyond_ps) else None
        charged = total if beyond is None else total + beyond
        for term, watts, ps in (
            (WAITING, self.waits_w(context.left_at, device), charged),
            (RADIO_STATES, self.tails_w(context.up), total),  # by what is held against the tail's length
        ):
            if watts:
                yield term, np.zeros((), np.int64), picojoules(watts, ps)

    def of_crossings(
        self, problem: Problem, context: CrossingContext, latency: Table
    ) -> Iterator[tuple[str, Table, Table]]:
        """What each term adds to the crossings in a context, ps and pJ."""
        total = latency
        for term, (ps, pj) in self.crossing.items():
            total = total + ps
            yield term, ps, pj
        pj = np.zeros(latency.shape, np.int64)
        if context.radio >= 0:
            radio = self.radios[context.radio]
            brought_up = 0 if context.up[context.radio] else radio.promotion_ps
            if not self.counted or self.counted[radio.device]:
                pj += 0 if context.up[context.radio] else radio.promotion_pj
                pj += 0 if context.stays_up else radio.tail_pj
            total = total + brought_up
            yield RADIO_STATES, np.full((), brought_up), pj
        at_work = self.crossing[ENCODING][0] if ENCODING in self.crossing else np.zeros((), np.int64)  # the edge device
        up_w = self.tails_w(context.up, context.radio)
        for term, watts, but_edge_w in (
            (WAITING, self.waits_w(context.left_at, None), self.waits_w(context.left_at, 0)),
            (RADIO_STATES, up_w, up_w),
        ):
            if watts:
                pj = picojoules(watts, total - at_work) + picojoules(but_edge_w, at_work)
                yield term, np.zeros((), np.int64), pj


NOTHING = Terms()


def picojoules(watts: float | Floats, ps: Table) -> Table:
    """Energy of a power over times; W x ps are pJ."""
    joules: Table = np.rint(watts * ps).astype(np.int64)
    return joules


Tables = tuple[tuple[Table, ...], Table]  # of the devices, of the crossings


def priced(
    problem: Problem,
    latency_ps: Sequence[Table],
    energy_pj: Sequence[Table],
    crossing_ps: Table,
    crossing_pj: Table,
    acting: Terms | None = None,
) -> tuple[Tables, Tables]:
    """Bundles and transfers with all terms, in every context: latency and energy.

    Args:
        problem: The problem.
        latency_ps: For each device (..., bundles, frequencies); negative where there is no option.
        energy_pj: The same of energies.
        crossing_ps: (..., boundaries, devices, devices); negative where there is no link.
        crossing_pj: The same of energies.
        acting: Terms that take the place of the problem's and depend on the past as they do; None: these.

    Returns:
        Latencies and energies, with an axis of contexts before the last ones if there are several.
    """
    found: States = problem.states
    terms: Terms = problem.acting if acting is None else acting
    if terms.is_empty:
        return (tuple(latency_ps), crossing_ps), (tuple(energy_pj), crossing_pj)
    times, energies = [], []
    for device, contexts in enumerate(found.bundles):
        missing = latency_ps[device] < 0
        both = []
        for context in contexts:
            time, energy = latency_ps[device], energy_pj[device]
            for _, ps, pj in terms.of_bundles(problem, device, context, time):
                time, energy = time + ps, energy + pj
            both.append((np.where(missing, latency_ps[device], time), np.where(missing, energy_pj[device], energy)))
        times.append(_stacked([one for one, _ in both], found, -3))
        energies.append(_stacked([one for _, one in both], found, -3))
    still = np.eye(crossing_ps.shape[-1], dtype=np.bool_) | (crossing_ps < 0)
    both = []
    for crossing in found.crossings:
        time, energy = crossing_ps, crossing_pj
        for _, ps, pj in terms.of_crossings(problem, crossing, time):
            time, energy = time + ps, energy + pj
        both.append((np.where(still, crossing_ps, time), np.where(still, crossing_pj, energy)))
    crossings = [_stacked([pair[at] for pair in both], found, -4) for at in (0, 1)]
    return (tuple(times), crossings[0]), (tuple(energies), crossings[1])


def by_term(problem: Problem) -> dict[str, tuple[Tables, Tables]]:
    """Term -> what it alone adds to every part in every context: latency and energy."""
    found: States = problem.states
    terms: Terms = problem.acting
    if terms.is_empty:
        return {}
    shape = problem.crossing_ps.shape
    still = (problem.crossing_ps < 0) | np.eye(shape[1], dtype=np.bool_)
    bundles, ways = [], []
    for device, contexts in enumerate(found.bundles):
        latency = problem.devices[device].latency_ps
        bundles.append([_sums(terms.of_bundles(problem, device, one, latency), latency.shape) for one in contexts])
    for crossing in found.crossings:
        ways.append(_sums(terms.of_crossings(problem, crossing, problem.crossing_ps), shape))
    result = {}
    for name in TERMS:
        of_time, of_energy = (
            (
                tuple(_stacked([sums[name][at] for sums in contexts], found, -3) for contexts in bundles),
                _stacked([np.where(still, 0, sums[name][at]) for sums in ways], found, -4),
            )
            for at in (0, 1)
        )
        result[name] = of_time, of_energy
    return result


def _sums(added: Iterator[tuple[str, Table, Table]], shape: tuple[int, ...]) -> dict[str, tuple[Table, Table]]:
    """Term -> what it adds altogether, ps and pJ."""
    nothing = np.zeros(shape, np.int64)
    sums: dict[str, tuple[Table, Table]] = {name: (nothing, nothing) for name in TERMS}
    for term, ps, pj in added:
        time, energy = sums[term]
        sums[term] = time + ps, energy + pj
    return sums


def _stacked(tables: list[Table], found: States, axis: int) -> Table:
    if found.is_single:
        return tables[0]
    return np.stack(tables, axis=axis)


def states_of(terms: Terms, frequencies: tuple[int, ...], several: Sequence[bool]) -> States:
    """The states of a problem."""
    return states(terms.kind(frequencies, several))
