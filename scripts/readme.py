"""Makes anew what the README shows of a real run: the block of text, the recorded tour and the report's picture.

    .venv/bin/python scripts/readme.py                     # runs the demo for it; two minutes or so
    .venv/bin/python scripts/readme.py --run=demo.json     # takes a run that was recorded (--record=demo.json)

What it makes is never edited by hand; tests/test_readme_script.py holds the README against the form of the demo's text.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from html import escape
from pathlib import Path
from typing import NamedTuple, TextIO

ROOT = Path(__file__).resolve().parents[1]
README, PICTURES = ROOT / "README.md", ROOT / "docs/pictures"
BEGIN, END = "<!-- demo: made by scripts/readme.py -->", "<!-- /demo -->"
FROM = "what each link changes"
TRADE_OFFS = "best trade-offs of time and energy"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
COLUMNS, ROWS = 122, 36
ACROSS, DOWN, MARGIN = 8.4, 18, 14
PLAYED_S, HELD_S = 24.0, 8.0
PAGE_SIZE = (1400, 1000)
SVG = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {full}" role="img" aria-label="make demo, recorded">
<style>
.s{{animation:s {total_s}s step-end both}}
@keyframes s{{0%{{transform:translateY(0)}}{frames}}}
text{{font:13.9px ui-monospace,Menlo,Consolas,'DejaVu Sans Mono',monospace;white-space:pre}}
text{{animation:a .01s step-end both}}
@keyframes a{{0%{{opacity:0}}100%{{opacity:1}}}}
.r{{fill:#e6edf3}}.p{{fill:#7d8590}}
@media (prefers-reduced-motion:reduce){{text,.s{{animation:none}}.s{{transform:translateY({end}px)}}}}
</style>
<rect width="100%" height="100%" rx="8" fill="#0d1117"/>
<circle cx="18" cy="15" r="5" fill="#ff5f57"/><circle cx="36" cy="15" r="5" fill="#febc2e"/>
<circle cx="54" cy="15" r="5" fill="#28c840"/>
<svg {inside} overflow="hidden"><g class="s">
{texts}</g></svg></svg>
"""


class Line(NamedTuple):
    """A line of the run: when it came, and whether it is of the result rather than of the progress."""

    at_s: float
    text: str
    is_result: bool


def run(folder: Path) -> list[Line]:
    """Runs the demo in a folder and listens to what it tells and what it finds."""
    begun, lines = time.monotonic(), []
    process = subprocess.Popen(
        [str(ROOT / ".venv/bin/dime"), "demo"], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )

    def listen(stream: TextIO, is_result: bool) -> None:
        for text in stream:
            lines.append(Line(round(time.monotonic() - begun, 2), text.rstrip("\n"), is_result))

    assert process.stdout is not None and process.stderr is not None
    aside = threading.Thread(target=listen, args=(process.stderr, False))
    aside.start()
    listen(process.stdout, True)
    aside.join()
    if process.wait():
        raise SystemExit(f"the demo failed: {lines[-1].text if lines else 'without a word'}")
    return lines


def block(lines: list[Line]) -> str:
    """What the README shows: what each link changes, and from the run's comparison on; the plot is in the tour."""
    text = "\n".join(line.text for line in lines if line.is_result)
    changes, *others = text[text.index(FROM) :].strip().split("\n\n")
    return "\n\n".join([changes, *(part for part in others if TRADE_OFFS not in part)])


def into_readme(text: str) -> None:
    """Puts the block between its marks."""
    before = README.read_text()
    after = re.sub(
        f"{re.escape(BEGIN)}.*?{re.escape(END)}", lambda _: f"{BEGIN}\n```\n{text}\n```\n{END}", before, flags=re.S
    )
    if BEGIN not in before:
        raise SystemExit(f"{README} lacks the marks {BEGIN} and {END}")
    README.write_text(after)


def tour(lines: list[Line]) -> str:
    """The run as an SVG: a terminal that fills and scrolls; still, and at its end, for who wants no motion."""
    shown = [Line(0.0, "$ make demo", True), *(line for line in lines if line.text.strip() or line.is_result)]
    times = _times(shown)
    total_s = PLAYED_S + HELD_S
    moves = [(at_s, at + 1 - ROWS) for at, at_s in enumerate(times) if at >= ROWS]
    frames = "".join(f"{100 * at_s / total_s:.2f}%{{transform:translateY({-up * DOWN}px)}}" for at_s, up in moves)
    texts = "".join(
        f'<text y="{(at + 1) * DOWN - 4}" class="{"r" if line.is_result else "p"}" '
        f'style="animation-delay:{times[at]:.2f}s">{escape(line.text[:COLUMNS])}</text>\n'
        for at, line in enumerate(shown)
    )
    width, height, top = COLUMNS * ACROSS, ROWS * DOWN, MARGIN + 16
    return SVG.format(
        full=f"{width + 2 * MARGIN:g} {height + MARGIN + top:g}",
        total_s=f"{total_s:g}",
        frames=frames,
        end=-max(0, len(shown) - ROWS) * DOWN,
        inside=f'x="{MARGIN}" y="{top}" width="{width:g}" height="{height}"',
        texts=texts,
    )


def _times(shown: list[Line]) -> list[float]:
    """When each line is played: what is told as in the run, then the result at a pace that can be read."""
    told_s = max((line.at_s for line in shown if not line.is_result), default=0.0) or 1.0
    results = sum(line.is_result for line in shown)
    times: list[float] = []
    rank = 0
    for line in shown:
        rank += line.is_result
        when_s = PLAYED_S / 2 * ((1 + rank / results) if line.is_result and rank > 1 else min(1.0, line.at_s / told_s))
        times.append(max([when_s, *times[-1:]]))
    return times


def picture(page: Path, path: Path) -> None:
    """The report as a browser shows it."""
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        raise SystemExit(f"no browser for the report's picture: none of {', '.join(BROWSERS)}")
    with tempfile.TemporaryDirectory() as profile:
        size = ",".join(map(str, PAGE_SIZE))
        words = [
            "--headless=new",
            "--no-sandbox",
            "--hide-scrollbars",
            f"--user-data-dir={profile}",
            f"--window-size={size}",
        ]
        subprocess.run(
            [found, *words, f"--screenshot={path}", page.as_uri()], check=True, capture_output=True, timeout=120
        )


def main() -> None:
    """Makes all three."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--run", type=Path, help="a run that was recorded; its report is not made anew")
    options.add_argument("--record", type=Path, help="keeps the run in this file")
    given = options.parse_args()
    PICTURES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        if given.run:
            lines = [Line(*one) for one in json.loads(given.run.read_text())]
        else:
            lines = run(Path(temporary))
            picture(next(Path(temporary).glob("results/demo/plans/*/*/report.html")).resolve(), PICTURES / "report.png")
        if given.record:
            given.record.write_text(json.dumps(lines))
    into_readme(block(lines))
    (PICTURES / "demo.svg").write_text(tour(lines))
    print(f"{README.name}, {', '.join(sorted(path.name for path in PICTURES.iterdir()))}", file=sys.stderr)


if __name__ == "__main__":
    main()
