"""What a person sees of a device's messages: a bar with its unit, notes above it, and the last words of a failure."""

import io
import re
import sys
import time
from contextlib import redirect_stderr

import pytest

from dime.contract import messages
from dime.contract.errors import DeviceError
from dime.host.cli import main as cli
from dime.host.common import console, progress
from dime.host.common.progress import follow


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


HOSTILE = "a\x1b[2Jb\x9b31mc\u202ed\re\u200bf"


def test_nothing_that_a_device_says_steers_the_terminal():
    lines = said(
        ("stage", {"total": 2, "unit": HOSTILE, "what": HOSTILE}),
        ("note", {"text": HOSTILE}),
        ("warning", {"text": HOSTILE + "\ndime: all is well"}),
        ("progress", {"done": 1, "what": HOSTILE}),
        DONE,
    )
    with redirect_stderr(Terminal()) as shown_:
        follow(lines, f"nano {HOSTILE}")
    text = re.sub(r"\x1b\[A|\r", "", shown_.getvalue())  # the bar's own
    assert all(char.isprintable() for char in text.replace("\n", "")), text
    assert "a?[2Jb?31mc?d?e?f" in text
    assert "\ndime:" not in text


def test_what_commands_print_and_fail_with_is_plain(monkeypatch, capsys):
    def show(net: str) -> None:
        print(net)
        print(net, file=sys.stderr)
        raise DeviceError(net)

    monkeypatch.setitem(cli.COMMANDS, "report", show)
    assert cli.main(["report", f"--net={HOSTILE}"]) == 1
    shown_ = capsys.readouterr()
    assert shown_.out == "a?[2Jb?31mc?d?e?f\n"
    assert shown_.err == "a?[2Jb?31mc?d?e?f\ndime: a?[2Jb?31mc?d?e?f\n"


def test_where_nobody_watches_a_line_now_and_then_says_what_goes_on(monkeypatch, capsys):
    monkeypatch.setattr(progress, "LINE_S", 0.05)

    def slow():
        time.sleep(0.12)
        yield from said(HELLO, ("progress", {"done": 3, "what": "conv at 1 GHz"}))
        time.sleep(0.12)
        yield from said(DONE)

    follow(slow(), "edge alexnet")
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "edge alexnet: starting"
    assert lines[-1] == "edge alexnet: 3 of 6 bundles, conv at 1 GHz"


def test_a_bar_that_has_not_begun_counts_nothing():
    with redirect_stderr(Terminal()) as shown_, pytest.raises(DeviceError):
        follow([], "edge alexnet")
    assert "starting" in shown_.getvalue()
    assert "0bundle" not in shown_.getvalue()


def test_no_text_is_shown_without_end(capsys):
    console.tell("x" * 10**6)
    assert len(capsys.readouterr().err) < 5000
    with redirect_stderr(Terminal()) as terminal:
        follow(said(HELLO, ("progress", {"done": 1, "what": "y" * 10**6}), DONE), "edge alexnet")
    assert len(terminal.getvalue()) < 20_000
