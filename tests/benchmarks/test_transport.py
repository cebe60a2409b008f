"""What a hop costs beyond the wire's own time, beside ZeroMQ and gRPC, and what a pipeline's threads cost.

pyzmq and grpcio are needed by this comparison alone: pip install pyzmq grpcio.
"""

import importlib.util
import os
import socket
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median

import pytest

from dime.contract import handshake
from dime.contract.frames import ANSWER, TENSOR, Foretold
from dime.contract.transport import Part, Writer
from tests.benchmarks import peers

pytestmark = pytest.mark.benchmark
ROUNDS, EACH = 20, 10
GOAL_MS = {64: 0.3, 602112: 0.5}


@contextmanager
def peer(*words):
    """One of peers.py; gives its process and its port."""
    root = str(Path(peers.__file__).resolve().parents[2])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])}
    command = [sys.executable, peers.__file__, *map(str, words)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
    try:
        yield process, int(process.stdout.readline())
    finally:
        process.stdin.close()
        process.kill()
        process.wait()
        process.stdout.close()


def bare(port, data, stack):
    connection = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    answer = memoryview(bytearray(8))

    def hop():
        connection.sendall(data)
        peers.take(connection, answer)

    return hop


def ours(port, data, stack):
    channel = stack.enter_context(handshake.connect("127.0.0.1", port, peers.RUN, "edge", 10.0))
    message = [Part(TENSOR, "uint8", (len(data),), data)]
    stack.callback(channel.end)
    foretold, answer = [Foretold(ANSWER, "uint8", (8,))], [memoryview(bytearray(8))]

    def hop():
        channel.send(1, message, 60.0)
        channel.receive(foretold, answer, 60.0)

    return hop


def zmq(port, data, stack):
    import zmq as library

    context = library.Context()
    stack.callback(context.destroy, 0)
    asking = context.socket(library.REQ)
    asking.connect(f"tcp://127.0.0.1:{port}")

    def hop():
        asking.send_multipart([b"header", data], copy=False)
        asking.recv_multipart(copy=False)

    return hop


def grpc(port, data, stack):
    import grpc as library

    channel = stack.enter_context(library.insecure_channel(f"127.0.0.1:{port}"))
    call = channel.unary_unary("/dime/hop")
    return lambda: call(data)


WAYS = {"bare": bare, "ours": ours, "zmq": zmq, "grpc": grpc}
NEEDS = {"zmq": "zmq", "grpc": "grpc"}


def quick_ms(times_s):
    """The lower quartile: what a hop takes while nothing else has the processor."""
    return sorted(times_s)[len(times_s) // 4] * 1e3


@pytest.mark.parametrize("size", [64, 602112])
def test_a_hop_beside_others(size, capsys):
    data = os.urandom(size)
    ways = [way for way in WAYS if way not in NEEDS or importlib.util.find_spec(NEEDS[way])]
    times = {way: [] for way in ways}
    with ExitStack() as stack:
        hops = {way: WAYS[way](stack.enter_context(peer(way, size))[1], data, stack) for way in ways}
        for hop in hops.values():
            for _ in range(EACH):
                hop()
        for _ in range(ROUNDS):
            for way, hop in hops.items():
                for _ in range(EACH):
                    began = time.perf_counter()
                    hop()
                    times[way].append(time.perf_counter() - began)
    wire_ms = quick_ms(times["bare"])
    with capsys.disabled():
        print(f"\n{size} bytes there, 8 back: round trip, lower quartile and median of {ROUNDS * EACH}")
        for way in ways:
            over = quick_ms(times[way]) - wire_ms
            told = f", {over:.3f} ms over the wire's own" if way != "bare" else ", the wire's own"
            goal = f" (goal {GOAL_MS[size]} ms)" if way == "ours" else ""
            print(f"  {way:5} {quick_ms(times[way]):6.3f} {1e3 * median(times[way]):6.3f} ms{told}{goal}")
        for way in set(WAYS) - set(ways):
            print(f"  {way:5} is not installed: pip install pyzmq grpcio")


def test_a_pipelines_throughput_beside_its_slowest_stage(capsys):
    size, count, stages_s = 602112, 150, (0.012, 0.020, 0.008)
    data = [os.urandom(size) for _ in range(3)]
    with ExitStack() as stack:
        started, port = [], 0
        for seconds in reversed(stages_s):
            process, port = stack.enter_context(peer("stage", size, seconds, port))
            started.append(process)
        channel = stack.enter_context(handshake.connect("127.0.0.1", port, peers.RUN, "source", 30.0))
        writer = Writer(channel, 60.0)
        for at in range(count):
            writer.put(at, [Part(TENSOR, "uint8", (size,), data[at % 3])])
        writer.close()
        channel.end()
        said = [tuple(map(float, process.stdout.readline().split())) for process in started]
    slowest_s, apart_s = max(work_s for work_s, _ in said), said[0][1]
    with capsys.disabled():
        print(
            f"\npipeline of three, {size} bytes a hop: one result every {1e3 * apart_s:.2f} ms, slowest stage"
            f" {1e3 * slowest_s:.2f} ms: {slowest_s / apart_s:.3f} of its throughput (goal 0.95)"
        )
