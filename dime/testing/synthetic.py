"""Modelled profiles for tests: roofline times with overhead and noise. None of these numbers was measured."""

from dataclasses import dataclass

import numpy as np

from dime.contract.bundles import enumerate_bundles
from dime.host.planning.formulation import build_problem
from dime.host.planning.goals import Limits
from dime.host.planning.problem import Device, Problem
from dime.host.profiles.profiles import Profile, RawRuns, from_runs

TWELVE_HZ = tuple(int(hz) for hz in np.linspace(76.8e6, 921.6e6, 12))


@dataclass(frozen=True)
class Chain:
    """A network's layers with operations (FLOP), weights (bytes) and boundary tensors (bytes)."""

    network: str
    layers: tuple[str, ...]
    flop: tuple[float, ...]
    weight_bytes: tuple[float, ...]
    sizes_bytes: tuple[int, ...]

    def __str__(self) -> str:
        return self.network


ALEXNET = Chain(
    "alexnet",
    ("conv1", "conv2", "conv3", "conv4", "conv5", "fc1", "fc2", "fc3"),
    (1.4e8, 4.5e8, 2.2e8, 3.0e8, 2.0e8, 7.6e7, 3.4e7, 8.2e6),
    (9.3e4, 1.2e6, 2.7e6, 3.5e6, 2.4e6, 1.5e8, 6.7e7, 1.6e7),
    (602112, 186624, 129792, 259584, 173056, 36864, 16384, 16384, 4000),
)
VGG11 = Chain(
    "vgg11",
    (*(f"conv{at}" for at in range(1, 9)), "fc1", "fc2", "fc3"),
    (1.7e8, 1.8e9, 1.8e9, 3.7e9, 1.8e9, 3.7e9, 9.2e8, 9.2e8, 2e8, 3.4e7, 8.2e6),
    (7e3, 2.9e5, 1.2e6, 2.4e6, 4.7e6, 9.4e6, 9.4e6, 9.4e6, 4.1e8, 6.7e7, 1.6e7),
    (602112, 3211264, 1605632, 3211264, 802816, 1605632, 401408, 401408, 100352, 16384, 16384, 4000),
)
VIT = Chain(
    "vit_b_16",
    (
        "conv_proj",
        "process_input_operations",
        "add_pos_embedding",
        *(f"encoder_layer_{at}" for at in range(12)),
        "head",
    ),
    (2.3e8, 1e5, 1.5e5, *[2.9e9] * 12, 1.5e6),
    (2.4e6, 3e3, 6e5, *[2.8e7] * 12, 3.1e6),
    (602112, 602112, 605184, 605184, *[605184] * 11, 3072, 4000),
)


def long_chain(count: int, seed: int = 0) -> Chain:
    """A chain of any length whose layers differ at random."""
    generator = np.random.default_rng(seed)
    return Chain(
        f"chain{count}",
        tuple(f"l{at}" for at in range(count)),
        tuple(generator.lognormal(17, 1, count)),
        tuple(generator.lognormal(13, 1, count)),
        tuple(int(size) for size in generator.lognormal(11, 1, count + 1)),
    )


def durations_s(chain: Chain, flop_s: float, byte_s: float, overhead_s: float) -> np.ndarray:
    """Roofline time of every bundle: fixed overhead, then the slower of arithmetic and memory, layer by layer."""
    layer = np.maximum(np.array(chain.flop) / flop_s, np.array(chain.weight_bytes) / byte_s)
    before = np.concatenate(([0.0], np.cumsum(layer)))
    bundles = enumerate_bundles(len(chain.layers))
    first, last = np.array(bundles).T
    return overhead_s + before[last + 1] - before[first]


def profile(
    chain: Chain,
    device: str = "nano",
    frequencies_hz: tuple[int, ...] = TWELVE_HZ,
    peak_flop_s: float = 4e10,
    static_w: float | None = 1.5,
    dynamic_w: float = 6.0,
    runs: int = 20,
    seed: int = 1,
) -> Profile:
    """A profile with noise of 3 % from run to run and 5 % from bundle to bundle; ``static_w`` None: no energy."""
    generator = np.random.default_rng(seed)
    bundles = enumerate_bundles(len(chain.layers))
    rows = []
    top = max(frequencies_hz)
    for hz in frequencies_hz:
        scale = hz / top if hz > 0 else 1.0
        time = durations_s(chain, peak_flop_s * scale, peak_flop_s / 8 * scale**0.3, 2e-4 / scale)
        time = time * generator.normal(1, 0.05, len(bundles)).clip(0.8, 1.2)
        noise = 1 + np.abs(generator.normal(0, 0.03, (len(bundles), runs)))
        power = (static_w or 0) + dynamic_w * scale**2.2
        rows.append((np.full(noise.shape, hz), time[:, None] * noise, time[:, None] * noise * power))
    first, last = np.array(bundles, dtype=np.int64).T
    repeat = np.tile(np.repeat(np.arange(len(bundles)), runs), len(frequencies_hz))
    sizes = np.array(chain.sizes_bytes)
    return from_runs(
        RawRuns(
            first[repeat],
            last[repeat],
            np.concatenate([row[0].ravel() for row in rows]),
            np.concatenate([row[1].ravel() for row in rows]),
            None if static_w is None else np.concatenate([row[2].ravel() for row in rows]),
            sizes[first[repeat]],
            sizes[last[repeat] + 1],
        ),
        device=device,
        network=chain.network,
        layers=chain.layers,
        path=f"modelled {device}",
        origin="modelled",
    )


def server(chain: Chain, device: str = "wiscad") -> Profile:
    """A server without frequencies and without energy."""
    return profile(chain, device, (-1,), 8e12, None, seed=2)


def problem(chain: Chain, links: str = "4G", **arguments) -> Problem:
    """Edge device with twelve frequencies and a server; any number of bundles, unless limits say another rule."""
    arguments.setdefault("limits", Limits(rule="free"))
    return build_problem([profile(chain), server(chain)], links, **arguments)


def large_problem(count: int, devices: int, frequencies: int = 12, seed: int = 0, **arguments) -> Problem:
    """A long chain with costs made directly, without raw runs behind them."""
    generator = np.random.default_rng(seed)
    chain = long_chain(count, seed)
    made = []
    for at in range(devices):
        hz = TWELVE_HZ[:frequencies] if at < devices - 1 else (-1,)
        speed = 2e11 * 6**at
        time = np.stack(
            [durations_s(chain, speed * f / max(hz), speed / 8 * (f / max(hz)) ** 0.3, 2e-4 * max(hz) / f) for f in hz],
            axis=1,
        )
        time *= generator.normal(1, 0.05, time.shape).clip(0.8, 1.2)
        power = 1.5 + 6 * (np.array(hz) / max(hz)) ** 2.2 if at < devices - 1 else np.zeros(1)
        made.append(
            Device(f"d{at}", hz, np.rint(time * 1e12).astype(np.int64), np.rint(time * power * 1e12).astype(np.int64))
        )
    boundary = np.array(chain.sizes_bytes)
    latency = np.full((count + 1, devices, devices), 0, dtype=np.int64)
    energy = np.zeros_like(latency)
    for a in range(devices):
        for b in range(devices):
            if a != b:
                bits = boundary * 8e6 / (5.85 * (1 + abs(a - b)))
                latency[:, a, b] = bits.astype(np.int64)
                energy[:, a, b] = (bits * 3.85 if 0 in (a, b) else bits * 0).astype(np.int64)
    return Problem(chain.network, chain.layers, count, tuple(made), latency, energy, chain.sizes_bytes, **arguments)


def thin_problem(count: int, longest: int, **arguments) -> Problem:
    """A very long chain whose bundles have few layers, on an edge device with four frequencies and a server."""
    generator = np.random.default_rng(0)
    bundles = len(enumerate_bundles(count, longest))
    devices = []
    for name, frequencies, most in (("edge", (1, 2, 3, 4), 1000), ("server", (-1,), 100)):
        shape = (bundles, len(frequencies))
        latency = generator.integers(most // 2, most, shape) * 1_000_000 // np.array(frequencies)
        energy = generator.integers(10, 20, shape) * 1_000_000 * np.array(frequencies)
        devices.append(Device(name, frequencies, latency, energy * int(name == "edge")))
    crossing = generator.integers(10, 1000, (count + 1, 2, 2)) * 1_000_000
    crossing[:, [0, 1], [0, 1]] = 0
    layers, sizes = tuple(f"l{at}" for at in range(count)), (1,) * (count + 1)
    return Problem("thin", layers, longest, tuple(devices), crossing, crossing.copy(), sizes, **arguments)
