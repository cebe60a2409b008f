"""What the device under test and the power logger say to each other over TCP.

Published messages, each on a connection of its own, without an end mark, answered likewise:

| message | answer |
|---|---|
| ``start,<file name>`` | ``started`` |
| ``stop`` | ``stopped`` |
| ``shutdown`` | ``ack_shutdown``, once the file is safely written |
| anything else | ``bad message`` |

Our extension on the same port: lines, many on one connection. A message that ends with a newline is answered by a line.
All times are nanoseconds; what was understood but cannot be done is answered ``refused: <reason>``.

| message | answer |
|---|---|
| ``hello,<version>[,<token>]`` | ``hello,<version>,<meter>,<period>`` |
| ``clock,<t1>`` | ``clock,<t1>,<t2>,<t3>``: received and answered, on the logger's clock |
| ``mark,<device time>,<text>`` | ``marked``; it stands in the log's quality file |
| ``energy,<clock error>,<start>,<end>[,...]`` | ``energy,<window>[,<window>...]``; times on the logger's clock |

A window's answer is ``<joules>/<systematic joules>/<samples>``, or ``none/<reason>``.
"""

import re

VERSION = 1
TOKEN_VARIABLE = "DIME_POWER_TOKEN"
ENCODING = "utf-8"
START = "start"
STOP = "stop"
SHUTDOWN = "shutdown"
STARTED = "started"
STOPPED = "stopped"
ACK_SHUTDOWN = "ack_shutdown"
BAD_MESSAGE = "bad message"
REFUSED = "refused: "
MARKED = "marked"
MAX_MESSAGE_BYTES = 4096
MAX_WINDOWS = 64


def log_name(device, network, frequency_hz):
    """Names the power log of one frequency of a run, such as ``nano_alexnet_691200000.csv``."""
    parts = [re.sub(r"[^A-Za-z0-9.-]+", "-", str(part)) for part in (device, network, frequency_hz)]
    return "_".join(parts) + ".csv"


def offset_ns(exchange):
    """Offset of the logger's clock from the device's, by one exchange of four timestamps.

    Args:
        exchange: (t1, t2, t3, t4): sent on the device's clock, received and answered on the logger's, back on the
            device's.

    Returns:
        tuple: (offset, error bound) in ns; the truth lies within the bound, however unequal the two ways were.
    """
    sent, received, answered, back = exchange
    return ((received - sent) + (answered - back)) // 2, ((back - sent) - (answered - received) + 1) // 2
