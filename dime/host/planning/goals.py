"""What a plan is to make small, and what it must keep to."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cached_property

from dime.contract.errors import InputError, unknown
from dime.contract.quantities import whole
from dime.contract.run import frequencies_by_device, parse_frequencies

GOALS = ("latency", "energy", "throughput", "weighted")
WEIGHTS = 1e-9, 1e9  # beyond these one of the two quantities could not show in a sum
RULES = ("merged", "free", "published")
RULE = RULES[0]  # the default, everywhere


@dataclass(frozen=True)
class Goal:
    """What a plan is to make small.

    Attributes:
        kind: ``latency``; ``energy``; ``throughput``: the time of the slowest stage of a pipeline, in which each device
            holds one contiguous run of layers and each transfer is a stage of its own; ``weighted``: a sum.
        per_s: Weight (or price) of a second, for ``weighted``.
        per_j: Weight of a joule.
    """

    kind: str = "latency"
    per_s: float = 0.0
    per_j: float = 0.0

    def __post_init__(self) -> None:
        if self.kind not in GOALS:
            raise unknown("goal", self.kind, GOALS)
        weights = (self.per_s, self.per_j)
        if self.kind == "weighted" and not (all(math.isfinite(w) and w >= 0 for w in weights) and any(weights)):
            raise InputError(f"weights of a weighted goal must be finite, >= 0 and not both 0, not {weights}")

    @classmethod
    def parse(cls, text: str) -> Goal:
        """Reads a goal as it is typed: ``latency``, ``energy``, ``throughput`` or ``weighted:PER_S,PER_J``."""
        kind, _, weights = text.partition(":")
        if kind != "weighted":
            return cls(text)
        try:
            per_s, per_j = (float(part) for part in weights.split(","))
        except ValueError:
            raise InputError(f"goal '{text}': the form is weighted:PER_S,PER_J, such as weighted:1,0.5") from None
        least, most = WEIGHTS
        for weight in (per_s, per_j):
            if math.isfinite(weight) and weight > 0 and not least <= weight <= most:
                raise InputError(f"goal '{text}': a weight that is not 0 lies in {least:g} to {most:g}")
        return cls(kind, per_s, per_j)

    @property
    def is_pipeline(self) -> bool:
        """Whether the time that counts is a maximum, the slowest stage's, and no sum."""
        return self.kind == "throughput"

    @property
    def time_name(self) -> str:
        """What tables and files call the time that counts: ``latency_s`` or ``period_s``."""
        return "period_s" if self.is_pipeline else "latency_s"

    @property
    def unit(self) -> str:
        """Unit of its value."""
        return {"energy": "J", "weighted": ""}.get(self.kind, "s")

    @cached_property
    def weights(self) -> tuple[int, int]:
        """Integers (a, b) such that a x time + b x energy orders plans as the goal does.

        The time is the latency, or a pipeline's slowest stage.
        """
        if self.kind != "weighted":
            return (0, 1) if self.kind == "energy" else (1, 0)
        parts = Fraction(self.per_s), Fraction(self.per_j)
        scale = math.lcm(*(part.denominator for part in parts))
        return int(parts[0] * scale), int(parts[1] * scale)


@dataclass(frozen=True)
class Limits:
    """What a plan must keep to; the default limits nothing.

    Attributes:
        latency_s: Largest latency.
        energy_j: Largest energy.
        private_layers: Layers that must run on the edge device: the first k (an int), or these names.
        memory_bytes: Device -> most bytes of the layers it holds.
        frequencies_hz: Device, or an empty text for the edge device -> the frequencies it may use.
        max_bundle: Largest number of layers in a bundle.
        rule: ``free``; ``merged``: what a device runs in one go is one bundle, or bundles of the largest size M and
            one rest, since cutting it up changes nothing but which measurements are added; ``published``: a device that
            holds n layers has at most ceil(n / M) bundles.
    """

    latency_s: float | None = None
    energy_j: float | None = None
    private_layers: int | tuple[str, ...] = 0
    memory_bytes: Mapping[str, int] = field(default_factory=dict)
    frequencies_hz: Mapping[str, Collection[int]] = field(default_factory=dict)
    max_bundle: int | None = None
    rule: str = RULE

    def __post_init__(self) -> None:
        if self.rule not in RULES:
            raise unknown("bundle-count rule", self.rule, RULES)
        for name, value in (("latency", self.latency_s), ("energy", self.energy_j)):
            if value is not None and not (math.isfinite(value) and value >= 0):
                raise InputError(f"the limit on {name} must be a finite number >= 0, not {value}")
        if self.max_bundle is not None and self.max_bundle < 1:
            raise InputError(f"the largest bundle must have at least 1 layer, not {self.max_bundle}")

    def named(self, edge: str) -> Limits:
        """The same limits, in which frequencies of the edge device stand under its name."""
        if "" not in self.frequencies_hz:
            return self
        if edge in self.frequencies_hz:
            raise InputError(f"frequencies of {edge} are given twice: with its name and without a name")
        return replace(self, frequencies_hz={name or edge: hertz for name, hertz in self.frequencies_hz.items()})


def parse_limits(
    max_latency_s: float | None = None,
    max_energy_j: float | None = None,
    private: str = "0",
    memory: str = "",
    frequencies: str = "",
    max_bundle: int | None = None,
    rule: str = RULE,
) -> Limits:
    """Reads limits as they are typed.

    Args:
        max_latency_s: Largest latency.
        max_energy_j: Largest energy.
        private: A count of first layers, or names of layers joined by commas.
        memory: ``DEVICE=BYTES``, joined by commas.
        frequencies: ``[DEVICE=]HZ+HZ``, joined by commas; without DEVICE they are the edge device's.
        max_bundle: Largest number of layers in a bundle.
        rule: Bundle-count rule.

    Raises:
        InputError: A part is not of that form, or a value has no use.
    """
    return Limits(
        max_latency_s,
        max_energy_j,
        int(private) if re.fullmatch("[0-9]{1,9}", private) else tuple(name.strip() for name in private.split(",")),
        {device: _whole(text, f"memory of {device}", "B") for device, text in _pairs(memory, "DEVICE=BYTES")},
        {
            device: tuple(hertz)
            for device, text in frequencies_by_device(frequencies).items()
            if frequencies and not isinstance(hertz := parse_frequencies(text), str)
        },
        max_bundle,
        rule,
    )


def _pairs(text: str, form: str) -> list[tuple[str, str]]:
    pairs = [tuple(part.strip().partition("=")[::2]) for part in text.split(",") if part.strip()]
    if not all(name and value for name, value in pairs):
        raise InputError(f"'{text}' is not of the form {form}, joined by commas")
    return [(name, value) for name, value in pairs]


def _whole(text: str, what: str, unit: str) -> int:
    try:
        return int(whole(text, unit))
    except InputError as error:
        raise InputError(f"{what}: {error}") from None
