"""Quantities as people read them: three digits and a prefix."""

from __future__ import annotations

import math

_PREFIXES = ((1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""), (1e-3, "m"), (1e-6, "µ"), (1e-9, "n"), (1e-12, "p"))


def quantity(value: float | None, unit: str) -> str:
    """Writes a quantity, such as ``67.3 ms`` or ``36.9 kB``.

    Args:
        value: The quantity in its SI unit; None is written as a dash.
        unit: ``s``, ``J``, ``Hz``, ``B``, ``bit/s`` or none, which takes no prefix. Seconds
            from 1000 on keep theirs.
    """
    if value is None:
        return "–"
    size = abs(value)
    if not unit:
        return f"{value:.3g}"
    if unit == "B" and size < 1000:
        return f"{value:.0f} B"
    if size == 0 or not math.isfinite(size):
        return f"{value:g} {unit}".strip()
    largest = 1.0 if unit == "s" else 1e9
    factor, prefix = next(((f, p) for f, p in _PREFIXES if f <= largest and float(f"{size:.3g}") >= f), (1e-12, "p"))
    digits = max(0, 2 - math.floor(math.log10(float(f"{size / factor:.3g}"))))
    return f"{value / factor:.{digits}f} {prefix}{unit}".strip()


def clock(frequency_hz: int) -> str:
    """Writes a frequency; -1 is ``clock left alone``."""
    return "clock left alone" if frequency_hz < 0 else quantity(frequency_hz, "Hz")


def share(part: float | None) -> str:
    """Writes a share, 0.123 as ``12.3 %``; None as a dash."""
    if part is None:
        return "–"
    text = f"{100 * part:.1f}"
    return ("0.0" if text == "-0.0" else text) + " %"


def percent(part: float) -> str:
    """Writes a share in three digits at most, neither as 0 nor as 100 % unless it is; large ones as a multiple."""
    if part > 1000:
        return ">1000 times"
    if part >= 10:
        return f"{float(f'{part:.3g}'):g} times"
    if 0 < part < 0.0005:
        return "<0.1 %"
    return ">99.9 %" if 0.9995 <= part < 1 else f"{100 * part:.3g} %"


def plain(text: object) -> str:
    """A name fit for a terminal: characters that would steer it are shown as ``?``."""
    return "".join(char if char.isprintable() else "?" for char in str(text))
