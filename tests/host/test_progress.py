"""What a person sees of a device's messages: a bar with its unit, notes above it, and the last words of a failure."""

import io
from contextlib import redirect_stderr

import pytest

from dime.contract import messages
from dime.contract.errors import DeviceError
from dime.host.progress import follow


class Terminal(io.StringIO):
    def isatty(self):
        return True


def said(*kinds):
    return [messages.encode(kind, **fields) for kind, fields in kinds]


HELLO = ("hello", {"version": "1", "device": None, "network": "alexnet", "total": 6})
DONE = ("done", {"folder": "samples/alexnet"})


def test_a_download_has_a_bar_of_its_own_before_the_run_s():
    lines = said(
        ("stage", {"total": 233, "unit": "MiB", "what": "alexnet.pth"}),
        ("progress", {"done": 100, "what": "alexnet.pth"}),
        ("note", {"text": "almost there"}),
        HELLO,
        ("progress", {"done": 6, "what": "town"}),
        DONE,
    )
    with redirect_stderr(Terminal()) as shown:
        assert follow(lines, "samples alexnet", unit="picture") == "samples/alexnet"
    text = shown.getvalue()
    assert "0/233" in text and "MiB/s" in text
    assert "samples alexnet: almost there" in text
    assert "6/6" in text and "picture/s" in text


def test_without_a_terminal_only_notes_are_written(capsys):
    assert follow(said(HELLO, ("warning", {"text": "hot"}), DONE), "edge alexnet") == "samples/alexnet"
    assert capsys.readouterr().err == "edge alexnet: warning: hot\n"


def test_a_device_that_dies_leaves_its_last_words():
    with pytest.raises(DeviceError, match=r"edge: ended without a result; last lines: two \| three \| four"):
        follow([*said(HELLO), "one", "two", "three", "", "four"], "edge")
    with pytest.raises(DeviceError, match="no network"):
        follow(said(("error", {"text": "no network"})), "edge")
