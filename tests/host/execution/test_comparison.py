"""What is predicted beside what was stamped, where the truth is known."""

import pytest

from dime.contract import stages
from dime.host.execution import comparison
from dime.host.report import verified
from tests.host.execution import made

SEGMENTS = stages.segments([(0, 0, 0, -1), (1, 1, 1, -1)])


def test_no_two_clocks_are_compared_and_every_cause_is_found():
    times = comparison.stage_times(made.row(overhead_ms=4), SEGMENTS, [0.005, 0.005])
    assert times["compute", 0, 0] == pytest.approx(0.003) and times["compute", 1, 0] == pytest.approx(0.002)
    assert times["crossing", 0, 0] == pytest.approx(0.013) and times["crossing", 1, 0] == pytest.approx(0.006)
    assert times["overhead", 1, 0] == pytest.approx(0.004)
    whole = made.row(overhead_ms=4)
    assert sum(times.values()) == pytest.approx((whole["end_ns"] - whole["start_ns"]) / 1e9)


def test_delays_are_shared_out_as_they_were_predicted():
    times = comparison.stage_times(made.row(delay_ms=6), SEGMENTS, [0.002, 0.001])
    assert times["crossing", 0, 0] == pytest.approx(0.008 + 0.008)
    assert times["crossing", 1, 0] == pytest.approx(0.001 + 0.004)
    even = comparison.stage_times(made.row(delay_ms=6), SEGMENTS, [0.0, 0.0])
    assert even["crossing", 0, 0] == pytest.approx(0.008 + 0.006)


@pytest.mark.parametrize(
    ("server_ms", "predicted", "holds"),
    [(2, (0.0235, 0.0245), True), (9, (0.0235, 0.0245), False), (2, None, None), (2, (0.03, 0.04), False)],
)
def test_the_verdict_is_that_of_the_interval(server_ms, predicted, holds):
    found = made.compared([[made.row(server_ms=server_ms)] * 2] * 5, predicted)
    assert found.holds is holds
    assert found.error == pytest.approx(found.measured.mean_s / 0.024 - 1)


def test_the_interval_is_widened_by_the_measurement_s_own():
    rounds = [[made.row(server_ms=ms)] for ms in (2, 3, 4, 3, 2)]  # 24.8 ms on average
    assert made.compared(rounds, (0.0235, 0.0245)).holds is True
    assert made.compared([[made.row(server_ms=3)]] * 5, (0.0235, 0.0245)).holds is False


def test_a_round_counts_once():
    apart = comparison.measure([made.np.full(10, 0.01), made.np.full(10, 0.02)])
    assert apart.interval_s[0] < 0 < apart.interval_s[1] and apart.rounds == 2 and apart.count == 20
    assert comparison.measure([made.np.full(3, 0.01)]).interval_s is None


def test_requests_that_the_edge_finished_count_in_the_whole_and_in_no_stage():
    found = made.compared([[made.row(), made.row(fallback="d1", down_ms=500)]] * 5)
    assert found.fallbacks == 5 and found.measured.count == 10
    assert all(told.measured.count == 5 for told in found.stages)


def test_what_does_not_hold_names_its_cause():
    found = made.verification(server_ms=9)
    text = verified.text(found)
    assert "does not hold" in text and "most of it: compute l1 on d1, predicted 2.00 ms, measured 9.00 ms" in text
    assert "overhead on d1" in verified.text(made.verification(overhead_ms=20))
    lines = verified.text(made.verification()).splitlines()
    assert lines[0].startswith("a_link D DIME") and "predicted 24.0 ms (23.5 to 24.5)" in lines[0]
    assert lines[0].endswith("+0.0%  holds")
    assert max(map(len, lines)) <= 120


def test_what_a_bundle_took_back_to_back_tells_the_plan_s_doing_from_the_device_s():
    alone = [{(1, 0): [0.0021, 0.0019]}] * 5
    told = comparison.by_stage(made.parts(), [[made.row(server_ms=9)]] * 5, SEGMENTS, [0.005, 0.005], alone)
    assert [one.back_to_back is not None for one in told] == [False, False, True, False, False]
    assert told[2].back_to_back.mean_s == pytest.approx(0.002) and told[2].measured.mean_s == pytest.approx(0.009)


def test_a_device_that_has_become_slower_is_told_from_a_model_that_is_wrong():
    slower = [{(1, 0): [0.009, 0.009]}] * 5
    found = made.verification(server_ms=9, alone=slower)
    (one,) = found.links[0].compared
    assert one.meanwhile_s == pytest.approx(one.predicted_s + 0.007) == pytest.approx(one.measured.mean_s)
    assert "with each bundle as fast as it was back to back meanwhile: 31.0 ms" in verified.text(found)
    assert made.verification(server_ms=9).links[0].compared[0].meanwhile_s is None


def test_encoding_is_a_cause_of_its_own():
    row = made.row(encode_ms=4, decode_ms=1.5, overhead_ms=2)
    times = comparison.stage_times(row, SEGMENTS, [0.005, 0.005])
    assert times["encoding", 0, 0] == pytest.approx(0.004) and times["encoding", 1, 0] == pytest.approx(0.0015)
    assert times["overhead", 0, 0] == pytest.approx(0) and times["overhead", 1, 0] == pytest.approx(0.002)
    assert sum(times.values()) == pytest.approx((row["end_ns"] - row["start_ns"]) / 1e9)


def test_the_effect_of_encodings_is_the_mean_over_what_was_checked():
    def rows(*several):
        return [{"same_class": same, "off": off} for same, off in several]

    assert comparison.effect(rows((None, None), (None, None))) is None
    found = comparison.effect(rows((1, 0.1), (0, 0.3), (1, 0.2), (1, 0.2)))
    assert found == comparison.Effect(0.75, pytest.approx(0.2), 4)
    assert str(found) == "first class the same in 3 of 4, result off by 0.2 of it"
    assert comparison.effect(rows((None, 0.1), (None, 0.3))) == comparison.Effect(None, pytest.approx(0.2), 2)
    assert comparison.effect(rows((1, 0.1), (1, None))).distance is None


def test_what_was_encoded_and_what_it_did_stands_below_the_plan():
    lines = verified.text(made.encoded(made.verification())).splitlines()
    assert lines[1].strip() == "encoded: input as jpeg90; first class the same in 5 of 6, result off by 0.012 of it"
    assert "encoded" not in verified.text(made.verification())
