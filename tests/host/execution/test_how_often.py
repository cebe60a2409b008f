"""How often predictions held when the large benchmarks ran last: tests/lab/test_how_often.py, in containers of two
engines, and tests/benchmarks/test_verification.py, as processes.

Networks that are built in and such as were cut by themselves, on an edge device that is a fifth of a core of a machine
with two (AMD EPYC, a virtual machine whose speed moves), the links emulated.
"""

import csv
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

from dime.host.common import stats

TABLE = Path(__file__).with_name("verification.csv")
PAGE = Path(__file__).parents[3] / "docs/howto/verify.md"
TEXTS = ("where", "network", "link", "plan", "origin")


@pytest.fixture(scope="module", params=["containers", "processes"])
def rows(request):
    with open(TABLE, newline="") as stream:
        every = [{key: it if key in TEXTS else float(it) for key, it in row.items()} for row in csv.DictReader(stream)]
    return [row for row in every if row["where"] == request.param]


def figures(rows):
    """Plans, the share that holds, median errors (also at the speed of the same minutes) and regrets."""
    by_link = defaultdict(list)
    for row in rows:
        by_link[row["network"], row["link"]].append(row)
    regrets = [
        next(row["measured_s"] for row in several if row["plan"] == "DIME") / min(row["measured_s"] for row in several)
        - 1
        for several in by_link.values()
    ]
    errors, apart = (
        np.median([abs(row["measured_s"] / row[name] - 1) for row in rows]) for name in ("predicted_s", "meanwhile_s")
    )
    return len(rows), float(np.mean([row["holds"] for row in rows])), errors, apart, np.mean(regrets), max(regrets)


def test_each_verdict_is_by_the_rule(rows):
    for row in rows:
        interval = row["predicted_low_s"], row["predicted_high_s"]
        assert stats.is_kept(interval, row["measured_s"], row["measured_half_s"]) == bool(row["holds"]), row


def test_what_was_reached(rows):
    """All that was aimed at."""
    count, held, errors, apart, regret, _ = figures(rows)
    assert errors <= 0.03 and {row["origin"] for row in rows} == {"emulated"}
    assert len({row["network"] for row in rows}) == 7 and len({row["link"] for row in rows}) == 4
    assert count > 7 * 4 * 2 and held >= 0.9 and apart <= 0.01 and regret <= 0.02
    assert all(row["distance"] == 0 for row in rows), "each result was the whole network's, bit for bit"


def test_the_page_says_what_the_table_says(rows):
    page = PAGE.read_text(encoding="utf-8").partition(f"\n### As {rows[0]['where']}")[2].partition("\n#")[0]
    for name in [*dict.fromkeys(row["network"] for row in rows), "all"]:
        count, held, errors, apart, regret, most = figures([row for row in rows if name in ("all", row["network"])])
        told = f"| {name} | {count} | {held:.0%} | {errors:.1%} | {apart:.1%} | {regret:.1%} | {most:.1%} |"
        assert told.replace("%", " %") in page, told
