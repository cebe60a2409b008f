"""Profiles devices of the lab: feature maps first, then every bundle timed on each device's own engine."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from dime.contract.errors import InputError
from dime.contract.run import RUN, RunSpec
from dime.host import lab as lab_file
from dime.host import local


@dataclass(frozen=True)
class Options:
    """How a profile is taken; the fields are those of `dime profile`."""

    runs: int = 20
    iterations: int = 5
    warmups: int = 2
    max_layers: int | None = None
    seed: int = 0
    freqs: str | None = None

    def words(self) -> list[str]:
        """The device side's arguments."""
        words = [f"--runs={self.runs}", f"--iterations={self.iterations}", f"--warmups={self.warmups}"]
        words += [f"--seed={self.seed}"]
        words += [f"--max-layers={self.max_layers}"] if self.max_layers is not None else []
        words += [f"--frequencies={self.freqs}"] if self.freqs is not None else []
        return words


def make_samples(net: str, source: str = "builtin", samples: str = "samples", weights: str = "auto") -> str:
    """Makes the inputs of every layer, or verifies those that are there.

    Args:
        net: The network.
        source: builtin, imagenette, or a folder of pictures.
        samples: The folder that holds the feature maps of all networks.
        weights: pretrained, seeded, a file's name, or auto.

    Returns:
        The network's folder.
    """
    words = ["samples", f"--network={net}", f"--source={source}", f"--samples={samples}", f"--weights={weights}"]
    return local.run(words, f"samples {net}")


def profile(
    net: str,
    device: str,
    options: Options,
    threads: int | None = None,
    samples: str = "samples",
    weights: str = "auto",
    results: str = "results",
    lab: str | None = None,
    keep: bool = False,
) -> Iterator[Path]:
    """Profiles a network on each device that is named.

    Args:
        net: The network.
        device: Names or tags of the lab file, joined by commas.
        options: How the profile is taken.
        threads: CPU threads; None takes the lab file's.
        samples: The folder that holds the feature maps.
        weights: pretrained, seeded, a file's name, or auto.
        results: The folder that receives DEVICE/NET.
        lab: The lab file; None takes lab.toml, if there is one.

        keep: Whether complete runs may stay as they are even if all of them are.

    Yields:
        The folder of each run, as it is finished.

    Raises:
        InputError: A device is unknown, or every run is complete already and ``keep`` is not set.
        DeviceError: A run failed; what it has measured stays, and the same call goes on from there.
    """
    plans = list(_plans(lab_file.load(lab).choose(device), threads))
    folders = {name: Path(results) / name / net for name, _, _ in plans}
    complete = {name for name, folder in folders.items() if _is_complete(folder)}
    if complete == set(folders) and not keep:
        raise InputError(f"{', '.join(map(str, folders.values()))}: complete already; nothing was overwritten")
    if not (Path(samples) / net).exists():
        make_samples(net, samples=samples, weights=weights)
    for name, board, count in plans:
        if name in complete:
            print(f"{folders[name]} is complete already and was kept", file=sys.stderr)
        else:
            words = ["profile", f"--network={net}", f"--device={name}", f"--board={board}", f"--threads={count}"]
            words += [f"--samples={samples}", f"--out={folders[name]}", f"--weights={weights}", *options.words()]
            local.run(words, f"{name} {net}", count)
        yield folders[name]


def _plans(devices: Iterable[lab_file.Device], threads: int | None) -> Iterator[tuple[str, str, int]]:
    """Name, board and thread count of each run; a device with several thread counts is run once for each."""
    for device in devices:
        counts = device.threads if threads is None else (threads,)
        for count in counts:
            yield device.name if len(counts) == 1 else f"{device.name}-{count}threads", device.board, count


def _is_complete(folder: Path) -> bool:
    return (folder / RUN).exists() and RunSpec.read(str(folder)).state == "complete"
