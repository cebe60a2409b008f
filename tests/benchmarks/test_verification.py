"""Plans run on this machine as processes, on emulated links: how often predictions hold, by how much they are off, and
what explains it.
"""

from pathlib import Path

import pytest

from dime.host.execution import runs
from tests.benchmarks.verified_networks import FAST, LARGE, PLAN_S, SMALL, Processes, how_often, tell, verified
from tests.host.conftest import dime

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(7200)]


def test_how_often_predictions_hold_on_two_links(tmp_path, figures):
    """A small one of what takes hours."""
    net = ("--net=torchvision:squeezenet1_1", "--cuts=4", "--name=squeezenet")
    dime("profile", *net, "--threads=1", "--runs=4", "--iterations=6", folder=tmp_path)
    tell("squeezenet1_1", verified(tmp_path, "squeezenet", ("WiFi", FAST), 15, 0, "edge"), figures)


@pytest.mark.parametrize(("names", "passes", "of_pass"), [(SMALL, 2, 2), (LARGE, 1, 1)])
def test_how_often_predictions_hold(asked, names, passes, of_pass, tmp_path, figures, figures_file, monkeypatch):
    """Networks on an edge device that is a fifth of a core, each profiled in sessions with others between them."""
    monkeypatch.setattr(runs, "PLAN_S", PLAN_S)
    table = Path(figures_file).with_name("verification.csv")
    how_often(Processes(), tmp_path, names, passes, of_pass, figures, table)
