"""The list signed with a person's own ssh key, offline."""

import base64
import json
import shutil
import subprocess
from dataclasses import replace

import pytest

from dime.contract.errors import InputError
from dime.host.provenance import document, manifest, signature
from dime.host.provenance.evaluation import FAILS, HOLDS, OPEN
from dime.host.provenance.manifest import SIGNATURE

pytestmark = pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="needs OpenSSH")


def key(folder, name="key"):
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", folder / name], check=True)
    return folder / name


@pytest.fixture
def signed(archive, tmp_path):
    said = replace(document.read(archive), signed=True)
    said.write(archive)
    manifest.write(archive)
    signature.sign(archive, said, str(key(tmp_path)))
    return archive, said


def test_a_signature_holds_for_its_signer_alone(signed, tmp_path):
    archive, said = signed
    assert not manifest.changes(archive)
    row = signature.row(archive, said)
    assert row.verdict == OPEN and "holds for SHA256:" in row.found
    assert signature.row(archive, said, str(tmp_path / "key.pub")).verdict == HOLDS
    other = signature.row(archive, said, f"{key(tmp_path, 'other')}.pub")
    assert other.verdict == FAILS and "does not name" in other.found
    public = (tmp_path / "key.pub").read_text()
    (tmp_path / "allowed").write_text(f'ada@example.org namespaces="dime-artifact" {public}')
    assert "signed by ada@example.org, SHA256:" in signature.row(archive, said, str(tmp_path / "allowed")).found
    (tmp_path / "elsewhere").write_text(f'ada@example.org namespaces="file" {public}')
    assert signature.row(archive, said, str(tmp_path / "elsewhere")).verdict == FAILS


def test_it_is_an_in_toto_statement_in_an_envelope(signed):
    envelope = json.loads((signed[0] / SIGNATURE).read_text())
    statement = json.loads(base64.b64decode(envelope["payload"]))
    assert envelope["payloadType"] == "application/vnd.in-toto+json"
    assert statement["subject"][0]["name"] == "SHA256SUMS"
    assert signature.encoded(b"ab", "t") == b"DSSEv1 1 t 2 ab"


def test_signed_twice_it_is_the_same(signed, tmp_path):
    archive, said = signed
    before = (archive / SIGNATURE).read_bytes()
    signature.sign(archive, said, str(tmp_path / "key"))
    assert (archive / SIGNATURE).read_bytes() == before


def test_every_changed_byte_is_found(signed):
    archive, said = signed
    content = (archive / SIGNATURE).read_bytes()
    for at in range(0, len(content), 29):
        changed = bytearray(content)
        changed[at] ^= 1
        (archive / SIGNATURE).write_bytes(changed)
        assert signature.row(archive, said).verdict == FAILS, at


@pytest.mark.parametrize("damage", ["removed", "another list", "empty", "no object"])
def test_what_does_not_hold_is_told(signed, damage):
    archive, said = signed
    if damage == "removed":
        (archive / SIGNATURE).unlink()
    elif damage == "another list":
        (archive / "results/new.csv").write_text("a\n")
        manifest.write(archive)
    else:
        (archive / SIGNATURE).write_text({"empty": "", "no object": "[1]"}[damage])
    row = signature.row(archive, said)
    assert (row.verdict, row.what) == (FAILS, SIGNATURE)


def test_an_archive_that_nobody_signed_is_asked_for_no_signature(archive, tmp_path):
    said = document.read(archive)
    assert signature.row(archive, said) is None
    assert signature.row(archive, said, f"{key(tmp_path)}.pub").verdict == FAILS


def test_a_key_that_is_not_there_is_one_line(archive, tmp_path):
    said = document.read(archive)
    with pytest.raises(InputError, match=r"the key \S+nothing is not there"):
        signature.sign(archive, said, str(tmp_path / "nothing"))
    (tmp_path / "no key").write_text("x")
    with pytest.raises(InputError, match="the key does not sign"):
        signature.sign(archive, said, str(tmp_path / "no key"))
