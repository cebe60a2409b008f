"""A link before and after a run, and whether it moved, where the truth is known."""

from types import SimpleNamespace

import pytest

from dime.contract.errors import DeviceError
from dime.host.execution import link_check
from dime.host.execution.link_check import Checked
from dime.host.planning.links import Link
from dime.host.profiles import link_profile
from tests.host import links

SIZE = 100_000


def measured(seed, slower=1.0, noise="normal"):
    rows = links.exchanges(passes=5, runs=1, noise=noise, between=0.0 if noise == "none" else 0.005, seed=seed)
    for row in rows:
        row["duration_s"] *= slower if row["direction"] == "up" else 1.0
    return link_profile.fit(rows, "edge-server", "edge", "server", "measured")


def test_a_link_that_is_another_afterwards_is_told_with_both():
    moved = Checked(SIZE, measured(1), measured(2, slower=1.5)).moved
    assert [line.partition(": ")[0] for line in moved] == ["the link edge-server moved"]
    assert f"{SIZE} B up took" in moved[0] and "before the run" in moved[0] and moved[0].endswith("after it")


def test_one_that_stayed_is_seldom_called_another():
    moved = [bool(Checked(SIZE, measured(2 * seed), measured(2 * seed + 1)).moved) for seed in range(100)]
    assert sum(moved) <= 8


def test_less_than_a_hundredth_is_no_matter():
    assert Checked(SIZE, measured(1, noise="none"), measured(1, slower=1.009, noise="none")).moved == ()
    assert len(Checked(SIZE, measured(1, noise="none"), measured(1, slower=1.02, noise="none")).moved) == 1


def test_what_cannot_be_measured_again_is_told_and_what_was_run_stands(monkeypatch):
    found = [measured(1)]

    def measure(*_, **__):
        if not found:
            raise DeviceError("server does not answer")
        return found.pop()

    monkeypatch.setattr(link_check.campaign, "measure", measure)
    monkeypatch.setattr(link_check.engines, "of", lambda device: SimpleNamespace(is_apart=False))
    devices = [SimpleNamespace(device=SimpleNamespace(name=name)) for name in ("edge", "server")]
    between = {(0, 1): Link("WiFi", 18.88e6, 54.97e6)}
    before = link_check.measure(devices, between, 600_000, None)
    assert before[0, 1].size_bytes == 600_000
    (after,) = link_check.again(devices, between, before, None).values()
    assert after.moved == ("the link edge-server could not be measured again: server does not answer",)


@pytest.mark.parametrize(
    ("up", "largest", "size"), [(1e6, 600_000, 62_500), (1e9, 600_000, 600_000), (1e3, 600_000, 1000), (1e9, 4, 1000)]
)
def test_a_slow_link_is_measured_with_smaller_tensors(up, largest, size):
    assert link_check._size(Link("a link", up, 1e9), largest) == size
