"""The statistic of the published code, which `arithmetic="published"` repeats together with its radio energies.

It leaves out the lowest and the highest 10 % of a bundle's durations, takes the plain mean of its energies and, for
AlexNet's weak device, uses neither the first pass nor runs of 1 uJ and less.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from dime.contract.errors import InputError
from dime.host.common.stats import Bools
from dime.host.profiles import warm_up
from dime.host.profiles.profiles import Profile

TRIMS = (0.1, 0.0)
LEAST_J = 1e-6
WITHOUT_FIRST_PASS = "alexnet"


def averaged(profiles: Sequence[Profile], arithmetic: str) -> tuple[Profile, ...]:
    """The profiles with the statistic that goes with an arithmetic; the same again where they have it already.

    Args:
        profiles: One a device, the weak device's first.
        arithmetic: ``published``, or any other, which leaves out a first pass that is a warm-up (see ``warm_up``).

    Raises:
        InputError: Nothing is left of a bundle.
    """
    if arithmetic != "published":
        return tuple(map(warm_up.without, profiles))
    return tuple(
        profile
        if profile.trims == TRIMS
        else replace(_used(_told(profile, at == 0)) if at == 0 else _told(profile, False), trims=TRIMS, pooled=True)
        for at, profile in enumerate(profiles)
    )


def _told(profile: Profile, is_weak: bool) -> Profile:
    """The profile as it is, with a line if its first pass is a warm-up."""
    slower = warm_up.of_profile(profile)
    if slower is None:
        return profile
    leaves = is_weak and profile.network.lower() == WITHOUT_FIRST_PASS
    said = f"{profile.path}: the first pass is slower by {slower:.2%}, more than passes differ; the published code"
    return replace(profile, warnings=(*profile.warnings, f"{said} {'leaves it out' if leaves else 'uses it'}"))


def _used(profile: Profile) -> Profile:
    """The profile without the runs that the published code does not use."""
    if profile.network.lower() != WITHOUT_FIRST_PASS:
        return profile
    used: Bools = np.ones(len(profile.run_duration_s), np.bool_)
    if profile.run_energy_j is not None and not profile.energy_model:
        used &= profile.run_energy_j > LEAST_J
    passes = profile.run_iteration
    if passes is None or passes.min() == passes.max():
        note = f"{profile.path}: the published code leaves out the first pass, but here is only one, which is kept"
        profile = replace(profile, warnings=(*profile.warnings, note))
    else:
        used &= passes > passes.min()
    if not np.add.reduceat(used.astype(np.int64), profile.starts[:-1]).all():
        raise InputError(
            f"{profile.path}: the published code leaves out the first pass and runs of 1 uJ and less; of some bundles"
            " nothing is left: profile more passes, or take ARITHMETIC=correct"
        )
    return profile.only(used)
