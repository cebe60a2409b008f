"""Student's t distribution with any degrees of freedom, without a statistics library."""

from __future__ import annotations

import math
from functools import lru_cache
from statistics import NormalDist

# From here on the normal distribution's quantile is the same to four digits.
MANY = 2000.0


def quantile(probability: float, dof: float) -> float:
    """The value that a variable with a t distribution stays below with a probability.

    Args:
        probability: Within 0..1.
        dof: Degrees of freedom above 0, also a fraction, as the Welch-Satterthwaite formula gives; inf: normal.
    """
    if dof >= MANY:
        return NormalDist().inv_cdf(probability)
    return _quantile(probability, round(dof, 2) or 0.01)


@lru_cache(maxsize=4096)
def _quantile(probability: float, dof: float) -> float:
    if probability < 0.5:
        return -_quantile(1 - probability, dof)
    low, high = 0.0, 2.0
    while high < 1e9 and cumulative(high, dof) < probability:
        low, high = high, 2 * high
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if cumulative(middle, dof) < probability else (low, middle)
    return (low + high) / 2


def cumulative(value: float, dof: float) -> float:
    """Probability that a variable with a t distribution is below a value."""
    if dof >= MANY:
        return NormalDist().cdf(value)
    beyond = 0.5 * _beta_share(dof / 2, 0.5, dof / (dof + value * value))
    return 1 - beyond if value > 0 else beyond


def _beta_share(a: float, b: float, x: float) -> float:
    """Regularised incomplete beta function, by its continued fraction (Abramowitz and Stegun, 26.5.8)."""
    if x <= 0 or x >= 1:
        return min(max(x, 0.0), 1.0)
    if x > (a + 1) / (a + b + 2):
        return 1 - _beta_share(b, a, 1 - x)
    scale = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    fraction = 1.0
    for step in range(80, 0, -1):
        half = step // 2
        if step % 2:
            term = -(a + half) * (a + b + half) * x / ((a + 2 * half) * (a + 2 * half + 1))
        else:
            term = half * (b - half) * x / ((a + 2 * half - 1) * (a + 2 * half))
        fraction = 1 + term / fraction
    return math.exp(scale) / (a * fraction)
