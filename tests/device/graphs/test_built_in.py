"""The built-in networks give the same on both ways: as they are written, and traced and run from a document."""

from collections import OrderedDict

import pytest
import torch
from torch import nn

if not hasattr(torch.overrides, "TorchFunctionMode"):
    pytest.skip("networks are traced where today's torch is", allow_module_level=True)
from dime.contract.networks import BUILT_IN
from dime.device import networks
from dime.device.graphs import cutting, files, program, tracing


def both(name):
    """A built-in network, and the same network as a document that is cut at the same places."""
    network = networks.load(name, "seeded 0")
    torch.manual_seed(0)
    example = (torch.randn(network.input_shape),)
    chain = nn.Sequential(OrderedDict(zip(network.layers, network.modules, strict=False))).eval()
    traced = tracing.trace(chain, example, name)
    cuts = cutting.choose(traced, ",".join(network.layers[:-1]))
    document = traced.document._replace(layers=cutting.layers(cuts))
    return network, program.Program(document, traced.tensors), example


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name == "vit_b_16" else name for name in BUILT_IN]
)
def test_every_boundary_is_equal_bit_for_bit(name):
    network, traced, example = both(name)
    assert len(traced.document.layers) == len(network.layers)
    tensor = example[0]
    found = files.boundaries(traced, example)
    next(found)
    with torch.no_grad():
        for module, boundary in zip(network.modules, found, strict=False):
            tensor = module(tensor)
            assert len(boundary) == 1 and torch.equal(boundary[0], tensor)
