"""What all static pictures are made of: palette, style, textures of the origins, axes and legends."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal, TypedDict

from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, StrMethodFormatter

from dime.host.common.units import quantity
from dime.host.report import model

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.typing import RcKeyType

# Okabe and Ito's palette, which people with any form of colour vision can tell apart.
COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00")
SENT = "#9aa4ae"
HATCHES = {"measured": "", "replayed": "...", "emulated": "---", "modelled": "////"}
MARKERS = {"measured": "o", "replayed": ">", "emulated": "s", "modelled": "D"}
ORIGINS = tuple(MARKERS)
DEVICE_MARKERS = "os^vPX"
STYLE: dict[RcKeyType, object] = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e3e6e9",
    "hatch.linewidth": 0.4,
    "hatch.color": "white",
    "legend.frameon": False,
    "legend.fontsize": 8,
    "svg.hashsalt": "dime",
    "svg.fonttype": "path",
    "text.parse_math": False,
}
WIDTH_IN = 7.0
Origin = Literal["origin", "energy_origin"]
Cost = Literal["latency_s", "energy_j"]
CHOSEN = "#7a1f5c"


class Fill(TypedDict):
    """How a bar is filled."""

    color: str
    hatch: str
    edgecolor: str
    linewidth: float


class Ink(TypedDict):
    """How text is drawn on a colour."""

    color: str
    bbox: dict[str, object]


def new_figure(height_in: float) -> tuple[Figure, Axes]:
    """A figure of a page's width with one pair of axes."""
    figure = Figure(figsize=(WIDTH_IN, height_in), layout="constrained")
    return figure, figure.subplots()


def finished(data: model.Report, figure: Figure) -> Figure:
    """Writes below the picture where its numbers come from."""
    origins = []
    for device in data["devices"]:
        energy = device["energy_origin"]
        model = f" ({device['energy_model']})" if device["energy_model"] else ""
        origins.append(f"{device['name']}: time {device['origin']}" + (f", energy {energy}{model}" if energy else ""))
    figure.supxlabel(" · ".join([*origins, "transfers modelled"]), fontsize=7, color="#5b6570")
    return figure


def heading(data: model.Report, link: model.Link) -> str:
    """Network and link."""
    return f"{network(data)}, {link['name']}"


def network(data: model.Report) -> str:
    """The network, with its batch where that is more than one."""
    return f"{data['network']}, batch of {data['batch']}" if data["batch"] > 1 else data["network"]


def place(data: model.Report, device: str) -> int:
    """A device's place in their order, by which it is coloured."""
    return [one["name"] for one in data["devices"]].index(device)


def per_picture(data: model.Report, plan: model.Plan) -> str:
    """What a plan costs for one input of its batch, in words; empty where a batch is one."""
    batch = data["batch"]
    if batch == 1:
        return ""
    energy = f", {quantity(plan['energy_j'] / batch, 'J')}" if plan["energy_j"] else ""
    return f"; {quantity(plan['latency_s'] / batch, 's')}{energy} a picture"


def weakest(data: model.Report, steps: Sequence[model.Step], names: Sequence[Origin]) -> str:
    """The origin that is furthest from a measurement, among what some steps run on."""
    found = [data["devices"][place(data, step["device"])][name] for step in steps for name in names]
    return ORIGINS[max((ORIGINS.index(origin) for origin in found if origin), default=0)]


def room(limit: Callable[[float, float], object], values: Sequence[float]) -> None:
    """Limits of an axis around some values; equal ones, but for their last digits, are not drawn apart."""
    low, high = min(values), max(values)
    margin = max(0.05 * (high - low), 0.01 * abs(high))
    limit(low - margin, high + margin)


def whiskers(
    axes: Axes,
    x: Sequence[float],
    y: Sequence[float],
    intervals: Sequence[model.PlanInterval | None],
    faint: bool = False,
) -> None:
    """The intervals of some points, where there are any."""
    bars = [
        (a, b, interval["time_s"], interval["energy_j"])
        for a, b, interval in zip(x, y, intervals, strict=True)
        if interval and interval["energy_j"]
    ]
    if not bars:
        return
    axes.errorbar(
        [a for a, *_ in bars],
        [b for _, b, *_ in bars],
        xerr=_errors([(a, time_s) for a, _, time_s, _ in bars]),
        yerr=_errors([(b, energy_j) for _, b, _, energy_j in bars]),
        fmt="none",
        ecolor="#5b6570",
        elinewidth=0.6,
        capsize=0 if faint else 1.5,
        alpha=0.3 if faint else 1.0,
        zorder=1,
    )


def _errors(values: Sequence[tuple[float, model.Interval]]) -> list[list[float]]:
    """How far each interval reaches below its value, and above."""
    return [
        [max(0.0, value - interval["low"]) for value, interval in values],
        [max(0.0, interval["high"] - value) for value, interval in values],
    ]


def cost_parts(data: model.Report, plan: model.Plan, cost: Cost) -> list[tuple[str | None, float]]:
    """Time or energy of each device, then of the transfers (None), where there is any."""
    parts: list[tuple[str | None, float]] = [
        (device["name"], sum(step[cost] or 0.0 for step in plan["steps"] if step["device"] == device["name"]))
        for device in data["devices"]
    ]
    parts.append((None, (plan["communication_s"] if cost == "latency_s" else plan["radio_j"]) or 0.0))
    return [(device, value) for device, value in parts if value]


def texture(data: model.Report, device: str | None, origin: Origin) -> Fill:
    """How a bar of a device, or of transfers, is filled: its colour, and the hatching of its origin."""
    if device is None:
        return {"color": SENT, "hatch": HATCHES["modelled"], "edgecolor": "white", "linewidth": 0.4}
    at = place(data, device)
    hatch = HATCHES[data["devices"][at][origin] or "measured"]
    return {"color": COLOURS[at % len(COLOURS)], "hatch": hatch, "edgecolor": "white", "linewidth": 0.4}


def ink(data: model.Report, device: str | None) -> Ink:
    """Text on a device's colour; the hatching ends beside it."""
    at = None if device is None else place(data, device) % len(COLOURS)
    ground = SENT if at is None else COLOURS[at]
    light = at in (0, 5)
    return {"color": "white" if light else "black", "bbox": {"facecolor": ground, "edgecolor": "none", "pad": 0.8}}


def device_legend(data: model.Report, figure: Figure, axes: Axes) -> None:
    """Names the devices' colours and hatchings below the axes."""
    for device in data["devices"]:
        axes.barh(0, 0, label=f"{device['name']} ({device['origin']})", **texture(data, device["name"], "origin"))
    axes.barh(0, 0, label="transfers (modelled)", **texture(data, None, "origin"))
    height_in = figure.get_figheight() - 1.2
    axes.legend(
        loc="upper center",
        bbox_to_anchor=(0.5, -0.42 / height_in if axes.get_xlabel() else -0.02),
        ncols=len(data["devices"]) + 1,
    )


def label_axis(axis: Axis, name: str, unit: str) -> None:
    """Names an axis, with prefixes before its unit."""
    axis.set_major_formatter(EngFormatter(unit=unit) if unit else StrMethodFormatter("{x:.3g}"))
    axis.set_label_text(name)
