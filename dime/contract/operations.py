"""What each version of torch cannot do of a network's document: operations.json, made from the real versions.

Version -> ``lacks`` (operations that it does not have) and, for each half precision, those that its CPU does not
compute in it. ``python -m dime.device.graphs.support dime/contract/operations.json`` adds the torch that runs it.
"""

import io
import json
import os
import re
from collections import OrderedDict
from typing import TYPE_CHECKING, Dict, Iterable, Iterator, List, Optional, Tuple

if TYPE_CHECKING:
    from typing import TypedDict  # novm

    GraphNode = TypedDict(
        "GraphNode",
        {
            "operation": str,
            "module": str,
            "arguments": List[object],
            "keywords": Dict[str, object],
            "outputs": List[Optional[int]],
        },
    )
    Graph = TypedDict("Graph", {"nodes": List[GraphNode], "values": List[Tuple[List[int], str, int]]})

PATH = os.path.join(os.path.dirname(os.path.abspath(__file__)), "operations.json")
HALVES = ("float16", "bfloat16")


def known() -> Dict[str, Dict[str, List[str]]]:
    """What is known: version -> what it cannot do."""
    with io.open(PATH, encoding="utf-8") as stream:
        return dict(json.load(stream))


def nearest(version: str, versions: Iterable[str]) -> Optional[str]:
    """The newest of some versions that is not newer than ``version``; None if there is none, or it is no version.

    A version that names fewer numbers, such as 1.11, is the first of all that begin so.
    """
    match = re.match(r"\d{1,4}(\.\d{1,4}){0,3}", version)
    if match is None:
        return None
    wanted = _numbers(match.group())
    older = [one for one in versions if _numbers(one)[: len(wanted)] <= wanted]
    return max(older, key=_numbers) if older else None


def _numbers(version: str) -> Tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


def refusals(graph: "Graph", version: str, on_cpu: bool) -> List[str]:
    """What a torch cannot run of a network, one text each, with where it stands first.

    Args:
        graph: The network's graph.json.
        version: The torch, such as ``1.11``; of one that is not known the nearest older one that is.
        on_cpu: Whether its CPU is what runs it.

    Returns:
        Nothing where it can run all, or nothing is known.
    """
    facts = known()
    found = nearest(version, facts)
    if found is None:
        return []
    lacks = set(facts[found]["lacks"])
    told: Dict[str, str] = OrderedDict()
    for number, node in enumerate(graph["nodes"]):
        name, where = node["operation"], "in {} (node {})".format(node["module"] or "the network", number)
        if name in lacks:
            told.setdefault(name, where)
            continue
        dtypes = set(graph["values"][one][1] for one in _values(node)) if on_cpu else ()
        for half in HALVES:
            if half in dtypes and name in facts[found][half]:
                told.setdefault("{} in {} on a CPU".format(name, half), where)
    return ["{} {}".format(name, where) for name, where in told.items()]


def _values(node: "GraphNode") -> Iterator[int]:
    """Every value that a node takes or makes."""
    rest = [node["arguments"], node["keywords"], [{"value": one} for one in node["outputs"] if one is not None]]
    while rest:
        part = rest.pop()
        if isinstance(part, dict):
            if isinstance(part.get("value"), int) and len(part) == 1:
                yield part["value"]
            else:
                rest.extend(part.values())
        elif isinstance(part, list):
            rest.extend(part)
