"""profiles, links, goal, limits and accounting -> a problem: what was measured becomes integers, or is refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from dime.contract.errors import InputError
from dime.host.common.stats import Floats, Ints
from dime.host.planning import encoded as coding
from dime.host.planning import known_terms
from dime.host.planning.accounting import ALL, Accounting
from dime.host.planning.goals import Goal, Limits
from dime.host.planning.links import Link, connect
from dime.host.planning.problem import (
    LARGEST_SUM,
    LARGEST_TABLE,
    PER_J,
    PER_S,
    Device,
    Problem,
    bundle_bounds,
    check_names,
)
from dime.host.planning.terms import NOTHING
from dime.host.profiles import oddities
from dime.host.profiles.profiles import Profile
from dime.host.profiles.published import averaged


def build_problem(
    profiles: Sequence[Profile],
    links: str | Link | Mapping[tuple[str, str], str | Link | None],
    goal: str | Goal = "latency",
    limits: Limits | None = None,
    *,
    result_bytes: int | None = 4,
    arithmetic: str = "correct",
    sizes_bytes: Sequence[int] | None = None,
    layer_bytes: Sequence[int] | None = None,
    accounting: Accounting | None = None,
) -> Problem:
    """Makes a problem of profiles.

    Args:
        profiles: One a device, the edge device first.
        links: What joins each pair of devices; see ``links.connect``.
        goal: What to make small; see ``Goal.parse``.
        limits: What to keep to.
        result_bytes: What is sent home at the end: 4 bytes (the class) for each input of a batch, or None: the last
            layer's whole output.
        arithmetic: ``correct`` or ``published``, of the runs (see ``published``) and of the radio (``Link.energy_j``).
        sizes_bytes: Size of the tensor at each boundary, N + 1 of them, where no profile has them.
        layer_bytes: Memory that each layer takes where it runs, for limits on memory; None: as the profiles say.
        accounting: Whose joules count, and which terms; None: as ``Accounting()`` has it. The published arithmetic has
            no terms, and counts all joules.

    Returns:
        The problem.

    Raises:
        InputError: Profiles of different networks, unknown names, missing sizes, energy, links or pairs.
    """
    if not profiles:
        raise InputError("no profile was given; the first is the edge device's")
    check_names([profile.device for profile in profiles])
    profiles = averaged(profiles, arithmetic)
    edge = profiles[0]
    _check_same(profiles)
    longest = max(profile.max_layers for profile in profiles)
    if len(edge.layers) * longest * max(len(profile.frequencies_hz) for profile in profiles) > LARGEST_TABLE:
        raise InputError(f"{len(edge.layers)} layers in bundles of up to {longest} are too many: profile smaller ones")
    for given, what in ((sizes_bytes, len(edge.layers) + 1), (layer_bytes, len(edge.layers))):
        if given is not None and (len(given) != what or min(given) < 0):
            raise InputError(f"sizes in bytes must be {what} numbers >= 0, not {len(given)}")
    if layer_bytes is None:
        layer_bytes = next((profile.layer_bytes for profile in profiles if profile.layer_bytes), None)
    accounting = accounting or Accounting()
    plain_sizes = _boundary_sizes(profiles, sizes_bytes, result_bytes)
    warnings = oddities.of_profiles(profiles, plain_sizes, layer_bytes)
    encoded: tuple[coding.Encoded, ...] = ()
    if arithmetic != "published":
        encoded = coding.find(profiles, plain_sizes, accounting.encode)
    elif accounting.encode:
        warnings = (*warnings, f"ENCODE={accounting.encode} is left out: the published arithmetic has no such term")
    sizes = coding.sizes_of(plain_sizes, encoded)
    joined = connect(links, [profile.device for profile in profiles])
    crossing_ps, crossing_pj = _crossings(joined, len(profiles), sizes, arithmetic)
    has_energy = edge.run_energy_j is not None
    counted, terms = (True,) * len(profiles), NOTHING
    if arithmetic != "published":
        counted = accounting.counted(profiles)
        has_energy = all(profile.run_energy_j is not None for profile in _counted(profiles, counted, accounting.joules))
        terms = known_terms.find(profiles, joined, plain_sizes, accounting, counted, encoded)
        terms = replace(terms, beyond_ps=tuple(_beyond(profile, longest) for profile in profiles))
        for weaker, other in joined:
            if not counted[weaker]:
                crossing_pj[:, weaker, other] = crossing_pj[:, other, weaker] = 0
    return Problem(
        network=edge.network,
        layers=edge.layers,
        max_layers=longest,
        devices=tuple(
            _device(profile, longest, has_energy and counts) for profile, counts in zip(profiles, counted, strict=True)
        ),
        crossing_ps=crossing_ps,
        crossing_pj=crossing_pj if has_energy else np.zeros_like(crossing_pj),
        sizes_bytes=sizes,
        goal=Goal.parse(goal) if isinstance(goal, str) else goal,
        limits=(limits or Limits()).named(edge.device),
        has_energy=has_energy,
        layer_bytes=None if layer_bytes is None else tuple(layer_bytes),
        links=links if isinstance(links, str) else getattr(links, "name", "given by pairs"),
        joined=joined,
        arithmetic=arithmetic,
        batch=edge.batch,
        warnings=warnings,
        terms=terms,
    )


def _check_same(profiles: Sequence[Profile]) -> None:
    """Refuses profiles of different networks or batches."""
    edge = profiles[0]
    for profile in profiles[1:]:
        if profile.layers != edge.layers:
            raise InputError(f"{profile.path} and {edge.path} are of different networks: their layers differ")
        if profile.graph != edge.graph and None not in (profile.graph, edge.graph):
            raise InputError(
                f"{profile.path} and {edge.path} are of different networks: their documents differ; profile both"
                " with the same feature maps"
            )
        if profile.batch != edge.batch:
            raise InputError(
                f"{profile.path} is of a batch of {profile.batch}, {edge.path} of {edge.batch}: a plan is for one batch"
            )


def _counted(profiles: Sequence[Profile], counted: Sequence[bool], joules: str) -> Sequence[Profile]:
    """The profiles without whose energies no energy means anything."""
    return profiles[:1] if joules == ALL else [one for one, counts in zip(profiles, counted, strict=True) if counts]


def _boundary_sizes(
    profiles: Sequence[Profile], given: Sequence[int] | None, result_bytes: int | None
) -> tuple[int, ...]:
    known = [(profile.path, profile.sizes_bytes) for profile in profiles if profile.sizes_bytes is not None]
    if given is not None:
        known = [("sizes_bytes", tuple(given))]
    if not known:
        raise InputError(
            f"{profiles[0].path} does not say how large the tensors between layers are; give their"
            f" {len(profiles[0].layers) + 1} sizes in bytes, or a profile of the network that has them, as sizes"
        )
    for path, sizes in known[1:]:
        if sizes != known[0][1]:
            raise InputError(f"{known[0][0]} and {path} disagree on the sizes of the tensors between layers")
    sizes = known[0][1]
    sizes = sizes if result_bytes is None else (*sizes[:-1], result_bytes * profiles[0].batch)
    if max(sizes) >= 2**62:
        raise InputError(f"a tensor of {str(max(sizes))[:30]} bytes is larger than any memory")
    return sizes


def _crossings(
    joined: Mapping[tuple[int, int], Link | None], count: int, sizes: tuple[int, ...], arithmetic: str
) -> tuple[Ints, Ints]:
    latency = np.full((len(sizes), count, count), -1, dtype=np.int64)
    energy = np.zeros_like(latency)
    latency[:, range(count), range(count)] = 0
    for (weaker, other), link in joined.items():
        if link is None:
            continue
        for boundary, size in enumerate(sizes):
            for upload, source, target in ((True, weaker, other), (False, other, weaker)):
                latency[boundary, source, target] = _integers(link.latency_s(size, upload), PER_S)
                energy[boundary, source, target] = _integers(link.energy_j(size, upload, arithmetic), PER_J)
    return latency, energy


def _device(profile: Profile, longest: int, has_energy: bool) -> Device:
    first, last = bundle_bounds(len(profile.layers), longest)
    profiled = last - first < profile.max_layers
    means = profile.means
    latency = np.full((len(first), len(profile.frequencies_hz)), -1, dtype=np.int64)
    energy = np.zeros_like(latency)
    latency[profiled] = _integers(means.duration_s, PER_S)
    if has_energy and means.energy_j is not None:
        energy[profiled] = _integers(means.energy_j, PER_J)
    counted = has_energy and means.energy_j is not None
    return Device(
        profile.device,
        profile.frequencies_hz,
        latency,
        energy,
        counted,
        profile.origin,
        profile.energy_origin,
        profile.max_layers,
    )


def _beyond(profile: Profile, longest: int) -> Ints | None:
    """By how much bundles' mean times are longer than those of typical runs; None where they are the same."""
    first, last = bundle_bounds(len(profile.layers), longest)
    found = np.zeros((len(first), len(profile.frequencies_hz)), np.int64)
    typical, mean = (_integers(time_s, PER_S) for time_s in (profile.means.duration_s, profile.plain_s))
    found[last - first < profile.max_layers] = mean - typical
    return found if found.any() else None


def _integers(quantity: Floats | float, per_unit: int) -> Ints:
    """Rounds seconds or joules to integers; what could overflow a sum is capped and refused by the problem's check."""
    integers: Ints = np.rint(np.minimum(quantity, LARGEST_SUM / per_unit) * per_unit).astype(np.int64)
    return integers
