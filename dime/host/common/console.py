"""The edge where text reaches a person's terminal: what others wrote must not steer it.

A device's notes, labels, log names and files are not trusted. While a command runs, standard output and standard error
pass every character through `units.plain`; only `Bar` and `live` move the cursor, with plain texts in between.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TextIO, TypedDict

from tqdm import tqdm

from dime.host.common.units import plain

if TYPE_CHECKING:
    from typing_extensions import Unpack

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
    stream = _raw_errors()
    stream.write(f"\r\x1b[K{line(text)}{end}")
    stream.flush()


def _raw_errors() -> TextIO:
    return sys.stderr.raw if isinstance(sys.stderr, _Plain) else sys.stderr


class _BarOptions(TypedDict, total=False):
    """What tqdm is told of a bar."""

    total: int
    unit: str
    bar_format: str
    leave: bool


class Bar(tqdm):  # type: ignore[type-arg]
    """A progress bar on standard error, only where that is a terminal; all that it shows is plain."""

    def __init__(self, desc: str = "", **options: Unpack[_BarOptions]):
        super().__init__(desc=line(desc), file=_raw_errors(), mininterval=0.2, disable=None, **options)
        self.unit = line(options.get("unit", "step"))  # tqdm has none where it shows nothing
        self.state = "starting"

    def begin(self, total: object, unit: str) -> None:
        """Starts to count, up to a total if that is known."""
        self.reset()
        self.bar_format = None
        self.total, self.unit = (total if isinstance(total, int) else None), line(unit)
        self.state = "0" + (f" of {self.total}" if self.total else "") + f" {self.unit}s"
        self.refresh()

    def reach(self, done: object, what: object) -> None:
        """Shows how many steps are done, and what is being worked on."""
        count = done if isinstance(done, int) else 0
        self.set_postfix_str(line(what), refresh=False)
        self.state = f"{count}" + (f" of {self.total}" if self.total else "") + f" {self.unit}s, {line(what)}"
        self.update(count - self.n)
        if self.disable:  # tqdm counts only what it shows
            self.n = count

    def say(self, text: str) -> None:
        """Shows one text in place of a bar."""
        self.set_description_str(line(text))


def tell(text: object) -> None:
    """Says one line above the bars."""
    tqdm.write(line(text), file=_raw_errors())
