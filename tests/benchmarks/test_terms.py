"""What the terms of a plan's cost take of the search's time: a frontier without and with them, side by side in one run.

The profiles are modelled; times are real. The device waits at twelve different powers and the radio has states, so that
the search carries both through every plan.
"""

from dataclasses import replace
from time import perf_counter

import pytest

from dime.host.planning.accounting import Accounting
from dime.host.planning.formulation import build_problem
from dime.host.search import backends
from dime.host.search.frontier import frontier
from dime.testing import synthetic

pytestmark = pytest.mark.benchmark
MOST_S = 5e-3


@pytest.fixture(scope="module", autouse=True)
def loaded():
    backends.prepare()


def shortest_s(problem, count=200):
    taken = []
    for _ in range(count):
        began = perf_counter()
        found = frontier(problem)
        taken.append(perf_counter() - began)
    return min(taken), found


@pytest.mark.parametrize("link", ["4G", "WiFi"])
@pytest.mark.parametrize("chain", [synthetic.ALEXNET, synthetic.VGG11, synthetic.VIT], ids=str)
def test_a_frontier_with_all_terms_beside_one_without(chain, link, figures):
    edge = synthetic.profile(chain)
    edge = replace(edge, idle_w=tuple(1.0 + 0.05 * at for at in range(12)))
    profiles = [edge, synthetic.server(chain)]
    without, with_terms = (
        shortest_s(build_problem(profiles, link, accounting=Accounting(terms=terms))) for terms in ("none", "all")
    )
    figures(
        f"{chain.network}, {link}, 12 frequencies: {len(without[1])} points in {without[0] * 1e3:.2f} ms without"
        f" terms, {len(with_terms[1])} points in {with_terms[0] * 1e3:.2f} ms with all"
        f" (goal {MOST_S * 1e3:g} ms)"
    )
    assert len(with_terms[1]) and len(without[1])
