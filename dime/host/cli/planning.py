"""Commands of the planner: solve, sweep, compare, report, verify."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from dime.host.cli.options import (
    Arithmetic,
    Compared,
    FinishedStudy,
    LabFile,
    Placement,
    PlannedNetwork,
    Search,
    Verified,
    Written,
    WrittenStudy,
)
from dime.host.common import places

if TYPE_CHECKING:
    from dime.host.profiles.profiles import Profile


def solve(
    planned: PlannedNetwork, search: Search, placement: Placement, arithmetic: Arithmetic, written: WrittenStudy
) -> None:
    """Finds the best plan for each link, proves it, and writes plan.json, frontier.parquet and report.html.

    Examples:
        dime solve --net=alexnet
        dime solve --net=vgg11 --edge=nano --server=wiscad --link=4G --goal=energy --max-latency=0.2
        dime solve --net=alexnet --link=up=20,down=50,rtt=0.01
        dime solve --net=alexnet --edge=nano --server=hub,pc --link='nano-hub:WiFi; nano-pc:4G; hub-pc:none'
        dime solve --net=alexnet --goal=energy --max-latency=0.1 --confidence=95%
    """
    from dime.host.analysis import chance_limits as probability
    from dime.host.campaign.naming import short
    from dime.host.planning.links import located
    from dime.host.report import output
    from dime.host.studies import study
    from dime.host.studies.request import Request

    limits = placement.limits(search.max_latency, search.max_energy)
    net = short(planned.net)
    profiles = _profiles(net, planned)
    output.folder(planned.results, net, written.out)  # what it would refuse is not solved first
    if written.write_lp:
        places.check(Path(written.write_lp))
    found = study.make_study(
        profiles,
        located(planned.link, planned.results),
        search.goal,
        limits,
        confidence=probability.parse(search.confidence) if search.confidence else None,
        replicates=search.replicates,
        solver=search.solver,
        time_limit_s=search.time_limit,
        gap=search.gap,
        arithmetic=arithmetic.arithmetic,
        result_bytes=arithmetic.result_bytes or None,
        accounting=arithmetic.accounting(),
        sizes_bytes=study.find_sizes(net, arithmetic.sizes, planned.results) if arithmetic.sizes else None,
    )
    folder = output.folder(planned.results, net, written.out)
    request = Request.of("solve", profiles, planned, search, placement, arithmetic, written)
    typed = shlex.join(["dime", *sys.argv[1:]])
    print(output.write(found, folder, written.figures, written.write_lp, typed, request))


def _profiles(net: str, planned: PlannedNetwork) -> tuple[Profile, ...]:
    from dime.host.studies import study

    named = (planned.edge, planned.server, planned.results)
    return study.find_profiles(net, *named, planned.edge_power, planned.csv_unit, planned.layers)


def sweep(planned: PlannedNetwork, placement: Placement, arithmetic: Arithmetic, written: Written) -> None:
    """Writes the published tables: sweeps over limits, over private layers, and over the choice of clocks.

    Examples:
        dime sweep --net=alexnet --edge=nano --server=wiscad
        dime sweep --net=alexnet --edge=nano=alexnet.parquet --server=wiscad=server.csv --freqs=nano=537600000+921600000
    """
    from functools import partial

    from dime.host.campaign.naming import short
    from dime.host.common.units import plain
    from dime.host.compat import sweeps
    from dime.host.planning.formulation import build_problem
    from dime.host.planning.links import located
    from dime.host.report import output
    from dime.host.studies import study
    from dime.host.studies.request import Request

    net = short(planned.net)
    profiles = _profiles(net, planned)
    output.folder(planned.results, net, written.out)
    build = partial(
        build_problem,
        arithmetic=arithmetic.arithmetic,
        result_bytes=arithmetic.result_bytes or None,
        accounting=arithmetic.accounting(),
        sizes_bytes=study.find_sizes(net, arithmetic.sizes, planned.results) if arithmetic.sizes else None,
    )
    limits = placement.limits()
    problems = {
        name: build(profiles, name, "latency", limits)
        for name in study.link_names(located(planned.link, planned.results))
    }
    for warning in dict.fromkeys(warning for problem in problems.values() for warning in problem.warnings):
        print(f"warning: {plain(warning)}", file=sys.stderr)
    made = sweeps.tables(problems)
    for name, reason in made.without_plan.items():
        print(f"{plain(name)}: no plan, because {plain(reason)}", file=sys.stderr)
    folder = output.folder(planned.results, net, written.out)
    for path in sweeps.write(made, folder):
        print(path)
    Request.of("sweep", profiles, planned, placement, arithmetic, written).write(folder)


def compare(compared: Compared) -> None:
    """Puts studies side by side: two boards, before and after, two links.

    Examples:
        dime compare results/plans/vgg11/001 results/plans/vgg11/002
        dime compare --first=results/plans/vgg11/001 --second=results/plans/vgg11/002,results/plans/vgg11/003
    """
    from dime.host.report import comparison

    print(comparison.text([compared.first, *(part.strip() for part in compared.second.split(","))]))


def report(finished: FinishedStudy) -> None:
    """Makes a finished study's report.html anew, and its figures, from what it has saved; nothing is solved again.

    Examples:
        dime report --plans=results/plans/alexnet/001 --figures
    """
    from dime.host.report import page

    for path in page.remake(finished.plans, finished.figures):
        print(path)


def verify(wanted: Verified, lab: LabFile) -> None:
    """Runs a study's plans and their baselines on the devices, and holds what was predicted against what happened.

    Examples:
        dime verify --plans=results/plans/alexnet/001
        dime verify --plans=results/plans/alexnet/001 --link=WiFi --frontier=10 --runs=100
    """
    from dime.host.common import console
    from dime.host.execution import runs, verification_files
    from dime.host.report import page, verified

    place = verification_files.folder(wanted.plans)
    places.check(place)
    found = runs.verify(
        wanted.plans, wanted.link, wanted.frontier, wanted.runs, samples=wanted.samples, weights=wanted.weights,
        lab=lab.lab, seed=wanted.seed, say=console.tell, meter=wanted.meter,
    )  # fmt: skip
    written = verification_files.write(found, place, shlex.join(["dime", *sys.argv[1:]]))
    (made,) = page.remake(wanted.plans)
    print(f"{verified.text(found)}\nfiles: {written}, {made}")
