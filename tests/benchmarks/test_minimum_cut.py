"""What it costs that a network is planned as a chain: against the true minimum cut of a U-Net, whose skips cross it.

Times add up here (work / speed), so that both problems are exact. A chain sends at each change of device every tensor
that is still needed, also one that the other side has made itself; the minimum cut sends a tensor once, and may part
branches. No other assignment to two devices costs less than the minimum cut. The whole result goes home, as a mask
does.
"""

import itertools

import numpy as np
import pytest
import torch

from dime.device.graphs import cutting, tracing
from dime.device.graphs.document import references, size_bytes
from tests.device.graphs import models

RATIOS = (2, 5, 10, 30, 100)  # how much faster the server is
SHARES = np.geomspace(0.001, 3, 40)  # sending the input takes so much of the weak device's time for all of the network


def instance(name, example):
    model, _ = models.small(name)
    torch.manual_seed(0)
    traced = tracing.trace(model, example, name)
    document = traced.document
    work = [cutting._work(document, traced, number) for number in range(len(document.nodes))]
    producers = {number: -1 for number in document.inputs}
    consumers = {number: [] for number in range(len(document.values))}
    for at, node in enumerate(document.nodes):
        for value in set(references([node.arguments, node.keywords], "value")):
            consumers[value].append(at)
        producers.update({value: at for value in node.outputs if value is not None})
    return document, np.array(work, float), producers, consumers


def minimum_cut(work, values, ratio, rate, private):
    """The least time of all assignments: nodes on the source's side are the weak device's.

    ``values`` are (producer or -1, consumers, bytes). A value costs once if a consumer stands on the other side than
    its producer, whichever that is. The first ``private`` nodes, and what takes the result, stay on the weak device.
    """
    count = len(work)
    source, sink, edges, unbounded = count, count + 1, [], work.sum() * 1000
    for node, amount in enumerate(work):
        edges += [(source, node, unbounded if node < private else amount / ratio), (node, sink, amount)]
    number = count + 2
    for producer, readers, size in values:
        start = source if producer < 0 else producer
        up, down = number, number + 1
        number += 2
        edges += [(start, up, size / rate), *((up, reader, unbounded) for reader in readers if reader < count)]
        edges += [
            (down, start, size / rate),
            *((source if reader == count else reader, down, unbounded) for reader in readers),
        ]
    return maximum_flow(edges, source, sink)


def maximum_flow(edges, source, sink):
    """The value of the largest flow, by shortest augmenting paths."""
    left = {}
    for start, end, capacity in edges:
        left.setdefault(start, {}).setdefault(end, 0.0)
        left[start][end] += capacity
        left.setdefault(end, {}).setdefault(start, 0.0)
    total, nothing = 0.0, 1e-12 * sum(left[source].values())
    while True:
        before = {source: source}
        waiting = [source]
        for node in waiting:
            for end, capacity in left[node].items():
                if capacity > nothing and end not in before:
                    before[end] = node
                    waiting.append(end)
            if sink in before:
                break
        else:
            return total
        path = [sink]
        while path[-1] != source:
            path.append(before[path[-1]])
        flow = min(left[end][start] for start, end in itertools.pairwise(path))
        for start, end in itertools.pairwise(path):
            left[end][start] -= flow
            left[start][end] += flow
        total += flow


def chain(document, work, ratio, rate, private):
    """The least time of a chain: at each place it may change the device, for all that is needed there."""
    crossing = [document.boundary_bytes(place) / rate for place in document.live()]
    weak, server = 0.0, crossing[0]
    for node, amount in enumerate(work):
        weak, server = weak + amount, server + amount / ratio if node >= private else np.inf
        weak, server = min(weak, server + crossing[node + 1]), min(server, weak + crossing[node + 1])
    return weak


def excesses(name, example, blocks):
    """How much longer the chain takes than the minimum cut, and how many cases are best on both devices.

    The first block is private, or nothing is.
    """
    document, work, producers, consumers = instance(name, example)
    (result,) = references(document.outputs, "value")
    consumers[result].append(len(work))
    values = [
        (producers[value], readers, size_bytes(document.values[value]))
        for value, readers in consumers.items()
        if readers
    ]
    found, parted = [], 0
    for private, ratio, share in itertools.product(blocks, RATIOS, SHARES):
        rate = document.boundary_bytes(document.inputs) / (share * work.sum())
        best = minimum_cut(work, values, ratio, rate, private)
        found.append(chain(document, work, ratio, rate, private) / best - 1)
        home = size_bytes(document.values[result]) / rate
        all_there = np.inf if private else work.sum() * (share + 1 / ratio) + home
        parted += best < min(work.sum(), all_there) * (1 - 1e-6)
    return np.array(found), parted


@pytest.mark.benchmark
def test_a_u_net_as_a_chain_against_its_minimum_cut(figures):
    found, parted = excesses("unet", (torch.randn(1, 3, 256, 256),), (0, 5))  # a block is five nodes
    assert found.min() > -1e-6  # nothing is better than the minimum cut
    figures(
        f"U-Net, {len(found)} cases, {parted} of them best on both devices: the chain equals the minimum cut "
        f"within 1 % in {np.mean(found < 0.01):.0%}, "
        f"costs {found.mean():.2%} more on average, {found.max():.1%} at most"
    )
    assert found.mean() < 0.05
