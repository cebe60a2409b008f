"""Three sides, one direction: both device and host may import the contract, and nothing else of each other."""

import ast
import os

import pytest

import dime

ROOT = os.path.dirname(dime.__file__)
FORBIDDEN = {
    "contract": ("dime.device", "dime.host", "dime.testing"),
    "device": ("dime.host", "dime.testing"),
    "host": ("dime.device", "dime.testing"),
}


def imported(source, package):
    """Full names of all modules that a source file imports, wherever in it."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name
        elif isinstance(node, ast.ImportFrom):
            parts = package.split(".")
            base = parts[: len(parts) - node.level + 1] if node.level else []
            name = ".".join(base + ([node.module] if node.module else []))
            for alias in node.names:
                yield name + "." + alias.name


def breaches(source, side, package):
    return [
        name
        for name in imported(source, package)
        for forbidden in FORBIDDEN[side]
        if name == forbidden or name.startswith(forbidden + ".")
    ]


def files(side):
    for folder, _, names in os.walk(os.path.join(ROOT, side)):
        for name in names:
            if name.endswith(".py"):
                yield os.path.join(folder, name)


@pytest.mark.parametrize("side", sorted(FORBIDDEN))
def test_no_side_reaches_across(side):
    found = list(files(side))
    assert found
    for path in found:
        package = "dime." + os.path.relpath(os.path.dirname(path), ROOT).replace(os.sep, ".")
        with open(path, encoding="utf-8") as stream:
            if side == "host" and not _parses_here(stream.read()):
                pytest.skip("this Python is older than the host side's language")
            stream.seek(0)
            assert breaches(stream.read(), side, package) == [], path


@pytest.mark.parametrize(
    "line",
    [
        "import dime.host",
        "from dime import host",
        "from dime.host.planning.plan import Plan",
        "from ..host import plan",
        "def f():\n    import dime.host.bench.lab as lab",
    ],
)
def test_the_walk_finds_a_breach(line):
    assert breaches(line, "device", "dime.device")


def test_the_walk_passes_what_is_allowed():
    assert not breaches("import dime.hosting\nfrom dime.contract import tables\nimport os", "device", "dime.device")


def _parses_here(source):
    try:
        ast.parse(source)
        return True
    except SyntaxError:
        return False


def programs(source):
    """Texts in a source file that are programs: what they import, no walk of imports sees, and no Python 3.6 tries."""
    for node in ast.walk(ast.parse(source)):
        text = getattr(node, "value", None) or getattr(node, "s", None)
        if isinstance(text, str) and "import " in text:
            try:
                tree = ast.parse(text)
            except (SyntaxError, ValueError):
                continue
            if any(isinstance(one, (ast.Import, ast.ImportFrom)) for one in ast.walk(tree)):
                yield text


@pytest.mark.parametrize("side", sorted(FORBIDDEN))
def test_no_side_holds_a_program_as_a_text(side):
    for path in files(side):
        with open(path, encoding="utf-8") as stream:
            source = stream.read()
        if side == "host" and not _parses_here(source):
            pytest.skip("this Python is older than the host side's language")
        assert list(programs(source)) == [], path


def test_a_program_in_a_text_is_found():
    assert list(programs("PROBE = ('import os, time\\n' 'print(os.getpid())')\nSAID = 'we import this'"))
