"""Files from the network: what arrives stands under its name only when it is complete, and its progress is told."""

import os
from typing import TYPE_CHECKING, Callable
from urllib.request import urlopen

from dime.contract import files

if TYPE_CHECKING:
    from dime.contract.messages import Emit

PATIENCE_S = 10  # For an answer, and for each piece.
PIECE_BYTES = 1 << 20


def fetch(address: str, path: str, is_intact: Callable[[str], bool], emit: "Emit") -> None:
    """Downloads a file.

    Args:
        address: Its URL.
        path: Where it is to stand; its folder is made if need be.
        is_intact: Called with the path of what has arrived.
        emit: Called with a message's kind and fields.

    Raises:
        EnvironmentError: The network or the disk failed.
        http.client.HTTPException: The server did.
        ValueError: What has arrived is not intact.
    """
    name = os.path.basename(path)
    if not os.path.isdir(os.path.dirname(path)):
        os.makedirs(os.path.dirname(path))
    with urlopen(address, timeout=PATIENCE_S) as source, files.replacing(path) as part, open(part, "wb") as stream:
        length = source.headers.get("Content-Length")
        emit("stage", total=int(length) // PIECE_BYTES if length else None, unit="MiB", what=name)
        for number, piece in enumerate(iter(lambda: source.read(PIECE_BYTES), b""), start=1):
            stream.write(piece)
            if number % 2 == 0:
                emit("progress", done=stream.tell() // PIECE_BYTES, what=name)
        stream.flush()
        if not is_intact(part):
            raise ValueError("it arrived damaged")
