"""The meter's lines, byte by byte: real ones, damaged ones, and whatever else a serial port may bring."""

from functools import reduce
from operator import xor
from pathlib import Path
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dime.contract.errors import InputError, TableError
from dime.host.metering.meters import smartpower3
from dime.host.metering.meters.smartpower3 import Lines, fault
from tests.lab import meter as stand_in

DATA = Path(__file__).parents[2] / "data"
REAL = [line.encode() + b"\r\n" for line in (DATA / "smartpower3.txt").read_text().splitlines()]
FAULTY = [line.encode() + b"\r\n" for line in (DATA / "smartpower3_faulty.txt").read_text().splitlines()]
INPUTS_AN_EXAMPLE = 1500
EXAMPLES = 250


def is_line(line):
    """A second opinion on what a good line is, written without the parser's regular expression."""
    fields = line[:-2].split(b",")
    widths = [10, 5, 4, 5, 1, *[5, 4, 5, 1, 2] * 2, 2, 2]
    if len(line) != 81 or line[-2:] != b"\r\n" or [len(field) for field in fields] != widths:
        return False
    hexadecimal = {9, 14, 15, 16}
    for place, field in enumerate(fields):
        letters = b"0123456789abcdef" if place in hexadecimal else b"0123456789"
        if any(byte not in letters for byte in field):
            return False
    if fields[4] not in (b"0", b"1") or any(fields[place] > b"3" for place in (8, 13)):
        return False
    return int(fields[15], 16) == -sum(line[:74]) % 256 and int(fields[16], 16) == reduce(xor, line[:74])


def test_real_lines_are_accepted_and_the_firmwares_short_one_is_not():
    assert [fault(line) for line in REAL] == ["", "", "", ""]
    assert all(is_line(line) for line in REAL)
    assert [fault(line) for line in FAULTY] == ["short lines"]
    assert len(FAULTY[0]) == 60


def test_the_stand_in_makes_the_same_bytes_as_the_meter():
    made = stand_in.line(94016085, (15, 0))
    assert len(made) == 81 and fault(made) == ""
    assert made.split(b",")[5:8] == REAL[0].split(b",")[5:8]
    assert smartpower3.checked_line(REAL[0][:74].decode()) == REAL[0]
    short = next(one for one in (stand_in.line(ms, (100, 0)) for ms in range(10**6)) if len(one) != 81)
    assert len(short) == 60 and b",100," in short and fault(short) == "short lines"


@pytest.mark.parametrize("place", range(79))
def test_a_single_wrong_byte_is_noticed(place):
    line = bytearray(REAL[0])
    line[place] ^= 1
    assert fault(bytes(line))


def test_faults_have_names():
    line = REAL[0]
    assert fault(line.replace(b"f8,14", b"f8,15")) == "bad checksums"
    assert fault(line[3:]) == "short lines"
    assert fault(b"0" + line) == "malformed lines"
    assert fault(b"SmartPower3 v2.2\r\n") == "other text"
    assert fault(b"\xff\x80\x81\n") == "garbage"
    assert fault(b"\n") == "other text"


soup = st.one_of(
    st.binary(max_size=120),
    st.sampled_from(REAL + FAULTY),
    st.text("0123456789abcdef,\r\n", max_size=90).map(str.encode),
    st.tuples(st.sampled_from(REAL), st.integers(0, 80), st.integers(0, 255)).map(
        lambda one: one[0][: one[1]] + bytes([one[2]]) + one[0][one[1] + 1 :]
    ),
    st.builds(
        stand_in.line, st.integers(0, 2**33), st.tuples(st.integers(0, 3000), st.integers(0, 3000)),
        st.tuples(st.integers(0, 3), st.integers(0, 3)),
    ),
)  # fmt: skip


def test_nothing_but_a_good_line_is_ever_accepted():
    """Each example is made into many inputs by swapping, cutting and changing bytes; at least 100,000 differ."""
    tried, good = set(), set()

    @settings(max_examples=EXAMPLES, deadline=None)
    @given(st.lists(soup, min_size=1, max_size=8), st.integers(0, 2**32))
    def lines(pieces, seed):
        random = Random(seed)
        for _ in range(INPUTS_AN_EXAMPLE):
            line = bytearray(random.choice(pieces) + random.choice(pieces)[: random.randrange(82)])
            for _ in range(random.randrange(4)):
                if line:
                    line[random.randrange(len(line))] = random.choice(b"0123456789abcdef,\r\n\x00\xff")
            if random.random() < 0.5:
                line = line[:81]
            text = bytes(line)
            tried.add(text)
            assert (fault(text) == "") == is_line(text)
            good.update([text] if is_line(text) else [])

    lines()
    print(f"{len(tried)} different lines, {len(good)} of them good")
    assert len(tried) >= 100_000
    assert len(good) >= 20


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.lists(soup, min_size=1, max_size=12), st.integers(0, 2**32))
def test_the_same_lines_come_out_however_the_stream_is_cut(pieces, seed):
    """40 cuts of each example: 10,000 streams."""
    random = Random(seed)
    stream = b"".join(pieces)
    whole = Lines().feed(stream)
    for _ in range(40):
        cutter, position, lines = Lines(), 0, []
        while position < len(stream):
            size = random.randrange(1, 40)
            lines += cutter.feed(stream[position : position + size])
            position += size
        assert lines == whole
    assert b"".join(whole) == stream[: len(b"".join(whole))]


def test_a_stream_without_line_ends_is_given_up_in_bounded_memory():
    lines = Lines()
    given_up = sum(len(lines.feed(b"\xfe" * 1000)) for _ in range(1000))
    assert given_up >= 100
    assert lines.feed(b"\n" + REAL[0])[-1] == REAL[0]


def fields(line):
    return line[:-2].decode().split(",")


def test_power_is_voltage_times_current_in_the_middle_of_their_steps():
    watts, step = smartpower3.reading(smartpower3.COLUMNS, "")(fields(REAL[0]))
    assert watts == pytest.approx(5.0115 * 0.0155)
    assert step == pytest.approx(1e-6 * np.hypot(5011.5, 15.5))
    assert smartpower3.reading(smartpower3.COLUMNS, "input")(fields(REAL[0]))[0] == pytest.approx(19.1435 * 0.0555)


def test_a_truncated_value_is_off_by_nothing_on_average():
    random = np.random.default_rng(1)
    truth = random.uniform(0.2, 0.6, 20000)
    read = smartpower3.reading(smartpower3.COLUMNS, "0")
    seen = [read(fields(stand_in.line(0, (int(watts / 5.011 * 1e3), 0), bug=False)))[0] for watts in truth]
    assert np.mean(seen - truth) == pytest.approx(0, abs=0.0003)


def test_the_channel_that_is_on_is_meant_and_otherwise_it_must_be_said():
    both = fields(stand_in.line(1, (100, 200), (1, 1), bug=False))
    none = fields(stand_in.line(1, (100, 200), (0, 2), bug=False))
    second = fields(stand_in.line(1, (100, 200), (0, 1), bug=False))
    read = smartpower3.reading(smartpower3.COLUMNS, "")
    assert np.isnan(read(both)[0]) and np.isnan(read(none)[0])
    assert read(second)[0] == pytest.approx(5.0115 * 0.2005)
    assert smartpower3.reading(smartpower3.COLUMNS, "0")(both)[0] == pytest.approx(5.0115 * 0.1005)
    assert np.isnan(smartpower3.reading(smartpower3.COLUMNS, "0")(second)[0])


def log_of(states, columns=smartpower3.COLUMNS):
    lines = [fields(stand_in.line(ms, (100, 200), states, bug=False)) for ms in range(0, 50, 5)]
    table = {name: np.array([one[place] for one in lines]) for place, name in enumerate(smartpower3.COLUMNS)}

    def read(names):
        return {name: table[name].astype(np.int64) for name in names}

    return columns, read


def test_a_logs_channel_is_chosen_in_the_same_way():
    assert smartpower3.series(*log_of((0, 1)), "").channel == "1"
    assert smartpower3.series(*log_of((1, 1)), "0").value[0] == pytest.approx(5.0115 * 0.1005)
    with pytest.raises(InputError, match="both channels were on: choose with --channel one of 0, 1, input"):
        smartpower3.series(*log_of((1, 1)), "")
    with pytest.raises(InputError, match="both channels were off: choose"):
        smartpower3.series(*log_of((0, 0)), "")
    with pytest.raises(TableError, match="channel 1 was off all the time"):
        smartpower3.series(*log_of((1, 0)), "1")
    with pytest.raises(InputError, match="unknown channel '2'; known: 0, 1, input"):
        smartpower3.series(*log_of((1, 0)), "2")
    with pytest.raises(TableError, match=r"lacks the columns channel 0 on/off"):
        columns = [name for name in smartpower3.COLUMNS if name != "channel 0 on/off"]
        smartpower3.series(*log_of((1, 0), columns), "")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"port": "/dev/ttyNONE7"}, "there is no port /dev/ttyNONE7; ports here: "),
        ({"port": "/dev/null", "baud": 123456}, "123456 baud: the meter knows 9600, 19200"),
        ({"port": "udp://6000"}, "is like udp://0.0.0.0:6000"),
        ({"port": "udp://127.0.0.1:99999"}, "is like udp://0.0.0.0:6000"),
        ({"port": "udp://203.0.113.7:6000"}, "assign requested address"),
        ({"port": "/dev/null", "channel": "7"}, "unknown channel '7'; known: 0, 1, input"),
    ],
)
def test_what_cannot_be_opened_says_why(options, words):
    with pytest.raises(Exception, match="(?i)" + words.replace("/", ".")) as caught:
        smartpower3.open_meter(smartpower3.Options.of(**options))
    assert type(caught.value).__name__ in ("DeviceError", "InputError")
    assert "\n" not in str(caught.value)
