"""Stages of a tiny network, each in a thread of its own, on the loopback."""

import copy
import re
import threading
import time
from contextlib import contextmanager

import pytest
import torch

from dime.contract import handshake, stages, talk
from dime.contract.errors import ConnectionLostError, DeviceError, InputError, NotLetInError
from dime.contract.frames import STAMPS, TENSOR
from dime.contract.transport import Part
from dime.device import encodings, processor
from dime.device.executing import edge
from dime.device.executing.part import Part as DevicePart
from dime.device.executing.stage import Stage
from dime.device.executing.work import Work
from tests.device.test_encodings import BAD, see

RUN = handshake.Run(handshake.new_token(), handshake.digest(b"plans"), handshake.digest(b"network"))
A, B, C, ALL = [0, 0, -1], [1, 1, -1], [2, 2, -1], [0, 2, -1]
PLANS = {
    "all on the edge": [[0, [ALL]]],
    "all on the server": [[0, []], [1, [ALL]], [0, []]],
    "there and back": [[0, [A]], [1, [B]], [0, [C]]],
    "twice": [[0, []], [1, [A]], [0, [B]], [1, [C]], [0, []]],
    "three devices": [[0, [A]], [1, [B]], [2, [C]], [0, []]],
    "and back through the second": [[0, []], [2, [A]], [1, [B]], [0, [C]]],
}


class Board(object):
    """A board that notes which clocks are set; one of 13 Hz cannot be."""

    def __init__(self):
        self.now, self.seen = -1, []

    @contextmanager
    def fixed(self, frequency_hz, root="/", ledger=None):
        if frequency_hz == 13:
            raise DeviceError("the clock of 13 Hz does not stick")
        self.now = frequency_hz
        self.seen.append(frequency_hz)
        yield lambda: [frequency_hz]
        self.now = -1


class Lab(object):
    """Stages that run, and their control connections."""

    def __init__(self, tiny, count=2, **networks):
        self.boards = [Board() for _ in range(count)]
        self.stages, self.channels, self.threads, self.failures = [], [], [], []
        self.orders = self.requests = 0
        for at in range(count):
            network = networks.get("device{}".format(at), None) or copy.deepcopy(tiny.network)
            job = Work(network, tiny.samples(), ("fake", self.boards[at]), processor.Cpu())
            self.stages.append(Stage(job, RUN, tiny.heard))
            self.threads.append(threading.Thread(target=self._serve, args=(self.stages[at],)))
            self.threads[at].daemon = True
            self.threads[at].start()
        for stage in self.stages:
            self.channels.append(handshake.connect("127.0.0.1", stage.port, RUN, talk.CONTROL, 5.0))

    def _serve(self, stage):
        try:
            stage.serve()
        except Exception as error:
            self.failures.append(error)

    def ask(self, at, said):
        talk.say(self.channels[at], said)
        return talk.hear(self.channels[at], 30.0)

    def prepare(self, segments, **changes):
        self.orders += 1
        order = {
            "plan": "a plan", "names": ["edge", "server", "third"][: len(self.stages)], "segments": segments,
            "requests": 5, "warmups": 1, "check": False, "exact": True, "window": 1, "result_bytes": 4, "batch": 1,
            "first_picture": 0, "pictures": 0, "silence_s": 5.0, "encodings": [], "input_hz": -1,
            "number": self.orders, "first_number": self.requests,
        }  # fmt: skip
        order.update(changes)
        self.requests += order["requests"] + order["warmups"]
        answers = []
        for me in reversed(range(len(self.stages))):
            peers = {str(at): ["127.0.0.1", self.stages[at].port] for at in range(me + 1, len(self.stages))}
            answers.append(self.ask(me, {"order": dict(order, me=me, peers=peers)}))
        return answers[::-1]

    def go(self):
        rows, heard = [], self.ask(0, {"go": True})
        while "rows" in heard:
            rows += heard["rows"]
            heard = talk.hear(self.channels[0], 30.0)
        if "error" in heard:
            raise DeviceError(heard["error"])
        return rows

    def run(self, segments, **changes):
        for answer in self.prepare(segments, **changes):
            if "error" in answer:
                raise DeviceError(answer["error"])
        return self.go()

    def close(self):
        for channel in self.channels:
            channel.close()
        for thread in self.threads:
            thread.join(10)
        assert not any(thread.is_alive() for thread in self.threads)


@pytest.fixture
def lab(tiny):
    labs = []

    def make(count=2, **networks):
        labs.append(Lab(tiny, count, **networks))
        return labs[-1]

    yield make
    for one in labs:
        one.close()


@pytest.mark.parametrize("name", sorted(PLANS))
@pytest.mark.parametrize("check", [False, True])
def test_every_plan_gives_the_whole_network_s_result(lab, name, check):
    rows = lab(3).run(PLANS[name], check=check)
    assert [row["number"] for row in rows] == [1, 2, 3, 4, 5]  # number 0 was to warm up
    assert [row["picture"] for row in rows] == ["right", "left"] * 2 + ["right"]
    assert {row["fallback"] for row in rows} == {""}
    if check or len(PLANS[name]) == 1:
        assert {row["distance"] for row in rows} == {0.0}
    for row in rows:
        assert [len(one["steps"]) for one in row["segments"]] == [len(steps) for _, steps in PLANS[name]]
        edges = [one for one, (device, _) in zip(row["segments"], PLANS[name]) if device == 0]  # noqa: B905
        assert row["start_ns"] == edges[0]["in_first"] and row["end_ns"] == edges[-1]["out_first"]
        for one in row["segments"]:
            times = [one["in_first"], one["in_last"]]
            for step in one["steps"]:
                times += [step["start"], step["end"]]
                assert 0 <= step["compute"] <= step["end"] - step["start"] + 1000
            assert times + [one["out_first"]] == sorted(times + [one["out_first"]])
            assert one["copy_in"] == one["copy_out"] == 0, "nothing is copied on a CPU"
        off = [step["off"] for one in row["segments"] for step in one["steps"]]
        assert off == [0 if check else -1] * (len(off) - 1) + [-1], "of the result there is no feature map"


def test_several_plans_one_after_the_other_count_on(lab):
    one = lab()
    first, second = one.run(PLANS["twice"]), one.run(PLANS["all on the server"], warmups=0)
    assert [row["number"] for row in first + second] == [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]


def test_the_whole_result_goes_home_where_the_plan_counts_it(lab):
    rows = lab().run(PLANS["all on the server"], result_bytes=2 * 4)
    assert {row["distance"] for row in rows} == {0.0}
    assert {row["distance"] for row in lab().run(PLANS["all on the server"], result_bytes=100)} == {None}


@pytest.mark.parametrize("name", ["twice", "three devices"])
def test_in_a_pipeline_requests_overlap(lab, name):
    rows = lab(3).run(PLANS[name], requests=40, window=6)
    assert sorted(row["number"] for row in rows) == list(range(1, 41))
    assert {row["fallback"] for row in rows} == {""}
    ordered = sorted(rows, key=lambda row: row["start_ns"])
    assert any(after["start_ns"] < before["end_ns"] for before, after in zip(ordered, ordered[1:]))  # noqa: B905


def test_each_bundle_runs_at_its_clock_and_clocks_are_put_back(lab, tiny, monkeypatch):
    one = lab()
    during = []
    run = Work.run
    monkeypatch.setattr(Work, "run", lambda job, bundle, x: (during.append((bundle, job._hz)), run(job, bundle, x))[1])
    rows = one.run([[0, [[0, 0, 100], [1, 1, 200]]], [1, [[2, 2, 300]]], [0, []]], requests=2, warmups=0)
    assert one.boards[1].seen == [300]
    seen = [(bundle.first, hertz) for bundle, hertz in during if bundle.first == bundle.last]
    assert seen[-6:] == [(0, 100), (1, 200), (2, 300)] * 2
    assert all(step["change"] > 0 for row in rows[1:] for step in row["segments"][0]["steps"])
    one.close()
    assert [board.now for board in one.boards] == [-1, -1]


def test_a_clock_that_cannot_be_set_is_told(lab):
    answers = lab().prepare([[0, []], [1, [[0, 2, 13]]], [0, []]])
    assert answers[1] == {"error": "the clock of 13 Hz does not stick"}


def test_a_wrong_result_names_the_bundle(lab, tiny):
    other = copy.deepcopy(tiny.network)
    with torch.no_grad():
        other.modules[1][1].bias += 1.0
    one = lab(2, device1=other)
    with pytest.raises(DeviceError, match=r"not the whole network's.*; wrong: bundle b on server"):
        one.run(PLANS["there and back"], check=True)
    facts = lab(2, device1=other).prepare(PLANS["all on the edge"])
    assert facts[0]["ready"]["weights_sha256"] != facts[1]["ready"]["weights_sha256"]


def test_small_differences_pass_where_the_bits_need_not_be_the_same(lab, tiny):
    other = copy.deepcopy(tiny.network)
    with torch.no_grad():
        other.modules[1][1].bias *= 1 + 1e-5
    rows = lab(2, device1=other).run(PLANS["there and back"], check=True, exact=False)
    assert 0 < max(row["distance"] for row in rows) < 1e-3
    with pytest.raises(DeviceError, match="not the whole network's"):
        lab(2, device1=other).run(PLANS["there and back"], check=True, exact=True)


@pytest.mark.parametrize("name", ["all on the server", "there and back", "twice"])
@pytest.mark.parametrize("window", [1, 4])
def test_where_the_server_dies_the_edge_finishes_by_itself(lab, name, window):
    one = lab()
    one.prepare(PLANS[name], requests=600, window=window)
    threading.Timer(0.05, one.channels[1].close).start()
    rows = one.go()
    assert sorted(row["number"] for row in rows) == list(range(1, 601))
    assert {row["fallback"] for row in rows} <= {"server", ""} and rows[-1]["fallback"] == "server"


class Silent(object):
    """Makes a stage keep its frames to itself for a while."""

    def __init__(self, monkeypatch):
        self.is_silent = threading.Event()
        pass_on = DevicePart.pass_on

        def held(part, frame):
            if not (self.is_silent.is_set() and part.order.me == 1):
                pass_on(part, frame)

        monkeypatch.setattr(DevicePart, "pass_on", held)


@pytest.mark.alone
def test_silence_ends_in_the_fallback_before_the_deadline_and_heals(lab, monkeypatch):
    silent = Silent(monkeypatch)
    one = lab()
    one.prepare(PLANS["there and back"], requests=200, warmups=0, silence_s=0.3)
    silent.is_silent.set()
    threading.Timer(0.2, silent.is_silent.clear).start()
    rows = one.go()
    assert len({row["number"] for row in rows}) == len(rows) == 200
    fallen = [row for row in rows if row["fallback"]]
    assert fallen and fallen[0]["number"] == rows[0]["number"] and {row["fallback"] for row in fallen} == {"server"}
    assert max(row["end_ns"] - row["start_ns"] for row in fallen) < 3e9
    time.sleep(0.5)
    assert {row["fallback"] for row in one.run(PLANS["there and back"], warmups=3)} == {""}


def test_an_edge_device_that_waits_for_a_silent_server_hears_that_it_is_to_stop(lab, monkeypatch):
    silent = Silent(monkeypatch)
    one = lab()
    one.prepare(PLANS["there and back"], silence_s=60.0)
    silent.is_silent.set()
    talk.say(one.channels[0], {"go": True})
    time.sleep(0.5)

    def check():
        if threading.current_thread() is one.threads[0]:
            raise RuntimeError("told to stop")

    monkeypatch.setattr(edge.stop, "check", check)
    one.threads[0].join(10.0)
    assert not one.threads[0].is_alive() and [str(error) for error in one.failures] == ["told to stop"]


@pytest.mark.alone
def test_a_reply_that_comes_late_counts_for_nothing(lab, monkeypatch):
    pass_on = DevicePart.pass_on
    slow = []

    def late(part, frame):
        if part.order.me == 1 and not slow:
            slow.append(frame.number)
            time.sleep(0.6)
        pass_on(part, frame)

    monkeypatch.setattr(DevicePart, "pass_on", late)
    rows = lab().run(PLANS["all on the server"], requests=10, warmups=0, silence_s=0.2)
    assert [row["number"] for row in rows] == list(range(10)) and rows[0]["fallback"] == "server"


@pytest.mark.alone
def test_a_reply_that_comes_after_the_last_request_ends_nothing(lab, monkeypatch):
    pass_on = DevicePart.pass_on

    def late(part, frame):
        if part.order.me == 1 and part.order.number == 1:
            time.sleep(0.4)
        pass_on(part, frame)

    monkeypatch.setattr(DevicePart, "pass_on", late)
    recall = DevicePart.recall
    monkeypatch.setattr(DevicePart, "recall", lambda part: None)  # so that the reply does arrive
    one = lab()
    assert one.run(PLANS["all on the server"], requests=1, warmups=0, silence_s=0.1)[0]["fallback"] == "server"
    time.sleep(0.8)
    monkeypatch.setattr(DevicePart, "recall", recall)
    assert {row["fallback"] for row in one.run(PLANS["there and back"])} == {""}
    assert one.failures == []


CODED = {0: "jpeg90", 1: "float16", 2: "uint8"}


@pytest.fixture
def seeing(tiny):
    return see(tiny)


def levels(boundary):
    return None if boundary else encodings.IMAGENET


def told(tiny, coded=None, **most):
    """Encodings as an order has them: with the most bytes that a picture takes."""
    job, found = Work(tiny.network, tiny.samples(), ("fake", Board()), processor.Cpu()), []
    for boundary, name in (coded or CODED).items():
        sizes = [len(encodings.encode(one, name, levels(boundary))) for (one,) in job.maps(boundary).values()]
        found.append([boundary, name, most.get(name, max(sizes))])
    return found


def round_trips(tiny, plan, picture, coded=None, hops=10):
    """The whole network's result with what crosses encoded and decoded again, and the bytes of each of its hops."""
    value, sizes = torch.load("{}/a/{}.pt".format(tiny.folder, picture)), []
    for at, (_, steps) in enumerate(plan):
        boundary = steps[0][0] if steps else 3
        name = (coded or CODED).get(boundary)
        if name and 0 < at <= hops:
            data = encodings.encode(value, name, levels(boundary))
            value = encodings.decode(data, name, value.shape, value.dtype, levels(boundary))
            sizes.append(len(data))
        with torch.inference_mode():
            for first, last, _ in steps:
                for module in tiny.network.modules[first : last + 1]:
                    value = module(value.clone())
    return value, sizes


@pytest.mark.parametrize("name", sorted(PLANS))
@pytest.mark.parametrize("check", [False, True])
def test_what_crosses_is_encoded_as_it_was_profiled(lab, seeing, name, check):
    plan = PLANS[name]
    rows = lab(3).run(plan, check=check, encodings=told(seeing), pictures=2, warmups=0, result_bytes=5 * 4)
    for row in rows:
        assert row["fallback"] == "" and row["distance"] == 0.0  # to the whole network with the same encodings
        coded, sizes = round_trips(seeing, plan, row["picture"])
        plain, _ = round_trips(seeing, plan, row["picture"], hops=0)
        came = [one["in_bytes"] for one in row["segments"]]
        assert came == [0] + sizes + ([20] if len(plan) > 1 and not plan[-1][1] else [])
        for one, before in zip(row["segments"][1:], row["segments"]):  # noqa: B905
            assert (one["decode"] > 0) == (before["encode"] > 0) == bool(one["steps"])
        changed = encodings.effect([plain], [coded])
        assert (row["same_class"], row["off"]) == (changed if check and sizes else (None, None))
        assert not sizes or 1e-6 < changed[1] < 1
        off = [step["off"] for one in row["segments"] for step in one["steps"]]
        assert off == [0 if check else -1] * (len(off) - 1) + [-1]


def test_what_loses_nothing_changes_nothing(lab, tiny):
    tiny.network.modules[0] = torch.nn.Identity()
    tiny.network.modules[1] = torch.nn.Sequential(torch.nn.ReLU(), torch.nn.Linear(4, 5))
    for image in ("left", "right"):
        x = torch.rand(1, 4).half().float()  # which has no more digits
        for layer, made in zip(tiny.layers, tiny.network.modules):  # noqa: B905
            torch.save(x.clone(), "{}/{}/{}.pt".format(tiny.folder, layer, image))
            x = made(x.clone()).detach()
    plan = PLANS["twice"][:2] + [[0, [[1, 2, -1]]]]
    rows = lab().run(plan, check=True, encodings=[[0, "float16", 8], [1, "float16", 8]])
    assert {(row["distance"], row["same_class"], row["off"]) for row in rows} == {(0.0, 1, 0.0)}


def test_with_encodings_requests_overlap(lab, seeing):
    rows = lab(3).run(PLANS["twice"], encodings=told(seeing), requests=30, window=4)
    assert {row["fallback"] for row in rows} == {""} and len(rows) == 30


def test_only_pictures_whose_encodings_were_profiled_are_fed(lab, seeing):
    rows = lab().run(PLANS["all on the server"], encodings=told(seeing), pictures=1)
    assert {row["picture"] for row in rows} == {"left"}


def test_the_input_is_encoded_at_its_clock(lab, seeing, monkeypatch):
    one, at = lab(), []
    encode = Work.encode
    monkeypatch.setattr(Work, "encode", lambda job, *rest: (at.append(job._hz), encode(job, *rest))[1])
    rows = one.run([[0, []], [1, [A]], [0, [[1, 2, 100]]]], encodings=told(seeing), input_hz=200, requests=3)
    assert at[-6:] == [200, -1] * 3 and {row["fallback"] for row in rows} == {""}


def test_a_wrong_bundle_behind_an_encoding_is_named(lab, seeing):
    other = copy.deepcopy(seeing.network)
    with torch.no_grad():
        other.modules[1] = torch.nn.Sequential(*other.modules[1], torch.nn.Hardtanh(0.0, 0.1))
    with pytest.raises(DeviceError, match=r"not the whole network's with the same encodings \(float16, uint8\).*"
                       r"; wrong: bundle b on server"):  # fmt: skip
        lab(2, device1=other).run(PLANS["there and back"], check=True, encodings=told(seeing))


@pytest.mark.parametrize("plan", ["all on the server", "there and back", "twice"])
def test_what_the_edge_finishes_is_of_the_tensor_as_it_was_made(lab, seeing, plan, monkeypatch):
    Silent(monkeypatch).is_silent.set()
    rows = lab().run(PLANS[plan], encodings=told(seeing), requests=2, warmups=0, silence_s=0.3, check=True)
    assert [(row["fallback"], row["distance"], row["off"]) for row in rows] == [("server", 0.0, None)] * 2


def test_what_was_encoded_on_the_way_there_stays_so_where_the_edge_finishes(lab, seeing, monkeypatch):
    pass_on = DevicePart.pass_on
    monkeypatch.setattr(DevicePart, "pass_on", lambda part, one: None if one.hop == 2 else pass_on(part, one))
    rows = lab().run(PLANS["twice"], encodings=told(seeing), requests=1, warmups=0, silence_s=0.3, check=True)
    coded, _ = round_trips(seeing, PLANS["twice"], rows[0]["picture"], hops=2)
    plain, _ = round_trips(seeing, PLANS["twice"], rows[0]["picture"], hops=0)
    assert (rows[0]["fallback"], rows[0]["distance"]) == ("server", 0.0)
    assert (rows[0]["same_class"], rows[0]["off"]) == encodings.effect([plain], [coded])


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"jpeg90": 40}, r"picture (left|right) takes \d+ bytes as jpeg90, and 40 are foretold at most: profile it"),
        ({"float16": 1567}, "what crosses before layer b is 1568 bytes as float16, and the plan foretells 1567"),
        ({"uint8": 793}, "what crosses before layer c is 792 bytes as uint8, and the plan foretells 793"),
    ],
)
def test_other_bytes_than_foretold_are_told(lab, seeing, changes, reason):
    with pytest.raises(DeviceError, match=reason):
        lab().run(PLANS["twice"], encodings=told(seeing, **changes))


def test_an_encoding_for_pictures_of_what_is_none_is_told(lab):
    with pytest.raises(DeviceError, match="jpeg90 is for pictures"):
        lab().run(PLANS["all on the server"], encodings=[[0, "jpeg90", 100]])


def bring(one, number, data):
    """Sends data to the server as what the edge device has encoded."""
    with handshake.connect("127.0.0.1", one.stages[1].port, RUN, "{} 0".format(number), 5.0) as channel:
        stamps = bytes(8 * (1 + len(stages.SEGMENT_STAMPS)))
        parts = [Part(TENSOR, "uint8", (len(data),), data), Part(STAMPS, "int64", (len(stamps) // 8,), stamps)]
        channel.send(0, parts, 5.0)
        time.sleep(0.5)


def test_more_than_was_foretold_closes_the_connection_and_nothing_else(lab, seeing):
    one = lab()
    one.prepare(PLANS["all on the server"], encodings=told(seeing))
    bring(one, 1, bytes(told(seeing)[0][2] + 1))
    assert one.threads[1].is_alive()
    assert {row["fallback"] for row in one.run(PLANS["all on the server"], encodings=told(seeing))} == {""}


@pytest.mark.parametrize("what", sorted(BAD))
def test_a_picture_that_is_none_ends_the_stage_in_one_line(lab, seeing, what):
    one, (data, reason) = lab(), BAD[what]
    one.prepare(PLANS["all on the server"], encodings=told(seeing, {0: "jpeg90"}, jpeg90=len(data)))
    bring(one, 1, data)
    one.threads[1].join(5)
    (error,) = one.failures
    assert isinstance(error, InputError) and "\n" not in str(error)
    assert re.search("plan a plan: what came from edge is not to be used: .*({})".format(reason), str(error))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"segments": [[0, [A]], [1, [C]], [0, []]]}, "each layer exactly once"),
        ({"segments": [[1, [ALL]]]}, "begins and ends on the edge"),
        ({"segments": [[0, [A]], [0, [[1, 2, -1]]]]}, "from device to device"),
        ({"segments": [[0, []], [5, [ALL]], [0, []]]}, "no .device, steps."),
        ({"segments": "all"}, "no list"),
        ({"segments": [[0, [[0, 2, 0]]]]}, "no .first, last, frequency_hz."),
        ({"requests": 0}, "requests is no whole number from 1"),
        ({"requests": True}, "requests is no whole number"),
        ({"silence_s": float("inf")}, "silence_s is no time"),
        ({"names": []}, "no names"),
        ({"check": 1}, "neither true nor false"),
        ({"window": 10**6}, "window is no whole number"),
        ({"encodings": None}, "encodings are no list"),
        ({"encodings": [[0, "jpeg90"]]}, r"no .boundary, name, most bytes."),
        ({"encodings": [[3, "float16", 8]]}, r"no .boundary, name, most bytes."),
        ({"encodings": [[0, "float16", 0]]}, r"no .boundary, name, most bytes."),
        ({"encodings": [[0, "float16", 2**33]]}, r"no .boundary, name, most bytes."),
        ({"encodings": [[1, "jpeg90", 8]]}, "unknown encoding of features 'jpeg90'"),
        ({"encodings": [[0, "zip", 8]]}, "unknown encoding of input 'zip'"),
        ({"pictures": -1}, "pictures is no whole number"),
        ({"input_hz": "fast"}, "input_hz is no whole number"),
    ],
)
def test_an_order_that_is_none_is_refused_and_the_stage_goes_on(lab, changes, reason):
    one = lab()
    with pytest.raises(DeviceError, match=reason):
        one.run(PLANS["all on the edge"] if "segments" not in changes else [], **changes) if "segments" not in changes \
            else one.run(changes["segments"])  # fmt: skip
    assert len(one.run(PLANS["there and back"])) == 5


def test_what_is_no_order_at_all_is_refused():
    for said in (None, [], "order", {}, {"me": 0}):
        with pytest.raises(InputError):
            stages.order(said, 3)


class Moved(Board):
    """A board that can be moved from one clock to another; not to one of 17 Hz."""

    def __init__(self):
        super().__init__()
        self.moves = []

    def move(self, frequency_hz, root="/"):
        if frequency_hz == 17:
            raise DeviceError("the clock of 17 Hz does not stick")
        self.moves.append(frequency_hz)


def test_a_clock_is_moved_as_its_change_was_timed(tiny):
    board = Moved()
    job = Work(tiny.network, tiny.samples(), ("fake", board), processor.Cpu())
    for hertz in (100, 200, 200, 100):
        job.set_clock(hertz)
    assert (board.seen, board.moves) == ([100], [200, 100])  # fixed once, and never left in between
    with pytest.raises(DeviceError, match="17 Hz"):
        job.set_clock(17)
    assert job.set_clock(100) > 0 and board.moves[-1] == 100  # where it had stuck is not known
    job.set_clock(-1)
    assert board.now == -1
    job.set_clock(200)
    assert board.seen == [100, 200]
    job.free_clock()
    assert board.now == -1


def test_strangers_and_second_callers_are_kept_out(lab):
    one = lab()
    other = RUN._replace(token=handshake.new_token())
    with pytest.raises(NotLetInError):
        handshake.connect("127.0.0.1", one.stages[0].port, other, talk.CONTROL, 5.0)
    for name in (talk.CONTROL, "7 7", "nonsense"):  # nobody can give orders twice, or bring a hop that is none
        with handshake.connect("127.0.0.1", one.stages[0].port, RUN, name, 5.0) as channel:
            with pytest.raises(DeviceError):
                talk.say(channel, {"go": True})
                talk.hear(channel, 5.0)
    assert len(one.run(PLANS["there and back"])) == 5


def test_a_stage_that_nobody_calls_ends_by_itself(tiny):
    job = Work(tiny.network, tiny.samples(), ("fake", Board()), processor.Cpu())
    with pytest.raises(DeviceError, match=r"nobody called this stage in 0.2 s"):
        Stage(job, RUN, tiny.heard, patience_s=0.2).serve()


def test_a_stage_ends_when_who_gives_the_orders_says_nothing_any_more(tiny):
    job = Work(tiny.network, tiny.samples(), ("fake", Board()), processor.Cpu())
    stage = Stage(job, RUN, tiny.heard, quiet_s=1.5)
    thread = threading.Thread(target=stage.serve)
    thread.start()
    with handshake.connect("127.0.0.1", stage.port, RUN, talk.CONTROL, 5.0) as channel:
        for _ in range(4):
            time.sleep(0.5)
            talk.say(channel, {"alive": True})
        assert thread.is_alive()
        with pytest.raises(ConnectionLostError):  # nothing is answered, and then it is gone
            talk.hear(channel, 5.0)
    thread.join(5)
    assert not thread.is_alive()


def test_stages_end_with_who_gives_the_orders(lab):
    one = lab()
    one.run(PLANS["there and back"])
    one.close()
    assert one.failures == []


@pytest.mark.parametrize("name", ["all on the edge", "there and back"])
def test_stages_end_with_who_gives_the_orders_in_mid_run(lab, name):
    one = lab()
    assert all("ready" in answer for answer in one.prepare(PLANS[name], requests=stages.MOST_REQUESTS))
    talk.say(one.channels[0], {"go": True})
    time.sleep(0.3)
    one.close()
    assert one.failures == [], "it has ended in order"
