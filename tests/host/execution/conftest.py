"""What plans are run of: a small network's profile and two studies of it, made once for all processes."""

import pytest

from tests.host.execution import test_verify
from tests.sharing import once


@pytest.fixture(scope="session")
def mine(tmp_path_factory):
    """To be copied: several processes read it."""
    return once(tmp_path_factory, "mine", test_verify.make)
