"""Quantities as people read them: never an exponent, whatever their size."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dime.host.common.units import percent, quantity


@pytest.mark.parametrize(
    ("part", "text"),
    [
        (0, "0 %"),
        (0.0001, "<0.1 %"),
        (0.25, "25 %"),
        (0.9999, ">99.9 %"),
        (1, "100 %"),
        (9.87, "987 %"),
        (134, "134 times"),
        (1000, "1000 times"),
        (1e9, ">1000 times"),
    ],
)
def test_shares(part, text):
    assert percent(part) == text


@given(st.floats(0, 1e300))
def test_no_share_has_an_exponent(part):
    assert "e" not in percent(part).removesuffix(" times")


@given(st.floats(1e-12, 1e12), st.sampled_from(["s", "J", "Hz", "bit/s"]))
def test_no_quantity_has_an_exponent(value, unit):
    assert "e" not in quantity(value, unit)
