"""ENCODE=: what crosses is encoded before it is sent, and takes what the profiles have measured of that."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dime.contract import encodings
from dime.contract.encodings import FEATURES, INPUT
from dime.contract.errors import InputError
from dime.host.common.stats import Ints
from dime.host.common.units import clock, plain, quantity

if TYPE_CHECKING:
    from dime.host.profiles.encodings import Encoding
    from dime.host.profiles.profiles import Profile

PS = 10**12
MOST_S = 2**60 / PS  # the check of the problem refuses sums of such


@dataclass(frozen=True)
class Encoded:
    """How the tensor at a boundary is sent.

    Attributes:
        boundary: The boundary; 0 is the input.
        encoding: Such as ``jpeg90``.
        size_bytes: Bytes that are sent: the mean over the pictures, of the devices' the largest.
        most_bytes: The most that one picture takes.
        plain_bytes: Bytes of the tensor itself.
        same_class: Share of the pictures whose first class stays the same; None where the result is no classes.
        distance: How far the network's result is from that without it, as a part of it; None where it is no number.
        images: How many pictures there were.
        origin: Where all this comes from, as of a step.
    """

    boundary: int
    encoding: str
    size_bytes: int
    most_bytes: int
    plain_bytes: int
    same_class: float | None
    distance: float | None
    images: int
    origin: str

    def __str__(self) -> str:
        what = "input" if self.boundary == 0 else f"features before layer {self.boundary}"
        return f"{what} as {self.encoding}, {self.sizes}; {self.effect}"

    @property
    def sizes(self) -> str:
        """Its bytes in words: the mean, the most if that is more, and those of the tensor itself."""
        most = f" on average, up to {self.most_bytes} B" if self.most_bytes > self.size_bytes else ""
        return f"{self.size_bytes} B{most} instead of {self.plain_bytes} B"

    @property
    def effect(self) -> str:
        """What it does to the result, in words."""
        return effect(self.same_class, self.distance, self.images)


def effect(same_class: float | None, distance: float | None, images: int) -> str:
    """What an encoding does to the network's result, in words."""
    kept = "" if same_class is None else f"first class the same in {round(same_class * images)} of {images}"
    off = "" if distance is None else f"result off by {distance:.2g} of it"
    return ", ".join(filter(None, (kept, off))) or "its effect on the result is not known"


def parse(text: str) -> dict[str, str]:
    """Reads ``input:jpeg90,features:float16``: place -> encoding, at most one each.

    Raises:
        InputError: One is not known, or a place has two.
    """
    found: dict[str, str] = {}
    if not text:
        return found
    if text == "all":
        raise InputError("ENCODE=all is for a profile; a plan sends in one way: such as input:jpeg90,features:float16")
    for place, encoding in encodings.parse(text):
        if place in found:
            raise InputError(f"the {place} cannot be sent as {found[place]} and as {encoding}: name one")
        found[place] = encoding
    return found


def find(profiles: Sequence[Profile], sizes: Sequence[int], text: str) -> tuple[Encoded, ...]:
    """How each boundary's tensor is sent, of those that are encoded.

    Args:
        profiles: One a device, the edge device's first.
        sizes: Bytes of the tensor at each boundary.
        text: What ENCODE says.

    Raises:
        InputError: An encoding that is not known, or that a device has not measured.
    """
    found = []
    for place, encoding in parse(text).items() if len(profiles) > 1 else ():
        for boundary in (0,) if place == INPUT else range(1, len(sizes) - 1):
            measured = [_measured(profile, boundary, place, encoding) for profile in profiles]
            for profile, one in zip(profiles, measured, strict=True):
                if one.plain_bytes != sizes[boundary]:
                    raise InputError(
                        f"{profile.path} has encoded {one.plain_bytes} bytes before layer"
                        f" {plain(profile.layers[boundary])}, and {sizes[boundary]} are planned with"
                    )
            edge = measured[0]
            found.append(
                Encoded(
                    boundary,
                    encoding,
                    max(one.encoded_bytes for one in measured),
                    max(one.most_bytes for one in measured),
                    edge.plain_bytes,
                    edge.same_class,
                    edge.distance,
                    edge.images,
                    profiles[0].origin,
                )
            )
    return tuple(sorted(found, key=lambda one: one.boundary))


def _measured(profile: Profile, boundary: int, place: str, encoding: str) -> Encoding:
    one = (profile.encodings or {}).get((boundary, encoding))
    if one is None:
        there = sorted({f"{FEATURES if at else INPUT}:{name}" for at, name in profile.encodings or ()})
        known = f" (measured: {', '.join(there)})" if there else ""
        raise InputError(
            f"ENCODE={place}:{encoding}: the profile of {profile.device} has not measured it{known}; profile it with"
            f" ENCODE={place}:{encoding}"
        )
    for hertz, *times in zip(profile.frequencies_hz, one.encode_s, one.decode_s, strict=True):
        if any(map(math.isnan, times)):
            at = "" if hertz < 0 else f" at {clock(hertz)}"
            raise InputError(f"ENCODE={place}:{encoding}: {profile.device} has not measured it{at}; profile it again")
    return one


def sizes_of(sizes: Sequence[int], encoded: Sequence[Encoded]) -> tuple[int, ...]:
    """Bytes that are sent at each boundary."""
    sent = {one.boundary: one.size_bytes for one in encoded}
    return tuple(sent.get(boundary, size) for boundary, size in enumerate(sizes))


def times_ps(profile: Profile, is_edge: bool, boundaries: int, encoded: Sequence[Encoded]) -> tuple[Ints, Ints, Ints]:
    """What a device takes to decode what arrives, to encode what leaves it, and to encode the input, ps.

    Returns:
        (boundaries, frequencies) twice, and (frequencies). The edge device has the input: it decodes none.
    """
    decode = np.zeros((boundaries, len(profile.frequencies_hz)), np.int64)
    encode, of_input = np.zeros_like(decode), np.zeros(len(profile.frequencies_hz), np.int64)
    for one in encoded:
        measured = (profile.encodings or {})[one.boundary, one.encoding]
        if one.boundary or not is_edge:
            decode[one.boundary] = _picos(measured.decode_s)
        if one.boundary:
            encode[one.boundary] = _picos(measured.encode_s)
        elif is_edge:
            of_input = _picos(measured.encode_s)
    return decode, encode, of_input


def _picos(times_s: Sequence[float]) -> Ints:
    found: Ints = np.rint(np.minimum(times_s, MOST_S) * PS).astype(np.int64)
    return found


def not_encoded(profiles: Sequence[Profile], sizes: Sequence[int]) -> str:
    """How the input is sent where nothing is encoded, and what would tell what sending less gives."""
    measured = [f"{INPUT}:{name}" for at, name in profiles[0].encodings or () if at == 0]
    less = "a profile with ENCODE=all tells what less gives"
    if measured:
        less = f"ENCODE={' or '.join(measured)} sends less"
    return f"it is sent as it was profiled (float32, unless DTYPE= said else), {quantity(sizes[0], 'B')}; {less}"
