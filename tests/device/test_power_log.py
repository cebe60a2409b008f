"""The device's side of the power log, against loggers of both kinds, on every Python that devices have."""

import json
import os
import re

import pytest

from dime.contract import power_protocol as protocol
from dime.contract import tables
from dime.contract.errors import ConnectionLostError, DeviceError, InputError
from dime.contract.run import CLOCK, TIMINGS, RunSpec
from dime.contract.timebase import boot_id, monotonic_ns
from dime.device import boards, power_log, timings
from dime.device.power_log import PowerLog, code, play, wanting
from tests.device.conftest import OPTIONS, device
from tests.device.power_logger import OFFSET_NS, Logger

REST_S = power_log.REST_S


def test_a_rest_is_long_enough_to_know_its_power():
    assert REST_S >= 10


@pytest.fixture(autouse=True)
def short_rests(monkeypatch):
    monkeypatch.setattr(power_log, "REST_S", 0.02)
    monkeypatch.setattr(power_log, "CHIPS", 7)
    monkeypatch.setattr(power_log, "LEAST_CHIP_S", 0.001)
    monkeypatch.setattr(power_log, "READINGS_A_CHIP", 1)


def connect(logger, folder, heard=None, **options):
    return PowerLog("127.0.0.1", logger.port, str(folder), "nano", "tiny", emit=heard, **options)


def clocks_of(folder):
    with open(os.path.join(str(folder), CLOCK)) as stream:
        return json.load(stream)["sessions"]


def test_a_log_for_each_frequency_by_the_published_messages(tmp_path, heard):
    with Logger(published=True) as logger:
        log = connect(logger, tmp_path, heard)
        for frequency_hz in (76800000, 153600000):
            with log.around_frequency(frequency_hz) as after_pass:
                assert after_pass([], []) == []
        log.close()
        assert logger.verbs() == [
            "hello,1\n", "start,nano_tiny_76800000.csv", "stop", "start,nano_tiny_153600000.csv", "stop", "shutdown",
        ]  # fmt: skip
        assert logger.connections == 6, "a connection each"
    assert re.search("knows only the published messages: no clocks, no energy target", heard.texts("warning")[0])
    assert log.min_window_s == power_log.LEAST_WINDOW_S
    (session,) = clocks_of(tmp_path)
    assert session["bursts"] == [] and [one["frequency_hz"] for one in session["logs"]] == [76800000, 153600000]


def test_clocks_rests_and_codes_are_kept(tmp_path):
    begin_ns = monotonic_ns()
    with Logger() as logger:
        log = connect(logger, tmp_path)
        with log.around_frequency(5) as after_pass:
            assert after_pass([], []) == []
        log.close()
        assert logger.verbs() == ["hello,1", "start,nano_tiny_5.csv", "stop", "shutdown"]
        assert logger.connections == 1
    (session,) = clocks_of(tmp_path)
    assert session["boot_id"] == boot_id() and begin_ns <= session["start_ns"] <= monotonic_ns()
    assert [len(burst) for burst in session["bursts"]] == [power_log.EXCHANGES] * 3, "before, after each pass, after"
    for exchange in sum(session["bursts"], []):
        offset_ns, bound_ns = protocol.offset_ns(exchange)
        assert abs(offset_ns - OFFSET_NS) <= bound_ns < 10**8
    (one,) = session["logs"]
    assert one["file"] == "nano_tiny_5.csv" and [each["where"] for each in one["codes"]] == ["start", "end"]
    assert [end - start >= 20000000 for start, end in one["idle_ns"]] == [True, True]
    moments = [begin_ns] + sum(one["idle_ns"][:1] + one["codes"][0]["busy_ns"], [])
    moments += sum(one["idle_ns"][1:] + one["codes"][1]["busy_ns"], [])
    assert moments == sorted(moments)


@pytest.mark.parametrize(("period_s", "window_s"), [(0.005, 0.1), (0.001, 0.1), (0.01, 0.2), (0.1, 2.0)])
def test_a_window_holds_enough_readings(tmp_path, period_s, window_s):
    with Logger(period_s=period_s) as logger:
        assert connect(logger, tmp_path).min_window_s == pytest.approx(window_s)


@pytest.mark.parametrize(("before_s", "window_s"), [(1.98, 1.98), (2.04, 2.04), (1.0, 2.0), (0.0, 2.0)])
def test_a_run_that_goes_on_keeps_its_window(tiny, tmp_path, before_s, window_s):
    tiny.profile(tmp_path, iterations=1, runs=1, max_layers=1)
    spec = RunSpec.read(str(tmp_path))
    spec.min_window_s = before_s
    spec.write(str(tmp_path))
    with Logger(period_s=0.1) as logger:
        assert connect(logger, tmp_path).min_window_s == window_s


def test_a_profile_repeats_each_bundle_until_its_window_is_full(tiny, tmp_path):
    with Logger(period_s=0.001) as logger:
        log = connect(logger, tmp_path / "out", tiny.heard)
        options = {"min_window_s": 0.02, "around_frequency": log.around_frequency, "iterations": 1, "runs": 2}
        tiny.profile(tmp_path / "out", **options)
        log.close()
    rows = tables.read(os.path.join(str(tmp_path / "out"), TIMINGS), tables.TIMINGS)
    assert len(rows) == 6 * 2
    for row in rows:
        span_s = (row["end_ns"] - row["start_ns"]) * 1e-9
        assert span_s >= 0.02 and row["repeats"] > 1
        assert row["duration_s"] == pytest.approx(span_s / row["repeats"])


def test_a_name_that_is_taken_gets_a_number(tmp_path):
    with Logger(there={"nano_tiny_5.csv", "nano_tiny_5_2.csv"}) as logger:
        log = connect(logger, tmp_path)
        with log.around_frequency(5):
            pass
    assert clocks_of(tmp_path)[0]["logs"][0]["file"] == "nano_tiny_5_3.csv"


def test_a_run_that_goes_on_keeps_the_clocks_it_has(tmp_path):
    for _ in range(2):
        with Logger() as logger, connect(logger, tmp_path).around_frequency(5):
            pass
    first, second = clocks_of(tmp_path)
    assert first["start_ns"] < second["start_ns"]


def test_a_token_is_proved_and_never_said(tmp_path, monkeypatch):
    with Logger(token="s3cret, with a comma") as logger:
        with pytest.raises(DeviceError, match="wants a token: --log-server-token=FILE, or DIME_POWER_TOKEN in the env"):
            connect(logger, tmp_path)
        with pytest.raises(DeviceError, match="^the power logger: the token is wrong$"):
            connect(logger, tmp_path, token="another")
        monkeypatch.setenv("DIME_POWER_TOKEN", "s3cret, with a comma")
        log = connect(logger, tmp_path)
        with log.around_frequency(5):
            pass
        log.close()
        assert not any("s3cret" in one for one in logger.heard)
    assert clocks_of(tmp_path)[-1]["meter"] == {"name": "fake", "channel": ""}


@pytest.mark.parametrize("content", [None, b"", b" \n", b"\xff"])
def test_a_token_that_cannot_be_read(tmp_path, content):
    path = str(tmp_path / "token")
    if content is not None:
        with open(path, "wb") as stream:
            stream.write(content)
    with pytest.raises(InputError, match="token"):
        protocol.read_token(path)


def test_nobody_listens(tmp_path):
    with Logger() as logger:
        port = logger.port
    words = r"no power logger answers at 127\.0\.0\.1:{} \(.*\); start it there: dime power serve".format(port)
    with pytest.raises(DeviceError, match=words):
        PowerLog("127.0.0.1", port, str(tmp_path), "nano", "tiny")


@pytest.mark.parametrize("port", [0, -1, 65536, 80000])
def test_a_port_that_is_none(tmp_path, port):
    with pytest.raises(InputError, match="port {}; ports are 1 to 65535".format(port)):
        PowerLog("127.0.0.1", port, str(tmp_path), "nano", "tiny")


def test_a_logger_that_dies(tmp_path):
    with Logger(dies_at="stop") as logger:
        log = connect(logger, tmp_path)
        with pytest.raises(ConnectionLostError, match="is gone: it hung up") as caught, log.around_frequency(5):
            pass
        assert caught.value.retryable
    assert clocks_of(tmp_path)[0]["logs"], "what was learnt is kept"


def test_a_failure_in_between_stops_the_log(tmp_path):
    with Logger() as logger:
        log = connect(logger, tmp_path)
        with pytest.raises(KeyError), log.around_frequency(5):
            raise KeyError("layer")
        assert logger.verbs()[-1] == "stop"


def test_damaged_clocks_are_named(tmp_path):
    (tmp_path / CLOCK).write_text("{")
    with Logger() as logger, pytest.raises(DeviceError, match=r"clock\.json is damaged"):
        connect(logger, tmp_path)


def row(bundle, start_ns, span_ns=10**8, repeats=4):
    return {"bundle": bundle, "start_ns": start_ns, "end_ns": start_ns + span_ns, "repeats": repeats}


def test_energies_are_those_of_one_run_whatever_their_number(tmp_path):
    with Logger(power_w=lambda ns: 3.0) as logger:
        log = connect(logger, tmp_path)
        log.exchange()
        found = log.energies([row("a", monotonic_ns() + n) for n in range(150)])
        asked = [one for one in logger.heard if one.startswith("energy,")]
    assert [one.count(",") for one in asked] == [1 + 2 * 64, 1 + 2 * 64, 1 + 2 * 22]
    assert all(len(one) < protocol.MAX_MESSAGE_BYTES for one in asked)
    for joules, systematic in found:
        assert joules == pytest.approx(3.0 * 0.1 / 4) and systematic == pytest.approx(0.001 * joules)
    with Logger(power_w=lambda ns: None) as logger:
        log = connect(logger, tmp_path)
        log.exchange()
        assert log.energies([row("a", 5)]) == [None]


def passes(logger, folder, heard, rows_of, **options):
    """Runs passes until none is asked for; returns the bundles of each."""
    log = connect(logger, folder, heard, **options)
    done, wanted = [], {"a", "b"}
    with log.around_frequency(5) as after_pass:
        while wanted:
            more = after_pass([row(bundle, rows_of(bundle, len(done))) for bundle in sorted(wanted)], wanted)
            done.append(sorted(wanted))
            wanted = set(more) if len(done) >= options["least_passes"] else wanted
    return done


def test_bundles_are_repeated_until_each_reaches_its_target(tmp_path, heard):
    """The power of b is 1.9 W or 2.1 W in turn, that of a is steady; the time says which bundle it is."""
    begin_ns = monotonic_ns()

    def power_w(middle_ns):
        number, is_b = divmod(int((middle_ns - begin_ns) * 1e-9) // 100, 2)
        return (1.9, 2.1)[number % 2] if is_b else 2.0

    def rows_of(bundle, number):
        return begin_ns + (2 * number + (bundle == "b")) * 100 * 10**9 + 10**9

    options = {"target": 0.03, "least_passes": 2, "most_passes": 50}
    with Logger(power_w=power_w) as logger:
        done = passes(logger, tmp_path, heard, rows_of, **options)
    assert done[:2] == [["a", "b"]] * 2 and set(map(tuple, done[2:])) == {("b",)} and 8 < len(done) < 30
    assert not heard.texts("warning")
    assert heard.texts("note")[0] == "1 bundles have not reached ±3.0% after 2 passes"
    with Logger(power_w=power_w) as logger:
        done = passes(logger, tmp_path, heard, rows_of, **dict(options, most_passes=4))
    assert len(done) == 4
    assert re.match(r"b at 5 Hz: ±\d\.\d% after 4 passes; ±3\.0% was asked for$", heard.texts("warning")[0])


class CutError(Exception):
    pass


def test_a_run_that_was_cut_off_goes_on_until_the_target(tiny, tmp_path):
    """What the first session measured cannot be judged any more; so each bundle is measured at least twice after it."""

    def profile(emit):
        log = connect(logger, tmp_path / "out", tiny.heard, target=0.5, least_passes=2, most_passes=20)
        options = dict(OPTIONS, iterations=2, runs=1, warmups=0, min_window_s=0.001)
        names = str(tmp_path / "out"), options, boards.choose("here", None), "here"
        hooks = {"around_frequency": log.around_frequency, "is_settled": log.is_settled}
        timings.profile(tiny.network, tiny.samples(), *names, emit=emit, **hooks)

    def cut(kind, **fields):
        if kind == "progress" and fields["done"] == 12:
            raise CutError()

    with Logger(period_s=0.001) as logger:
        with pytest.raises(CutError):
            profile(cut)
        assert len(tables.read(os.path.join(str(tmp_path / "out"), TIMINGS), tables.TIMINGS)) == 12
        profile(tiny.heard)
    rows = tables.read(os.path.join(str(tmp_path / "out"), TIMINGS), tables.TIMINGS)
    later = [entry["bundle"] for entry in rows[12:]]
    assert len(set(later)) == 6 and min(later.count(bundle) for bundle in later) >= 2
    assert RunSpec.read(str(tmp_path / "out")).state == "complete"


def test_what_was_not_measured_again_in_time_is_named(tmp_path, heard):
    with Logger() as logger:
        log = connect(logger, tmp_path, heard, target=0.03, least_passes=1, most_passes=2)
        with log.around_frequency(5) as after_pass:
            assert after_pass([], {"a"}) == ["a"]
            assert after_pass([], {"a"}) == []
    assert heard.texts("warning") == ["a at 5 Hz: not measured since the run went on"]


@pytest.mark.parametrize(
    ("before", "target", "settled"),
    [(0.03, 0.03, True), (0.03, 0.05, True), (0.03, 0.02, False), (0.0, 0.03, False), (0.0, 0.0, True)],
)
def test_a_frequency_is_settled_once_its_target_was_pursued_to_the_end(tmp_path, before, target, settled):
    with Logger() as logger:
        with connect(logger, tmp_path, target=before).around_frequency(5):
            pass
        log = connect(logger, tmp_path, target=target)
        assert log.is_settled(5) == settled and log.is_settled(7) == (not target)


@pytest.mark.parametrize(
    ("values", "systematic", "passes", "again", "reason"),
    [
        ([1.0, 1.001, 0.999], 0.0, 3, False, None),
        ([1.0, 1.2], 0.0, 2, True, None),
        ([1.0], 0.0, 2, True, None),
        ([1.0, 1.0], 0.0, 2, False, None),
        ([1.0, 1.0], 0.02, 2, False, "can't be known to ±3.0%: meter and clocks alone leave ±3.9%"),
        ([1.0, 1.2], 0.0, 10, False, "after 10 passes; ±3.0% was asked for"),
        ([0.0, 0.0], 0.0, 2, False, "its energy is 0 J"),
        ([], 0.0, 2, False, "its energy is unknown: the logger has no readings for its windows"),
    ],
)
def test_what_is_measured_again_and_what_is_given_up(values, systematic, passes, again, reason):
    names, reasons = wanting({"a": values}, {"a": systematic}, 0.03, passes, 10)
    assert names == (["a"] if again else [])
    assert list(reasons) == (["a"] if reason else []) and (reason or "") in reasons.get("a", "")


def test_the_code_is_the_same_on_every_python(monkeypatch):
    monkeypatch.undo()
    chips = code("start 921600000")
    assert len(chips) == 63 and chips[0] and chips[-1]
    assert "".join("01"[chip] for chip in chips) == "101110011001111110000011111010000011000011101000010000110110101"


def test_a_code_is_played_as_it_says():
    """What else runs may hold up a whole play; of a few one is undisturbed."""
    for left in range(9, -1, -1):
        try:
            return played()
        except AssertionError:
            if not left:
                raise


def played():
    chips = [True, True, False, True, False, False, True]
    busy, begin_ns = [], monotonic_ns()

    def work(until_ns):
        busy.append(until_ns)
        power_log.spin(until_ns)

    stretches = play(chips, 0.01, work)
    assert len(stretches) == len(busy) == 3
    for (start_ns, end_ns), until_ns, (first, last) in zip(stretches, busy, [(0, 2), (3, 4), (6, 7)]):  # noqa: B905
        assert abs(start_ns - begin_ns - first * 10**7) < 5 * 10**6
        assert until_ns <= end_ns and abs(until_ns - begin_ns - last * 10**7) < 10**6


def test_the_command_line_asks_for_its_logs(resnet18_samples, tmp_path):
    with Logger() as logger:
        words = ["--network=resnet18", "--samples=" + resnet18_samples, "--out=" + str(tmp_path / "out")]
        words += ["--max-layers=1", "--runs=1", "--iterations=1", "--warmups=0", "--min-window-s=0.001", "--rest-s=0.1"]
        words += ["--device=here", "--log-server-addr=127.0.0.1", "--log-server-port={}".format(logger.port)]
        process_code, heard = device("profile", *words)
        assert process_code == 0, heard
        assert logger.verbs() == ["hello,1", "start,here_resnet18_-1.csv", "stop", "shutdown"]
    assert [len(one["busy_ns"]) > 10 for one in clocks_of(tmp_path / "out")[0]["logs"][0]["codes"]] == [True, True]


def test_a_target_needs_a_logger(resnet18_samples, tmp_path):
    words = ["--network=resnet18", "--samples=" + resnet18_samples, "--out=" + str(tmp_path / "out")]
    process_code, heard = device("profile", "--energy-error=3%", *words)
    assert process_code == 1 and "--energy-error needs a power logger" in heard[-1]["text"]
