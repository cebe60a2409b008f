"""Networks that are profiled in sessions, planned for links and run: how often predictions hold, and what explains it.

Plans are run by processes of this machine; tests/lab runs the same in containers. A machine with other work beside it
tells of that work.
"""

import csv
import os
import signal
import subprocess
import sys
import time
from collections import defaultdict

import numpy as np

from dime.contract.bundles import enumerate_bundles
from dime.contract.run import RUN, TIMINGS, RunSpec
from dime.host.execution import runs
from tests.host.conftest import dime

FAST = "up=200,down=200,rtt=0.005"
SMALL = ("alexnet", "vgg11", "resnet18", "squeezenet1_1", "mobilenet_v3_small", "shufflenet_v2_x1_0")
LARGE = ("vit_b_16",)
BUILT_IN = ("alexnet", "vgg11", "resnet18", "vit_b_16")
SHARE = "20%"  # of a core of this machine
SECONDS = ("compute", "of it, behind waits, beside what is predicted of them", "of it, since it was profiled")
COLUMNS = ("where", "network", "link", "plan", "requests", "predicted_s", "predicted_low_s", "predicted_high_s",
           "meanwhile_s", "measured_s", "measured_half_s", "holds", "distance", "origin")  # fmt: skip
SESSIONS, PLAN_S = 3, 40


def named(name):
    """A network's words."""
    return (f"--net={name}",) if name in BUILT_IN else (f"--net=torchvision:{name}", "--cuts=6", f"--name={name}")


class Processes:
    """An edge device that is a share of a core, and a server: processes of this machine."""

    where, edge, server = "processes", "standin", "server"

    def folder_of(self, folder, device, name):
        """Where a profile that is under way has its files; None before there are any."""
        return folder / "results" / device / name

    def begin(self, folder, words):
        """Starts the command that profiles."""
        return self.command(folder, words)

    def command(self, folder, words, **streams):
        """The command with these words."""
        return subprocess.Popen(
            [sys.executable, "-m", "dime.host", "profile", *words], cwd=folder,
            env={**os.environ, "OMP_NUM_THREADS": "1"}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **streams,
        )  # fmt: skip

    def interrupt(self, command):
        """Ends it as a person does, and what it runs with it."""
        command.send_signal(signal.SIGINT)
        command.wait()


def go_on(place, folder, name, device, passes, iterations, of_pass):
    """Goes on with a profile until so many passes are there, and interrupts it."""
    words = [*named(name), f"--device={device}", "--threads=1", f"--runs={of_pass}", f"--iterations={iterations}"]
    words += ["--warmups=1", *([f"--freqs={SHARE}"] if device == place.edge else [])]
    command, is_interrupted = place.begin(folder, words), False
    while command.poll() is None:
        run = place.folder_of(folder, device, name) if passes < iterations else None
        if run and (run / TIMINGS).exists():
            spec = RunSpec.read(str(run))
            bundles = sum(1 for _ in enumerate_bundles(len(spec.layers), spec.max_layers))
            if len((run / TIMINGS).read_text().splitlines()) > passes * bundles * of_pass:
                place.interrupt(command)
                is_interrupted = True
        time.sleep(0.05)
    home = folder / "results" / device / name
    is_complete = (home / RUN).exists() and RunSpec.read(str(home)).state == "complete"
    assert is_complete == (passes == iterations) != is_interrupted, f"{name}, {device}: exit code {command.returncode}"


def sessions(place, folder, names, numbers, passes, of_pass):
    """Profiles several networks in turns, so that each has sessions with minutes between them."""
    for number in numbers:
        for name in names:
            for device in (place.edge, place.server):
                (folder / name).mkdir(exist_ok=True)
                go_on(place, folder / name, name, device, number * passes, SESSIONS * passes, of_pass)


def verified(folder, name, links, runs_of_each, frontier, edge, server="server", lab=None):
    """A network's plans for each link, run."""
    found = []
    for number, link in enumerate(links, 1):
        devices = (f"--edge={edge}", f"--server={server}")
        dime("solve", f"--net={name}", *devices, f"--link={link}", "--edge-power=5", "--replicates=0", folder=folder)
        plans = folder / f"results/plans/{name}/{number:03}"
        found += runs.verify(plans, frontier=frontier, runs=runs_of_each, samples=folder / "samples", lab=lab).links
    return found


def keep(where, name, links, path):
    """Each plan's row, in place of those that an earlier run has of the network there."""
    rows = []
    if path.exists():
        with open(path, newline="") as stream:
            rows = [row for row in csv.DictReader(stream) if (row["where"], row["network"]) != (where, name)]
    for link in links:
        for one in link.compared:
            low_s, high_s = one.predicted_interval_s
            row = {
                **{"where": where, "network": name, "link": link.name, "plan": one.name},
                **{"requests": one.measured.count},
                **{"predicted_s": one.predicted_s, "predicted_low_s": low_s, "predicted_high_s": high_s},
                **{"meanwhile_s": one.meanwhile_s, "measured_s": one.measured.mean_s},
                **{"measured_half_s": one.measured.half_s, "holds": int(bool(one.holds))},
                **{"distance": one.distance, "origin": link.origin},
            }
            rows.append({key: f"{it:.6g}" if isinstance(it, float) else it for key, it in row.items()})
    with open(path, "w", newline="") as stream:
        writer = csv.DictWriter(stream, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)


def tell(name, links, figures):
    """How it went, and which causes explain what was off: shares of the predicted whole, the median of the plans."""
    compared = [one for link in links for one in link.compared]
    held, errors = np.mean([bool(one.holds) for one in compared]), [abs(one.error) for one in compared]
    regrets = [link.regret for link in links]
    alone = [abs(one.measured.mean_s / one.meanwhile_s - 1) for one in compared if one.meanwhile_s is not None]
    figures(
        f"verify, {name}: {held:.0%} of {len(compared)} predictions hold; median relative error {np.median(errors):.1%}"
        f" (at most {max(errors):.0%}), {np.median(alone):.1%} (at most {max(alone):.0%}) with bundles as fast as they"
        f" were back to back meanwhile; regret of DIME's plan {np.mean(regrets):.1%} on average, {max(regrets):.1%} at"
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
                alone_s = told.back_to_back.mean_s + part.waited_s
                of_plan[f"{SECONDS[0]}{where} ({SECONDS[1]})"] += took_s - alone_s
                of_plan[f"{SECONDS[0]}{where} ({SECONDS[2]})"] += alone_s - part.predicted_s
        for cause, seconds in of_plan.items():
            causes[cause].append(seconds / one.predicted_s)
    for cause, shares in sorted(causes.items()):
        above = "; more than 2 %" if abs(np.median(shares)) > 0.02 else ""
        figures(f"  {cause}: {np.median(shares):+.1%} ({min(shares):+.1%} to {max(shares):+.1%}){above}")
    assert all(one.measured.count > 0 for one in compared)
    assert all(one.distance in (0, None) for one in compared), "every result is the whole network's, bit for bit"


def how_often(place, folder, names, passes, of_pass, figures, table, lab=None):
    """Profiles, plans and runs networks; the last session is right before a network's plans are run."""
    sessions(place, folder, names, range(1, SESSIONS), passes, of_pass)
    every = []
    for name in names:
        sessions(place, folder, [name], [SESSIONS], passes, of_pass)
        links = ("3G", "4G", "WiFi", FAST)
        found = verified(folder / name, name, links, 50, 5, place.edge, place.server, lab)
        tell(name, found, figures)
        keep(place.where, name, found, table)
        every += found
    tell(", ".join(names), every, figures)
