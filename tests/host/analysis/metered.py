"""An edge device whose true power is known in every moment, metered: what a plan's joules are judged by.

The meter's log of its profile goes the way of a person's: files, join, profile, problem, plan, interval. Beside it
stands a run of the plan from end to end, whose power is drawn as the device really is: it computes, waits at rest while
the server computes and bits travel, and its radio is brought up, sends, and stays up. Its integral is the truth.
"""

import json
import shutil
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import pyarrow
from pyarrow import csv

from dime.contract import tables
from dime.contract.bundles import enumerate_bundles, spell
from dime.contract.frames import OVERHEAD_BYTES
from dime.host.analysis import resampling, uncertainty
from dime.host.metering.api import TIME
from dime.host.metering.meters import smartpower3
from dime.host.planning.evaluation import evaluate
from dime.host.planning.formulation import build_problem
from dime.host.planning.goals import Limits
from dime.host.planning.links import Link
from dime.host.profiles import link_profile
from dime.host.profiles.joint_profile import join
from dime.host.profiles.profiles import RawRuns, from_runs, load_profile
from dime.host.search.solvers import solve
from tests.host import links, powered, small
from tests.host.analysis import noise
from tests.lab.loads import Load

CLOCKS = (500_000_000, 1_000_000_000)
SIZES = (15_000, 9_000, 4_000, 4)  # the result is the number of a class
REST_S, WINDOW_S, PERIOD_S = 5.0, 0.1, 0.005
RUNS, SERVER_RUNS = 2, 10
GAIN_ERROR = 0.002
START_NS = 1_700_000_000_000_000_000
MEASURED = "measured link"
KINDS = ("normal", "lognormal 25 %", "outliers", "heavy tails", "drift 1 %", "drift 3 %", MEASURED)
BUNDLES = list(enumerate_bundles(3))


@dataclass
class World:
    """What is true: means of the edge device's cells (bundles, clocks), of the server's bundles, powers, the link."""

    edge_s: np.ndarray
    edge_w: np.ndarray
    server_s: np.ndarray
    idle_w: tuple
    link: Link


def world(seed):
    """A device pair drawn at random; radios whose tail outlasts every pause, or none."""
    generator = np.random.default_rng([seed, 5])
    length = np.array([last - first + 1 for first, last in BUNDLES])
    edge_s = 0.03 * length * generator.uniform(0.8, 1.2, len(BUNDLES))
    return World(
        np.stack([1.6 * edge_s, edge_s], axis=1),
        np.stack([generator.uniform(2.5, 3.5, len(BUNDLES)), generator.uniform(4.0, 6.0, len(BUNDLES))], axis=1),
        0.006 * length * generator.uniform(0.8, 1.2, len(BUNDLES)),
        (1.1, 1.6),
        Link(
            "air", 20e6, 50e6, 0.01, 280e-9, 130e-9, 0.13,
            promotion_s=0.02, promotion_w=0.8, tail_s=(0.6, 0.001)[seed % 2], tail_w=0.5,
        ),
    )  # fmt: skip


class Drawn(NamedTuple):
    """The power while the edge device is profiled, and its windows by clock."""

    load: Load
    rows: list
    rests_s: list
    until_s: float


def drawn(true, kind, passes, generator):
    """Draws the profile: bursts back to back in passes, between rests."""
    times, powers, rows, rests, now = [], [], [], [], 1.0

    def change(watts, seconds):
        nonlocal now
        times.append(now)
        powers.append(watts)
        now += seconds

    for clock, hertz in enumerate(CLOCKS):
        begin_s = now
        change(true.idle_w[clock], REST_S + 0.2)
        rests.append([(begin_s + 0.1, now - 0.1)])
        repeats = np.ceil(WINDOW_S / true.edge_s[:, clock]).astype(int)
        bursts = RUNS * int(repeats.max())
        factors = noise.factors(kind, generator, (passes, len(BUNDLES), bursts))
        for iteration in range(passes):
            for at in generator.permutation(len(BUNDLES)).tolist():
                bundle, mean_s, count = BUNDLES[at], true.edge_s[at, clock], int(repeats[at])
                change(true.edge_w[at, clock], 0.3 * mean_s)
                for run in range(RUNS):
                    change(true.idle_w[clock], 20e-6)
                    watts = true.edge_w[at, clock] * (1 + generator.normal(0, 0.005))
                    took_s = mean_s * factors[iteration, at, run * count : (run + 1) * count]
                    start_s = now
                    change(watts, float(took_s.sum()))
                    rows.append(
                        {
                            "bundle": spell(bundle, powered.LAYERS), "first_layer": powered.LAYERS[bundle.first],
                            "last_layer": powered.LAYERS[bundle.last], "frequency_hz": hertz, "iteration": iteration,
                            "run": run, "image": "cat", "repeats": count, "duration_s": (now - start_s) / count,
                            "start_ns": round(start_s * 1e9), "end_ns": round(now * 1e9),
                            "input_bytes": SIZES[bundle.first], "output_bytes": SIZES[bundle.last + 1],
                            "input_shape": "1x2", "output_shape": "1x2",
                        }
                    )  # fmt: skip
                change(true.idle_w[clock], 20e-6)
                change(true.edge_w[at, clock], 0.3 * mean_s)
                change(true.idle_w[clock], generator.uniform(0.0005, 0.003))
        begin_s = now
        change(true.idle_w[clock], REST_S + 0.2)
        rests[-1].append((begin_s + 0.1, now - 0.1))
    return Drawn(Load.of(true.idle_w[0], times, powers), rows, rests, now)


def write(folder, true, made, passes, generator):
    """Writes what a profile with a meter leaves behind: timings, run.json, clock.json, a log for each clock."""
    folder.mkdir()
    with tables.Writer(str(folder / "timings.csv"), tables.TIMINGS) as writer:
        writer.write(made.rows)
    spec = powered.spec(passes, RUNS, WINDOW_S, [{"rows": 0, "start_ns": 1_000_000_000, "boot_id": "here"}])
    spec.frequencies_hz = list(CLOCKS)
    spec.write(str(folder))
    gain, logs = generator.normal(1, GAIN_ERROR), []
    read_s = generator.uniform(0, PERIOD_S) + np.arange(0.2, made.until_s + 1, PERIOD_S)
    read_s += generator.exponential(50e-6, len(read_s))
    before_s = generator.uniform(0, PERIOD_S / 2)
    watts = np.mean([made.load.powers_w(read_s - before_s - back) for back in (0.0, PERIOD_S / 2)], axis=0)
    milliamperes = np.maximum(watts * gain / 5.0005 + generator.normal(0, 0.004, len(watts)), 0) * 1e3
    arrival_s = read_s + 81 * 10 / 500_000 + generator.exponential(0.3e-3, len(read_s))
    columns = {name: np.zeros(len(read_s), np.int64) for name in smartpower3.COLUMNS}
    columns[TIME] = np.floor(read_s * 1e3 + 123456.3)
    columns["channel 0 voltage (mV)"] += 5000
    columns["channel 0 current (mA)"] = np.floor(milliamperes)
    columns["channel 0 on/off"] += 1
    columns["timestamp"] = START_NS + np.rint(arrival_s * 1e9)
    for clock, (hertz, rests) in enumerate(zip(CLOCKS, made.rests_s, strict=True)):
        path = folder / f"power_{clock}.csv"
        inside = (read_s >= rests[0][0] - 0.05) & (read_s < rests[1][1] + 0.05)
        table = pyarrow.table({name: column[inside].astype(np.int64) for name, column in columns.items()})
        with path.open("wb") as stream:
            stream.write((",".join(columns) + "\n").encode())
            csv.write_csv(table, stream, csv.WriteOptions(include_header=False))
        quality = {"meter": "smartpower3", "channel": "", "origin": "measured", "wire_s": 81 * 10 / 500_000}
        quality |= {"breaks_ns": [], "gain": {"factor": 1.0, "error": GAIN_ERROR, "source": "drawn"}}
        path.with_name(f"power_{clock}_quality.json").write_text(json.dumps(quality))
        idle_ns = [[round(end * 1e9) for end in rest] for rest in rests]
        logs.append({"frequency_hz": hertz, "file": path.name, "idle_ns": idle_ns, "codes": []})
    session = {"start_ns": 900_000_000, "boot_id": "here", "bursts": exchanges(generator, made.until_s), "logs": logs}
    (folder / "clock.json").write_text(json.dumps({"sessions": [session]}))


def exchanges(generator, end_s):
    """Three bursts of exchanges over a network with unequal ways."""
    there, back = generator.uniform(0.1e-3, 0.4e-3, 2)
    bursts = []
    for at_s in (0.2, end_s / 2, end_s):
        burst = []
        for number in range(8):
            sent = at_s + number * 0.002
            received = sent + there + generator.exponential(0.2e-3)
            came = received + 30e-6 + back + generator.exponential(0.2e-3)
            sent, received, came = (round(one * 1e9) for one in (sent, received, came))
            burst.append((sent, START_NS + received, START_NS + received + 30_000, came))
        bursts.append(burst)
    return bursts


def server(true, kind, passes, generator):
    """The server's profile, without a meter."""
    shape = passes, len(BUNDLES), SERVER_RUNS
    rows = np.broadcast_to(np.arange(len(BUNDLES))[:, None], shape).ravel()
    first, last = np.array(BUNDLES).T
    took_s = true.server_s[:, None] * noise.factors(kind, generator, shape)
    of_pass = np.broadcast_to(np.arange(passes)[:, None, None], shape).ravel()
    runs = RawRuns(first[rows], last[rows], np.full(rows.shape, -1), took_s.ravel(), None, iteration=of_pass)
    return from_runs(runs, device="server", network="tiny", layers=tuple(powered.LAYERS), path="server")


def true_joules(true, choices, mean=1.0, overhead_bytes=OVERHEAD_BYTES):
    """Integrates the power of the edge device and its radio while a plan runs, and until the radio is down again.

    Args:
        true: What is true.
        choices: The plan.
        mean: What noise multiplies durations by on average.
        overhead_bytes: What goes with each tensor.
    """
    link, clock, here, now = true.link, int(np.argmin(true.idle_w)), 0, 0.0
    device, radio, last_bit_s = [], [], None

    def wait(seconds, watts):
        nonlocal now
        device.append((now, watts))
        now += seconds

    def send(boundary, target):
        nonlocal last_bit_s
        upload = target == 1
        bits = 8 * (SIZES[boundary] + overhead_bytes)
        rate = link.upload_bit_s if upload else link.download_bit_s
        if last_bit_s is None or now - last_bit_s > link.tail_s:
            radio.append((now, now + link.promotion_s, link.promotion_w))
            wait(link.promotion_s, true.idle_w[clock])
        else:
            radio.append((last_bit_s, now, link.tail_w))
            radio.pop(next(at for at, one in enumerate(radio) if one[:2] == (last_bit_s, last_bit_s + link.tail_s)))
        per_bit = link.upload_j_per_bit if upload else link.download_j_per_bit
        wait(link.round_trip_s / 2, true.idle_w[clock])
        radio.append((now, now + bits / rate, per_bit * rate + link.radio_w))
        wait(bits / rate, true.idle_w[clock])
        last_bit_s = now
        radio.append((now, now + link.tail_s, link.tail_w))

    for bundle, at, hertz in choices:
        if at != here:
            send(bundle.first, at)
            here = at
        row = BUNDLES.index(bundle)
        if at == 0:
            clock = CLOCKS.index(hertz)
            wait(true.edge_s[row, clock] * mean, true.edge_w[row, clock])
        else:
            wait(true.server_s[row] * mean, true.idle_w[clock])
    if here:
        send(len(SIZES) - 1, 0)
    total = Load.of(0.0, *zip(*device, strict=True)).energy_j(0.0, now)
    return total + sum(Load.of(0.0, [start], [watts]).energy_j(start, end) for start, end, watts in radio)


def measured(folder, kind, passes, seed):
    """A metered profile, joined, and the server's: what is true, the profiles, and the problem."""
    true, generator = world(seed), np.random.default_rng([seed, KINDS.index(kind), passes])
    link = true.link
    if kind == MEASURED:
        kind, truth = "drift 1 %", (link.round_trip_s, link.upload_bit_s, link.download_bit_s)
        rows = links.exchanges(passes, 5, truth, "normal", 0.02, int(generator.integers(1 << 30)), largest=SIZES[0])
        found = link_profile.fit(rows, "air", "nano", "server", "measured")
        link = replace(
            link, upload_bit_s=found.upload_bit_s.value, download_bit_s=found.download_bit_s.value,
            round_trip_s=found.round_trip_s.value, passes=found.passes, origin="measured",
        )  # fmt: skip
    made = drawn(true, kind, passes, generator)
    write(folder, true, made, passes, generator)
    join(folder)
    profiles = [load_profile(folder), server(true, kind, passes, generator)]
    problem = build_problem(profiles, link, "energy", Limits(rule="free"), sizes_bytes=SIZES)
    return true, profiles, problem


PLANS = "the chosen plan", "a plan that crosses", "all to the server"
REFUSED = "refused: "
PASSES = 5


def judge(folder, kind, seeds, passes=PASSES, replicates=10):
    """How often a plan's energy interval holds the true joules of a run of it: of the chosen plan, and of any."""
    score = noise.Score()
    mean = 1.05 if kind == "outliers" else 1.0
    for seed in seeds:
        place = folder / f"{kind}-{passes}-{seed}"
        true, profiles, problem = measured(place, kind, passes, seed)
        shutil.rmtree(place)
        samples = resampling.resample(problem, profiles, replicates, seed)
        plans = [plan[2] for plan in small.all_plans(problem)]
        crossing = [plan for plan in plans if any(choice.device for choice in plan)]
        chosen, any_one = solve(problem).choices, crossing[seed * 37 % len(crossing)]
        found = uncertainty.bootstrap(samples, [chosen]).chosen.energy_j
        remote = next(plan for plan in plans if len(plan) == 1 and plan[0].device == 1)
        ends_of = found, samples.interval(any_one, (), "energy"), samples.interval(remote, (), "energy")
        for what, plan, ends in zip(PLANS, (chosen, any_one, remote), ends_of, strict=True):
            joules = true_joules(true, plan, mean, 0 if kind == MEASURED else OVERHEAD_BYTES)
            if ends is None:
                score.add(REFUSED + what, True)
            else:
                score.add(what, ends[0] <= joules <= ends[1])
            score.off.setdefault(what, []).append(evaluate(problem, plan).energy_pj / 1e12 / joules - 1)
    return score


def rows(kind, score, passes=PASSES):
    """What ``judge`` found, as rows of a table."""
    return [
        noise.Row(kind, passes, RUNS, name, given, round(score.share(name), 4) if given and name in PLANS else "")
        for name in (*PLANS, *(REFUSED + one for one in PLANS))
        for given in [score.given.get(name, 0)]
        if given or name in PLANS
    ]


def broken(made):
    """Rows of intervals that hold too seldom or too often, by more than twice the error of their number."""
    found = []
    for row in made:
        if row.statement in PLANS and row.given >= 50:
            error = 2 * (0.05 * 0.95 / row.given) ** 0.5
            found += [] if 0.92 - error <= float(row.share) <= 0.98 + error else [row]
    return found
