import os
import resource
import socket
import threading
import time

import pytest

from dime.contract import frames, handshake
from dime.contract.errors import DeviceError, InputError, NotLetInError
from dime.contract.frames import TENSOR, Foretold, FrameError
from dime.contract.handshake import Listener, Run, connect
from dime.contract.transport import Part, SilentError

RUN = Run(handshake.new_token(), handshake.digest(b"plan"), handshake.digest(b"network"))


@pytest.fixture
def listener():
    with Listener() as one:
        yield one


class Accepting(threading.Thread):
    """Waits for a caller beside the test."""

    def __init__(self, listener, run=RUN, within_s=10.0):
        super(Accepting, self).__init__()
        self.daemon = True
        self.listener, self.run_, self.within_s, self.result = listener, run, within_s, None
        self.start()

    def run(self):
        try:
            self.result = self.listener.accept(self.run_, self.within_s)
        except DeviceError as error:
            self.result = error

    def found(self):
        self.join(20)
        return self.result


def raw(listener):
    return socket.create_connection((listener.address, listener.port), 5.0)


def test_two_of_a_run_find_each_other_and_talk(listener):
    waiting = Accepting(listener)
    with connect(listener.address, listener.port, RUN, "nano", 5.0) as caller:
        channel, name = waiting.found()
        assert (name, channel.peer) == ("nano", "nano")
        memory = memoryview(bytearray(4))
        caller.send(1, [Part(TENSOR, "uint8", (4,), b"abcd")], 5.0)
        channel.receive([Foretold(TENSOR, "uint8", (4,))], [memory], 5.0)
        assert bytes(memory) == b"abcd"
        channel.close()


def test_who_was_let_in_is_taken_at_once(listener):
    """The first message of a connection waits for that."""
    took_s = []
    for _ in range(10):
        waiting = Accepting(listener)
        with connect(listener.address, listener.port, RUN, "nano", 5.0):
            began = time.monotonic()
            waiting.found()[0].close()
            took_s.append(time.monotonic() - began)
    assert min(took_s) < handshake._PAUSE_S / 2


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"token": b"another"}, "pc does not have this run's token"),
        ({"plan": handshake.digest(b"another")}, "pc has another plan"),
        ({"network": handshake.digest(b"another")}, "pc has another network, or other weights or samples"),
    ],
)
def test_one_of_another_run_is_not_let_in_and_told_why(listener, changed, told):
    waiting = Accepting(listener, within_s=0.4)
    with pytest.raises(NotLetInError, match=told):
        connect(listener.address, listener.port, RUN._replace(**changed), "nano", 5.0, "pc")
    assert isinstance(waiting.found(), SilentError)


def test_a_caller_without_the_token_learns_no_more_than_that(listener):
    waiting = Accepting(listener, within_s=0.8)
    with raw(listener) as stranger:
        from dime.contract.transport import Channel

        with Channel(stranger) as channel:
            until = 5.0
            channel.send(0, [Part(frames.HELLO, "uint8", (160,), bytes(160))], until)
            memory = memoryview(bytearray(64))
            channel.receive([Foretold(frames.CHALLENGE, "uint8", (64,))], [memory], until)
            channel.send(0, [Part(frames.PROOF, "uint8", (32,), bytes(memory[32:]))], until)
            answer = memoryview(bytearray(1))
            channel.receive([Foretold(frames.WELCOME, "uint8", (1,))], [answer], until)
            assert answer[0] == 1  # the token comes first, whatever the digests are
    told = waiting.found()
    assert isinstance(told, SilentError)
    assert "token" in str(told)


def test_who_calls_one_of_another_version_hears_which_it_is(listener):
    waiting = Accepting(listener, within_s=1.0)
    with raw(listener) as caller:
        hello = frames.pack(frames.HELLO, 0, "uint8", (160,))
        caller.settimeout(5.0)
        caller.sendall(hello[:4] + b"\x07" + hello[5:] + bytes(160) + frames.trailer(hello, bytes(160)))
        header = caller.recv(frames.HEADER_BYTES, socket.MSG_WAITALL)
        assert frames.unpack(header, [frames.FAILED]).kind == frames.FAULT
        assert b"speaks version 7 of the protocol" in caller.recv(1000)
    waiting.found()


def test_one_of_another_version_is_told(listener):
    waiting = Accepting(listener, within_s=0.4)
    with raw(listener) as stranger:
        header = bytearray(frames.pack(frames.HELLO, 0, "uint8", (160,)))
        header[4] = 7
        stranger.sendall(bytes(header))
        told = waiting.found()
    assert "speaks version 7 of the protocol" in str(told)


def test_a_listener_that_is_no_dime_is_told():
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen(1)

        def answer():
            connection = other.accept()[0]
            with connection:
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\nServer: a web server\r\n\r\n" + b"x" * 100)
                connection.recv(4096)

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(FrameError, match="no frame of DIME"):
            connect("127.0.0.1", other.getsockname()[1], RUN, "nano", 5.0)
        thread.join()


def test_strangers_do_not_keep_out_who_belongs(listener):
    """One that says nothing, one that sends garbage, one that went away, one that never stops sending."""
    waiting = Accepting(listener)
    before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with raw(listener), raw(listener) as garbage, raw(listener) as endless:
        raw(listener).close()
        garbage.sendall(os.urandom(4096))
        endless.settimeout(2.0)
        try:
            for _ in range(1 << 10):  # a gigabyte, if anybody took it
                endless.sendall(bytes(1 << 20))
        except OSError:
            pass
        with connect(listener.address, listener.port, RUN, "nano", 5.0):
            channel, _ = waiting.found()
            channel.close()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb < 16384


def test_one_that_trickles_is_sent_away_in_bounded_time():
    from dime.contract.transport import Channel

    ours, theirs = socket.socketpair()
    header, stop, sent = frames.pack(frames.HELLO, 0, "uint8", (160,)), threading.Event(), []

    def trickle():
        for at in range(len(header)):
            if stop.wait(0.1):
                return
            try:
                sent.append(ours.send(header[at : at + 1]))
            except OSError:
                return

    with ours, Channel(theirs) as channel:
        thread = threading.Thread(target=trickle)
        thread.start()
        with pytest.raises(SilentError):
            handshake.let_in(channel, RUN, 0.3)
        assert len(sent) < len(header), "it was sent away before it had sent a header"
        stop.set()
        thread.join()


def test_a_crowd_of_strangers_starts_no_crowd_of_threads(listener):
    waiting = Accepting(listener, within_s=1.5)
    before = threading.active_count()
    crowd = [raw(listener) for _ in range(40)]
    time.sleep(0.5)
    assert threading.active_count() - before <= handshake.AT_ONCE
    for each in crowd:
        each.close()
    assert isinstance(waiting.found(), SilentError)


def test_who_calls_too_early_calls_again():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    found = []

    def call():
        found.append(connect("127.0.0.1", port, RUN, "nano", 10.0))

    thread = threading.Thread(target=call)
    thread.start()
    time.sleep(0.3)
    with Listener(port=port) as listener:
        channel, _ = listener.accept(RUN, 10.0)
        thread.join(10)
        channel.close()
        found[0].close()


def test_nobody_there_is_said_in_time():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(SilentError, match="did not answer in 0.3 s"):
        connect("127.0.0.1", port, RUN, "nano", 0.3)


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "224.0.0.1", "", "localhost", "1.2.3"])
def test_one_address_is_listened_at_and_no_more(address):
    with pytest.raises(InputError):
        Listener(address)


def test_a_port_that_is_taken_is_said(listener):
    with pytest.raises(DeviceError, match="cannot listen at 127.0.0.1 port"):
        Listener(port=listener.port)
    with pytest.raises(DeviceError, match="cannot listen"):
        Listener(port=70000)


@pytest.mark.parametrize("content", ["", "00", "no digits", "0" * 66])
def test_a_file_without_a_token_is_refused(tmp_path, content):
    path = tmp_path / "token"
    path.write_text(content)
    with pytest.raises(InputError, match="holds no token of a run"):
        handshake.read_token(str(path))
    path.write_text(RUN.token.hex() + "\n")
    assert handshake.read_token(str(path)) == RUN.token
