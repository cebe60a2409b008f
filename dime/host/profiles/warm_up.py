"""A first pass that is slower than the others: found, said, and left out by one rule.

Caches, clocks and memory settle while the first pass runs. It is a warm-up if it is slower than all other passes let
expect of one more, with a chance of one in 200 for a pass that is like them: more than their mean and Student's t times
their spread. Then it is left out of everything, unless fewer than three passes would be left of a bundle. (One in 40
would be too often: it is passes that by chance are close to each other that make another one stand out, and their
interval is too narrow.)
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from dime.host.common import stats, student
from dime.host.common.stats import Bools, Floats, Ints
from dime.host.profiles.profiles import Profile

BY_CHANCE = 1 / 200
FEWEST = 4


def slower_by(means: Floats) -> float | None:
    """By which part the first pass is slower, where it is by more than the others let expect; None: it is not.

    Args:
        means: (passes, cells), NaN where a cell has no runs of a pass.
    """
    if len(means) < FEWEST:
        return None
    later = np.isfinite(means[1:])
    total = np.where(later, means[1:], 0.0).sum(axis=0)
    center = np.divide(total, later.sum(axis=0), out=np.zeros(len(total)), where=later.any(axis=0))
    parts = np.divide(means, center, out=np.full(means.shape, np.nan), where=center > 0)
    known: Bools = np.isfinite(parts)
    if not known.any(axis=1).all():
        return None
    of_pass = np.where(known, parts, 0.0).sum(axis=1) / known.sum(axis=1)
    first, others = float(of_pass[0]), of_pass[1:]
    spread = float(others.std(ddof=1)) * math.sqrt(1 + 1 / len(others))
    beyond = first - float(others.mean()) - student.quantile(1 - BY_CHANCE, len(others) - 1) * spread
    return first / float(others.mean()) - 1 if beyond > 0 else None


def of_rows(cell: Ints, passes: Ints, duration_s: Floats) -> float | None:
    """The same of a table's rows, in any order; None also where a cell would be left with fewer than three passes.

    Args:
        cell: The cell of each row, from 0.
        passes: Its pass.
        duration_s: Its duration.
    """
    labels, place = np.unique(passes, return_inverse=True)
    shape = len(labels), int(cell.max()) + 1
    flat = np.ravel_multi_index((place, cell), shape)
    count, total = (np.bincount(flat, weights, np.prod(shape)) for weights in (None, duration_s))
    means = np.divide(total, count, out=np.full(len(count), np.nan), where=count > 0).reshape(shape)
    return slower_by(means) if _are_enough(means) else None


def _are_enough(means: Floats) -> bool:
    """Whether each cell has enough passes without the first."""
    return bool((np.isfinite(means[1:]).sum(axis=0) >= FEWEST - 1).all())


def of_profile(profile: Profile) -> float | None:
    """By which part a profile's first pass is a slower one; None: it is not, or passes are not known."""
    passes = profile.run_iteration
    if passes is None or passes.min() == passes.max():
        return None
    return slower_by(stats.pass_means(profile.run_duration_s, profile.starts, passes, profile.trims[0]))


def without(profile: Profile) -> Profile:
    """The profile without a first pass that is a warm-up, which its warnings then say; else the same again."""
    if profile.without_warm_up or (slower := of_profile(profile)) is None:
        return profile
    assert profile.run_iteration is not None
    kept = profile.run_iteration > profile.run_iteration.min()
    means = stats.pass_means(profile.run_duration_s, profile.starts, profile.run_iteration)
    said = f"{profile.path}: the first pass is slower by {slower:.2%}, more than passes differ"
    if not _are_enough(means):
        return replace(profile, without_warm_up=True, warnings=(*profile.warnings, f"{said}; it is used all the same"))
    return replace(
        profile.only(kept), without_warm_up=True, warnings=(*profile.warnings, f"{said}: it is a warm-up, and left out")
    )
