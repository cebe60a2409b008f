import os
import resource
import socket
import threading
import time
from random import Random

import pytest

from dime.contract import frames
from dime.contract.errors import ConnectionLostError, DeviceError
from dime.contract.frames import ANSWER, END, STAMPS, TENSOR, Foretold, FrameError
from dime.contract.transport import Channel, Part, SilentError, Writer

SHAPE = (1, 64, 27, 27)
SIZE = 4 * 64 * 27 * 27
FORETOLD = (Foretold(TENSOR, "float32", SHAPE), Foretold(STAMPS, "int64", (4,)))


def parts(data, stamps=b"s" * 32):
    return [Part(TENSOR, "float32", SHAPE, data), Part(STAMPS, "int64", (4,), stamps)]


def places():
    return [memoryview(bytearray(SIZE)), memoryview(bytearray(32))]


@pytest.fixture
def pair():
    ours, theirs = socket.socketpair()
    with Channel(ours, "ours") as left, Channel(theirs, "theirs") as right:
        yield left, right


def sent_by(channel, request, message, within_s=5.0):
    thread = threading.Thread(target=channel.send, args=(request, message, within_s))
    thread.start()
    return thread


def test_a_message_arrives_in_memory_that_was_there(pair):
    data, memory = os.urandom(SIZE), places()
    thread = sent_by(pair[0], 9, parts(data))
    received = pair[1].receive(FORETOLD, memory, 5.0)
    thread.join()
    assert received.request == 9
    assert [header.kind for header in received.headers] == [TENSOR, STAMPS]
    assert bytes(memory[0]) == data
    assert received.first_ns <= received.last_ns


@pytest.mark.parametrize("size", [0, 1, 64, (1 << 16) + 1, (1 << 18) + 1, 3 << 20])
def test_every_size_arrives_whole(pair, size):
    data, memory = os.urandom(size), memoryview(bytearray(size))
    thread = sent_by(pair[0], 1, [Part(TENSOR, "uint8", (size,), data)])
    pair[1].receive([Foretold(TENSOR, "uint8", (size,))], [memory], 5.0)
    thread.join()
    assert bytes(memory) == data


def test_the_end_may_come_instead_of_a_message(pair):
    pair[0].end()
    assert pair[1].receive(FORETOLD, places(), 5.0).headers[0].kind == END


def test_a_fault_is_told_in_one_line(pair):
    pair[0].fail("bundle 'conv1'\ncannot run \x1b[31m" + "x" * 5000)
    with pytest.raises(DeviceError, match="theirs: bundle 'conv1' cannot run ") as told:
        pair[1].receive(FORETOLD, places(), 5.0)
    assert "\x1b" not in str(told.value)
    assert len(str(told.value)) < 1100


def test_a_message_of_two_requests_is_refused(pair):
    tensor, stamps = parts(bytes(SIZE))
    thread = threading.Thread(target=lambda: (pair[0].send(1, [tensor], 5.0), pair[0].send(2, [stamps], 5.0)))
    thread.start()
    with pytest.raises(FrameError, match="two requests"):
        pair[1].receive(FORETOLD, places(), 5.0)
    thread.join()


def test_silence_ends_it(pair):
    began = time.monotonic()
    with pytest.raises(SilentError, match="sent nothing more in time"):
        pair[1].receive(FORETOLD, places(), 0.2)
    assert time.monotonic() - began > 0.15
    assert pair[1].closed


def test_who_takes_nothing_ends_it(pair):
    with pytest.raises(SilentError, match="took no more in time"):
        pair[0].send(1, [Part(TENSOR, "uint8", (1 << 26,), bytes(1 << 26))], 0.2)


def test_one_that_trickles_does_not_hold_it(pair):
    raw, stop, sent = pair[0]._socket, threading.Event(), []

    def trickle():
        header = frames.pack(TENSOR, 1, "float32", SHAPE)
        for at in range(len(header)):
            if stop.wait(0.05):
                return
            try:
                sent.append(raw.send(header[at : at + 1]))
            except OSError:
                return

    thread = threading.Thread(target=trickle)
    thread.start()
    with pytest.raises(SilentError):
        pair[1].receive(FORETOLD, places(), 0.5)
    assert len(sent) < len(frames.pack(TENSOR, 1, "float32", SHAPE))
    stop.set()
    thread.join()


def test_a_connection_that_is_gone_is_lost(pair):
    pair[0].close()
    with pytest.raises(ConnectionLostError):
        pair[1].receive(FORETOLD, places(), 5.0)
    with pytest.raises(ConnectionLostError):
        pair[1].send(1, parts(bytes(SIZE)), 5.0)


def test_closing_wakes_a_thread_that_waits(pair):
    raised = []

    def wait():
        try:
            pair[1].receive(FORETOLD, places(), 60.0)
        except DeviceError as error:
            raised.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    time.sleep(0.1)
    pair[1].close()
    thread.join(5)
    assert not thread.is_alive()
    assert isinstance(raised[0], ConnectionLostError)


def test_data_of_another_length_are_a_defect_here(pair):
    with pytest.raises(ValueError, match="bytes are no"):
        pair[0].send(1, [Part(TENSOR, "float32", SHAPE, b"short")], 5.0)


def test_a_writer_keeps_the_order_and_every_byte(pair):
    count, views, told = 50, places(), []
    writer = Writer(pair[0], 10.0, on_sent=lambda request, sent: told.append(request))
    contents = [os.urandom(SIZE) for _ in range(3)]

    def put():
        for at in range(count):
            writer.put(at, parts(contents[at % 3]))
        writer.close()
        pair[0].end()

    thread = threading.Thread(target=put)
    thread.start()
    for at in range(count):
        assert pair[1].receive(FORETOLD, views, 10.0).request == at
        assert bytes(views[0]) == contents[at % 3]
    assert pair[1].receive(FORETOLD, views, 10.0).headers[0].kind == END
    thread.join()
    assert told == list(range(count))


def test_a_writer_says_what_its_thread_met(pair):
    writer = Writer(pair[0], 5.0)
    pair[1].close()
    with pytest.raises(ConnectionLostError):
        for at in range(20):
            writer.put(at, parts(bytes(SIZE)))
            time.sleep(0.01)
    with pytest.raises(ConnectionLostError):
        writer.close()


SMALL = {
    "plain": (Foretold(ANSWER, "float32", (8,)), Foretold(STAMPS, "int64", (2,))),
    "encoded": (Foretold(TENSOR, "uint8", (32,)), Foretold(STAMPS, "int64", (2,))),
    "of any length": (Foretold(TENSOR, "uint8", (40,), varies=True), Foretold(STAMPS, "int64", (2,))),
}


def recorded(kind):
    """What a good message looks like on the wire."""
    ours, theirs = socket.socketpair()
    first = SMALL[kind][0]
    shape = (32,) if first.dtype == "uint8" else first.shape
    with Channel(ours) as channel, theirs:
        sent = [Part(first.kind, first.dtype, shape, bytes(range(32))), Part(STAMPS, "int64", (2,), b"t" * 16)]
        channel.send(5, sent, 5.0)
        return theirs.recv(4096)


def mutated(random, good):
    """A message with bits flipped, bytes changed, cut, repeated, or put in."""
    data = bytearray(good)
    for _ in range(random.choice((1, 1, 1, 2, 5))):
        at, what = random.randrange(len(data) or 1), random.randrange(6)
        if what == 0 and data:
            data[at] ^= 1 << random.randrange(8)
        elif what == 1 and data:
            data[at] = random.randrange(256)
        elif what == 2:
            del data[at:]
        elif what == 3:
            del data[at : at + random.randrange(1, 20)]
        elif what == 4:
            data[at:at] = bytes(random.randrange(256) for _ in range(random.randrange(1, 80)))
        else:
            data[at:at] = data[at : at + random.randrange(1, 120)]
    return bytes(data)


def mistakes(count, seed, kind):
    """Sends so many mutated messages; returns how many were taken for another than the one that was sent."""
    random, good, wrong = Random(seed), recorded(kind), 0
    memory = [memoryview(bytearray(SMALL[kind][0].length)), memoryview(bytearray(16))]
    for _ in range(count):
        data = mutated(random, good)
        ours, theirs = socket.socketpair()
        with ours, Channel(theirs) as channel:
            ours.sendall(data)
            ours.shutdown(socket.SHUT_WR)
            try:
                received = channel.receive(SMALL[kind], memory, 5.0)
            except (DeviceError, ConnectionLostError) as error:
                assert "\n" not in str(error)
                assert channel.closed
                continue
            got = bytes(memory[0][: received.headers[0].length])
            same = received.request == 5 and got == bytes(range(32)) and bytes(memory[1]) == b"t" * 16
            wrong += not (same and data.startswith(good))
    return wrong


@pytest.mark.parametrize("kind", sorted(SMALL))
def test_no_mutated_message_gives_a_wrong_result(kind):
    assert mistakes(2000, 0, kind) == 0


def test_more_than_foretold_is_refused_before_it_is_read(pair):
    foretold = (Foretold(TENSOR, "uint8", (40,), varies=True),)
    memory = [memoryview(bytearray(40))]
    pair[0].send(1, [Part(TENSOR, "uint8", (40,), b"a" * 40)], 5.0)
    assert pair[1].receive(foretold, memory, 5.0).headers[0].length == 40
    pair[0].send(2, [Part(TENSOR, "uint8", (41,), b"b" * 41)], 5.0)
    with pytest.raises(FrameError, match="not foretold: kind 16, uint8 of shape 41"):
        pair[1].receive(foretold, memory, 5.0)
    assert bytes(memory[0]) == b"a" * 40 and pair[1].closed


@pytest.mark.benchmark
def test_a_hundred_thousand_mutated_messages_give_none_and_no_growth(asked, figures):
    mistakes(2000, 1, "plain")
    before_kb, threads = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, threading.active_count()
    files = len(os.listdir("/proc/self/fd"))
    wrong = sum(
        mistakes(count, 2, kind) for kind, count in (("plain", 50000), ("encoded", 25000), ("of any length", 25000))
    )
    grown_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb
    figures("100000 mutated messages: {} wrong results, {} kB more memory".format(wrong, grown_kb))
    assert wrong == 0
    assert grown_kb < 2048
    assert (threading.active_count(), len(os.listdir("/proc/self/fd"))) == (threads, files)
