"""Static pictures for papers: PNG and SVG of what the report shows. The same data give the same SVG, byte for byte."""

from __future__ import annotations

import io
import math
import os
import re
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import matplotlib
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, PercentFormatter

from dime.contract import files
from dime.contract.errors import InputError
from dime.host.common.units import clock, plain, quantity
from dime.host.report.drawing import (
    CHOSEN,
    COLOURS,
    DEVICE_MARKERS,
    MARKERS,
    STYLE,
    cost_parts,
    device_legend,
    finished,
    heading,
    ink,
    label_axis,
    network,
    new_figure,
    per_picture,
    room,
    texture,
    weakest,
    whiskers,
)
from dime.host.report.report_data import Data

if TYPE_CHECKING:
    pass

FORMATS = ("png", "svg")
KNOBS = {
    "bandwidth": "upload rate (download in proportion)",
    "upload": "upload rate",
    "download": "download rate",
    "round_trip": "round trip",
}
# A frontier of more points has faint intervals.
CROWD = 30
# More layers than this are not named beside a map.
MOST_ROWS = 40
LONGEST = 48


def write(data: Data, folder: str | os.PathLike[str], formats: Sequence[str] = FORMATS) -> list[Path]:
    """Writes each picture of each link, and the bundle effect.

    Args:
        data: What ``report_data.collect`` says of a study.
        folder: A new folder.
        formats: ``png``, ``svg``, or any other that matplotlib writes.

    Returns:
        The files.

    Raises:
        InputError: The folder exists already, or the disk would not take a file.
    """
    data = {name: _legible(value) for name, value in data.items()}
    written = []
    try:
        Path(folder).mkdir(parents=True)
        with matplotlib.rc_context():
            matplotlib.rcdefaults()
            matplotlib.rcParams.update(STYLE)
            for name, draw in _pictures(data):
                for kind in formats:
                    written.append(Path(folder) / f"{name}.{kind}")
                    picture = io.BytesIO()
                    draw().savefig(picture, format=kind, dpi=200, bbox_inches="tight", metadata=_metadata(kind))
                    files.new(written[-1], picture.getvalue())
    except FileExistsError:
        raise InputError(f"{os.fspath(folder)} exists already; nothing was overwritten") from None
    except OSError as error:
        raise InputError(f"{os.fspath(folder)}: {error.strerror}") from None
    return written


def _legible(data: object) -> object:
    """The same data with every text fit to be drawn: no control characters, and not too long."""
    if isinstance(data, dict):
        return {name: _legible(value) for name, value in data.items()}
    if isinstance(data, list):
        return [_legible(value) for value in data]
    if isinstance(data, str):
        return plain(data) if len(data) <= LONGEST else plain(data)[: LONGEST - 1] + "…"
    return data


def _metadata(kind: str) -> dict[str, None]:
    return {"png": {"Software": None}, "svg": {"Date": None, "Creator": None}}.get(kind, {})


def _pictures(data: Data) -> list[tuple[str, Callable[[], Figure]]]:
    """Names, without ending, and what draws them; only those whose data are there."""
    found: list[tuple[str, Callable[[], Figure]]] = []
    for at, link in enumerate(data["links"]):
        suffix = re.sub(r"[^A-Za-z0-9._-]+", "_", link["name"])[:40]
        if suffix in [re.sub(r"[^A-Za-z0-9._-]+", "_", other["name"])[:40] for other in data["links"][:at]]:
            suffix += f"_{at}"
        drawn: dict[str, Callable[[Data, Data], Figure]] = {"plan": plan}
        if link["frontier"]:
            drawn["frontier"] = frontier
        if link["baselines"]:
            drawn["baselines"] = baselines
        for best in link["maps"]:
            drawn[f"map_{best['vary']}"] = partial(best_plans, best=best)
        for name, draw in drawn.items():
            found.append((f"{name}_{suffix}", lambda draw=draw, link=link: draw(data, link)))  # type: ignore[misc]
    if any(group["bundles"] for group in data["effect"]):
        found.append(("bundle_effect", lambda: bundle_effect(data)))
    return found


def frontier(data: Data, link: Data) -> Figure:
    """Time against energy: all best trade-offs, the baselines by letter, intervals, knee and chosen plan."""
    figure, axes = new_figure(4.0)
    front, plan = link["frontier"], link["plan"]
    time, energy = front["time_s"], front["energy_j"]
    axes.step(time, energy, where="post", color=COLOURS[0], linewidth=0.9, zorder=2)
    by_origin: dict[str, list[int]] = {}
    for at, steps in enumerate(front["steps"]):
        by_origin.setdefault(weakest(data, steps, ("origin", "energy_origin")), []).append(at)
    for origin, places in by_origin.items():
        filled = COLOURS[0] if origin == "measured" else "white"
        axes.plot(
            [time[at] for at in places],
            [energy[at] for at in places],
            MARKERS[origin],
            markersize=3 if len(time) > 100 else 4.5,
            color=COLOURS[0],
            markerfacecolor=filled,
            label=f"best trade-off, {origin}",
            zorder=3,
        )
    axes.plot(
        [_time(data, plan)],
        [plan["energy_j"]],
        "o",
        markersize=11,
        markerfacecolor="none",
        color=CHOSEN,
        label="chosen",
    )
    if 0 < front["knee"] < len(time) - 1:
        axes.annotate(
            "knee", (time[front["knee"]], energy[front["knee"]]), (-6, -11), textcoords="offset points", ha="right"
        )
    whiskers(axes, time, energy, front["intervals"], faint=len(time) > CROWD)
    most = 1.5 * max([*time, _time(data, plan)]), 1.5 * max([*energy, plan["energy_j"]])
    beyond = []
    marked: dict[tuple[str, str], tuple[tuple[float, float], list[str]]] = {}
    for letter, row in _rivals(link):
        cost = _time(data, row["plan"]), row["plan"]["energy_j"]
        told = quantity(cost[0], "s"), quantity(cost[1], "J")
        named = f"{letter}: {row['name']}" + (" (breaks a limit)" if row["reason"] else "")
        if cost[0] > most[0] or cost[1] > most[1]:
            beyond.append(f"{named}, {', '.join(told)}")
            continue
        whiskers(axes, [cost[0]], [cost[1]], [row["interval"]])
        axes.plot(*cost, "x", color="black", markersize=5, label=named)
        marked.setdefault(told, (cost, []))[1].append(letter)
    for cost, letters in marked.values():
        axes.annotate(" ".join(letters), cost, (5, 5), textcoords="offset points", weight="bold")
    room(axes.set_xlim, [*time, _time(data, plan), *axes.dataLim.intervalx])
    room(axes.set_ylim, [*energy, plan["energy_j"], *axes.dataLim.intervaly])
    handles, labels = axes.get_legend_handles_labels()
    axes.legend(
        handles, labels, title="not drawn: " + "; ".join(beyond) if beyond else None, title_fontsize=7, loc="best"
    )
    name = "slowest stage" if data["goal"] == "throughput" else "latency"
    label_axis(axes.xaxis, name, "s")
    label_axis(axes.yaxis, "energy", "J")
    axes.set_title(heading(data, link))
    return finished(data, figure)


def plan(data: Data, link: Data) -> Figure:
    """The chosen plan: its layers coloured by device, each bundle's clock and cost, then where time and energy go."""
    shown, layers = link["plan"], data["layers"]
    longest = max(map(len, layers))
    across, upright = len(layers) * longest < 90, len(layers) <= MOST_ROWS
    strip = 1.0 if across or not upright else 0.5 + longest / 8
    figure, axes = new_figure(1.9 + 0.4 * strip)
    cells = _way(data, shown)
    total = sum(wide for wide, *_ in cells)
    left = 0.0
    for wide, device, step, cost in cells:
        fill = texture(data, device, "origin")
        if step is None:
            axes.barh(0, wide / total, left=left, height=strip, **fill)
        else:
            for at in range(step[0], step[1] + 1):
                place = left + (at - step[0]) / total
                axes.barh(0, 1 / total, left=place, height=strip, **fill)
                if across or upright:
                    rotation = 0 if across else 90
                    axes.text(
                        place + 0.5 / total,
                        0,
                        layers[at],
                        ha="center",
                        va="center",
                        fontsize=7,
                        rotation=rotation,
                        **ink(device),
                    )
            axes.plot([left, left], [-strip / 2, strip / 2], color="white", linewidth=3)
            told = [clock(step[3])] if step[3] >= 0 else []
            told += [quantity(cost[0], "s")] + ([quantity(cost[1], "J")] if cost[1] else [])
            if wide / total > 0.011 * max(map(len, told)):
                axes.text(
                    left + wide / total / 2, -strip / 2 - 0.1, "\n".join(told), ha="center", va="bottom", fontsize=6
                )
        left += wide / total
    names, places = ["layers"], [0.0]
    rows = [("time", "s", shown["latency_s"], 0, "origin")]
    if shown["energy_j"]:
        rows.append(("energy", "J", shown["energy_j"], 1, "energy_origin"))
    for name, unit, whole, which, origin in rows:
        places.append(strip / 2 + 0.6 + 0.8 * (len(places) - 1))
        left = 0.0
        for _, device, _, cost in cells:
            value = cost[which] or 0.0
            axes.barh(places[-1], value / whole, left=left, height=0.6, **texture(data, device, origin))
            if value / whole > 0.09:
                middle = left + value / whole / 2
                axes.text(
                    middle, places[-1], quantity(value, unit), ha="center", va="center", fontsize=7, **ink(device)
                )
            left += value / whole
        names.append(f"{name} {quantity(whole, unit)}")
    axes.set_yticks(places, names)
    axes.set_ylim(places[-1] + 0.4, -strip / 2 - 1.1)
    axes.set_xlim(0, 1)
    axes.set_xticks([])
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    axes.grid(False)
    device_legend(data, figure, axes)
    axes.set_title(heading(data, link) + per_picture(data, shown))
    return finished(data, figure)


def _way(data: Data, plan: Data) -> list[tuple[float, int | None, list[int] | None, list[float | None]]]:
    """Steps and transfers in their order: width in layers, device (None: transfer), step, [time, energy]."""
    found: list[tuple[float, int | None, list[int] | None, list[float | None]]] = []
    sent = iter(plan["transfers"])
    here = 0
    for step, cost in zip(plan["steps"], plan["costs"], strict=True):
        if step[2] != here:
            found.append((len(data["layers"]) / 40, None, None, next(sent)[4:6]))
        here = step[2]
        found.append((step[1] - step[0] + 1.0, here, step, cost))
    return found + [(len(data["layers"]) / 40, None, None, transfer[4:6]) for transfer in sent]


def baselines(data: Data, link: Data) -> Figure:
    """What each way of placing the network takes: computation by device, and transfers."""
    rows = [row for row in link["baselines"] if row["plan"]]
    figure, axes = new_figure(0.9 + 0.32 * len(rows))
    longest = min(max(row["plan"]["latency_s"] for row in rows), 4 * rows[0]["plan"]["latency_s"])
    for at, row in enumerate(rows):
        left = 0.0
        for device, value in cost_parts(data, row["plan"], 0):
            kept = min(value, longest - left)
            axes.barh(at, kept, left=left, height=0.65, **texture(data, device, "origin"))
            left += kept
        total = row["plan"]["latency_s"]
        cut = "→ " if total > longest * 1.001 else ""
        energy = "" if row["plan"]["energy_j"] is None else f", {quantity(row['plan']['energy_j'], 'J')}"
        broken = " (breaks a limit)" if row["reason"] else ""
        axes.text(left + longest / 100, at, f"{cut}{quantity(total, 's')}{energy}{broken}", va="center", fontsize=7)
    axes.set_yticks(range(len(rows)), [row["name"] for row in rows])
    axes.invert_yaxis()
    axes.set_xlim(0, longest * 1.32)
    axes.grid(False, axis="y")
    label_axis(axes.xaxis, "latency", "s")
    device_legend(data, figure, axes)
    axes.set_title(heading(data, link))
    return finished(data, figure)


def best_plans(data: Data, link: Data, best: Data) -> Figure:
    """The best plan for every bandwidth or round trip: columns are its ranges, rows the layers, colours the devices."""
    layers = data["layers"]
    figure, axes = new_figure(min(5.0, 1.5 + 0.2 * len(layers)))
    ranges = _ranges(best)
    here = _knob(best, best["here"])
    named: list[float] = []
    view: Callable[[float], float] = float if best["vary"] == "round_trip" else math.log
    ends = [end for low, high, _ in ranges for end in (low, high) if 0 < end < math.inf]
    if best["vary"] == "round_trip":
        left, right = 0.0, 1.5 * (max([here, *ends]) or 0.05)
    else:
        left, right = min([here, *ends]) / 4, max([here, *ends]) * 4
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if right < 1000 * left else (1,), numticks=12))
    for low, high, region in ranges:
        start, end = max(low, left), min(high, right)
        for first, last, device, _ in region["steps"] or ():
            axes.barh(
                (first + last) / 2, end - start, left=start, height=last - first + 1, **texture(data, device, "origin")
            )
        if region["steps"] is None:
            axes.text(start, 0, " no plan", va="center", fontsize=7, color="#5b6570")
        if low > left:
            axes.axvline(low, color="black", linewidth=0.8)
            place = (view(low) - view(left)) / (view(right) - view(left))
            if all(abs(place - other) > 0.11 for other in named):
                named.append(place)
                corner = ("data", "axes fraction")
                axes.annotate(
                    _told(best, low), (low, 1), (0, 3), corner, textcoords="offset points", ha="center", fontsize=7
                )
    axes.axvline(here, color=CHOSEN, linewidth=1.6)
    is_right = (view(here) - view(left)) / (view(right) - view(left)) > 0.8 if here > left else False
    axes.annotate(
        link["name"] if len(link["name"]) <= LONGEST // 2 else "here",
        (here, 0),
        (-3 if is_right else 3, 3),
        xycoords=("data", "axes fraction"),
        textcoords="offset points",
        ha="right" if is_right else "left",
        fontsize=7,
        bbox={"boxstyle": "round,pad=0.15", "fc": "white", "ec": CHOSEN, "lw": 0.6},
    )
    axes.set_xlim(left, right)
    axes.set_ylim(len(layers) - 0.5, -0.5)
    if len(layers) <= MOST_ROWS:
        axes.set_yticks(range(len(layers)), layers, fontsize=7)
    else:
        axes.set_ylabel("layer")
    axes.grid(False)
    name, unit = KNOBS[best["vary"]], "s" if best["vary"] == "round_trip" else "bit/s"
    if best["vary"] != "round_trip" and not best["rates_bit_s"]:
        name, unit = "multiple of the links' rates", ""
    label_axis(axes.xaxis, name, unit)
    axes.minorticks_off()
    device_legend(data, figure, axes)
    axes.set_title(heading(data, link), pad=16)
    return finished(data, figure)


def _ranges(best: Data) -> list[tuple[float, float, Data]]:
    """Regions with their ends on the drawn axis, in its order."""
    found = []
    for region in best["regions"]:
        low, high = sorted((_knob(best, region["low"]), _knob(best, region["high"])))
        found.append((low, high, region))
    return sorted(found, key=lambda item: item[:2])


def _knob(best: Data, value: float | None) -> float:
    """A value of the knob on the drawn axis: a rate falls as the time on the air grows."""
    if best["vary"] == "round_trip":
        return math.inf if value is None else float(value)
    rates = best["rates_bit_s"]
    rate = rates[best["vary"] == "download"] if rates else 1.0
    if value is None:
        return 0.0
    return float(rate / value) if value else math.inf


def _told(best: Data, value: float) -> str:
    return quantity(value, "s" if best["vary"] == "round_trip" else "bit/s" if best["rates_bit_s"] else "")


def bundle_effect(data: Data) -> Figure:
    """Time of each bundle relative to its layers' sum, by length, at each device's fastest clock; lines are medians."""
    figure, axes = new_figure(3.4)
    fastest = {group["device"]: group for group in data["effect"] if group["bundles"]}
    groups = list(fastest.values())
    count = len(data["layers"])
    for at, group in enumerate(groups):
        device = group["device"]
        colour, offset = COLOURS[device % len(COLOURS)], 0.6 * ((at + 0.5) / len(groups) - 0.5)
        spread = 0.6 / len(groups)
        x = [
            last - first + 1 + offset + spread * ((first + 1) / (count + 1) - 0.5)
            for first, last, *_ in group["bundles"]
        ]
        y = [time / total - 1 for *_, time, total in group["bundles"]]
        origin = data["devices"][device]["origin"]
        label = f"{data['devices'][device]['name']}, {clock(group['frequency_hz'])} ({origin})"
        face = colour if origin == "measured" else "white"
        marker = DEVICE_MARKERS[device % len(DEVICE_MARKERS)]
        axes.plot(x, y, marker, color=colour, markerfacecolor=face, markersize=3.5, label=label)
        lengths = sorted({last - first + 1 for first, last, *_ in group["bundles"]})
        middle = [
            median(
                ratio
                for ratio, (first, last, *_) in zip(y, group["bundles"], strict=True)
                if last - first + 1 == length
            )
            for length in lengths
        ]
        axes.plot([length + offset for length in lengths], middle, color=colour)
    axes.axhline(0, color="black", linewidth=0.8)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.set_xlabel("layers in the bundle")
    axes.set_ylabel("bundle time relative\nto the sum of its layers")
    axes.legend()
    axes.set_title(network(data))
    return finished(data, figure)


def _time(data: Data, plan: Data) -> float:
    return float(plan["period_s"] if data["goal"] == "throughput" else plan["latency_s"])


def _rivals(link: Data) -> list[tuple[str, Data]]:
    lettered = [(chr(ord("a") + at), row) for at, row in enumerate(link["baselines"][1:])]
    return [(letter, row) for letter, row in lettered if row["plan"] and row["plan"]["energy_j"] is not None]
