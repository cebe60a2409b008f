"""Profiles devices of the lab: feature maps first, then every bundle timed on each device's own engine."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

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

    Yields:
        The folder of each run, as it is finished.
    """
    chosen = lab_file.load(lab).choose(device)
    if not (Path(samples) / net).exists():
        make_samples(net, samples=samples, weights=weights)
    for entry in chosen:
        counts = entry.threads if threads is None else (threads,)
        for count in counts:
            name = entry.name if len(counts) == 1 else f"{entry.name}-{count}threads"
            words = ["profile", f"--network={net}", f"--device={name}", f"--board={entry.board}"]
            words += [f"--samples={samples}", f"--out={Path(results) / name / net}", f"--weights={weights}"]
            yield Path(local.run([*words, f"--threads={count}", *options.words()], f"{name} {net}", count))
