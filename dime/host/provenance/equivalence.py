"""Whether two sets of timings are the same within a margin that was stated before, for many bundles at once.

For each bundle two one-sided tests on the logarithm of the passes' means (Welch), at a family-wise level by Holm's
method: ``equal`` is proven, and so is ``different``; what neither can be said of is ``undecided``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dime.host.common.stats import Floats
from dime.host.common.student import cumulative

MARGIN = 0.1
LEVEL = 0.05
EQUAL, DIFFERENT, UNDECIDED = "equal", "different", "undecided"


@dataclass(frozen=True)
class Compared:
    """One bundle.

    Attributes:
        name: Its name, with its frequency.
        ratio: New mean over old mean.
        verdict: ``equal``, ``different`` or ``undecided``.
    """

    name: str
    ratio: float
    verdict: str


def compare(
    names: Sequence[str],
    old: Sequence[Floats],
    new: Sequence[Floats],
    margin: float = MARGIN,
    level: float = LEVEL,
) -> list[Compared]:
    """Compares the means of passes, bundle by bundle.

    Args:
        names: Names of the bundles.
        old: The means of each bundle's passes, as they were.
        new: The same now.
        margin: Relative difference that does not matter: a ratio within 1 / (1 + margin) .. 1 + margin is equal.
        level: Probability that any bundle at all is called equal, or any different, which is not.
    """
    tested = [_p_values(before, now, margin) for before, now in zip(old, new, strict=True)]
    equal = holm([one[1] for one in tested], level)
    different = holm([one[2] for one in tested], level)
    return [
        Compared(name, ratio, EQUAL if same else DIFFERENT if other else UNDECIDED)
        for name, (ratio, _, _), same, other in zip(names, tested, equal, different, strict=True)
    ]


def holm(p_values: Sequence[float], level: float) -> list[bool]:
    """Which hypotheses are rejected when the chance of rejecting any true one is to be at most ``level``."""
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    rejected = [False] * len(p_values)
    for rank, at in enumerate(order):
        if p_values[at] > level / (len(p_values) - rank):
            break
        rejected[at] = True
    return rejected


def _p_values(old: Floats, new: Floats, margin: float) -> tuple[float, float, float]:
    """The ratio of means, and the p-values of 'not equal within the margin' and of 'equal within it'."""
    if min(len(old), len(new)) < 2 or min(old.min(initial=1), new.min(initial=1)) <= 0:
        return (float(new.mean() / old.mean()) if len(old) and len(new) and old.mean() > 0 else math.nan), 1.0, 1.0
    logs = np.log(old), np.log(new)
    parts = [float(one.var(ddof=1)) / len(one) for one in logs]
    off, spread, edge = float(logs[1].mean() - logs[0].mean()), math.sqrt(sum(parts)), math.log1p(margin)
    if spread == 0:
        return math.exp(off), float(abs(off) > edge), float(abs(off) <= edge)
    dof = sum(parts) ** 2 / sum(part**2 / (len(one) - 1) for part, one in zip(parts, logs, strict=True))
    inside = max(cumulative((off - edge) / spread, dof), cumulative((-off - edge) / spread, dof))
    outside = cumulative((edge - abs(off)) / spread, dof)
    return math.exp(off), inside, outside


def rank_correlation(old: Floats, new: Floats) -> float:
    """Spearman's: 1 where both put all bundles into the same order."""
    if len(old) < 2:
        return math.nan
    ranks = np.array([_ranks(old), _ranks(new)])
    if not ranks.std(axis=1).all():
        return math.nan
    return float(np.corrcoef(ranks)[0, 1])


def _ranks(values: Floats) -> Floats:
    """The place of each value; equal ones share theirs."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(counts) - (counts - 1) / 2)[place], dtype=np.float64)
