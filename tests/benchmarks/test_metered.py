"""A plan's joules against those of a device whose power is known in every moment: 400 seeds of each noise, as a table.

The table as it was made last is tests/host/analysis/metered.csv, which the ordinary suite checks by the same rule.
"""

import pytest

from tests.host.analysis import metered, noise

pytestmark = pytest.mark.benchmark


def test_a_plans_interval_holds_the_joules_of_a_run_of_it(asked, figures, tmp_path):
    rows = []
    figures(",".join(noise.Row._fields))
    for kind in metered.KINDS:
        made = metered.rows(kind, metered.judge(tmp_path, kind, range(400)))
        for row in made:
            figures(",".join(map(str, row)))
        rows += made
    assert metered.broken(rows) == []
