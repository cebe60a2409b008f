"""operations.json says of this torch what this torch says of itself; Python 3.6 runs this, too, on the oldest one."""

import pytest

from dime.contract import operations
from dime.device.graphs import support


def test_what_is_known_of_this_torch_is_what_it_cannot_do():
    known = operations.known()
    assert {"1.10.1", "1.11.0"} < set(known)
    if support.version() not in known:
        pytest.skip("torch {} is not among those that boards are told of".format(support.version()))
    assert known[support.version()] == support.facts()
