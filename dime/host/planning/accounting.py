"""Whose joules count, and which terms of a plan's cost."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dime.contract.errors import InputError, unknown

if TYPE_CHECKING:
    from dime.host.profiles.profiles import Profile

WAITING, RADIO_STATES, PROTOCOL = "waiting", "radio states", "protocol"
COPIES, FREQUENCY_CHANGE, ENCODING, OVERHEAD = "copies", "frequency change", "encoding", "overhead"
TERMS = (WAITING, RADIO_STATES, PROTOCOL, COPIES, FREQUENCY_CHANGE, ENCODING, OVERHEAD)
EDGE, ALL, KNOWN, NONE = "edge", "all", "known", "none"


@dataclass(frozen=True)
class Accounting:
    """Whose joules count, and which terms.

    Attributes:
        joules: ``edge``: those of the weak device; ``all``: of all devices; or devices' names joined by commas.
        terms: ``known``: all that are known, but for numbers that were not checked against their source; ``all``:
            these, too; ``none``; or names of TERMS joined by commas, checked or not.
        idle_power_w: Models the weak device's power while it waits, where no meter has measured it.
        connection: ``kept``, or ``new``: each transfer begins with a connection's round trip.
        encode: How the input, and the features between layers, are encoded before they are sent, such as
            ``input:jpeg90,features:float16``; empty: not at all.
    """

    joules: str = EDGE
    terms: str = KNOWN
    idle_power_w: float | None = None
    connection: str = "kept"
    encode: str = ""

    def __post_init__(self) -> None:
        if self.connection not in ("kept", "new"):
            raise unknown("kind of connection", self.connection, ("kept", "new"))
        if self.idle_power_w is not None and not (math.isfinite(self.idle_power_w) and self.idle_power_w >= 0):
            raise InputError(f"a power must be a finite number of watts >= 0, not {self.idle_power_w}")
        chosen = self.chosen  # a wrong name is refused at once
        if not self.encode:
            return
        from dime.host.planning import encoded  # needs numpy, which help does not wait for

        if encoded.parse(self.encode) and ENCODING not in chosen:
            raise InputError(f"ENCODE={self.encode} asks for the term {ENCODING}, which TERMS={self.terms} leaves out")

    @property
    def chosen(self) -> frozenset[str]:
        """The terms that may count."""
        if self.terms in (KNOWN, ALL):
            return frozenset(TERMS)
        names = [] if self.terms == NONE else [name.strip().replace("_", " ") for name in self.terms.split(",")]
        for name in names:
            if name not in TERMS:
                raise unknown("term", name, (KNOWN, ALL, NONE, *TERMS))
        return frozenset(names)

    def counted(self, profiles: Sequence[Profile]) -> tuple[bool, ...]:
        """For each device whether its joules count.

        Raises:
            InputError: A named device is none of them, or its profile has no energy.
        """
        names = [profile.device for profile in profiles]
        if self.joules == EDGE and EDGE not in names[1:]:
            return tuple(at == 0 for at in range(len(names)))
        if self.joules == ALL and ALL not in names:
            return (True,) * len(names)
        asked = [name.strip() for name in self.joules.split(",")]
        for name in asked:
            if name not in names:
                raise unknown("device whose joules count", name, (EDGE, ALL, *names))
            profile = profiles[names.index(name)]
            if profile.run_energy_j is None:
                raise InputError(f"the profile of {name} has no energy, and its joules are to count: join its power")
        return tuple(name in asked for name in names)
