"""What a person says of a network besides its name, and how a network's places are shown."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from dime.contract import networks
from dime.host.common.options import option
from dime.host.common.units import quantity

GRAPH = "graph"  # the folder of a network's document, in its feature maps


class PlaceFacts(TypedDict):
    """What the device side says of a place at which a network can be cut."""

    name: str
    node: int
    shapes: list[list[int]]
    size_bytes: int
    macs: int
    parameters: int
    kept: str


class NetworkFacts(TypedDict):
    """What the device side says of a network; see ``dime.device.graphs.summary.describe``."""

    name: str
    torch: str
    inputs: list[tuple[list[int], str]]
    operations: int
    parts_that_share_memory: int
    places: list[PlaceFacts]
    branches: list[tuple[int, int]]


@dataclass(frozen=True)
class Naming:
    """The options of a network that is not built in; each is None where the network's own choice holds."""

    input: str | None = option(
        "Shapes of the network's inputs, such as 1x3x640x640, or 1x128:int64 for tokens, joined by commas.", None
    )
    batch: int | None = option("How many inputs at once.", None)
    dtype: str | None = option("Precision of parameters and inputs: float32, float16, bfloat16 or float64.", None)
    cuts: str = option(
        "Where the network is cut: auto, all, a number of layers, or names of places joined by commas.", "auto"
    )
    name: str | None = option("The short name that results carry; without it one is derived from the network.", None)

    def spec(self, net: str) -> networks.Spec:
        """The network as it was asked for; see ``networks.parse``."""
        return networks.parse(net, self.input, self.batch, self.dtype, self.name)

    def words(self) -> list[str]:
        """The device side's arguments."""
        given = {"input": self.input, "batch": self.batch, "dtype": self.dtype, "name": self.name}
        words = [f"--{name}={value}" for name, value in given.items() if value is not None]
        return words if self.cuts == "auto" else [*words, f"--cuts={self.cuts}"]


def short(net: str) -> str:
    """The name under which results hold a network, from the name itself or from what it was made of."""
    return networks.parse(net).name if networks.is_known_form(net) else net


def is_made(net: str, samples: Path) -> bool:
    """Whether a short name is that of a network whose document is there."""
    return networks.NAME.match(net) is not None and (samples / net / GRAPH).is_dir()


def table(facts: NetworkFacts) -> Iterator[str]:
    """A network's places as lines of text."""
    inputs = ", ".join(f"{'x'.join(map(str, shape))} {dtype}" for shape, dtype in facts["inputs"])
    kept = sum(1 for place in facts["places"] if place["kept"])
    yield f"{facts['name']}: {inputs}; {facts['operations']} operations; {len(facts['places'])} places, {kept} layers"
    yield f"  {'place':40} {'what crosses':28} {'bytes':>9} {'MACs so far':>12} {'parameters':>11}  cut"
    for place in facts["places"]:
        shapes = " + ".join("x".join(map(str, shape)) or "1" for shape in place["shapes"])
        shapes = shapes if len(shapes) <= 28 else f"{len(place['shapes'])} tensors"
        yield (
            f"  {place['name'][:40]:40} {shapes:28} {quantity(place['size_bytes'], 'B'):>9}"
            f" {place['macs']:>12.3g} {place['parameters']:>11.3g}  {place['kept']}"
        )
    if facts["parts_that_share_memory"]:
        yield (
            f"  at {facts['parts_that_share_memory']} other places it cannot be cut: tensors that share memory are"
            " needed there, and one of them is changed later"
        )
