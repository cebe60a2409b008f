"""Random problems and their enumeration; they ship in dime.testing."""

from dime.testing.instances import *  # noqa: F403
