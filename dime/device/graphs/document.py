"""graph.json: a network's operations, values and tensors, checked before anything of it is believed.

| key | holds |
|---|---|
| format, version, torch, name | what this file is, and which torch traced it |
| values | shape, dtype and memory of each value, by number; views of each other have one memory |
| inputs | numbers of the values that enter |
| outputs | what leaves: one value, a list or a mapping of them |
| nodes | operations in the order in which they run |
| constants | tensors in tensors.raw: name, shape, dtype, offset and SHA-256 |
| layers | where the network is cut: a name and the number of its last node, for each layer |

An argument is a plain JSON value, or an object of one key: ``value`` N, ``constant`` NAME, ``tuple`` [..], ``slice``
[a, b, c], ``ellipsis``, ``dtype`` NAME, ``float`` "inf", "-inf" or "nan", ``layout`` NAME.
"""

import hashlib
import json
import os
from typing import (
    TYPE_CHECKING,
    Dict,
    Iterator,
    List,
    NamedTuple,
    NoReturn,
    Optional,
    Sequence,
    Set,
    Tuple,
    Union,
    overload,
)

from dime.contract.errors import TableError

if TYPE_CHECKING:
    from typing import Literal  # novm

FORMAT, VERSION = "dime graph", 1
GRAPH, TENSORS = "graph.json", "tensors.raw"
LARGEST_FILE_BYTES = 32 << 20
MOST_NODES = 50000
MOST_TOKENS = 1000000  # objects, lists and members of them
MOST_NEEDED = 5000000  # values that are needed, summed over all places
LARGEST_VALUE_BYTES = 4 << 30
LARGEST_AT_ONCE_BYTES = 16 << 30
DEEPEST = 16
LAYOUTS = ("contiguous_format", "preserve_format", "channels_last")
ITEM_BYTES = {
    "float16": 2, "bfloat16": 2, "float32": 4, "float64": 8, "uint8": 1, "int8": 1, "int16": 2, "int32": 4,
    "int64": 8, "bool": 1,
}  # fmt: skip

Value = NamedTuple("Value", [("shape", Tuple[int, ...]), ("dtype", str), ("memory", int)])
Value.__doc__ = (
    "Shape and dtype of one tensor that the network computes; those of one ``memory`` are views of each other."
)

Constant = NamedTuple(
    "Constant", [("name", str), ("shape", Tuple[int, ...]), ("dtype", str), ("offset", int), ("sha256", str)]
)
Constant.__doc__ = "A tensor in tensors.raw: C order, little-endian."

Node = NamedTuple(
    "Node",
    [
        ("operation", str),
        ("module", str),
        ("arguments", List[object]),
        ("keywords", Dict[str, object]),
        ("outputs", List[Optional[int]]),
        ("single", bool),
        ("mutates", List[int]),
    ],
)
Node.__doc__ = """One operation.

``module`` is where in the model it stands; ``single`` tells a tensor from a sequence of them; a ``None`` among the
outputs is something that nothing uses; ``mutates`` are values that it changes in place.
"""

Layer = NamedTuple("Layer", [("name", str), ("last", int)])
Layer.__doc__ = "A run of nodes up to ``last``, behind the layer before."


def size_bytes(value: "Union[Value, Constant]") -> int:
    """Bytes of a value's or constant's tensor."""
    count = ITEM_BYTES[value.dtype]
    for length in value.shape:
        count *= length
    return count


class Document(NamedTuple(
    "Document",
    [
        ("name", str),
        ("torch", str),
        ("values", List[Value]),
        ("inputs", List[int]),
        ("outputs", object),
        ("nodes", List[Node]),
        ("constants", Dict[str, Constant]),
        ("layers", List[Layer]),
    ],
)):  # fmt: skip
    """A checked graph; see the module for its parts."""

    def live(self) -> List[Tuple[int, ...]]:
        """The values that are still needed at each place: before node 0, ..., behind the last node."""
        needed: Set[int] = set(references(self.outputs, "value"))
        places, total = [tuple(sorted(needed))], len(needed)
        for node in reversed(self.nodes):
            needed.difference_update(number for number in node.outputs if number is not None)
            needed.update(references([node.arguments, node.keywords], "value"))
            total += len(needed)
            if total > MOST_NEEDED:
                raise TableError("too many values are needed at too many places")
            places.append(tuple(sorted(needed)))
        places.reverse()
        places[0] = tuple(self.inputs)
        return places

    def largest_bytes(self) -> Tuple[int, int]:
        """Most bytes that values take at once, as the document declares them, and the node at which they do."""
        sizes: Dict[int, int] = {}
        counts: Dict[int, int] = {}
        for value in self.values:
            sizes[value.memory] = max(sizes.get(value.memory, 0), size_bytes(value))
        needed: Set[int] = set()
        held: int = 0
        largest, where = 0, 0

        def change(number: int, by: int) -> int:
            memory = self.values[number].memory
            before = counts.get(memory, 0)
            counts[memory] = before + by
            return sizes[memory] * (int(before + by > 0) - int(before > 0))

        for number in set(references(self.outputs, "value")):
            needed.add(number)
            held += change(number, 1)
        for position in range(len(self.nodes) - 1, -1, -1):
            node = self.nodes[position]
            made = set(number for number in node.outputs if number is not None)
            for number in made.union(references([node.arguments, node.keywords], "value")) - needed:
                needed.add(number)
                held += change(number, 1)
            if held > largest:
                largest, where = held, position
            for number in made:
                needed.discard(number)
                held += change(number, -1)
        return largest, where

    def boundary_bytes(self, place: Sequence[int]) -> int:
        """Bytes of the values at a place."""
        return sum(size_bytes(self.values[number]) for number in place)


@overload
def references(argument: object, kind: "Literal['value']") -> Iterator[int]: ...


@overload
def references(argument: object, kind: "Literal['constant']") -> Iterator[str]: ...


def references(argument: object, kind: str) -> Iterator[object]:
    """Every value (or constant) that an argument names, however deep."""
    return _references(argument, kind)


def _references(argument: object, kind: str) -> Iterator[object]:
    if isinstance(argument, dict):
        if set(argument) == {kind}:
            yield argument[kind]
            return
        for part in argument.values():
            for found in _references(part, kind):
                yield found
    elif isinstance(argument, (list, tuple)):
        for part in argument:
            for found in _references(part, kind):
                yield found


def to_json(document: Document) -> bytes:
    """Renders a document; the same document gives the same bytes."""
    content = {
        "format": FORMAT,
        "version": VERSION,
        "name": document.name,
        "torch": document.torch,
        "values": [[list(value.shape), value.dtype, value.memory] for value in document.values],
        "inputs": document.inputs,
        "outputs": document.outputs,
        "nodes": [dict(node._asdict()) for node in document.nodes],
        "constants": [dict(one._asdict(), shape=list(one.shape)) for one in document.constants.values()],
        "layers": [dict(layer._asdict()) for layer in document.layers],
    }
    return (json.dumps(content, sort_keys=True, allow_nan=False, separators=(",", ":")) + "\n").encode()


def read(folder: str) -> Tuple[Document, str]:
    """Reads and checks graph.json.

    Args:
        folder: The folder that holds it.

    Returns:
        The document, and the file's SHA-256.

    Raises:
        TableError: It is missing, too large, damaged, of a newer format, or not consistent; the message says where.
    """
    path = os.path.join(folder, GRAPH)
    try:
        with open(path, "rb") as stream:
            content = stream.read(LARGEST_FILE_BYTES + 1)
    except EnvironmentError as error:
        raise TableError("{}: {}".format(path, error.strerror))
    if len(content) > LARGEST_FILE_BYTES:
        raise TableError("{} is larger than {} MiB".format(path, LARGEST_FILE_BYTES >> 20))
    try:
        return from_json(content), hashlib.sha256(content).hexdigest()
    except TableError as error:
        raise TableError("{}: {}".format(path, error))


def from_json(content: bytes) -> Document:
    """Checks a document's text; see `read`."""
    if content.count(b'"operation"') > MOST_NODES:  # before a parser makes objects of them
        raise TableError("more than {} operations".format(MOST_NODES))
    if content.count(b",") + content.count(b"[") + content.count(b"{") > MOST_TOKENS:
        raise TableError("more than {} members of lists and objects".format(MOST_TOKENS))
    try:
        raw = json.loads(content.decode("utf-8"), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise TableError("not JSON ({})".format(error))
    if not isinstance(raw, dict) or raw.get("format") != FORMAT:
        raise TableError("not a network's graph")
    if raw.get("version") != VERSION:
        raise TableError("of version {}, this DIME reads {}: update it".format(_short(raw.get("version")), VERSION))
    try:
        return _Checker(raw).document()
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise TableError("damaged: {}".format(_short(error)))


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError("{} is not JSON".format(text))


def _short(thing: object) -> str:
    return repr(str(thing)[:80])


def _list(thing: object, what: str, most: int = MOST_NODES) -> List[object]:
    if not isinstance(thing, list) or len(thing) > most:
        raise ValueError("{} is no list of at most {}".format(what, most))
    return thing


def _object(thing: object, what: str) -> Dict[str, object]:
    if not isinstance(thing, dict):
        raise ValueError("{} is no object".format(what))
    return thing


def _text(thing: object, what: str) -> str:
    if not isinstance(thing, str) or len(thing) > 200 or not thing.isprintable():
        raise ValueError("{} is no short text".format(what))
    return thing


def _whole(thing: object, what: str, most: int) -> int:
    if not isinstance(thing, int) or isinstance(thing, bool) or not 0 <= thing < most:
        raise ValueError("{} {} is not in 0..{}".format(what, _short(thing), most - 1))
    return thing


def _tensor(shape: object, dtype: object, what: str, memory: int = 0) -> Value:
    if not isinstance(dtype, str) or dtype not in ITEM_BYTES:
        raise ValueError("{} has the dtype {}".format(what, _short(dtype)))
    value = Value(tuple(_whole(n, "a length of " + what, 1 << 40) for n in _list(shape, "a shape", 16)), dtype, memory)
    if size_bytes(value) > LARGEST_VALUE_BYTES:
        raise ValueError("{} has {} bytes; at most {}".format(what, size_bytes(value), LARGEST_VALUE_BYTES))
    return value


class _Checker(object):
    """Turns parsed JSON into a document, or raises ValueError, KeyError or TypeError."""

    def __init__(self, raw: Dict[str, object]) -> None:
        self._raw = raw
        self._values = [
            _tensor(entry[0], entry[1], "value {}".format(number), _whole(entry[2], "a memory", MOST_NODES * 2))
            for number, entry in enumerate(_list(one, "a value") for one in _list(raw["values"], "values"))
        ]
        self._constants: Dict[str, Constant] = {}
        self._known: Set[int] = set()

    def document(self) -> Document:
        raw = self._raw
        for entry in _list(raw["constants"], "constants"):
            self._constant(_object(entry, "a constant"))
        inputs = [self._number(n) for n in _list(raw["inputs"], "inputs", 64)]
        self._known.update(inputs)
        nodes = [self._node(n, _object(entry, "a node")) for n, entry in enumerate(_list(raw["nodes"], "nodes"))]
        outputs = raw["outputs"]
        self._argument(outputs, "the outputs", 0)
        layers, last = [], -1
        for one in _list(raw["layers"], "layers"):
            entry = _object(one, "a layer")
            layer = Layer(_text(entry["name"], "a layer's name"), _whole(entry["last"], "a layer's end", len(nodes)))
            if layer.last <= last:
                raise ValueError("layer {} ends before it starts".format(_short(layer.name)))
            last = layer.last
            layers.append(layer)
        if layers and last != len(nodes) - 1:
            raise ValueError("the layers do not hold the last node")
        if len(set(layer.name for layer in layers)) < len(layers):
            raise ValueError("two layers have one name")
        if not inputs or not nodes:
            raise ValueError("no input or no operation")
        name, torch = _text(raw["name"], "the name"), _text(raw["torch"], "the version of torch")
        document = Document(name, torch, self._values, inputs, outputs, nodes, self._constants, layers)
        largest, where = document.largest_bytes()
        if largest > LARGEST_AT_ONCE_BYTES:
            raise ValueError("node {} needs {} bytes at once; at most {}".format(where, largest, LARGEST_AT_ONCE_BYTES))
        return document

    def _constant(self, entry: Dict[str, object]) -> None:
        name = _text(entry["name"], "a constant's name")
        value = _tensor(entry["shape"], entry["dtype"], "constant {}".format(_short(name)))
        digest = _text(entry["sha256"], "a hash")
        if name in self._constants or len(digest) != 64:
            raise ValueError("constant {} is there twice or has no hash".format(_short(name)))
        self._constants[name] = Constant(
            name, value.shape, value.dtype, _whole(entry["offset"], "an offset", 1 << 50), digest
        )

    def _number(self, thing: object) -> int:
        return _whole(thing, "a value's number", len(self._values))

    def _node(self, position: int, entry: Dict[str, object]) -> Node:
        where = "node {}".format(position)
        operation, module = _text(entry["operation"], where), _text(entry["module"], where)
        arguments = _list(entry["arguments"], "the arguments of " + where, 64)
        keywords = entry["keywords"]
        if not isinstance(keywords, dict) or not isinstance(entry["single"], bool):
            raise ValueError("{} has no keywords".format(where))
        for argument in list(arguments) + list(keywords.values()):
            self._argument(argument, where, 0)
        outputs = [None if n is None else self._number(n) for n in _list(entry["outputs"], "outputs", 1024)]
        mutates = [self._number(n) for n in _list(entry["mutates"], "mutates", 16)]
        produced = [n for n in outputs if n is not None]
        if self._known.intersection(produced) or len(set(produced)) < len(produced):
            raise ValueError("{} makes a value that is there already".format(where))
        if not self._known.issuperset(mutates) or (entry["single"] and len(outputs) != 1):
            raise ValueError("{} changes a value that is not there yet, or has no output".format(where))
        self._known.update(produced)
        return Node(operation, module, arguments, keywords, outputs, entry["single"], mutates)

    def _argument(self, argument: object, where: str, depth: int) -> None:  # noqa: PLR0912 - a branch for each kind of argument
        if depth > DEEPEST:
            raise ValueError("{} has arguments deeper than {}".format(where, DEEPEST))
        if argument is None or isinstance(argument, (bool, float)):
            return
        if isinstance(argument, int):
            if abs(argument) >= 1 << 62:
                raise ValueError("{} has a number that is too large".format(where))
            return
        if isinstance(argument, str):
            _text(argument, where)
            return
        if isinstance(argument, list):
            for part in _list(argument, where, 4096):
                self._argument(part, where, depth + 1)
            return
        if not isinstance(argument, dict) or len(argument) != 1:
            raise ValueError("{} has an argument that is none".format(where))
        ((kind, content),) = argument.items()
        if kind == "value":
            if self._number(content) not in self._known:
                raise ValueError("{} takes value {}, which is not there yet".format(where, content))
        elif kind == "constant":
            if not isinstance(content, str) or content not in self._constants:
                raise ValueError("{} takes an unknown constant".format(where))
        elif kind in ("tuple", "slice", "dict"):
            for part in _list(content, where, 4096):
                self._argument(part, where, depth + 1)
            if kind == "slice" and len(content) != 3:
                raise ValueError("{} has a slice of {} parts".format(where, len(content)))
        elif not (
            (kind == "ellipsis" and content is True)
            or (kind == "dtype" and content in ITEM_BYTES)
            or (kind == "layout" and content in LAYOUTS)
            or (kind == "float" and content in ("inf", "-inf", "nan"))
        ):
            raise ValueError("{} has an argument of unknown kind".format(where))
