"""The layers of a chain, in order, found from the names of its bundles in any published spelling."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from dime.contract.errors import TableError

JOINT = "__"


def infer_layers(names: Sequence[str], path: str) -> tuple[str, ...]:
    """Finds the layers of a chain, in order, from the names of its bundles.

    A layer is a name, or a part of one between two underscores, that no others make up. A bundle's name says of each
    two neighbours in it which comes first; together the names must leave one order only. The largest bundle need not
    be the whole network.

    Args:
        names: Names in the table, in canonical spelling.
        path: The table, for the message.

    Returns:
        The layers.

    Raises:
        TableError: The names do not tell.
    """
    distinct = set(names)
    parts = {part for name in distinct for part in name.split(JOINT)}
    layers = {part for part in parts if len(pieces(part, parts)) <= 1}
    after: dict[str, set[str]] = {layer: set() for layer in layers}
    for name in distinct:
        members = name.split(JOINT) if JOINT in name else pieces(name, layers)
        for first, second in pairwise(members):
            after.setdefault(first, set()).add(second)
    chain = _only_order(after)
    if not chain or "" in after:
        raise TableError(
            f"{path}: the order of the layers does not follow from the names of the bundles; give"
            f" layers={','.join(sorted(layers - {''})[:3])},... in their order (--layers=, with make LAYERS=)"
        )
    return chain


def _only_order(after: dict[str, set[str]]) -> tuple[str, ...]:
    """The one order in which each name stands before those that come after it; empty if there is none or several."""
    before = dict.fromkeys(after, 0)
    for following in after.values():
        for name in following:
            if name not in before:
                return ()
            before[name] += 1
    ready = [name for name, count in before.items() if count == 0]
    chain: list[str] = []
    while ready:
        if len(ready) > 1:
            return ()
        chain += ready
        following = after[ready.pop()]
        for name in following:
            before[name] -= 1
        ready = [name for name in following if before[name] == 0]
    return tuple(chain) if len(chain) == len(after) else ()


def pieces(name: str, parts: set[str]) -> list[str]:
    """Splits a name into as many of the parts, joined by underscores, as possible; empty if it cannot be."""
    best: dict[int, list[str]] = {0: []}
    for end in range(1, len(name) + 1):
        if end < len(name) and name[end] != "_":
            continue
        for start, found in list(best.items()):
            piece = name[start:end]
            if piece in parts and (end + 1 not in best or len(best[end + 1]) <= len(found)):
                best[end + 1] = [*found, piece]
    return best.get(len(name) + 1, [])
