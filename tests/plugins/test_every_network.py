"""Every built-in network passes the suite; a new file in dime/device/networks is covered by being there."""

import pytest

pytest.importorskip("torch")

import dime.device.networks
from dime.contract import plugins
from dime.contract.errors import InputError
from dime.device import networks
from dime.testing.networks import *  # noqa: F403


def tried(name):
    """ViT has ten times the work of the others."""
    return pytest.param(name, marks=pytest.mark.slow) if name == "vit_b_16" else name


@pytest.fixture(scope="module", params=[tried(name) for name in plugins.names(dime.device.networks)])
def network_name(request):
    return request.param


EXPECTED = {
    "alexnet": (8, {"conv5": (1, 256, 6, 6), "fc3": (1, 1000)}),
    "vgg11": (11, {"conv1": (1, 64, 112, 112), "conv8": (1, 512, 7, 7)}),
    "resnet18": (10, {"conv1": (1, 64, 56, 56), "block8": (1, 512, 7, 7)}),
    "vit_b_16": (16, {"conv_proj": (1, 768, 14, 14), "encoder_layer_11": (1, 197, 768)}),
}


def test_the_published_cuts_are_kept(network):
    if network.name not in EXPECTED:
        pytest.skip("not a published network")
    count, outputs = EXPECTED[network.name]
    assert len(network.layers) == count
    for layer, shape in outputs.items():
        assert network.input_shapes()[network.layers.index(layer) + 1] == shape


def test_an_unknown_network_lists_the_known_ones():
    with pytest.raises(InputError, match="unknown network 'lenet'; known: alexnet, "):
        networks.load("lenet")
