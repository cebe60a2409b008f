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
| ``hello,<version>`` | ``hello,<version>,<meter>,<period>,<channel>``; where a token is wanted ``challenge,<nonce>`` |
| ``proof,<proof>`` | as to ``hello``; the token itself never travels |
| ``clock,<t1>`` | ``clock,<t1>,<t2>,<t3>``: received and answered, on the logger's clock |
| ``mark,<device time>,<text>`` | ``marked``; it stands in the log's quality file |
| ``energy,<clock error>,<start>,<end>[,...]`` | ``energy,<window>[,<window>...]``; times on the logger's clock |

A logger with a token does nothing for a connection that has not proved it, the published messages included.
A window's answer is ``<joules>/<systematic joules>/<samples>``, or ``none/<reason>``.
"""

import hashlib
import hmac
import re
from typing import Sequence, Tuple

from dime.contract import files
from dime.contract.errors import InputError

VERSION = 1
TOKEN_VARIABLE = "DIME_POWER_TOKEN"
CHALLENGE = "challenge"
PROOF = "proof"
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


def proof(token: str, nonce: str) -> str:
    """Proves that one knows a token, without telling it.

    Args:
        token: The token.
        nonce: What the logger made up for this one connection.

    Returns:
        str: The HMAC of the nonce, in hexadecimal digits.
    """
    message = "dime power {}".format(nonce).encode(ENCODING)
    return hmac.new(token.encode(ENCODING, "surrogateescape"), message, hashlib.sha256).hexdigest()


def read_token(path: files.Name) -> str:
    """Reads a token from a file of its own.

    Raises:
        InputError: It cannot be read, or is empty.
    """
    try:
        with open(path, encoding=ENCODING) as stream:
            token = stream.read(MAX_MESSAGE_BYTES).strip()
    except (EnvironmentError, ValueError) as error:
        raise InputError("{}: the power logger's token cannot be read: {}".format(path, error))
    if not token:
        raise InputError("{}: holds no token".format(path))
    return token


def log_name(device: str, network: str, frequency_hz: object) -> str:
    """Names the power log of one frequency of a run, such as ``nano_alexnet_691200000.csv``."""
    parts = [re.sub(r"[^A-Za-z0-9.-]+", "-", str(part)) for part in (device, network, frequency_hz)]
    return "_".join(parts) + ".csv"


def offset_ns(exchange: Sequence[int]) -> Tuple[int, int]:
    """Offset of the logger's clock from the device's, by one exchange of four timestamps.

    Args:
        exchange: (t1, t2, t3, t4): sent on the device's clock, received and answered on the logger's, back on the
            device's.

    Returns:
        tuple: (offset, error bound) in ns; the truth lies within the bound, however unequal the two ways were.
    """
    sent, received, answered, back = exchange
    return ((received - sent) + (answered - back)) // 2, ((back - sent) - (answered - received) + 1) // 2
