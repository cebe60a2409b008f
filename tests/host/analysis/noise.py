"""Devices whose true means are known, measured with noise of several kinds: what intervals are judged by.

Everything goes the way of a person's measurements: profiles, problem, plan, replicates, intervals.
"""

import csv
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from dime.contract.bundles import enumerate_bundles
from dime.contract.errors import InfeasibleError, InputError
from dime.host.analysis import chance_limits, resampling, uncertainty
from dime.host.planning.accounting import ENCODING, Accounting
from dime.host.planning.cost import add_up, bundle_w, walk
from dime.host.planning.formulation import build_problem
from dime.host.planning.goals import Limits
from dime.host.planning.links import Link
from dime.host.profiles import link_profile
from dime.host.profiles.encodings import Encoding
from dime.host.profiles.profiles import RawRuns, from_runs
from dime.host.profiles.published import averaged
from dime.host.search.solvers import solve
from tests.host import links, small

LAYERS = 3
SIZES = (3000, 2000, 1000, 1000)
LINK = Link("fast", 800e6, 2400e6, 0.0, 1e-9, 5e-10, 0.005)
# A radio that stays up between all of a plan's transfers, and a device that draws power while it waits.
RADIO = replace(LINK, promotion_s=0.002, promotion_w=0.8, tail_s=0.1, tail_w=0.3)
IDLE_W, IDLE_ERROR = (1.2, 1.6), 0.01
WAIT_S, WAIT_SHARE = 4e-4, 0.12
ENCODE = Accounting(encode="input:uint8,features:float16")
WITHIN = 0.015
PASSES = (1, 2, 3, 4, 5, 10, 20)
DRIFTS = {"drift 1 %": 0.01, "drift 3 %": 0.03}
SESSIONS = {"two sessions": 2, "three sessions": 3}
KINDS = ("normal", "lognormal 25 %", "outliers", "heavy tails", *DRIFTS, *SESSIONS)


def factors(kind, generator, shape):
    """What runs are multiplied by, (passes, cells, runs); what a pass shares is shared by all cells."""
    noise = 1 + generator.normal(0, WITHIN, shape)
    if kind == "lognormal 25 %":
        return generator.lognormal(-(0.25**2) / 2, 0.25, shape)
    if kind == "outliers":
        return noise + (generator.random(shape) < 0.05) * generator.exponential(1.0, shape)
    if kind == "heavy tails":
        return np.abs(1 + 2 * WITHIN * generator.standard_t(3, shape))
    if kind in DRIFTS:
        own = generator.normal(0, DRIFTS[kind] / 3, shape[:2])
        return (1 + generator.normal(0, DRIFTS[kind], (shape[0], 1)) + own)[:, :, None] * noise
    if kind in SESSIONS:
        at = sessions_of(kind, shape[0])
        of_pass = generator.normal(0, 0.02, SESSIONS[kind])[at] + generator.normal(0, 0.005, shape[0])
        return (1 + of_pass)[:, None, None] * noise
    return noise


def sessions_of(kind, passes):
    """The session of each pass; the first one has a few more."""
    return np.sort(np.arange(passes) % SESSIONS[kind])


@lru_cache
def true_factors(kind, runs):
    """What the noise multiplies a typical duration (without each pass's extremes) and a mean energy by."""
    generator = np.random.default_rng(1)
    if kind not in ("lognormal 25 %", "outliers"):
        return 1.0, 1.0
    drawn = np.sort(factors(kind, generator, (1, 100_000, runs))[0], axis=1)
    cut = int(0.2 * runs)
    return drawn[:, cut : runs - cut].mean(), 1.05 if kind == "outliers" else 1.0


@dataclass
class Truth:
    """A problem as measured, and as it truly is, and mean durations and energies of each device's cells."""

    profiles: list
    problem: object
    true: object
    true_s: dict
    true_j: dict


def handed_over(kind, passes, runs, generator, cells):
    """Times of encodings or copies, (rounds, cells, images), of mean 1; and what is typical of many."""
    drawn = np.sort(factors(kind, np.random.default_rng(2), (1, 1, 100_000))[0, 0])
    return factors(kind, generator, (passes, cells, runs)), drawn[20_000:80_000].mean()


def encodings(kind, passes, runs, generator, device, clocks):
    """What a device has measured of its encodings, and the same as it truly is; up to a third of what a layer takes."""
    measured, true = {}, {}
    for boundary, name in ((0, "uint8"), (1, "float16"), (2, "float16")):
        mean_s = generator.uniform(0.5e-3, 3e-3, (2, len(clocks))) / (3 if device == "server" else 1)
        drawn, typical = handed_over(kind, passes, runs, generator, 2 * len(clocks))
        times_s = drawn.transpose(1, 0, 2).reshape(2, len(clocks), passes, runs) * mean_s[:, :, None, None]
        ordered = np.sort(times_s.reshape(2, len(clocks), -1), axis=2)
        cut = int(0.2 * ordered.shape[2])
        told = SIZES[boundary] // 4, SIZES[boundary] // 4, SIZES[boundary], None, None, runs
        found = ordered[:, :, cut : ordered.shape[2] - cut].mean(axis=2)
        measured[boundary, name] = Encoding(*map(tuple, found), *told, tuple(times_s[0]), tuple(times_s[1]))
        true[boundary, name] = Encoding(*map(tuple, typical * mean_s), *told)
    return measured, true


def measured(kind, passes, runs, seed, goal="latency", limits=None, over="", terms=False, waits=False):
    """Two devices, the edge one with two clocks and energy, whose bundles' true means differ at random.

    Args:
        kind: Their noise.
        passes: Passes of their profiles.
        runs: Runs of each bundle in a pass.
        seed: Of the draw.
        goal: The problem's goal.
        limits: Its limits.
        over: Noise of the link, see ``links.NOISES``; empty: the link's numbers are given.
        terms: Whether the edge device waits at a cost, its radio has states, the server copies to its GPU, and what is
            sent is encoded.
        waits: Whether half of the bundles of each pass are run behind a wait, too, where they take longer.
    """
    generator = np.random.default_rng([seed, passes, runs, KINDS.index(kind)])
    profiles, true, true_s, true_j = [], [], {}, {}
    scale_s, scale_j = true_factors(kind, runs)
    for device, clocks in (("edge", (1000, 2000)), ("server", (-1,))):
        bundles = enumerate_bundles(LAYERS)
        first, last = np.repeat(np.array(bundles), len(clocks), axis=0).T
        cells = len(first)
        each_s = 0.003 if (over or terms) and device == "server" else 0.01  # then what is fastest crosses
        mean_s = each_s * (last - first + 1) * generator.uniform(0.9, 1.1, cells)
        mean_j = mean_s * generator.uniform(4.0, 5.0, cells)
        true_s[device], true_j[device] = mean_s, mean_j
        shape = (passes, cells, runs)
        noise = factors(kind, generator, (passes, cells, runs + 1) if waits else shape)
        waited, truly_waited = {}, {}
        if waits:
            alone, noise = noise[:, :, runs:], noise[:, :, :runs]
            waited_s = np.full(shape, np.nan)
            longer_s = WAIT_S + WAIT_SHARE * mean_s
            for number in range(passes):
                some = np.random.default_rng([seed, number]).permutation(cells)[: cells // 2]
                waited_s[number, some, -1] = ((mean_s + longer_s)[:, None] * alone[number])[some, 0]
            waited = {"waited_s": waited_s.ravel()}
            truly_waited = {"waited_s": mean_s + longer_s, "iteration": np.zeros(cells, np.int64)}
        noise_j = noise * (1 + generator.normal(0, WITHIN / 2, shape))
        rows = np.broadcast_to(np.arange(cells)[:, None], shape).ravel()
        hertz = np.tile(clocks, len(bundles))
        of_pass = np.broadcast_to(np.arange(passes)[:, None, None], shape).ravel()
        run = np.broadcast_to(np.arange(runs), shape).ravel()
        sessions = sessions_of(kind, passes)[of_pass] if kind in SESSIONS else None
        named = {"device": device, "network": "net", "layers": ("a", "b", "c"), "path": device}
        columns = (first[rows], last[rows], hertz[rows])
        copied, truly_copied = {}, {}
        if terms and device == "server":
            for way, boundary in (("in", first), ("out", last + 1)):
                copy_s = generator.uniform(0.3e-3, 1e-3, LAYERS + 1)[boundary]
                drawn, typical = handed_over(kind, passes, runs, generator, cells)
                copied[f"copy_{way}_s"] = (copy_s[:, None] * drawn).ravel()
                truly_copied[f"copy_{way}_s"] = copy_s * typical
        profile = from_runs(
            RawRuns(
                *columns,
                (mean_s[:, None] * noise).ravel(),
                (mean_j[:, None] * noise_j).ravel() if device == "edge" else None,
                iteration=of_pass,
                run=run,
                session=sessions,
                **copied,
                **waited,
            ),
            **named,
        )
        truth = from_runs(
            RawRuns(
                *(first, last, hertz),
                mean_s * scale_s,
                mean_j * scale_j if device == "edge" else None,
                **truly_copied,
                **truly_waited,
            ),
            **named,
        )
        if terms:
            both = encodings(kind, passes, runs, generator, device, clocks)
            profile, truth = (replace(one, encodings=its) for one, its in zip((profile, truth), both, strict=True))
        if terms and device == "edge":
            idle_w = tuple(watts * (1 + generator.normal(0, IDLE_ERROR)) for watts in IDLE_W)
            profile = replace(profile, idle_w=idle_w, idle_w_sd=tuple(IDLE_ERROR * watts for watts in IDLE_W))
            truth = replace(truth, idle_w=IDLE_W)
        profiles.append(profile)
        true.append(truth)
    air = RADIO if terms else LINK
    accounting = ENCODE if terms else Accounting()
    problems = [
        build_problem(one, link, goal, limits or Limits(rule="free"), sizes_bytes=SIZES, accounting=accounting)
        for one, link in ((profiles, measured_link(over, passes, seed, air)), (true, air))
    ]
    return Truth(profiles, *problems, true_s, true_j)


def measured_link(over, passes, seed, link=LINK):
    """The link as it was measured, in as many passes as the profiles."""
    if not over:
        return link
    truth = link.round_trip_s, link.upload_bit_s, link.download_bit_s
    found = link_profile.fit(
        links.exchanges(passes, 10, truth, over, 0.02, seed, largest=SIZES[0]), "fast", "a", "b", "measured"
    )
    return replace(
        link, upload_bit_s=found.upload_bit_s.value, download_bit_s=found.download_bit_s.value,
        round_trip_s=found.round_trip_s.value, passes=found.passes, spread_s=found.spread_s,
        spread_share=found.spread_share, origin="measured",
    )  # fmt: skip


@dataclass
class Score:
    """How often what was said is true."""

    given: dict = field(default_factory=dict)
    true: dict = field(default_factory=dict)
    refused: int = 0
    off: dict = field(default_factory=dict)

    def add(self, what, holds):
        self.given[what] = self.given.get(what, 0) + 1
        self.true[what] = self.true.get(what, 0) + bool(holds)

    def refuse(self):
        self.refused += 1

    def share(self, what):
        return self.true.get(what, 0) / self.given[what] if self.given.get(what) else None

    def __iadd__(self, other):
        for what, count in other.given.items():
            self.given[what] = self.given.get(what, 0) + count
            self.true[what] = self.true.get(what, 0) + other.true[what]
        self.refused += other.refused
        return self


def judge(kind, passes, runs, seeds, goal="latency", replicates=20, terms=False):
    """Measures many such devices and counts how often each statement about them is true.

    Intervals are of two plans that were chosen by the truth, and of their difference; ``chosen`` are those of the plan
    that was chosen by the measurements: the winner among plans that differ by less than the noise looks a little better
    than it is.
    """
    score = Score()
    for seed in seeds:
        made = measured(kind, passes, runs, seed, goal, terms=terms)
        if resampling.unknown(averaged(made.profiles, "correct")):
            score.refuse()
            continue
        samples = resampling.resample(made.problem, made.profiles, replicates, seed)
        plans = small.all_plans(made.true)
        best, other = plans[0], plans[1 + seed % 10]
        for what, chosen, true in (
            ("latency", (best[2],), best[1].latency_ps / 1e12),
            ("energy", (best[2],), mean_energy_j(kind, made, best) if terms else best[1].energy_pj / 1e12),
            ("difference", (other[2], best[2]), other[0] - best[0]),
        ):
            ends = samples.interval(*chosen, quantity="goal" if what == "difference" else what)
            if ends is not None:
                score.add(what, ends[0] <= true <= ends[1])
            else:
                score.add(f"no {what}", True)
        chosen = solve(made.problem).choices
        found = uncertainty.bootstrap(samples, [chosen])
        truly = {plan[2]: plan[0] for plan in plans}
        its = next(plan for plan in plans if plan[2] == chosen)
        energy_j = mean_energy_j(kind, made, its) if terms else its[1].energy_pj / 1e12
        if found.chosen.energy_j is not None and energy_j:
            score.add("its energy", found.chosen.energy_j[0] <= energy_j <= found.chosen.energy_j[1])
        if found.chosen.value is not None:
            score.add("chosen", found.chosen.value[0] <= truly[chosen] <= found.chosen.value[1])
        share = found.chosen.best_share
        if share >= 0.95:
            score.add("best in 95 % and more", truly[chosen] <= best[0])
        elif share >= 0.9:
            score.add("best in 90 to 95 %", truly[chosen] <= best[0])
        rival = next(plan[2] for plan in small.all_plans(made.problem) if plan[2] != chosen)
        ends = uncertainty.difference(samples, chosen, rival)
        if ends is not None and ends[0] > 0:
            score.add("sure", truly[chosen] < truly[rival])
    return score


def mean_energy_j(kind, made, plan):
    """Mean of what a plan's runs truly take, copies and encodings by their mean times, too."""
    return single_runs(kind, made, plan[2], np.random.default_rng(3), 20_000, quantity="energy").mean()


def single_runs(kind, made, choices, generator, count=2000, over="", quantity="latency"):
    """Latencies, or energies, of a plan's single runs, each in a pass, and a session, of its own."""
    problem, acting = made.true, made.true.acting
    parts = walk(problem, choices)
    shares = {
        device: drawn_together(kind, sum(c.device == device for c in choices), generator, count)
        for device in range(len(made.profiles))
    }
    costs = getattr(problem, quantity)
    total = np.full(count, float(add_up(parts, costs).crossing) / 1e12)
    for part in parts:
        watts = 1.0 if quantity == "latency" else part_w(problem, part)
        if part.choice is None:
            if part.source != part.target:
                total += watts * crossed_s(kind, made, part, generator, count, over)
            continue
        profile, device = made.profiles[part.source], part.source
        cell = profile.bundles.index(part.choice.bundle) * len(profile.frequencies_hz) + part.column
        factor = shares[device].pop()
        total += watts * made.true_s[profile.device][cell] * factor
        if quantity == "energy" and device == 0:
            total += made.true_j[profile.device][cell] * factor * (1 + generator.normal(0, WITHIN / 2, count))
        state, alone = problem.states.bundles[device][part.context], not problem.states.kind.ends[device]
        working_w = 0.0 if quantity == "latency" or not acting.working_w else (acting.working_w[device] or (0.0,))[-1]
        if quantity == "energy" and device == 0 and acting.working_w:
            working_w = acting.working_w[0][part.column]
        for of_terms, there, boundary in (
            (acting.first_ps, state.first or alone, part.choice.bundle.first),
            (acting.last_ps, state.last or alone, part.choice.bundle.last + 1),
        ):
            for tables in of_terms.values() if there else ():
                if tables[device] is not None:
                    mean_s = tables[device][boundary, part.column] / 1e12 / typical_handed_over(kind)
                    total += (watts + working_w) * mean_s * factors(kind, generator, (count, 1, 1))[:, 0, 0]
    return total


def part_w(problem, part):
    """Power of what waits, or stays up, during a part of a plan."""
    if problem.acting.is_empty:
        return 0.0
    if part.choice is not None:
        return bundle_w(problem, part)
    context = problem.states.crossings[part.context]
    return problem.acting.waits_w(context.left_at, None) + problem.acting.tails_w(context.up, context.radio)


def drawn_together(kind, steps, generator, count):
    """Factors of a device's steps in each run; what a pass shares is shared by all."""
    if kind in SESSIONS:
        noise = 1 + generator.normal(0, WITHIN, (count, steps))
        noise *= 1 + generator.normal(0, 0.02, (count, 1)) + generator.normal(0, 0.005, (count, 1))
    else:
        noise = factors(kind, generator, (count, max(steps, 1), 1))[:, :steps, 0]
    return list(noise.T)


def crossed_s(kind, made, part, generator, count, over):
    """How much longer each run's transfer takes than the mean, with the encoding of the input."""
    more_s = np.zeros(count)
    if over:
        way_s = made.true.transfer_ps(part.row, part.source, part.target) / 1e12
        drawn = [links.NOISES[over](generator, LINK.round_trip_s) for _ in range(count)]
        more_s += [way_s * (factor - 1) + later_s / 2**0.5 for factor, later_s in drawn]
        more_s += way_s * generator.normal(0, 0.02, count)
    if part.row == 0 and ENCODING in made.true.acting.crossing:
        typical_s = made.true.acting.crossing[ENCODING][0][0, part.source, part.target] / 1e12
        factor = factors(kind, generator, (count, 1, 1))[:, 0, 0] / typical_handed_over(kind)
        more_s += typical_s * (factor - 1)
    return more_s


@lru_cache
def typical_handed_over(kind):
    """What is typical of many copies or encodings, by their mean."""
    return handed_over(kind, 1, 1, np.random.default_rng(0), 1)[1]


def judge_limits(kind, passes, runs, seeds, promise=0.95, over="", limited="latency", terms=False):
    """Plans within a limit that is to hold with a probability: how often single runs truly keep it, and the bound."""
    score, kept = Score(), {"bound": [], "limit": []}
    other = "energy" if limited == "latency" else "latency"
    for seed in seeds:
        made = measured(kind, passes, runs, seed, other, over=over, terms=terms)
        generator = np.random.default_rng([seed, 1])
        plans = sorted(
            small.all_plans(made.true), key=lambda plan: getattr(plan[1], f"{limited}_p{'sj'[limited == 'energy']}")
        )
        known = plans[0 if limited == "latency" else len(plans) // 2][2]
        limit = float(1.1 * np.quantile(single_runs(kind, made, known, generator, over=over, quantity=limited), 0.97))
        asked = made.problem.with_limits(
            replace(made.problem.limits, **{f"{limited}_{'sj'[limited == 'energy']}": limit})
        )
        try:
            found = chance_limits.plan_with_confidence(asked, made.profiles, promise)
        except InfeasibleError:
            score.add("no plan", True)
            continue
        except InputError:
            score.refuse()
            continue
        drawn = single_runs(kind, made, found.choices, generator, over=over, quantity=limited)
        kept["bound"].append((drawn <= found.limits[0].bound).mean())
        kept["limit"].append((drawn <= limit).mean())
    return score, kept


class Row(NamedTuple):
    """How often one statement about devices with one noise is true; share is empty where none was made."""

    noise: str
    passes: int
    runs: int
    statement: str
    given: int
    share: float | str


INTERVALS = "latency", "energy", "difference", "chosen", "its energy"
OVER = "normal", "jitter"
BOUND, LIMIT = "single runs below the bound of 95 %", "single runs within the limit of 95 %"
JOULES_BOUND, JOULES_LIMIT = "joules of single runs below the bound of 95 %", "joules of them within the limit of 95 %"
LIMITED = {
    "latency": ("limit refused", BOUND, LIMIT),
    "energy": ("limit on joules refused", JOULES_BOUND, JOULES_LIMIT),
}
# Kinds in which a plan's terms vary, too, and the number of passes of their intervals.
TERMS_KINDS, TERMS_PASSES, WITH_TERMS = KINDS[:6], 5, " with terms"
LIMIT_SHAPES = (10, 10), (5, 2)


def rows(kind, passes, runs, score):
    """What ``judge`` found, as rows of the table."""
    made = [Row(kind, passes, runs, "refused", score.refused, "")]
    names = (*INTERVALS, "best in 95 % and more", "best in 90 to 95 %", "sure")
    return made + [
        Row(
            kind,
            passes,
            runs,
            name,
            score.given.get(name, 0),
            round(score.share(name), 4) if score.given.get(name) else "",
        )
        for name in names
    ]


def limit_rows(kind, passes, runs, score, kept, limited="latency"):
    """What ``judge_limits`` found, as rows of the table; shares are mean probabilities."""
    refused, bound, limit = LIMITED[limited]
    made = [Row(kind, passes, runs, refused, score.refused, "")]
    for name, shares in ((bound, kept["bound"]), (limit, kept["limit"])):
        made.append(Row(kind, passes, runs, name, len(shares), round(float(np.mean(shares)), 4) if shares else ""))
    return made


def read_rows(path):
    """The table as it was made last."""
    with open(path, encoding="utf-8") as stream:
        return [
            Row(row["noise"], int(row["passes"]), int(row["runs"]), row["statement"], int(row["given"]), row["share"])
            for row in csv.DictReader(stream)
        ]


def broken(made):
    """Rows that show a statement to be true too seldom, or too often, by more than twice the error of their number."""
    found = []
    for row in made:
        if row.share == "":
            continue
        share = float(row.share)
        if row.statement in INTERVALS and row.given >= 50:
            error = 2 * (0.05 * 0.95 / row.given) ** 0.5
            found += [] if 0.92 - error <= share <= 0.98 + error else [row]
        if row.statement in (BOUND, LIMIT, JOULES_BOUND, JOULES_LIMIT) and share < 0.94:
            found.append(row)
    for statement, low, high in (("best in 90 to 95 %", 0.88, 0.98), ("sure", 0.975, 1.0)):
        known = [row for row in made if row.statement == statement and row.share != ""]
        given = sum(row.given for row in known)
        share = sum(row.given * float(row.share) for row in known) / max(given, 1)
        if given < 100 or not low <= share <= high:
            found.append(Row("all", 0, 0, statement, given, share))
    return found
