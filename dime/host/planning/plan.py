"""A plan: which layers run where and at which frequency, what that costs, and how sure it is that nothing is better."""

from __future__ import annotations

import json
import os
import textwrap
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from dime.contract import files, schemas
from dime.contract.bundles import Bundle, spell
from dime.contract.errors import InputError, TableError
from dime.host.common import places
from dime.host.common.units import plain
from dime.host.planning import traces
from dime.host.planning.certificate import Certificate, from_sentence
from dime.host.planning.cost import walk
from dime.host.planning.encoded import Encoded
from dime.host.planning.evaluation import evaluate, itemised, value
from dime.host.planning.problem import PER_J, PER_S, Choice, Problem
from dime.host.planning.terms import PROTOCOL, RADIO

GIVEN = Certificate("given")
SAME = 1e-9
WIDTH = 100
SUMS = ("latency_s", "computation_s", "communication_s", "energy_j", "computation_j", "radio_j", "period_s", "value")


@dataclass(frozen=True)
class Step:
    """A bundle on a device at a frequency.

    Attributes:
        bundle: Its name.
        first: Index of its first layer.
        last: Index of its last layer.
        device: Name of the device.
        frequency_hz: Frequency; -1 where the clock is left alone.
        latency_s: Its time.
        energy_j: Its energy; None where the device's profile has none.
        origin: Where the time comes from: ``measured``, ``replayed``, ``emulated`` or ``modelled``.
        energy_origin: The same for the energy; None where there is none.
    """

    bundle: str
    first: int
    last: int
    device: str
    frequency_hz: int
    latency_s: float
    energy_j: float | None
    origin: str
    energy_origin: str | None


@dataclass(frozen=True)
class Transfer:
    """A tensor sent from one device to another; ``boundary`` j is before layer j, N is the result's way home.

    Its size is that of what is sent, encoded or not. Time and radio energy are modelled.
    """

    boundary: int
    source: str
    target: str
    size_bytes: int
    latency_s: float
    energy_j: float | None


@dataclass(frozen=True)
class TermLine:
    """What a term adds to a plan beside its steps and transfers.

    Attributes:
        term: Its name.
        latency_s: Its time.
        energy_j: Its energy; None without energy.
        origin: Where its numbers come from, as of a step.
        source: The same in words.
    """

    term: str
    latency_s: float
    energy_j: float | None
    origin: str
    source: str


@dataclass(frozen=True)
class Plan:
    """A readable plan; ``str(plan)`` is the text for the terminal.

    Attributes:
        network: The network's name.
        goal: The goal's kind.
        links: The links by name.
        steps: The bundles, in order.
        transfers: What crosses between devices, in order.
        latency_s: Total, the sum of the next two and of the terms.
        computation_s: Time of the bundles.
        communication_s: Time of the transfers.
        energy_j: Total of what is known, or None where nothing is.
        computation_j: Energy of the bundles, or None.
        radio_j: Energy of the transfers, or None.
        period_s: The slowest stage's time, for a pipeline.
        value: The goal's value.
        certificate: How sure it is that nothing is better.
        warnings: What is odd in the tables behind it, a line each.
        batch: Inputs that are computed at once; all times and energies are those of the whole batch.
        over_trace: Where a link is a trace, shares of its time and the latency that is not exceeded in each.
        terms: What comes on top of steps and transfers.
        without: What is not known and therefore in no sum, a line each.
        encoded: What crosses encoded, how, and what that does to the result; a line each.
    """

    network: str
    goal: str
    links: str
    steps: tuple[Step, ...]
    transfers: tuple[Transfer, ...]
    latency_s: float
    computation_s: float
    communication_s: float
    energy_j: float | None
    computation_j: float | None
    radio_j: float | None
    period_s: float
    value: float
    certificate: Certificate
    warnings: tuple[str, ...] = ()
    batch: int = 1
    over_trace: tuple[tuple[float, float], ...] = ()
    terms: tuple[TermLine, ...] = ()
    without: tuple[str, ...] = ()
    encoded: tuple[Encoded, ...] = ()

    @property
    def per_picture(self) -> dict[str, float | None]:
        """Time and energy of one input of the batch: the batch's, divided by their number."""
        energy_j = None if self.energy_j is None else self.energy_j / self.batch
        return {"latency_s": self.latency_s / self.batch, "energy_j": energy_j}

    def __str__(self) -> str:
        lines = [f"({step.bundle!r}, {step.frequency_hz}, {step.device!r}): 1.0" for step in self.steps]
        lines.append(
            f"    latency: {self.latency_s:.6g} s   computation {self.computation_s:.6g} s"
            f"   communication {self.communication_s:.6g} s"
        )
        if self.energy_j is not None:
            radio = (
                "" if any(line.startswith("radio of") for line in self.without) else f"   radio {self.radio_j:.6g} J"
            )
            lines.append(f"    energy: {self.energy_j:.6g} J   computation {self.computation_j:.6g} J{radio}")
        elif self.computation_j is not None:
            lines.append("    energy: not known")
        for one in self.terms:
            if one.latency_s or one.energy_j:
                joules = "" if one.energy_j is None else f"   {one.energy_j:.6g} J"
                lines.append(f"    {one.term}: {one.latency_s:.6g} s{joules}   {one.origin}")
        for sent in self.encoded:
            told = f"sent encoded: {sent}   {sent.origin}"
            lines += textwrap.wrap(told, WIDTH, initial_indent="    ", subsequent_indent="        ")
        if self.without:
            names = dict.fromkeys(line.partition(":")[0] for line in self.without)
            told = f"without {plain(', '.join(names))}"
            lines += textwrap.wrap(told, WIDTH, initial_indent="    ", subsequent_indent="        ")
        if self.batch > 1:
            of_one = self.per_picture
            energy = "" if of_one["energy_j"] is None else f"   energy {of_one['energy_j']:.6g} J"
            lines.append(f"    per picture of the batch of {self.batch}: latency {of_one['latency_s']:.6g} s{energy}")
        if self.over_trace:
            told = ", ".join(f"{share:.0%} at most {latency_s:.6g} s" for share, latency_s in self.over_trace)
            lines.append(f"    latency over the link's trace: in {told}")
        if self.goal == "throughput":
            lines.append(f"    slowest stage: {self.period_s:.6g} s   throughput {1 / self.period_s:.6g} /s")
        if self.goal == "weighted":
            lines.append(f"    weighted sum: {self.value:.6g}")
        lines.append(f"    {self.certificate}")
        return "\n".join([*lines, *(f"    warning: {plain(line)}" for line in self.warnings)])

    def choices(self, problem: Problem) -> tuple[Choice, ...]:
        """The plan's steps as choices of a problem.

        Raises:
            InputError: The problem has no such device.
        """
        names = [device.name for device in problem.devices]
        unknown = [step.device for step in self.steps if step.device not in names]
        if unknown:
            raise InputError(f"the plan uses {unknown[0]}, the problem has {', '.join(names)}")
        return tuple(
            Choice(Bundle(step.first, step.last), names.index(step.device), step.frequency_hz) for step in self.steps
        )

    def write(self, path: str | os.PathLike[str]) -> None:
        """Writes plan.json.

        Raises:
            InputError: The file exists already, or the disk would not take it.
        """
        content = {**asdict(self), "per_picture": self.per_picture, "certificate": self.certificate.data()}
        places.write_new(path, files.as_json(schemas.stamped(schemas.PLAN, content)))


def read_plan(path: str | os.PathLike[str]) -> Plan:
    """Reads plan.json.

    Raises:
        TableError: It is missing or damaged.
    """
    try:
        with open(path, encoding="utf-8") as stream:
            fields = json.load(stream)
        if schemas.version(schemas.PLAN, fields, os.fspath(path)) == 1:
            fields["certificate"] = from_sentence(fields)
            for name in ("proof", "solver", "bound"):
                del fields[name]
        else:
            fields["certificate"] = Certificate(**fields["certificate"])
        fields = schemas.without(fields)
        fields["steps"] = tuple(Step(**step) for step in fields["steps"])
        fields["transfers"] = tuple(Transfer(**transfer) for transfer in fields["transfers"])
        fields["warnings"] = tuple(fields.get("warnings", ()))
        fields["over_trace"] = tuple((float(share), float(s)) for share, s in fields.get("over_trace", ()))
        fields["terms"] = tuple(TermLine(**one) for one in fields.get("terms", ()))
        fields["without"] = tuple(fields.get("without", ()))
        fields["encoded"] = tuple(Encoded(**one) for one in fields.get("encoded", ()))  # not before version 4
        fields.pop("per_picture", None)  # follows from the rest
        if not isinstance(fields.get("batch", 1), int) or fields.get("batch", 1) < 1:
            raise ValueError("batch is not a number of inputs")
        return Plan(**fields)
    except OSError as error:
        raise TableError(f"{os.fspath(path)}: {error.strerror}") from None
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise TableError(f"{os.fspath(path)} is damaged: {' '.join(str(error).split())}") from None


def describe(problem: Problem, choices: Sequence[Choice], certificate: Certificate = GIVEN) -> Plan:
    """Works out what given choices cost, whoever made them."""
    totals = itemised(problem, choices)
    missing, acting = tuple(map(str, problem.acting.missing)), problem.acting
    known = problem.has_energy and (totals.energy_pj > 0 or not any(one.term == RADIO for one in acting.missing))
    steps, transfers = [], []
    for source, target, row, column, choice, _ in walk(problem, choices):
        if choice is not None:
            steps.append(_step(problem, choice, (row, column)))
        elif source != target:
            transfers.append(_transfer(problem, row, source, target))
    return Plan(
        network=problem.network,
        goal=problem.goal.kind,
        links=problem.links,
        steps=tuple(steps),
        transfers=tuple(transfers),
        latency_s=totals.latency_ps / PER_S,
        computation_s=totals.computation_ps / PER_S,
        communication_s=totals.communication_ps / PER_S,
        energy_j=totals.energy_pj / PER_J if known else None,
        computation_j=totals.computation_pj / PER_J if problem.has_energy else None,
        radio_j=totals.radio_pj / PER_J if problem.has_energy else None,
        period_s=totals.period_ps / PER_S,
        value=value(problem, totals),
        certificate=certificate,
        warnings=problem.warnings,
        batch=problem.batch,
        over_trace=_over_trace(problem, choices, totals.latency_ps / PER_S),
        terms=tuple(
            TermLine(
                fact.term,
                totals.terms[fact.term][0] / PER_S,
                totals.terms[fact.term][1] / PER_J if problem.has_energy else None,
                fact.origin,
                fact.source,
            )
            for fact in acting.joined_facts
        ),
        without=missing,
        encoded=tuple(one for one in acting.encoded if one.boundary in {sent.boundary for sent in transfers}),
    )


def _over_trace(problem: Problem, choices: Sequence[Choice], latency_s: float) -> tuple[tuple[float, float], ...]:
    """Quantiles of the latency over the trace of a plan's links; none where there are two different traces."""
    found = {link.trace for link in problem.joined.values() if link is not None and link.trace}
    if len(found) != 1:
        return ()
    (rows,) = found
    values = np.full(len(rows), latency_s)
    for part in walk(problem, choices):
        pair = part.source, part.target
        upload = pair in problem.joined
        link = problem.joined.get(pair if upload else pair[::-1])
        if part.choice is None and link is not None and link.trace:
            size = problem.sizes_bytes[part.row]
            sent = size + (link.header_bytes if PROTOCOL in problem.acting.crossing else 0)
            trips = problem.acting.connect_trips
            mean_s = link.latency_s(sent, upload) + trips * link.round_trip_s
            values += traces.transfer_s(rows, sent, upload, trips) - mean_s
    return traces.quantiles(rows, values)


def one_line(problem: Problem, choices: Sequence[Choice]) -> str:
    """A plan's steps as tables hold them: ``conv1_conv2 @ 921600000 on nano | fc1 on server``.

    A frequency that is left alone is not named.
    """
    layers = list(problem.layers)
    return " | ".join(
        f"{spell(bundle, layers)}{'' if frequency_hz < 0 else f' @ {frequency_hz}'} on {problem.devices[device].name}"
        for bundle, device, frequency_hz in choices
    )


def _step(problem: Problem, choice: Choice, place: tuple[int, int]) -> Step:
    device = problem.devices[choice.device]
    counted = device.has_energy and problem.has_energy
    return Step(
        spell(choice.bundle, list(problem.layers)),
        *choice.bundle,
        device.name,
        choice.frequency_hz,
        int(device.latency_ps[place]) / PER_S,
        int(device.energy_pj[place]) / PER_J if counted else None,
        device.origin,
        device.energy_origin if counted else None,
    )


def _transfer(problem: Problem, boundary: int, source: int, target: int) -> Transfer:
    names = problem.devices[source].name, problem.devices[target].name
    place = boundary, source, target
    energy_j = int(problem.crossing_pj[place]) / PER_J if problem.has_energy else None
    return Transfer(boundary, *names, problem.sizes_bytes[boundary], int(problem.crossing_ps[place]) / PER_S, energy_j)


def check(problem: Problem, plan: Plan) -> None:
    """Recomputes everything a plan says, from the problem alone.

    Raises:
        InputError: The steps do not tile the chain, use an option or a link that does not exist, break a limit, or the
            plan's numbers are not theirs.
    """
    choices = plan.choices(problem)
    totals = evaluate(problem, choices)
    if totals.broken:
        raise InputError(f"the plan breaks a limit: {'; '.join(totals.broken)}")
    right = describe(problem, choices)
    if plan.steps != right.steps or plan.transfers != right.transfers or plan.terms != right.terms:
        raise InputError("the plan's steps, transfers or terms are not what the problem says of them")
    if plan.encoded != right.encoded:
        raise InputError("the plan says of what is sent encoded what the problem does not")
    for name in SUMS:
        said, is_ = getattr(plan, name), getattr(right, name)
        if (said is None) != (is_ is None) or (said is not None and abs(said - is_) > SAME * max(1.0, abs(is_))):
            raise InputError(f"the plan says {name} = {said}, but its steps give {is_}")
    if not np.allclose(plan.over_trace, right.over_trace, SAME, SAME):
        raise InputError("the plan's latencies over the link's trace are not those that its steps give")
    if plan.batch != right.batch:
        raise InputError(f"the plan is for a batch of {plan.batch}, the problem of {right.batch}")
    bound = plan.certificate.bound
    if bound is not None and plan.value < bound * (1 - SAME):
        raise InputError(f"the plan's value {plan.value} is better than its bound {bound}")
