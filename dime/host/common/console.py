"""The edge where text reaches a person's terminal: what others wrote must not steer it.

A device's notes, labels, log names and files are not trusted. While a command runs, standard output and standard error
pass every character through `units.plain`; only `bars.Bar` and `live` move the cursor, with plain texts in between.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

from dime.host.common.units import plain

LINE_CHARACTERS = 4000


class _Plain:
    """A text stream on which control and format characters, but for ends of lines and tabs, come out as ``?``."""

    def __init__(self, stream: TextIO):
        self.raw = stream

    def write(self, text: str) -> int:
        self.raw.write("".join(char if char in "\n\t" else plain(char) for char in text))
        return len(text)

    def writelines(self, lines: list[str]) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:  # Any: whatever the stream has of that name
        return getattr(self.raw, name)


@contextmanager
def plainly() -> Iterator[None]:
    """Makes standard output and standard error plain for a while."""
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (_Plain(stream) if stream else stream for stream in before)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


def line(text: object) -> str:
    """A text as one plain line of bounded length, whatever it holds: an engine's words may have no end."""
    words = str(text)
    if len(words) > LINE_CHARACTERS:
        words = f"{words[:LINE_CHARACTERS]} ... and {len(words) - LINE_CHARACTERS} characters more"
    return plain(" ".join(words.split("\n")))


def live(text: str, end: str = "") -> None:
    """Rewrites the last line of standard error, which must be a terminal; its text is made plain."""
    stream = raw_errors()
    stream.write(f"\r\x1b[K{line(text)}{end}")
    stream.flush()


def raw_errors() -> TextIO:
    """Standard error as it is, for what moves the cursor."""
    return sys.stderr.raw if isinstance(sys.stderr, _Plain) else sys.stderr


def tell(text: object) -> None:
    """Says one line above the bars."""
    from tqdm import tqdm

    tqdm.write(line(text), file=raw_errors())
