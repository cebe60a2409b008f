"""Whether a link is after a run what it was before: measured both times through the same transport.

It moved where the intervals of what a tensor takes do not meet, and the means are at least 1 % apart.
"""

from __future__ import annotations

import tempfile
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from dime.contract.errors import DimeError
from dime.host.bench import engines
from dime.host.campaign import link as campaign
from dime.host.common import stats
from dime.host.common.units import quantity
from dime.host.execution.devices import Profiled
from dime.host.planning.links import Link
from dime.host.profiles.link_profile import LinkProfile

PASSES, RUNS, TIME_LIMIT_S = 5, 1, 20.0
LONGEST_S = 0.5  # of one exchange: a slow link is measured with smaller tensors
SMALLEST_BYTES = 1000
LEAST_SHARE = 0.01


@dataclass(frozen=True)
class Checked:
    """A link before and after a run.

    Attributes:
        size_bytes: The largest tensor that it was measured with.
        before: What it was.
        after: What it is; None where it could not be measured again.
        failure: Why not.
    """

    size_bytes: int
    before: LinkProfile
    after: LinkProfile | None = None
    failure: str = ""

    @property
    def moved(self) -> tuple[str, ...]:
        """A line for each direction that is another now."""
        if self.after is None:
            return (f"the link {self.before.name} could not be measured again: {self.failure}",)
        found = []
        for way, column in (("up", 1), ("down", 2)):
            (was_s, was_half_s), (is_s, is_half_s) = (
                _mean(one, self.size_bytes, column) for one in (self.before, self.after)
            )
            if abs(is_s - was_s) > max(was_half_s + is_half_s, LEAST_SHARE * was_s):
                found.append(
                    f"the link {self.before.name} moved: {self.size_bytes} B {way} took"
                    f" {_told(was_s, was_half_s)} before the run, {_told(is_s, is_half_s)} after it"
                )
        return tuple(found)


def _mean(one: LinkProfile, size_bytes: int, column: int) -> tuple[float, float]:
    """What a tensor takes, by the passes, and half of the interval of that."""
    passes = np.array(one.passes)
    seconds = passes[:, 0] / 2 + 8 * size_bytes * passes[:, column]
    return float(seconds.mean()), stats.half_of_mean(seconds)


def _told(mean_s: float, half_s: float) -> str:
    return f"{quantity(mean_s, 's')} ({quantity(max(0.0, mean_s - half_s), 's')} to {quantity(mean_s + half_s, 's')})"


def measure(
    devices: Sequence[Profiled],
    links: Mapping[tuple[int, int], Link],
    largest_bytes: int,
    lab: str | None,
    real: Container[tuple[int, int]] = (),
) -> dict[tuple[int, int], Checked]:
    """Measures the links of a run before it.

    Args:
        devices: The devices.
        links: (caller, called) -> the link.
        largest_bytes: The largest tensor that crosses.
        lab: The lab file; None takes lab.toml, if there is one.
        real: Pairs whose link is there. Any other is emulated, between processes of this computer; what is emulated
            between containers is left out: how well it was kept is told anyhow.

    Raises:
        DeviceError: A link is not there.
    """
    found = {}
    for pair, link in links.items():
        is_here = not any(engines.of(devices[at].device).is_apart for at in pair)
        if devices[pair[0]].device.name != devices[pair[1]].device.name and (is_here or pair in real):
            size_bytes = _size(link, largest_bytes)
            found[pair] = Checked(size_bytes, _once(devices, pair, size_bytes, None if pair in real else link, lab))
    return found


def again(
    devices: Sequence[Profiled],
    links: Mapping[tuple[int, int], Link],
    before: Mapping[tuple[int, int], Checked],
    lab: str | None,
    real: Container[tuple[int, int]] = (),
) -> dict[tuple[int, int], Checked]:
    """Measures the same after it; where that fails, what was run stands all the same."""
    found = {}
    for pair, one in before.items():
        try:
            after = _once(devices, pair, one.size_bytes, None if pair in real else links[pair], lab)
        except DimeError as error:
            found[pair] = replace(one, failure=str(error))
        else:
            found[pair] = replace(one, after=after)
    return found


def _size(link: Link, largest_bytes: int) -> int:
    slower_bit_s = min(link.upload_bit_s, link.download_bit_s)
    return max(SMALLEST_BYTES, min(largest_bytes, int(slower_bit_s / 8 * LONGEST_S)))


def _once(
    devices: Sequence[Profiled], pair: tuple[int, int], size_bytes: int, emulate: Link | None, lab: str | None
) -> LinkProfile:
    edge, server = (devices[at].device.name for at in pair)
    with tempfile.TemporaryDirectory(prefix="dime-link-") as aside:
        return campaign.measure(
            edge,
            server,
            largest_bytes=size_bytes,
            iterations=PASSES,
            runs=RUNS,
            time_limit_s=TIME_LIMIT_S,
            emulate=emulate,
            results=aside,
            lab=lab,
        )
