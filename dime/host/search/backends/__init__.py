"""Forms of label setting: plain Python, compiled, and arrays for more than two quantities. All of them find the same.

In: a graph and amounts of its arcs. Out: the undominated labels of every node.
"""

from __future__ import annotations

import os
from pathlib import Path

from dime.contract.errors import unknown

BACKENDS = ("plain", "compiled", "vector")
# Up to so many arcs plain Python is done before compiled code is loaded.
SMALL_ARCS = 4_000

_prepared: list[str] = []


def choose(arcs: int, quantities: int, asked: str = "auto") -> str:
    """The form for a graph: what was asked for, or what suits its size; what is imported does not matter.

    Args:
        arcs: How many arcs it has.
        quantities: How many quantities a label must hold, a slowest stage counting for more than two.
        asked: One of BACKENDS, or ``auto``.

    Raises:
        InputError: It is unknown, or takes two quantities only.
    """
    if asked != "auto":
        if asked not in BACKENDS[-1 if quantities > 2 else 0 :]:
            raise unknown(f"form of label setting for {quantities} quantities", asked, BACKENDS)
        return asked
    if quantities > 2:
        return "vector"
    return "plain" if arcs <= SMALL_ARCS and not _prepared else "compiled"


def prepare() -> None:
    """Loads the compiled form, which takes small graphs, too, from then on; seconds once, nothing later has to wait."""
    from dime.host.search.backends import compiled

    compiled.prepare()
    _prepared.append("compiled")


def is_compiled() -> bool:
    """Whether numba's cache, which is beside the code unless one moves it, has the compiled form."""
    folder, cached = os.environ.get("NUMBA_CACHE_DIR"), "compiled.*.nbi"
    return any(Path(folder).rglob(cached) if folder else Path(__file__).parent.glob(f"*/{cached}"))
