"""What a check has found, row by row: a table for the terminal, evaluation.json, and a page."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from html import escape
from pathlib import Path

from dime.contract import files, schemas
from dime.contract.errors import InputError
from dime.host.common.units import plain

KEPT, PAGE = "evaluation.json", "evaluation.html"
HOLDS, FAILS, OPEN = "holds", "fails", "not checked"
WIDEST = 78
PICTURES = (".png", ".svg")


@dataclass(frozen=True)
class Row:
    """One thing that was checked.

    Attributes:
        part: ``intact``, ``claims``, ``re-derived``, ``measured again``.
        what: What was checked.
        expected: What it would have to be.
        found: What it is.
        verdict: ``holds``, ``fails``, or ``not checked``, which is no failure and is never left out.
    """

    part: str
    what: str
    expected: str
    found: str
    verdict: str


@dataclass(frozen=True)
class Evaluation:
    """All rows, and of which archive.

    Attributes:
        title: The archive's title.
        list_sha256: The hash of its list.
        rows: What was checked.
        versions: Versions of what has checked it.
    """

    title: str
    list_sha256: str
    rows: tuple[Row, ...]
    versions: dict[str, str]

    @property
    def holds(self) -> bool:
        """Whether nothing failed."""
        return all(row.verdict != FAILS for row in self.rows)

    def __str__(self) -> str:
        parts = dict.fromkeys(row.part for row in self.rows)
        lines = [plain(f"{self.title}  (list {self.list_sha256[:12]})")]
        for part in parts:
            lines += ["", f"-- {part} {'-' * (WIDEST - len(part))}"]
            lines += _table(_gathered([row for row in self.rows if row.part == part]))
        counts = {verdict: sum(row.verdict == verdict for row in self.rows) for verdict in (HOLDS, FAILS, OPEN)}
        lines += ["", "; ".join(f"{count} {verdict}" for verdict, count in counts.items() if count or verdict == HOLDS)]
        return "\n".join(lines)

    def write(self, folder: Path) -> None:
        """Writes evaluation.json and evaluation.html, in place of those that are there.

        Raises:
            InputError: The disk would not take them.
        """
        content = {**asdict(self), "holds": self.holds}
        try:
            folder.mkdir(parents=True, exist_ok=True)
            files.replace(folder / KEPT, files.as_json(schemas.stamped(schemas.EVALUATION, content)))
            files.replace(folder / PAGE, page(self).encode())
        except OSError as error:
            raise InputError(f"{os.fspath(folder)}: {error.strerror}") from None


def _gathered(rows: Sequence[Row]) -> list[Row]:
    """Pictures of a folder that hold, in one row."""
    found: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        folder, _, name = row.what.rpartition("/")
        together = row.verdict != FAILS and name.endswith(PICTURES)
        found.setdefault((folder, row.verdict) if together else (row.what, row.found), []).append(row)
    return [
        same[0]
        if len(same) == 1
        else replace(same[0], what=f"{place}/: {len(same)} pictures", expected=f"{len(same)} pictures")
        for (place, _), same in found.items()
    ]


def _table(rows: Sequence[Row]) -> list[str]:
    """Rows as lines; what holds in one line, what does not with all that is known of it."""
    width = min(WIDEST, max((len(plain(row.what)) for row in rows), default=0))
    lines = [f"{'what':<{width}}  {'expected':<22} {'found':<22} verdict"]
    for row in rows:
        what, expected, found = plain(row.what), plain(row.expected), plain(row.found)
        if len(expected) <= 22 and len(found) <= 22:
            lines.append(f"{what:<{width}}  {expected:<22} {found:<22} {row.verdict}")
        else:
            lines += [
                f"{what:<{width}}  {'':<22} {'':<22} {row.verdict}",
                f"    expected {expected}",
                f"    found    {found}",
            ]
    return lines


STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem; padding: 0 1rem; }
table { border-collapse: collapse; width: 100%; margin-bottom: 2rem; }
th, td { text-align: left; vertical-align: top; padding: .25rem .6rem; border-bottom: 1px solid #8884; }
td { overflow-wrap: anywhere; }
.holds { color: #1a7f37; } .fails { color: #c02020; font-weight: bold; } .open { color: #8a6d00; }
@media (prefers-color-scheme: dark) { body { background: #161616; color: #e6e6e6; } }
"""


def page(found: Evaluation) -> str:
    """The page: one file without a script, which asks for nothing."""
    body = [
        f"<h1>{escape(found.title)}</h1>",
        f"<p>List of files: SHA-256 <code>{escape(found.list_sha256)}</code></p>",
    ]
    verdict = "everything that was checked holds" if found.holds else "something does not hold"
    body.append(f'<p class="{"holds" if found.holds else "fails"}">{verdict}</p>')
    for part in dict.fromkeys(row.part for row in found.rows):
        body.append(f"<h2>{escape(part)}</h2><table><tr><th>what<th>expected<th>found<th>verdict</tr>")
        for row in found.rows:
            if row.part == part:
                kind = "open" if row.verdict == OPEN else row.verdict
                cells = "".join(f"<td>{escape(plain(text))}</td>" for text in (row.what, row.expected, row.found))
                body.append(f'<tr>{cells}<td class="{kind}">{escape(row.verdict)}</td></tr>')
        body.append("</table>")
    made = ", ".join(f"{name} {version}" for name, version in found.versions.items())
    body.append(f"<p>Checked with {escape(made)}</p>")
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        f"<title>DIME artifact: {escape(found.title)}</title><style>{STYLE}</style></head><body>"
        + "\n".join(body)
        + "</body></html>\n"
    )
