"""encodings.csv -> what each encoding of what crosses a link takes, how many bytes it makes, and what it changes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from dime.contract import tables
from dime.contract.errors import TableError
from dime.host.common import stats
from dime.host.common.stats import Floats


@dataclass(frozen=True)
class Encoding:
    """One encoding of the tensors that enter one layer, as one device measured it.

    Attributes:
        encode_s: Time of a typical encoding at each of the profile's frequencies, s; NaN where it was not measured.
        decode_s: The same of decoding.
        encoded_bytes: Bytes that it makes, the mean over the images, rounded up.
        most_bytes: The most that it made of an image.
        plain_bytes: Bytes of the tensors themselves.
        same_class: Share of the images whose first class stays the same; None where the result is no classes.
        distance: How far the network's result is from that without it, as a part of it, the mean over the images; None
            where it was no number for one.
        images: How many images there were.
        encode_rounds_s: At each frequency every time that was measured, (rounds, images); NaN where it was not.
        decode_rounds_s: The same of decoding.
    """

    encode_s: tuple[float, ...]
    decode_s: tuple[float, ...]
    encoded_bytes: int
    most_bytes: int
    plain_bytes: int
    same_class: float | None
    distance: float | None
    images: int
    encode_rounds_s: tuple[Floats, ...] = field(default=(), compare=False)
    decode_rounds_s: tuple[Floats, ...] = field(default=(), compare=False)


def read(path: str, layers: Sequence[str], frequencies_hz: Sequence[int]) -> dict[tuple[int, str], Encoding]:
    """Reads a run's encodings.

    Args:
        path: encodings.csv.
        layers: The network's layers, in order.
        frequencies_hz: The profile's frequencies.

    Returns:
        By boundary (0 is the network's input) and name of the encoding.

    Raises:
        TableError: It is damaged, or of other layers.
    """
    groups: dict[tuple[int, str], list[tables.Row]] = {}
    for row in tables.read(path, tables.ENCODINGS):
        boundary = row["boundary"]
        if boundary >= len(layers) or layers[boundary] != row["layer"]:
            raise TableError(f"{path}: layer {boundary} is not '{row['layer'][:100]}' in this network")
        groups.setdefault((boundary, row["encoding"]), []).append(row)
    return {key: _encoding(rows, frequencies_hz, path) for key, rows in sorted(groups.items())}


def _encoding(rows: Sequence[tables.Row], frequencies_hz: Sequence[int], path: str) -> Encoding:
    of_image = {row["image"]: row for row in rows}
    plain = {row["plain_bytes"] for row in rows}
    if len(plain) > 1:
        layer = rows[0]["layer"][:100]
        raise TableError(f"{path}: the tensor into layer '{layer}' has {min(plain)} and {max(plain)} bytes")
    sizes = [row["encoded_bytes"] for row in of_image.values()]
    same = [row["same_class"] for row in of_image.values()]
    distances = [row["distance"] for row in of_image.values()]
    return Encoding(
        encode_s=_typical(rows, "encode_s", frequencies_hz),
        decode_s=_typical(rows, "decode_s", frequencies_hz),
        encoded_bytes=math.ceil(sum(sizes) / len(sizes)),
        most_bytes=max(sizes),
        plain_bytes=plain.pop(),
        same_class=None if None in same else sum(same) / len(same),
        distance=None if None in distances else sum(distances) / len(distances),
        images=len(of_image),
        encode_rounds_s=_rounds(rows, "encode_s", frequencies_hz),
        decode_rounds_s=_rounds(rows, "decode_s", frequencies_hz),
    )


def _typical(rows: Sequence[tables.Row], name: str, frequencies_hz: Sequence[int]) -> tuple[float, ...]:
    found = []
    for frequency_hz in frequencies_hz:
        times: Floats = np.array([row[name] for row in rows if row["frequency_hz"] == frequency_hz])
        found.append(float(stats.trimmed_mean(times, np.array([0, len(times)]))[0]) if len(times) else math.nan)
    return tuple(found)


def _rounds(rows: Sequence[tables.Row], name: str, frequencies_hz: Sequence[int]) -> tuple[Floats, ...]:
    images = {image: at for at, image in enumerate(dict.fromkeys(row["image"] for row in rows))}
    found = []
    for frequency_hz in frequencies_hz:
        its = [row for row in rows if row["frequency_hz"] == frequency_hz]
        rounds = {run: at for at, run in enumerate(sorted({row["run"] for row in its}))}
        times = np.full((len(rounds), len(images)), np.nan)
        for row in its:
            times[rounds[row["run"]], images[row["image"]]] = row[name]
        found.append(times)
    return tuple(found)
