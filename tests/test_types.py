"""`Any` is rare and says why, as CONTRIBUTING.md has it; a name that is nothing else counts wherever it stands."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import dime

FOLDER = Path(dime.__file__).parent
FEWER_THAN = 30


def trees() -> dict[Path, ast.Module]:
    paths = sorted({*FOLDER.rglob("*.py"), *FOLDER.rglob("*.pyi")})
    return {path: ast.parse(path.read_text(encoding="utf-8")) for path in paths}


def is_any(node: ast.expr | None, aliases: set[str]) -> bool:
    """Whether an expression is `Any` itself, or another name of it."""
    names = {"Name": "id", "Attribute": "attr", "Constant": "value"}
    return getattr(node, names.get(type(node).__name__, ""), None) in aliases


def aliases_of(modules: dict[Path, ast.Module]) -> set[str]:
    """Names that stand for `Any`, itself among them: imported under another name, or assigned."""
    found: set[str] = set()
    more = {"Any"}
    while more - found:
        found |= more
        for node in (node for tree in modules.values() for node in ast.walk(tree)):
            if isinstance(node, ast.ImportFrom):
                more |= {one.asname for one in node.names if one.name in found and one.asname}
            elif isinstance(node, ast.Assign | ast.AnnAssign) and is_any(node.value, found):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                more |= {target.id for target in targets if isinstance(target, ast.Name)}
    return found


def annotations(tree: ast.Module) -> Iterator[ast.expr]:
    for node in ast.walk(tree):
        if isinstance(node, ast.AnnAssign | ast.arg) and node.annotation is not None:
            yield node.annotation
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.returns is not None:
            yield node.returns


def uses(tree: ast.Module, aliases: set[str]) -> list[int]:
    """The lines of a module's uses: names, ``typing.Any``, and what stands in an annotation that is a text."""
    found = [node.lineno for node in ast.walk(tree) if isinstance(node, ast.Name) and node.id in aliases]
    found += [node.lineno for node in ast.walk(tree) if isinstance(node, ast.Attribute) and node.attr == "Any"]
    for annotation in annotations(tree):
        for node in ast.walk(annotation):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found += [node.lineno for name in re.findall(r"\w+", node.value) if name in aliases]
    return sorted(found)


def test_any_is_rare():
    modules = trees()
    aliases = aliases_of(modules)
    found = [f"{path.relative_to(FOLDER)}:{line}" for path, tree in modules.items() for line in uses(tree, aliases)]
    assert len(found) < FEWER_THAN, f"{len(found)} uses of {', '.join(sorted(aliases))}:\n" + "\n".join(found)


def test_each_says_why():
    modules = trees()
    aliases = aliases_of(modules)
    silent = []
    for path, tree in modules.items():
        lines = path.read_text(encoding="utf-8").splitlines()
        for number in uses(tree, aliases):
            own, above = lines[number - 1], lines[number - 2] if number > 1 else ""
            if not re.search(r"# .*\bAny:", own) and not re.match(r" *# Any:", above):
                silent.append(f"{path.relative_to(FOLDER)}:{number}: {own.strip()}")
    assert not silent, "without `# Any: why` beside or above it:\n" + "\n".join(silent)


def test_an_alias_and_a_text_count():
    tree = ast.parse("Thing = Any\nOther: object = Thing\ndef f(a: 'dict[str, Any]', b: typing.Any) -> Thing: ...\n")
    aliases = aliases_of({Path(): tree})
    assert aliases == {"Any", "Thing", "Other"}
    assert uses(tree, aliases) == [1, 1, 2, 2, 3, 3, 3]
