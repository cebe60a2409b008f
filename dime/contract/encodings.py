"""What crosses a link may be encoded: how a person names encodings, on a device and where a plan is made."""

import re
from typing import NamedTuple, Tuple

from dime.contract.errors import InputError

Choice = NamedTuple("Choice", [("place", str), ("encoding", str)])
Choice.__doc__ = "An encoding of the network's input, or of the features between its layers."

INPUT, FEATURES = "input", "features"
KNOWN = {
    INPUT: "float16, uint8 (levels of a picture), jpeg1 to jpeg100 (its quality)",
    FEATURES: "float16, uint8 (steps between a tensor's least and greatest value)",
}
ALL = "input:uint8,input:jpeg90,features:float16,features:uint8"


def parse(text: str) -> Tuple[Choice, ...]:
    """Reads encodings: ``input:jpeg90,features:float16``, or ``all`` for those that are measured by default.

    Raises:
        InputError: One is not known, or is there twice.
    """
    found = []
    for part in (ALL if text == "all" else text).split(","):
        place, colon, encoding = part.strip().partition(":")
        if place not in KNOWN or not colon:
            raise InputError(
                "'{}' is no encoding such as input:jpeg90 or features:float16; places: {}".format(
                    part.strip()[:60], ", ".join(KNOWN)
                )
            )
        if encoding not in ("float16", "uint8") and not (place == INPUT and quality(encoding)):
            raise InputError("unknown encoding of {} '{}'; known: {}".format(place, encoding[:60], KNOWN[place]))
        found.append(Choice(place, encoding))
    if len(set(found)) < len(found):
        raise InputError("an encoding is there twice in '{}'".format(text[:60]))
    return tuple(found)


def quality(encoding: str) -> int:
    """The quality of ``jpeg90``, from 1 to 100; 0 for what is no such encoding."""
    digits = re.match(r"jpeg([1-9][0-9]?|100)\Z", encoding)
    return int(digits.group(1)) if digits else 0


def is_of(choice: Choice, boundary: int) -> bool:
    """Whether a choice is of a boundary: 0 is the network's input."""
    return (choice.place == INPUT) == (boundary == 0)
