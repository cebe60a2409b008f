"""A device that this machine stands in for: how its shares of a core stand in tables, and what is said of its numbers.

Tables have hertz where a board has clocks. A stand-in has shares of one core: one per cent stands there as 10 MHz.
"""

from typing import Iterable, Optional

from dime.contract.errors import InputError

HZ_A_PERCENT = 10000000
LEAST_PERCENT, MOST_PERCENT = 1, 100


def hertz(text: str) -> int:
    """What a share such as ``20%`` is in tables.

    Raises:
        InputError: It is no whole share from 1 % to 100 %.
    """
    number = text[:-1].strip() if text.endswith("%") else ""
    if not (number.isdigit() and len(number) < 4 and LEAST_PERCENT <= int(number) <= MOST_PERCENT):
        raise InputError("'{}' is no whole share of a core from 1% to 100%".format(text))
    return int(number) * HZ_A_PERCENT


def percent(frequency_hz: int) -> Optional[int]:
    """The share of a core that a frequency stands for; None where it stands for none."""
    part, rest = divmod(frequency_hz, HZ_A_PERCENT)
    return part if not rest and LEAST_PERCENT <= part <= MOST_PERCENT else None


def told(frequencies_hz: Iterable[int]) -> str:
    """What is to be said wherever the numbers of a stand-in are shown."""
    shares = [str(percent(frequency_hz)) for frequency_hz in frequencies_hz if percent(frequency_hz)]
    listed = " or ".join(filter(None, [", ".join(shares[:-1])] + shares[-1:])) + " %" if shares else "a share"
    text = "this machine held to {} of a core; not a board".format(listed)
    return text if len(shares) < 2 else text + "; 1 % stands as {} MHz".format(HZ_A_PERCENT // 10**6)
