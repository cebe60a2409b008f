"""The power monitor on a Jetson's own board, read from the kernel: JetPack 4's iio form, or hwmon from JetPack 5 on.

With no rail named it is the whole module's power where a board's rails are known (`TOTALS`), and never a part of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dime.contract.errors import DeviceError, DimeError, TableError
from dime.host.common.options import option
from dime.host.metering import api
from dime.host.metering.api import Polled, Reader, Reading, Series, choose_parts, is_number, read_text
from dime.host.metering.gain import Gain

# Gain error of the shunt's voltage and of the bus voltage, at most 0.25 % each: Texas Instruments, data sheet SBOS576,
# electrical characteristics. The board's shunt and the chip's offset of up to 80 uV come on top; nobody states the
# shunt's.
GAIN = Gain.within(0.0025, 0.0025, source="0.25 % for each of voltage and current, the shunt apart (TI, SBOS576)")
_IIO = "bus/i2c/drivers/ina3221x/*/iio:device*"
_HWMON = "bus/i2c/drivers/ina3221/*/hwmon/hwmon*"
# The rails whose sum is the module's input power; the first line counts all of whose rails a board has.
TOTALS = (
    # TX2, Xavier NX, Orin NX, Orin Nano: "VDD_IN is the total power of module" (NVIDIA's forum, thread 200883).
    ("VDD_IN",),
    # Nano, TX1: "POM_5V_IN measures the overall 5V input", GPU and CPU are parts of it (jetson_stats, issue 51).
    ("POM_5V_IN",),
    # AGX Orin has no rail for its input; its four rails are labelled in Linux's tegra234-p3701.dtsi, and the first
    # is a third of the whole (jetson_stats, issue 344).
    ("VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0", "VDDQ_VDD2_1V8AO"),
    # AGX Xavier: six supplies beside each other (its design guide DG-09840-001, power monitor; NVIDIA's forum, 81016).
    ("GPU", "CPU", "SOC", "CV", "VDDRQ", "SYS5V"),
)


class Rail(NamedTuple):
    """One supply rail: its name and the files that hold its voltage in mV and its current in mA."""

    name: str
    voltage: Path
    current: Path


def rails(root: str) -> list[Rail]:
    """Finds the rails in the order of their numbers, but for those that are not connected (NC)."""
    found = []
    for folder in sorted(Path(root).glob(_IIO)):
        for label in sorted(folder.glob("rail_name_*")):
            number = label.name.rsplit("_", 1)[1]
            voltage, current = (folder / f"in_{what}{number}_input" for what in ("voltage", "current"))
            found.append(Rail(read_text(label), voltage, current))
    for folder in sorted(Path(root).glob(_HWMON)):
        for label in sorted(folder.glob("in*_label")):
            number = label.name[2:].split("_")[0]
            if (folder / f"curr{number}_input").exists():
                found.append(Rail(read_text(label), folder / f"in{number}_input", folder / f"curr{number}_input"))
    return [rail for rail in found if rail.name not in ("", "NC") and rail.name.isprintable() and "," not in rail.name]


def _choose(known: Sequence[str], channel: str) -> list[str]:
    total = next((rails for rails in TOTALS if set(rails) <= set(known)), ())
    return choose_parts(channel, known, total)


@dataclass(frozen=True)
class Options(api.PolledOptions):
    """What this meter can be told."""

    root: str = option("Where /sys is found.", "/sys")


def _chosen(options: Options) -> list[Rail]:
    """The rails that are meant.

    Raises:
        DeviceError: There are none, or one may not be read.
        InputError: No such rail, or it is not clear which one is meant.
    """
    every = rails(options.root)
    if not every:
        raise DeviceError(f"no INA3221 under {options.root}/bus/i2c/drivers: not a Jetson, or /sys is not the host's")
    found = {rail.name: rail for rail in every}
    if len(found) < len(every):
        raise DeviceError(f"two rails have one name: {', '.join(rail.name for rail in every)}")
    chosen = [found[name] for name in _choose(list(found), options.channel)]
    for rail in chosen:
        for path in (rail.voltage, rail.current):
            if not is_number(path):
                raise DeviceError(f"{path} may not be read")
    return chosen


def available(options: Options) -> str:
    try:
        _chosen(options)
    except DimeError as error:
        return str(error)
    return ""


def open_meter(options: Options) -> Polled:
    """Opens the monitor.

    Raises:
        DeviceError: There is none, or it may not be read.
        InputError: No such rail, or it is not clear which one is meant.
    """
    chosen = _chosen(options)
    names = [rail.name for rail in chosen]
    columns = [f"{name} {what}" for name in names for what in ("voltage (mV)", "current (mA)", "power (mW)")]

    def ask() -> list[int]:
        values: list[int] = []
        try:
            for rail in chosen:
                voltage, current = int(rail.voltage.read_text()), int(rail.current.read_text())
                values += (voltage, current, voltage * current // 1000)
        except (OSError, ValueError) as error:
            raise DeviceError(f"the INA3221 stopped answering: {error}") from None
        return values

    return Polled("ina3221", columns, ask, options.period_s, "+".join(names))


def _rails(columns: Sequence[str], channel: str) -> list[tuple[str, str, str]]:
    """Name, voltage's column and current's column of each rail that is meant."""
    suffix = " current (mA)"
    known = [name.removesuffix(suffix) for name in columns if name.endswith(suffix)]
    if not known:
        raise TableError(f"no column ends with '{suffix}'")
    chosen = [(rail, f"{rail} voltage (mV)", rail + suffix) for rail in _choose(known, channel)]
    for _, voltage, _ in chosen:
        if voltage not in columns:
            raise TableError(f"lacks the column {voltage}")
    return chosen


def reading(columns: Sequence[str], channel: str) -> Reading:
    """Reads rows of the sum of the rails that are meant."""
    names = list(columns)
    places = [(names.index(voltage), names.index(current)) for _, voltage, current in _rails(columns, channel)]

    def watts(fields: Sequence[str]) -> tuple[float, float]:
        values = [(int(fields[voltage]), int(fields[current])) for voltage, current in places]
        steps = [voltage * 1e-6 for voltage, _ in values]
        return sum(voltage * current for voltage, current in values) * 1e-6, float(np.hypot.reduce(steps))

    return watts


def series(columns: Sequence[str], read: Reader, channel: str) -> Series:
    """Reads rails of a log; the step of a rail's current is the smallest one that the log shows, at least 1 mA."""
    chosen = _rails(columns, channel)
    table = read([column for _, *both in chosen for column in both])
    value, square = np.zeros(0), np.zeros(0)
    for number, (_, voltage_column, current_column) in enumerate(chosen):
        voltage, current = table[voltage_column], table[current_column]
        steps = np.diff(np.unique(current))
        step = max(1.0, float(steps.min())) if len(steps) else 1.0
        watts, step_w = voltage * current * 1e-6, voltage * step * 1e-6
        value, square = (value + watts, square + step_w**2) if number else (watts, step_w**2)
    name = "+".join(rail for rail, *_ in chosen)
    return Series(name, "power", False, value, np.sqrt(square), np.ones(len(value), bool))
