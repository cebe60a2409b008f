"""95 % confidence intervals of a mean from few values, without a statistics library."""

import math
from typing import Dict, Sequence, Tuple

_known: Dict[int, float] = {}


def t95(dof: float) -> float:
    """Two-sided 95 % quantile of Student's t distribution.

    The distribution function is the finite series of Abramowitz and Stegun, 26.7.3 and 26.7.4, solved by bisection.

    Args:
        dof: Degrees of freedom, at least 1; a fraction is cut off, as the Guide to the Expression of Uncertainty in
            Measurement recommends (G.4.1). Above 1000 the normal distribution's quantile is returned.

    Returns:
        float: The factor by which a standard error is multiplied.

    Raises:
        ValueError: ``dof`` is less than 1.
    """
    if not dof >= 1:
        raise ValueError("degrees of freedom must be at least 1, not {}".format(dof))
    if dof > 1000:
        return 1.959963984540054
    whole = int(dof)
    if whole not in _known:
        low, high = 1.9, 12.8
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (middle, high) if _inside(middle, whole) < 0.95 else (low, middle)
        _known[whole] = (low + high) / 2
    return _known[whole]


def _inside(t: float, dof: int) -> float:
    """Probability that a variable with this t distribution lies between -t and t."""
    angle = math.atan2(t, math.sqrt(dof))
    cosine, sine = math.cos(angle), math.sin(angle)
    odd = dof % 2
    total = (cosine if odd else 1.0) if dof > 1 else 0.0
    term = total
    for step in range(2 + odd, dof - 1, 2):
        term *= cosine * cosine * (step - 1) / step
        total += term
    return 2 / math.pi * (angle + sine * total) if odd else sine * total


def mean_and_error(values: Sequence[float]) -> Tuple[float, float]:
    """Mean of some values and its standard error.

    Args:
        values: At least two numbers.

    Returns:
        tuple: (mean, standard error of the mean).
    """
    count = len(values)
    mean = math.fsum(values) / count
    return mean, math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (count - 1) / count)
