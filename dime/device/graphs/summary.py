"""What a network looks like before it is measured: its places, what crosses there, and its work."""

from typing import TYPE_CHECKING, Dict, List, Set, Tuple

if TYPE_CHECKING:
    from dime.contract.networks import Spec
    from dime.device.graphs.document import Document

MOST_BRANCHES = 5000  # in a picture


def describe(spec: "Spec", cuts: str) -> Dict[str, object]:
    """Traces a network and says where it can be cut and where it is.

    Args:
        spec: The network as it was asked for.
        cuts: Where to cut; see `cutting.choose`.

    Returns:
        name, torch, inputs, operations, and for each place: name, shapes, bytes, macs and parameters up to there, and
        why it is a cut (empty: it is none); and the branches.

    Raises:
        InputError: The network or its cuts cannot be had as asked.
    """
    import torch

    from dime.device.graphs import cutting, sources, tracing
    from dime.device.graphs.document import references

    torch.manual_seed(0)
    loaded = sources.load(spec)
    traced = tracing.trace(loaded.model, sources.example(loaded), spec.name)
    document = traced.document
    chosen = cutting.choose(traced, loaded.cuts if cuts == "auto" and loaded.cuts else cuts)
    live = document.live()
    seen: Set[str] = set()
    macs = parameters = reached = 0
    rows = []
    for place in chosen:
        while reached <= place.node:
            node = document.nodes[reached]
            macs += cutting.macs(document, reached)
            for name in set(references([node.arguments, node.keywords], "constant")) - seen:
                seen.add(name)
                parameters += traced.tensors[name].numel()
            reached += 1
        rows.append(
            {
                "name": place.name,
                "node": place.node,
                "shapes": [list(document.values[number].shape) for number in live[place.node + 1]],
                "size_bytes": place.size_bytes,
                "macs": macs,
                "parameters": parameters,
                "kept": place.kept,
            }
        )
    return {
        "name": spec.name,
        "torch": document.torch,
        "inputs": [[list(document.values[n].shape), document.values[n].dtype] for n in document.inputs],
        "operations": len(document.nodes),
        "parts_that_share_memory": sum(traced.shared),
        "places": rows,
        "branches": _branches(document),
    }


def _branches(document: "Document") -> List[List[int]]:
    """From which node to which a value goes that is needed later than by the next one; -1 is the input."""
    from dime.device.graphs.document import references

    producers = dict((number, -1) for number in document.inputs)
    found: Set[Tuple[int, int]] = set()
    for position, node in enumerate(document.nodes):
        for number in references([node.arguments, node.keywords], "value"):
            if producers[number] < position - 1:
                found.add((producers[number], position))
        producers.update((number, position) for number in node.outputs + node.mutates if number is not None)
    return [list(branch) for branch in sorted(found)[:MOST_BRANCHES]]
