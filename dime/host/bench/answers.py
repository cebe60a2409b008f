"""What an engine says of a container of ours: it is not trusted, so it is checked, made plain and bounded here.

Nothing that a device says decides where a file goes, fills this computer's disk or memory, or ends in a traceback.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from dime.contract import messages
from dime.contract.errors import DeviceError, InputError
from dime.contract.run import parse_name
from dime.host.bench.lab import LabDevice
from dime.host.bench.session.state import State
from dime.host.common.units import plain

if TYPE_CHECKING:
    import docker
    import requests
    from docker.models.containers import Container

BLOCK = 1 << 20
LABEL_CHARACTERS = 100
LINE_BYTES = 16_384  # an engine splits longer ones itself
LOG_BYTES = 64 << 20  # twice what it is told to keep
RUN_BYTES = 4 << 30  # of a run's folder
ROOM_PART = 3  # an archive and what is unpacked from it leave as much of the disk free again
WORDS, ERROR_WORDS = 500, 2000  # characters of a message's text
LARGEST_NUMBER = 1e18
NOTES = 500  # that are shown of one run
KEY = re.compile(r"[0-9a-f]{12}\Z")
STAMP = re.compile(r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?Z\Z", re.ASCII)


def _labelled(container: Container, name: str) -> str:
    """A label as it is; empty if there is none, or something else than a text."""
    config = container.attrs.get("Config")
    labels = config.get("Labels") if isinstance(config, dict) else None
    text = labels.get(name) if isinstance(labels, dict) else None
    return text if isinstance(text, str) else ""


def label(container: Container, name: str, otherwise: str = "") -> str:
    """A label to be shown: one plain line of bounded length."""
    return plain(_labelled(container, name)[:LABEL_CHARACTERS]) or otherwise


def key(container: Container) -> str:
    """The key by which a run is found again; it names its volume.

    Raises:
        DeviceError: The label is no key.
    """
    text = _labelled(container, "dime.key")
    if not KEY.match(text):
        shown = label(container, "dime.key")
        raise DeviceError(
            f"its container {plain(container.short_id)} is labelled with '{shown}', which is no run's key"
        )
    return text


def folder(container: Container, device: LabDevice) -> Path:
    """Where a run's results belong below the folder of results: DEVICE/NETWORK, two plain names.

    Raises:
        DeviceError: The label says something else; the first name must be this device's.
    """
    text = _labelled(container, "dime.folder")
    first, _, network = text.partition("/")
    try:
        if re.fullmatch(rf"{re.escape(device.name)}(-[0-9]{{1,4}}threads)?", first, re.ASCII):
            return Path(first, parse_name(network))
    except InputError:
        pass
    shown = label(container, "dime.folder")
    raise DeviceError(
        f"its container {plain(container.short_id)} asks for the folder '{shown}', which is not {device.name}/NETWORK; "
        f"refused. make clean-device DEVICE={device.name} removes it"
    )


def state(container: Container) -> State:
    """How a container was when it was last asked.

    Raises:
        DeviceError: The engine's answer makes no sense.
    """
    said = container.attrs.get("State")
    found = said if isinstance(said, dict) else {}
    status, code, started = found.get("Status"), found.get("ExitCode", 0), found.get("StartedAt", "")
    if not isinstance(status, str) or type(code) is not int or not isinstance(started, str):
        raise DeviceError("the engine's answer about a container makes no sense")
    return State(plain(status[:LABEL_CHARACTERS]), code, found.get("OOMKilled") is True, started[:LABEL_CHARACTERS])


def privileged(container: Container) -> bool:
    """Whether it may change the board's clocks."""
    config = container.attrs.get("HostConfig")
    return isinstance(config, dict) and config.get("Privileged") is True


def room(folder: Path) -> tuple[int, str]:
    """The most bytes that a run may have on the disk of a folder, and why."""
    there = shutil.disk_usage(folder).free // ROOM_PART
    if there < RUN_BYTES:
        return there, f"the {there / 1e6:.3g} MB that this computer's disk has room for; they are still on the device"
    return RUN_BYTES, f"the {RUN_BYTES / 1e6:.0f} MB that a run may have; refused"


def archive(container: Container, path: str, most: int, why: str) -> Iterator[bytes]:
    """The blocks of an archive of a container's folder or file.

    Args:
        container: A container, running or not.
        path: The folder or the file in it.
        most: The most bytes to take.
        why: What this is, for the message.

    Raises:
        DeviceError: There are more of them.
    """
    return _bounded(container, "archive", {"path": path}, most, f"the contents of {path} there are over {why}")


def lines(container: Container, tail: int | None = None) -> list[tuple[str, str]]:
    """Lines of a container's log, each with the engine's time stamp; one that is not yet at its end is left out.

    Args:
        container: A container.
        tail: How many of the last; None for all.

    Raises:
        DeviceError: It is longer than it may be.
    """
    last = "all" if tail is None else tail
    parameters: dict[str, str | int] = {"stdout": 1, "stderr": 1, "timestamps": 1, "tail": last}
    complete = _log(container, parameters).rpartition(b"\n")[0]
    pairs = (line[:LINE_BYTES].partition(b" ") for line in complete.split(b"\n") if line)
    return [(stamp.decode(errors="replace"), line.decode(errors="replace")) for stamp, _, line in pairs]


def output(container: Container, errors: bool = False) -> list[str]:
    """What a short-lived container of ours printed, by lines.

    Args:
        container: A container.
        errors: Whether its standard error counts too.

    Raises:
        DeviceError: It is longer than it may be.
    """
    text = _log(container, {"stdout": 1, "stderr": int(errors), "tail": "all"})
    return [line[:LINE_BYTES].decode(errors="replace") for line in text.split(b"\n") if line]


class Facts(NamedTuple):
    """The fields of an object that were asked for, checked."""

    numbers: dict[str, float]
    texts: dict[str, str]


def facts(said: object, numbers: Mapping[str, float | None], texts: Sequence[str]) -> Facts | None:
    """An object's fields, checked.

    Args:
        said: The object, or its text as JSON.
        numbers: Names of finite numbers, each with what it is where it is missing; None for one that is needed.
        texts: Names of texts, which are cut; empty where they are missing.

    Returns:
        The fields, or None if the object is none, or lacks a number, or has something else in a field.
    """
    if isinstance(said, str):
        try:
            said = json.loads(said)
        except (ValueError, RecursionError):
            return None
    if not isinstance(said, dict):
        return None
    found = Facts({}, {})
    for name, otherwise in numbers.items():
        value = said.get(name, otherwise)
        if value is None or type(value) not in (int, float) or not abs(value) < LARGEST_NUMBER:
            return None
        found.numbers[name] = value
    for name in texts:
        text = said.get(name) or ""
        if not isinstance(text, str):
            return None
        found.texts[name] = text[:WORDS]
    return found


class EarlierImageError(DeviceError):
    """The image's device side is of an earlier version and lacks a verb."""


def described(lines: Sequence[str], verb: str) -> object:
    """The facts of the description that a verb of the device side printed; None if it printed none.

    Args:
        lines: What it printed.
        verb: The verb.

    Raises:
        EarlierImageError: There is no such verb in the image.
    """
    facts: dict[str, object] | None = None
    trouble = ""
    for message in map(messages.decode, lines):
        if message and message["kind"] == "description":
            facts = message["facts"]
        elif message and message["kind"] == "error":
            trouble = str(message["text"])[:ERROR_WORDS]
    if facts is not None:
        return facts
    if re.search(rf"invalid choice: '{verb}'", trouble):
        raise EarlierImageError(
            f"its image is of an earlier version, which has no '{verb}'; type: make build; where it comes "
            "from a registry, make push"
        )
    return None


def words(lines: Sequence[str]) -> str:
    """The last of what a container printed, as part of a line."""
    return " | ".join(line[:WORDS] for line in lines[-2:])


def _log(container: Container, parameters: Mapping[str, str | int]) -> bytes:
    """A log without its frames: eight bytes before each piece, of which the last four are its length."""
    raw = b"".join(
        _bounded(container, "logs", parameters, LOG_BYTES, f"its log is over {LOG_BYTES >> 20} MiB; refused")
    )
    pieces, place = [], 0
    while place + 8 <= len(raw):
        length = int.from_bytes(raw[place + 4 : place + 8], "big")
        pieces.append(raw[place + 8 : place + 8 + length])
        place += 8 + length
    return b"".join(pieces)


def stream(
    api: docker.APIClient, path: str, name: str | None, parameters: Mapping[str, str | int]
) -> requests.Response:
    """An engine's answer that comes in blocks; the SDK's own way waits without end and takes whatever comes.

    Args:
        api: The engine's client.
        path: The question, with ``{0}`` for the name.
        name: Of what it asks.
        parameters: Of the question.

    Raises:
        docker.errors.APIError: The engine refuses.
    """
    own: Any = api  # Any: its types leave out what begins with an underscore
    answer: requests.Response = own._get(own._url(path, name), params=parameters, stream=True)
    own._raise_for_status(answer)
    return answer


def _bounded(
    container: Container, what: str, parameters: Mapping[str, str | int], most: int, over: str
) -> Iterator[bytes]:
    """An answer's blocks, up to a number of bytes."""
    assert container.client is not None
    answer = stream(container.client.api, "/containers/{0}/" + what, container.id, parameters)
    received = 0
    with closing(answer):
        for block in answer.iter_content(BLOCK):
            received += len(block)
            if received > most:
                raise DeviceError(over)
            yield block


def moment_ns(stamp: str) -> int:
    """Nanoseconds since 1970 of an engine's time stamp; 0 for what is none."""
    import calendar

    found = STAMP.match(stamp)
    if not found:
        return 0
    return calendar.timegm((*(int(part) for part in found.groups()[:6]), 0, 0, 0)) * 10**9 + int(
        (found[7] or "").ljust(9, "0")
    )


class Messages:
    """A run's messages with texts of bounded length; of notes and warnings only so many."""

    def __init__(self) -> None:
        self._notes = 0

    def take(self, line: str) -> tuple[messages.Message | None, str]:
        """Reads a line of the log.

        Returns:
            The message, or None for any other line; and the line as it may be shown, empty for one too many.
        """
        message = messages.decode(line)
        if message is None:
            return None, line[:WORDS]
        most = ERROR_WORDS if message["kind"] == "error" else WORDS
        if message["kind"] == "note" or message["kind"] == "warning":
            self._notes += 1
            if self._notes > NOTES:
                return message, ""
            if self._notes == NOTES:
                message["text"] = "says very much: no more notes of its are shown"
        fields = {
            name: value[:most] if isinstance(value, str) else value
            for name, value in message.items()
            if name not in ("kind", "facts")
        }
        if message["kind"] == "description":
            fields["facts"] = {}
        return message, messages.encode(message["kind"], **fields)


class Place:
    """How far a container's log has been read: by its last lines, since a board's clock may be set back.

    Of a log that was cut at its beginning meanwhile, what is left counts as new if none of these lines is in it.
    """

    KNOWN = 4  # with their time stamps; that the same come again in a row is as good as impossible
    FIRST_TAIL = 16

    def __init__(self) -> None:
        self._known: list[tuple[str, str]] = []
        self._tail = self.FIRST_TAIL

    def to_the_end(self, container: Container) -> None:
        """Passes over everything that is there."""
        self._known = lines(container, self.KNOWN)

    def to_the_start(self, container: Container) -> None:
        """Passes over what was said before the container was last started: before the line soonest after that."""
        every, started = lines(container), moment_ns(state(container).started)
        moments = [moment_ns(stamp) for stamp, _ in every]
        after = [number for number, moment in enumerate(moments) if moment >= started]
        first = min(after, key=lambda number: moments[number], default=len(every))
        self._known = every[max(0, first - self.KNOWN) : first]

    def new(self, container: Container) -> list[str]:
        """The lines that have come since."""
        tail: int | None = self._tail if self._known else None
        while True:
            found = lines(container, tail)
            whole = tail is None or len(found) < tail
            after = self._after(found, whole)
            if after is not None:
                break
            tail = tail * 8 if tail is not None and tail * 8 < 10**5 else None
        new = found[after:]
        self._known = (self._known + new)[-self.KNOWN :]
        self._tail = max(self.FIRST_TAIL, 2 * len(new) + self.KNOWN)
        return [line for _, line in new]

    def _after(self, found: list[tuple[str, str]], whole: bool) -> int | None:
        """Where the new lines begin; None if that cannot be told from a log's end."""
        size = len(self._known)
        for end in range(len(found), size - 1, -1) if size else ():
            if found[end - size : end] == self._known:
                return end
        if not whole:
            return None
        return next((part for part in range(size, 0, -1) if found[:part] == self._known[size - part :]), 0)
