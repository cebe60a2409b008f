"""A study as text for the terminal: each link's plan, then DIME against the usual ways over all links."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from dime.host.baselines import Row
from dime.host.study import LinkStudy, Study

SHOWN = ("DIME", "all on ", "best single cut")


def text(study: Study) -> str:
    """Renders a study for a terminal of 100 columns.

    Args:
        study: What was found.

    Returns:
        Lines that end with where the numbers come from.
    """
    return "\n".join([*(_plan(link) for link in study.links), comparison(study), "", *sources(study)])


def _plan(link: LinkStudy) -> str:
    lines = [link.name, str(link.plan), f"    {link.confirmation}"]
    if link.frontier is not None and len(link.frontier) > 1:
        first, knee, last = (link.frontier.plan(at) for at in (0, link.frontier.knee, -1))
        lines.append(
            f"    frontier: {len(link.frontier)} points; fastest {_pair(first.latency_s, first.energy_j)}; "
            f"knee {_pair(knee.latency_s, knee.energy_j)}; most frugal {_pair(last.latency_s, last.energy_j)}"
        )
    return "\n".join(lines) + "\n"


def _pair(latency_s: float, energy_j: float | None) -> str:
    return f"{latency_s:.4g} s, {energy_j:.4g} J"


def comparison(study: Study) -> str:
    """The table of DIME's plan, all on one device, and the best single cut, for every link."""
    has_energy = study.links[0].problem.has_energy
    header = ["link", "plan", "latency s", *(["energy J"] if has_energy else []), "DIME saves"]
    rows = []
    for link in study.links:
        for row in filter(lambda row: row.name.startswith(SHOWN), link.baselines):
            rows.append([link.name, row.name, *_costs(row, has_energy)])
    return _table([header, *rows])


def _costs(row: Row, has_energy: bool) -> list[str]:
    if row.plan is None:
        return ["-"] * (1 + has_energy) + [row.reason]
    energy = [f"{row.plan.energy_j:.5g}"] if has_energy and row.plan.energy_j is not None else []
    gain = "" if row.name == "DIME" else row.reason if row.gain is None else f"{row.gain:.1%}"
    return [f"{row.plan.latency_s:.5g}", *energy, gain]


def _table(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([lines[0], "  ".join("-" * width for width in widths), *lines[1:]])


def sources(study: Study) -> Iterable[str]:
    """Where the numbers come from, a line a device and one for the links."""
    for profile in study.profiles:
        energy = f"; energy {profile.energy_model or profile.energy_origin}"
        modelled = " (modelled)" if profile.energy_model else ""
        yield (
            f"{profile.device}: times {profile.origin}, {len(profile.run_duration_s)} runs of {len(profile.bundles)} "
            f"bundles, weights {profile.weights or 'not stated'}"
            + (energy + modelled if profile.run_energy_j is not None else "; no energy")
        )
    yield "links: times and radio energy modelled from rates (dime/host/links.toml)"
