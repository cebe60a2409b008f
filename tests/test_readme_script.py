"""What the README shows of the demo: made by scripts/readme.py from a real run, in the demo's form."""

import importlib.util
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("readme_script", ROOT / "scripts/readme.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def lines(script):
    told = [script.Line(float(at), f"standin alexnet: {at} of 99 bundles", False) for at in range(60)]
    found = ["alexnet: least latency", script.FROM, "  WiFi: <b> & 'all'", "", "report: results/x/report.html"]
    return [*told, *(script.Line(60.0, text, True) for text in found)]


def test_the_block_has_the_form_of_the_demos_text(script):
    from dime.host.cli import demo

    block = re.search(f"{re.escape(script.BEGIN)}\n```\n(.*?)\n```\n{re.escape(script.END)}", README, re.DOTALL)[1]
    assert block.startswith(script.FROM)
    for name in demo.LINKS.split(","):
        assert re.search(rf"^  {name}: .+ on (standin|server)", block, re.MULTILINE), name
    assert script.TRADE_OFFS not in block and "predicted" in block
    assert re.search(r"^report: results/demo/plans/alexnet/001/report.html$", block, re.MULTILINE)
    assert block.endswith("\n".join(demo.next_steps("alexnet", "results/demo")))
    assert max(map(len, block.splitlines())) <= script.COLUMNS


def test_the_pictures_that_the_readme_shows_are_there(script):
    for name in re.findall(r"!\[[^\]]*\]\(([^)]+)\)", README):
        assert (ROOT / name).is_file(), f"{name}: make it: .venv/bin/python scripts/readme.py"
    shown = (script.PICTURES / "demo.svg").read_text()
    assert script.FROM in shown and "not a board" in shown


def test_a_tour_is_one_that_a_browser_can_show(script, lines):
    drawn = ElementTree.fromstring(script.tour(lines))
    texts = [node.text for node in drawn.iter("{http://www.w3.org/2000/svg}text")]
    assert texts[0] == "$ make demo" and "  WiFi: <b> & 'all'" in texts
    assert len(texts) == len(lines) + 1
    assert "prefers-reduced-motion" in script.tour(lines)


def test_lines_are_played_in_their_order_and_the_result_last(script, lines):
    times = script._times(lines)
    assert times == sorted(times) and times[-1] <= script.PLAYED_S
    assert script.block(lines).startswith(script.FROM) and "least latency" not in script.block(lines)
