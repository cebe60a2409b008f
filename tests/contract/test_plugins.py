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


@pytest.fixture
def added(tmp_path, monkeypatch):
    """Another package's meters, as an installer leaves them."""
    pytest.importorskip("importlib.metadata")
    about = tmp_path / "my_meters-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: my-meters\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(
        "[dime.boards]\nwattsup = my_boards\nbroken = my_boards.none\ngeneric = my_boards\n[other]\nx = y\n"
    )
    (tmp_path / "my_boards.py").write_text("frequencies_hz = 'mine'\n")
    monkeypatch.syspath_prepend(str(tmp_path))


def test_another_package_adds_plug_ins_by_entry_points(added):
    boards = dime.device.boards
    assert {"wattsup", "broken", "nano"} <= set(plugins.names(boards))
    assert plugins.load(boards, "wattsup").frequencies_hz == "mine"
    assert plugins.load(boards, "generic").frequencies_hz != "mine"
    with pytest.raises(InputError, match=r"^the board 'broken' \(my_boards.none\) cannot be imported: No module"):
        plugins.load(boards, "broken")
    with pytest.raises(InputError, match="unknown board 'x'; .*wattsup"):
        plugins.load(boards, "x")
