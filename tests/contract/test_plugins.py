import pytest

import dime.device.boards
import dime.device.networks
from dime.contract import plugins
from dime.contract.errors import InputError


def test_a_file_is_a_plug_in_and_helpers_are_not():
    assert {"alexnet", "resnet18", "vgg11", "vit_b_16"} <= set(plugins.names(dime.device.networks))
    assert {"generic", "nano", "potato"} <= set(plugins.names(dime.device.boards))
    assert not any(name.startswith("_") for name in plugins.names(dime.device.boards))
    assert plugins.names(dime.device.boards) == sorted(plugins.names(dime.device.boards))


def test_an_unknown_name_lists_the_known_ones():
    for refuse in (plugins.check, plugins.load):
        with pytest.raises(InputError, match="^unknown network 'lenet'; known: alexnet, .*vit_b_16"):
            refuse(dime.device.networks, "lenet")


def test_a_plug_in_is_imported():
    assert plugins.load(dime.device.boards, "generic").frequencies_hz
