"""Plans run on this machine as processes, on emulated links: how often predictions hold, by how much they are off, and
what explains it. A machine with other work beside it tells of that work.
"""

from collections import defaultdict

import numpy as np
import pytest

from dime.host.execution import runs
from tests.host.conftest import dime

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(7200)]
FAST = "up=200,down=200,rtt=0.005"
BUILT_IN = ("alexnet", "vgg11", "resnet18", "vit_b_16")
NAMED = ("squeezenet1_1", "mobilenet_v3_small", "shufflenet_v2_x1_0")
SECONDS = ("compute", "of it, while the device waits between requests", "of it, since it was profiled")


def verified(folder, name, net, links, runs_of_each, frontier):
    """A network profiled on this machine just now, planned for each link, and its plans run."""
    dime("profile", *net, "--threads=1", "--runs=4", "--iterations=6", folder=folder)
    found = []
    for number, link in enumerate(links, 1):
        dime("solve", f"--net={name}", f"--link={link}", "--edge-power=5", "--replicates=0", folder=folder)
        plans = folder / f"results/plans/{name}/{number:03}"
        found += runs.verify(plans, frontier=frontier, runs=runs_of_each, samples=folder / "samples").links
    return found


def tell(name, links, figures):
    """How it went, and which causes explain what was off: shares of the predicted whole, the median of the plans."""
    compared = [one for link in links for one in link.compared]
    held, errors = np.mean([bool(one.holds) for one in compared]), [abs(one.error) for one in compared]
    regrets = [link.regret for link in links]
    figures(
        f"verify, {name}: {held:.0%} of {len(compared)} predictions hold; median relative error {np.median(errors):.1%}"
        f" (at most {max(errors):.0%}); regret of DIME's plan {np.mean(regrets):.1%} on average, {max(regrets):.1%} at"
        f" most; order as predicted on {sum(link.is_ordered for link in links)} of {len(links)} links;"
        f" {sum(one.fallbacks for one in compared)} of {sum(one.measured.count for one in compared)} requests finished"
        " on the edge device alone"
    )
    causes = defaultdict(list)
    for one in compared:
        of_plan = defaultdict(float)
        for told in one.stages:
            part, took_s = told.part, told.measured.mean_s
            where = f" on {part.device}" if part.cause != "crossing" else ""
            of_plan[part.cause + where] += took_s - part.predicted_s
            if told.back_to_back is not None:
                of_plan[f"{SECONDS[0]}{where} ({SECONDS[1]})"] += took_s - told.back_to_back.mean_s
                of_plan[f"{SECONDS[0]}{where} ({SECONDS[2]})"] += told.back_to_back.mean_s - part.predicted_s
        for cause, seconds in of_plan.items():
            causes[cause].append(seconds / one.predicted_s)
    for cause, shares in sorted(causes.items()):
        above = "; more than 2 %" if abs(np.median(shares)) > 0.02 else ""
        figures(f"  {cause}: {np.median(shares):+.1%} ({min(shares):+.1%} to {max(shares):+.1%}){above}")
    assert all(one.measured.count > 0 for one in compared)
    assert all(one.distance in (0, None) for one in compared), "every result is the whole network's, bit for bit"


def test_how_often_predictions_hold_on_two_links(tmp_path, figures):
    """A small one of what takes hours."""
    net = ("--net=torchvision:squeezenet1_1", "--cuts=4", "--name=squeezenet")
    tell("squeezenet1_1", verified(tmp_path, "squeezenet", net, ("WiFi", FAST), 15, 0), figures)


@pytest.mark.parametrize("name", [*BUILT_IN, *NAMED])
def test_how_often_predictions_hold(asked, name, tmp_path, figures):
    net = (f"--net={name}",) if name in BUILT_IN else (f"--net=torchvision:{name}", "--cuts=6", f"--name={name}")
    tell(name, verified(tmp_path, name, net, ("3G", "4G", "WiFi", FAST), 50, 5), figures)
