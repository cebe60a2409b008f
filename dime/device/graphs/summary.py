"""What a network looks like before it is measured: its places, what crosses there, and its work."""


def describe(spec, cuts):  # type: (Spec, str) -> Dict[str, Any]
    """Traces a network and says where it can be cut and where it is.

    Args:
        spec: The network as it was asked for.
        cuts: Where to cut; see `cutting.choose`.

    Returns:
        name, torch, inputs, operations, and for each place: name, shapes, bytes, macs and parameters up to there, and
        why it is a cut (empty: it is none).

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
    live, seen = document.live(), set()  # type: ignore[var-annotated]
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
    }
