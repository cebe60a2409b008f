"""How often what is said of a plan is true, where the truth is known: 400 seeds of each noise, as a table.

The table as it was made last is tests/host/analysis/certainty.csv, which the ordinary suite checks by the same rule.
"""

import pytest

from tests.host.analysis import noise

pytestmark = pytest.mark.benchmark

SEEDS = range(400)
LIMIT_SEEDS = range(200)


def test_what_is_said_is_true(asked, figures):
    rows = []
    figures(",".join(noise.Row._fields))
    for kind in noise.KINDS:
        made = [
            row for passes in noise.PASSES for row in noise.rows(kind, passes, 10, noise.judge(kind, passes, 10, SEEDS))
        ]
        for passes, runs in noise.LIMIT_SHAPES:
            for limited in noise.LIMITED:
                score = noise.judge_limits(kind, passes, runs, LIMIT_SEEDS, limited=limited)
                made += noise.limit_rows(kind, passes, runs, *score, limited)
        if kind in noise.TERMS_KINDS:
            named, passes = kind + noise.WITH_TERMS, noise.TERMS_PASSES
            made += noise.rows(named, passes, 10, noise.judge(kind, passes, 10, SEEDS, terms=True))
            for passes, runs in noise.LIMIT_SHAPES:
                for limited in noise.LIMITED:
                    score = noise.judge_limits(kind, passes, runs, LIMIT_SEEDS, limited=limited, terms=True)
                    made += noise.limit_rows(named, passes, runs, *score, limited)
        for over in noise.OVER if kind == "normal" else ():
            score = noise.judge_limits(kind, 10, 10, LIMIT_SEEDS, over=over)
            made += noise.limit_rows(f"{kind} over a link with {over} noise", 10, 10, *score)
        for row in made:
            figures(",".join(map(str, row)))
        rows += made
    assert noise.broken(rows) == []
