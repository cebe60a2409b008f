"""What a kind of board needs that the host must know before a container starts there: read from the board's own file.

The file is of the device side, so it is not imported here: its ``HOST`` is a literal and read as one.
"""

from __future__ import annotations

import ast
import importlib.util
from pathlib import Path

import dime
from dime.contract import plugins
from dime.contract.errors import InputError, unknown

GENERIC: dict[str, str | bool] = {"image": "dime-host", "platform": "", "runtime": "", "set_clock": False}


def names() -> list[str]:
    """The kinds of board: files of the device side, and what other packages add."""
    own = (file.stem for place in _folders() for file in place.glob("[!_]*.py"))
    return sorted({*own, *plugins.added("boards")})


def facts(name: str) -> dict[str, str | bool]:
    """A kind of board's image, platform, runtime and whether runs set its clock; what its file does not say is generic.

    Args:
        name: One of `names`.

    Returns:
        The facts by the names that they have in the lab file.

    Raises:
        InputError: Its file cannot be read, or says something else.
    """
    path = _file(name)
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        said = next(filter(None, map(_host, tree.body)), None)
        found: object = ast.literal_eval(said) if said else {}
    except (OSError, ValueError, SyntaxError) as error:
        raise InputError(f"{path}: HOST cannot be read as a literal ({error})") from None
    if not isinstance(found, dict):
        raise InputError(f"{path}: HOST is a dict, not {found!r}")
    for key, value in found.items():
        if key not in GENERIC:
            raise InputError(f"{path}: HOST: {unknown('key', str(key), GENERIC)}")
        if type(value) is not type(GENERIC[key]):
            raise InputError(f"{path}: HOST: {key} is a {type(GENERIC[key]).__name__}, not {value!r}")
    return {**GENERIC, **found}


def _host(node: ast.stmt) -> ast.expr | None:
    """What a statement assigns to HOST; None for any other statement."""
    if isinstance(node, ast.Assign) and any(isinstance(to, ast.Name) and to.id == "HOST" for to in node.targets):
        return node.value
    return None


def _folders() -> list[Path]:
    return [Path(place, "device/boards") for place in dime.__path__]


def _file(name: str) -> Path:
    for place in _folders():
        if (place / f"{name}.py").is_file():
            return place / f"{name}.py"
    module = plugins.added("boards")[name].value.partition(":")[0]
    try:
        spec = importlib.util.find_spec(module)
    except Exception as error:  # another package's code may raise anything
        raise InputError(f"the board '{name}' ({module}) cannot be found: {error}") from None
    if spec is None or not spec.origin:
        raise InputError(f"the board '{name}' ({module}) cannot be found")
    return Path(spec.origin)
