"""Where a link begins for the device that calls: an emulated one listens beside the device that is called."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from dime.contract import frames
from dime.contract.errors import DeviceError
from dime.host.bench import answers
from dime.host.bench.lab import LabDevice
from dime.host.campaign.link import HERE, emulated
from dime.host.planning.links import Link

KEPT = ("bytes", "pieces", "late_median_s", "late_p95_s", "late_most_s")


class Shaped:
    """Where a link begins for the device that calls.

    Attributes:
        address: The address that is called.
        port: Its port.
        kept: Of an emulated link how well it was kept, for each direction, once it has ended.
    """

    def __init__(self, address: str, port: int):
        self.address, self.port = address, port
        self.kept: dict[str, dict[str, float]] = {}


@contextlib.contextmanager
def shaped(
    target: tuple[str, int], link: Link, device: LabDevice = HERE, address: str = frames.LOOPBACK, registry: str = ""
) -> Iterator[Shaped]:
    """An emulated link to an address of a device, where that is."""
    with emulated(link, target, device, address, registry) as said:
        port = said[0].get("port")
        if not isinstance(port, int) or not 0 < port < 65536:
            raise DeviceError(f"link {link.name}: its process does not listen")
        found = Shaped(address, port)
        yield found
    found.kept = _kept(next((facts["kept"] for facts in said[1:] if "kept" in facts), {}))


def _kept(said: object) -> dict[str, dict[str, float]]:
    """What a shaper says of its two directions; what is no such thing is passed over."""
    ways = said if isinstance(said, dict) else {}
    found = {name: answers.facts(ways.get(name), dict.fromkeys(KEPT, 0.0), ()) for name in ("up", "down")}
    return {name: facts.numbers for name, facts in found.items() if facts is not None}
