"""What a board's torch cannot do of a network is said before anything is shipped."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from dime.contract import operations
from dime.contract.errors import DeviceError
from dime.host.bench.lab import LabDevice

TORCH = "dime.torch"  # an image's label: the version in it
MOST = 5


def check(labels: object, device: LabDevice, samples: Path) -> None:
    """Makes sure that a device's image can run a network that was named, as far as its torch is known.

    Args:
        labels: The image's, as its engine says.
        device: The device.
        samples: The network's feature maps; a built-in network's bring no document, and everything runs it.

    Raises:
        DeviceError: It lacks operations; each is named with where it stands.
    """
    version = str(labels.get(TORCH, "")) if isinstance(labels, Mapping) else ""
    if not version or not (samples / "graph" / "graph.json").is_file():
        return
    graph = json.loads((samples / "graph" / "graph.json").read_bytes())
    has_gpu = bool(device.gpus) or device.runtime == "nvidia"
    found = operations.refusals(graph, version, on_cpu=not has_gpu)
    if found:
        more = f"; and {len(found) - MOST} more" if len(found) > MOST else ""
        raise DeviceError(
            f"{device.name}: torch {version} of its image cannot run {samples.name}: {'; '.join(found[:MOST])}{more}; "
            "nothing was sent"
        )
