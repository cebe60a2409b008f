"""Measurements made again, and compared by rules that were fixed before."""

import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest

from dime.contract.errors import InputError
from dime.host.provenance import equivalence, repeat
from dime.host.provenance.equivalence import DIFFERENT, EQUAL, UNDECIDED, compare, holm
from dime.host.provenance.evaluation import FAILS, HOLDS, OPEN
from dime.host.provenance.repeat import Options
from tests.host.provenance.test_artifact import edit


def passes(generator, mean, count=8, spread=0.01, bundles=10):
    return [mean * generator.normal(1, spread, count) for _ in range(bundles)]


def verdicts(ratio, spread=0.01, count=8, margin=0.1):
    generator = np.random.default_rng(7)
    old, new = (passes(generator, mean, count, spread) for mean in (1e-3, ratio * 1e-3))
    return {one.verdict for one in compare([str(k) for k in range(10)], old, new, margin)}


def test_the_same_times_are_equal_and_others_different():
    assert verdicts(1.0) == verdicts(1.05) == {EQUAL}
    assert verdicts(1.3) == verdicts(0.7) == {DIFFERENT}
    assert verdicts(1.1) == verdicts(1.0, spread=0.5) == verdicts(1.0, count=1) == {UNDECIDED}


def test_bundles_at_the_margin_are_called_equal_as_rarely_as_stated():
    generator = np.random.default_rng(11)
    wrong = {EQUAL: 0, DIFFERENT: 0}
    for _ in range(200):
        old, new = passes(generator, 1.0), passes(generator, 1.1)
        found = {one.verdict for one in compare([str(k) for k in range(10)], old, new, 0.1)}
        for verdict in wrong:
            wrong[verdict] += verdict in found
    # 5 % of 200 families: more than 20 would happen once in a thousand times
    assert wrong[EQUAL] <= 20 and wrong[DIFFERENT] <= 20


def test_holm_against_its_definition():
    assert holm([0.01, 0.04, 0.03, 0.005], 0.05) == [True, False, False, True]
    assert holm([0.01, 0.02, 0.05], 0.05) == [True, True, True]
    assert holm([], 0.05) == [] and holm([0.2, 0.001], 0.05) == [False, True]


def test_what_does_not_vary_is_compared_as_it_is():
    same = [np.array([1.0, 1.0])]
    assert [one.verdict for one in compare(["a"], same, [np.array([1.05, 1.05])], 0.1)] == [EQUAL]
    assert [one.verdict for one in compare(["a"], same, [np.array([2.0, 2.0])], 0.1)] == [DIFFERENT]
    assert equivalence.rank_correlation(np.array([1.0, 2, 3]), np.array([10.0, 20, 30])) == pytest.approx(1)


def test_a_session_counts_once_and_a_pass_where_there_is_one_session():
    cell = {
        "bundles": ((0, 0),), "frequencies_hz": (1,), "starts": np.array([0, 8]),
        "run_duration_s": np.array([1.0, 1.2, 1.1, 1.3, 3.0, 3.2, 3.1, 3.3]),
        "run_iteration": np.repeat(np.arange(4), 2),
    }  # fmt: skip
    once, twice = np.zeros(8, np.int64), np.repeat([0, 1], 4)
    counted = [
        repeat._of_passes(SimpleNamespace(**cell, run_session=sessions), (0, 0), 1).tolist()
        for sessions in (None, once, twice)
    ]
    assert counted == [pytest.approx([1.1, 1.2, 3.1, 3.2])] * 2 + [pytest.approx([1.15, 3.15])]


@pytest.fixture
def measured(place, tmp_path, monkeypatch):
    """Measuring gives the archived run, each time multiplied by a factor, on a board of any kind."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(repeat, "BUILT_IN", ("tiny",))
    lab = "".join(f'[{name}]\nengine = "local"\nboard = "generic"\n' for name in ("nano", "pc", "other"))
    (tmp_path / "lab.toml").write_text(lab)
    changes = {"factor": 1.0, "board": None, "layers": None}

    def profile(net, device, *_, results, **__):
        archived = "pc" if device == "pc" else "nano"
        folder = tmp_path / results / device / net
        shutil.copytree(place / "artifact/results" / archived / net, folder, dirs_exist_ok=True)
        lines = (folder / "timings.csv").read_text().splitlines()
        at = lines[0].split(",").index("duration_s")
        rows = [line.split(",") for line in lines[1:]]
        for row in rows:
            row[at] = repr(float(row[at]) * changes["factor"])
        (folder / "timings.csv").write_text("\n".join([lines[0], *map(",".join, rows)]) + "\n")
        if changes["board"]:
            edit(folder / "run.json", board=changes["board"])
        return [folder]

    monkeypatch.setattr(repeat.campaign, "profile", profile)
    return changes


def rows_of(place, **options):
    return repeat.repeat(place / "artifact", Options(**options)).rows


def test_the_same_device_measures_the_same(place, measured):
    rows = rows_of(place, device="nano,pc")
    assert [row.verdict for row in rows] == [HOLDS, HOLDS]
    assert "bundles equal within 10%, Holm at 5%" in rows[0].expected and "equal" in rows[0].found


def test_a_slower_device_of_the_same_kind_is_found(place, measured):
    measured["factor"] = 1.5
    rows = rows_of(place, device="pc")
    assert [row.verdict for row in rows if "nano" in row.what] == [OPEN]
    assert any(row.verdict == FAILS and "times the archived time" in row.found for row in rows)


def test_another_kind_of_device_is_asked_for_the_conclusions(place, measured):
    measured["factor"], measured["board"] = 3.0, "another"
    rows = rows_of(place, device="other")
    assert any("order of" in row.what and "they have no order" in row.found for row in rows)
    assert any(row.verdict == OPEN and "only a meter here could tell" in row.found for row in rows)


def test_what_cannot_be_measured_is_listed(place, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    rows = rows_of(place)
    assert len(rows) == 2 and {row.verdict for row in rows} == {OPEN}
    assert "no nano (nano, cuda) here: DEVICE= and LAB= name one" in rows[0].found
    with pytest.raises(InputError, match="a margin is a share"):
        rows_of(place, margin=2.0)


def test_a_plan_about_time_has_its_regret_told(place, measured, tmp_path):
    archive = shutil.copytree(place / "artifact", tmp_path / "archive")
    said = json.loads((archive / "artifact.json").read_text())
    for step in said["steps"]:
        if step["command"] == "solve":
            step["options"]["goal"] = "latency"
    (archive / "artifact.json").write_text(json.dumps(said))
    measured["board"] = "another"
    rows = repeat.repeat(archive, Options(device="nano,pc")).rows
    (regret,) = (row for row in rows if "the archived plan" in row.what)
    assert regret.expected == "at most 5% above the best" and "% above it" in regret.found
