"""What the quality file beside a power log holds, and what a meter's gain is in a file."""

from __future__ import annotations

from typing import TypedDict


class GainData(TypedDict):
    """A `gain.Gain` in a file."""

    factor: float
    error: float | None
    source: str


class SleepNoted(TypedDict):
    """A sleep of the logger's computer: the rows before and after it, and its length."""

    before_ns: int
    after_ns: int
    slept_s: float


class HostClock(TypedDict, total=False):
    """The logger's clock: its boot, and what lies between its monotonic clock and the timestamps."""

    boot_id: str | None
    unix_minus_monotonic_ns: int


class PowerQuality(TypedDict, total=False):
    """The quality file; beside a published log there is none, and an earlier version wrote less."""

    state: str
    meter: str
    origin: str
    channel: str
    wire_s: float
    gain: GainData | None
    host_clock: HostClock
    started_utc: str
    ended_by: str
    ended_utc: str
    rows: int
    lines_read: int
    faults: dict[str, int]
    gaps: int
    readings_missing_in_gaps: int
    longest_gap_s: float
    usual_period_s: float
    achieved_period_s: float
    meter_reboots: int
    clock_wraps: int
    late_lines: int
    breaks_ns: list[int]
    sleeps: list[SleepNoted]
    marks: list[dict[str, object]]
    marks_lost: int
