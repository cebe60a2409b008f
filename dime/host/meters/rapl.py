"""The energy counters of Intel and AMD processors, read from the kernel's powercap tree."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dime.contract.errors import DeviceError
from dime.host.meters._base import (
    ENERGY,
    Options,
    Polled,
    Reader,
    Reading,
    Series,
    counter_columns,
    counter_reading,
    counter_series,
    read_text,
)


def _zones(root: str) -> dict[str, Path]:
    """Top zones by name: a package each; a second zone of the same name gets its number."""
    found: dict[str, Path] = {}
    for folder in sorted(Path(root).glob("class/powercap/intel-rapl:[0-9]*")):
        if folder.name.count(":") == 1:
            name = read_text(folder / "name") or folder.name
            found[name if name not in found else f"{name} {folder.name.rsplit(':', 1)[1]}"] = folder
    return found


def available(options: Options) -> str:
    zones = _zones(options.root)
    if not zones:
        return f"no powercap zones under {options.root}/class/powercap: no such counters, or a virtual machine"
    for folder in zones.values():
        if not read_text(folder / "energy_uj"):
            return f"{folder}/energy_uj may not be read: sudo chmod a+r {options.root}/class/powercap/*/energy_uj"
    return ""


def open_meter(options: Options) -> Polled:
    """Opens the counters. A row is written when a counter has moved; the columns count on across wrap-arounds.

    Raises:
        DeviceError: There are none, or they may not be read.
        InputError: No such zone.
    """
    reason = available(options)
    if reason:
        raise DeviceError(reason)
    zones = _zones(options.root)
    names = list(zones)
    columns = [name + ENERGY for name in names]
    counter_columns(columns, options.channel)
    ranges = [int(read_text(folder / "max_energy_range_uj") or 0) for folder in zones.values()]
    raw: list[int] = []
    counted = [0] * len(names)

    def ask() -> list[int] | None:
        try:
            now = [int((folder / "energy_uj").read_text()) for folder in zones.values()]
        except (OSError, ValueError) as error:
            raise DeviceError(f"the RAPL counters stopped answering: {error}") from None
        if raw and now == raw:
            return None
        for place, value in enumerate(now):
            step = value - raw[place] if raw else 0
            counted[place] += step if step >= 0 else step + ranges[place]
        raw[:] = now
        return list(counted)

    return Polled("rapl", "energy", columns, ask, options.period_s)


def reading(columns: Sequence[str], channel: str) -> Reading:
    return counter_reading(columns, channel)


def series(columns: Sequence[str], read: Reader, channel: str) -> Series:
    return counter_series(columns, read, channel)
