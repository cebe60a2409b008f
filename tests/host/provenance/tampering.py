"""Single changes to an archive, drawn by a seed: a bit, a digit, a row, an order, a name, a file."""

import filecmp
import random
import shutil
from pathlib import Path

KINDS = ("bit", "digit", "row", "order", "name", "removed", "added", "exchanged", "cut", "longer")
TABLES = (".csv", ".json", ".toml", ".md", "")


def tamper(root: Path, seed: int) -> tuple[str, set[str]]:
    """Changes one thing.

    Returns:
        What was done, and the paths of which at least one must be named.
    """
    draw = random.Random(seed)
    kind = KINDS[seed % len(KINDS)]
    paths = sorted(path for path in root.rglob("*") if path.is_file() and path.stat().st_size)
    by_kind = {}
    for path in paths:
        by_kind.setdefault(path.suffix, []).append(path)
    path = draw.choice(by_kind[draw.choice(sorted(by_kind))])
    if kind in ("digit", "row", "order"):
        path = draw.choice([one for one in paths if one.suffix in TABLES and _lines(one) > 2])
    name = path.relative_to(root).as_posix()
    content = path.read_bytes()
    return kind, _DO[kind](root, path, name, content, draw)


def _lines(path: Path) -> int:
    return path.read_bytes().count(b"\n")


def _bit(root, path, name, content, draw):
    at = draw.randrange(len(content))
    changed = bytearray(content)
    changed[at] ^= 1 << draw.randrange(8)
    path.write_bytes(changed)
    return {name}


def _digit(root, path, name, content, draw):
    places = [at for at, byte in enumerate(content) if byte in b"0123456789"]
    changed = bytearray(content)
    at = draw.choice(places)
    changed[at] = draw.choice([byte for byte in b"0123456789" if byte != content[at]])
    path.write_bytes(changed)
    return {name}


def _row(root, path, name, content, draw):
    lines = content.splitlines(keepends=True)
    del lines[draw.randrange(len(lines))]
    path.write_bytes(b"".join(lines))
    return {name}


def _order(root, path, name, content, draw):
    lines = content.splitlines(keepends=True)
    one, other = draw.choice([(a, b) for a in range(len(lines)) for b in range(a) if lines[a] != lines[b]])
    lines[one], lines[other] = lines[other], lines[one]
    path.write_bytes(b"".join(lines))
    return {name}


def _name(root, path, name, content, draw):
    path.rename(path.with_name(path.name + "x"))
    return {name}


def _removed(root, path, name, content, draw):
    path.unlink()
    return {name}


def _added(root, path, name, content, draw):
    path.with_name("another.csv").write_bytes(b"a,b\n1,2\n")
    return {path.with_name("another.csv").relative_to(root).as_posix()}


def _exchanged(root, path, name, content, draw):
    others = [one for one in root.rglob(f"*{path.suffix}") if one.is_file() and one.read_bytes() != content]
    if not others:
        return _removed(root, path, name, content, draw)
    other = draw.choice(sorted(others))
    path.write_bytes(other.read_bytes())
    other.write_bytes(content)
    return {name}


def _cut(root, path, name, content, draw):
    path.write_bytes(content[: draw.randrange(len(content))])
    return {name}


def _longer(root, path, name, content, draw):
    path.write_bytes(content + draw.choice([b"\n", b" ", b"\0", b"0"]))
    return {name}


_DO = {kind: globals()[f"_{kind}"] for kind in KINDS}


def restore(root: Path, whole: Path) -> None:
    """Makes an archive's folder what it was, file by file."""
    for path in root.rglob("*"):
        if path.is_file() and not (whole / path.relative_to(root)).exists():
            path.unlink()
    for path in whole.rglob("*"):
        target = root / path.relative_to(whole)
        if path.is_file() and not (target.exists() and filecmp.cmp(path, target)):  # by size and time, which are copied
            shutil.copy2(path, target)
