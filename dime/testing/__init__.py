"""What authors of plug-ins test with: a suite for each kind, an engine that fails as asked, small problems.

A test file of another package takes a kind's suite whole and says which plug-in it is for::

    from dime.testing.boards import *

    @pytest.fixture
    def board():
        return my_package.my_board

Nothing of the product imports this package.
"""

import pytest

for kind in ("boards", "meters", "networks", "solvers"):
    pytest.register_assert_rewrite("dime.testing." + kind)
