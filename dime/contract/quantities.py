"""Numbers with a unit, as people type them: 20ms, 0.2s, 5W, 100MB, 460.8MHz; a bare number is in the unit asked for."""

import re
from decimal import Decimal
from typing import Dict, Iterable, Tuple

from dime.contract.errors import InputError

_NUMBER = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,4})?)\s*(?![eE][+-]?\d)([A-Za-z%\u00b5\u03bc]\S*)\Z")
_DECIMAL = (("n", "1e-9"), ("u", "1e-6"), ("\u00b5", "1e-6"), ("\u03bc", "1e-6"), ("m", "1e-3"), ("", "1"))
_LARGE = (("k", "1e3"), ("M", "1e6"), ("G", "1e9"))


def _family(unit: str, prefixes: Iterable[Tuple[str, str]]) -> Dict[str, Decimal]:
    return {prefix + unit: Decimal(scale) for prefix, scale in prefixes}


# Unit that a bare number has -> every unit that may be typed, in terms of it.
UNITS = {
    "s": dict(_family("s", _DECIMAL), min=Decimal(60), h=Decimal(3600)),
    "J": dict(_family("J", _DECIMAL + _LARGE), Wh=Decimal(3600)),
    "W": _family("W", _DECIMAL[4:] + _LARGE[:1]),
    "mW": {"W": Decimal(1000), "mW": Decimal(1)},
    "B": dict(_family("B", _DECIMAL[5:] + _LARGE), KiB=Decimal(2**10), MiB=Decimal(2**20), GiB=Decimal(2**30)),
    "Hz": _family("Hz", _DECIMAL[5:] + _LARGE),
    "%": {"%": Decimal("0.01")},
    "Mbit/s": {"bit/s": Decimal("1e-6"), "kbit/s": Decimal("1e-3"), "Mbit/s": Decimal(1), "Gbit/s": Decimal(1000)},
}
NAMES = {"s": "seconds", "J": "joules", "W": "watts", "mW": "milliwatts", "B": "bytes", "Hz": "hertz", "%": "a share"}


def plain(text: str, unit: str) -> str:
    """A number as text in the unit that bare numbers have, exactly.

    Args:
        text: What was typed; without a unit it is given back as it is, number or not.
        unit: One of UNITS.

    Returns:
        str: The number alone.

    Raises:
        InputError: It has a unit that is none of those known; the message lists them.
    """
    found = _NUMBER.match(text.strip())
    if not found:
        return text
    scale = UNITS[unit].get(found.group(2))
    if scale is None:
        raise InputError(
            "'{}': {} may end in {}".format(
                text, NAMES.get(unit, unit), ", ".join(sorted(UNITS[unit], key=lambda name: UNITS[unit][name]))
            )
        )
    number = Decimal(found.group(1)) * scale
    return str(int(number)) if number == number.to_integral_value() and abs(number) < 2**63 else str(number)


def whole(text: str, unit: str) -> int:
    """A whole number, such as of bytes.

    Raises:
        InputError: It is none, or has another unit.
    """
    number = plain(text, unit)
    try:
        if not re.match(r"[+-]?\d{1,30}\Z", number.strip()):
            raise ValueError
        return int(number)
    except ValueError:
        raise InputError("'{}' is not a whole number of {}".format(text, NAMES.get(unit, unit)))
