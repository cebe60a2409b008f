"""The report: one HTML file that stands alone, with pictures that answer to pointer, finger and keyboard.

Beside it report.json keeps what it shows, so that the page and the static figures can be made anew without a solver.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from base64 import b64encode
from collections.abc import Mapping
from html import escape
from pathlib import Path

from dime.contract import files, schemas
from dime.contract.errors import InputError, TableError
from dime.contract.run import REPORT
from dime.host.common import places
from dime.host.execution import verification_files
from dime.host.report import model, report_data, terminal, upgrade
from dime.host.studies.study import Study

STYLE = "report.css"
SCRIPTS = ("blocks.js", "plots.js", "whatif.js", "verified.js", "report.js")
PAGE = "report.html"
KEPT, FIGURES = "report.json", "figures"


def write(study: Study, path: str | os.PathLike[str], command: str = "") -> None:
    """Writes report.html, and beside it report.json with what it shows.

    Args:
        study: What was found.
        path: The page.
        command: The command line that asked for it, to be shown.

    Raises:
        InputError: A file exists already, or the disk would not take it.
    """
    text, data = terminal.text(study), report_data.collect(study, command)
    places.write_new(path, _render(data, text).encode())
    places.write_new(Path(path).with_suffix(".json"), kept(text, data, schemas.stamped(schemas.REPORT, {})))


def kept(text: str, data: object, stamp: Mapping[str, object]) -> bytes:
    """report.json: the report's text and data with their hash, under a stamp of schema and version."""
    said = {**stamp, "sha256": _digest(text, data), "text": text, "data": data}
    return (json.dumps(said, separators=(",", ":"), allow_nan=False) + "\n").encode()


def page(study: Study, command: str = "") -> str:
    """Renders the report.

    It needs no network and cannot use one: its policy allows the page's own style and script, by their hashes, and
    nothing else. Texts from files reach it as data only.

    Returns:
        The HTML.
    """
    return _render(report_data.collect(study, command), terminal.text(study))


def figures(study: Study, folder: str | os.PathLike[str]) -> list[Path]:
    """Writes each picture as PNG and SVG for papers; see ``dime.host.report.figures.write``."""
    from dime.host.report.figures import write as draw

    return draw(report_data.collect(study), folder)


def remake(folder: str | os.PathLike[str], figures: bool = False) -> list[Path]:
    """Makes a finished study's report.html anew from its report.json, without solving anything again.

    Args:
        folder: The study's folder. Its report.html and, if they are asked for, its figures are replaced.
        figures: Also draws each picture as PNG and SVG.

    Returns:
        The files.

    Raises:
        TableError: There is no report.json, or it is damaged.
        InputError: The disk would not take a file.
    """
    where = Path(folder)
    data, text = _read(where / KEPT)
    aside = where / f".{FIGURES}.{os.getpid()}"
    try:
        content = _render(data, text, _verification(where))
        drawn = []
        if figures:
            from dime.host.report.figures import write as draw

            drawn = [where / FIGURES / path.name for path in draw(data, aside)]
        files.replace(where / REPORT, content.encode())
        if not figures:
            return [where / REPORT]
        shutil.rmtree(where / FIGURES, ignore_errors=True)
        files.move(aside, where / FIGURES)
        return [where / REPORT, *drawn]
    except OSError as error:
        raise InputError(f"{where}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        raise TableError(f"{where / KEPT} is damaged: {error!r}") from None
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _read(path: Path) -> tuple[model.Report, str]:
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        version = schemas.version(schemas.REPORT, kept if "version" in kept else {"version": kept["format"]}, path)
        data, text = kept["data"], kept["text"]
        if kept["sha256"] != _digest(text, data):
            raise TableError(f"{path} is damaged: it is not what was written (sha256)")
        return upgrade.upgrade(data, version), text
    except FileNotFoundError:
        raise TableError(f"there is no {path}; a study's folder has one: dime solve --net=NETWORK") from None
    except OSError as error:
        raise TableError(f"{path}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError) as error:
        raise TableError(f"{path} is damaged: {error}") from None


def _verification(study: Path) -> dict[str, object] | None:
    """What was last found out when the study's plans were run; None where they were not."""
    there = sorted(study.glob(f"{verification_files.FOLDER}/[0-9]*/{verification_files.SUMMARY}"))
    return verification_files.read(there[-1].parent) if there else None


def _digest(text: str, data: object) -> str:
    return hashlib.sha256(json.dumps([text, data], separators=(",", ":"), allow_nan=False).encode()).hexdigest()


def _render(data: model.Report, text: str, verification: object = None) -> str:
    style = re.sub(r"\s*([{};]|(?<=\w):(?= ))\s*", r"\1", _short(_asset(STYLE)))
    script = _short("\n".join(map(_asset, SCRIPTS)))
    parts = {
        "title": escape(f"DIME: {data['network']}"),
        "policy": f"default-src 'none'; style-src {_hash(style)}; script-src {_hash(script)}; img-src data:",
        "style": style,
        "script": script,
        "data": _embed({**_shown(data), **({} if verification is None else {"verification": verification})}),
        "text": escape(text),
    }
    return re.sub(r"\{\{(\w+)\}\}", lambda match: parts[match[1]], _asset(PAGE))


def _asset(name: str) -> str:
    return (Path(__file__).parent / name).read_text(encoding="utf-8")


def _short(text: str) -> str:
    """A style or a script without indents and whole lines of comment, which no text in them spans."""
    return re.sub(r"^(?://.*)?\n", "", re.sub(r"^[ \t]+", "", text, flags=re.MULTILINE), flags=re.MULTILINE)


def _hash(content: str) -> str:
    return f"'sha256-{b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"


def _shown(data: model.Report) -> model.Report:
    """What the page needs: nine digits, all where it reckons itself, and no terms of other ways to place layers."""
    found: model.Report = json.loads(json.dumps(data), parse_float=_nine_digits)
    found["options"] = json.loads(json.dumps(data["options"]), parse_float=_whole)
    for link, own in zip(found["links"], data["links"], strict=True):
        link["what_if"] = json.loads(json.dumps(own["what_if"]), parse_float=_whole)
        for row in link["baselines"]:
            if row["plan"] is not None:
                row["plan"] = {**row["plan"], "terms": [], "without": [], "encoded": []}
    return found


def _nine_digits(text: str) -> float:
    return _whole(f"{float(text):.9g}")


def _whole(text: str) -> float:
    """A number, without a point where nothing is behind it: a page has hundreds of such zeros."""
    value = float(text)
    return int(value) if value.is_integer() and abs(value) < 2**53 else value


def _embed(data: object) -> str:
    """JSON that cannot end the element it stands in, whatever names it holds."""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
