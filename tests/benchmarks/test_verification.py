"""Plans run on this machine as processes, on emulated links: how often predictions hold, by how much they are off, and
what explains it. A machine with other work beside it tells of that work.
"""

from collections import defaultdict

import numpy as np
import pytest

from dime.host.execution import runs
from tests.host.conftest import dime

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(1800)]
NETWORKS = ("squeezenet1_1", "mobilenet_v3_small")
LINKS = ("4G", "WiFi", "up=200,down=200,rtt=0.005")
RUNS, FRONTIER = 20, 2


@pytest.fixture(scope="module", params=NETWORKS)
def planned(request, tmp_path_factory):
    """A network profiled on this machine just now, and planned for each link."""
    folder = tmp_path_factory.mktemp("verified")
    name = request.param
    dime(
        "profile",
        f"--net=torchvision:{name}",
        "--cuts=6",
        f"--name={name}",
        "--runs=4",
        "--iterations=6",
        folder=folder,
    )
    for link in LINKS:
        dime("solve", f"--net={name}", f"--link={link}", "--edge-power=5", "--replicates=0", folder=folder)
    return name, folder


def test_how_often_predictions_hold(asked, planned, monkeypatch, figures):
    name, folder = planned
    monkeypatch.chdir(folder)
    compared, regrets, ordered = [], [], []
    for number in range(1, len(LINKS) + 1):
        found = runs.verify(f"results/plans/{name}/{number:03}", frontier=FRONTIER, runs=RUNS)
        for link in found.links:
            compared += link.compared
            regrets.append(link.regret)
            ordered.append(link.is_ordered)
    held = np.mean([bool(one.holds) for one in compared])
    errors = [abs(one.error) for one in compared]
    figures(
        f"verify, {name}: {held:.0%} of {len(compared)} predictions hold; median relative error {np.median(errors):.1%}"
        f" (at most {max(errors):.0%}); regret of DIME's plan {np.mean(regrets):.1%} on average, {max(regrets):.1%} at"
        f" most; order as predicted on {sum(ordered)} of {len(ordered)} links"
    )
    causes = defaultdict(list)
    for one in compared:
        of_plan = defaultdict(float)
        for told in one.stages:
            cause = told.part.cause + (f" on {told.part.device}" if told.part.cause != "crossing" else "")
            of_plan[cause] += (told.measured.mean_s - told.part.predicted_s) / one.predicted_s
        for cause, share in of_plan.items():
            causes[cause].append(share)
    figures(
        "  measured less predicted, of the predicted whole, median of the plans: "
        + ", ".join(f"{cause} {np.median(shares):+.1%}" for cause, shares in sorted(causes.items()))
    )
    assert all(one.fallbacks == 0 for one in compared)
