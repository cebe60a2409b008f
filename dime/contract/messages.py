"""Messages from the device to the host: one JSON object a line on standard output, each with its kind.

| kind | fields | meaning |
|---|---|---|
| hello | version, device, network, total | the run has started; ``total`` steps of progress lie ahead |
| stage | total, unit, what | before that, something else is to be waited for: ``total`` steps of ``unit``, or None |
| note | text | one line for the person watching |
| warning | text | the same, and it may change how far the result can be trusted |
| progress | done, what | ``done`` of ``total`` steps are finished; ``what`` is being worked on |
| description | facts | what the device says of itself: an object |
| done | folder | the run is complete and its files are in ``folder`` |
| error | text | the run has failed for a reason the person can mend |
"""

import json
import sys
from typing import TYPE_CHECKING, Callable, Dict, Optional, Tuple, Union, cast

if TYPE_CHECKING:
    from typing import Literal, TypedDict  # novm

    Hello = TypedDict(
        "Hello",
        {
            "kind": Literal["hello"],
            "version": Optional[str],
            "device": Optional[str],
            "network": Optional[str],
            "total": Optional[int],
        },
    )
    Stage = TypedDict("Stage", {"kind": Literal["stage"], "total": Optional[int], "unit": str, "what": str})
    Text = TypedDict("Text", {"kind": Literal["note", "warning", "error"], "text": str})
    Progress = TypedDict("Progress", {"kind": Literal["progress"], "done": int, "what": str})
    Description = TypedDict("Description", {"kind": Literal["description"], "facts": Dict[str, object]})
    Done = TypedDict("Done", {"kind": Literal["done"], "folder": str})
    Message = Union[Hello, Stage, Text, Progress, Description, Done]

Emit = Callable[..., None]
"""What is called with a message's kind and fields, as `encode` takes them."""

KINDS: Dict[str, Tuple[str, ...]] = {
    "hello": ("version", "device", "network", "total"),
    "stage": ("total", "unit", "what"),
    "note": ("text",),
    "warning": ("text",),
    "progress": ("done", "what"),
    "description": ("facts",),
    "done": ("folder",),
    "error": ("text",),
}
LARGEST = 2**53 - 1
TEXTS = ("unit", "what", "text", "folder")
NAMES = ("version", "device", "network")
COUNTS = ("done",)


def encode(kind: str, **fields: object) -> str:
    """Encodes one message.

    Args:
        kind: One of KINDS.
        **fields: Exactly the fields of that kind.

    Returns:
        str: A line of JSON without its newline.
    """
    if kind not in KINDS or set(fields) != set(KINDS[kind]):
        raise ValueError("no such message: {} {}".format(kind, sorted(fields)))
    return json.dumps(dict(fields, kind=kind), sort_keys=True)


def decode(line: str) -> "Optional[Message]":
    """Decodes one line of a device's output.

    Args:
        line: Text; anything may stand there, since libraries print too.

    Returns:
        dict: The message with its ``kind``, or None if the line is not a message: a field is missing, too many, or
            of another kind than it is sent with.
    """
    try:
        message = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(message, dict):
        return None
    kind = message.get("kind")
    if not isinstance(kind, str) or set(message) - {"kind"} != set(KINDS.get(kind, ("",))):
        return None
    return cast("Message", message) if all(_fits(name, message[name]) for name in KINDS[kind]) else None


def _fits(name: str, value: object) -> bool:
    """Whether a field's value is of its kind: nobody has to look again."""
    if name in TEXTS:
        return isinstance(value, str)
    if name in NAMES:
        return value is None or isinstance(value, str)
    if name == "facts":
        return isinstance(value, dict)
    if name in COUNTS or (name == "total" and value is not None):
        return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= LARGEST
    return True


def send(kind: str, **fields: object) -> None:
    """Writes one message to standard output at once."""
    sys.stdout.write(encode(kind, **fields) + "\n")
    sys.stdout.flush()
