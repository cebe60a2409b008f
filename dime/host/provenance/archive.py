"""An archive as one zip file: the same files always give the same bytes; what is read is not trusted.

Files are stored and not compressed: what a compressor makes differs between its versions, and most of the bytes are
compressed tables already.
"""

from __future__ import annotations

import lzma
import shutil
import stat
import zipfile
import zlib
from pathlib import Path, PurePosixPath
from typing import IO

from dime.contract import files
from dime.contract.errors import InputError, TableError
from dime.host.provenance.manifest import walk

MOST_FILES = 100_000
MOST_BYTES = 64 << 30
FREE_BYTES = 64 << 20  # left over on the disk
MOST_RATIO = 200  # of a file that somebody has compressed
EPOCH = (1980, 1, 1, 0, 0, 0)


def pack(root: Path, target: Path, top: str) -> None:
    """Packs a folder.

    Args:
        root: The folder.
        target: The zip, which is replaced.
        top: Name of the one folder that the zip holds.

    Raises:
        InputError: The disk would not take it.
    """
    try:
        with files.replacing(target) as part, zipfile.ZipFile(part, "w", zipfile.ZIP_STORED) as into:
            for path in walk(root):
                size = (root / path).stat().st_size
                entry = zipfile.ZipInfo(f"{top}/{path}", EPOCH)
                entry.create_system, entry.external_attr = 3, (stat.S_IFREG | 0o644) << 16
                entry.file_size = size
                with open(root / path, "rb") as source, into.open(entry, "w", force_zip64=size >= 1 << 31) as stream:
                    shutil.copyfileobj(source, stream, files.BLOCK_BYTES)
    except OSError as error:
        raise InputError(f"{target}: {error.strerror}") from None


def unpack(path: Path, into: Path) -> Path:
    """Unpacks an archive that may be anybody's.

    Args:
        path: The zip.
        into: An empty folder.

    Returns:
        The archive's folder in it.

    Raises:
        TableError: It is no archive of ours, is damaged, or holds what no archive of ours does: paths that lead
            outside, links, the same name twice, more bytes than the disk has.
    """
    try:
        if not path.is_file():
            raise TableError(f"{path}: no such file" if not path.exists() else f"{path} is no file")
        with zipfile.ZipFile(path) as source:
            entries = source.infolist()
            top = _check(entries, path, shutil.disk_usage(into).free - FREE_BYTES)
            for entry in entries:
                if not entry.is_dir():
                    target = into / entry.filename
                    target.parent.mkdir(parents=True, exist_ok=True)
                    with source.open(entry) as stream, open(target, "xb") as output:
                        _copy(stream, output, entry, path)
    except (
        zipfile.BadZipFile,
        zlib.error,
        lzma.LZMAError,
        NotImplementedError,
        EOFError,
        ValueError,
        RuntimeError,
    ) as error:
        raise TableError(f"{path} is no archive, or damaged: {' '.join(str(error).split())}") from None
    except FileExistsError:
        raise TableError(f"{path} is damaged: two files, or a file and a folder, have one name") from None
    except OSError as error:
        raise TableError(f"{path}: {error.strerror}") from None
    return into / top


def _check(entries: list[zipfile.ZipInfo], path: Path, free_bytes: int) -> str:
    """Refuses what no archive of ours holds before anything is written; gives the top folder's name."""
    if not entries:
        raise TableError(f"{path} is an empty archive")
    if len(entries) > MOST_FILES:
        raise TableError(f"{path} holds {len(entries)} files; an artifact has at most {MOST_FILES}")
    names = [entry.filename for entry in entries]
    for entry in entries:
        parts = PurePosixPath(entry.filename).parts
        kind = entry.external_attr >> 16
        if (
            "\\" in entry.filename
            or "\0" in entry.filename
            or not parts
            or ":" in parts[0]
            or PurePosixPath(entry.filename).is_absolute()
            or ".." in entry.filename.split("/")
        ):
            raise TableError(f"{path} holds {entry.filename!r}, which leads outside; nothing was unpacked")
        if stat.S_IFMT(kind) not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise TableError(f"{path} holds {entry.filename!r}, which is a link or no file; nothing was unpacked")
        if entry.flag_bits & 1:
            raise TableError(f"{path} holds {entry.filename!r}, which is encrypted; nothing was unpacked")
        if entry.file_size > MOST_RATIO * max(entry.compress_size, 1 << 10):
            raise TableError(
                f"{path} holds {entry.filename!r}, which would grow from {entry.compress_size} to {entry.file_size}"
                " bytes; nothing was unpacked"
            )
    if len({name.rstrip("/") for name in names}) < len(names):
        twice = next(name for name in names if names.count(name) > 1 or f"{name}/" in names)
        raise TableError(f"{path} holds {twice!r} twice; nothing was unpacked")
    size = sum(entry.file_size for entry in entries)
    if size > min(MOST_BYTES, free_bytes):
        raise TableError(f"{path} would take {size >> 20} MiB; there are {max(0, free_bytes) >> 20} MiB to use here")
    tops = {name.split("/")[0] for name in names}
    if len(tops) > 1 or any("/" not in name for name in names):
        raise TableError(f"{path} is no artifact: it does not hold one folder")
    return tops.pop()


def _copy(stream: IO[bytes], output: IO[bytes], entry: zipfile.ZipInfo, path: Path) -> None:
    left = entry.file_size
    while block := stream.read(files.BLOCK_BYTES):
        left -= len(block)
        if left < 0:
            raise TableError(f"{path} holds {entry.filename!r}, which is longer than it says")
        output.write(block)


def differs(path: Path, root: Path, aside: Path) -> str:
    """Where a zip is not what ``pack`` makes of the files in it: what no hash of a file sees.

    Args:
        path: The zip.
        root: What it was unpacked to.
        aside: A file to be made and removed.

    Returns:
        The file in whose entry it differs; empty where it does not.
    """
    pack(root, aside, root.name)
    try:
        at = 0
        with open(path, "rb") as one, open(aside, "rb") as other:
            while True:
                here, there = one.read(files.BLOCK_BYTES), other.read(files.BLOCK_BYTES)
                if here != there:
                    at += next((k for k, (a, b) in enumerate(zip(here, there, strict=False)) if a != b), 0)
                    return _entry_at(aside, at)
                if not here:
                    return ""
                at += len(here)
    finally:
        aside.unlink(missing_ok=True)


def _entry_at(path: Path, at: int) -> str:
    with zipfile.ZipFile(path) as source:
        before = [entry for entry in source.infolist() if entry.header_offset <= at < source.start_dir]
    return before[-1].filename.partition("/")[2] if before else "the list of contents at its end"
