"""What a stage and whoever started its run say to each other: JSON, a frame each, on a connection of their own.

| said | answered |
|---|---|
| ``{"order": ...}``, see `dime.contract.stages` | ``{"ready": facts}`` |
| ``{"go": true}``, to the edge device | ``{"rows": [...]}``, as often as need be, then ``{"done": frames dropped}`` |
| ``{"time": true}`` | ``{"time_ns": ns of its monotonic clock}`` |
| ``{"alive": true}``, every `ALIVE_S` | nothing |

What cannot be done is answered ``{"error": line}``. A stage ends when this connection does, or was silent `QUIET_S`:
a cable that was pulled out ends none.
"""

import json

from dime.contract import frames
from dime.contract.errors import ConnectionLostError, InputError
from dime.contract.transport import Channel, Part

CONTROL = "control"  # what who started the run calls itself
ALIVE_S, QUIET_S = 5.0, 30.0
LARGEST_SAID_BYTES = 4 << 20
SAID = frames.Foretold(frames.TENSOR, "uint8", (LARGEST_SAID_BYTES,), varies=True)


def say(channel: Channel, what: object, within_s: float = 15.0) -> None:
    """Sends what JSON takes.

    Raises:
        ConnectionLostError: The other side does not take it.
    """
    data = json.dumps(what).encode()
    channel.send(0, [Part(frames.TENSOR, "uint8", (len(data),), data)], within_s)


def hear(channel: Channel, within_s: float) -> object:
    """Receives what JSON holds.

    Raises:
        ConnectionLostError: Nothing came.
        InputError: It is no JSON.
    """
    memory = bytearray(LARGEST_SAID_BYTES)
    got = channel.receive([SAID], [memoryview(memory)], within_s)
    if got.headers[0].kind == frames.END:
        raise ConnectionLostError("{} has ended".format(channel.peer))
    try:
        said: object = json.loads(bytes(memory[: got.headers[0].length]).decode())
        return said
    except (ValueError, RecursionError):
        raise InputError("{} sent what is no JSON".format(channel.peer))
