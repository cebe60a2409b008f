"""Judges a meter by what it reads: whether its values are a device's power, of which part, and change with its load."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from dime.contract import plugins
from dime.contract.errors import DimeError
from dime.host.common.stats import Ints
from dime.host.metering import meters
from dime.host.metering.api import FLOAT, Meter, Sample, Series, kind_of_options, now_ns

# What a device that runs uses, and by how much it uses more with all its processors busy.
LEAST_W, MOST_W = 0.05, 3000.0
LEAST_RISE, LEAST_RISE_W = 0.05, 0.05
# Means over so long are compared.
STRETCH_S = 1.0


@dataclass(frozen=True)
class Verdict:
    """Whether a meter's values can be the device's power, and what they are or what is wrong."""

    works: bool
    text: str


def try_meter(
    name: str, given: Mapping[str, object], seconds: float, busy: Callable[[], object] | None = None
) -> Verdict:
    """Reads a meter for a while, and meanwhile has the device work.

    Args:
        name: The meter's plug-in.
        given: Its options, as in the lab file.
        seconds: How long to read the device as it is.
        busy: Keeps all processors of the device busy for some seconds; None: it is not tried.

    Returns:
        The verdict; whatever is wrong is one.
    """
    try:
        plugin = plugins.load(meters, name)
        options = kind_of_options(plugin).of(**given)
        if reason := plugin.available(options):
            return Verdict(False, f"{name}: {reason}")
        meter = plugin.open_meter(options)
        busy = None if meter.origin == "replayed" else busy
        try:
            rows, rest_until_ns, trouble = _read(meter, seconds, busy)
            silence = meter.silence()
        finally:
            meter.close()
        if not rows:
            return Verdict(False, f"{name}: {silence}")
        series = as_series(meter, rows)
    except DimeError as error:
        return Verdict(False, str(error))
    times_ns = np.array([row.timestamp_ns for row in rows], dtype=np.int64)
    rate = f"{int((times_ns <= rest_until_ns).sum()) / seconds:.0f} readings a second"
    of = f" of {series.channel}" if series.channel else ""
    found = judge(series, times_ns, rest_until_ns if busy and not trouble and _moves(name, series.channel) else None)
    text = f"{found.text}; not tried under load: {trouble}" if trouble else found.text
    return Verdict(found.works, f"{name}{of}: {rate}, {text}")


def _moves(name: str, channel: str) -> bool:
    """Whether busy processors must show; a GPU's own power does not follow them."""
    return name != "nvml" and not all("GPU" in part and "CPU" not in part for part in channel.split("+"))


def _read(meter: Meter, seconds: float, busy: Callable[[], object] | None) -> tuple[list[Sample], int, str]:
    """Rows without breaks, until when the device was left as it is, and why it could not be made busy."""
    rows: list[Sample] = []
    failures: list[DimeError] = []
    over = threading.Event()

    def read() -> None:
        try:
            while not over.is_set():
                rows.extend(row for row in meter.read() if not row.breaks)
        except DimeError as error:
            failures.append(error)

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    trouble = ""
    try:
        until_s = time.monotonic() + seconds
        while thread.is_alive() and time.monotonic() < until_s:
            time.sleep(0.05)
        rest_until_ns = now_ns()
        if busy is not None and rows and not failures:
            try:
                busy()
            except DimeError as error:
                trouble = str(error)
    finally:
        over.set()
        thread.join()
    if failures:
        raise failures[0]
    return rows, rest_until_ns, trouble


def as_series(meter: Meter, rows: Sequence[Sample]) -> Series:
    """The rows as a join would read them; what a join would refuse is refused.

    Raises:
        DimeError: No such channel, it is not clear which one is meant, or it was off all the time.
    """
    table = np.array([[int(field, 16) if _is_hex(field) else int(field) for field in _fields(row)] for row in rows])
    columns = list(meter.columns)

    def read(names: Sequence[str]) -> dict[str, FLOAT]:
        return {name: table[:, columns.index(name)] for name in names}

    found: Series = plugins.load(meters, meter.writes).series(columns, read, meter.channel)
    return found


def _fields(row: Sample) -> list[str]:
    return row.text.split(",")


def _is_hex(field: str) -> bool:
    return not field.lstrip("-").isdigit()


def judge(series: Series, times_ns: Ints, rest_until_ns: int | None = None) -> Verdict:
    """Judges readings.

    Args:
        series: The readings.
        times_ns: Their moments.
        rest_until_ns: Until when the device was left as it is; later its processors were busy. None: it always was.

    Returns:
        The verdict.
    """
    on = series.on & np.isfinite(series.value)
    time_s, value = (times_ns[on] - times_ns[0]) * 1e-9, series.value[on]
    if series.kind == "energy":
        rises = np.diff(time_s) > 0
        value, time_s = (np.diff(value)[rises] / np.diff(time_s)[rises]), time_s[1:][rises]
    if not len(value):
        return Verdict(False, "none with a value")
    until_s = math.inf if rest_until_ns is None else (rest_until_ns - int(times_ns[0])) * 1e-9
    rest = value[time_s <= until_s]
    rest_w = float(rest.mean()) if len(rest) else math.nan
    if not LEAST_W <= rest_w <= MOST_W:
        return Verdict(
            False,
            f"{rest_w:.3g} W: a device that runs uses {LEAST_W:g} to {MOST_W:g} W; is it another channel?",
        )
    if rest_until_ns is None:
        return Verdict(True, f"{rest_w:.3g} W")
    busy_w = _highest_w(time_s[time_s > until_s], value[time_s > until_s])
    told = f"{rest_w:.3g} W at rest, {busy_w:.3g} W with all processors busy"
    if not busy_w - rest_w >= max(LEAST_RISE * rest_w, LEAST_RISE_W):
        return Verdict(False, f"{told}: it does not follow the load; is it another device's, or another part's?")
    return Verdict(True, told)


def _highest_w(time_s: FLOAT, value: FLOAT) -> float:
    """Highest mean over a stretch: when exactly the device was busy is not known."""
    if not len(value):
        return math.nan
    sums = np.append(0.0, np.cumsum(value))
    ends = np.searchsorted(time_s, time_s + STRETCH_S)
    whole = np.flatnonzero(time_s + STRETCH_S <= time_s[-1])
    if not len(whole):
        return float(value.mean())
    return float(((sums[ends[whole]] - sums[whole]) / (ends[whole] - whole)).max())
