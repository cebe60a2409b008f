"""Exchanges over a link whose truth is known."""

import numpy as np

from dime.host.profiles import link_profile

TRUTH = (0.02, 10e6, 30e6)  # s, bit/s, bit/s
NOISES = {
    "normal": lambda rng, trip_s: (1 + rng.normal(0, 0.03), 0.0),
    "lognormal": lambda rng, trip_s: (np.exp(rng.normal(0, 0.25)), 0.0),
    "outliers": lambda rng, trip_s: ((1 + rng.normal(0, 0.03)) * (5 if rng.random() < 0.05 else 1), 0.0),
    "heavy tails": lambda rng, trip_s: (np.exp(0.05 * rng.standard_t(2)), 0.0),
    "jitter": lambda rng, trip_s: (1.0, 0.1 * trip_s * (rng.exponential() - np.log(2))),
    "none": lambda rng, trip_s: (1.0, 0.0),
}  # a factor and seconds more, each of median 1 and 0


def exchanges(passes=5, runs=3, truth=TRUTH, noise="none", between=0.0, seed=0, bend=lambda size: 1.0, largest=602112):
    """Raw rows; ``between`` is by what passes differ, ``bend`` what a size is off the line by."""
    rng, rows = np.random.default_rng(seed), []
    trip_s, *rates = truth
    for iteration in range(passes):
        drift = 1 + rng.normal(0, between)
        for way, bit_s in zip(link_profile.WAYS, rates, strict=True):
            for size in link_profile.sizes(largest):
                for run in range(runs):
                    factor, more_s = NOISES[noise](rng, trip_s)
                    took_s = (trip_s + 8 * size / bit_s) * factor * drift * bend(size) + more_s
                    row = {"iteration": iteration, "run": run, "direction": way, "size_bytes": size}
                    rows.append({**row, "duration_s": took_s, "held_s": 1e-5, "start_ns": 1})
    return rows
