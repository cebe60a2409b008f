"""The energy counters of NVIDIA GPUs, read through NVML (nvidia-ml-py); the driver moves them every 0.1 s or so."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

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
)


def _gpus() -> tuple[Any, dict[str, Any]]:
    """Starts NVML; returns it with the GPUs' handles by name.

    Raises:
        DeviceError: No library, no driver, no GPU, or one too old to count energy.
    """
    try:
        import pynvml
    except ImportError:
        raise DeviceError("the package nvidia-ml-py is not installed") from None
    try:
        pynvml.nvmlInit()
        count = pynvml.nvmlDeviceGetCount()
        gpus = {f"gpu {number}": pynvml.nvmlDeviceGetHandleByIndex(number) for number in range(count)}
    except pynvml.NVMLError as error:
        raise DeviceError(f"no NVIDIA GPU can be asked: {error}") from None
    if not gpus:
        raise DeviceError("no NVIDIA GPU here")
    for name, handle in gpus.items():
        try:
            pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)
        except pynvml.NVMLError as error:
            raise DeviceError(f"{name} does not count its energy ({error}): it takes a Volta or later") from None
    return pynvml, gpus


def available(options: Options) -> str:
    try:
        _gpus()
    except DeviceError as error:
        return str(error)
    return ""


def open_meter(options: Options) -> Polled:
    """Opens the counters. A row is written when a counter has moved, so that rows stand at the driver's own updates.

    Raises:
        DeviceError: No GPU that counts its energy.
        InputError: No such GPU.
    """
    pynvml, gpus = _gpus()
    names = list(gpus)
    columns = [name + ENERGY for name in names]
    counter_columns(columns, options.channel)
    last: list[int] = []

    def ask() -> list[int] | None:
        try:
            now = [1000 * pynvml.nvmlDeviceGetTotalEnergyConsumption(handle) for handle in gpus.values()]
        except pynvml.NVMLError as error:
            raise DeviceError(f"the GPU stopped answering: {error}") from None
        moved = now != last
        last[:] = now
        return now if moved else None

    return Polled("nvml", "energy", columns, ask, options.period_s)


def reading(columns: Sequence[str], channel: str) -> Reading:
    return counter_reading(columns, channel)


def series(columns: Sequence[str], read: Reader, channel: str) -> Series:
    return counter_series(columns, read, channel)
