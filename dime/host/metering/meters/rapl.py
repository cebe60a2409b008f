"""The energy counters of Intel and AMD processors, read from the kernel's powercap tree.

With none named it is the sum of all packages, so of all processors of the computer; never a zone that holds others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dime.contract.errors import DeviceError, DimeError
from dime.host.common.options import option
from dime.host.metering import api
from dime.host.metering.api import (
    ENERGY,
    Counters,
    Polled,
    Reader,
    Reading,
    Series,
    choose_counters,
    counter_reading,
    counter_series,
    is_number,
    read_text,
)
from dime.host.metering.gain import Gain

# Neither Intel's Software Developer's Manual (volume 3, power management) nor AMD's processor references state one.
GAIN = Gain(source="neither Intel nor AMD states an accuracy of RAPL")
_FILES = ("energy_uj", "max_energy_range_uj")


def _zones(root: str) -> dict[str, Path]:
    """Top zones by name: a package each; a second zone of the same name gets its number."""
    found: dict[str, Path] = {}
    for folder in sorted(Path(root).glob("class/powercap/intel-rapl:[0-9]*")):
        if folder.name.count(":") == 1:
            name = read_text(folder / "name") or folder.name
            found[name if name not in found else f"{name} {folder.name.rsplit(':', 1)[1]}"] = folder
    return found


@dataclass(frozen=True)
class Options(api.PolledOptions):
    """What this meter can be told."""

    root: str = option("Where /sys is found.", "/sys")


def _chosen(options: Options) -> dict[str, Path]:
    """The zones that are meant.

    Raises:
        DeviceError: There are none, or what is needed of one cannot be read.
        InputError: No such zone, or it is not clear which one is meant.
    """
    zones = _zones(options.root)
    if not zones:
        raise DeviceError(
            f"no powercap zones under {options.root}/class/powercap: no such counters, or a virtual machine"
        )
    chosen = {name: zones[name] for name in choose_counters(list(zones), options.channel)}
    for folder in chosen.values():
        for file in _FILES:
            if not is_number(folder / file):
                both = " ".join(f"{options.root}/class/powercap/*/{one}" for one in _FILES)
                raise DeviceError(f"{folder / file} may not be read: sudo chmod a+r {both}")
    return chosen


def available(options: Options) -> str:
    try:
        _chosen(options)
    except DimeError as error:
        return str(error)
    return ""


def open_meter(options: Options) -> Polled:
    """Opens the counters. A row is written when a counter has moved; the columns count on across wrap-arounds.

    Raises:
        DeviceError: There are none, or they may not be read.
        InputError: No such zone, or it is not clear which one is meant.
    """
    zones = _chosen(options)

    def numbers(file: str) -> list[int]:
        try:
            return [int((folder / file).read_text()) for folder in zones.values()]
        except (OSError, ValueError) as error:
            raise DeviceError(f"the RAPL counters stopped answering: {error}") from None

    columns = [name + ENERGY for name in zones]
    counters = Counters(numbers("max_energy_range_uj"))
    return Polled("rapl", columns, lambda: numbers("energy_uj"), options.period_s, "+".join(zones), counters)


def reading(columns: Sequence[str], channel: str) -> Reading:
    return counter_reading(columns, channel)


def series(columns: Sequence[str], read: Reader, channel: str) -> Series:
    return counter_series(columns, read, channel)
