"""Goals and limits as they are typed, and what they refuse."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dime.contract.errors import InputError
from dime.host.planning.goals import Goal, Limits


@pytest.mark.parametrize("text", ["latency", "energy", "throughput"])
def test_plain_goals(text):
    assert Goal.parse(text) == Goal(text)


def test_weighted_goals():
    assert Goal.parse("weighted:1,0.5") == Goal("weighted", 1.0, 0.5)


@given(st.floats(0, 1e3), st.floats(1e-3, 1e3))
def test_integer_weights_keep_the_ratio(per_s, per_j):
    a, b = Goal("weighted", per_s, per_j).weights
    assert Fraction(a, b) == Fraction(per_s) / Fraction(per_j)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("speed", "unknown goal 'speed'; known: energy, latency, throughput, weighted"),
        ("weighted", "the form is weighted:PER_S,PER_J"),
        ("weighted:1", "the form is"),
        ("weighted:a,b", "the form is"),
        ("weighted:0,0", "not both 0"),
        ("weighted:-1,1", "finite, >= 0"),
        ("weighted:nan,1", "finite, >= 0"),
    ],
)
def test_what_is_no_goal(text, message):
    with pytest.raises(InputError, match=message):
        Goal.parse(text)


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"latency_s": -1}, "the limit on latency"),
        ({"energy_j": float("nan")}, "the limit on energy"),
        ({"latency_s": float("inf")}, "the limit on latency"),
        ({"max_bundle": 0}, "at least 1 layer"),
        ({"rule": "strict"}, "unknown bundle-count rule 'strict'; known: free, merged, published"),
    ],
)
def test_what_is_no_limit(limits, message):
    with pytest.raises(InputError, match=message):
        Limits(**limits)
