"""What a report shows, as plain data: report.json, from which the page and the pictures are made.

Nothing in it is found by its position. A device is called by its name; a layer by its number in the chain ``layers``,
from 0 on, and a boundary by that of the layer after it, as in plan.json. What a what-if is made of are
columns. Names of quantities carry their units; of what is in ``goal_unit`` or in a unit beside it, the description says
so. ``report.schema.json`` says the same to other programs; ``dime.host.report.schema`` makes it from these types.
"""

from __future__ import annotations

from typing import TypedDict


class Interval(TypedDict):
    """An interval's ends, in the unit of what it is of."""

    low: float
    high: float


class PlanInterval(TypedDict):
    """The intervals of a plan's costs.

    Attributes:
        time_s: Of its latency; of its slowest stage where that is the goal.
        energy_j: Of its energy; null without energy.
    """

    time_s: Interval
    energy_j: Interval | None


class Device(TypedDict):
    """A device that takes part; all in their order from the edge device on.

    Attributes:
        name: Its name, by which all else calls it.
        is_edge: Whether it holds the input and the result.
        origin: Where its times come from: measured, replayed, emulated or modelled.
        energy_origin: The same for its energies; null where it has none.
        energy_model: How they are modelled; mostly empty.
        energy_gain: What is known of its meter's gain; mostly empty.
        frequencies_hz: Its clocks; -1 where the clock is left alone.
        runs: How many timed runs its profile has.
        bundles: How many bundles were run.
        weights: Which weights the network had; empty where that is not stated.
    """

    name: str
    is_edge: bool
    origin: str
    energy_origin: str | None
    energy_model: str
    energy_gain: str
    frequencies_hz: list[int]
    runs: int
    bundles: int
    weights: str


class Rate(TypedDict):
    """What joins two devices.

    Attributes:
        from_device: The one nearer to the edge.
        to_device: The other one.
        upload_bit_s: From the first to the second.
        download_bit_s: Back.
        round_trip_s: Added to each transfer.
        source: Where these numbers come from.
    """

    from_device: str
    to_device: str
    upload_bit_s: float
    download_bit_s: float
    round_trip_s: float
    source: str


class Tensor(TypedDict):
    """What crosses to another device at a boundary.

    Attributes:
        boundary: The layer after it; as many as there are layers is the result.
        size_bytes: Its size.
    """

    boundary: int
    size_bytes: int


class Certificate(TypedDict):
    """What is claimed of a plan, and by whom.

    Attributes:
        status: optimal, feasible, undominated or given.
        solver: The solver's name.
        version: Its name and version.
        objective: The goal's value, in goal_unit; null where it is not known.
        bound: No plan has a better one, in goal_unit; null if nothing is known.
        note: One line for the person; mostly empty.
        complete: Of an undominated plan, whether the whole frontier was found.
        chance: Probability with which the limits hold in single runs; null where means keep them.
        confirmed_by: Another solver, with its version, that finds the same; empty if none does.
        unconfirmed: Why none does; empty where nobody was asked.
    """

    status: str
    solver: str
    version: str
    objective: float | None
    bound: float | None
    note: str
    complete: bool | None
    chance: float | None
    confirmed_by: str
    unconfirmed: str


class Step(TypedDict):
    """A bundle of layers on a device at a frequency.

    Attributes:
        first: Its first layer.
        last: Its last layer.
        device: Where it runs.
        frequency_hz: The frequency; -1 where the clock is left alone.
    """

    first: int
    last: int
    device: str
    frequency_hz: int


class PlanStep(Step):
    """A step with what it costs.

    Attributes:
        first: Its first layer.
        last: Its last layer.
        device: Where it runs.
        frequency_hz: The frequency; -1 where the clock is left alone.
        latency_s: Its time.
        energy_j: Its energy; null where its device has none.
    """

    latency_s: float
    energy_j: float | None


class Transfer(TypedDict):
    """A tensor sent from one device to another.

    Attributes:
        boundary: The layer after it; as many as there are layers is the result on its way home.
        source: The device that sends.
        target: The device that receives.
        size_bytes: The tensor's size.
        latency_s: Its time, modelled.
        energy_j: The edge device's radio energy, modelled; null without energy.
    """

    boundary: int
    source: str
    target: str
    size_bytes: int
    latency_s: float
    energy_j: float | None


class Quantile(TypedDict):
    """What is not exceeded in a share of a trace's time.

    Attributes:
        share: The share.
        latency_s: The latency.
    """

    share: float
    latency_s: float


class Term(TypedDict):
    """What a term adds to a plan beside its steps and transfers.

    Attributes:
        name: waiting, radio states, protocol, copies, frequency change, encoding or overhead.
        latency_s: Its time.
        energy_j: Its energy; null without energy.
        origin: Where its numbers come from: measured, replayed, emulated or modelled.
        source: The same in words.
    """

    name: str
    latency_s: float
    energy_j: float | None
    origin: str
    source: str


class Encoded(TypedDict):
    """A tensor that crosses encoded.

    Attributes:
        boundary: The layer after it.
        encoding: How, such as jpeg90.
        size_bytes: Bytes that are sent, the mean over the pictures.
        most_bytes: The most that one picture takes.
        plain_bytes: Bytes of the tensor itself.
        same_class: Share of the pictures whose first class stays the same; null where the result is no classes.
        distance: How far the result is from that without it, as a part of it; null where it is no number.
        images: How many pictures there were.
        origin: Where all this comes from, as of a term.
    """

    boundary: int
    encoding: str
    size_bytes: int
    most_bytes: int
    plain_bytes: int
    same_class: float | None
    distance: float | None
    images: int
    origin: str


class OtherInput(TypedDict):
    """What the best plan would be worth if the input were sent in another way.

    Attributes:
        encoding: How, such as jpeg90.
        size_bytes: Bytes that would be sent, the mean over the pictures.
        value: The goal's value of the best plan then, in goal_unit.
        same_class: Share of the pictures whose first class stays the same; null where the result is no classes.
        distance: How far the result is from that without it, as a part of it; null where it is no number.
        images: How many pictures there were.
    """

    encoding: str
    size_bytes: int
    value: float
    same_class: float | None
    distance: float | None
    images: int


class Plan(TypedDict):
    """A plan and its costs.

    Attributes:
        steps: Its bundles, in order.
        transfers: What crosses between devices, in order.
        latency_s: The sum of the next two and of the terms.
        computation_s: Time of the steps.
        communication_s: Time of the transfers.
        energy_j: The sum of the next two and of the terms; null without energy.
        computation_j: Energy of the steps; null without energy.
        radio_j: Energy of the transfers; null without energy.
        period_s: The slowest stage's time, for a pipeline.
        value: The goal's value, in goal_unit.
        over_trace: Where a link is a trace, quantiles of the latency over its time.
        terms: What comes on top of steps and transfers, with 0 for what is known and takes nothing.
        without: What is not known and therefore in no sum, a line each: a term of a device or a link, and why.
        encoded: What crosses encoded.
    """

    steps: list[PlanStep]
    transfers: list[Transfer]
    latency_s: float
    computation_s: float
    communication_s: float
    energy_j: float | None
    computation_j: float | None
    radio_j: float | None
    period_s: float
    value: float
    over_trace: list[Quantile]
    terms: list[Term]
    without: list[str]
    encoded: list[Encoded]


class Point(TypedDict):
    """A best trade-off of time and energy.

    Attributes:
        number: Its number in the whole frontier, from 1, the fastest, on.
        time_s: The plan's latency, or its slowest stage's time: see time_name.
        energy_j: Its energy.
        steps: The plan.
        interval: Its intervals, where they were found out.
    """

    number: int
    time_s: float
    energy_j: float
    steps: list[Step]
    interval: PlanInterval | None


class Frontier(TypedDict):
    """The best trade-offs of time and energy.

    Attributes:
        time_name: What the time is: latency_s or period_s.
        points: From the fastest on; evenly spread ones where there are many.
        knee_number: The number of the point at the knee.
        count: How many there are.
        complete: Whether they are all, or those found before the time ran out.
    """

    time_name: str
    points: list[Point]
    knee_number: int
    count: int
    complete: bool


class Baseline(TypedDict):
    """A way to place the network.

    Attributes:
        letter: What it is called by in pictures.
        is_chosen: Whether it is the chosen plan itself.
        name: Its name.
        source: Where the method comes from.
        plan: Its plan with what it really costs; null if it has none.
        believed_latency_s: What the method believes it to take.
        believed_energy_j: The same for the energy; null without energy.
        gain: Share of the goal's value that the chosen plan saves; null where none that keeps the limits is found.
        reason: Why it breaks a limit or has no plan; empty otherwise.
        interval: Its intervals, where they were found out.
    """

    letter: str
    is_chosen: bool
    name: str
    source: str
    plan: Plan | None
    believed_latency_s: float | None
    believed_energy_j: float | None
    gain: float | None
    reason: str
    interval: PlanInterval | None


class Winner(TypedDict):
    """A plan that is the best in some draws, and their share."""

    steps: list[Step]
    share: float


class Measurement(TypedDict):
    """A bundle, or all of a clock, that may change the answer when it is measured again.

    Attributes:
        device: Where it runs.
        bundle: Its name; "all bundles" for what the passes of all of them share.
        frequency_hz: The frequency; -1 where the clock is left alone.
        chance: Probability that its true mean makes another plan the best.
        gain: Expected gain in the goal's value, in goal_unit.
    """

    device: str
    bundle: str
    frequency_hz: int
    chance: float
    gain: float


class Certainty(TypedDict):
    """How sure the plan is the best.

    Attributes:
        confidence: Probability of the intervals.
        replicates: How many draws of the means were solved.
        notes: What the intervals rest on, or which are missing.
        latency_s: The latency's interval.
        energy_j: The energy's; null where there is none.
        value: That of the goal's value, in goal_unit; null where there is none.
        best_share: Share of the draws in which no plan is better.
        frontier_share: Share in which none is better in both time and energy.
        kept_share: Share in which it keeps the limits.
        regret: Mean excess over the best plan's value, in goal_unit; null where it never keeps the limits.
        regret_high: The same at the interval's upper end.
        infeasible_share: Share of the draws in which no plan keeps the limits.
        winners: The plans that are the best in some draws, most frequent first.
        other_winners: How many more there are.
        measure_next: What is worth measuring again, most promising first.
    """

    confidence: float
    replicates: int
    notes: list[str]
    latency_s: Interval
    energy_j: Interval | None
    value: Interval | None
    best_share: float
    frontier_share: float
    kept_share: float
    regret: float | None
    regret_high: float | None
    infeasible_share: float
    winners: list[Winner]
    other_winners: int
    measure_next: list[Measurement]


class LinkRates(TypedDict):
    """The rates of a link that joins all devices."""

    upload_bit_s: float
    download_bit_s: float


class Region(TypedDict):
    """A range of a map's knob in which one plan is the best.

    Attributes:
        low: Where it begins, in the map's knob_unit.
        high: Where it ends; null: it does not.
        steps: The plan; null: none keeps the limits.
        constant: The goal's value, in goal_unit, is constant + slope x knob.
        slope: See there.
    """

    low: float
    high: float | None
    steps: list[Step] | None
    constant: float
    slope: float


class Map(TypedDict):
    """The best plan for every value of a knob: the round trip, or a multiple of the time on the air.

    Attributes:
        vary: The knob: bandwidth, upload, download or round_trip.
        knob_unit: Its unit: s for the round trip, none for a multiple.
        here: Its value at the link itself.
        round_trip_s: A round trip assumed instead of the link's own, or null.
        rates: The link's own rates, if all pairs of devices have the same.
        regions: By ascending knob, from 0 on.
    """

    vary: str
    knob_unit: str
    here: float
    round_trip_s: float | None
    rates: LinkRates | None
    regions: list[Region]


class Held(TypedDict):
    """How a limit holds for single runs.

    Attributes:
        name: latency or energy.
        unit: The unit of the next four: s or J.
        limit: The limit.
        mean: Mean of the plan's total.
        sd: Standard deviation of it.
        bound: What the total stays below with the probability asked for.
        share: Probability that the limit holds, by the model.
        drawn_share: Share of plans made of raw runs drawn at random that keep it.
    """

    name: str
    unit: str
    limit: float
    mean: float
    sd: float
    bound: float
    share: float
    drawn_share: float


class Rival(TypedDict):
    """The best plan that differs from the chosen one.

    Attributes:
        what: In what it differs: any step, or placement.
        steps: The plan.
        margin: By how much it is worse, in goal_unit.
        share: The same as a share of the chosen plan's value; null where that is 0.
        interval: The margin's; null where there is none.
    """

    what: str
    steps: list[Step]
    margin: float
    share: float | None
    interval: Interval | None


class Slack(TypedDict):
    """How close the plan comes to a limit.

    Attributes:
        limit: Which one.
        unit: The unit of the next three: s, J, bytes, layers or bundles.
        most: What is allowed.
        used: What the plan takes.
        slack: What is left.
        price: What the goal's value would gain without it, in goal_unit; null where that was not found out.
    """

    limit: str
    unit: str
    most: float
    used: float
    slack: float
    price: float | None


class Explanation(TypedDict):
    """Why this plan.

    Attributes:
        confidence: Probability of the intervals.
        rivals: The best other plans.
        slacks: One a limit.
    """

    confidence: float
    rivals: list[Rival]
    slacks: list[Slack]


class Options(TypedDict):
    """The steps that a what-if may take: columns of one length, by the node that each leads to.

    Attributes:
        number: By which a link's what-if calls them.
        head: Node that a step leads to.
        tail: Node that it comes from.
        device: Where it runs.
        first: Its first layer.
        last: Its last layer.
        frequency_hz: Its frequency; -1 where the clock is left alone.
        latency_s: Its time.
        energy_j: Its energy, but that of waiting.
        waits: What the power that turns is multiplied by while it runs.
        beyond_s: By how much longer than its time what waits does so: a mean run is longer than a typical one.
    """

    number: int
    head: list[int]
    tail: list[int]
    device: list[str]
    first: list[int]
    last: list[int]
    frequency_hz: list[int]
    latency_s: list[float]
    energy_j: list[float]
    waits: list[float]
    beyond_s: list[float]


class Crossings(TypedDict):
    """What joins the steps: columns of one length, by the node that each leads to.

    Attributes:
        head: Node that it leads to.
        tail: Node that it comes from.
        latency_s: Its time where bits take none and the round trip is 0.
        air_s: What comes on top for each multiple of the time on the air.
        trips: What comes on top for each second of round trip.
        energy_j: Its energy likewise, but that of waiting.
        air_j: What comes on top for each multiple of the time on the air.
        waits: What the power that turns is multiplied by meanwhile.
    """

    head: list[int]
    tail: list[int]
    latency_s: list[float]
    air_s: list[float]
    trips: list[float]
    energy_j: list[float]
    air_j: list[float]
    waits: list[float]


class WhatIf(TypedDict):
    """All plans as paths from node 0 to the last one, whose costs are lines in what may be asked.

    Attributes:
        options: Number of the steps' table.
        crossings: What joins the steps.
        nodes: How many nodes there are; an arc leads to a higher one.
        round_trip_s: The links' own round trip.
        waiting: The power that turns, of the edge device while it waits, as it is; null where it does not turn.
        waiting_unit: W, or empty where it is a multiple of powers that differ by frequency.
        per_s: The goal's weight of a second.
        per_j: The goal's weight of a joule.
        latency_limit_s: Largest latency, or null.
        energy_limit_j: Largest energy, or null.
    """

    options: int
    crossings: Crossings
    nodes: int
    round_trip_s: float
    waiting: float | None
    waiting_unit: str
    per_s: float
    per_j: float
    latency_limit_s: float | None
    energy_limit_j: float | None


class Link(TypedDict):
    """What was found out for one link.

    Attributes:
        name: Its name, or its numbers.
        rates: What joins each pair of devices.
        tensors: What would cross at each boundary.
        plan: The chosen plan.
        certificate: How sure it is that nothing is better.
        proof: The same in a sentence.
        confirmation: What another solver says; empty where none was asked.
        frontier: Its best trade-offs; null where there is no energy to trade.
        baselines: The chosen plan, then the other ways to place the network.
        interval: The chosen plan's intervals, where they were found out.
        certainty: What draws of the means say; null where that was not asked for.
        maps: The best plan by bandwidth, and by round trip.
        held: Limits that hold with a probability.
        notes: What could not be found out, and why.
        explanation: Why this plan; null where that is not defined.
        other_inputs: What sending the input in another way would give, of those that every device has measured.
        answer: The plan, what it costs and saves, and how sure that is, in a sentence; empty before version 4.
        is_sure: Whether no plan may be as good, as far as measurements tell; null where that is not known.
        what_if: What other links and powers would change; null where that is not known.
        without_what_if: Why it is not; empty where it is, and before version 4.
    """

    name: str
    rates: list[Rate]
    tensors: list[Tensor]
    plan: Plan
    certificate: Certificate
    proof: str
    confirmation: str
    frontier: Frontier | None
    baselines: list[Baseline]
    interval: PlanInterval | None
    certainty: Certainty | None
    maps: list[Map]
    held: list[Held]
    notes: list[str]
    explanation: Explanation | None
    other_inputs: list[OtherInput]
    answer: str
    is_sure: bool | None
    what_if: WhatIf | None
    without_what_if: str


class NoPlan(TypedDict):
    """A link without a plan, and why."""

    name: str
    reason: str


class BundleEffect(TypedDict):
    """A bundle against its layers.

    Attributes:
        first: Its first layer.
        last: Its last layer.
        latency_s: The bundle's time.
        sum_s: The sum of its layers' times, each run alone.
    """

    first: int
    last: int
    latency_s: float
    sum_s: float


class Effect(TypedDict):
    """The bundles of a device at a frequency against the sums of their layers.

    Attributes:
        device: The device.
        frequency_hz: The frequency; -1 where the clock is left alone.
        bundles: Evenly spread ones where there are many.
        count: How many there are.
    """

    device: str
    frequency_hz: int
    bundles: list[BundleEffect]
    count: int


class Fact(TypedDict):
    """What run.json says in one of its fields, as a text."""

    name: str
    value: str


class Source(TypedDict):
    """Where a device's numbers come from.

    Attributes:
        device: The device.
        path: Its table.
        dialect: How that was read; empty for DIME's own.
        file: run.json, where that stands beside it; else empty.
        facts: What it says.
    """

    device: str
    path: str
    dialect: str
    file: str
    facts: list[Fact]


class Versions(TypedDict):
    """What made it."""

    dime: str
    python: str


class Report(TypedDict):
    """Everything that a report shows.

    Attributes:
        network: The network's name.
        batch: Inputs that are computed at once; all times and energies are those of the whole batch.
        layers: Their names, in order.
        goal: What is made small: latency, energy, throughput or weighted.
        goal_name: The same in words.
        goal_unit: Its unit; none where it is weighted.
        has_energy: Whether there are energies.
        arithmetic: correct, or published: of the runs' means.
        warnings: What is odd in the tables behind it, a line each.
        devices: The devices, the edge device first.
        links: What was found out for each link.
        without_plan: The links without a plan.
        effect: The bundle effect, by device and frequency.
        sources: Where each device's numbers come from.
        command: The command line that asked for it; empty where there was none.
        versions: What made it.
        options: The steps' tables of the links' what-ifs.
    """

    network: str
    batch: int
    layers: list[str]
    goal: str
    goal_name: str
    goal_unit: str
    has_energy: bool
    arithmetic: str
    warnings: list[str]
    devices: list[Device]
    links: list[Link]
    without_plan: list[NoPlan]
    effect: list[Effect]
    sources: list[Source]
    command: str
    versions: Versions
    options: list[Options]


class Document(TypedDict):
    """report.json.

    Attributes:
        schema: Says that it is one.
        version: The version of its format.
        sha256: SHA-256 of [text, data] as JSON without spaces, in hexadecimal digits.
        text: The report for a terminal.
        data: What the page shows.
    """

    schema: str
    version: int
    sha256: str
    text: str
    data: Report
