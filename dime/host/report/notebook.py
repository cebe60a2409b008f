"""A study in Python and in notebooks: one call, a table of all links, pictures, the report, a sweep over bandwidths."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from dime.contract.errors import InputError, unknown
from dime.host.common.units import plain
from dime.host.planning.formulation import build_problem
from dime.host.planning.goals import Limits
from dime.host.planning.links import Link, load_link
from dime.host.planning.plan import Plan
from dime.host.profiles.profiles import Profile
from dime.host.report import overview, sentences
from dime.host.search import solvers
from dime.host.search.frontier import Frontier
from dime.host.studies.study import LINKS, REPLICATES, LinkStudy, Study, find_profiles, make_study

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

PICTURES = ("frontier", "plan", "baselines")


@dataclass(frozen=True, eq=False)
class Found:
    """A study as a notebook shows it; ``study`` makes one.

    Attributes:
        study: All that was found out.
    """

    study: Study

    def __repr__(self) -> str:
        devices = ", ".join(f"{one.device} ({one.origin})" for one in self.study.profiles)
        names = ", ".join(link.name for link in self.study.links)
        lines = [
            f"{self.study.network} on {devices}: least {sentences.goal_name(self.study.goal)} over {names}",
            overview.headline(self.study.links[0]),
            "table(), plan(link), frontier(link), plot(link), sweep(rates), report(folder)",
        ]
        return "\n".join(map(plain, lines))

    def _repr_html_(self) -> str:
        warnings = "".join(f"<li>{escape(plain(text))}</li>" for text in self.study.links[0].problem.warnings)
        noted = f"<ul>{warnings}</ul>" if warnings else ""
        return f"<p>{escape(repr(self).splitlines()[0])}</p>{self.table().to_html(index=False, border=0)}{noted}"

    def link(self, name: str | None = None) -> LinkStudy:
        """What was found for a link; without a name for the first.

        Raises:
            InputError: The study has no such link.
        """
        links = {link.name: link for link in self.study.links}
        if name is None:
            return self.study.links[0]
        if name not in links:
            raise unknown("link of the study", name, links)
        return links[name]

    def plan(self, link: str | None = None) -> Plan:
        """The best plan for a link."""
        return self.link(link).plan

    def frontier(self, link: str | None = None) -> Frontier:
        """Every best trade-off for a link: ``frontier(link).table()``; its row k is of ``frontier(link).plan(k)``.

        Raises:
            InputError: There is no energy to trade.
        """
        found = self.link(link).frontier
        if found is None:
            raise InputError("without energies there is nothing to trade; EDGE_POWER=5 models them: Profile.with_power")
        return found

    def table(self) -> pd.DataFrame:
        """One row a link: the plan, what it costs, and what it saves against any single device."""
        import pandas as pd

        rows: list[dict[str, object]] = []
        for link in self.study.links:
            saved = {f"saved_of_{row.name.replace(' ', '_')}": row.gain for row in overview.alone(link.baselines)}
            steps = sentences.steps(link.problem, link.plan.choices(link.problem))
            rows.append({"link": link.name, "plan": steps, **_costs(link.plan), **saved})
        table: pd.DataFrame = pd.DataFrame(rows)
        return table

    def plot(self, link: str | None = None, picture: str = "frontier") -> Figure:
        """A picture of a link's plans.

        Args:
            link: The link; without it the first.
            picture: One of PICTURES: frontier, plan or baselines.

        Raises:
            InputError: There is no such picture.
        """
        from dime.host.report import figures, report_data

        if picture not in PICTURES:
            raise unknown("picture", picture, PICTURES)
        data = figures.legible(report_data.collect(replace(self.study, links=(self.link(link),))))
        if picture == "frontier":
            self.frontier(link)
        drawn: Figure = getattr(figures, picture)(data, data["links"][0])
        return drawn

    def report(self, folder: str | os.PathLike[str]) -> Path:
        """Writes the report, plans and frontiers into a new folder.

        Returns:
            The page.

        Raises:
            InputError: The folder exists already, or could not be made.
        """
        from dime.contract.run import REPORT
        from dime.host.report import output

        output.write(self.study, output.folder("", self.study.network, os.fspath(folder)))
        return Path(folder) / REPORT

    def sweep(self, upload_mbit_s: Sequence[float], link: str | None = None) -> pd.DataFrame:
        """The best plan for each of some bandwidths, as one table.

        Args:
            upload_mbit_s: Upload rates; the download's keeps its ratio to it, and the round trip stays.
            link: The link whose form is taken, by name; without it the first.

        Raises:
            InputError: The link joins pairs of devices in different ways, or a rate is none.
        """
        import pandas as pd

        base, name = self.link(link), self.link(link).name
        like = load_link(name)
        rows: list[dict[str, object]] = []
        for rate in upload_mbit_s:
            factor = rate * 1e6 / like.upload_bit_s
            scaled = replace(
                like,
                name=f"{name} x {factor:.4g}",
                upload_bit_s=rate * 1e6,
                download_bit_s=like.download_bit_s * factor,
            )
            plan, steps = self._solved(base, scaled)
            rates = {"upload_mbit_s": rate, "download_mbit_s": scaled.download_bit_s / 1e6}
            rows.append({**rates, "plan": steps, **_costs(plan)})
        table: pd.DataFrame = pd.DataFrame(rows)
        return table

    def _solved(self, base: LinkStudy, link: Link) -> tuple[Plan, str]:
        problem = build_problem(
            self.study.profiles,
            link,
            base.problem.goal,
            self.study.limits,
            arithmetic=base.problem.arithmetic,
        )
        plan = solvers.solve(problem).plan
        return plan, sentences.steps(problem, plan.choices(problem))


def study(
    profiles: Sequence[Profile] | str,
    links: str = LINKS,
    goal: str = "latency",
    limits: Limits | None = None,
    *,
    edge: str = "edge",
    server: str = "server",
    results: str = "results",
    edge_power_w: float | None = None,
    replicates: int = REPLICATES,
) -> Found:
    """Plans a network for each link and finds out what a reader will ask, as ``dime solve`` does.

    Args:
        profiles: One a device, the edge device's first; or the network's name, whose profiles are then found.
        links: Links by name, joined by commas, or one link in any form that ``dime solve`` takes.
        goal: latency, energy, throughput or weighted:PER_S,PER_J.
        limits: What plans must keep to.
        edge: The weak device, of a network that is named.
        server: The other devices, joined by commas.
        results: The folder that holds DEVICE/NET.
        edge_power_w: Models the weak device's energies as this power times time.
        replicates: Bootstrap replicates for intervals; 0: none.

    Returns:
        The study, which a notebook shows as a table.
    """
    if isinstance(profiles, str):
        profiles = find_profiles(profiles, edge, server, results, edge_power_w)
    elif edge_power_w is not None:
        profiles = [profiles[0].with_power(edge_power_w), *profiles[1:]]
    return Found(make_study(profiles, links, goal, limits, replicates=replicates))


def _costs(plan: Plan) -> dict[str, object]:
    """What a plan costs, and where its numbers come from."""
    costs: dict[str, object] = {"latency_s": plan.latency_s}
    if plan.energy_j is not None:
        costs["energy_j"] = plan.energy_j
    if plan.goal == "throughput":
        costs["period_s"] = plan.period_s
    return {**costs, "origin": "+".join(_origins(plan))}


def _origins(plan: Plan) -> list[str]:
    return list(dict.fromkeys([*(step.origin for step in plan.steps), *(["modelled"] if plan.transfers else [])]))
