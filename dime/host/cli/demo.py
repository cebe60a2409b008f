"""The command demo: a weak device that stands in, this machine as its server, four links, and the plan of one run."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dime.host.cli import planning
from dime.host.cli.options import Demo, LabFile, Verified
from dime.host.common import console

if TYPE_CHECKING:
    from dime.host.profiles.profiles import Profile
    from dime.host.studies.study import LinkStudy

LINKS, RUN_LINK = "3G,4G,WiFi,Ethernet", "WiFi"
DEVICES = ("standin", "server")
SERVER_RUNS = 2
# What is sent, in bytes that a person who builds such a system would send: a picture's own levels, and steps of 8 bits.
# A JPEG is smaller yet and another picture; what it would give is told, by what the profiles have measured of it.
ENCODED, ALSO_MEASURED = ("input:uint8", "features:uint8"), ("input:jpeg90",)


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
    from dime.host.planning.accounting import Accounting
    from dime.host.report import output, overview, terminal
    from dime.host.studies import study

    edge, server = DEVICES
    console.tell(
        f"profiles '{edge}', a weak device that is not there, and this machine as the server: two minutes or so"
    )
    for device, runs, freqs in ((edge, demo.runs, demo.freqs), (server, max(demo.runs, SERVER_RUNS), None)):
        encode = ",".join(ENCODED + ALSO_MEASURED)
        options = ProfileOptions(runs=runs, iterations=demo.iterations, warmups=1, freqs=freqs, encode=encode)
        profile.profile(demo.net, device, options, results=demo.results, keep=True)
    net = short(demo.net)
    profiles = study.find_profiles(net, edge, server, demo.results, demo.edge_power)
    found = study.make_study(profiles, LINKS, accounting=Accounting(encode=sent(profiles)))
    folder = output.folder(demo.results, net)
    output.write(found, folder, command=shlex.join(["dime", *sys.argv[1:]]))
    print("\n".join([*terminal.sources(found), "", overview.text(found), ""]))
    try:
        name = to_run(found.links)
        if name:
            console.tell(f"runs the plan of {name} and its baselines, the link emulated")
            planning.verify(Verified(str(folder), name, runs=demo.requests), LabFile())
    finally:  # the plans are there, also where they could not be run
        print("\n".join(["", f"report: {folder / 'report.html'}", *next_steps(demo.net, demo.results)]))
    if demo.open:
        print(opened(folder / "report.html"))


def sent(profiles: Sequence[Profile]) -> str:
    """How what crosses is encoded, of what all profiles have measured: a network may take no pictures."""
    measured = [
        {f"{'features' if boundary else 'input'}:{name}" for boundary, name in one.encodings or ()} for one in profiles
    ]
    return ",".join(one for one in ENCODED if all(one in of for of in measured))


def to_run(links: Sequence[LinkStudy]) -> str:
    """The link whose plan is run: one on both devices, `RUN_LINK` rather than another; empty where there is none."""
    is_split = {link.name: len({step.device for step in link.plan.steps}) > 1 for link in links}
    return max(is_split, key=lambda name: (is_split[name], name == RUN_LINK), default="")


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
