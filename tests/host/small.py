"""Small random problems, and every plan they have by plain enumeration."""

import itertools

import numpy as np
from hypothesis import strategies as st

from dime.contract.errors import InputError
from dime.host.planning.evaluation import evaluate, value
from dime.host.planning.formulation import build_problem
from dime.host.planning.goals import Limits
from dime.host.planning.links import Link
from dime.host.planning.problem import Choice
from dime.host.profiles.profiles import RawRuns, from_runs

LINK = Link("test", 8e6, 24e6, 0.0, 1e-7, 5e-8, 0.5)


def profile(device, hz, layers, generator, runs=4, energy=True, spread=0.05):
    """A profile with random costs: whole milliseconds and millijoules times noise, ties likely without noise."""
    bundles = [(first, last) for first in range(layers) for last in range(first, layers)]
    cells = len(bundles) * len(hz)
    length = np.repeat([last - first + 1 for first, last in bundles], len(hz))
    mean_s = generator.integers(1, 12, cells) * length * 1e-3
    mean_j = generator.integers(1, 12, cells) * length * 1e-3
    noise = np.abs(generator.normal(1, spread, (cells, runs)))
    first, last = np.repeat(bundles, len(hz) * runs, axis=0).T
    return from_runs(
        RawRuns(
            first,
            last,
            np.repeat(np.tile(hz, len(bundles)), runs),
            (mean_s[:, None] * noise).ravel(),
            (mean_j[:, None] * noise).ravel() if energy else None,
        ),
        device=device,
        network="net",
        layers=tuple(f"l{at}" for at in range(layers)),
        path=device,
        origin="modelled",
    )


def profiles(layers, devices, seed, spread=0.05, runs=4):
    """One profile a device: two clocks on all but the last, which has no energy."""
    generator = np.random.default_rng(seed)
    return [
        profile(f"d{at}", (1000, 2000), layers, generator, runs, spread=spread)
        if at == 0 or at < devices - 1
        else profile(f"d{at}", (-1,), layers, generator, runs, energy=False, spread=spread)
        for at in range(devices)
    ]


def problem(layers, devices, seed, goal="latency", limits=None, link=LINK, spread=0.0):
    """A problem of such profiles; tensors of 1 to 20 kB."""
    sizes = np.random.default_rng(seed + 1).integers(1, 20, layers + 1) * 1000
    return build_problem(
        profiles(layers, devices, seed, spread),
        link,
        goal,
        limits or Limits(rule="free"),
        sizes_bytes=[int(size) for size in sizes],
        layer_bytes=[1000 * (at % 3 + 1) for at in range(layers)],
    )


@st.composite
def problems(draw, goals=("latency", "energy", "weighted:1,0.5"), limited=True, most_layers=4, devices=(2, 3)):
    """A random problem that has at least one plan."""
    layers = draw(st.integers(1, most_layers))
    limits = Limits(rule="free")
    if limited:
        limits = Limits(
            private_layers=draw(st.integers(0, layers)),
            rule=draw(st.sampled_from(["free", "merged", "published"])),
            max_bundle=draw(st.sampled_from([None, 1, 2])),
        )
    return problem(
        layers, draw(st.sampled_from(devices)), draw(st.integers(0, 10**6)), draw(st.sampled_from(goals)), limits
    )


def all_plans(made):
    """(value, totals, choices) of every plan that keeps the limits, best first."""
    found = []
    for choices in _tilings(made, 0):
        try:
            totals = evaluate(made, choices)
        except InputError:
            continue
        if not totals.broken:
            found.append((value(made, totals), totals, choices))
    return sorted(found, key=lambda plan: plan[0])


def _tilings(made, start):
    if start == len(made.layers):
        yield ()
        return
    for bundle in made.bundles:
        if bundle.first == start:
            for (at, device), rest in itertools.product(enumerate(made.devices), list(_tilings(made, bundle.last + 1))):
                for frequency_hz in device.frequencies_hz:
                    yield (Choice(bundle, at, frequency_hz), *rest)
