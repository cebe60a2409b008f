"""A file is whole or not there, and one module sees to it."""

import ast
import errno
import hashlib
import os

import pytest

import dime
from dime.contract import files

ROOT = os.path.dirname(dime.__file__)
OWN = os.path.join("contract", "files.py")
# They rename containers.
OTHER_RENAMES = (os.path.join("host", "bench", "engines", "docker.py"), os.path.join("host", "bench", "lock.py"))


def content(path):
    with open(str(path), "rb") as stream:
        return stream.read()


def names(folder):
    return sorted(os.listdir(str(folder)))


def full(*_):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_new_file_overwrites_nothing(tmp_path):
    path = str(tmp_path / "a")
    files.new(path, b"first")
    with pytest.raises(FileExistsError):
        files.new(path, b"second")
    assert content(path) == b"first"


def test_no_link_is_followed(tmp_path):
    (tmp_path / "target").write_bytes(b"precious")
    for name in ("new", "replaced", "replaced.part"):
        (tmp_path / name).symlink_to(tmp_path / "target")
    with pytest.raises(FileExistsError):
        files.new(str(tmp_path / "new"), b"other")
    files.replace(str(tmp_path / "replaced"), b"other")
    assert content(tmp_path / "target") == b"precious" and content(tmp_path / "replaced") == b"other"


def test_a_file_is_replaced_whole(tmp_path):
    path = str(tmp_path / "a")
    (tmp_path / "a.part").write_bytes(b"left by one that was killed")
    for text in (b"first", b"second"):
        files.replace(path, text)
        assert content(path) == text and names(tmp_path) == ["a"]


def test_what_a_disk_does_not_take_leaves_what_was_there(tmp_path, monkeypatch):
    path = str(tmp_path / "a")
    files.replace(path, b"first")
    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(OSError):
        files.replace(path, b"second")
    assert content(path) == b"first" and names(tmp_path) == ["a"]


def test_a_block_that_fails_replaces_nothing(tmp_path):
    path = str(tmp_path / "a")
    files.replace(path, b"first")
    with pytest.raises(ValueError), files.replacing(path) as part:
        files.new(part, b"half")
        raise ValueError
    assert content(path) == b"first" and names(tmp_path) == ["a"]


def test_a_folder_appears_when_it_is_filled(tmp_path):
    target = str(tmp_path / "made")
    (tmp_path / "made.part").mkdir()
    (tmp_path / "made.part" / "old").write_text("half")
    with files.making(target) as part:
        assert names(part) == [] and not os.path.exists(target)
        files.new(os.path.join(part, "a"), b"a")
    assert names(target) == ["a"] and names(tmp_path) == ["made"]
    with pytest.raises(OSError), files.making(target) as part:
        files.new(os.path.join(part, "b"), b"b")
    assert names(target) == ["a"] and names(tmp_path) == ["made"]


def test_a_hash_is_that_of_the_content(tmp_path):
    text = b"0123456789" * 300000
    files.new(str(tmp_path / "a"), text)
    assert files.digest(str(tmp_path / "a")) == hashlib.sha256(text).hexdigest()
    assert files.digest(str(tmp_path / "a"), "md5") == hashlib.md5(text).hexdigest()


def hand_made(source, renames_containers=False):
    """Lines of a module that put files into their place by themselves."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            where = node.func.value.id if isinstance(node.func.value, ast.Name) else None
            name, count = node.func.attr, len(node.args)
            if (where, name) in {("os", "rename"), ("os", "replace"), ("os", "renames"), ("shutil", "move")}:
                yield node.lineno
            elif where not in {"files", "dataclasses"} and name == "replace" and count == 1 and not node.keywords:
                yield node.lineno  # a path's; a text's takes two
            elif name == "rename" and count == 1 and not renames_containers:
                yield node.lineno
        elif isinstance(node, ast.ImportFrom) and node.module in ("os", "shutil"):
            if any(alias.name in ("rename", "replace", "move") for alias in node.names):
                yield node.lineno
        else:
            text = getattr(node, "value", getattr(node, "s", None))  # of a text, which is a Constant since Python 3.8
            if isinstance(text, str) and text.endswith((".part", ".tmp")):
                yield node.lineno


def test_no_other_module_puts_files_into_their_place():
    found = []
    for folder, _, inside in os.walk(ROOT):
        for name in inside:
            path = os.path.join(folder, name)
            shown = os.path.relpath(path, ROOT)
            if name.endswith(".py") and shown != OWN:
                with open(path, encoding="utf-8") as stream:
                    try:
                        lines = list(hand_made(stream.read(), shown in OTHER_RENAMES))
                    except SyntaxError:
                        pytest.skip("this Python is older than the host side's language")
                found += ["{}:{}".format(shown, line) for line in lines]
    assert found == []


@pytest.mark.parametrize(
    "line",
    [
        "os.replace(a, b)",
        "os.rename(a, b)",
        "shutil.move(a, b)",
        "from os import replace",
        "aside.rename(path)",
        "new.replace(path)",
        "open(path + '.part', 'w')",
    ],
)
def test_the_walk_finds_what_is_made_by_hand(line):
    assert list(hand_made(line)) == [1]


def test_the_walk_passes_texts_and_records():
    assert not list(hand_made("a.replace('b', 'c')\nspec._replace(a=1)\nfiles.replace(path, text)\nfiles.move(a, b)"))
