"""A signature under an archive's list: an in-toto statement in a DSSE envelope, signed by a person's own ssh key.

``ssh-keygen -Y`` does the signing and the verifying, offline.
"""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from dime.contract import files
from dime.contract.errors import InputError, TableError
from dime.host.provenance.document import Artifact
from dime.host.provenance.evaluation import FAILS, HOLDS, OPEN, Row
from dime.host.provenance.manifest import LIST, SIGNATURE

NAMESPACE = "dime-artifact"
STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATE = "urn:dime:artifact:1"
PAYLOAD = "application/vnd.in-toto+json"
ARMOUR = re.compile(r"-----BEGIN SSH SIGNATURE-----\n[A-Za-z0-9+/=\n]+-----END SSH SIGNATURE-----\n?")
LARGEST = 1 << 20
SECONDS = 60.0


def encoded(payload: bytes, kind: str = PAYLOAD) -> bytes:
    """What a DSSE envelope signs: the type and the payload, each with its length."""
    return b"DSSEv1 %d %s %d %s" % (len(kind.encode()), kind.encode(), len(payload), payload)


def sign(root: Path, said: Artifact, key: str) -> None:
    """Signs an archive's list.

    Args:
        root: The archive, with its list.
        said: What it is.
        key: A private ssh key, or a public one whose private key an agent holds.

    Raises:
        InputError: There is no such key, or it does not sign.
    """
    if not Path(key).expanduser().is_file():
        raise InputError(f"the key {key} is not there")
    statement = {
        "_type": STATEMENT,
        "subject": [{"name": LIST, "digest": {"sha256": files.digest(root / LIST)}}],
        "predicateType": PREDICATE,
        "predicate": {"title": said.title, "authors": list(said.authors), "revision": said.revision},
    }
    payload = json.dumps(statement, separators=(",", ":"), sort_keys=True).encode()
    with tempfile.TemporaryDirectory(prefix="dime-sign-") as place:
        message = Path(place) / "message"
        message.write_bytes(encoded(payload))
        _keygen(["sign", "-f", str(Path(key).expanduser()), "-n", NAMESPACE, str(message)])
        armoured = message.with_name("message.sig").read_text()
        status, told = _ask(["check-novalidate", "-n", NAMESPACE, "-s", f"{message}.sig"], message)
    fingerprint = re.search(r"SHA256:\S+", told)
    if status or fingerprint is None:
        raise InputError(f"the key {key} gave no signature that holds: {told}")
    envelope = {
        "payloadType": PAYLOAD,
        "payload": base64.b64encode(payload).decode(),
        "signatures": [{"keyid": fingerprint[0], "sig": base64.b64encode(armoured.encode()).decode()}],
    }
    files.replace(root / SIGNATURE, files.as_json(envelope))


def row(root: Path, said: Artifact, signer: str = "") -> Row | None:
    """Verifies an archive's signature.

    Args:
        root: The archive.
        said: What it says of itself.
        signer: A public key, a file of allowed signers as ssh has them, or empty: then only that the signature is one.

    Returns:
        What was found; None where it is not signed and nobody asked.
    """
    path = root / SIGNATURE
    if not path.exists() and not said.signed and not signer:
        return None
    expected = f"signed by {signer}" if signer else "a signature of the list"
    try:
        found = _verify(root, path, signer)
    except (TableError, InputError) as error:
        return Row("intact", SIGNATURE, expected, str(error), FAILS)
    if signer:
        return Row("intact", SIGNATURE, expected, f"signed by {found}", HOLDS)
    return Row("intact", SIGNATURE, expected, f"holds for {found}; whose that is, SIGNER=FILE says", OPEN)


def _verify(root: Path, path: Path, signer: str) -> str:
    try:
        with open(path, encoding="utf-8") as stream:
            envelope = json.loads(stream.read(LARGEST))
        payload = base64.b64decode(envelope["payload"], validate=True)
        (one,) = envelope["signatures"]
        armoured = base64.b64decode(one["sig"], validate=True).decode("ascii")
        statement = json.loads(payload)
        ((subject,), kind) = statement["subject"], envelope["payloadType"]
        listed, name = subject["digest"]["sha256"], subject["name"]
        keyid = str(one["keyid"])
    except FileNotFoundError:
        raise TableError("there is none") from None
    except OSError as error:
        raise TableError(str(error.strerror)) from None
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise TableError(f"it is damaged: {' '.join(str(error).split())[:100]}") from None
    if kind != PAYLOAD or statement.get("_type") != STATEMENT or statement.get("predicateType") != PREDICATE:
        raise TableError("it is no statement about an artifact")
    if not ARMOUR.fullmatch(armoured) or files.as_json(envelope) != path.read_bytes():
        raise TableError("it is damaged: it is not as DIME writes it")
    if name != LIST or not (root / LIST).is_file() or listed != files.digest(root / LIST):
        raise TableError(f"it is of another list: sha256 {str(listed)[:64]}")
    with tempfile.TemporaryDirectory(prefix="dime-verify-") as place:
        message, signature = Path(place) / "message", Path(place) / "signature"
        message.write_bytes(encoded(payload, kind))
        signature.write_text(armoured)
        words = ["check-novalidate", "-n", NAMESPACE, "-s", str(signature)]
        status, told = _ask(words, message)
        fingerprint = re.search(r"SHA256:\S+", told)
        if status or fingerprint is None:
            raise TableError(f"it does not hold: {told}")
        if fingerprint[0] != keyid:
            raise TableError(f"it names another key than {fingerprint[0]}")
        if signer:
            allowed = _allowed(signer, Path(place) / "allowed")
            status, told = _ask(["find-principals", "-f", str(allowed), "-s", str(signature)], message)
            who = told.splitlines()[0] if told and not status else ""
            if not who:
                raise TableError(f"signed by {fingerprint[0]}, which {signer} does not name")
            words = ["verify", "-f", str(allowed), "-I", who, "-n", NAMESPACE, "-s", str(signature)]
            status, told = _ask(words, message)
            if status:
                raise TableError(f"it does not hold for {who}: {told}")
            return fingerprint[0] if who == "*" else f"{who}, {fingerprint[0]}"
    return fingerprint[0]


def _allowed(signer: str, aside: Path) -> Path:
    """A file of allowed signers: the one given, or one of the public key given."""
    try:
        content = Path(signer).expanduser().read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise InputError(f"the signer {signer}: {error.strerror}") from None
    if re.match(r"(ssh-|ecdsa-|sk-)\S+ ", content):
        content = f"* {content}"
    aside.write_text(content, encoding="utf-8")
    return aside


def _ask(words: Sequence[str], message: Path) -> tuple[int, str]:
    try:
        with open(message, "rb") as stream:
            done = subprocess.run(
                ["ssh-keygen", "-Y", *words], stdin=stream, capture_output=True, check=False, timeout=SECONDS
            )
    except FileNotFoundError:
        raise InputError("ssh-keygen is not on the PATH; OpenSSH 8.2 or newer has it") from None
    except subprocess.TimeoutExpired:
        raise InputError("ssh-keygen did not answer") from None
    said = (done.stdout + b"\n" + done.stderr).decode("utf-8", "replace")
    return done.returncode, " ".join(said.split()) if done.returncode else said.strip()


def _keygen(words: Sequence[str]) -> None:
    """Runs ssh-keygen where a person may have to type the key's passphrase."""
    try:
        done = subprocess.run(
            ["ssh-keygen", "-Y", *words], check=False, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
            stdin=None if os.isatty(0) else subprocess.DEVNULL,
        )  # fmt: skip
    except FileNotFoundError:
        raise InputError("ssh-keygen is not on the PATH; OpenSSH 8.2 or newer has it") from None
    if done.returncode:
        raise InputError(f"the key does not sign: {' '.join(done.stderr.decode('utf-8', 'replace').split())}")
