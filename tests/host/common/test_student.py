"""Quantiles of Student's t against tables, and against the contract's own series for whole degrees of freedom."""

from statistics import NormalDist

import pytest

from dime.contract.intervals import t95
from dime.host.common.student import cumulative, quantile


@pytest.mark.parametrize("dof", [1, 2, 3, 7, 30, 500])
def test_whole_degrees_of_freedom(dof):
    assert quantile(0.975, dof) == pytest.approx(t95(dof), rel=1e-9)
    assert quantile(0.025, dof) == -quantile(0.975, dof)


@pytest.mark.parametrize(
    ("probability", "dof", "value"), [(0.95, 9, 1.833113), (0.9, 1, 3.077684), (0.999, 4, 7.173182), (0.5, 3, 0.0)]
)
def test_the_tables_values(probability, dof, value):
    assert quantile(probability, dof) == pytest.approx(value, rel=1e-6, abs=1e-9)


def test_fractions_lie_between_and_many_are_normal():
    assert quantile(0.975, 3) < quantile(0.975, 2.5) < quantile(0.975, 2)
    assert quantile(0.975, float("inf")) == NormalDist().inv_cdf(0.975)
    assert cumulative(quantile(0.8, 2.5), 2.5) == pytest.approx(0.8)
