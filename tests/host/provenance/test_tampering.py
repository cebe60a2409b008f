"""Whatever is changed in an archive is found, and the file is named."""

import random

import pytest

from dime.contract.errors import TableError
from dime.host.provenance import manifest
from dime.host.provenance.archive import unpack
from dime.host.provenance.check import intact
from dime.host.provenance.evaluation import FAILS
from tests.host.provenance.tampering import KINDS, restore, tamper


def assert_found(archive, whole, seed):
    kind, names = tamper(archive, seed)
    found = manifest.changes(archive)
    assert names & {one.path for one in found}, (seed, kind, names, found)
    assert all(one.expected != one.found for one in found)
    restore(archive, whole)
    return kind


def test_each_kind_of_change_is_found_and_named(archive, place):
    assert not manifest.changes(archive)
    for seed in range(5 * len(KINDS)):
        assert_found(archive, place / "artifact", seed)
    assert not manifest.changes(archive)


def flipped(zipped, into, at, bit):
    content = bytearray(zipped.read_bytes())
    content[at] ^= 1 << bit
    path = into / "flipped.zip"
    path.write_bytes(content)
    return path


def is_found(path, into):
    for name in ("files", "work"):
        (into / name).mkdir(parents=True)
    try:
        rows = list(intact(unpack(path, into / "files"), path, into / "work"))
    except TableError as error:
        assert "\n" not in str(error)
        return True
    return any(row.verdict == FAILS for row in rows)


@pytest.mark.parametrize("where", ["front", "middle", "end"])
def test_a_bit_of_the_zip_itself_is_found(zipped, tmp_path, where):
    size = zipped.stat().st_size
    low, high = {"front": (0, 3000), "middle": (3000, size - 12000), "end": (size - 12000, size)}[where]
    draw = random.Random(where)
    for number in range(12):
        at = draw.randrange(low, high)
        assert is_found(flipped(zipped, tmp_path, at, number % 8), tmp_path / str(number)), at


def test_the_zip_as_it_was_made_is_intact(zipped, tmp_path):
    assert not is_found(zipped, tmp_path)
