"""A network's file that does not fit together is one line that says what is expected."""

import sys
import types

import pytest
from torch import nn

from dime.contract.errors import InputError
from dime.device import networks

LAYERS = ("a", "b")
SHAPE = (1, 3, 8, 8)


def load(monkeypatch, layers=LAYERS, shape=SHAPE, count=2):
    """A network that is a file in the package for the moment."""
    plugin = types.ModuleType("dime.device.networks.mine")
    plugin.LAYERS, plugin.INPUT_SHAPE = layers, shape
    plugin.build = lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.Sequential(nn.Flatten(), nn.Linear(144, 5)))
    plugin.cut = lambda model: list(model)[:count]
    monkeypatch.setitem(sys.modules, plugin.__name__, plugin)
    monkeypatch.setattr(networks.plugins, "names", lambda package: ["mine"])
    return networks.load("mine", "seeded 0")


def test_one_that_fits(monkeypatch):
    assert load(monkeypatch).input_shapes() == [SHAPE, (1, 4, 6, 6), (1, 5)]


@pytest.mark.parametrize(
    "shape, expected",
    [
        ((3, 8, 8), r"INPUT_SHAPE is \(3, 8, 8\); .* a batch of 1 in front, such as \(1, 3, 8, 8\)$"),
        ((2, 3, 8, 8), r"a batch of 1 in front"),
        ((1,), "a batch of 1 in front"),
        (224, "INPUT_SHAPE is 224; .* a batch of 1 in front"),
        ((1, 3, 8.0, 8), "whole numbers"),
        ((1, 3, -8, 8), "whole numbers"),
        ((1, 3, True, 8), "whole numbers"),
        ((1, 3, 1e300, float("nan")), "whole numbers"),
        ((1, 8, 8), r"layer a does not take .*INPUT_SHAPE \(1, 8, 8\), a batch of 1 in front: ."),
        (
            (1, 3, 9, 9),
            r"layer b does not take an input of \(1, 4, 7, 7\), which follows from INPUT_SHAPE \(1, 3, 9, 9\)",
        ),
    ],
)
def test_an_input_that_does_not_fit(monkeypatch, shape, expected):
    with pytest.raises(InputError, match=expected) as caught:
        load(monkeypatch, shape=shape)
    assert "mine" in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("layers", ["ab", (), ("a", "a"), ("a", 1), ("a", ""), ("a", "b", "c")])
def test_layers_that_do_not_fit(monkeypatch, layers):
    with pytest.raises(InputError, match="LAYERS"):
        load(monkeypatch, layers=layers)
