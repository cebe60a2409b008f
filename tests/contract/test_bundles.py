import pytest

from dime.contract.bundles import Bundle, covers, enumerate_bundles, parse, spell
from dime.contract.errors import InputError

PLAIN = ["conv1", "conv2", "conv3", "fc1"]
UNDERSCORED = ["conv_proj", "encoder_layer_0", "encoder_layer_1", "encoder_layer_10", "encoder_layer_11", "head"]


@pytest.mark.parametrize("layers, count", [(8, 36), (11, 66), (16, 136), (1, 1)])
def test_there_are_as_many_bundles_as_pairs_of_ends(layers, count):
    bundles = enumerate_bundles(layers)
    assert len(bundles) == len(set(bundles)) == count
    assert bundles == sorted(bundles)


def test_a_limit_bounds_the_length():
    assert enumerate_bundles(3, 2) == [(0, 0), (0, 1), (1, 1), (1, 2), (2, 2)]
    assert enumerate_bundles(3, 99) == enumerate_bundles(3)


def test_tiling():
    assert covers([Bundle(0, 1), Bundle(2, 2)], 3)
    assert not covers([Bundle(0, 1)], 3)
    assert not covers([Bundle(0, 1), Bundle(1, 2)], 3)
    assert not covers([Bundle(2, 2), Bundle(0, 1)], 3)
    assert not covers([], 1)


def test_spellings():
    assert spell(Bundle(0, 2), PLAIN) == "conv1_conv2_conv3"
    assert spell(Bundle(1, 4), UNDERSCORED) == "encoder_layer_0__encoder_layer_11"
    assert spell(Bundle(5, 5), UNDERSCORED) == "head"


@pytest.mark.parametrize("layers", [PLAIN, UNDERSCORED])
def test_every_spelling_is_read_back(layers):
    for bundle in enumerate_bundles(len(layers)):
        members = layers[bundle.first : bundle.last + 1]
        assert parse(spell(bundle, layers), layers) == bundle
        assert parse("_".join(members), layers) == bundle
        assert parse("__".join(members), layers) == bundle
        for joint in ("_", "__"):
            assert parse(joint.join(members).replace("encoder_layer", "enc_layer"), layers) == bundle
        assert parse(members[0] + "__" + members[-1] if len(members) > 1 else members[0], layers) == bundle


@pytest.mark.parametrize(
    "name",
    ["conv1_conv3", "conv2_conv1", "conv", "", "conv1_", "conv2__conv1", "conv1__conv1"]
    + ["conv1__conv3__conv2", "conv1__conv2__fc1", "conv1__", "__conv1", "conv1__conv2__", "__"],
)
def test_what_is_no_run_of_layers_is_refused(name):
    with pytest.raises(InputError, match="not a contiguous run of the layers conv1, conv2"):
        parse(name, PLAIN)
