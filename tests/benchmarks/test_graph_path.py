"""The built-in networks' times on both ways, side by side: as they are written, and from a document."""

import statistics
import time

import pytest
import torch

from dime.contract.bundles import Bundle
from dime.contract.networks import BUILT_IN
from tests.device.graphs.test_built_in import both

ROUNDS = 9


def tensors(output):
    return output if isinstance(output, tuple | list) else [output]


@pytest.mark.benchmark
@pytest.mark.parametrize("name", BUILT_IN)
def test_a_built_in_network_takes_the_same_time_as_its_document(name, figures):
    network, traced, (example,) = both(name)
    written = network.module(Bundle(0, len(network.layers) - 1))
    document = traced.part(0, len(traced.document.nodes) - 1).ready()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    ratios, given = [], {}
    try:
        with torch.inference_mode():
            for number in range(ROUNDS + 2):
                times = {}
                for module in (written, document) if number % 2 else (document, written):
                    start = time.monotonic()
                    given[module is document] = module(example)
                    times[module is document] = time.monotonic() - start
                ratios.append(times[True] / times[False])
    finally:
        torch.set_num_threads(threads)
    ratio = statistics.median(ratios[2:])
    figures(f"{name}: from its document it takes {ratio:.3f} times what it takes as it is written")
    assert all(map(torch.equal, *(tensors(given[which]) for which in (True, False))))
