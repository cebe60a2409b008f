"""Studies of modelled profiles, for tests of what is written about them."""

from dataclasses import replace
from functools import lru_cache

from dime.host.analysis import resampling, uncertainty
from dime.host.planning.goals import Limits
from dime.host.studies.study import Study, make_study
from dime.testing import synthetic

HOSTILE = '</script><img src=x onerror="window.hacked=1"><b>&\'\x1b[31m'


@lru_cache(maxsize=8)
def study(links: str = "4G,WiFi", energy: bool = True, origin: str = "modelled", **options) -> Study:
    """AlexNet on an edge device with three clocks and a server; ``origin`` is the label of the edge's numbers."""
    chain = synthetic.ALEXNET
    edge = synthetic.profile(chain, frequencies_hz=synthetic.TWELVE_HZ[3::4], static_w=1.5 if energy else None, runs=5)
    options.setdefault("limits", Limits(rule="free"))
    return make_study([replace(edge, origin=origin), synthetic.server(chain)], links, **options)


def limited(limits: Limits, links: str = "WiFi", **options) -> Study:
    """The same with limits."""
    return study.__wrapped__(links, limits=limits, **options)


def with_uncertainty(found: Study, replicates: int = 30) -> Study:
    """The same study, with the intervals of the plan, the baselines and the frontier."""
    links = []
    for link in found.links:
        front = link.frontier
        plans = [link.plan.choices(link.problem), *(row.choices for row in link.baselines if row.choices)]
        plans += [front.choices(at) for at in range(len(front))] if front else []
        samples = resampling.resample(link.problem, found.profiles, replicates)
        links.append(replace(link, uncertainty=uncertainty.bootstrap(samples, list(dict.fromkeys(plans)))))
    return replace(found, links=tuple(links))


def three_devices() -> Study:
    """A pipeline of a board, a hub and a server."""
    chain = synthetic.ALEXNET
    hub = synthetic.profile(chain, "hub", (-1,), 4e11, None, runs=3)
    edge = synthetic.profile(chain, frequencies_hz=(921600000,), runs=3)
    pairs = "nano-hub: WiFi; nano-wiscad: 4G; hub-wiscad: WiFi"
    return make_study([edge, hub, synthetic.server(chain)], pairs, "throughput")


def hostile() -> Study:
    """A study whose names try to be markup, or to steer a terminal."""
    chain = synthetic.ALEXNET
    layers = (HOSTILE, *chain.layers[1:])
    edge, server = synthetic.profile(chain, frequencies_hz=(921600000,), runs=3), synthetic.server(chain)
    edge = replace(edge, layers=layers, device="nano" + HOSTILE, weights=HOSTILE, path=HOSTILE, network=HOSTILE)
    found = make_study([edge, replace(server, layers=layers)], "WiFi")
    link = found.links[0]
    plan = replace(link.plan, certificate=replace(link.plan.certificate, confirmed_by=HOSTILE))
    return replace(found, links=(replace(link, name="WiFi" + HOSTILE, plan=plan),))
