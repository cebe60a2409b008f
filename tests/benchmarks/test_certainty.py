"""How often what is said of a plan is true, where the truth is known: 400 seeds of each noise, printed as a table."""

import pytest

from tests.host.analysis import noise

pytestmark = pytest.mark.benchmark

SEEDS = range(400)
SHARES = "best in 95 % and more", "best in 90 to 95 %"
COLUMNS = (
    "latency",
    "energy",
    "difference",
    "chosen",
    "its energy",
    "best in 95 % and more",
    "best in 90 to 95 %",
    "sure",
)


def test_what_is_said_is_true(figures, request):
    if request.config.getoption("markexpr") != "benchmark":
        pytest.skip("takes minutes, and tests/host/analysis/test_certainty.py is a small one: -m benchmark")
    runs, whole = 10, noise.Score()
    figures(f"{'noise':16}{'passes':>7}{'refused':>9}" + "".join(f"{name:>23}" for name in COLUMNS))
    for kind in noise.KINDS:
        for passes in (3, 5, 10):
            score = noise.judge(kind, passes, runs, SEEDS)
            whole += score
            cells = [
                f"{score.share(name):.3f} of {score.given[name]}" if score.given.get(name) else "none"
                for name in COLUMNS
            ]
            figures(f"{kind:16}{passes:7}{score.refused:9}" + "".join(f"{cell:>23}" for cell in cells))
            for name in ("latency", "energy", "difference", "chosen", "its energy"):
                if score.given.get(name, 0) >= 50:
                    error = 2 * (0.05 * 0.95 / score.given[name]) ** 0.5
                    assert 0.92 - error <= score.share(name) <= 0.98 + error, (kind, passes, name)
    for name in COLUMNS:
        figures(f"{name}: {whole.share(name):.3f} of {whole.given.get(name, 0)}")
    assert 0.88 <= whole.share("best in 90 to 95 %") <= 0.98
    assert whole.share("sure") >= 0.975
