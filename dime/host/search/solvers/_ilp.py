"""The integer program of a problem, for solvers of integer programs.

| variable | meaning |
|---|---|
| bundle o | 1 if option o (a bundle on a device at a frequency) is chosen; binary |
| layer l, d | 1 if layer l runs on device d; binary |
| send j, a, b | 1 if device a holds the tensor at boundary j and b takes it; in 0..1, and whole where layers are |
| slowest | time of the slowest stage, for the goal throughput |
| arc k | 1 if the plan's path takes an arc of the graph; only where the past changes what parts cost |
| gap r, j, k | a radio's time since its last transfer, as a part of its tail, where a bundle has ended or begins |

| row | meaning |
|---|---|
| on l, d | the chosen bundles on d that hold layer l, by index, are as many as layer l, d says |
| once l | layer l runs on exactly one device |
| from, to j, d | what leaves d at boundary j is what d had, and what comes to d is what it takes |
| latency, energy, memory d, rule d | the limits |
| merged j, d | bundles back to back on d have the largest size, but for the last |
| stage a, b, entries d | the pipeline: stages are no slower than the slowest, and each device is entered once |
| node n | as many arcs leave a node as lead to it |
| is o, goes j, a, b | an option is chosen, or a tensor sent, if one of its arcs is taken |
| tail r, k | a gap grows with each arc in which the radio stays up |

All numbers are integers here; ``scaled`` makes them floats of moderate size for a solver.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from dime.contract.bundles import Bundle
from dime.host.common.stats import Bools, Floats, Ints
from dime.host.planning.evaluation import evaluate
from dime.host.planning.problem import PER_J, PER_S, Choice, Problem
from dime.host.search.graph import Graph, undominated
from dime.host.search.graph import build as build_graph

EXACT = 10**6
SCALED = 1e5
INFINITE = float("inf")


@dataclass(frozen=True)
class Row:
    """low <= sum of coefficients x columns <= high; None is no bound."""

    name: str
    columns: tuple[int, ...]
    coefficients: tuple[int, ...]
    low: int | None
    high: int | None

    def scaled(self) -> tuple[Floats, float, float]:
        """Coefficients and bounds as floats of moderate size; exact where the integers share a divisor or are small."""
        divisor = int(np.gcd.reduce(self.coefficients))
        whole = [c // divisor for c in self.coefficients]
        bounds = [
            -INFINITE if self.low is None else float(-(-self.low // divisor)),
            INFINITE if self.high is None else float(self.high // divisor),
        ]
        factor = scale(max(map(abs, whole)))
        return np.array(whole, dtype=np.float64) / factor, bounds[0] / factor, bounds[1] / factor


def scale(largest: int) -> float:
    """What to divide by so that coefficients up to ``largest`` suit a solver's tolerances."""
    return 1.0 if largest <= EXACT else largest / SCALED


@dataclass
class Model:
    """An integer program: minimise cost x columns.

    Attributes:
        problem: What it models.
        names: Column names.
        cost: Cost of each column, in ``unit`` of the goal.
        whole: Whether each column is binary; the others lie in 0..upper.
        upper: Upper bounds.
        rows: The rows.
        choices: The choice behind each of the first columns.
        unit: Value of the goal for a cost of 1, in the goal's unit.
    """

    problem: Problem
    names: list[str] = field(default_factory=list)
    cost: list[int] = field(default_factory=list)
    whole: list[bool] = field(default_factory=list)
    upper: list[float] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    choices: list[Choice] = field(default_factory=list)
    unit: float = 1.0

    def column(self, name: str, cost: int, whole: bool = True, upper: float = 1.0) -> int:
        """Adds a column and returns its position."""
        self.names.append(name)
        self.cost.append(cost)
        self.whole.append(whole)
        self.upper.append(upper)
        return len(self.names) - 1

    def row(self, name: str, terms: dict[int, int], low: int | None, high: int | None) -> None:
        """Adds a row; terms that are 0 are left out."""
        kept = {column: c for column, c in terms.items() if c}
        if kept:
            self.rows.append(Row(name, tuple(kept), tuple(kept.values()), low, high))
        elif (low or 0) > 0 or (high is not None and high < 0):
            self.rows.append(Row(name, (0,), (1,), 2, None))

    def scaled_cost(self) -> tuple[Floats, float]:
        """Costs as floats of moderate size, and the goal's value for a scaled cost of 1."""
        divisor = int(np.gcd.reduce(np.array(self.cost, dtype=object))) or 1
        whole = [c // divisor for c in self.cost]
        factor = scale(max(whole, default=0))
        return np.array([c / factor for c in whole]), divisor * factor * self.unit

    def plan(self, values: Sequence[float] | Floats) -> tuple[Choice, ...]:
        """The choices of a solution's columns."""
        return tuple(sorted(choice for choice, value in zip(self.choices, values, strict=False) if value > 0.5))

    def exclude(self, plan: Sequence[Choice]) -> Row:
        """A row that forbids one plan, for solutions that only a solver's tolerance lets pass a limit."""
        columns = tuple(self.choices.index(choice) for choice in plan)
        return Row(f"not_{len(self.rows)}", columns, (1,) * len(columns), None, len(columns) - 1)

    def keeps_limits(self, plan: Sequence[Choice]) -> bool:
        """Whether a plan keeps all limits exactly."""
        return not evaluate(self.problem, plan).broken


def build(problem: Problem, most_columns: int | None = None) -> Model:
    """Builds the integer program.

    Args:
        problem: The problem.
        most_columns: If there would be more columns than this, options that another one of the same bundle and device
            beats in both costs are left out; None: never.

    Returns:
        The model.
    """
    model = Model(problem)
    count, devices = len(problem.layers), len(problem.devices)
    pipeline = problem.goal.is_pipeline
    per_ps, per_pj = (0, 0) if pipeline else problem.goal.weights
    if pipeline:
        model.unit = 1 / PER_S
    elif problem.goal.kind == "weighted":
        model.unit = problem.goal.per_s / PER_S / per_ps if per_ps else problem.goal.per_j / PER_J / per_pj
    else:
        model.unit = 1 / (PER_J if per_pj else PER_S)
    past = not problem.states.is_single
    latency: dict[int, int] = {}
    energy: dict[int, int] = {}
    stages: dict[tuple[int, int], dict[int, int]] = {}

    def priced(name: str, ps: int, pj: int, stage: tuple[int, int], whole: bool = True, own_ps: int = 0) -> int:
        column = model.column(name, per_ps * ps + per_pj * pj, whole)
        latency[column], energy[column] = ps, pj
        if own_ps:
            stages.setdefault((stage[0], stage[0]), {})[column] = own_ps
        stages.setdefault(stage[::-1] if stage[::-1] in problem.half_duplex else stage, {})[column] = ps - own_ps
        return column

    names = [device.name for device in problem.devices]
    if not all(re.fullmatch(r"[A-Za-z]\w*", name, re.ASCII) for name in names):
        names = [f"device{d}" for d in range(devices)]
    holds: dict[tuple[int, int], dict[int, int]] = {(at, d): {} for at in range(count) for d in range(devices)}
    for choice, ps, pj in _options(problem, None if past else most_columns):
        (first, last), d, hz = choice
        column = priced(f"bundle_{first}_{last}_{names[d]}_{hz if hz >= 0 else 'fixed'}", ps, pj, (d, d))
        model.choices.append(choice)
        for at in range(first, last + 1):
            holds[at, d][column] = 1
    layer = {(at, d): model.column(f"layer_{at}_{names[d]}", 0) for at, d in holds}
    for (at, d), columns in holds.items():
        model.row(f"on_{at}_{d}", {**columns, layer[at, d]: -1}, 0, 0)
    for at in range(count):
        model.row(f"once_{at}", {layer[at, d]: 1 for d in range(devices)}, 1, 1)
    sends = _add_sends(model, layer, priced)
    if past:
        _add_path(model, sends, priced)
    _add_limits(model, layer, latency, energy)
    if pipeline:
        _add_pipeline(model, stages, sends)
    return model


Priced = Callable[[str, int, int, tuple[int, int], bool, int], int]
"""Adds a column: its name, latency, energy and stage, whether it is binary, and what counts to the sender's stage."""


def _add_sends(model: Model, layer: dict[tuple[int, int], int], priced: Priced) -> dict[tuple[int, int, int], int]:
    problem = model.problem
    count, devices = len(problem.layers), len(problem.devices)
    past = not problem.states.is_single
    sends: dict[tuple[int, int, int], int] = {}
    for j in range(count + 1):
        for a in range(devices) if j else (0,):
            for b in range(devices) if j < count else (0,):
                if problem.crossing_ps[j, a, b] >= 0:
                    tables = problem.latency.crossing, problem.energy.crossing
                    ps, pj = (0, 0) if past else (int(table[j, a, b]) for table in tables)
                    own_ps = 0 if past or j or a == b else int(problem.latency.at_input)
                    sends[j, a, b] = priced(f"send_{j}_{a}_{b}", ps, pj, (a, b), False, own_ps)
        for d in range(devices):
            leaves = {column: 1 for (k, a, _), column in sends.items() if (k, a) == (j, d)}
            comes = {column: 1 for (k, _, b), column in sends.items() if (k, b) == (j, d)}
            had = {layer[j - 1, d]: -1} if j else {}
            takes = {layer[j, d]: -1} if j < count else {}
            held = 0 if j else int(d == 0)
            taken = 0 if j < count else int(d == 0)
            model.row(f"from_{j}_{d}", {**leaves, **had}, held, held)
            model.row(f"to_{j}_{d}", {**comes, **takes}, taken, taken)
    return sends


def _add_path(model: Model, sends: dict[tuple[int, int, int], int], priced: Priced) -> None:
    """The path through the graph, whose arcs have the costs; options and sends only say what it takes."""
    problem = model.problem
    graph = build_graph(problem)
    devices = len(problem.devices)
    head = np.repeat(np.arange(graph.sink + 1), np.diff(graph.starts))
    base = sum(device.latency_ps.size for device in problem.devices)
    times, energies = (graph.amounts(quantity).tolist() for quantity in (problem.latency, problem.energy))
    counted: Bools = np.any(graph.up, axis=1)
    place = {choice: column for column, choice in enumerate(model.choices)}
    takes: dict[int, dict[int, int]] = {}
    nodes: dict[int, dict[int, int]] = {}
    arcs = []
    own_ps = np.where(graph.sends_input, int(problem.latency.at_input), 0).tolist()
    for k in range(len(head)):
        at = divmod(int(graph.cell[k]) - base, devices**2)
        d = int(graph.device[k])
        stage = (d, d) if d >= 0 else divmod(at[1], devices)
        column = priced(f"arc_{k}", times[k], energies[k], stage, bool(counted[k]), own_ps[k])
        arcs.append(column)
        if d >= 0:
            takes.setdefault(place[graph.choices([k])[0]], {})[column] = 1
        elif stage[0] != stage[1]:
            takes.setdefault(sends[at[0], stage[0], stage[1]], {})[column] = 1
        nodes.setdefault(int(graph.tail[k]), {})[column] = 1
        nodes.setdefault(int(head[k]), {})[column] = -1
    for node, flow in nodes.items():
        out = int(node == graph.source) - int(node == graph.sink)
        model.row(f"node_{node}", flow, out, out)
    crossed = {column for (_, a, b), column in sends.items() if a != b}
    for what in (*place.values(), *crossed):
        model.row(f"is_{what}", {**takes.get(what, {}), what: -1}, 0, 0)
    _add_gaps(model, graph, head, arcs)


def _add_gaps(model: Model, graph: Graph, head: Ints, arcs: list[int]) -> None:
    problem = model.problem
    times = graph.amounts(problem.true_costs[0]).tolist()
    for place, radio in enumerate(graph.gaps):
        tail_ps = problem.acting.radios[radio].tail_ps
        gap: dict[int, int] = {}
        for k in np.flatnonzero(graph.up[:, place]).tolist():
            ends = []
            for node in (int(graph.tail[k]), int(head[k])):
                if node not in gap:
                    gap[node] = model.column(f"gap_{radio}_{node}", 0, False)
                ends.append(gap[node])
            terms = {ends[1]: tail_ps, ends[0]: -tail_ps, arcs[k]: -(tail_ps + times[k])}
            model.row(f"tail_{radio}_{k}", terms, -tail_ps, None)


def _options(problem: Problem, most_columns: int | None) -> list[tuple[Choice, int, int]]:
    first, last = problem.bounds
    count, devices = len(problem.layers), len(problem.devices)
    others = count * devices + (count - 1) * devices**2 + 2 * devices + 1
    total = sum(int(usable.sum()) for usable in problem.usable) + others
    prune = most_columns is not None and total > most_columns
    past = not problem.states.is_single  # then arcs have the costs
    options = []
    for d, device in enumerate(problem.devices):
        usable = problem.usable[d]
        costs = [quantity.of_devices[d] for quantity in (problem.latency, problem.energy)]
        for row, column in zip(
            *(undominated(costs[0], costs[1], usable) if prune else np.nonzero(usable)), strict=True
        ):
            choice = Choice(Bundle(int(first[row]), int(last[row])), d, device.frequencies_hz[column])
            ps, pj = (0, 0) if past else (int(cost[row, column]) for cost in costs)
            options.append((choice, ps, pj))
    return options


def _add_limits(
    model: Model, layer: dict[tuple[int, int], int], latency: dict[int, int], energy: dict[int, int]
) -> None:
    problem = model.problem
    if problem.latency_limit_ps is not None:
        model.row("latency", latency, None, problem.latency_limit_ps)
    if problem.energy_limit_pj is not None:
        model.row("energy", energy, None, problem.energy_limit_pj)
    for d, most in problem.memory_limits.items():
        sizes = problem.layer_bytes or ()
        model.row(f"memory_{d}", {layer[at, d]: size for at, size in enumerate(sizes)}, None, most)
    for d, largest in enumerate(problem.largest_bundles) if problem.limits.rule == "published" else ():
        waste = {
            column: largest - (choice.bundle.last - choice.bundle.first + 1)
            for column, choice in enumerate(model.choices)
            if choice.device == d
        }
        model.row(f"rule_{d}", waste, None, largest - 1)
    if problem.limits.rule == "merged":
        for d in range(len(problem.devices)):
            for j in range(1, len(problem.layers)):
                model.row(f"merged_{j}_{d}", _around(model, j, d), None, 1)


def _around(model: Model, j: int, device: int) -> dict[int, int]:
    """The bundles on a device that end at a boundary, unless they have the largest size, and those that begin there."""
    largest = model.problem.largest_bundles[device]
    return {
        column: 1
        for column, ((first, last), d, _) in enumerate(model.choices)
        if d == device and (first == j or (last + 1 == j and last - first + 1 < largest))
    }


def _add_pipeline(
    model: Model, stages: dict[tuple[int, int], dict[int, int]], sends: dict[tuple[int, int, int], int]
) -> None:
    count, devices = len(model.problem.layers), range(len(model.problem.devices))
    unit = max(1, *(ps for stage in stages.values() for ps in stage.values()))
    slowest = model.column("slowest", unit, False, 2.0 * (count + 1))
    for (a, b), stage in stages.items():
        model.row(f"stage_{a}_{b}", {**stage, slowest: -unit}, None, 0)
    for d in devices:
        entries = {column: 1 for (j, a, b), column in sends.items() if j < count and b == d and (a != d or j == 0)}
        model.row(f"entries_{d}", entries, None, 1)
