"""Whatever bytes a client sends, the logger answers, stays alive and keeps to its folder."""

import re
import socket
import time
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dime.contract.errors import InputError, TableError
from dime.host.metering.power_file import check_name
from dime.host.metering.power_server import Conversation
from tests.host.powered import serving
from tests.lab.meter import StandInMeter

MESSAGES_AN_EXAMPLE = 2000
EXAMPLES = 250
ANSWERS = re.compile(
    r"started|stopped|ack_shutdown|bad message|marked|refused: [^\n]+|hello,1,fake,5000000,"
    r"|challenge,[0-9a-f]{32}|clock,-?\d+,7,\d+"
)
PARTS = [
    b"start", b"stop", b"shutdown", b"hello", b"clock", b"mark", b"energy", b",", b",", b"1", b"-5", b"9" * 20, b"..",
    b"/", b"\\", b"a.csv", b"\0", b"\xff", b"\xc3\xa9", b" ", b"\r", b"1e5", b"_", b"token", b"x" * 300, b".", b"",
]  # fmt: skip


class FakeRecorder:
    """Remembers what it is asked to log."""

    name = "fake"
    channel = ""

    def __init__(self):
        self.paths = []

    def start(self, path):
        self.paths.append(path)

    def stop(self, ended_by):
        return None

    def mark(self, mark):
        assert isinstance(mark["device_ns"], int)

    def period_s(self):
        return 0.005

    def trace(self, since_ns, until_ns, patience_s):
        raise TableError("no readings")


def message_of(random, pieces):
    if random.random() < 0.3:
        message = bytearray(random.choice(pieces))
    else:
        message = bytearray(b"".join(random.choice(PARTS) for _ in range(random.randrange(6))))
    for _ in range(random.randrange(5)):
        message.insert(random.randrange(len(message) + 1), random.randrange(256))
    return bytes(message)


def test_every_message_has_an_answer_and_no_name_leaves_the_folder(tmp_path):
    """At least 100,000 different messages."""
    tried = set()

    @settings(max_examples=EXAMPLES, deadline=None)
    @given(st.lists(st.binary(max_size=60), min_size=1, max_size=6), st.integers(0, 2**32), st.booleans())
    def messages(pieces, seed, locked):
        converse(tmp_path, Random(seed), pieces, "token" if locked else "", tried)

    messages()
    print(f"{len(tried)} different messages")
    assert len(tried) >= 100_000


def converse(folder, random, pieces, token, tried):
    """Says many messages on one connection."""
    recorder = FakeRecorder()
    conversation = Conversation(recorder, folder, token, lambda line: None)
    trusted = not token
    for _ in range(MESSAGES_AN_EXAMPLE):
        message = message_of(random, pieces)
        tried.add(message)
        answer = conversation.answer(message, 7)
        assert ANSWERS.fullmatch(answer), (message, answer)
        if answer == "started":
            assert trusted and message.startswith(b"start,")
            path = recorder.paths[-1]
            assert path.parent == folder and path.name == message[6:].decode()
            assert check_name(path.name) == path.name
        if answer.startswith("hello"):
            assert re.fullmatch(rb"hello,-?\d+", message) and trusted, "nobody guesses a proof"
        if answer in ("stopped", "ack_shutdown"):
            assert trusted and message in (b"stop", b"shutdown")


@settings(max_examples=3000, deadline=None)
@given(st.text(max_size=300))
def test_an_accepted_name_is_one_plain_visible_name(name):
    try:
        assert check_name(name) == name
    except InputError:
        return
    assert name and "/" not in name and "\0" not in name and not name.startswith(".")
    assert len(name.encode()) <= 255


@pytest.fixture(scope="module")
def port(tmp_path_factory):
    with StandInMeter(lambda now_s: 2.0) as meter, serving(meter, tmp_path_factory.mktemp("fuzz")) as (number, _):
        yield number


@settings(max_examples=150, deadline=None)
@given(st.lists(st.one_of(st.binary(max_size=200), st.sampled_from(PARTS)), max_size=8), st.booleans())
def test_a_real_server_survives_any_bytes_in_any_pieces(port, pieces, half):
    stream = b"".join(pieces).replace(b"shutdown", b"shutd0wn")
    with socket.create_connection(("127.0.0.1", port), 5) as connection:
        try:
            for piece in (stream[:7], stream[7:]):
                connection.sendall(piece)
                time.sleep(0.001)
            if half:
                connection.shutdown(socket.SHUT_WR)
        except OSError:
            pass
    with socket.create_connection(("127.0.0.1", port), 5) as connection:
        connection.sendall(b"clock,5\n")
        assert connection.recv(100).startswith(b"clock,5,")
