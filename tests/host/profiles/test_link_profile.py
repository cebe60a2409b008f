import json

import numpy as np
import pytest

from dime.contract import tables
from dime.contract.errors import InputError, TableError
from dime.host.profiles import link_profile
from dime.host.profiles.link_profile import Misfit
from tests.host import links


def fitted(**how):
    return link_profile.fit(links.exchanges(**how), "nano-pc", "nano", "pc", "measured")


def estimates(found):
    return found.round_trip_s, found.upload_bit_s, found.download_bit_s


def covered(noise, passes, seeds):
    """How often each of the three intervals holds the truth."""
    hits = np.zeros(3)
    for seed in range(seeds):
        found = fitted(passes=passes, noise=noise, between=0.03, seed=seed)
        hits += [one.low <= truth <= one.high for one, truth in zip(estimates(found), links.TRUTH, strict=True)]
    return hits / seeds


def test_without_noise_the_truth_is_found():
    found = fitted()
    for one, truth in zip(estimates(found), links.TRUTH, strict=True):
        assert one.value == pytest.approx(truth, rel=1e-6)
        assert one.low <= one.value <= one.high
    assert not found.off
    assert (found.spread_s, found.spread_share) == (pytest.approx(0, abs=1e-8), pytest.approx(0, abs=1e-6))


@pytest.mark.parametrize("noise", ["normal", "outliers"])
def test_intervals_hold_the_truth(noise):
    """A few seeds of what the benchmark has many of."""
    assert covered(noise, 5, 40).min() >= 0.85


@pytest.mark.benchmark
@pytest.mark.parametrize("noise", ["normal", "lognormal", "outliers", "heavy tails", "jitter"])
def test_how_often_intervals_hold(asked, noise, figures):
    for passes in (3, 5, 10):
        shares = covered(noise, passes, 400)
        figures(
            f"95 % intervals of a link, {noise}, {passes} passes: round trip {shares[0]:.1%}, up {shares[1]:.1%},"
            f" down {shares[2]:.1%}"
        )
        assert shares.min() >= 0.92


def test_the_spread_of_single_exchanges_is_found():
    """Of a round trip that varies by 10 %, and of one whose bits take 20 % more or less."""
    jitter = fitted(passes=20, runs=5, noise="jitter")
    assert jitter.spread_s == pytest.approx(0.1 * links.TRUTH[0], rel=0.2)
    rows = links.exchanges(passes=20, runs=5)
    rng = np.random.default_rng(0)
    for row in rows:
        row["duration_s"] += (row["duration_s"] - links.TRUTH[0]) * rng.normal(0, 0.2)
    found = link_profile.fit(rows, "a-b", "a", "b", "measured")
    assert found.spread_share == pytest.approx(0.2, rel=0.2)
    assert found.spread_s < 0.1 * links.TRUTH[0]


def test_one_pass_has_no_interval_and_says_so():
    found = fitted(passes=1)
    assert [(one.low, one.high) for one in estimates(found)] == [(None, None)] * 3
    assert "one pass, so that there is no interval" in found.lines()[0]


def test_a_size_that_is_off_the_line_is_said():
    sizes = link_profile.sizes(602112)
    found = fitted(noise="normal", bend=lambda size: 1.2 if size == sizes[3] else 1.0)
    assert {(one.direction, one.size_bytes) for one in found.off} == {("up", sizes[3]), ("down", sizes[3])}
    told = "\n".join(found.lines())
    assert f"{sizes[3]} B up take " in told
    assert "the straight line says" in told


def test_what_noise_may_be_is_told_as_such():
    found = fitted(passes=2, runs=1, noise="lognormal", seed=3)
    assert "which noise may be" in "\n".join(found.lines())


def test_it_is_read_as_it_was_written(tmp_path):
    found = fitted(noise="normal")
    link_profile.write(found, tmp_path)
    read = link_profile.read(tmp_path)
    assert (estimates(read), read.passes, read.misfits, read.spread_s) == (
        estimates(found),
        found.passes,
        found.misfits,
        found.spread_s,
    )
    assert isinstance(read.misfits[0], Misfit)


@pytest.mark.parametrize(
    "damage",
    [
        {"passes": []},
        {"passes": [[1, 2]]},
        {"passes": [[1, -2, 3]]},
        {"passes": [["x", 1, 1]]},
        {"passes": 7},
        {"spread_s": -1},
        {"spread_share": "much"},
        {"origin": "guessed"},
        {"round_trip_s": {"value": -1, "low": None, "high": None}},
        {"upload_bit_s": None},
        {"misfits": [{"x": 1}]},
        {"about": 3},
        {"version": 9},
        {"schema": "dime.plan"},
    ],
)
def test_a_damaged_document_is_one_line(tmp_path, damage):
    link_profile.write(fitted(), tmp_path)
    path = tmp_path / "link.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **damage}))
    with pytest.raises(TableError, match=r"link\.json") as told:
        link_profile.read(tmp_path)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("text", ["", "[", "[]", "{}", "null", '{"passes": ' + "[" * 5000])
def test_what_is_no_document_is_one_line(tmp_path, text):
    (tmp_path / "link.json").write_text(text)
    with pytest.raises(TableError, match=r"link\.json is damaged"):
        link_profile.read(tmp_path)


def test_one_size_cannot_be_fitted(tmp_path):
    rows = [row for row in links.exchanges(passes=2) if row["size_bytes"] == 64]
    with tables.Writer(tmp_path / "transfers.csv", tables.TRANSFERS) as writer:
        writer.write(rows)
    with pytest.raises(TableError, match="fewer than two sizes up"):
        link_profile.read_transfers(tmp_path / "transfers.csv")


def test_a_pass_that_was_cut_off_does_not_count():
    whole = links.exchanges(passes=3)
    cut = link_profile.fit(whole + links.exchanges(passes=4)[-4:], "a-b", "a", "b", "measured")
    assert len(cut.passes) == 3
    with pytest.raises(TableError, match="no pass has all sizes"):
        rows = [row for row in whole if (row["iteration"] == 0) == (row["direction"] == "up")]
        link_profile.fit(rows, "a-b", "a", "b", "measured")


@pytest.mark.parametrize("largest", [0, 64, -5, 1 << 40])
def test_sizes_without_a_use_are_refused(largest):
    with pytest.raises(InputError, match="must be more than 64"):
        link_profile.sizes(largest)


def test_sizes_go_from_the_least_to_the_largest():
    assert link_profile.sizes(602112) == [64, 236, 874, 3229, 11933, 44095, 162943, 602112]
    assert link_profile.sizes(100) == [64, 80, 100]
