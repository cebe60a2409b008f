"""The report: one HTML file that stands alone, with pictures that answer to pointer, finger and keyboard."""

from __future__ import annotations

import hashlib
import json
import os
import re
from base64 import b64encode
from html import escape
from pathlib import Path

from dime.contract.errors import InputError
from dime.host import report_data, terminal
from dime.host.study import Study

STYLE = "report.css"
SCRIPTS = ("blocks.js", "plots.js", "report.js")
PAGE = "report.html"


def write(study: Study, path: str | os.PathLike[str], command: str = "") -> None:
    """Writes report.html.

    Args:
        study: What was found.
        path: The file.
        command: The command line that asked for it, to be shown.

    Raises:
        InputError: The file exists already, or the disk would not take it.
    """
    try:
        with open(path, "x", encoding="utf-8") as stream:
            stream.write(page(study, command))
    except FileExistsError:
        raise InputError(f"{os.fspath(path)} exists already; nothing was overwritten") from None
    except OSError as error:
        raise InputError(f"{os.fspath(path)}: {error.strerror}") from None


def page(study: Study, command: str = "") -> str:
    """Renders the report.

    It needs no network and cannot use one: its policy allows the page's own style and script, by their hashes, and
    nothing else. Texts from files reach it as data only.

    Returns:
        The HTML.
    """
    style = _asset(STYLE)
    script = "\n".join(map(_asset, SCRIPTS))
    parts = {
        "title": escape(f"DIME: {study.network}"),
        "policy": f"default-src 'none'; style-src {_hash(style)}; script-src {_hash(script)}; img-src data:",
        "style": style,
        "script": script,
        "data": _embed(report_data.collect(study, command)),
        "text": escape(terminal.text(study)),
    }
    return re.sub(r"\{\{(\w+)\}\}", lambda match: parts[match[1]], _asset(PAGE))


def figures(study: Study, folder: str | os.PathLike[str]) -> list[Path]:
    """Writes each picture as PNG and SVG for papers; see ``dime.host.figures.write``."""
    from dime.host.figures import write as draw

    return draw(study, folder)


def _asset(name: str) -> str:
    return (Path(__file__).parent / name).read_text(encoding="utf-8")


def _hash(content: str) -> str:
    return f"'sha256-{b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"


def _embed(data: report_data.Data) -> str:
    """JSON that cannot end the element it stands in, whatever names it holds."""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
