"""Which plan is best at which bandwidth or round trip: exact break-even points, computed and not sampled.

Every cost of a plan is a line c + s x in a knob x >= 0 (VARIES): s is what slower links multiply, c what they leave as
it is. With c and s in whole picoseconds and picojoules, as the problem has them at its own links, the best plan as a
function of x is a lower envelope of lines, whose corners are rational numbers; they are kept as fractions.

The radio draws alpha x rate + beta while bits are on the air, which takes bits / rate: its energy is alpha x bits,
whatever the rate, and beta x bits / rate. So c of the energy holds alpha, and s holds beta.

Without limits on latency or energy the lines of the envelope are found by solving the problem at both ends and where
two known lines meet, until nothing better is found there. With them a plan ends where it breaks a limit, and a plan
that is nowhere the best without the limits may be so with them: then all plans that are not dominated in c and s of
goal and limits are listed first.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from time import monotonic
from typing import TYPE_CHECKING

import numpy as np

from dime.contract.errors import InfeasibleError, InputError, OutOfTimeError, unknown
from dime.host.common.stats import Ints
from dime.host.common.units import plain
from dime.host.planning.cost import add_up, walk
from dime.host.planning.goals import Goal
from dime.host.planning.links import Link, connect
from dime.host.planning.plan import one_line
from dime.host.planning.problem import LARGEST_SUM, PER_J, PER_S, Choice, Problem
from dime.host.planning.quantity import Quantity
from dime.host.planning.terms import PROTOCOL, picojoules
from dime.host.search.quantities import as_problem, of_goal, undominated
from dime.host.search.solvers import TIME_LIMIT_S, exact

if TYPE_CHECKING:
    import pandas as pd

LinkSpec = str | Link | Mapping[tuple[str, str], str | Link | None]
Choices = tuple[Choice, ...]
# The knob x: what the time on the air of every transfer is multiplied by, or of uploads, or downloads; or the round
# trip in seconds.
VARIES = ("bandwidth", "upload", "download", "round_trip")


@dataclass(frozen=True)
class Region:
    """A range of the knob in which one plan is the best.

    Attributes:
        low: Where it begins; exact.
        high: Where it ends; None: it does not.
        choices: The plan; None: no plan keeps the limits.
        constant: The goal's value in its unit is constant + slope x knob.
        slope: See there.
    """

    low: Fraction
    high: Fraction | None
    choices: Choices | None
    constant: Fraction
    slope: Fraction

    @property
    def factors(self) -> tuple[float, float]:
        """Between which multiples of the links' rates it is the best: 1 / high and 1 / low."""
        return 0.0 if self.high is None else float(1 / self.high), float(1 / self.low) if self.low else float("inf")


@dataclass(frozen=True, eq=False)
class BestPlans:
    """The best plan for every value of the knob.

    Attributes:
        problem: The problem.
        vary: What the knob is, one of VARIES.
        here: Its value at the problem's own links.
        link: The link, if all pairs of devices have the same one.
        round_trip_s: Round trip assumed instead of the links' own, or None.
        regions: By ascending knob, from 0 on: the first is the fastest link's.
    """

    problem: Problem
    vary: str
    here: Fraction
    link: Link | None
    round_trip_s: float | None
    regions: tuple[Region, ...]

    def __repr__(self) -> str:
        lines = [
            f"BestPlans of {self.problem.network} by {self.vary.replace('_', ' ')}: {len(self.regions)} ranges",
            f"  the plan changes at {', '.join(f'{float(at):.4g}' for at in self.break_evens[:5]) or 'no value'}",
            "  table() has them all",
        ]
        return "\n".join(map(plain, lines))

    def at(self, knob: Fraction | float) -> Region:
        """The region of a value of the knob; at a break-even point the one below it, whose plan still is a best one."""
        if knob < 0:
            raise InputError(f"a {self.vary} of {knob} is not >= 0")
        return next(region for region in self.regions if region.high is None or knob <= region.high)

    @property
    def chosen(self) -> Region:
        """The region of the problem's own links."""
        return self.at(self.here)

    @property
    def break_evens(self) -> tuple[Fraction, ...]:
        """Where the best plan changes."""
        return tuple(region.low for region in self.regions[1:])

    def table(self) -> pd.DataFrame:
        """One row a region, from the slowest link to the fastest.

        Columns: round_trip_s_low and round_trip_s_high, or factor_low and factor_high (multiples of the links' rates)
        and, with a single link, upload_bit_s_low to download_bit_s_high, of what varies; then whether the problem's own
        links lie inside, the goal's value at both ends of the region, and the plan, empty where none keeps the limits.
        """
        import pandas as pd

        rows = []
        for region in reversed(self.regions):
            high = float("inf") if region.high is None else float(region.high)
            row: dict[str, object] = {"round_trip_s_low": float(region.low), "round_trip_s_high": high}
            if self.vary != "round_trip":
                row = dict(zip(("factor_low", "factor_high"), region.factors, strict=True))
                for way in ("upload", "download"):
                    if self.link is not None and self.vary in ("bandwidth", way):
                        rate = self.link.upload_bit_s if way == "upload" else self.link.download_bit_s
                        for end, factor in zip(("low", "high"), region.factors, strict=True):
                            row[f"{way}_bit_s_{end}"] = rate * factor
            ends = [float(region.constant + region.slope * x) for x in (region.low, region.high) if x is not None]
            row["here"] = region is self.chosen
            row["value_low"] = ends[0] if region.choices else None
            row["value_high"] = (ends[1] if len(ends) > 1 else None) if region.choices else None
            row["plan"] = one_line(self.problem, region.choices) if region.choices else ""
            rows.append(row)
        frame: pd.DataFrame = pd.DataFrame(rows)
        return frame


def best_plans(
    problem: Problem,
    links: LinkSpec | None = None,
    vary: str = "bandwidth",
    round_trip_s: float | None = None,
    time_limit_s: float = TIME_LIMIT_S,
) -> BestPlans:
    """Finds the best plan for every bandwidth, or every round trip.

    Args:
        problem: The problem.
        links: What it was built with, for a problem whose crossings were given as numbers; None: the problem's own.
        vary: ``bandwidth``: both rates of all links by one factor; ``upload`` or ``download`` alone; ``round_trip``:
            the round trip of all links, s.
        round_trip_s: A round trip to assume instead of the links' own.
        time_limit_s: Longest time.

    Returns:
        The best plan for every value of the knob, from 0 to infinity.

    Raises:
        InputError: The links are not the problem's, the knob is unknown, the goal is throughput (no sum, and so no
            line), or time ran out.
        InfeasibleError: No plan keeps the limits even with the fastest links.
    """
    if vary not in VARIES:
        raise unknown("knob", vary, VARIES)
    if round_trip_s is not None and (vary == "round_trip" or not 0 <= round_trip_s < float("inf")):
        raise InputError(f"a round trip of {round_trip_s} s cannot be assumed: it varies, or is not >= 0 s")
    given = _links(problem, links)
    fixed, growing = split(problem, given, vary, round_trip_s)
    deadline = monotonic() + time_limit_s
    (cost, slope), unit = of_goal(problem, fixed, growing)
    most = problem.latency_limit_ps, problem.energy_limit_pj
    limits = [
        (limit, constant, growth)
        for limit, constant, growth in zip(most, fixed, growing, strict=True)
        if limit is not None
    ]
    if limits:
        lines = _all_lines(problem, cost, slope, limits, deadline - monotonic())
    else:
        lines = list(_corners(problem, cost, slope, deadline))
    regions = tuple(_walk(lines, unit))
    if regions[0].choices is None:
        raise InfeasibleError("no plan keeps the limits, however fast the links are")
    every = set(given.values()) - {None}
    here = Fraction(1)
    if vary == "round_trip":
        trips = {link.round_trip_s for link in every if link is not None} or {0.0}
        if len(trips) > 1:
            raise InputError("the links have different round trips; one knob for all of them has no place for them")
        here = Fraction(2 * round(trips.pop() / 2 * PER_S), PER_S)
    return BestPlans(problem, vary, here, every.pop() if len(every) == 1 else None, round_trip_s, regions)


def round_trips(
    problem: Problem,
    round_trips_s: Sequence[float],
    links: LinkSpec | None = None,
    vary: str = "bandwidth",
    time_limit_s: float = TIME_LIMIT_S,
) -> tuple[BestPlans, ...]:
    """One map for each of several round trips; see ``best_plans``."""
    return tuple(best_plans(problem, links, vary, trip, time_limit_s) for trip in round_trips_s)


@dataclass(frozen=True)
class _Line:
    """A plan's cost, constant + slope x, up to the x (None: every x) at which it breaks a limit."""

    constant: int
    slope: int
    end: Fraction | None
    choices: Choices

    def at(self, x: Fraction) -> tuple[Fraction, int]:
        """Cost, and slope to tell equals apart: the flatter line is the better one from here on."""
        return self.constant + self.slope * x, self.slope

    def meets(self, other: _Line) -> Fraction:
        """Where it meets another line, which must not be parallel."""
        return Fraction(other.constant - self.constant, self.slope - other.slope)


def _links(problem: Problem, spec: LinkSpec | None) -> Mapping[tuple[int, int], Link | None]:
    if spec is not None:
        return connect(spec, [device.name for device in problem.devices])
    if not problem.joined and len(problem.devices) > 1:
        raise InputError("the problem's crossings were given as numbers, without the links behind them; give links=")
    return problem.joined


def split(
    problem: Problem, links: Mapping[tuple[int, int], Link | None], vary: str, round_trip_s: float | None
) -> tuple[tuple[Quantity, Quantity], tuple[Quantity, Quantity]]:
    """(latency, energy) of every step: what stays when the knob turns, and what grows with it."""
    if problem.acting.radios and len(problem.devices) > 2:
        raise InputError("how long a radio is silent between its transfers depends on the other links' transfers, too")
    based = _with_round_trip(problem, links, 0.0 if vary == "round_trip" else round_trip_s)
    grows_ps, grows_pj = np.zeros_like(problem.crossing_ps), np.zeros_like(problem.crossing_pj)
    counted = problem.acting.counted
    for (weaker, other), link in links.items():
        if link is None:
            continue
        silent = replace(link, radio_w=0.0, round_trip_s=0.0)
        counts = not counted or counted[weaker]
        for boundary, size in enumerate(problem.sizes_bytes):
            for upload, place in ((True, (boundary, weaker, other)), (False, (boundary, other, weaker))):
                latency_ps, energy_pj = int(problem.crossing_ps[place]), int(problem.crossing_pj[place])
                if latency_ps != round(link.latency_s(size, upload) * PER_S):
                    raise InputError(f"link {link.name} is not the one that the problem was built with")
                if vary == "round_trip":
                    grows_ps[place] = PER_S // 2 + problem.acting.connect_trips * PER_S
                elif vary in ("bandwidth", "upload" if upload else "download"):
                    header = link.header_bytes if PROTOCOL in problem.acting.crossing else 0
                    air_ps = latency_ps - round(link.round_trip_s / 2 * PER_S)
                    rated_pj = round(silent.energy_j(size, upload, problem.arithmetic) * PER_J)
                    grows_ps[place] = air_ps + round(silent.latency_s(header, upload) * PER_S)
                    grows_pj[place] = max(0, energy_pj - rated_pj) if problem.has_energy else 0
                    if counts and problem.has_energy:
                        beta = replace(link, upload_j_per_bit=0.0, download_j_per_bit=0.0)
                        grows_pj[place] += round(beta.energy_j(header, upload, problem.arithmetic) * PER_J)
    growing = _growing(problem, grows_ps, grows_pj)
    time, energy = based.true_costs
    if vary != "round_trip":
        time, energy = _less(time, growing[0]), _less(energy, growing[1])
    return (replace(time, most=None), replace(energy, most=None)), growing


def _with_round_trip(
    problem: Problem, links: Mapping[tuple[int, int], Link | None], round_trip_s: float | None
) -> Problem:
    """The same problem with another round trip of all links; None: their own."""
    if round_trip_s is None:
        return problem
    crossing_ps = problem.crossing_ps.copy()
    terms = problem.terms
    added = {term: (ps.copy(), pj) for term, (ps, pj) in terms.crossing.items()}
    for (weaker, other), link in links.items():
        if link is not None:
            more_ps = round(round_trip_s / 2 * PER_S) - round(link.round_trip_s / 2 * PER_S)
            more_trips_ps = round((round_trip_s - link.round_trip_s) * PER_S) * terms.connect_trips
            for a, b in ((weaker, other), (other, weaker)):
                crossing_ps[:, a, b] += more_ps
                if PROTOCOL in added:
                    added[PROTOCOL][0][:, a, b] += more_trips_ps
    return replace(problem, crossing_ps=crossing_ps, terms=replace(terms, crossing=added))


def _growing(problem: Problem, grows_ps: Ints, grows_pj: Ints) -> tuple[Quantity, Quantity]:
    """What grows with the knob, in every context: times on the air, the radio's power in them, and what waits."""
    terms, contexts = problem.acting, problem.states.crossings
    energies = []
    for context in contexts:
        watts = 0.0
        if problem.has_energy and not terms.is_empty:
            watts = terms.waits_w(context.left_at, None) + terms.tails_w(context.up, context.radio)
        energies.append(grows_pj + picojoules(watts, grows_ps))
    contextual = not problem.states.is_single
    still = [np.zeros_like(costs) for costs in problem.true_costs[0].of_devices]
    times = np.stack([grows_ps] * len(contexts)) if contextual else grows_ps
    joules = np.stack(energies) if contextual else energies[0]
    return (
        Quantity("latency a knob", "ps", still, times, contextual=contextual),
        Quantity("energy a knob", "pJ", still, joules, contextual=contextual),
    )


def _less(total: Quantity, part: Quantity) -> Quantity:
    return replace(total, crossing=np.where(total.crossing < 0, total.crossing, total.crossing - part.crossing))


def _corners(problem: Problem, cost: Quantity, slope: Quantity, deadline: float) -> Iterator[_Line]:
    """The lines of the lower envelope, found by solving the problem where known ones meet."""

    def best(weight: int, weight_of_slope: int) -> _Line | None:
        left = deadline - monotonic()
        if left <= 0:
            raise OutOfTimeError("the break-even points were not found in time; give it more")
        goal = Goal("weighted", weight, weight_of_slope)
        choices = exact.solve(as_problem(problem, cost, slope, goal), left, 0.0).choices
        if choices is None:
            return None
        parts = walk(problem, choices)
        return _Line(add_up(parts, cost).total, add_up(parts, slope).total, None, choices)

    first, last = best(LARGEST_SUM, 1), best(1, LARGEST_SUM)
    if first is None or last is None:
        return
    yield first
    waiting = [(first, last)]
    while waiting:
        left, right = waiting.pop()
        if left.slope == right.slope:
            continue
        x = left.meets(right)
        between = best(x.denominator, x.numerator)
        if between is None or between.at(x)[0] == left.at(x)[0]:
            yield right
        else:
            waiting += [(between, right), (left, between)]


def _all_lines(
    problem: Problem, cost: Quantity, slope: Quantity, limits: list[tuple[int, Quantity, Quantity]], time_limit_s: float
) -> list[_Line]:
    """The lines of all plans that may be the best one within the limits for some x, with the x at which each ends."""
    quantities = [cost, slope]
    for most, constant, growth in limits:
        quantities += [replace(constant, most=most), growth]
    lines = []
    for sums, choices in undominated(problem, quantities, time_limit_s):
        ends = [
            Fraction(most - constant, growth)
            for (most, _, _), constant, growth in zip(limits, sums[2::2], sums[3::2], strict=True)
            if growth
        ]
        lines.append(_Line(sums[0], sums[1], min(ends, default=None), choices))
    return lines


def _walk(lines: list[_Line], unit: Fraction) -> Iterator[Region]:
    """The lower envelope from x = 0 on."""
    x = Fraction(0)
    while True:
        there = [line for line in lines if line.end is None or line.end > x]
        if not there:
            yield Region(x, None, None, Fraction(0), Fraction(0))
            return
        best = min(there, key=lambda line: line.at(x))
        ahead = [] if best.end is None else [best.end]
        for line in there:
            if line.slope < best.slope and (line.end is None or line.end > best.meets(line)):
                ahead.append(best.meets(line))
        high = min(ahead, default=None)
        yield Region(x, high, best.choices, unit * best.constant, unit * best.slope)
        if high is None:
            return
        x = high
