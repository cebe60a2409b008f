"""The command demo: a weak device that stands in, this machine as its server, four links, and the plan of one run."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path

from dime.host.cli import planning
from dime.host.cli.options import Demo, LabFile, Verified
from dime.host.common import console

LINKS, RUN_LINK = "3G,4G,WiFi,Ethernet", "WiFi"
DEVICES = ("standin", "server")
SERVER_RUNS = 2


def demo(demo: Demo) -> None:
    """Plans a network for four links on a weak device that stands in, and runs one of the plans: on this machine alone.

    Examples:
        dime demo
        dime demo --net=torchvision:mobilenet_v3_small
        dime demo --net=resnet18 --freqs=10%,20% --open
    """
    from dime.host.campaign import profile
    from dime.host.campaign.naming import short
    from dime.host.campaign.profile_options import ProfileOptions
    from dime.host.report import output, overview, terminal
    from dime.host.studies import study

    edge, server = DEVICES
    console.tell(
        f"profiles '{edge}', a weak device that is not there, and this machine as the server: two minutes or so"
    )
    for device, runs, freqs in ((edge, demo.runs, demo.freqs), (server, max(demo.runs, SERVER_RUNS), None)):
        options = ProfileOptions(runs=runs, iterations=demo.iterations, warmups=1, freqs=freqs)
        profile.profile(demo.net, device, options, results=demo.results, keep=True)
    net = short(demo.net)
    found = study.make_study(study.find_profiles(net, edge, server, demo.results, demo.edge_power), LINKS)
    folder = output.folder(demo.results, net)
    output.write(found, folder, command=shlex.join(["dime", *sys.argv[1:]]))
    print("\n".join([*terminal.sources(found), "", overview.text(found), ""]))
    try:
        if any(link.name == RUN_LINK for link in found.links):
            console.tell(f"runs the plan of {RUN_LINK} and its baselines, the link emulated")
            planning.verify(Verified(str(folder), RUN_LINK, runs=demo.requests), LabFile())
    finally:  # the plans are there, also where they could not be run
        print("\n".join(["", f"report: {folder / 'report.html'}", *next_steps(demo.net, demo.results)]))
    if demo.open:
        print(opened(folder / "report.html"))


def next_steps(net: str, results: str) -> list[str]:
    """Three things to type."""
    named = shlex.quote(net)
    return [
        "next:",
        f"  make solve NET={named} EDGE=standin LINK=up=20,down=50,rtt=0.01,like=WiFi RESULTS={shlex.quote(results)}"
        "   # a link of yours",
        "  make network NET=torchvision:resnet50   # where another network can be cut; make demo NET= takes it",
        "  scripts/device.sh dime@nano   # a board of yours; then four lines in lab.toml: README, On a bench",
    ]


def opened(page: Path) -> str:
    """Opens a page where there are a browser and a person; says what was done.

    Args:
        page: Its file.
    """
    if not sys.stdout.isatty():
        return "not opened: nobody is at this terminal"
    if sys.platform.startswith("linux") and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        return "not opened: there is no display here"
    import webbrowser

    return "opened" if webbrowser.open(page.resolve().as_uri()) else "not opened: there is no browser here"
