"""A progress bar whose texts are plain."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

from tqdm import tqdm

from dime.host.common.console import line, raw_errors

if TYPE_CHECKING:
    from typing_extensions import Unpack


class _BarOptions(TypedDict, total=False):
    """What tqdm is told of a bar."""

    total: int
    unit: str
    bar_format: str
    leave: bool


class Bar(tqdm):  # type: ignore[type-arg]
    """A progress bar on standard error, only where that is a terminal; all that it shows is plain."""

    def __init__(self, desc: str = "", **options: Unpack[_BarOptions]):
        super().__init__(desc=line(desc), file=raw_errors(), mininterval=0.2, disable=None, **options)
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
