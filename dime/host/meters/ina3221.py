"""The power monitor on a Jetson's own board, read from the kernel: JetPack 4's iio form, or hwmon from JetPack 5 on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dime.contract.errors import DeviceError, TableError
from dime.host.meters._base import Options, Polled, Reader, Reading, Series, choose_channel, read_text

_IIO = "bus/i2c/drivers/ina3221x/*/iio:device*"
_HWMON = "bus/i2c/drivers/ina3221/*/hwmon/hwmon*"


class Rail(NamedTuple):
    """One supply rail: its name and the files that hold its voltage in mV, its current in mA, and its power in mW."""

    name: str
    voltage: Path
    current: Path
    power: Path | None


def rails(root: str) -> list[Rail]:
    """Finds the rails, in the order of their numbers; the first is the whole module's input."""
    found = []
    for folder in sorted(Path(root).glob(_IIO)):
        for label in sorted(folder.glob("rail_name_*")):
            number = label.name.rsplit("_", 1)[1]
            voltage, current, power = (folder / f"in_{what}{number}_input" for what in ("voltage", "current", "power"))
            found.append(Rail(read_text(label), voltage, current, power))
    for folder in sorted(Path(root).glob(_HWMON)):
        for label in sorted(folder.glob("in*_label")):
            number = label.name[2:].split("_")[0]
            if (folder / f"curr{number}_input").exists():
                voltage, current = folder / f"in{number}_input", folder / f"curr{number}_input"
                found.append(Rail(read_text(label), voltage, current, None))
    return found


def available(options: Options) -> str:
    found = rails(options.root)
    if not found:
        return f"no INA3221 under {options.root}/bus/i2c/drivers: not a Jetson, or /sys is not the host's"
    unreadable = [str(rail.current) for rail in found if not read_text(rail.current)]
    return f"{unreadable[0]} may not be read" if unreadable else ""


def open_meter(options: Options) -> Polled:
    """Opens the monitor.

    Raises:
        DeviceError: There is none, or it may not be read.
        InputError: No such rail.
    """
    reason = available(options)
    if reason:
        raise DeviceError(reason)
    found = rails(options.root)
    names = [rail.name for rail in found]
    choose_channel(options.channel, names, names[0])
    columns = [f"{name} {what}" for name in names for what in ("voltage (mV)", "current (mA)", "power (mW)")]

    def ask() -> list[int]:
        values: list[int] = []
        try:
            for rail in found:
                voltage, current = int(rail.voltage.read_text()), int(rail.current.read_text())
                power = int(rail.power.read_text()) if rail.power else voltage * current // 1000
                values += (voltage, current, power)
        except (OSError, ValueError) as error:
            raise DeviceError(f"the INA3221 stopped answering: {error}") from None
        return values

    return Polled("ina3221", "power", columns, ask, options.period_s)


def _rail(columns: Sequence[str], channel: str) -> list[str]:
    """Columns of a rail's voltage and current."""
    suffix = " current (mA)"
    known = [name.removesuffix(suffix) for name in columns if name.endswith(suffix)]
    if not known:
        raise TableError(f"no column ends with '{suffix}'")
    rail = choose_channel(channel, known, known[0])
    if f"{rail} voltage (mV)" not in columns:
        raise TableError(f"lacks the column {rail} voltage (mV)")
    return [f"{rail} voltage (mV)", f"{rail} current (mA)"]


def reading(columns: Sequence[str], channel: str) -> Reading:
    """Reads rows of one rail."""
    voltage, current = (list(columns).index(name) for name in _rail(columns, channel))
    return lambda fields: (int(fields[voltage]) * int(fields[current]) * 1e-6, int(fields[voltage]) * 1e-6)


def series(columns: Sequence[str], read: Reader, channel: str) -> Series:
    """Reads one rail of a log; the step of its current is the smallest one that the log shows, at least 1 mA."""
    names = _rail(columns, channel)
    table = read(names)
    voltage, current = table[names[0]], table[names[1]]
    steps = np.diff(np.unique(current))
    step = max(1.0, float(steps.min())) if len(steps) else 1.0
    rail = names[0].removesuffix(" voltage (mV)")
    return Series(rail, "power", False, voltage * current * 1e-6, voltage * step * 1e-6, np.ones(len(current), bool))
