"""How sure the answer is: intervals, how often a plan stays the best, its regret, and what to measure again.

Intervals are Student's t of the passes; the rest comes from replicates, which ``resampling`` draws.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from dime.contract.bundles import spell
from dime.contract.errors import InputError
from dime.host.analysis.resampling import Choices, Samples
from dime.host.common import stats
from dime.host.common.stats import Bools, Floats, Ints
from dime.host.planning.cost import Costs, costs_of
from dime.host.planning.plan import one_line
from dime.host.planning.problem import PER_S, Choice, Problem

if TYPE_CHECKING:
    import pandas as pd

TIME_LIMIT_S = 30.0
FEW = 5
# Floats of equal weighted sums may differ in their last digits.
SAME = 1e-12
ALL_BUNDLES = "all bundles"
Drawn = tuple[Ints, Ints]


@dataclass(frozen=True)
class PlanUncertainty:
    """What the replicates say about one plan.

    Attributes:
        choices: The plan.
        latency_s: Ends of the interval of its latency.
        energy_j: Ends of the interval of its energy; None without energy, or where none would hold.
        value: Ends of the interval of the goal's value; None where none would hold.
        best_share: Share of the replicates in which no plan is better.
        frontier_share: Share in which no plan is better in both time and energy.
        kept_share: Share in which it keeps the limits on latency and energy.
        regret: Mean excess of its value over the best one's, in the goal's unit, where it keeps the limits; None where
            it never does.
        regret_high: The same at the upper end of the interval.
    """

    choices: Choices
    latency_s: tuple[float, float]
    energy_j: tuple[float, float] | None
    value: tuple[float, float] | None
    best_share: float
    frontier_share: float
    kept_share: float
    regret: float | None
    regret_high: float | None


@dataclass(frozen=True)
class Measurement:
    """A bundle, or all of a clock, that may change the answer when it is measured again.

    Attributes:
        device: Name of the device.
        bundle: Name of the bundle; ``ALL_BUNDLES`` for what the passes of all of them share.
        frequency_hz: Frequency.
        chance: Probability that knowing its true mean makes another plan the best.
        gain: Expected gain in the goal's value from knowing it.
    """

    device: str
    bundle: str
    frequency_hz: int
    chance: float
    gain: float


@dataclass(frozen=True, eq=False)
class Uncertainty:
    """What resampling says.

    Attributes:
        samples: The replicates.
        solved: How many of them were solved, and count: all, unless time ran out.
        cut_short: How many do not count, because the search in them was cut short.
        confidence: Share of the replicates inside of the intervals.
        plans: One entry a plan asked about, in that order; the first one's intervals allow for its having been chosen.
        winners: Each plan that was the best in some replicate, with the share of those, most frequent first.
        infeasible_share: Share of the replicates in which no plan keeps the limits.
        measure_next: What is worth measuring again, most promising first.
        notes: What the intervals rest on where that is less than passes, and which are missing.
    """

    samples: Samples
    solved: int
    cut_short: int
    confidence: float
    plans: tuple[PlanUncertainty, ...]
    winners: tuple[tuple[Choices, float], ...]
    infeasible_share: float
    measure_next: tuple[Measurement, ...]
    notes: tuple[str, ...] = ()

    @property
    def chosen(self) -> PlanUncertainty:
        """The first plan asked about."""
        return self.plans[0]

    def table(self) -> pd.DataFrame:
        """One row a plan: intervals, shares and regret."""
        import pandas as pd

        rows = []
        for plan in self.plans:
            energy = plan.energy_j or (None, None)
            rows.append(
                {
                    "plan": one_line(self.samples.problem, plan.choices),
                    "latency_s_low": plan.latency_s[0],
                    "latency_s_high": plan.latency_s[1],
                    "energy_j_low": energy[0],
                    "energy_j_high": energy[1],
                    "best_share": plan.best_share,
                    "frontier_share": plan.frontier_share,
                    "kept_share": plan.kept_share,
                    "regret": plan.regret,
                    "regret_high": plan.regret_high,
                }
            )
        frame: pd.DataFrame = pd.DataFrame(rows)
        return frame


def bootstrap(
    samples: Samples,
    plans: Sequence[Choices],
    confidence: float = stats.CONFIDENCE,
    time_limit_s: float = TIME_LIMIT_S,
) -> Uncertainty:
    """Solves every replicate and sees how given plans do in it.

    Args:
        samples: The replicates.
        plans: The plans asked about, the chosen one first; for example the frontier's.
        confidence: Share of the replicates inside of the intervals.
        time_limit_s: Longest time; the replicates solved by then are used.

    Returns:
        What they say.

    Raises:
        InputError: No plan was given, or the confidence is not between 0 and 1.
    """
    if not plans or not 0 < confidence < 1:
        raise InputError(f"a bootstrap needs at least one plan and a confidence in 0..1, not {confidence}")
    problem = samples.problem
    costs = [samples.costs(plan) for plan in plans]
    times = np.stack([c.time_ps(problem) for c in costs])
    energies = np.stack([c.energy_pj for c in costs])
    values, kept = np.stack([c.value(problem) for c in costs]), np.stack([c.kept(problem) for c in costs])
    is_best, on_front = np.zeros_like(kept), np.zeros_like(kept)
    least: list[float] = []
    winners: dict[Choices, list[int]] = {}
    used: list[int] = []
    cut_short = 0
    for at, found in enumerate(samples.trade_offs(time_limit_s)):
        if not found.complete:
            cut_short += 1
            continue
        used.append(at)
        if not found.values:
            least.append(np.nan)
            continue
        winner = found.values.index(min(found.values))
        time_ps, energy_pj = found.time_ps[winner], found.energy_pj[winner]
        least.append(float(Costs(time_ps, energy_pj, time_ps).value(problem)))
        is_best[:, at] = kept[:, at] & (values[:, at] <= least[-1] * (1 + SAME))
        place = np.minimum(np.searchsorted(found.time_ps, times[:, at]), len(found.time_ps) - 1)
        same_energy = (found.energy_pj[place] == energies[:, at]) | (not problem.has_energy)
        on_front[:, at] = (found.time_ps[place] == times[:, at]) & same_energy
        known = np.flatnonzero(is_best[:, at])
        choices = tuple(plans[known[0]]) if len(known) else found.choices(winner)
        winners.setdefault(choices, []).append(at)
    ranked = sorted(winners.items(), key=lambda item: -len(item[1]))
    found_plans = tuple(
        _conclude(samples, tuple(plan), confidence, cost, (used, np.array(least)), is_best[at], on_front[at])
        for at, (plan, cost) in enumerate(zip(plans, costs, strict=True))
    )
    found_plans = (_as_the_best(samples, found_plans[0], winners), *found_plans[1:])
    return Uncertainty(
        samples,
        len(used),
        cut_short,
        confidence,
        found_plans,
        tuple((choices, len(draws) / len(used)) for choices, draws in ranked),
        float(np.isnan(least).mean()) if used else 0.0,
        measure_next(samples, tuple(plans[0]), [choices for choices, _ in ranked]),
        _notes(samples, found_plans[0], len(used), cut_short),
    )


def _notes(samples: Samples, chosen: PlanUncertainty, solved: int, cut_short: int) -> tuple[str, ...]:
    told = list(samples.notes)
    if samples.problem.has_energy and chosen.energy_j is None:
        told.append("no interval of the energy would hold: few runs take far more than the others; profile more")
    if cut_short:
        told.append(f"{cut_short} draws do not count: the search in them was cut short")
    if not solved:
        told.append("how often the plan is the best is not known: no draw was solved in time")
    return tuple(told)


def _conclude(
    samples: Samples,
    plan: Choices,
    confidence: float,
    costs: Costs[Ints],
    solved: tuple[list[int], Floats],
    is_best: Bools,
    on_front: Bools,
) -> PlanUncertainty:
    """What the replicates that count, with the least value in each, say about a plan."""
    used, least = solved
    value, kept = costs.value(samples.problem), costs.kept(samples.problem)
    regret = (value[used] - least)[kept[used] & ~np.isnan(least)]
    ends = [samples.interval(plan, (), quantity, confidence) for quantity in ("latency", "energy", "goal")]
    assert ends[0] is not None
    return PlanUncertainty(
        plan,
        ends[0],
        ends[1] if samples.problem.has_energy else None,
        ends[2],
        float(is_best[used].mean()) if used else 0.0,
        float(on_front[used].mean()) if used else 0.0,
        float(kept.mean()),
        float(regret.mean()) if len(regret) else None,
        float(np.quantile(regret, (1 + confidence) / 2)) if len(regret) else None,
    )


def _as_the_best(
    samples: Samples, chosen: PlanUncertainty, winners: Mapping[Choices, Sequence[int]]
) -> PlanUncertainty:
    """The chosen plan's intervals with what the best of many looks better than it is; it is only ever too good.

    Each draw is a world in which a plan is chosen by costs that are off. By what its winner looks better there than
    the chosen plan, on average (its regret), the chosen plan looks too good here. Of another quantity it is how much
    less of it the winners have in their draws than as measured, beside what the chosen plan has in the same draws.
    Draws of two passes, or sessions, have Student's t with one degree of freedom, which has no mean: of those it is the
    median. By their mean the intervals held in up to 99 % of cases instead of 95 %.
    """
    if not winners:
        return chosen
    problem = samples.problem
    drawn, measured = samples.costs(chosen.choices), costs_of(problem, chosen.choices)
    middle = np.median if any(scatter.fewest == 2 for scatter in samples.scatters) else np.mean
    offs: dict[str, list[Floats]] = {"latency": [], "energy": []}
    regrets = []
    for plan, draws in winners.items():
        of_draws, of_plan = samples.costs(plan), costs_of(problem, plan)
        for name, amount in (("latency", "latency_ps"), ("energy", "energy_pj")):
            here, there, mine, own = (getattr(cost, amount) for cost in (of_plan, of_draws, drawn, measured))
            offs[name].append((here - there[draws] + mine[draws] - own) / PER_S)
        kept = drawn.kept(problem)[draws]
        regrets.append((drawn.value(problem)[draws] - of_draws.value(problem)[draws])[kept])
    off = {name: float(middle(np.concatenate(several))) for name, several in offs.items()}
    regret = np.concatenate(regrets)
    its = float(middle(regret)) if len(regret) else 0.0
    off |= {"goal": its, problem.goal.kind: its}

    def widened(ends: tuple[float, float], quantity: str) -> tuple[float, float]:
        return ends[0], ends[1] + max(off[quantity], 0.0)

    return replace(
        chosen,
        latency_s=widened(chosen.latency_s, "latency"),
        energy_j=None if chosen.energy_j is None else widened(chosen.energy_j, "energy"),
        value=None if chosen.value is None else widened(chosen.value, "goal"),
    )


def measure_next(
    samples: Samples, chosen: Choices, rivals: Sequence[Choices], few: int = FEW
) -> tuple[Measurement, ...]:
    """What, if its true means were known, would most likely change the answer.

    That is a cell (bundle, device, frequency) by what is its own: what its passes share with all cells of the device's
    clock no measurement of one bundle tells, and it moves their costs alike. So it is a candidate of its own, all
    bundles of that clock, which more passes would tell.

    The expected value of partial perfect information, one candidate c at a time: all other costs stay as measured, and
    c takes its drawn values t. The answer changes if min over P of V(P | t) < V(chosen | t), or if the chosen plan no
    longer keeps the limits; the gain is E[V(chosen | t) - min over P of V(P | t)], where it does. P goes over the
    chosen plan and its rivals: every plan that was the best in some replicate.

    Args:
        samples: The replicates.
        chosen: The plan.
        rivals: The other plans.
        few: How many at most.

    Returns:
        The candidates with a chance above 0, by chance, then by gain.
    """
    problem = samples.problem
    plans = list(dict.fromkeys([chosen, *rivals]))
    fixed = [costs_of(problem, plan) for plan in plans]
    found = []
    for bundle, device, hertz, instead in _candidates(samples, plans):
        costs = [
            costs_of(problem, plan, instead=instead) if instead.keys() & set(plan) else fixed[at]
            for at, plan in enumerate(plans)
        ]
        values = np.stack([np.broadcast_to(cost.value(problem), len(samples)) for cost in costs])
        kept = np.stack([np.broadcast_to(cost.kept(problem), len(samples)) for cost in costs])
        best = np.where(kept, values, np.inf).min(axis=0)
        changed = (best < values[0] * (1 - SAME)) | (~kept[0] & np.isfinite(best))
        gain = np.where(kept[0], values[0] - best, 0.0)
        if changed.any():
            name = problem.devices[device].name
            found.append(Measurement(name, bundle, hertz, float(changed.mean()), float(gain.mean())))
    return tuple(sorted(found, key=lambda cell: (-cell.chance, -cell.gain))[:few])


def _candidates(samples: Samples, plans: Sequence[Choices]) -> Iterator[tuple[str, int, int, dict[Choice, Drawn]]]:
    """What may be measured again: bundle, device and clock, and the steps' drawn costs.

    To measure again tells nothing of the meter's gain, which is in none of them.
    """
    problem = samples.problem
    together: dict[tuple[int, int], list[Choice]] = {}
    for choice in dict.fromkeys(choice for plan in plans for choice in plan):
        together.setdefault((choice.device, choice.frequency_hz), []).append(choice)
    for (device, hertz), choices in together.items():
        scatter = samples.scatters[device]
        own, shared = scatter.draw_parts(scatter.profile.frequencies_hz.index(hertz), len(samples), stats.SEED + device)
        cells = {choice: scatter.profile.bundles.index(choice.bundle) for choice in choices}
        for choice, at in cells.items():
            yield spell(choice.bundle, list(problem.layers)), device, hertz, {choice: _drawn(problem, device, own, at)}
        if shared:
            yield (
                ALL_BUNDLES,
                device,
                hertz,
                {choice: _drawn(problem, device, shared, at) for choice, at in cells.items()},
            )


def _drawn(problem: Problem, device: int, parts: Sequence[Floats], cell: int) -> Drawn:
    """Latencies (ps) and energies (pJ, where the device's count) of one cell, one entry a draw."""
    found = [np.rint(part[:, cell] * PER_S).astype(np.int64) for part in parts]
    counts = len(found) > 1 and problem.has_energy and problem.devices[device].has_energy
    return found[0], found[1] if counts else np.zeros_like(found[0])


def difference(
    samples: Samples, plan: Choices, other: Choices, confidence: float = stats.CONFIDENCE
) -> tuple[float, float] | None:
    """Interval of V(other) - V(plan), in the goal's unit; what the plans share cancels. None where none would hold."""
    return samples.interval(other, plan, "goal", confidence)
