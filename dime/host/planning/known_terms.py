"""What profiles and links tell of the terms of a plan's cost; what they do not is named, with what would tell it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from dime.contract.frames import OVERHEAD_BYTES
from dime.host.common.stats import Ints
from dime.host.planning import encoded as coding
from dime.host.planning.accounting import KNOWN, NONE, Accounting
from dime.host.planning.encoded import Encoded
from dime.host.planning.links import Link
from dime.host.planning.terms import (
    COPIES,
    ENCODING,
    FREQUENCY_CHANGE,
    OVERHEAD,
    PROTOCOL,
    RADIO,
    RADIO_STATES,
    TERMS,
    WAITING,
    Fact,
    Missing,
    Radio,
    Terms,
)
from dime.host.profiles import handovers
from dime.host.profiles.overheads import Overheads
from dime.host.profiles.profiles import Profile

MOST = 2**60 / 1e12  # s or J; the check of the problem refuses sums of such

Joined = Mapping[tuple[int, int], Link | None]
PS = 10**12


def find(
    profiles: Sequence[Profile],
    joined: Joined,
    sizes: Sequence[int],
    accounting: Accounting,
    counted: Sequence[bool],
    encoded: tuple[Encoded, ...] = (),
) -> Terms:
    """Finds the terms of a problem.

    Args:
        profiles: One a device, the weak device's first.
        joined: What joins each pair of devices.
        sizes: Bytes of the tensor at each boundary.
        accounting: What counts.
        counted: For each device whether its joules do.
        encoded: How tensors are sent that are encoded before.
    """
    if accounting.terms == NONE:
        missing = [Missing(term, "every device and link", "left out (TERMS=none)") for term in TERMS]
        return Terms(counted=tuple(counted), missing=tuple(missing))
    found = _Found(profiles, joined, accounting, tuple(counted))
    idle_w = tuple(found.idle(at) for at in range(len(profiles)))
    copies = tuple(found.copies(at) for at in range(len(profiles)))
    change = tuple(found.change(at) for at in range(len(profiles)))
    radios = found.radios()
    found.radio_power()
    protocol = found.protocol(len(sizes))
    overhead = found.overhead(coding.sizes_of(sizes, encoded))
    into, out_of = tuple(one[0] for one in copies), tuple(one[1] for one in copies)
    has_copies = any(one is not None for one in (*into, *out_of))
    first = {COPIES: into} if has_copies else {}
    last = {COPIES: out_of} if has_copies else {}
    if overhead is not None:
        first[OVERHEAD], last[OVERHEAD] = overhead.first_ps, overhead.last_ps
    input_ps = None
    if encoded:
        times = found.encoding(len(sizes), encoded)
        first[ENCODING] = tuple(decode for decode, _, _ in times)
        last[ENCODING] = tuple(encode for _, encode, _ in times)
        input_ps = times[0][2]
    found.input_as_it_is(sizes, encoded)
    waited = found.waited()
    return Terms(
        counted=tuple(counted),
        idle_w=idle_w,
        working_w=tuple(
            _working_w(profile) if counts else None for profile, counts in zip(profiles, counted, strict=True)
        ),
        radios=radios,
        first_ps=first,
        last_ps=last,
        change_ps=change,
        crossing={
            **({} if protocol is None else {PROTOCOL: protocol}),
            **({} if overhead is None else {OVERHEAD: (overhead.crossing_ps, np.zeros_like(overhead.crossing_ps))}),
        },
        encoded=encoded,
        input_ps=input_ps,
        waited_ps=waited if any(table is not None for table in waited) else (),
        connect_trips=found.connect_trips,
        facts=tuple(found.facts),
        missing=tuple(found.missing),
    )


class _Overhead(NamedTuple):
    """What devices take beside computing: of each (boundaries, frequencies), None where it was not measured; and on
    top of each transfer, (boundaries, devices, devices).
    """

    first_ps: tuple[Ints | None, ...]
    last_ps: tuple[Ints | None, ...]
    crossing_ps: Ints


class _Found:
    """Collects terms with where they come from, or why they are not known."""

    def __init__(self, profiles: Sequence[Profile], joined: Joined, accounting: Accounting, counted: tuple[bool, ...]):
        self.profiles, self.joined, self.accounting, self.counted = profiles, joined, accounting, counted
        self.facts: list[Fact] = []
        self.missing: list[Missing] = []
        for term in TERMS:
            if term not in accounting.chosen:
                self._lacks(term, "every device and link", "left out (TERMS=)")

    @property
    def connect_trips(self) -> int:
        """Round trips before each transfer."""
        return int(self.accounting.connection == "new" and self._wanted(PROTOCOL))

    def _lacks(self, term: str, of: str, reason: str) -> None:
        self.missing.append(Missing(term, of, reason))

    def _wanted(self, term: str) -> bool:
        return term in self.accounting.chosen

    def idle(self, device: int) -> tuple[float, ...] | None:
        """A device's power while it waits, by frequency."""
        profile = self.profiles[device]
        if not self._wanted(WAITING) or not self.counted[device] or len(self.profiles) == 1:
            return None
        given = self.accounting.idle_power_w if device == 0 else None
        measured = profile.idle_w
        if measured is not None and not all(map(math.isnan, measured)):
            known = [watts for watts in measured if not math.isnan(watts)]
            usual = sum(known) / len(known)
            origin = profile.energy_origin
            self.facts.append(Fact(WAITING, origin, f"idle power of {profile.device}, by its profile"))
            return tuple(usual if math.isnan(watts) else watts for watts in measured)
        if given is not None:
            self.facts.append(Fact(WAITING, "modelled", f"{given:g} W while {profile.device} waits (IDLE_POWER)"))
            return (given,) * len(profile.frequencies_hz)
        more = ", or give IDLE_POWER=" if device == 0 else ""
        self._lacks(WAITING, profile.device, f"its idle power is not known; profile it with a meter{more}")
        return None

    def copies(self, device: int) -> tuple[Ints | None, Ints | None]:
        """What a device's copies into its GPU, and out of it, take: (boundaries, frequencies) each."""
        profile = self.profiles[device]
        if not self._wanted(COPIES):
            return None, None
        if profile.copy_in_s is None or profile.copy_out_s is None:
            self._lacks(COPIES, profile.device, "profile it again")
            return None, None
        both = [np.rint(np.nan_to_num(one) * PS).astype(np.int64) for one in (profile.copy_in_s, profile.copy_out_s)]
        if not any(one.any() for one in both):
            return None, None
        self.facts.append(Fact(COPIES, profile.origin, f"copies of {profile.device}, by its profile"))
        return both[0], both[1]

    def change(self, device: int) -> Ints | None:
        """What a device's change to each of its frequencies takes."""
        profile = self.profiles[device]
        several = profile.max_layers < len(profile.layers)
        if not self._wanted(FREQUENCY_CHANGE) or len(profile.frequencies_hz) < 2:
            return None
        times = profile.frequency_change_s
        if times is None or all(map(math.isnan, times)):
            if several:
                self._lacks(FREQUENCY_CHANGE, profile.device, "its profile does not have it; profile it again")
            return None
        self.facts.append(Fact(FREQUENCY_CHANGE, profile.origin, f"settle times of {profile.device}, by its profile"))
        usual = float(np.nanmax(times))
        known = [usual if math.isnan(time) else time for time in times]
        return np.array([_picos(time) for time in known], np.int64)

    def overhead(self, sizes: Sequence[int]) -> _Overhead | None:
        """What devices take beside computing, and the transport between them.

        Of a message each end takes half of what both take on one device. The numbers of a link that was measured
        through the same transport hold it already.

        Args:
            sizes: Bytes that are sent at each boundary.
        """
        if not self._wanted(OVERHEAD):
            return None
        known: dict[int, Overheads] = {}
        for at, profile in enumerate(self.profiles):
            if profile.overheads is not None and profile.overheads.is_whole:
                known[at] = profile.overheads
                source = f"what {profile.device} takes beside computing, by its profile"
                self.facts.append(Fact(OVERHEAD, profile.origin, source))
        if not known:
            self._lacks(OVERHEAD, "every device", "profile it again")
            return None
        for at, profile in enumerate(self.profiles):
            if at not in known:
                self._lacks(OVERHEAD, profile.device, "profile it again")
        first: list[Ints | None] = []
        last: list[Ints | None] = []
        for at, profile in enumerate(self.profiles):
            its, columns = known.get(at), range(len(profile.frequencies_hz))
            if its is None:
                first.append(None)
                last.append(None)
                continue
            rows = [[_picos(its.first_s(row, column, at == 0)) for column in columns] for row in range(len(sizes))]
            first.append(np.array(rows, np.int64))
            last.append(np.array([[_picos(its.last_s(column)) for column in columns]] * len(sizes), np.int64))
        ps = np.zeros((len(sizes), len(self.profiles), len(self.profiles)), np.int64)
        for (weaker, other), link in self.joined.items():
            if link is None:
                continue
            ends = [its for at in (weaker, other) if (its := known.get(at)) is not None]
            if not link.passes:
                hops = [_picos(sum(its.hop_s(size) for its in ends) / 2) for size in sizes]
                ps[:, weaker, other] = ps[:, other, weaker] = hops
        if 0 in known and len(self.profiles) > 1:
            ps[0, 0, 1:] += _picos(known[0].mean_s("forward"))
            ps[-1, 1:, 0] += _picos(known[0].mean_s("finish"))
        return _Overhead(tuple(first), tuple(last), ps)

    def waited(self) -> tuple[Ints | None, ...]:
        """By how much each device's bundles take longer behind a wait: (bundles, frequencies) each."""
        found: list[Ints | None] = []
        longest = max(profile.max_layers for profile in self.profiles)
        for at, profile in enumerate(self.profiles):
            its = profile.waited if self._wanted(OVERHEAD) and len(self.profiles) > 1 else None
            if its is None:
                found.append(None)
                if self._wanted(OVERHEAD) and len(self.profiles) > 1 and profile.overheads is not None:
                    self._lacks(OVERHEAD, profile.device, "what bundles take longer behind a wait: profile it again")
                continue
            times_s = handovers.times_behind_waits(profile, longest, at == 0)
            longer_s = np.stack([one.typical.longer_s(times_s[:, column]) for column, one in enumerate(its)], axis=1)
            found.append(np.rint(np.minimum(np.nan_to_num(longer_s), MOST) * PS).astype(np.int64))
            source = f"what bundles of {profile.device} take longer behind a wait, by its profile"
            self.facts.append(Fact(OVERHEAD, profile.origin, source))
        return tuple(found)

    def encoding(self, boundaries: int, encoded: Sequence[Encoded]) -> list[tuple[Ints, Ints, Ints]]:
        """For each device what it takes to decode, to encode, and to encode the input."""
        for profile in self.profiles:
            self.facts.append(
                Fact(ENCODING, profile.origin, f"times of {profile.device} and bytes (means), by its profile")
            )
        return [coding.times_ps(profile, at == 0, boundaries, encoded) for at, profile in enumerate(self.profiles)]

    def input_as_it_is(self, sizes: Sequence[int], encoded: Sequence[Encoded]) -> None:
        """Says how the input is sent, where it is not encoded."""
        if self._wanted(ENCODING) and len(self.profiles) > 1 and not any(one.boundary == 0 for one in encoded):
            self._lacks(ENCODING, "the input", coding.not_encoded(self.profiles, sizes))

    def radio_power(self) -> None:
        """Names the links of which it is not known what they cost a device whose joules count."""
        for (weaker, other), link in self.joined.items():
            if link is None:
                continue
            if self.counted[weaker] and not link.has_radio:
                self._lacks(
                    RADIO,
                    link.name,
                    "its power is not given: LINK=...,like=WiFi, or alpha_up=, alpha_down=, beta= in mW",
                )
            if self.counted[other]:
                self._lacks(
                    RADIO,
                    self.profiles[other].device,
                    f"link {link.name} says what it costs the weaker device only",
                )

    def radios(self) -> tuple[Radio, ...]:
        """The radios with states, one for each weaker device and link."""
        if not self._wanted(RADIO_STATES):
            return ()
        its: dict[tuple[int, str], tuple[Link, list[tuple[int, int]]]] = {}
        for (weaker, other), link in self.joined.items():
            if link is not None:
                its.setdefault((weaker, link.name), (link, []))[1].append((weaker, other))
        found = []
        for (weaker, name), (link, pairs) in its.items():
            if not link.has_states:
                self._lacks(RADIO_STATES, name, "not given: promotion_s, tail_s and their powers")
                continue
            if not link.states_checked and self.accounting.terms == KNOWN:
                self._lacks(RADIO_STATES, name, "their numbers are unchecked; TERMS=all takes them")
                continue
            promotion_s, tail_s = link.promotion_s or 0.0, link.tail_s or 0.0
            found.append(
                Radio(
                    weaker,
                    tuple(pairs),
                    _picos(promotion_s),
                    _picos(promotion_s * (link.promotion_w or 0.0)),
                    _picos(tail_s),
                    link.tail_w or 0.0,
                )
            )
            checked = "" if link.states_checked else " (unchecked)"
            self.facts.append(Fact(RADIO_STATES, "modelled", f"{name}: {link.states_source}{checked}"))
        return tuple(found)

    def protocol(self, boundaries: int) -> tuple[Ints, Ints] | None:
        """What each transfer takes beside the tensor's own bits: (boundaries, devices, devices), ps and pJ."""
        links = {pair: link for pair, link in self.joined.items() if link is not None}
        if not self._wanted(PROTOCOL) or not links:
            return None
        count = len(self.profiles)
        ps, pj = np.zeros((boundaries, count, count), np.int64), np.zeros((boundaries, count, count), np.int64)
        trips = self.connect_trips
        for (weaker, other), link in links.items():
            for upload, source, target in ((True, weaker, other), (False, other, weaker)):
                header = link.header_bytes
                header_s = link.latency_s(header, upload) - link.latency_s(0, upload)
                ps[:, source, target] = _picos(header_s + trips * link.round_trip_s)
                if self.counted[weaker]:
                    pj[:, source, target] = _picos(link.energy_j(header, upload))
        kept = "a connection that is kept" if not trips else "a new connection for each transfer"
        self.facts.append(Fact(PROTOCOL, "modelled", f"{OVERHEAD_BYTES} bytes around each tensor, {kept}"))
        return ps, pj


def _picos(quantity: float) -> int:
    """Rounds seconds or joules; more than any plan can take is as much as any plan can take."""
    return round(min(quantity, MOST) * PS)


def _working_w(profile: Profile) -> tuple[float, ...] | None:
    """Mean power at each frequency while bundles run."""
    means = profile.means
    if means.energy_j is None:
        return None
    seconds = means.duration_s.sum(axis=0)
    watts = np.divide(means.energy_j.sum(axis=0), seconds, out=np.zeros_like(seconds), where=seconds > 0)
    return tuple(watts.tolist())
