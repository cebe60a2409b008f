"""What all static pictures are made of: palette, style, textures of the origins, axes and legends."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypedDict

from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, StrMethodFormatter

from dime.host.common.units import quantity
from dime.host.report.report_data import Data

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


def finished(data: Data, figure: Figure) -> Figure:
    """Writes below the picture where its numbers come from."""
    origins = []
    for device in data["devices"]:
        energy = device["energy_origin"]
        model = f" ({device['energy_model']})" if device["energy_model"] else ""
        origins.append(f"{device['name']}: time {device['origin']}" + (f", energy {energy}{model}" if energy else ""))
    figure.supxlabel(" · ".join([*origins, "transfers modelled"]), fontsize=7, color="#5b6570")
    return figure


def heading(data: Data, link: Data) -> str:
    """Network and link."""
    return f"{network(data)}, {link['name']}"


def network(data: Data) -> str:
    """The network, with its batch where that is more than one."""
    batch = data.get("batch", 1)
    return f"{data['network']}, batch of {batch}" if batch > 1 else str(data["network"])


def per_picture(data: Data, plan: Data) -> str:
    """What a plan costs for one input of its batch, in words; empty where a batch is one."""
    batch = data.get("batch", 1)
    if batch == 1:
        return ""
    energy = f", {quantity(plan['energy_j'] / batch, 'J')}" if plan["energy_j"] else ""
    return f"; {quantity(plan['latency_s'] / batch, 's')}{energy} a picture"


def weakest(data: Data, steps: Sequence[Sequence[int]], names: Sequence[str]) -> str:
    """The origin that is furthest from a measurement, among what some steps run on."""
    found = [data["devices"][step[2]][name] for step in steps for name in names]
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
    intervals: Sequence[list[list[float]] | None],
    faint: bool = False,
) -> None:
    """The intervals of some points, where there are any."""
    bars = [(a, b, interval[0], interval[1]) for a, b, interval in zip(x, y, intervals, strict=True) if interval]
    if not bars:
        return
    axes.errorbar(
        [a for a, *_ in bars],
        [b for _, b, *_ in bars],
        xerr=[[max(0.0, a - ends[0]) for a, _, ends, _ in bars], [max(0.0, ends[1] - a) for a, _, ends, _ in bars]],
        yerr=[[max(0.0, b - ends[0]) for _, b, _, ends in bars], [max(0.0, ends[1] - b) for _, b, _, ends in bars]],
        fmt="none",
        ecolor="#5b6570",
        elinewidth=0.6,
        capsize=0 if faint else 1.5,
        alpha=0.3 if faint else 1.0,
        zorder=1,
    )


def cost_parts(data: Data, plan: Data, which: int) -> list[tuple[int | None, float]]:
    """Time (0) or energy (1) of each device, then of the transfers, where there is any."""
    parts: list[tuple[int | None, float]] = [
        (at, sum(cost[which] or 0.0 for cost, step in zip(plan["costs"], plan["steps"], strict=True) if step[2] == at))
        for at in range(len(data["devices"]))
    ]
    parts.append((None, plan["communication_s"] if which == 0 else plan["radio_j"]))
    return [(device, value) for device, value in parts if value]


def texture(data: Data, device: int | None, origin: str) -> Fill:
    """How a bar of a device, or of transfers, is filled: its colour, and the hatching of its origin."""
    if device is None:
        return {"color": SENT, "hatch": HATCHES["modelled"], "edgecolor": "white", "linewidth": 0.4}
    hatch = HATCHES[data["devices"][device][origin] or "measured"]
    return {"color": COLOURS[device % len(COLOURS)], "hatch": hatch, "edgecolor": "white", "linewidth": 0.4}


def ink(device: int | None) -> Ink:
    """Text on a device's colour; the hatching ends beside it."""
    ground = SENT if device is None else COLOURS[device % len(COLOURS)]
    light = device is not None and device % len(COLOURS) in (0, 5)
    return {"color": "white" if light else "black", "bbox": {"facecolor": ground, "edgecolor": "none", "pad": 0.8}}


def device_legend(data: Data, figure: Figure, axes: Axes) -> None:
    """Names the devices' colours and hatchings below the axes."""
    for at, device in enumerate(data["devices"]):
        axes.barh(0, 0, label=f"{device['name']} ({device['origin']})", **texture(data, at, "origin"))
    axes.barh(0, 0, label="transfers (modelled)", **texture(data, None, ""))
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
