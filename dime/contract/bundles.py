"""Bundles: contiguous runs of a network's layers, and how they are spelled in tables and plans."""

import re
from typing import Iterable, List, NamedTuple, Optional, Sequence, Tuple

from dime.contract.errors import InputError

Bundle = NamedTuple("Bundle", [("first", int), ("last", int)])
Bundle.__doc__ = "A contiguous run of layers, by zero-based index; ``last`` is included."


def enumerate_bundles(layer_count: int, max_layers: Optional[int] = None) -> List[Bundle]:
    """Lists every bundle of a chain.

    Args:
        layer_count: Number of layers in the chain.
        max_layers: Largest number of layers in a bundle; None for no limit.

    Returns:
        list: Bundles ordered by first, then last layer. N layers without a limit give N (N + 1) / 2.
    """
    longest = layer_count if max_layers is None else min(max_layers, layer_count)
    return [
        Bundle(first, last) for first in range(layer_count) for last in range(first, min(first + longest, layer_count))
    ]


def covers(bundles: Iterable[Tuple[int, int]], layer_count: int) -> bool:
    """Tells whether bundles, in this order, tile the chain: each layer in exactly one of them.

    Args:
        bundles: Sequence of Bundle.
        layer_count: Number of layers in the chain.

    Returns:
        bool: True if they do.
    """
    reached = 0
    for first, last in bundles:
        if first != reached or last < first:
            return False
        reached = last + 1
    return reached == layer_count


def spell(bundle: Bundle, layers: Sequence[str]) -> str:
    """Names a bundle.

    Names without an underscore are joined in full (``conv1_conv2_conv3``). Where any layer of the network has one in
    its name, the first and the last are joined by two (``encoder_layer_0__head``), which stays unambiguous.

    Args:
        bundle: The bundle.
        layers: All layer names of the network, in order.

    Returns:
        str: The bundle's name; a bundle of one layer has that layer's name.
    """
    members = layers[bundle.first : bundle.last + 1]
    if len(members) == 1:
        return members[0]
    if any("_" in layer for layer in layers):
        return members[0] + "__" + members[-1]
    return "_".join(members)


def canonical(name: object) -> str:
    """Renders a published spelling of layer names in ours: ``enc_layer_N`` is ``encoder_layer_N``."""
    return re.sub(r"(?<![a-z])enc_layer_(?=\d)", "encoder_layer_", str(name).strip())


def parse(name: object, layers: Sequence[str]) -> Bundle:
    """Finds the bundle that a name spells, in our spelling or in the published one.

    Accepted: ``conv1_conv2_conv3`` or ``conv1__conv2__conv3`` (all members), ``conv1__conv3`` (first and last), and
    ``enc_layer_N`` for ``encoder_layer_N`` in each form.

    Args:
        name: A bundle's name.
        layers: All layer names of the network, in order.

    Returns:
        Bundle: The bundle.

    Raises:
        InputError: The name is not a contiguous run of these layers.
    """
    text = canonical(name)
    index = {layer: position for position, layer in enumerate(layers)}
    if text in index:
        return Bundle(index[text], index[text])
    places = [index.get(member, -1) for member in text.split("__")]
    ends = Bundle(places[0], places[-1])
    if 0 <= ends.first < ends.last and (len(places) == 2 or places == list(range(ends.first, ends.last + 1))):
        return ends
    for start, layer in enumerate(layers):
        if text.startswith(layer + "_"):
            joined = layer
            for end in range(start + 1, len(layers)):
                joined += "_" + layers[end]
                if joined == text:
                    return Bundle(start, end)
    raise InputError("'{}' is not a contiguous run of the layers {}".format(name, ", ".join(layers)))
