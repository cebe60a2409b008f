"""What a plan costs, played on a timeline: no tables, no states, nothing in common with the planner but the problem."""

from collections import defaultdict
from dataclasses import dataclass, field, replace


@dataclass
class Played:
    """Time and energy of a plan, and the time of each stage of a pipeline."""

    now: int = 0
    energy: float = 0.0
    stages: dict = field(default_factory=lambda: defaultdict(int))


def play(problem, choices):  # noqa: PLR0915 - one story
    """Plays a plan."""
    terms, pipeline = problem.terms, problem.goal.is_pipeline
    radios = {pair: radio for radio in terms.radios for pair in (*radio.pairs, *(p[::-1] for p in radio.pairs))}
    if pipeline:  # what was measured behind waits does not happen there
        radios = {}
        ends = ("first_ps", "last_ps", "crossing")
        of = {end: {term: its for term, its in getattr(terms, end).items() if term != "overhead"} for end in ends}
        terms = replace(terms, **of)
    played, here, last_bit, left_at = Played(), 0, {}, {}
    half_duplex = {pair for pair, link in problem.joined.items() if not link.duplex}

    def wait(ps, busy=None):
        if pipeline:
            return
        for device, watts in enumerate(terms.idle_w):
            if device != busy and watts is not None:
                power = watts[left_at[device]] if device in left_at else min(watts)
                played.energy += power * ps

    def encode_input():
        """At the fastest clock that is allowed, of equally fast ones at the most frugal; the rest waits meanwhile."""
        edge, watts = problem.devices[0], terms.working_w[0] if terms.working_w else None
        allowed = problem.limits.frequencies_hz.get(edge.name, edge.frequencies_hz)
        ways = [
            (int(ps), 0 if watts is None else watts[at])
            for at, ps in enumerate(terms.input_ps)
            if edge.frequencies_hz[at] in allowed
        ]
        taken, power = min(ways)
        played.energy += power * taken
        wait(taken, 0)
        played.now += taken
        return taken

    def send(boundary, source, target):
        if source == target:
            return
        place = boundary, source, target
        pair = (target, source) if (target, source) in half_duplex else (source, target)
        ps, pj = int(problem.crossing_ps[place]), int(problem.crossing_pj[place])
        for more_ps, more_pj in terms.crossing.values():
            ps, pj = ps + int(more_ps[place]), pj + int(more_pj[place])
        if boundary == 0 and source == 0 and terms.input_ps is not None:
            played.stages[pair if terms.input_on_link else (0, 0)] += encode_input()
        radio = radios.get((source, target))
        if radio is not None:
            counts = terms.counted[radio.device]
            silent = played.now - last_bit[radio] if radio in last_bit else None
            if silent is not None and silent <= radio.tail_ps:
                played.energy += radio.tail_w * silent * counts
            else:
                if silent is not None:
                    played.energy += radio.tail_w * radio.tail_ps * counts
                ps += radio.promotion_ps
                pj += radio.promotion_pj * counts
        played.energy += pj
        wait(ps)
        played.now += ps
        played.stages[pair] += ps
        if radio is not None:
            last_bit[radio] = played.now

    for at, (bundle, device, hz) in enumerate(choices):
        before, after = choices[at - 1] if at else None, choices[at + 1] if at + 1 < len(choices) else None
        send(bundle.first, here, device)
        here = device
        costs = problem.devices[device]
        column = costs.frequencies_hz.index(hz)
        row = problem.bundles.index(bundle)
        extra = 0
        if before is None or before.device != device:
            extra += sum(
                int(one[device][bundle.first, column]) for one in terms.first_ps.values() if one[device] is not None
            )
        elif before.frequency_hz != hz and terms.change_ps[device] is not None:
            extra += int(terms.change_ps[device][column])
        if after is None or after.device != device:
            extra += sum(
                int(one[device][bundle.last + 1, column]) for one in terms.last_ps.values() if one[device] is not None
            )
        if not pipeline and device < len(terms.waited_ps) and terms.waited_ps[device] is not None:
            extra += int(terms.waited_ps[device][row, column])
        ps = int(costs.latency_ps[row, column]) + extra
        played.energy += int(costs.energy_pj[row, column])
        if terms.working_w and terms.working_w[device] is not None:
            played.energy += terms.working_w[device][column] * extra
        more = 0
        if device < len(terms.beyond_ps) and terms.beyond_ps[device] is not None:
            more = int(terms.beyond_ps[device][row, column])
        wait(ps + more, device)
        left_at[device] = column
        played.now += ps
        played.stages[device, device] += ps
    send(len(problem.layers), here, 0)
    for radio in last_bit:
        played.energy += radio.tail_w * radio.tail_ps * terms.counted[radio.device]
    return played
