"""Options: fields of frozen dataclasses, each with its default and the sentence that explains it.

A command's signature, its help and what make passes on are all read from them, so that an option is written once.
"""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any, TypeAlias

# Numbers that may be typed with their unit; a bare one is in this.
Seconds: TypeAlias = Annotated[float, "s"]
Joules: TypeAlias = Annotated[float, "J"]
Watts: TypeAlias = Annotated[float, "W"]
Bytes: TypeAlias = Annotated[int, "B"]
Share: TypeAlias = Annotated[float, "%"]


def option(help: str, default: object = dataclasses.MISSING) -> Any:  # Any: what a field's own annotation says it is
    """A field of an options' class.

    Args:
        help: What it does, as `--help` tells it.
        default: Its value where it was not given; without one it must be.
    """
    return dataclasses.field(default=default, metadata={"help": help})
