"""How sure the answer is: intervals, how often a plan stays the best, its regret, and what to measure again.

Everything comes from bootstrap replicates of the raw runs; ``resampling`` draws them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dime.contract.bundles import spell
from dime.contract.errors import InputError
from dime.host.analysis.resampling import Choices, Samples, plan_costs
from dime.host.common import statistics
from dime.host.common.statistics import Bools, Floats
from dime.host.planning.cost import Costs
from dime.host.planning.plan import one_line
from dime.host.planning.problem import PER_J, PER_S

if TYPE_CHECKING:
    import pandas as pd

TIME_LIMIT_S = 30.0
FEW = 5
# Floats of equal weighted sums may differ in their last digits.
SAME = 1e-12


@dataclass(frozen=True)
class PlanUncertainty:
    """What the replicates say about one plan.

    Attributes:
        choices: The plan.
        latency_s: Ends of the interval of its latency.
        energy_j: Ends of the interval of its energy; None without energy.
        value: Ends of the interval of the goal's value.
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
    value: tuple[float, float]
    best_share: float
    frontier_share: float
    kept_share: float
    regret: float | None
    regret_high: float | None


@dataclass(frozen=True)
class Measurement:
    """A bundle that may change the answer when it is measured again.

    Attributes:
        device: Name of the device.
        bundle: Name of the bundle.
        frequency_hz: Clock.
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
        solved: How many of them were solved: all, unless time ran out.
        confidence: Share of the replicates inside of the intervals.
        plans: One entry a plan asked about, in that order.
        winners: Each plan that was the best in some replicate, with the share of those, most frequent first.
        infeasible_share: Share of the replicates in which no plan keeps the limits.
        measure_next: What is worth measuring again, most promising first.
    """

    samples: Samples
    solved: int
    confidence: float
    plans: tuple[PlanUncertainty, ...]
    winners: tuple[tuple[Choices, float], ...]
    infeasible_share: float
    measure_next: tuple[Measurement, ...]

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
    confidence: float = statistics.CONFIDENCE,
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
    times = np.stack([c.period_ps if problem.goal.kind == "throughput" else c.latency_ps for c in costs])
    energies = np.stack([c.energy_pj for c in costs])
    values, kept = np.stack([c.value(problem) for c in costs]), np.stack([c.kept(problem) for c in costs])
    is_best, on_front = np.zeros_like(kept), np.zeros_like(kept)
    least: list[float] = []
    winners: dict[Choices, int] = {}
    for at, found in enumerate(samples.trade_offs(time_limit_s)):
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
        winners[choices] = winners.get(choices, 0) + 1
    solved = len(least)
    ranked = sorted(winners.items(), key=lambda item: -item[1])
    return Uncertainty(
        samples,
        solved,
        confidence,
        tuple(
            _conclude(samples, tuple(plan), confidence, cost, np.array(least), is_best[at], on_front[at])
            for at, (plan, cost) in enumerate(zip(plans, costs, strict=True))
        ),
        tuple((choices, count / solved) for choices, count in ranked),
        float(np.isnan(least).mean()),
        measure_next(samples, tuple(plans[0]), [choices for choices, _ in ranked]),
    )


def _conclude(
    samples: Samples, plan: Choices, confidence: float, costs: Costs, least: Floats, is_best: Bools, on_front: Bools
) -> PlanUncertainty:
    """What the replicates, of which the first ``len(least)`` were solved, say about a plan."""
    solved = len(least)
    tails = (1 - confidence) / 2, (1 + confidence) / 2
    value, kept = costs.value(samples.problem), costs.kept(samples.problem)
    regret = (value[:solved] - least)[kept[:solved] & ~np.isnan(least)]
    ends = [np.quantile(a, tails).tolist() for a in (costs.latency_ps / PER_S, costs.energy_pj / PER_J, value)]
    return PlanUncertainty(
        plan,
        tuple(ends[0]),
        tuple(ends[1]) if samples.problem.has_energy else None,
        tuple(ends[2]),
        float(is_best[:solved].mean()),
        float(on_front[:solved].mean()),
        float(kept.mean()),
        float(regret.mean()) if len(regret) else None,
        float(np.quantile(regret, tails[1])) if len(regret) else None,
    )


def measure_next(
    samples: Samples, chosen: Choices, rivals: Sequence[Choices], few: int = FEW
) -> tuple[Measurement, ...]:
    """Which cells (bundle, device, clock), if their true means were known, would most likely change the answer.

    The expected value of partial perfect information, one cell c at a time: all other costs stay as measured, and the
    cell's mean t takes its bootstrap values. The answer changes if min over P of V(P | t) < V(chosen | t), or if the
    chosen plan no longer keeps the limits; the gain is E[V(chosen | t) - min over P of V(P | t)], where it does.
    P goes over the chosen plan and its rivals: every plan that was the best in some replicate.

    Args:
        samples: The replicates.
        chosen: The plan.
        rivals: The other plans.
        few: How many cells at most.

    Returns:
        The cells with a chance above 0, by chance, then by gain.
    """
    problem = samples.problem
    plans = list(dict.fromkeys([chosen, *rivals]))
    fixed = [plan_costs(problem, plan, {}) for plan in plans]
    found = []
    for choice in dict.fromkeys(choice for plan in plans for choice in plan):
        # To measure again tells nothing of the meter's gain.
        latency_ps, energy_pj = samples.cell(choice)
        cell = {choice: (latency_ps, np.rint(energy_pj / samples.gains[choice.device]).astype(np.int64))}
        costs = [plan_costs(problem, plan, cell) if choice in plan else fixed[at] for at, plan in enumerate(plans)]
        values = np.stack([np.broadcast_to(cost.value(problem), len(samples)) for cost in costs])
        kept = np.stack([np.broadcast_to(cost.kept(problem), len(samples)) for cost in costs])
        best = np.where(kept, values, np.inf).min(axis=0)
        changed = (best < values[0] * (1 - SAME)) | (~kept[0] & np.isfinite(best))
        gain = np.where(kept[0], values[0] - best, 0.0)
        if changed.any():
            name = spell(choice.bundle, list(problem.layers))
            device = problem.devices[choice.device].name
            found.append(Measurement(device, name, choice.frequency_hz, float(changed.mean()), float(gain.mean())))
    return tuple(sorted(found, key=lambda cell: (-cell.chance, -cell.gain))[:few])


def difference(
    samples: Samples, plan: Choices, other: Choices, confidence: float = statistics.CONFIDENCE
) -> tuple[float, float]:
    """Interval of V(other) - V(plan), in the goal's unit; what the plans share cancels."""
    values = samples.costs(other).value(samples.problem) - samples.costs(plan).value(samples.problem)
    low, high = np.quantile(values, ((1 - confidence) / 2, (1 + confidence) / 2))
    return float(low), float(high)
