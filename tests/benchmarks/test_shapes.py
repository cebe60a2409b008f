"""How often a profile of which shape chooses a plan that is more than 1 % worse, at equal time, by a measured one."""

import pytest

from tests.host.analysis import shapes

pytestmark = pytest.mark.benchmark


def test_shapes_at_equal_time(figures):
    table = shapes.read()
    figures(f"passes x runs, of {len(table.first_s)} measured passes: a plan more than 1 % worse; 95 % interval")
    for shape in shapes.SHAPES:
        share, half = shapes.worse(table, shape, 20_000)
        figures(f"{shape[0]} x {shape[1]}: {share:.2%} ±{half:.1%}")
