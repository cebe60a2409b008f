"""A quantity: something of which every option of a bundle and every crossing has an amount."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

Table = npt.NDArray[Any]  # Any: integers for a search; floats where nothing but a sum is asked for


@dataclass(frozen=True, eq=False)
class Quantity:
    """Amounts of the options and of the crossings; a plan's is their sum.

    Attributes:
        name: Its name, such as ``latency``.
        unit: Unit of the amounts, such as ``ps``.
        of_devices: For each device (bundles, frequencies), or (replicates, bundles, frequencies).
        crossing: (N + 1, devices, devices).
        contextual: Whether each of these arrays has one more axis before its last ones: the contexts of a part of a
            plan, on which its amount depends (``states``).
        half_duplex: Pairs of devices between which both ways are one stage.
        most: Largest amount that a plan may have, or None.
        slowest: Whether a plan's amount is a maximum instead: the largest sum that one device has altogether, or one
            link one way.
        at_input: What the edge device itself does of each crossing by which the input leaves it, which counts to that
            device's stage; a number, or one a replicate.
    """

    name: str
    unit: str
    of_devices: Sequence[Table]
    crossing: Table
    most: int | None = None
    slowest: bool = False
    contextual: bool = False
    half_duplex: tuple[tuple[int, int], ...] = ()
    at_input: Table | int = 0
