"""The other side of a connection: takes requests of so many bytes and answers each with eight, by one of four ways.

``python peers.py KIND SIZE`` says its port in a line. ``python peers.py stage SIZE SECONDS NEXT_PORT`` is one stage of
a pipeline; the next one's port 0 makes it the last.
"""

import itertools
import socket
import sys
import threading
import time
from queue import Queue

from dime.contract import frames, handshake
from dime.contract.frames import ANSWER, TENSOR, Foretold
from dime.contract.handshake import Listener, Run
from dime.contract.timebase import monotonic_ns
from dime.contract.transport import Part, Writer

RUN = Run(b"benchmark", handshake.digest(b"plan"), handshake.digest(b"network"))
REPLY = bytes(8)


def say(word):
    print(word, flush=True)


def take(connection, view):
    at = 0
    while at < len(view):
        got = connection.recv_into(view[at:])
        if not got:
            return False
        at += got
    return True


def bare(size):
    """The wire's own: a socket, and nothing that says what came."""
    with socket.socket() as waiting:
        waiting.bind(("127.0.0.1", 0))
        waiting.listen(1)
        say(waiting.getsockname()[1])
        connection = waiting.accept()[0]
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    memory = memoryview(bytearray(size))
    while take(connection, memory):
        connection.sendall(REPLY)


def ours(size):
    foretold, memory = [Foretold(TENSOR, "uint8", (size,))], [memoryview(bytearray(size))]
    with Listener() as listener:
        say(listener.port)
        channel, _ = listener.accept(RUN, 60.0)
    while True:
        received = channel.receive(foretold, memory, 60.0)
        if received.headers[0].kind == frames.END:
            return
        channel.send(received.request, [Part(ANSWER, "uint8", (8,), REPLY)], 60.0)


def zmq(size):
    import zmq as library

    replier = library.Context().socket(library.REP)
    say(replier.bind_to_random_port("tcp://127.0.0.1"))
    while True:
        parts = replier.recv_multipart(copy=False)
        if len(parts[1]) != size:
            return
        replier.send_multipart([b"header", REPLY], copy=False)


def grpc(size):
    from concurrent.futures import ThreadPoolExecutor

    import grpc as library

    def reply(request, context):
        return REPLY

    server = library.server(ThreadPoolExecutor(1), options=[("grpc.max_receive_message_length", -1)])
    handler = library.unary_unary_rpc_method_handler(reply)  # bytes as they are
    server.add_generic_rpc_handlers([library.method_handlers_generic_handler("dime", {"hop": handler})])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    say(port)
    sys.stdin.read()


def stage(size, seconds, next_port):
    """Takes, works for so long, hands on; says how long a request kept it, and what lay between two.

    Of how many it says as well that they came in order.
    """
    foretold = [Foretold(TENSOR, "uint8", (size,))]
    slots = [[memoryview(bytearray(size))] for _ in range(2)]
    with Listener() as listener:
        say(listener.port)
        channel, _ = listener.accept(RUN, 60.0)
    writer = ahead = None
    if next_port:
        ahead = handshake.connect("127.0.0.1", next_port, RUN, "stage", 60.0)
        writer = Writer(ahead, 60.0)
    there = Queue(1)

    def receive():  # as a stage does: into one slot more than may be under way
        for turn in itertools.count():
            message = channel.receive(foretold, slots[turn % len(slots)], 60.0)
            there.put(message)
            if message.headers[0].kind == frames.END:
                return

    threading.Thread(target=receive, daemon=True).start()
    work_ns, done_ns, result = 0, [], [bytes(size), bytes(size), bytes(size)]
    while (received := there.get(timeout=60.0)).headers[0].kind != frames.END:
        assert received.request == len(done_ns)
        began_ns = monotonic_ns()
        time.sleep(seconds)
        ended_ns = monotonic_ns()
        if writer:
            writer.put(received.request, [Part(TENSOR, "uint8", (size,), result[len(done_ns) % 3])])
        work_ns += ended_ns - began_ns
        done_ns.append(ended_ns)
    if writer and ahead:
        writer.close()
        ahead.end()
    say(f"{work_ns / len(done_ns) / 1e9} {(done_ns[-1] - done_ns[0]) / (len(done_ns) - 1) / 1e9} {len(done_ns)}")


if __name__ == "__main__":
    kind, numbers = sys.argv[1], [float(word) for word in sys.argv[2:]]
    if kind == "stage":
        stage(int(numbers[0]), numbers[1], int(numbers[2]))
    else:
        {"bare": bare, "ours": ours, "zmq": zmq, "grpc": grpc}[kind](int(numbers[0]))
