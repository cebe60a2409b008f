"""The energy counters of NVIDIA GPUs, read through NVML (nvidia-ml-py); the driver moves them every 0.1 s or so."""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType

from dime.contract.errors import DeviceError, DimeError
from dime.host.metering.api import (
    ENERGY,
    Counters,
    Polled,
    PolledOptions,
    Reader,
    Reading,
    Series,
    choose_counters,
    counter_reading,
    counter_series,
)
from dime.host.metering.gain import Gain

# "On Fermi and Kepler GPUs the reading is accurate to within +/- 5% of current power draw", NVIDIA's documentation of
# nvmlDeviceGetPowerUsage. Of the later GPUs, which alone count energy, it says nothing; the figure is taken for them.
GAIN = Gain.within(0.05, source="±5 %, which NVIDIA's NVML documentation states for Fermi and Kepler only")


def _gpus(channel: str) -> tuple[ModuleType, dict[str, object]]:
    """Starts NVML; returns it with the handles of the GPUs that are meant, by name.

    Raises:
        DeviceError: No library, no driver, no GPU, or one that is meant is too old to count energy.
        InputError: No such GPU, or there are several and none is named.
    """
    try:
        import pynvml
    except ImportError:
        raise DeviceError("the package nvidia-ml-py is not installed") from None
    try:
        pynvml.nvmlInit()
        count = pynvml.nvmlDeviceGetCount()
    except pynvml.NVMLError as error:
        raise DeviceError(f"no NVIDIA GPU can be asked: {error}") from None
    if not count:
        raise DeviceError("no NVIDIA GPU here")
    known = [f"gpu {number}" for number in range(count)]
    gpus = {}
    for name in choose_counters(known, channel):
        try:
            gpus[name] = pynvml.nvmlDeviceGetHandleByIndex(known.index(name))
            pynvml.nvmlDeviceGetTotalEnergyConsumption(gpus[name])
        except pynvml.NVMLError as error:
            raise DeviceError(f"{name} does not count its energy ({error}): it takes a Volta or later") from None
    return pynvml, gpus


Options = PolledOptions


def available(options: PolledOptions) -> str:
    try:
        _gpus(options.channel)
    except DimeError as error:
        return str(error)
    return ""


def open_meter(options: PolledOptions) -> Polled:
    """Opens the counters. A row is written when a counter has moved, so that rows stand at the driver's own updates.

    Raises:
        DeviceError: No GPU that counts its energy.
        InputError: No such GPU, or there are several and none is named.
    """
    pynvml, gpus = _gpus(options.channel)
    columns = [name + ENERGY for name in gpus]

    def ask() -> list[int]:
        try:
            return [1000 * pynvml.nvmlDeviceGetTotalEnergyConsumption(handle) for handle in gpus.values()]
        except pynvml.NVMLError as error:
            raise DeviceError(f"the GPU stopped answering: {error}") from None

    return Polled("nvml", columns, ask, options.period_s, "+".join(gpus), Counters([0] * len(gpus)))


def reading(columns: Sequence[str], channel: str) -> Reading:
    return counter_reading(columns, channel)


def series(columns: Sequence[str], read: Reader, channel: str) -> Series:
    return counter_series(columns, read, channel)
