"""Profiles of the shape of measured ones; they ship in dime.testing."""

from dime.testing.synthetic import *  # noqa: F403
