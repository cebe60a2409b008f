import math

import pytest

from dime.contract import intervals


@pytest.mark.parametrize(
    ("dof", "factor"),
    [(1, 12.706205), (2, 4.302653), (3, 3.182446), (4, 2.776445), (9, 2.262157), (10, 2.228139), (30, 2.042272),
     (100, 1.983972), (1000, 1.962339)],
)  # fmt: skip
def test_students_t_is_that_of_the_tables(dof, factor):
    assert intervals.t95(dof) == pytest.approx(factor, abs=2e-6)


def test_a_fraction_is_cut_off_and_many_are_normal():
    assert intervals.t95(4.99) == intervals.t95(4)
    assert intervals.t95(1e9) == intervals.t95(float("inf")) == pytest.approx(1.959964, abs=1e-6)


@pytest.mark.parametrize("dof", [0, 0.5, -1, float("nan")])
def test_less_than_one_degree_of_freedom_is_no_evidence(dof):
    with pytest.raises(ValueError, match="must be at least 1"):
        intervals.t95(dof)


def test_mean_and_error_of_known_values():
    mean, error = intervals.mean_and_error([1.0, 2.0, 3.0, 4.0])
    assert (mean, error) == (2.5, pytest.approx(math.sqrt(5.0 / 3 / 4)))
    assert intervals.mean_and_error([7.0, 7.0]) == (7.0, 0.0)
