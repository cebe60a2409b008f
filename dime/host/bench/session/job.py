"""What is to be profiled where."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from dime.host.bench.lab import LabDevice


@dataclass(frozen=True)
class Job:
    """What is to be profiled where.

    Attributes:
        device: The lab file's entry.
        network: The network's name.
        words: The device side's arguments without --samples and --out.
        samples: The folder of the network's feature maps on this computer.
        out: The run's folder on this computer.
        threads: CPU threads of the numeric libraries; 0 leaves it to them.
        online: Whether the container needs the network, as for a power log.
        token: A secret, such as what the power logger wants proved; it is handed over as a file.
        token_word: The option that names this file.
    """

    device: LabDevice
    network: str
    words: tuple[str, ...]
    samples: Path
    out: Path
    threads: int = 0
    online: bool = False
    token: str = field(default="", repr=False)
    token_word: str = "--log-server-token"
