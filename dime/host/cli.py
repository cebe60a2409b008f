"""The command `dime`: one function for each arrow of the data's path. The only place that catches DimeError."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from dime.contract.errors import DimeError
from dime.host import arguments


def samples(net: str, source: str = "builtin", samples: str = "samples", weights: str = "auto") -> None:
    """Makes feature maps: the inputs of every layer, for each picture.

    Examples:
        dime samples --net=vgg11
        dime samples --net=vgg11 --source=imagenette
        dime samples --net=vgg11 --source=/home/me/pictures

    Args:
        net: The network: alexnet, vgg11, vit_b_16 or resnet18.
        source: builtin (pictures that ship with DIME), imagenette, or a folder of pictures.
        samples: The folder that holds the feature maps of all networks.
        weights: pretrained, seeded, a file's name, or auto: pretrained where they can be had, else seeded.
    """
    from dime.host import measure

    print(measure.make_samples(net, source=source, samples=samples, weights=weights))


def profile(
    net: str,
    device: str = "local",
    freqs: str | None = None,
    runs: int = 20,
    iterations: int = 5,
    warmups: int = 2,
    max_layers: int | None = None,
    threads: int | None = None,
    seed: int = 0,
    samples: str = "samples",
    weights: str = "auto",
    results: str = "results",
    lab: str | None = None,
) -> None:
    """Times every bundle of a network on a device, at every frequency.

    Examples:
        dime profile --net=alexnet
        dime profile --net=vgg11 --device=nano --freqs=460800000,921600000

    Args:
        net: The network: alexnet, vgg11, vit_b_16 or resnet18.
        device: Names or tags of the lab file; local is this machine, as edge (one thread) and as server (all threads).
        freqs: Frequencies in Hz, joined by commas; without it all that the board has.
        runs: Timed runs of each bundle in a pass.
        iterations: Passes over all bundles, each in another order.
        warmups: Runs before them that are not counted.
        max_layers: Largest bundle; without it the whole network.
        threads: CPU threads; without it what the lab file says.
        seed: Seed of the order of the bundles.
        samples: The folder that holds the feature maps; made from the pictures that ship with DIME if need be.
        weights: pretrained, seeded, a file's name, or auto: pretrained where they can be had, else seeded.
        results: The folder that receives DEVICE/NET.
        lab: The lab file; without it lab.toml, if there is one.
    """
    from dime.host import measure

    options = measure.Options(runs, iterations, warmups, max_layers, seed, freqs)
    for folder in measure.profile(net, device, options, threads, samples, weights, results, lab):
        print(folder)


COMMANDS: arguments.Commands = {"samples": samples, "profile": profile}


def main(words: Sequence[str] | None = None) -> int:
    """Runs one command.

    Args:
        words: The command line; None takes the process's own.

    Returns:
        The exit code: 0, 1 for a failure that is told in one line, 130 for Ctrl-C.
    """
    try:
        call = arguments.parse(COMMANDS, sys.argv[1:] if words is None else words, "dime")
        if call:
            call.run()
    except DimeError as error:
        print(f"dime: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("dime: interrupted", file=sys.stderr)
        return 130
    return 0
