"""How far the times of copies, encodings, overheads and waits may be off, and how single ones vary.

Copies and runs behind a wait are timed in a profile's passes, encodings in rounds of their own, in each of which every
encoding is measured at a clock; a round counts once, as a pass does. Rounds follow each other within a minute or so:
what differs from one hour to another they do not tell.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from dime.contract.bundles import enumerate_bundles
from dime.host.common import stats
from dime.host.common.stats import Bools, Floats, Ints
from dime.host.profiles.profiles import Profile
from dime.host.profiles.scatter import Scatter

if TYPE_CHECKING:
    from dime.host.profiles.encodings import Encoding
    from dime.host.profiles.overheads import Overheads

FIRST, LAST = "first", "last"  # before the first bundle that a device runs in one go, after the last one


@dataclass(frozen=True, eq=False)
class Handover:
    """What a device takes at each boundary, at one frequency; of runs behind a wait: longer for each bundle.

    Attributes:
        passes_s: Typical time by each pass, or round, (passes, boundaries); NaN where it was not measured.
        mean_s: Plain mean of all times, (boundaries); NaN where there is none.
        spread_s: Standard deviation of single ones, see ``_pooled``; 0 where there is one.
    """

    passes_s: Floats
    mean_s: Floats
    spread_s: Floats

    def error_s(self, boundary: int) -> tuple[float, int]:
        """Standard error of a typical time, and its degrees of freedom; 0 and 0 where it was measured once."""
        its = self.passes_s[:, boundary]
        its = its[~np.isnan(its)]
        if len(its) < 2:
            return 0.0, 0
        return float(its.std(ddof=1)) / len(its) ** 0.5, len(its) - 1


Handovers = Mapping[str, Sequence[Handover]]
"""``FIRST`` or ``LAST`` -> one entry a frequency."""


def copies(profile: Profile, scatter: Scatter) -> dict[str, list[Handover]]:
    """Copies to and from the GPU; their passes are those of ``scatter``, in its order. Empty where none is known."""
    first, last = profile.bounds
    if profile.copy_in_s is None or profile.copy_out_s is None:
        return {}
    assert profile.run_copy_in_s is not None and profile.run_copy_out_s is not None
    into, out_of = _pooled(
        [
            _of_runs(profile, scatter, profile.run_copy_in_s, first),
            _of_runs(profile, scatter, profile.run_copy_out_s, last + 1),
        ]
    )
    return {FIRST: into, LAST: out_of}


def _pooled(several: Sequence[Sequence[Handover]]) -> list[list[Handover]]:
    """The same; each spread is that of all of them together, as a part of the mean, where that is more.

    One that takes far longer is rare, and few of a boundary may have none: how far is told by all that a device hands
    over in one way.
    """
    variance, count = 0.0, 0
    for one in (one for way in several for one in way):
        known = one.mean_s > 0
        parts = one.spread_s[known] / one.mean_s[known]
        variance, count = variance + float((parts**2).sum()), count + int(known.sum())
    part = (variance / count) ** 0.5 if count else 0.0
    return [
        [replace(one, spread_s=np.maximum(one.spread_s, part * np.nan_to_num(one.mean_s))) for one in way]
        for way in several
    ]


def _of_runs(profile: Profile, scatter: Scatter, values: Floats, boundary: Ints) -> list[Handover]:
    per, boundaries = len(profile.frequencies_hz), len(profile.layers) + 1
    cell = np.repeat(np.arange(len(profile.starts) - 1), np.diff(profile.starts))
    found = []
    for column in range(per):
        mine = cell % per == column
        rows = _rows(profile, scatter, mine, column)
        shape = len(scatter.passes[0]) if scatter.passes is not None else int(mine.sum())
        passes_s = np.full((shape, boundaries), np.nan)
        mean_s, spread_s = np.full(boundaries, np.nan), np.zeros(boundaries)
        for at in range(boundaries):
            its = mine & (boundary[cell // per] == at) & ~np.isnan(values)
            if not its.any():
                continue
            order = np.argsort(rows[its], kind="stable")
            labels, starts = np.unique(rows[its][order], return_index=True)
            passes_s[labels, at] = stats.trimmed_mean(
                values[its][order], np.append(starts, len(order)), profile.trims[0]
            )
            mean_s[at], spread_s[at] = values[its].mean(), values[its].std(ddof=1) if its.sum() > 1 else 0.0
        found.append(Handover(passes_s, mean_s, spread_s))
    return found


def _rows(profile: Profile, scatter: Scatter, mine: Bools, column: int) -> Ints:
    """The row of ``Scatter.passes`` that each run counts in; its own where passes are not known."""
    if scatter.of_pass is None or profile.run_iteration is None:
        return np.cumsum(mine) - 1
    several = scatter.sessions[column] > 1  # then its first rows are sessions
    labels = np.unique(scatter.of_pass[mine]) if several else np.unique(profile.run_iteration)
    return np.searchsorted(labels, scatter.of_pass)


def encodings(times_s: Sequence[Sequence[Floats]]) -> list[Handover]:
    """Encodings, or decodings, of tensors.

    Args:
        times_s: For each boundary the times at each frequency, (rounds, images); empty where it is not encoded.
    """
    columns = max(map(len, times_s), default=0)
    found = []
    for column in range(columns):
        its = [of_boundary[column] if len(of_boundary) else np.zeros((0, 0)) for of_boundary in times_s]
        rounds = max(len(one) for one in its)
        passes_s, mean_s, spread_s = np.full((rounds, len(its)), np.nan), np.full(len(its), np.nan), np.zeros(len(its))
        for at, one in enumerate(its):
            there = one[~np.isnan(one)]
            if not len(there):
                continue
            for number, of_round in enumerate(one):
                known = of_round[~np.isnan(of_round)]
                if len(known):
                    passes_s[number, at] = stats.trimmed_mean(known, np.array([0, len(known)]))[0]
            mean_s[at], spread_s[at] = there.mean(), there.std(ddof=1) if len(there) > 1 else 0.0
        found.append(Handover(passes_s, mean_s, spread_s))
    return found


def of_encodings(
    measured: Mapping[int, Encoding], boundaries: int, is_edge: bool
) -> tuple[dict[str, list[Handover]], list[Handover]]:
    """What a device takes to decode what arrives and to encode what leaves it, and to encode the input.

    Args:
        measured: Boundary -> how it is encoded, as the device has measured it.
        boundaries: How many there are.
        is_edge: Whether it has the input.
    """
    nothing: tuple[Floats, ...] = ()
    decode = [nothing] * boundaries
    encode, of_input = list(decode), list(decode)
    for at, one in measured.items():
        if at or not is_edge:
            decode[at] = one.decode_rounds_s
        if at:
            encode[at] = one.encode_rounds_s
        elif is_edge:
            of_input[0] = one.encode_rounds_s
    decoded, encoded, of_the_input = _pooled([encodings(decode), encodings(encode), encodings(of_input)])
    return {FIRST: decoded, LAST: encoded}, of_the_input


def overheads(measured: Overheads, boundaries: int, is_edge: bool) -> dict[str, list[Handover]]:
    """What a device takes beside computing; a round over all cuts counts once."""
    first, last = [], []
    for column, leave_s in enumerate(measured.rounds_s["leave"]):
        before_s = [measured.first_rounds_s(at, column, is_edge) for at in range(boundaries)]
        first.append(_of_rounds(np.array(before_s).T))
        last.append(_of_rounds(np.repeat(leave_s[:, None], boundaries, axis=1)))
    return {FIRST: first, LAST: last}


def longer(profile: Profile, scatter: Scatter, longest: int, is_edge: bool) -> list[Handover]:
    """What bundles take longer behind a wait; those that never wait nothing.

    What a pass, or session, adds is the pseudo-value of the jackknife: how a line over all of them changes without it.

    Args:
        profile: The profile.
        scatter: What is known of its means' errors; passes are in its order.
        longest: Layers of the problem's largest bundle, one entry each of whose bundles is.
        is_edge: Whether the device has the input.

    Returns:
        One entry a frequency; none where no bundle was run behind a wait.
    """
    waited = profile.waited
    if waited is None:
        return []
    assert scatter.passes is not None, "what has runs behind waits has passes"
    per = len(profile.frequencies_hz)
    behind_s, plain_s = (times_behind_waits(profile, longest, is_edge, plain) for plain in (False, True))
    cell = np.repeat(np.arange(len(profile.starts) - 1), np.diff(profile.starts))
    found = []
    for column, its in enumerate(waited):
        mine = cell % per == column
        of_runs = _rows(profile, scatter, mine, column)
        rows = of_runs[its.runs]
        there, times_s = ~np.isnan(behind_s[:, column]), np.nan_to_num(behind_s[:, column])
        labels = np.unique(rows)
        whole = its.typical.longer_s(times_s)
        passes_s = np.full((len(scatter.passes[0]), len(there)), np.nan)
        passes_s[np.unique(of_runs[mine])] = there * whole  # one without such runs, as of an earlier version, adds none
        for label in labels:
            without = its.without(rows == label).longer_s(times_s)
            passes_s[label] = there * (len(labels) * whole - (len(labels) - 1) * without)
        mean_s = there * its.mean.longer_s(np.nan_to_num(plain_s[:, column]))
        found.append(Handover(passes_s, mean_s, there * its.spread_s(times_s)))
    return found


def times_behind_waits(profile: Profile, longest: int, is_edge: bool, plain: bool = False) -> Floats:
    """Typical, or mean, times of a problem's bundles, (bundles, frequencies); NaN of those that never wait.

    Those are the whole network's on the edge device, which then waits for nobody, and those not profiled.
    """
    bundles = enumerate_bundles(len(profile.layers), longest)
    found = np.full((len(bundles), len(profile.frequencies_hz)), np.nan)
    lengths = np.array([bundle.last - bundle.first for bundle in bundles])
    found[lengths < profile.max_layers] = profile.plain_s if plain else profile.means.duration_s
    if is_edge:
        found[lengths == len(profile.layers) - 1] = np.nan
    return found


def _of_rounds(rounds_s: Floats) -> Handover:
    spread_s = rounds_s.std(axis=0, ddof=1) if len(rounds_s) > 1 else np.zeros(rounds_s.shape[1])
    return Handover(rounds_s, rounds_s.mean(axis=0), spread_s)


@dataclass(frozen=True, eq=False)
class OfDevice:
    """All that a device takes at hand-overs.

    Attributes:
        copies: To and from its GPU.
        encodings: Decoding and encoding.
        of_input: Encoding the network's input, boundary 0, by frequency.
        overheads: What it takes beside computing.
        longer: What each of the problem's bundles takes longer behind a wait, by frequency.
    """

    copies: Handovers
    encodings: Handovers
    of_input: Sequence[Handover]
    overheads: Handovers = field(default_factory=dict)
    longer: Sequence[Handover] = ()

    @classmethod
    def of(
        cls,
        profile: Profile,
        scatter: Scatter,
        encoded: Mapping[int, str],
        copied: bool,
        beside: bool,
        is_edge: bool,
        longest: int | None,
    ) -> OfDevice:
        """Looks at a profile.

        Args:
            profile: The profile.
            scatter: What is known of its means' errors.
            encoded: Boundary -> encoding.
            copied: Whether its copies count.
            beside: Whether its overheads count.
            is_edge: Whether the device has the input.
            longest: Layers of the problem's largest bundle where what runs behind waits take longer counts.
        """
        measured = {at: (profile.encodings or {})[at, name] for at, name in encoded.items()}
        boundaries = len(profile.layers) + 1
        both, of_input = of_encodings(measured, boundaries, is_edge)
        its = profile.overheads
        of_overheads = overheads(its, boundaries, is_edge) if beside and its is not None else {}
        of_waits = [] if longest is None else longer(profile, scatter, longest, is_edge)
        return cls(copies(profile, scatter) if copied else {}, both, of_input, of_overheads, of_waits)
