import os
import threading

import pytest

from dime.contract import frames, handshake, tables
from dime.contract.errors import DeviceError, InputError
from dime.contract.frames import Foretold, FrameError
from dime.contract.transport import Part
from dime.device.executing import probing
from dime.device.executing.shaper import Shaper
from tests.device.conftest import device, finish, start

pytestmark = pytest.mark.alone

TOKEN = b"token"
SIZES = (64, 1000, 20000)


class Answering(threading.Thread):
    """The other side, in this process."""

    def __init__(self, sizes=SIZES):
        super(Answering, self).__init__()
        self.daemon = True
        self.listener, self.sizes, self.error = handshake.Listener(), sizes, None
        self.start()

    def run(self):
        try:
            with self.listener:
                probing.answer(self.listener, TOKEN, self.sizes)
        except DeviceError as error:
            self.error = error


def rows_of(folder):
    return tables.read(os.path.join(str(folder), probing.TABLE), tables.TRANSFERS)


def measured(port, folder, heard, iterations=3, runs=2, time_limit_s=60.0):
    target = ("127.0.0.1", port)
    probing.measure(target, TOKEN, SIZES, (iterations, runs), time_limit_s, str(folder), heard)
    return rows_of(folder)


def test_every_size_goes_both_ways_in_every_pass(tmp_path, heard):
    other = Answering()
    rows = measured(other.listener.port, tmp_path, heard)
    other.join(10)
    assert other.error is None
    kinds = [(row["iteration"], row["direction"], row["size_bytes"], row["run"]) for row in rows]
    assert sorted(kinds) == sorted(
        (i, w, s, r) for i in range(3) for w in ("up", "down") for s in SIZES for r in (0, 1)
    )
    assert [kind[1:] for kind in kinds[:12]] != [kind[1:] for kind in kinds[12:24]], "each pass has its own order"
    assert all(row["duration_s"] > 0 and 0 <= row["held_s"] < 1 for row in rows)
    assert heard[-1] == (
        "progress",
        {"done": 36, "what": "{} B {}".format(rows[-1]["size_bytes"], rows[-1]["direction"])},
    )


def test_what_a_link_takes_is_what_is_found(tmp_path, heard):
    other = Answering()
    with Shaper(("127.0.0.1", other.listener.port), 8e6, 16e6, 0.01) as shaper:
        rows = measured(shaper.port, tmp_path, heard)
    for way, bit_s in (("up", 8e6), ("down", 16e6)):
        for size in SIZES:
            quickest_s = min(r["duration_s"] for r in rows if (r["direction"], r["size_bytes"]) == (way, size))
            truth_s = 0.01 + 8 * size / bit_s
            assert truth_s * 0.999 < quickest_s < truth_s * 1.1 + 0.01


def test_its_end_has_crossed_the_link_when_it_is_done(tmp_path, heard):
    other = Answering()
    with Shaper(("127.0.0.1", other.listener.port), 8e6, 16e6, 0.2) as shaper:
        measured(shaper.port, tmp_path, heard, 1, 1)
    other.join(10)
    assert other.error is None


def test_time_ends_it_after_three_passes(tmp_path, heard):
    other = Answering()
    assert max(row["iteration"] for row in measured(other.listener.port, tmp_path, heard, 50, 1, 0.0)) == 2
    assert "3 passes were made" in heard.texts("note")[0]


@pytest.mark.parametrize(
    ("counts", "time_limit_s"), [((0, 1), 1.0), ((1, 0), 1.0), ((1, 1), -1.0), ((1, 1), float("nan"))]
)
def test_numbers_without_a_use_are_refused(tmp_path, heard, counts, time_limit_s):
    with pytest.raises(InputError, match="at least"):
        probing.measure(("127.0.0.1", 1), TOKEN, SIZES, counts, time_limit_s, str(tmp_path), heard)


def test_an_answer_that_was_not_agreed_is_refused():
    other = Answering()
    run = probing.run_of(TOKEN, SIZES)
    with handshake.connect("127.0.0.1", other.listener.port, run, "edge", 5.0) as channel:
        channel.send(1 << 40, [Part(frames.PROBE, "uint8", (0,), b"")], 5.0)
        with pytest.raises(DeviceError, match="none that was agreed"):
            channel.receive([Foretold(frames.ANSWER, "uint8", (8,))], [memoryview(bytearray(8))], 5.0)
    other.join(10)
    assert isinstance(other.error, FrameError)


@pytest.mark.parametrize("held", [-1, 1 << 62])
def test_what_the_other_side_says_of_its_clock_is_not_believed(tmp_path, heard, held):
    listener = handshake.Listener()

    def lie():
        with listener, listener.accept(probing.run_of(TOKEN, SIZES), 10.0)[0] as channel:
            memory = memoryview(bytearray(max(SIZES)))
            received = channel.receive([Foretold(frames.PROBE, "uint8", (max(SIZES),), varies=True)], [memory], 10.0)
            answer = held.to_bytes(8, "little", signed=True) + bytes(received.request)
            channel.send(received.request, [Part(frames.ANSWER, "uint8", (len(answer),), answer)], 10.0)

    thread = threading.Thread(target=lie)
    thread.start()
    with pytest.raises(FrameError, match="held a message longer"):
        measured(listener.port, tmp_path, heard)
    thread.join(10)


def test_two_processes_measure_a_link(tmp_path):
    (tmp_path / "token").write_text(handshake.new_token().hex())
    words = ["--sizes=64,1000", "--token={}".format(tmp_path / "token")]
    answering = start("answer", *words)
    try:
        from dime.contract import messages

        port = messages.decode(answering.stdout.readline())["facts"]["port"]
        code, heard = device(
            "link",
            "--target-port={}".format(port),
            "--iterations=2",
            "--runs=1",
            "--out={}".format(tmp_path / "out"),
            *words,
        )
        assert code == 0, heard
        assert finish(answering)[0] == 0
    finally:
        answering.kill()
    assert len(rows_of(tmp_path / "out")) == 8


@pytest.mark.parametrize("sizes", ["", "0", "64,x", "64,-1", "1TB", ",".join(["1"] * 101)])
def test_sizes_that_are_none_are_refused(tmp_path, sizes):
    code, heard = device("answer", "--sizes=" + sizes, "--token=" + str(tmp_path / "none"))
    assert (code, heard[-1]["kind"]) == (1, "error")
