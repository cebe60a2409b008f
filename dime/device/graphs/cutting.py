"""Where a network is cut: which of the places between its operations are worth a measurement.

A single cut at a place can be the best at some bandwidth only if the place lies on the lower convex hull of (work so
far, bytes that cross), as long as times add up. Bundles' times do not quite add up, so what lies near the hull stays,
too; and so do borders of blocks, which people speak of.
"""

from typing import TYPE_CHECKING, Dict, FrozenSet, List, NamedTuple, Optional, Sequence, Tuple

from dime.contract.errors import InputError
from dime.device.graphs.document import Layer

if TYPE_CHECKING:
    from dime.device.graphs.document import Document, Node
    from dime.device.graphs.tracing import Traced

NEAR = 0.10  # slack for what the hull does not know: a bundle's time differs from the sum of its layers'
SAME = 0.01  # of all work: places closer than this are one
FEWEST, MOST = 6, 16
MOST_ALL = 64  # bundles grow with the square of the layers

Place = NamedTuple(
    "Place",
    [
        ("node", int),
        ("name", str),
        ("tensors", int),
        ("size_bytes", int),
        ("work", int),
        ("border", int),
        ("kept", str),
    ],
)
Place.__doc__ = """A place behind a node where the network could be cut.

``work`` is the multiplications and moved elements up to there; ``border`` is how deep in the model the block lies that
ends there, or 0; ``kept`` is why it is a cut (``hull``, ``near``, ``border``, ``asked``, ``end``), or empty.
"""


def places(traced: "Traced") -> List[Place]:
    """Every place where the network can be cut, in order; the last is its end."""
    document, live = traced.document, traced.document.live()
    found: List[Place] = []
    used: Dict[str, int] = {}
    work = 0
    for number, node in enumerate(document.nodes):
        work += _work(document, traced, number)
        last = number == len(document.nodes) - 1
        if traced.shared[number + 1] and not last:
            continue
        scope = traced.scopes[number]
        following = () if last else traced.scopes[number + 1]
        name, border = _ended(scope, following, traced.items)
        if name is None:
            name = "{}.{}".format(scope[-1] if scope and scope[-1] else "", node.operation.split(".", 1)[1].strip("_"))
        name = _plain(name)
        used[name] = used.get(name, 0) + 1
        if used[name] > 1:
            name = "{}.{}".format(name, used[name])
        found.append(
            Place(number, name, len(live[number + 1]), document.boundary_bytes(live[number + 1]), work, border, "")
        )
    return found


def choose(traced: "Traced", cuts: str = "auto") -> List[Place]:
    """Marks the places to cut at.

    Args:
        traced: A traced network.
        cuts: ``auto``; ``all``; a number of layers; or names of places joined by commas.

    Returns:
        All places, with ``kept`` saying why each of the chosen ones is one.

    Raises:
        InputError: A name is none, a number is too large or too small, or there are too many.
    """
    found = places(traced)
    inner, end = found[:-1], found[-1]._replace(kept="end")
    start_bytes = traced.document.boundary_bytes(traced.document.inputs)
    if cuts == "all":
        if len(found) > MOST_ALL:
            raise InputError(
                "the network can be cut at {} places; CUTS=all is for at most {}: take CUTS=auto, a number, or"
                " names".format(len(found), MOST_ALL)
            )
        return [place._replace(kept="asked") for place in inner] + [end]
    if cuts == "auto":
        return _auto(inner, end, MOST, start_bytes) + [end]
    if cuts.isdigit():
        number = int(cuts)
        if not 1 <= number <= min(len(found), MOST_ALL):
            raise InputError("CUTS={}: the network gives 1 to {} layers".format(number, min(len(found), MOST_ALL)))
        return _auto(inner, end, number, start_bytes) + [end]
    asked = [name.strip() for name in cuts.split(",") if name.strip()]
    known = [place.name for place in inner]
    for name in asked:
        if name not in known:
            raise InputError(
                "CUTS: the network has no place '{}'; dime network shows them: {}".format(name, ", ".join(known[:12]))
            )
    return [place._replace(kept="asked" if place.name in asked else "") for place in inner] + [end]


def layers(chosen: Sequence[Place]) -> List[Layer]:
    """The layers between the chosen places; each is named after the place where it ends."""
    return [Layer(place.name, place.node) for place in chosen if place.kept]


def _auto(inner: List[Place], end: Place, most: int, start_bytes: int) -> List[Place]:
    """The hull first, then borders of blocks from the outermost inwards, then what else is near the hull."""
    hull = _hull([(0, start_bytes)] + [(place.work, place.size_bytes) for place in inner + [end]])
    depths = sorted(place.border for place in inner if place.border)
    deepest = depths[min(FEWEST, len(depths)) - 1] if depths else 0  # blocks inside blocks only where there are few
    ranked: List[Tuple[int, int, float, int, str]] = []
    for position, place in enumerate(inner):
        excess = place.size_bytes / max(1.0, _between(hull, place.work)) - 1
        if (place.work, place.size_bytes) in hull:
            ranked.append((0, 0, excess, position, "hull"))
        elif 0 < place.border <= deepest:
            ranked.append(
                (1 if excess <= NEAR else 2, place.border, excess, position, "near" if excess <= NEAR else "border")
            )
        elif excess <= NEAR:
            ranked.append((3, 0, excess, position, "near"))
    kept: Dict[int, str] = {}
    for rank, _, _, position, why in sorted(ranked):
        if len(kept) >= most - 1:
            break
        place, step = inner[position], end.work * (SAME if rank == 0 else 1.0 / (2 * MOST))
        others = [(0, start_bytes)] + [(inner[other].work, inner[other].size_bytes) for other in kept]
        if any(abs(work - place.work) < step and size <= place.size_bytes for work, size in others):
            continue  # so close to a cut that sends no more that it could hardly ever win
        kept[position] = why
    return [place._replace(kept=kept.get(position, "")) for position, place in enumerate(inner)]


def _hull(points: Sequence[Tuple[int, int]]) -> List[Tuple[int, int]]:
    """Lower convex hull of (work, bytes), from no work to all; of equal work the fewest bytes."""
    least: Dict[int, int] = {}
    for work, size in points:
        least[work] = min(least.get(work, size), size)
    hull: List[Tuple[int, int]] = []
    for point in sorted(least.items()):
        while len(hull) >= 2 and _lies_above(hull[-2], hull[-1], point):
            hull.pop()
        hull.append(point)
    return hull


def _lies_above(a: Tuple[int, int], b: Tuple[int, int], c: Tuple[int, int]) -> bool:
    """Whether b lies on or above the line from a to c."""
    return (b[1] - a[1]) * (c[0] - a[0]) >= (c[1] - a[1]) * (b[0] - a[0])


def _between(hull: Sequence[Tuple[int, int]], work: int) -> float:
    """Bytes of the hull at some work."""
    for (left, low), (right, high) in zip(hull, hull[1:]):
        if left <= work <= right:
            return low + (high - low) * (work - left) / float(right - left)
    return float(hull[-1][1])


def _ended(scope: Tuple[str, ...], following: Tuple[str, ...], items: FrozenSet[str]) -> Tuple[Optional[str], int]:
    """The outermost module that ends behind a node, and how deep it lies if it is a block, else 0."""
    inside = list(scope)
    stays = 0
    while stays < min(len(inside), len(following)) and inside[stays] == following[stays]:
        stays += 1
    ended = [path for path in inside[stays:] if path]
    if not ended:
        return None, 0
    return ended[0], ended[0].count(".") + 1 if ended[0] in items else 0


def _plain(name: str) -> str:
    """A name that tables, folders and bundles can carry."""
    kept = "".join(letter if letter.isalnum() or letter in "._-" else "-" for letter in name).strip(".-_")
    while "__" in kept:
        kept = kept.replace("__", "_")
    return kept[:80] or "cut"


def _work(document: "Document", traced: "Traced", number: int) -> int:
    """Multiplications of a node where it has any, and elements that it makes."""
    return macs(document, number) + sum(
        _count(document.values[n].shape) for n in document.nodes[number].outputs if n is not None
    )


def macs(document: "Document", number: int) -> int:  # noqa: PLR0911 - a return for each kind of operation
    """Multiply-accumulates of a node: convolutions, linear layers, matrix products and attention; 0 for all else."""
    node = document.nodes[number]
    outputs = [document.values[n].shape for n in node.outputs if n is not None]
    if not outputs:
        return 0
    kind, out = node.operation.split(".", 1)[1], _count(outputs[0])
    shapes = [_shape(document, argument) for argument in node.arguments]
    named = dict((key, _shape(document, argument)) for key, argument in node.keywords.items())
    weight = named.get("weight") or (shapes[1] if len(shapes) > 1 else None)
    if kind.startswith("conv_transpose") and weight and shapes[0]:
        return _count(shapes[0]) * _count(weight[1:])
    if kind.startswith("conv") and weight:
        return out * _count(weight[1:])
    if kind == "linear" and weight:
        return out * weight[-1]
    if kind in ("matmul", "__matmul__", "bmm", "addmm", "baddbmm") and shapes[0]:
        first = shapes[1] if kind in ("addmm", "baddbmm") else shapes[0]
        return out * first[-1] if first else 0
    if kind == "scaled_dot_product_attention" and weight:
        return 2 * out * weight[-2]
    if kind in ("MultiheadAttention", "TransformerEncoderLayer"):
        length = outputs[0][-2] if len(outputs[0]) > 1 else 1
        parameters = sum(_count(document.constants[name].shape) for name in _constants(node))
        return (out // outputs[0][-1]) * parameters + 2 * out * length
    return 0


def _constants(node: "Node") -> List[str]:
    from dime.device.graphs.document import references

    return list(references([node.arguments, node.keywords], "constant"))


def _shape(document: "Document", argument: object) -> Optional[Tuple[int, ...]]:
    if isinstance(argument, dict) and "value" in argument:
        return document.values[argument["value"]].shape
    if isinstance(argument, dict) and "constant" in argument:
        return document.constants[argument["constant"]].shape
    return None


def _count(shape: Sequence[int]) -> int:
    count = 1
    for length in shape:
        count *= length
    return count
