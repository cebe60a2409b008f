"""Asks a power logger whether it serves, for health checks: ``python -m dime.host.metering.alive PORT``."""

from __future__ import annotations

import socket
import sys

from dime.contract import power_protocol as protocol

PATIENCE_S = 5.0
ANSWERS = ("hello,", f"{protocol.CHALLENGE},", protocol.REFUSED)


def asks(port: int, address: str = "127.0.0.1") -> str:
    """Greets a logger as a device would.

    Args:
        port: Its port.
        address: Its address.

    Returns:
        Its answer's first word; empty where nobody answers as a logger does.
    """
    try:
        with socket.create_connection((address, port), PATIENCE_S) as connection:
            connection.settimeout(PATIENCE_S)
            connection.sendall(f"hello,{protocol.VERSION}\n".encode())
            answer = connection.makefile(encoding=protocol.ENCODING, errors="replace").readline(
                protocol.MAX_MESSAGE_BYTES
            )
    except OSError:
        return ""
    return answer.partition(",")[0].strip() if answer.startswith(ANSWERS) else ""


if __name__ == "__main__":
    said = asks(int(sys.argv[1]))
    print(said or "no answer")
    sys.exit(not said)
