"""How much each part of a plan's cost can matter: the best plan without it, priced with it, against the best plan.

AlexNet, VGG11 and ViT over 3G, 4G and WiFi, for latency and for energy: 18 plans. Profiles are modelled, and so are the
amounts of what no published table tells. docs/energy.md has what was printed last.
"""

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import pytest

from dime.host.planning import accounting as terms
from dime.host.planning.accounting import Accounting
from dime.host.planning.evaluation import evaluate
from dime.host.planning.formulation import build_problem
from dime.host.planning.goals import Limits
from dime.host.planning.links import load_link
from dime.host.profiles.encodings import Encoding
from dime.host.profiles.overheads import Overheads
from dime.host.search.solvers import exact
from dime.testing import synthetic

pytestmark = pytest.mark.benchmark
CHAINS = (synthetic.ALEXNET, synthetic.VGG11, synthetic.VIT)
LINKS = ("3G", "4G", "WiFi")
GOALS = ("latency", "energy")
HZ = synthetic.TWELVE_HZ[::3]
SAME = 1e-9
# Beside the links' own numbers, with their unchecked radio states: 1.25 W at rest, 0.5 GB/s and 50 us a copy on the
# device and 5 GB/s on the server, 20 ms for another clock, a server of 200 W; JPEG of quality 90 in 1/25 and 8 bits in
# 1/4 of the bytes, float16 in half; 0.1 GB/s to encode on the device, 1 GB/s on the server. Overheads are what a
# profile of a two-core machine has.
IDLE_W, COPY_S, COPY_BYTE_S, CHANGE_S, SERVER_W, CODE_BYTE_S = 1.25, 5e-5, (5e8, 5e9), 0.02, 200.0, (1e8, 1e9)
JPEG = {"uint8": 4, "jpeg90": 25}
OVERHEAD_S = {"begin": 1e-4, "enter": 2.5e-4, "leave": 1.2e-4, "forward": 1e-4, "finish": 1e-4, "cold": 3e-4}
HOP_S = 2e-4, 4e-10


@dataclass(frozen=True)
class Matter:
    """How often the plan made without a part is another one than the best, and how much worse at most."""

    name: str
    plans: int
    flips: int
    factor: float
    where: str

    def __str__(self) -> str:
        worst = f", at most {self.factor:.2f} x the best ({self.where})" if self.factor > 1 + 1e-3 else ""
        return f"{self.name}: {self.flips} of {self.plans} plans change{worst}"


@lru_cache(maxsize=8)
def profiles(chain):
    """A board and a server with everything known."""
    server = synthetic.server(chain).with_power(SERVER_W)
    made = []
    for at, profile in enumerate((synthetic.profile(chain, frequencies_hz=HZ), server)):
        first, last = np.array(profile.bundles).T
        cell = np.repeat(np.arange(len(profile.starts) - 1), np.diff(profile.starts)) // len(profile.frequencies_hz)
        sizes = np.array(chain.sizes_bytes)
        codes = [(0, name, part) for name, part in JPEG.items()]
        codes += [(boundary, "float16", 2) for boundary in range(1, len(chain.layers))]
        times_s = {boundary: sizes[boundary] / CODE_BYTE_S[at] for boundary, _, _ in codes}
        made.append(
            replace(
                profile,
                run_copy_in_s=COPY_S + sizes[first[cell]] / COPY_BYTE_S[at],
                run_copy_out_s=COPY_S + sizes[last[cell] + 1] / COPY_BYTE_S[at],
                frequency_change_s=(CHANGE_S,) * len(profile.frequencies_hz),
                overheads=Overheads(
                    {kind: (took_s,) * len(profile.frequencies_hz) for kind, took_s in OVERHEAD_S.items()},
                    (HOP_S,) * len(profile.frequencies_hz),
                ),
                idle_w=(IDLE_W if at == 0 else SERVER_W,) * len(profile.frequencies_hz),
                encodings={
                    (boundary, name): Encoding(
                        (times_s[boundary],) * len(profile.frequencies_hz),
                        (times_s[boundary],) * len(profile.frequencies_hz),
                        int(sizes[boundary]) // part, int(sizes[boundary]) // part, int(sizes[boundary]), None, None, 1,
                    )
                    for boundary, name, part in codes
                },
            )
        )  # fmt: skip
    return made


@lru_cache(maxsize=1000)
def best(chain, link, goal, **how):
    """A problem and its best plan."""
    rule = how.pop("rule", "merged")
    duplex = how.pop("duplex", False)
    one = replace(load_link(link), duplex=True) if duplex else load_link(link)
    made = build_problem(
        profiles(chain), one, goal, Limits(rule=rule), accounting=Accounting(**{"terms": "all", **how})
    )
    return made, exact.solve(made, 60, 0).choices


def compared(name, true, believed, goals=GOALS, own=False):
    """What plans made as ``believed`` cost as it truly is; ``own``: each as it is believed, as it is a choice."""
    flips, worst, where, plans = 0, 1.0, "", 0
    for chain in CHAINS:
        for link in LINKS:
            for goal in goals:
                right, plan = best(chain, link, goal, **true)
                wrong, other = best(chain, link, goal, **believed)
                judge = wrong if own else right
                factor = evaluate(judge, other).value(judge) / evaluate(right, plan).value(right)
                plans += 1
                flips += other != plan if own else factor > 1 + SAME
                if factor > worst:
                    worst, where = factor, f"{chain.network}, {goal}, {link}"
    return Matter(name, plans, flips, worst, where)


def without(term):
    return {"terms": ",".join(one.replace(" ", "_") for one in terms.TERMS if one != term)}


def everything():
    """All parts, in the order of the table."""
    for term in (terms.WAITING, terms.RADIO_STATES, terms.PROTOCOL, terms.COPIES, terms.OVERHEAD):
        yield compared(term, {}, without(term))
    new = {"connection": "new"}
    yield compared("a new connection for each transfer, planned as kept", new, {})
    free = {"rule": "free"}
    yield compared("frequency change (rule free)", free, {**free, **without(terms.FREQUENCY_CHANGE)})
    yield compared("all of these together", {}, {"terms": "none"})
    yield compared("whose joules: a plan for the board's, priced with the server's", {"joules": "all"}, {}, ("energy",))
    yield compared("half duplex", {}, {"duplex": True}, ("throughput",))
    for encode in ("input:uint8", "input:jpeg90", "input:jpeg90,features:float16"):
        yield compared(f"ENCODE={encode} instead of float32", {"encode": encode}, {}, own=True)


def test_how_much_each_term_can_matter(figures):
    found = list(everything())
    for one in found:
        figures(str(one))
    assert all(one.plans in (9, 18) for one in found)
    known = {one.name: one for one in found}
    assert known["radio states"].factor > 3 and known["radio states"].flips == 6
    assert all(one.factor >= 1 for one in found if not one.name.startswith("ENCODE"))
    assert known["ENCODE=input:jpeg90 instead of float32"].flips > 0
