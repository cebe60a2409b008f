import pytest

from dime.contract.encodings import Choice, is_of, parse, quality
from dime.contract.errors import InputError


def test_what_a_person_writes():
    assert parse("input:jpeg90, features:float16") == (Choice("input", "jpeg90"), Choice("features", "float16"))
    wanted = ["input:uint8", "input:jpeg90", "features:float16", "features:uint8"]
    assert [":".join(one) for one in parse("all")] == wanted
    assert [quality(text) for text in ("jpeg1", "jpeg100", "jpeg0", "jpeg101", "uint8")] == [1, 100, 0, 0, 0]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "'' is no encoding such as input:jpeg90 or features:float16; places: input, features"),
        ("jpeg90", "'jpeg90' is no encoding such as"),
        ("output:float16", "'output:float16' is no encoding such as"),
        ("features:jpeg90", "unknown encoding of features 'jpeg90'; known: float16, uint8"),
        ("input:jpeg0", "unknown encoding of input 'jpeg0'; known: float16, uint8"),
        ("input:jpeg\u0663", "unknown encoding of input"),
        ("input:uint8,input:uint8", "an encoding is there twice"),
    ],
)
def test_what_is_none(text, words):
    with pytest.raises(InputError) as failure:
        parse(text)
    assert str(failure.value).startswith(words)


def test_the_input_is_the_first_boundary():
    ours, others = parse("input:uint8,features:uint8")
    assert [is_of(ours, boundary) for boundary in range(3)] == [True, False, False]
    assert [is_of(others, boundary) for boundary in range(3)] == [False, True, True]
