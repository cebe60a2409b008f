"""What an archive must not tell: tokens, licences, keys, names of computers, and paths into somebody's home.

Documents are made plain: a path below the working folder becomes relative, what else is private becomes a word. A table
of measurements is never rewritten; one that holds such a thing is refused.
"""

from __future__ import annotations

import json
import os
import platform
import re
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from dime.host.bench.lab import Lab

REMOVED = "REMOVED"
DOCUMENTS = (".json", ".toml", ".md", ".cff", ".txt", ".html", ".svg", ".lock", ".js", ".css")
TABLES = (".csv", ".parquet", ".npz", ".png")
# Values of such variables are known to this computer only.
NAMES = re.compile(r"TOKEN|SECRET|PASSWORD|PASSWD|API_?KEY|ACCESS_?KEY|CREDENTIAL|WLSACCESSID|LICENSE_?ID|LICENSEID")
LEAST_SECRET = 6
LICENCES = ("GRB_LICENSE_FILE",)
KINDS = (
    re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL),
    re.compile(r"\b(?:ghp|gho|ghs|ghu|github_pat)_[A-Za-z0-9_]{20,}"),
    re.compile(r"\b(?:glpat|hf|sk|xox[abps]|npm|pypi)[-_][A-Za-z0-9_-]{16,}"),
    re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"),
    re.compile(r"\beyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}"),
    re.compile(r"(?i)\b(?:WLSACCESSID|WLSSECRET|LICENSEID)\s*[=:]\s*\S+"),
    re.compile(r"\b[a-z][a-z0-9+.-]*://[^\s/@\"'\\]+@[^\s/\"'\\]+"),  # a person at a computer
)
HOMES = re.compile(
    r"(?:/home/[^/\s\"'\\,;:]+|/Users/[^/\s\"'\\,;:]+|/root|[A-Za-z]:\\+Users\\+[^\\\s\"']+)(?=[/\\\s\"',;:]|\Z)"
)
PATH = r"[^\s\"'\\,;:<>|]*"
ENGINES = {"ssh": "ssh://host", "unix": "unix:///var/run/docker.sock"}  # by what is public of an engine's address
COMMON = {"localhost", "localdomain", "debian", "ubuntu", "linux", "docker", "host", "server", "edge", "local", "nano"}


@dataclass(frozen=True)
class Private:
    """What is private on this computer and in this lab.

    Attributes:
        texts: Secrets as they are: tokens, keys, licences.
        hosts: Names of computers.
        here: The working folder, below which paths are the archive's own.
        homes: Folders of persons.
    """

    texts: tuple[str, ...]
    hosts: tuple[str, ...]
    here: str
    homes: tuple[str, ...]

    @classmethod
    def known(cls, public: Iterable[str] = (), hosts: Iterable[str] = ()) -> Private:
        """Collects what this computer knows.

        Args:
            public: Names that the study itself is told by, such as those of its devices: no secrets.
            hosts: Names of the lab's computers.
        """
        texts = {
            value for name, value in os.environ.items() if NAMES.search(name.upper()) and len(value) >= LEAST_SECRET
        }
        for name in LICENCES:
            texts |= set(_words_of_licence(os.environ.get(name, "")))
        known = {word.lower() for word in public} | COMMON
        own = {socket.gethostname(), platform.node(), *hosts}
        own |= {name.split(".")[0] for name in own}
        names = sorted((name for name in own if len(name) > 2 and name.lower() not in known), key=len, reverse=True)
        homes = {os.path.expanduser("~"), os.environ.get("HOME", "")} - {"", "/", "~"}
        return cls(tuple(sorted(texts, key=len, reverse=True)), tuple(names), os.getcwd(), tuple(sorted(homes)))

    def plain(self, text: str) -> str:
        """The same text without what is private."""
        for secret in self.texts:
            text = text.replace(secret, REMOVED)
        for kind in KINDS:
            text = kind.sub(REMOVED, text)
        text = re.sub(rf"{re.escape(self.here)}(?:/|(?=[\s\"',;:\\]|\Z))", "", text) if self.here != "/" else text
        for home in self.homes:
            text = re.sub(rf"{re.escape(home)}(?=/|[\s\"',;:\\]|\Z){PATH}", REMOVED, text)
        text = re.sub(HOMES.pattern + PATH, REMOVED, text)
        for host in self.hosts:
            text = re.sub(rf"(?<![\w.-]){re.escape(host)}(?![\w-])", REMOVED, text, flags=re.IGNORECASE)
        return text

    def found_in(self, text: str) -> str:
        """The first private thing in a text, described but not told; empty if there is none."""
        for what, pattern in self._patterns():
            if found := re.search(pattern, text):
                line = text.count("\n", 0, found.start()) + 1
                return f"{what} in line {line}"
        return ""

    def _patterns(self) -> Iterable[tuple[str, str]]:
        yield from (("a secret of this computer", re.escape(secret)) for secret in self.texts)
        yield from (("a token or key", f"(?s:{kind.pattern})" if not kind.pattern.startswith("(?i)") else kind.pattern)
                    for kind in KINDS)  # fmt: skip
        yield from (("a path into a home", rf"{re.escape(home)}(?=/|[\s\"',;:\\]|\Z)") for home in self.homes)
        yield "a path into a home", HOMES.pattern
        yield from (("a computer's name", rf"(?i)(?<![\w.-]){re.escape(host)}(?![\w-])") for host in self.hosts)


def _words_of_licence(path: str) -> Iterable[str]:
    """What stands behind each = of a licence file."""
    try:
        lines = Path(path).read_text(encoding="utf-8", errors="replace").splitlines() if path else []
    except OSError:
        return
    for line in lines:
        _, _, value = line.partition("=")
        if len(value.strip()) >= LEAST_SECRET:
            yield value.strip()
    if path:
        yield path


def plain_lab(lab: Lab) -> str:
    """A lab file without where things are: of an engine its kind, of a meter its name, of an image no registry."""
    lines = []
    for name, device in lab.devices.items():
        kind = device.engine.partition("://")[0]
        engine, image = ENGINES.get(kind, device.engine), device.image.rpartition("/")[2]
        told = {"engine": engine, "board": device.board, "image": image, "platform": device.platform}
        told |= {"runtime": device.runtime, "gpus": device.gpus, "memory": device.memory}
        lines.append(f"[{_key(name)}]")
        lines += [f"{key} = {_value(value)}" for key, value in told.items() if value]
        lines += [f"threads = {_value(list(device.threads))}", f"set_clock = {_value(device.set_clock)}"]
        lines += [f"tags = {_value(list(device.tags))}"] if device.tags else []
        if device.meter is not None:
            kept = {key: value for key, value in device.meter.options.items() if key in ("baud", "channel")}
            words = {"name": device.meter.name, **kept}
            lines.append("meter = { " + ", ".join(f"{_key(key)} = {_value(one)}" for key, one in words.items()) + " }")
        lines.append("")
    return "\n".join(lines)


def _key(text: object) -> str:
    return str(text) if re.fullmatch(r"[A-Za-z0-9_-]+", str(text)) else _value(str(text))


def _value(value: object) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_value, value))}]"
    return json.dumps(value if isinstance(value, (bool, int, float)) else str(value))
