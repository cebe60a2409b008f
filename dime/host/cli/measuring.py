"""Commands that measure: network, samples, profile, link, join."""

from __future__ import annotations

import sys
from typing import cast

from dime.host.campaign.naming import Naming, NetworkFacts
from dime.host.campaign.profile_options import ProfileOptions
from dime.host.cli.options import DrawnNetwork, Join, LabFile, MeasuredLink, ProfiledDevice, SampleOptions


def samples(wanted: SampleOptions, naming: Naming) -> None:
    """Makes feature maps: the inputs of every layer, for each picture.

    Examples:
        dime samples --net=vgg11
        dime samples --net=vgg11 --source=imagenette
        dime samples --net=vgg11 --source=/home/me/pictures
        dime samples --net=torchvision:mobilenet_v3_small
    """
    from dime.host.campaign import profile

    print(profile.make_samples(wanted.net, wanted.source, wanted.samples, wanted.weights, naming))


def network(drawn: DrawnNetwork, naming: Naming) -> None:
    """Shows where a network can be cut: each place's name, shape, bytes, and the work up to there.

    Examples:
        dime network torchvision:resnet50
        dime network models/mine.py:build --input=1x3x640x640 --figure=mine.svg
    """
    from dime.host.bench.engines import process
    from dime.host.campaign import graph_picture
    from dime.host.campaign.naming import table

    spec = naming.spec(drawn.net)
    graph_picture.check(drawn.figure)
    made_of = drawn.net if spec.kind != "built-in" else f"torchvision:{drawn.net}"
    described = process.describe(["network", f"--network={made_of}", *naming.words()], spec.name)
    facts = cast(NetworkFacts, described)  # this computer's own device side said it
    print("\n".join(table(facts)))
    if drawn.figure:
        graph_picture.write(facts, drawn.figure)
        print(drawn.figure)


def profile(wanted: ProfiledDevice, options: ProfileOptions, naming: Naming, lab: LabFile) -> None:
    """Times every bundle of a network on a device, at every frequency.

    Examples:
        dime profile --net=alexnet
        dime profile --net=vgg11 --device=nano --freqs=460.8MHz+921.6MHz
        dime profile --net=models/mine.py:build --input=1x3x640x640 --weights=mine.pt
    """
    from dime.host.campaign import profile

    for folder in profile.profile(
        wanted.net, wanted.device, options, wanted.threads, wanted.samples, wanted.weights, wanted.results, lab.lab,
        naming=naming,
    ):  # fmt: skip
        print(folder)


def link(wanted: MeasuredLink, lab: LabFile) -> None:
    """Measures the link between two devices: round trip and both rates, to plan with.

    Examples:
        dime link
        dime link --edge=nano --server=pc --net=vgg11
        dime link --emulate=up=20,down=50,rtt=10ms
    """
    from dime.host.campaign import link as campaign

    found = campaign.measure(
        wanted.edge,
        wanted.server,
        net=wanted.net,
        largest_bytes=wanted.largest,
        iterations=wanted.iterations,
        runs=wanted.runs,
        time_limit_s=wanted.time_limit,
        emulate=wanted.emulate,
        results=wanted.results,
        lab=lab.lab,
    )
    print("\n".join([*found.lines(), found.path]))


def join(wanted: Join) -> None:
    """Joins a run's timings with the power logged meanwhile: joules for each bundle and clock, with error bars.

    Examples:
        dime join --run=results/nano/alexnet
        dime join --run=results/nano/alexnet --power=logs/nano_alexnet.csv
    """
    from dime.contract.run import parse_share
    from dime.host.metering.gain import Gain
    from dime.host.profiles import joint_profile

    target = parse_share(wanted.energy_error) if wanted.energy_error else 0.0
    joined = joint_profile.join(
        wanted.run, wanted.power, wanted.clock, wanted.channel, target, wanted.force, wanted.calibration
    )
    for note in joined.notes:
        print(note, file=sys.stderr)
    gain = Gain.checked(joined.quality["gain"], str(joined.path))
    print(f"{joined.path}: {joined.rows} rows with energies; {gain.told}")
