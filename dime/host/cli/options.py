"""What can be typed after a command's name: frozen dataclasses, one for what belongs together.

The options of a network and of a profile stand with what they mean, in dime/host/campaign.
"""

from __future__ import annotations

from dataclasses import dataclass

from dime.host.common.options import Bytes, Joules, Seconds, Share, Watts, option
from dime.host.planning.accounting import Accounting
from dime.host.planning.goals import RULE, Limits, parse_limits

NETWORKS = "alexnet, vgg11, vit_b_16, resnet18; torchvision:NAME; timm:NAME; FILE.py:FUNCTION; or FILE.pt2."
WEIGHTS = "pretrained, seeded, a file's name, or auto: pretrained where they can be had, else seeded."
DEVICES = "Names or tags of the lab file, joined by commas."
RESULTS = "The folder that receives DEVICE/NET."


@dataclass(frozen=True)
class SampleOptions:
    """Of `samples`."""

    net: str = option(NETWORKS)
    source: str = option(
        "builtin (pictures that ship with DIME), imagenette, a folder of pictures or of tensors (.pt, .npy), or "
        "random.",
        "builtin",
    )
    samples: str = option("The folder that holds the feature maps of all networks.", "samples")
    weights: str = option(WEIGHTS, "auto")


@dataclass(frozen=True)
class DrawnNetwork:
    """Of `network`."""

    net: str = option("torchvision:NAME; timm:NAME; FILE.py:FUNCTION; or FILE.pt2.")
    figure: str | None = option(
        "A new file, FILE.svg, for a picture of the graph: places, cuts, bytes and branches.", None
    )


@dataclass(frozen=True)
class ProfiledDevice:
    """Of `profile`: what is measured, where."""

    net: str = option(NETWORKS)
    device: str = option(
        "Names or tags of the lab file; local is this machine, as edge (one thread) and as server (all threads).",
        "local",
    )
    threads: int | None = option("CPU threads; without it what the lab file says.", None)
    samples: str = option(
        "The folder that holds the feature maps; made from the pictures that ship with DIME if need be.", "samples"
    )
    weights: str = option(WEIGHTS, "auto")
    results: str = option(RESULTS, "results")


@dataclass(frozen=True)
class MeasuredLink:
    """Of `link`."""

    edge: str = option(
        "The device that the bytes go up from; without a lab file any name, a process of this computer.", "edge"
    )
    server: str = option("The other device.", "server")
    net: str | None = option("A network that was profiled: its largest tensor is the largest size.", None)
    largest: Bytes = option("Without it the largest size, such as 602kB.", 1_000_000)
    iterations: int = option("Passes over all sizes, each in another order.", 10)
    runs: int = option("Exchanges of each size and direction in a pass.", 3)
    time_limit: Seconds = option("No pass is begun that would end later; three are made in any case.", 120.0)
    emulate: str | None = option(
        "Puts an emulated link in between, by name or by its numbers; what is measured is called emulated.", None
    )
    results: str = option("The folder that receives links/EDGE-SERVER/NUMBER.", "results")


@dataclass(frozen=True)
class LabFile:
    """Where the lab is described."""

    lab: str | None = option("The lab file; without it lab.toml, if there is one.", None)


@dataclass(frozen=True)
class Devices:
    """Some of the lab's devices."""

    device: str = option(DEVICES, "all")


@dataclass(frozen=True)
class NamedDevices:
    """Some of the lab's devices, where none is taken by default."""

    device: str = option(DEVICES)


@dataclass(frozen=True)
class Collected:
    """Of `collect`."""

    results: str = option(RESULTS, "results")


@dataclass(frozen=True)
class PlannedNetwork:
    """Whose profiles are planned with."""

    net: str = option("The network that was profiled.")
    edge: str = option("The weak device, where input and result are; its name, a run's folder, or a table.", "edge")
    server: str = option("The other devices in the same way, joined by commas.", "server")
    link: str = option(
        "Links by name, those that were measured too, joined by commas; FILE.toml:NAME; its numbers; FILE.csv, a trace "
        "with the columns time, up, down, rtt (s, Mbit/s, Mbit/s, s); one of the last three or a measured one with the "
        "radio of another link, NAME,like=WiFi; or one a pair, as above.",
        "3G,4G,WiFi",
    )
    edge_power: Watts | None = option(
        "Models the weak device's energy as this many W while it computes; for a device without a meter.", None
    )
    csv_unit: str = option("Unit of durs in a published CSV, ms or s; a parquet's are s.", "ms")
    layers: str | None = option(
        "The network's layers in order, joined by commas, for published tables whose names do not tell it.", None
    )
    results: str = option("The folder that holds DEVICE/NET.", "results")


@dataclass(frozen=True)
class Placement:
    """What every plan must keep to."""

    private: str = option(
        "How many first layers stay on the weak device, or their names joined by commas; in a sweep over private "
        "layers those are its own.",
        "0",
    )
    memory: str = option("DEVICE=BYTES (or 100MB), joined by commas; most that the layers there may take.", "")
    freqs: str = option(
        "[DEVICE=]HZ+HZ (or 460.8MHz), joined by commas; the frequencies to use; without DEVICE= the weak device's; "
        "a sweep over frequencies takes the fastest and the slowest of them.",
        "",
    )
    max_bundle: int | None = option("Largest bundle.", None)
    rule: str = option(
        "merged (what a device runs in one go is one bundle), free, or published (one bundle a device, mostly).", RULE
    )

    def limits(self, max_latency_s: float | None = None, max_energy_j: float | None = None) -> Limits:
        """These and two more, read; see `parse_limits`."""
        rest = (self.private, self.memory, self.freqs, self.max_bundle, self.rule)
        return parse_limits(max_latency_s, max_energy_j, *rest)


@dataclass(frozen=True)
class Arithmetic:
    """How costs are added up."""

    arithmetic: str = option(
        "correct, or published, which repeats the published means of runs and units of radio energies.", "correct"
    )
    result_bytes: Bytes = option(
        "Bytes sent home at the end for each input of a batch; 4 is the class, 0 takes the last layer's whole output.",
        4,
    )
    joules: str = option("Whose joules count: edge, all, or devices' names joined by commas.", "edge")
    terms: str = option(
        "What counts beside computing and sending: known, all (also what was not checked against its source), none, or "
        "some of waiting, radio_states, protocol, copies, frequency_change, encoding, overhead.",
        "known",
    )
    idle_power: Watts | None = option(
        "Models the weak device's power while it waits as this many W, where no meter has measured it.", None
    )
    connection: str = option("kept, or new for each transfer, which then begins with a round trip.", "kept")
    encode: str = option(
        "How the input, and features between layers, are encoded before they are sent, such as "
        "input:jpeg90,features:float16; of what the profiles have measured.",
        "",
    )
    sizes: str | None = option(
        "Bytes of the input, of each tensor between layers and of the result, joined by commas, or a profile of the "
        "network that has them; for published tables, which do not.",
        None,
    )

    def accounting(self) -> Accounting:
        """Whose joules count, and which terms."""
        return Accounting(self.joules, self.terms, self.idle_power, self.connection, self.encode)


@dataclass(frozen=True)
class Search:
    """What `solve` looks for, and how long."""

    goal: str = option("latency, energy, throughput, or weighted:PER_S,PER_J.", "latency")
    max_latency: Seconds | None = option("Largest latency in s, or with its unit: 20ms.", None)
    max_energy: Joules | None = option("Largest energy in J, or with its unit: 150mJ.", None)
    confidence: str | None = option(
        "Probability with which single runs must keep the limits, such as 95%; without it their means do.", None
    )
    replicates: int = option(
        "Bootstrap replicates behind intervals, regret and what to measure again; 0 leaves these out.", 200
    )
    solver: str = option("auto, exact, gurobi, highs or brute_force.", "auto")
    time_limit: Seconds = option("Longest time for one search in s.", 60.0)
    gap: Share = option("Relative distance from the optimum that is good enough, such as 1%.", 0.0)


@dataclass(frozen=True)
class Written:
    """Where tables of plans go."""

    out: str | None = option("The folder to write into; without it the next free RESULTS/plans/NET/NUMBER.", None)


@dataclass(frozen=True)
class WrittenStudy(Written):
    """Where a study goes, and what else it holds."""

    write_lp: str | None = option("A file for the integer program of the first link.", None)
    figures: bool = option("Also writes each picture as PNG and SVG.", False)


@dataclass(frozen=True)
class FinishedStudy:
    """Of `report`."""

    plans: str = option("The study's folder, as solve has named it.")
    figures: bool = option("Also writes each picture as PNG and SVG.", False)


@dataclass(frozen=True)
class MadeArtifact:
    """Of `artifact`."""

    studies: str = option("Folders of studies and sweeps, as solve and sweep have named them, with spaces between.")
    title: str = option("The archive's title.", "Results of DIME")
    authors: str = option("Names joined by ';', each perhaps with an ORCID in brackets.", "")
    out: str = option("The folder that receives it; an artifact that is there already is replaced.", "artifact")
    wheels: str = option(
        "Also packs the wheels that the check needs, 190 MB a version of Python: such as 3.10,3.12; 1 is 3.10.", ""
    )
    images: bool = option("Also packs the profiles' container images, some GB each: the size is told first.", False)
    maps: bool = option("Also packs the feature maps; their size is told first.", False)
    licence: str = option("Licence of the data, an identifier of SPDX such as CC-BY-4.0.", "MIT")
    claims: str = option("A file of claims; without it those edited in the artifact that is there, or DIME's own.", "")
    sign: str = option("Your ssh key, which signs the list of files.", "")


@dataclass(frozen=True)
class CheckedArtifact:
    """Of `check-artifact`."""

    artifact: str = option("The archive, a zip, or the folder that it was unpacked to.")
    out: str = option("The folder that receives evaluation.json and evaluation.html.", "evaluation")
    signer: str = option("A public ssh key, or a file of allowed signers: who must have signed it.", "")


@dataclass(frozen=True)
class Verified:
    """Of `verify`."""

    plans: str = option("The study's folder, as solve has named it.")
    link: str | None = option("Links of the study by name, joined by commas; without it all.", None)
    frontier: int = option("Points of the frontier that are run as well, evenly spread.", 0)
    runs: int = option("Requests of each plan that count; fewer of plans that take long.", 30)
    samples: str = option("The folder that holds the feature maps that were profiled.", "samples")
    weights: str = option("A state_dict's file, where the weights that were profiled came from one.", "")
    meter: str = option(
        "The meter that watches the weak device, where no lab file names it: name and options joined by commas, such "
        "as smartpower3,serial=/dev/ttyUSB0,baud=921600.",
        "",
    )
    seed: int = option("Of the order in which plans are run.", 0)


@dataclass(frozen=True)
class Compared:
    """Of `compare`."""

    first: str = option("A study's folder, as solve has named it.")
    second: str = option("Another one, or several joined by commas.")


@dataclass(frozen=True)
class RepeatedArtifact:
    """Of `repeat-artifact`."""

    artifact: str = option("The archive, a zip, or the folder that it was unpacked to.")
    device: str = option("Names or tags of the lab file; local is this machine, as edge and as server.", "local")
    margin: Share = option("Difference of a bundle's time that does not matter, such as 10%.", 0.1)
    runs: int | None = option("Timed runs of each bundle in a pass; without it as in the archive.", None)
    iterations: int | None = option("Passes over all bundles; without it as in the archive.", None)
    results: str = option("The folder that receives the profiles; complete ones there are kept.", "repeated")
    out: str = option("The folder that receives evaluation.json and evaluation.html.", "evaluation")


@dataclass(frozen=True)
class Demo:
    """Of `demo`."""

    net: str = option(NETWORKS, "alexnet")
    runs: int = option("Timed runs of each bundle in a pass on the device that stands in.", 1)
    iterations: int = option("Passes over all bundles.", 3)
    requests: int = option("Requests by which each plan is run and held against its prediction.", 10)
    freqs: str = option(
        "Shares of a core that the device has for clocks, such as 10%,20%; all: 10, 15, 18 and 21 %.", "10%,15%,21%"
    )
    edge_power: Watts | None = option(
        "Watts that it is taken to draw while it computes; without it more the faster its clock.", None
    )
    results: str = option("The folder for all results; a profile that is there already is used again.", "results/demo")
    open: bool = option("Opens the report, where there are a browser and a person.", False)


@dataclass(frozen=True)
class Join:
    """Of `join`."""

    run: str = option("The run's folder.")
    power: str | None = option("The power log, or the folder that holds the logs; without it the run's own.", None)
    clock: str | None = option("exchanges, pattern, or same machine; without it the first that there is.", None)
    channel: str = option("The meter's channel that feeds the device; without it the only one that was on.", "")
    energy_error: str | None = option(
        "Names the bundles whose energies are known less well, such as 3%, and why.", None
    )
    calibration: str | None = option(
        "A file of power calibrate; without it as the logger was told, or what the meter's maker states.", None
    )
    force: bool = option("Joins although two clocks disagree by more than their error bars.", False)


@dataclass(frozen=True)
class MeterName:
    """Which meter."""

    meter: str = option("smartpower3, ina3221, rapl, nvml, command or replay.", "smartpower3")


@dataclass(frozen=True)
class MeterSource:
    """Where readings come from."""

    serial: str | None = option("smartpower3: the serial port, or udp://ADDRESS:PORT; without it /dev/ttyUSB0.", None)
    recording: str | None = option("replay: a recorded log.", None)
    command: str | None = option("command: a program that prints SECONDS WATTS, a line a reading.", None)


@dataclass(frozen=True)
class MeterSetting:
    """What is set at the meter."""

    baud: int | None = option("smartpower3: the rate set in the meter's menu; without it 115200.", None)
    channel: str = option("The meter's channel that feeds the device.", "")
    options: str = option("Other options of the meter's own, NAME=VALUE joined by commas.", "")


@dataclass(frozen=True)
class PowerServer:
    """Of `power serve`."""

    address: str = option("Address to listen at.", "127.0.0.1")
    port: int = option("Port to listen at.", 5000)
    folder: str = option("Where the logs are written.", "power")
    keep: bool = option("Stays after a client's shutdown.", False)
    open: bool = option(
        "Lets whoever reaches the address start and stop logs, as devices need that know no token.", False
    )


@dataclass(frozen=True)
class PowerLog:
    """Of `power log`."""

    output: str = option("The log.")
    at_once: bool = option("replay: hands the recording out at once instead of at its pace.", False)


@dataclass(frozen=True)
class KnownLoad:
    """Of `power calibrate`."""

    file: str = option("The calibration; made where there is none.")
    watts: Watts = option("The load's power.")
    watts_error: str = option("The part of it that it may be off by, such as 0.5%; what the reference's maker states.")
    seconds: Seconds = option("How long to read.", 10.0)


@dataclass(frozen=True)
class Built:
    """Of `build`."""

    image: str = option("host, jetson, or all.", "all")
    platform: str = option("Platforms joined by commas; without it all of the image's.", "")
    registry: str = option("The registry's host and port, for which the images are named.", "")
    torch: str = option("Variant of PyTorch; 1.10 has kernels for the Nano's GPU.", "")
    device: str = option("A device of the lab file or a kind of board, whose image and platform are taken.", "")


@dataclass(frozen=True)
class Pushed:
    """Of `push`."""

    registry: str = option("The registry's host and port; without it the lab file's.", "")
    image: str = option("host, jetson, or all.", "all")
    torch: str = option("Variant of PyTorch.", "")


@dataclass(frozen=True)
class Shell:
    """Of `completion`."""

    shell: str = option("bash, zsh or fish.")
