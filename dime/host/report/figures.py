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
from typing import NamedTuple, cast

import matplotlib
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, PercentFormatter

from dime.contract import files
from dime.contract.errors import InputError
from dime.host.common.units import clock, plain, quantity
from dime.host.report import model
from dime.host.report.drawing import (
    CHOSEN,
    COLOURS,
    DEVICE_MARKERS,
    MARKERS,
    STYLE,
    Cost,
    Origin,
    cost_parts,
    device_legend,
    finished,
    heading,
    ink,
    label_axis,
    network,
    new_figure,
    per_picture,
    place,
    room,
    texture,
    weakest,
    whiskers,
)

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


def write(data: model.Report, folder: str | os.PathLike[str], formats: Sequence[str] = FORMATS) -> list[Path]:
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
    data = legible(data)
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


def legible(data: model.Report) -> model.Report:
    """The same data with every text fit to be drawn: no control characters, and not too long; devices still differ."""
    names: dict[str, str] = {}
    for device in data["devices"]:
        name = str(_legible(device["name"], {}))
        names[device["name"]] = f"{len(names) + 1}: {name}" if name in names.values() else name
    return cast(model.Report, _legible(data, names))


def _legible(data: object, names: dict[str, str]) -> object:
    if isinstance(data, dict):
        return {name: _legible(value, names) for name, value in data.items()}
    if isinstance(data, list):
        return [_legible(value, names) for value in data]
    if isinstance(data, str):
        return names.get(data) or (plain(data) if len(data) <= LONGEST else plain(data)[: LONGEST - 1] + "…")
    return data


def _metadata(kind: str) -> dict[str, None]:
    return {"png": {"Software": None}, "svg": {"Date": None, "Creator": None}}.get(kind, {})


def _pictures(data: model.Report) -> list[tuple[str, Callable[[], Figure]]]:
    """Names, without ending, and what draws them; only those whose data are there."""
    found: list[tuple[str, Callable[[], Figure]]] = []
    for at, link in enumerate(data["links"]):
        suffix = re.sub(r"[^A-Za-z0-9._-]+", "_", link["name"])[:40]
        if suffix in [re.sub(r"[^A-Za-z0-9._-]+", "_", other["name"])[:40] for other in data["links"][:at]]:
            suffix += f"_{at}"
        drawn: dict[str, Callable[[model.Report, model.Link], Figure]] = {"plan": plan}
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


def frontier(data: model.Report, link: model.Link) -> Figure:
    """Time against energy: all best trade-offs, the baselines by letter, intervals, knee and chosen plan."""
    figure, axes = new_figure(4.0)
    front, plan = link["frontier"], link["plan"]
    points = front["points"] if front else []
    own_j = plan["energy_j"] or 0.0
    time, energy = [point["time_s"] for point in points], [point["energy_j"] for point in points]
    axes.step(time, energy, where="post", color=COLOURS[0], linewidth=0.9, zorder=2)
    by_origin: dict[str, list[int]] = {}
    for at, point in enumerate(points):
        by_origin.setdefault(weakest(data, point["steps"], ("origin", "energy_origin")), []).append(at)
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
        [own_j],
        "o",
        markersize=11,
        markerfacecolor="none",
        color=CHOSEN,
        label="chosen",
    )
    for point in points[1:-1]:
        if front and point["number"] == front["knee_number"]:
            corner = point["time_s"], point["energy_j"]
            axes.annotate("knee", corner, (-6, -11), textcoords="offset points", ha="right")
    whiskers(axes, time, energy, [point["interval"] for point in points], faint=len(time) > CROWD)
    most = 1.5 * max([*time, _time(data, plan)]), 1.5 * max([*energy, own_j])
    beyond = []
    marked: dict[tuple[str, str], tuple[tuple[float, float], list[str]]] = {}
    for row in link["baselines"]:
        letter, its = row["letter"], row["plan"]
        if row["is_chosen"] or its is None or its["energy_j"] is None:
            continue
        cost = _time(data, its), its["energy_j"]
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
    room(axes.set_ylim, [*energy, own_j, *axes.dataLim.intervaly])
    handles, labels = axes.get_legend_handles_labels()
    axes.legend(
        handles, labels, title="not drawn: " + "; ".join(beyond) if beyond else None, title_fontsize=7, loc="best"
    )
    name = "slowest stage" if data["goal"] == "throughput" else "latency"
    label_axis(axes.xaxis, name, "s")
    label_axis(axes.yaxis, "energy", "J")
    axes.set_title(heading(data, link))
    return finished(data, figure)


def plan(data: model.Report, link: model.Link) -> Figure:
    """The chosen plan: layers coloured by device, each bundle's frequency and cost, then where time and energy go."""
    shown, layers = link["plan"], data["layers"]
    longest = max(map(len, layers))
    across, upright = len(layers) * longest < 90, len(layers) <= MOST_ROWS
    strip = 1.0 if across or not upright else 0.5 + longest / 8
    figure, axes = new_figure(1.9 + 0.4 * strip)
    cells = _way(data, shown)
    total = sum(cell.width for cell in cells)
    left = 0.0
    for wide, device, step, cost in cells:
        fill = texture(data, device, "origin")
        if step is None:
            axes.barh(0, wide / total, left=left, height=strip, **fill)
        else:
            for at in range(step["first"], step["last"] + 1):
                start = left + (at - step["first"]) / total
                axes.barh(0, 1 / total, left=start, height=strip, **fill)
                if across or upright:
                    rotation = 0 if across else 90
                    axes.text(
                        start + 0.5 / total,
                        0,
                        layers[at],
                        ha="center",
                        va="center",
                        fontsize=7,
                        rotation=rotation,
                        **ink(data, device),
                    )
            axes.plot([left, left], [-strip / 2, strip / 2], color="white", linewidth=3)
            told = [clock(step["frequency_hz"])] if step["frequency_hz"] >= 0 else []
            told += [quantity(cost["latency_s"], "s")] + ([quantity(cost["energy_j"], "J")] if cost["energy_j"] else [])
            if wide / total > 0.011 * max(map(len, told)):
                axes.text(
                    left + wide / total / 2, -strip / 2 - 0.1, "\n".join(told), ha="center", va="bottom", fontsize=6
                )
        left += wide / total
    names, places = ["layers"], [0.0]
    rows: list[tuple[str, str, float, Cost, Origin]] = [("time", "s", shown["latency_s"], "latency_s", "origin")]
    if shown["energy_j"]:
        rows.append(("energy", "J", shown["energy_j"], "energy_j", "energy_origin"))
    for name, unit, whole, which, origin in rows:
        places.append(strip / 2 + 0.6 + 0.8 * (len(places) - 1))
        left = 0.0
        for _, device, _, cost in cells:
            value = cost[which] or 0.0
            axes.barh(places[-1], value / whole, left=left, height=0.6, **texture(data, device, origin))
            if value / whole > 0.09:
                middle = left + value / whole / 2
                axes.text(
                    middle, places[-1], quantity(value, unit), ha="center", va="center", fontsize=7, **ink(data, device)
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


class _Cell(NamedTuple):
    """A step or a transfer (no device, no step) of a plan, as wide as so many layers."""

    width: float
    device: str | None
    step: model.PlanStep | None
    cost: model.PlanStep | model.Transfer


def _way(data: model.Report, plan: model.Plan) -> list[_Cell]:
    """Steps and transfers in their order."""
    sent = {transfer["boundary"]: transfer for transfer in plan["transfers"]}
    found: list[_Cell] = []

    def cross(boundary: int) -> None:
        if boundary in sent:
            found.append(_Cell(len(data["layers"]) / 40, None, None, sent[boundary]))

    for step in plan["steps"]:
        cross(step["first"])
        found.append(_Cell(step["last"] - step["first"] + 1.0, step["device"], step, step))
    cross(len(data["layers"]))
    return found


def baselines(data: model.Report, link: model.Link) -> Figure:
    """What each way of placing the network takes: computation by device, and transfers."""
    rows = [(row, row["plan"]) for row in link["baselines"] if row["plan"]]
    figure, axes = new_figure(0.9 + 0.32 * len(rows))
    longest = min(max(its["latency_s"] for _, its in rows), 4 * link["plan"]["latency_s"])
    for at, (row, its) in enumerate(rows):
        left = 0.0
        for device, value in cost_parts(data, its, "latency_s"):
            kept = min(value, longest - left)
            axes.barh(at, kept, left=left, height=0.65, **texture(data, device, "origin"))
            left += kept
        total = its["latency_s"]
        cut = "→ " if total > longest * 1.001 else ""
        energy = "" if its["energy_j"] is None else f", {quantity(its['energy_j'], 'J')}"
        broken = " (breaks a limit)" if row["reason"] else ""
        axes.text(left + longest / 100, at, f"{cut}{quantity(total, 's')}{energy}{broken}", va="center", fontsize=7)
    axes.set_yticks(range(len(rows)), [row["name"] for row, _ in rows])
    axes.invert_yaxis()
    axes.set_xlim(0, longest * 1.32)
    axes.grid(False, axis="y")
    label_axis(axes.xaxis, "latency", "s")
    device_legend(data, figure, axes)
    axes.set_title(heading(data, link))
    return finished(data, figure)


def best_plans(data: model.Report, link: model.Link, best: model.Map) -> Figure:
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
        for step in region["steps"] or ():
            middle, height = (step["first"] + step["last"]) / 2, step["last"] - step["first"] + 1
            fill = texture(data, step["device"], "origin")
            axes.barh(middle, end - start, left=start, height=height, **fill)
        if region["steps"] is None:
            axes.text(start, 0, " no plan", va="center", fontsize=7, color="#5b6570")
        if low > left:
            axes.axvline(low, color="black", linewidth=0.8)
            along = (view(low) - view(left)) / (view(right) - view(left))
            if all(abs(along - other) > 0.11 for other in named):
                named.append(along)
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
    if best["vary"] != "round_trip" and not best["rates"]:
        name, unit = "multiple of the links' rates", ""
    label_axis(axes.xaxis, name, unit)
    axes.minorticks_off()
    device_legend(data, figure, axes)
    axes.set_title(heading(data, link), pad=16)
    return finished(data, figure)


def _ranges(best: model.Map) -> list[tuple[float, float, model.Region]]:
    """Regions with their ends on the drawn axis, in its order."""
    found = []
    for region in best["regions"]:
        low, high = sorted((_knob(best, region["low"]), _knob(best, region["high"])))
        found.append((low, high, region))
    return sorted(found, key=lambda item: item[:2])


def _knob(best: model.Map, value: float | None) -> float:
    """A value of the knob on the drawn axis: a rate falls as the time on the air grows."""
    if best["vary"] == "round_trip":
        return math.inf if value is None else float(value)
    rates = best["rates"]
    rate = 1.0 if rates is None else rates["download_bit_s" if best["vary"] == "download" else "upload_bit_s"]
    if value is None:
        return 0.0
    return float(rate / value) if value else math.inf


def _told(best: model.Map, value: float) -> str:
    return quantity(value, "s" if best["vary"] == "round_trip" else "bit/s" if best["rates"] else "")


def bundle_effect(data: model.Report) -> Figure:
    """Time of each bundle relative to its layers' sum, by length, each device at its fastest; lines are medians."""
    figure, axes = new_figure(3.4)
    fastest = {group["device"]: group for group in data["effect"] if group["bundles"]}
    groups = list(fastest.values())
    count = len(data["layers"])
    for at, group in enumerate(groups):
        device = place(data, group["device"])
        colour, offset = COLOURS[device % len(COLOURS)], 0.6 * ((at + 0.5) / len(groups) - 0.5)
        spread = 0.6 / len(groups)
        long = [bundle["last"] - bundle["first"] + 1 for bundle in group["bundles"]]
        x = [
            length + offset + spread * ((bundle["first"] + 1) / (count + 1) - 0.5)
            for length, bundle in zip(long, group["bundles"], strict=True)
        ]
        y = [bundle["latency_s"] / bundle["sum_s"] - 1 for bundle in group["bundles"]]
        origin = data["devices"][device]["origin"]
        label = f"{group['device']}, {clock(group['frequency_hz'])} ({origin})"
        face = colour if origin == "measured" else "white"
        marker = DEVICE_MARKERS[device % len(DEVICE_MARKERS)]
        axes.plot(x, y, marker, color=colour, markerfacecolor=face, markersize=3.5, label=label)
        lengths = sorted(set(long))
        middle = [median(ratio for ratio, one in zip(y, long, strict=True) if one == length) for length in lengths]
        axes.plot([length + offset for length in lengths], middle, color=colour)
    axes.axhline(0, color="black", linewidth=0.8)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.set_xlabel("layers in the bundle")
    axes.set_ylabel("bundle time relative\nto the sum of its layers")
    axes.legend()
    axes.set_title(network(data))
    return finished(data, figure)


def _time(data: model.Report, plan: model.Plan) -> float:
    return float(plan["period_s"] if data["goal"] == "throughput" else plan["latency_s"])
