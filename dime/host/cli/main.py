"""The command `dime`: one function for each arrow of the data's path.

The only place that catches DimeError, and what the system refuses of a file that a person has named.
"""

from __future__ import annotations

import errno
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dime import __version__
from dime.contract.errors import DimeError, InputError, unknown
from dime.host.cli import arguments, endings
from dime.host.common import places, shown
from dime.host.planning.goals import RULE

if TYPE_CHECKING:
    from dime.host.bench.lab import Device

# What a disk answers to a write, where Python names no file.
DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS)


def samples(
    net: str,
    source: str = "builtin",
    samples: str = "samples",
    weights: str = "auto",
    input: str | None = None,
    batch: int | None = None,
    dtype: str | None = None,
    cuts: str = "auto",
    name: str | None = None,
) -> None:
    """Makes feature maps: the inputs of every layer, for each picture.

    Examples:
        dime samples --net=vgg11
        dime samples --net=vgg11 --source=imagenette
        dime samples --net=vgg11 --source=/home/me/pictures
        dime samples --net=torchvision:mobilenet_v3_small

    Args:
        net: alexnet, vgg11, vit_b_16, resnet18; torchvision:NAME; timm:NAME; FILE.py:FUNCTION; or FILE.pt2.
        source: builtin (pictures that ship with DIME), imagenette, a folder of pictures or of tensors (.pt,
            .npy), or random.
        samples: The folder that holds the feature maps of all networks.
        weights: pretrained, seeded, a file's name, or auto: pretrained where they can be had, else seeded.
        input: Shapes of the network's inputs, such as 1x3x640x640, or 1x128:int64 for tokens, joined by commas.
        batch: How many inputs at once.
        dtype: Precision of parameters and inputs: float32, float16, bfloat16 or float64.
        cuts: Where the network is cut: auto, all, a number of layers, or names of places joined by commas.
        name: The short name that results carry; without it one is derived from the network.
    """
    from dime.host.campaign import measure
    from dime.host.campaign.naming import Naming

    print(measure.make_samples(net, source, samples, weights, Naming(input, batch, dtype, cuts, name)))


def network(
    net: str,
    input: str | None = None,
    batch: int | None = None,
    dtype: str | None = None,
    cuts: str = "auto",
    name: str | None = None,
    figure: str | None = None,
) -> None:
    """Shows where a network can be cut: each place's name, shape, bytes, and the work up to there.

    Examples:
        dime network torchvision:resnet50
        dime network models/mine.py:build --input=1x3x640x640 --figure=mine.svg

    Args:
        net: torchvision:NAME; timm:NAME; FILE.py:FUNCTION; or FILE.pt2.
        input: Shapes of the network's inputs, such as 1x3x640x640, or 1x128:int64 for tokens, joined by commas.
        batch: How many inputs at once.
        dtype: Precision of parameters and inputs: float32, float16, bfloat16 or float64.
        cuts: Where the network is cut: auto, all, a number of layers, or names of places joined by commas.
        name: The short name that results carry; without it one is derived from the network.
        figure: A new file, FILE.svg, for a picture of the graph: places, cuts, bytes and branches.
    """
    from dime.host.bench.engines import process
    from dime.host.campaign import graph_picture
    from dime.host.campaign.naming import Naming, table

    naming = Naming(input, batch, dtype, cuts, name)
    spec = naming.spec(net)
    graph_picture.check(figure)
    words = ["network", f"--network={net if spec.kind != 'built-in' else f'torchvision:{net}'}", *naming.words()]
    facts = process.describe(words, spec.name)
    print("\n".join(table(facts)))
    if figure:
        graph_picture.write(facts, figure)
        print(figure)


def profile(
    net: str,
    device: str = "local",
    freqs: str | None = None,
    runs: int = 20,
    iterations: int = 5,
    warmups: int = 2,
    max_layers: int | None = None,
    energy_error: str | None = None,
    threads: int | None = None,
    seed: int = 0,
    samples: str = "samples",
    weights: str = "auto",
    input: str | None = None,
    batch: int | None = None,
    dtype: str | None = None,
    cuts: str = "auto",
    name: str | None = None,
    results: str = "results",
    lab: str | None = None,
) -> None:
    """Times every bundle of a network on a device, at every frequency.

    Examples:
        dime profile --net=alexnet
        dime profile --net=vgg11 --device=nano --freqs=460800000,921600000
        dime profile --net=models/mine.py:build --input=1x3x640x640 --weights=mine.pt

    Args:
        net: alexnet, vgg11, vit_b_16, resnet18; torchvision:NAME; timm:NAME; FILE.py:FUNCTION; or FILE.pt2.
        device: Names or tags of the lab file; local is this machine, as edge (one thread) and as server (all threads).
        freqs: Frequencies in Hz or as 460.8MHz, joined by commas; without it all that the board has.
        runs: Timed runs of each bundle in a pass.
        iterations: Passes over all bundles, each in another order.
        warmups: Runs before them that are not counted.
        max_layers: Largest bundle; without it the whole network.
        energy_error: Goes on repeating until energies are known so well, such as 3%; for a device with a meter.
        threads: CPU threads; without it what the lab file says.
        seed: Seed of the order of the bundles.
        samples: The folder that holds the feature maps; made from the pictures that ship with DIME if need be.
        weights: pretrained, seeded, a file's name, or auto: pretrained where they can be had, else seeded.
        input: Shapes of the network's inputs, such as 1x3x640x640, or 1x128:int64 for tokens, joined by commas.
        batch: How many inputs at once.
        dtype: Precision of parameters and inputs: float32, float16, bfloat16 or float64.
        cuts: Where the network is cut: auto, all, a number of layers, or names of places joined by commas.
        name: The short name that results carry; without it one is derived from the network.
        results: The folder that receives DEVICE/NET.
        lab: The lab file; without it lab.toml, if there is one.
    """
    from dime.host.campaign import measure
    from dime.host.campaign.naming import Naming

    options = measure.Options(runs, iterations, warmups, max_layers, seed, freqs, energy_error)
    naming = Naming(input, batch, dtype, cuts, name)
    for folder in measure.profile(net, device, options, threads, samples, weights, results, lab, naming=naming):
        print(folder)


def solve(
    net: str,
    edge: str = "edge",
    server: str = "server",
    link: str = "3G,4G,WiFi",
    goal: str = "latency",
    max_latency: arguments.Seconds | None = None,
    max_energy: arguments.Joules | None = None,
    private: str = "0",
    memory: str = "",
    freqs: str = "",
    max_bundle: int | None = None,
    rule: str = RULE,
    edge_power: arguments.Watts | None = None,
    arithmetic: str = "correct",
    result_bytes: arguments.Bytes = 4,
    sizes: str | None = None,
    csv_unit: str = "ms",
    layers: str | None = None,
    confidence: str | None = None,
    replicates: int = 200,
    solver: str = "auto",
    time_limit: arguments.Seconds = 60.0,
    gap: arguments.Share = 0.0,
    results: str = "results",
    out: str | None = None,
    write_lp: str | None = None,
    figures: bool = False,
) -> None:
    """Finds the best plan for each link, proves it, and writes plan.json, frontier.parquet and report.html.

    Examples:
        dime solve --net=alexnet
        dime solve --net=vgg11 --edge=nano --server=wiscad --link=4G --goal=energy --max-latency=0.2
        dime solve --net=alexnet --link=up=20,down=50,rtt=0.01
        dime solve --net=alexnet --edge=nano --server=hub,pc --link='nano-hub:WiFi; nano-pc:4G; hub-pc:none'
        dime solve --net=alexnet --goal=energy --max-latency=0.1 --confidence=95%

    Args:
        net: The network that was profiled.
        edge: The weak device, where input and result are; its name, a run's folder, or a table.
        server: The other devices in the same way, joined by commas.
        link: Links by name, joined by commas; FILE.toml:NAME; its numbers; or one a pair, as above.
        goal: latency, energy, throughput, or weighted:PER_S,PER_J.
        max_latency: Largest latency in s, or with its unit: 20ms.
        max_energy: Largest energy in J, or with its unit: 150mJ.
        private: How many first layers stay on the weak device, or their names joined by commas.
        memory: DEVICE=BYTES (or 100MB), joined by commas; most that the layers there may take.
        freqs: DEVICE=HZ+HZ+... (or 460.8MHz), joined by commas; the only frequencies to use.
        max_bundle: Largest bundle.
        rule: merged (what a device runs in one go is one bundle), free, or published (one bundle a device, mostly).
        edge_power: Models the weak device's energy as this many W while it computes; for a device without a meter.
        arithmetic: correct, or published, which repeats the published means of runs and units of radio energies.
        result_bytes: Bytes sent home at the end for each input of a batch; 4 is the class, 0 takes the last layer's
            whole output.
        sizes: Bytes of the input, of each tensor between layers and of the result, joined by commas, or a profile of
            the network that has them; for published tables, which do not.
        csv_unit: Unit of durs in a published CSV, ms or s; a parquet's are s.
        layers: The network's layers in order, joined by commas, for published tables whose names do not tell it.
        confidence: Probability with which single runs must keep the limits, such as 95%; without it their means do.
        replicates: Bootstrap replicates behind intervals, regret and what to measure again; 0 leaves these out.
        solver: auto, exact, gurobi, highs or brute_force.
        time_limit: Longest time for one search in s.
        gap: Relative distance from the optimum that is good enough, such as 1%.
        results: The folder that holds DEVICE/NET.
        out: The folder to write into; without it the next free RESULTS/plans/NET/NUMBER.
        write_lp: A file for the integer program of the first link.
        figures: Also writes each picture as PNG and SVG.
    """
    from dime.host.analysis import confidence as probability
    from dime.host.campaign.naming import short
    from dime.host.planning import goals
    from dime.host.report import output
    from dime.host.studies import study

    limits = goals.parse_limits(max_latency, max_energy, private, memory, freqs, max_bundle, rule)
    net = short(net)
    profiles = study.find_profiles(net, edge, server, results, edge_power, csv_unit, layers)
    output.folder(results, net, out)  # what it would refuse is not solved first
    if write_lp:
        places.check(Path(write_lp))
    found = study.make_study(
        profiles,
        link,
        goal,
        limits,
        confidence=probability.parse(confidence) if confidence else None,
        replicates=replicates,
        solver=solver,
        time_limit_s=time_limit,
        gap=gap,
        arithmetic=arithmetic,
        result_bytes=result_bytes or None,
        sizes_bytes=study.find_sizes(net, sizes, results) if sizes else None,
    )
    print(output.write(found, output.folder(results, net, out), figures, write_lp, shlex.join(["dime", *sys.argv[1:]])))


def report(plans: str, figures: bool = False) -> None:
    """Makes a finished study's report.html anew, and its figures, from what it has saved; nothing is solved again.

    Examples:
        dime report --plans=results/plans/alexnet/001 --figures

    Args:
        plans: The study's folder, as solve has named it.
        figures: Also writes each picture as PNG and SVG.
    """
    from dime.host.report import page as study_report

    for path in study_report.remake(plans, figures):
        print(path)


def demo(
    net: str = "alexnet",
    runs: int = 10,
    iterations: int = 5,
    edge_power: arguments.Watts = 5.0,
    results: str = "results/demo",
) -> None:
    """Profiles a network on this machine as weak device and as server, and plans it for 3G, 4G and WiFi.

    Examples:
        dime demo
        dime demo --net=resnet18 --runs=5

    Args:
        net: The network.
        runs: Timed runs of each bundle in a pass.
        iterations: Passes over all bundles.
        edge_power: Watts that the weak device is taken to draw while it computes, since no meter watches it.
        results: The folder for all results; a profile that is there already is used again.
    """
    from dime.host.campaign import measure
    from dime.host.campaign.naming import short

    options = measure.Options(runs, iterations)
    list(measure.profile(net, "local", options, results=results, keep=True))
    solve(short(net), results=results, edge_power=edge_power)


def join(
    run: str,
    power: str | None = None,
    clock: str | None = None,
    channel: str = "",
    energy_error: str | None = None,
    calibration: str | None = None,
    force: bool = False,
) -> None:
    """Joins a run's timings with the power logged meanwhile: joules for each bundle and clock, with error bars.

    Examples:
        dime join --run=results/nano/alexnet
        dime join --run=results/nano/alexnet --power=logs/nano_alexnet.csv

    Args:
        run: The run's folder.
        power: The power log, or the folder that holds the logs; without it the run's own.
        clock: exchanges, pattern, or same machine; without it the first that there is.
        channel: The meter's channel that feeds the device; without it the only one that was on.
        energy_error: Names the bundles whose energies are known less well, such as 3%, and why.
        calibration: A file of power calibrate; without it as the logger was told, or what the meter's maker states.
        force: Joins although two clocks disagree by more than their error bars.
    """
    from dime.contract.run import parse_share
    from dime.host.metering.gain import Gain
    from dime.host.profiles import joint_profile

    target = parse_share(energy_error) if energy_error else 0.0
    joined = joint_profile.join(run, power, clock, channel, target, force, calibration)
    for note in joined.notes:
        print(note, file=sys.stderr)
    gain = Gain.checked(joined.quality["gain"], str(joined.path))
    print(f"{joined.path}: {joined.rows} rows with energies; {gain.told}")


def sweep(
    net: str,
    edge: str = "edge",
    server: str = "server",
    link: str = "3G,4G,WiFi",
    edge_power: arguments.Watts | None = None,
    private: str = "0",
    memory: str = "",
    freqs: str = "",
    max_bundle: int | None = None,
    rule: str = RULE,
    arithmetic: str = "correct",
    result_bytes: arguments.Bytes = 4,
    sizes: str | None = None,
    csv_unit: str = "ms",
    layers: str | None = None,
    results: str = "results",
    out: str | None = None,
) -> None:
    """Writes the published tables: sweeps over limits, over private layers, and over the choice of clocks.

    Examples:
        dime sweep --net=alexnet --edge=nano --server=wiscad
        dime sweep --net=alexnet --edge=nano=alexnet.parquet --server=wiscad=server.csv --freqs=nano=537600000+921600000

    Args:
        net: The network that was profiled.
        edge: The weak device; its name, a run's folder, or a table.
        server: The other devices in the same way, joined by commas.
        link: Links by name, joined by commas, or one in any other form.
        edge_power: Models the weak device's energy as this many W while it computes.
        private: How many first layers stay on the weak device in the sweeps over limits, or their names.
        memory: DEVICE=BYTES (or 100MB), joined by commas; most that the layers there may take.
        freqs: DEVICE=HZ+HZ+... (or 460.8MHz), joined by commas; the only frequencies to use, of which the fastest and
            the slowest are taken.
        max_bundle: Largest bundle.
        rule: merged, free, or published (one bundle a device, mostly), as the published tables have it.
        arithmetic: correct, or published, which repeats the published means of runs and units of radio energies.
        result_bytes: Bytes sent home at the end for each input of a batch; 4 is the class, 0 takes the last layer's
            whole output.
        sizes: Bytes of the input, of each tensor between layers and of the result, joined by commas, or a profile of
            the network that has them; for published tables, which do not.
        csv_unit: Unit of durs in a published CSV, ms or s; a parquet's are s.
        layers: The network's layers in order, joined by commas, for published tables whose names do not tell it.
        results: The folder that holds DEVICE/NET.
        out: The folder to write into; without it the next free RESULTS/plans/NET/NUMBER.
    """
    from functools import partial

    from dime.host.campaign.naming import short
    from dime.host.common.units import plain
    from dime.host.compat import sweeps
    from dime.host.planning import goals
    from dime.host.planning.problem import build_problem
    from dime.host.report import output
    from dime.host.studies import study

    net = short(net)
    profiles = study.find_profiles(net, edge, server, results, edge_power, csv_unit, layers)
    output.folder(results, net, out)
    sizes_bytes = study.find_sizes(net, sizes, results) if sizes else None
    limits = goals.parse_limits(None, None, private, memory, freqs, max_bundle, rule)
    build = partial(build_problem, arithmetic=arithmetic, result_bytes=result_bytes or None, sizes_bytes=sizes_bytes)
    problems = {name: build(profiles, name, "latency", limits) for name in study.link_names(link)}
    for warning in dict.fromkeys(warning for problem in problems.values() for warning in problem.warnings):
        print(f"warning: {plain(warning)}", file=sys.stderr)
    made = sweeps.tables(problems)
    for name, reason in made.without_plan.items():
        print(f"{plain(name)}: no plan, because {plain(reason)}", file=sys.stderr)
    for path in sweeps.write(made, output.folder(results, net, out)):
        print(path)


def _of_meter(serial: str, baud: int, channel: str, recording: str, command: str) -> dict[str, Any]:
    return {"serial": serial, "baud": baud, "channel": channel, "recording": recording, "command": command}


def power_serve(
    address: str = "127.0.0.1",
    port: int = 5000,
    meter: str = "smartpower3",
    serial: str = "/dev/ttyUSB0",
    baud: int = 115200,
    channel: str = "",
    recording: str = "",
    command: str = "",
    folder: str = "power",
    keep: bool = False,
    open: bool = False,
) -> None:
    """Waits for devices to start and stop power logs, by the published protocol.

    A token that devices must prove to know stands in the environment as DIME_POWER_TOKEN. Any address but the
    loopback's wants one, or --open.

    Examples:
        dime power serve 192.168.1.2 5000 --meter=smartpower3 --serial=/dev/ttyUSB0 --baud=500000

    Args:
        address: Address to listen at.
        port: Port to listen at.
        meter: smartpower3, ina3221, rapl, nvml, command or replay.
        serial: The serial port, or udp://ADDRESS:PORT.
        baud: The rate set in the meter's menu.
        channel: The meter's channel that feeds the device.
        recording: A recorded log, for replay.
        command: A program that prints SECONDS WATTS, a line a reading, for the meter command.
        folder: Where the logs are written.
        keep: Stays after a client's shutdown.
        open: Lets whoever reaches the address start and stop logs, as devices need that know no token.
    """
    from dime.host.metering import power

    options = _of_meter(serial, baud, channel, recording, command)
    power.serve(address, port, meter, folder, keep=keep, anyone=open, **options)


def power_log(
    output: str,
    meter: str = "smartpower3",
    serial: str = "/dev/ttyUSB0",
    baud: int = 115200,
    channel: str = "",
    recording: str = "",
    command: str = "",
    at_once: bool = False,
) -> None:
    """Logs power until Ctrl-C.

    Examples:
        dime power log idle.csv --serial=/dev/ttyUSB0 --baud=500000
        dime power log idle.csv --serial=udp://0.0.0.0:6000
        dime power log idle.csv --meter=command --command='my-meter --every=10ms'

    Args:
        output: The log.
        meter: smartpower3, ina3221, rapl, nvml, command or replay.
        serial: The serial port, or udp://ADDRESS:PORT.
        baud: The rate set in the meter's menu.
        channel: The meter's channel that feeds the device.
        recording: A recorded log, for replay.
        command: A program that prints SECONDS WATTS, a line a reading, for the meter command.
        at_once: Replays it at once instead of at its pace.
    """
    from dime.host.metering import power

    options = _of_meter(serial, baud, channel, recording, command)
    print(power.log(output, meter, at_once=at_once, **options))


def power_calibrate(
    file: str,
    watts: arguments.Watts,
    watts_error: str,
    meter: str = "smartpower3",
    serial: str = "/dev/ttyUSB0",
    baud: int = 115200,
    channel: str = "",
    recording: str = "",
    command: str = "",
    seconds: arguments.Seconds = 10.0,
) -> None:
    """Reads the meter at a load whose power is known; each call adds one load to the file, which gives its gain.

    Joins take it by --calibration=FILE, profiles by calibration = "FILE" in the lab file's meter.

    Examples:
        dime power calibrate smartpower3.json --watts=5.02 --watts-error=0.5%
        dime power calibrate smartpower3.json --watts=9.97 --watts-error=0.5%

    Args:
        file: The calibration; made where there is none.
        watts: The load's power.
        watts_error: The part of it that it may be off by, such as 0.5%; what the reference's maker states.
        meter: smartpower3, ina3221, rapl, nvml, command or replay.
        serial: The serial port, or udp://ADDRESS:PORT.
        baud: The rate set in the meter's menu.
        channel: The meter's channel that feeds the load.
        recording: A recorded log, for replay.
        command: A program that prints SECONDS WATTS, a line a reading, for the meter command.
        seconds: How long to read.
    """
    from dime.contract.run import parse_share
    from dime.host.metering import power

    options = _of_meter(serial, baud, channel, recording, command)
    made = power.calibrate(file, watts, parse_share(watts_error), meter, seconds, **options)
    gain = made.gain()
    print(f"{file}: {made.points[-1].read_w:.5g} W read at {watts:g} W; gain {gain.factor:.5g}, {gain.told}")


def power_meters(serial: str = "/dev/ttyUSB0", recording: str = "", command: str = "") -> None:
    """Says which meters are usable here, and why the others are not.

    Examples:
        dime power meters
        dime power meters --serial=/dev/ttyUSB1

    Args:
        serial: The serial port, or udp://ADDRESS:PORT.
        recording: A recorded log, for replay.
        command: A program that prints SECONDS WATTS, a line a reading, for the meter command.
    """
    from dime.host.metering import power

    for name, reason in power.meters(serial=serial, recording=recording, command=command).items():
        print(f"{name:12} {reason or 'usable'}")


def doctor(device: str = "all", lab: str | None = None) -> None:
    """Tries every part of the lab file: ssh, engine, runtime, clocks, disk, meter; says what is wrong and what to type.

    Examples:
        dime doctor
        dime lab check --device=nano

    Args:
        device: Names or tags of the lab file, joined by commas.
        lab: The lab file; without it lab.toml, if there is one.
    """
    from dime.host.bench import lab as lab_file
    from dime.host.campaign import doctor as tries

    failed = 0
    for finding in tries.check(lab_file.load(lab), device):
        print(finding)
        failed += not finding.works
    if failed:
        raise DimeError(f"{failed} of the lab's parts {'does' if failed == 1 else 'do'} not work; see above")


def build(
    image: str = "all",
    platform: str = "",
    registry: str = "",
    torch: str = "",
    device: str = "",
    lab: str | None = None,
) -> None:
    """Builds the images and tries each of them; for a device its own, and the host image for this computer.

    Examples:
        dime build --image=host --platform=linux/amd64
        dime build --device=nano --torch=1.10

    Args:
        image: host, jetson, or all.
        platform: Platforms joined by commas; without it all of the image's.
        registry: The registry's host and port, for which the images are named.
        torch: Variant of PyTorch; 1.10 has kernels for the Nano's GPU.
        device: A device of the lab file or a kind of board, whose image and platform are taken.
        lab: The lab file; without it lab.toml, if there is one.
    """
    from dime.host.bench import builds
    from dime.host.bench import lab as lab_file

    wanted = builds.for_device(device, lab_file.load(lab)) if device else [(image, platform)]
    for one, platforms in wanted:
        builds.build(one, platforms, registry, **_variables(torch))


def push(registry: str = "", image: str = "all", torch: str = "", lab: str | None = None) -> None:
    """Builds what has changed and sends it to a registry, with one manifest for all platforms.

    Examples:
        dime push --registry=bench:5000

    Args:
        registry: The registry's host and port; without it the lab file's.
        image: host, jetson, or all.
        torch: Variant of PyTorch.
        lab: The lab file; without it lab.toml, if there is one.
    """
    from dime.host.bench import builds
    from dime.host.bench import lab as lab_file

    builds.push(registry or lab_file.load(lab).registry, image, **_variables(torch))


def _variables(torch: str) -> dict[str, Any]:
    return {"torch": torch} if torch else {}


def collect(device: str = "all", results: str = "results", lab: str | None = None) -> None:
    """Fetches the results of runs that ended while nobody was there.

    Examples:
        dime collect --device=nano

    Args:
        device: Names or tags of the lab file, joined by commas.
        results: The folder that receives DEVICE/NET.
        lab: The lab file; without it lab.toml, if there is one.
    """
    for entry in _remote_devices(device, lab):
        from dime.host.bench import fleet

        folders = fleet.collect(entry, results)
        for folder in folders:
            print(folder)
        if not folders:
            print(f"{entry.name}: no run that has ended is there", file=sys.stderr)


def clean_device(device: str, lab: str | None = None) -> None:
    """Removes what is ours from a device, running or not: containers, results, samples, images.

    Examples:
        dime clean-device --device=nano

    Args:
        device: Names or tags of the lab file, joined by commas.
        lab: The lab file; without it lab.toml, if there is one.
    """
    for entry in _remote_devices(device, lab):
        from dime.host.bench import cleaning

        def told(what: str, name: str = entry.name) -> None:
            print(f"{name}: removed {what}", flush=True)

        cleaning.clean(entry, told=told)


def _remote_devices(names: str, lab: str | None) -> list[Device]:
    from dime.host.bench import engines
    from dime.host.bench import lab as lab_file

    chosen = lab_file.load(lab).choose(names)
    apart = [device for device in chosen if engines.of(device).is_apart]
    if not apart:
        local = ", ".join(device.name for device in chosen)
        raise InputError(f"{local}: runs on this computer, where no run is left behind; name a device of the lab file")
    return apart


COMMANDS: arguments.Commands = {
    "demo": demo,
    "network": network,
    "samples": samples,
    "profile": profile,
    "join": join,
    "solve": solve,
    "report": report,
    "sweep": sweep,
    "power": {"serve": power_serve, "log": power_log, "meters": power_meters, "calibrate": power_calibrate},
    "lab": {"check": doctor},
    "doctor": doctor,
    "build": build,
    "push": push,
    "collect": collect,
    "clean-device": clean_device,
}

# What an interrupt leaves, of the commands that do not say it themselves.
KEPT = {
    "network": "nothing was written",
    "samples": "finished feature maps are kept, the same command makes the others",
    "join": "nothing was written",
    "solve": "nothing was written",
    "sweep": "nothing was written",
    "report": "nothing was written",
}


def _version() -> None:
    print(f"dime {__version__}")


def _refusal(error: OSError) -> str:
    """What the system said, of which file."""
    name = error.filename if error.filename2 is None else error.filename2
    reason = error.strerror or str(error)
    return reason if name is None else f"{os.fsdecode(name) if isinstance(name, bytes) else name}: {reason}"


def _runtime() -> str:
    """Where commands run, by DIME_RUNTIME: ``local``, or ``docker``: in the host image, on the folder one is in."""
    runtime = os.environ.get("DIME_RUNTIME", "local")
    if runtime not in ("local", "docker"):
        raise unknown("runtime", runtime, ("local", "docker"))
    return runtime


def main(words: Sequence[str] | None = None) -> int:
    """Runs one command.

    Args:
        words: The command line; None takes the process's own.

    Returns:
        The exit code: 0, 1 for a failure that is told in one line, 130 for Ctrl-C, 141 where nobody reads the output.
    """
    words = sys.argv[1:] if words is None else words
    try:
        asks_version = list(words) in (["--version"], ["-V"])
        call = arguments.Call(_version) if asks_version else arguments.parse(COMMANDS, words, "dime")
        if call and _runtime() == "docker":
            from dime.host.cli.host_image import run_in_host_image

            with endings.in_order():
                return run_in_host_image(words)
        if call:
            with shown.plainly(), endings.in_order():
                call.run()
                sys.stdout.flush()
    except DimeError as error:
        print(f"dime: {shown.line(error)}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # whoever read our output has enough, such as head
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as error:
        if error.filename is None and error.errno not in DISK:
            raise
        print(f"dime: {shown.line(_refusal(error))}", file=sys.stderr)
        return 1
    except KeyboardInterrupt as stop:
        kept = str(stop) or KEPT.get(words[0] if words else "", "")
        print(f"dime: interrupted{kept and '; '}{shown.line(kept)}", file=sys.stderr)
        return 130
    return 0
