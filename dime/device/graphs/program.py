"""Runs a document, or any range of its nodes, on Python 3.6 with torch 1.10 as on today's: an interpreter, no code.

Every node becomes a call that is looked up once, by a name of the allow-list; a value is dropped as soon as nothing
needs it, as in the model itself.
"""

import hashlib
import os
from typing import Callable, Dict, Iterator, List, Mapping, NamedTuple, Optional, Sequence, Set, Tuple, Union, cast

import torch
from torch import nn

from dime.contract.errors import DeviceError, TableError
from dime.device.graphs import document as documents
from dime.device.graphs import operations
from dime.device.graphs.document import TENSORS, Document, Node, Value, size_bytes
from dime.device.graphs.operations import Call

Values = Dict[int, torch.Tensor]

# What changes its first argument in place, and what gives the same as a new tensor.
ANEW = {
    "tensor.add_": "tensor.add",
    "tensor.__iadd__": "tensor.__add__",
    "tensor.sub_": "tensor.sub",
    "tensor.__isub__": "tensor.__sub__",
    "tensor.mul_": "tensor.mul",
    "tensor.__imul__": "tensor.__mul__",
    "tensor.div_": "tensor.div",
    "tensor.__itruediv__": "tensor.__truediv__",
    "tensor.relu_": "tensor.relu",
    "tensor.sigmoid_": "tensor.sigmoid",
    "tensor.tanh_": "tensor.tanh",
    "tensor.clamp_": "tensor.clamp",
    "tensor.neg_": "tensor.neg",
    "tensor.exp_": "tensor.exp",
    "tensor.sqrt_": "tensor.sqrt",
    "tensor.log_": "tensor.log",
    "tensor.pow_": "tensor.pow",
    "tensor.masked_fill_": "tensor.masked_fill",
    "tensor.clamp_min_": "tensor.clamp_min",
    "tensor.clamp_max_": "tensor.clamp_max",
}

Step = NamedTuple(
    "Step",
    [
        ("call", Call),
        ("arguments", Callable[[Values], List[object]]),
        ("keywords", Callable[[Values], Dict[str, object]]),
        ("node", Node),
        ("rebinds", Optional[int]),
        ("drops", Tuple[int, ...]),
    ],
)
Step.__doc__ = (
    "A node made ready: its function, its arguments as makers, the value it replaces, the values that end here."
)


def load_tensors(document: Document, folder: str) -> Dict[str, torch.Tensor]:
    """Reads the document's constants and checks each by its hash.

    Raises:
        TableError: The file is missing, short, or holds something else than the document says.
    """
    path = os.path.join(folder, TENSORS)
    found: Dict[str, torch.Tensor] = {}
    try:
        if os.path.getsize(path) < sum(size_bytes(constant) for constant in document.constants.values()):
            raise TableError("{} is shorter than the network's tensors".format(path))
        with open(path, "rb") as stream:
            for name, constant in document.constants.items():
                stream.seek(constant.offset)
                content = stream.read(size_bytes(constant))
                if len(content) != size_bytes(constant) or hashlib.sha256(content).hexdigest() != constant.sha256:
                    raise TableError("{}: the tensor {} is not the one that was traced".format(path, name))
                found[name] = from_bytes(content, constant.shape, constant.dtype)
    except EnvironmentError as error:
        raise TableError("{}: {}".format(path, error.strerror))
    return found


def from_bytes(content: bytes, shape: Sequence[int], dtype: str) -> torch.Tensor:
    """A tensor of raw bytes, which are copied."""
    kind = getattr(torch, dtype)
    if not content:
        return torch.zeros(tuple(shape), dtype=kind)
    return torch.frombuffer(bytearray(content), dtype=kind).reshape(tuple(shape))


def to_bytes(tensor: torch.Tensor) -> bytes:
    """A tensor's raw bytes in C order."""
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    if flat.dtype == torch.bfloat16:
        flat = flat.view(torch.int16)
    content: bytes = flat.numpy().tobytes()
    return content


class Program(object):
    """A document that is ready to run.

    Args:
        document: The graph.
        tensors: Its constants, by name.

    Raises:
        DeviceError: This torch lacks operations; the message names each and where it stands first.
    """

    def __init__(self, document: Document, tensors: Dict[str, torch.Tensor]) -> None:
        self.document = document
        self._live = document.live()
        self._constants = dict(tensors)
        self._check_operations()

    def _check_operations(self) -> None:
        lacking: Dict[str, str] = {}
        for number, node in enumerate(self.document.nodes):
            if operations.find(node.operation) is None:
                lacking.setdefault(node.operation, "in {} (node {})".format(node.module or "the network", number))
        if lacking:
            raise DeviceError(
                "torch {} cannot run {}".format(
                    torch.__version__, "; ".join("{} {}".format(name, where) for name, where in sorted(lacking.items()))
                )
            )

    def move(self, move: Callable[[torch.Tensor], torch.Tensor]) -> None:
        """Moves all constants; parts that were made before keep the old ones."""
        self._constants = dict((name, move(tensor)) for name, tensor in self._constants.items())

    def place(self, number: int) -> Tuple[int, ...]:
        """The values that are needed before node ``number``, which is what crosses when the network is cut there."""
        return self._live[number]

    def part(self, first: int, last: int) -> "Part":
        """The nodes from first to last, both included, as one module.

        It takes the values of ``place(first)`` and gives those of ``place(last + 1)``: a tensor where it is one, a
        tuple where there are more.
        """
        return Part(self, first, last)

    def outputs(self, values: Values) -> object:
        """The network's output in its own form, from the values behind the last node."""
        return _Maker(self._constants).make(self.document.outputs)(values)


class Part(nn.Module):
    """A range of a program's nodes; see `Program.part`."""

    def __init__(self, program: Program, first: int, last: int) -> None:
        super(Part, self).__init__()
        self.enters, self.leaves = program.place(first), program.place(last + 1)
        nodes = program.document.nodes[first : last + 1]
        names = sorted(set(documents.references([[n.arguments, n.keywords] for n in nodes], "constant")))
        self._names = dict((name, "tensor_{}".format(number)) for number, name in enumerate(names))
        for name, spelled in self._names.items():
            self.register_buffer(spelled, program._constants[name])
        self._nodes, self._values = nodes, program.document.values
        self._anew, self._copied = _kept_inputs(program.document, nodes, self.enters)
        self._steps: Optional[List[Step]] = None

    def ready(self) -> "Part":
        """The same, with all that would else be done in the first run."""
        self._steps = self._prepare()
        return self

    def watched(self) -> "Part":
        """The same, with each operation's result compared with what the document declares; for one run, no timing."""
        self._steps = [
            step._replace(call=_watched(step.call, step.node, step.rebinds, self._values)) for step in self._prepare()
        ]
        return self

    def _apply(self, fn: Callable[[torch.Tensor], torch.Tensor], *rest: object) -> "Part":
        self._steps = None  # tensors have moved
        moved: Part = super(Part, self)._apply(fn, *rest)  # type: ignore[no-untyped-call]
        return moved

    def forward(
        self, inputs: Union[torch.Tensor, Sequence[torch.Tensor]]
    ) -> Union[torch.Tensor, Tuple[torch.Tensor, ...]]:
        if self._steps is None:
            self._steps = self._prepare()
        given = inputs if isinstance(inputs, (tuple, list)) else (inputs,)
        values: Values = dict(zip(self.enters, given))
        for number in self._copied:
            values[number] = values[number].clone()
        for call, arguments, keywords, node, rebinds, drops in self._steps:
            output = call(*arguments(values), **keywords(values))
            if rebinds is not None:
                values[rebinds] = output
            elif node.single:
                if node.outputs[0] is not None:
                    values[node.outputs[0]] = output
            else:
                for made, one in zip(node.outputs, output if node.outputs else ()):
                    if made is not None:
                        values[made] = one
            for number in drops:
                del values[number]
        if len(self.leaves) == 1:
            return values[self.leaves[0]]
        return tuple(values[number] for number in self.leaves)

    def _prepare(self) -> List[Step]:
        maker = _Maker(dict((name, getattr(self, spelled)) for name, spelled in self._names.items()))
        needed = set(self.leaves)
        drops: List[Tuple[int, ...]] = []
        present: Set[int] = set(self.enters)
        for node in self._nodes:
            present.update(number for number in node.outputs if number is not None)
        for node in reversed(self._nodes):
            taken = set(documents.references([node.arguments, node.keywords], "value")) | set(
                number for number in node.outputs if number is not None
            )
            drops.append(tuple(sorted(taken - needed)))
            needed |= taken
        drops.reverse()
        anew = set(self._anew)
        steps = []
        for node, ends in zip(self._nodes, drops):
            operation, keywords, rebinds = node.operation, node.keywords, None
            target = _target(node)
            if target in anew and target in node.mutates:
                anew.discard(target)
                rebinds = target
                if keywords.get("inplace") is True:
                    keywords = dict(keywords, inplace=False)
                else:
                    operation = ANEW[operation]
            if operation.startswith("module."):
                steps.append(self._module(maker, node, ends))
                continue
            call = operations.find(operation)
            assert call is not None
            arguments, named = (
                maker.listed(node.arguments),
                maker.named(operations.without_newer(operation, keywords)),
            )
            steps.append(Step(call, arguments, named, node, rebinds, ends))
        return steps

    def _module(self, maker: "_Maker", node: Node, ends: Tuple[int, ...]) -> Step:
        described, arguments = node.arguments
        parts = cast(Dict[str, Mapping[str, torch.Tensor]], maker.make(described)({}))
        known = operations.MODULES[node.operation.partition(".")[2]]
        strange = [str(key)[:80] for key in parts["made"] if key not in known]
        if strange:
            raise TableError("{} is made with {}".format(node.operation, ", ".join(strange)))
        kind = operations.find(node.operation)
        assert kind is not None
        module = kind(**dict(parts["made"]))
        module.eval()
        state = parts["state"]
        for path, tensor in state.items():
            holder = module
            for step in path.split(".")[:-1]:
                holder = holder._modules[step]
            leaf = path.split(".")[-1]
            if leaf not in holder._parameters and leaf not in holder._buffers:
                raise TableError("{} has no tensor {}".format(node.operation, path))
            if leaf in holder._parameters:
                setattr(holder, leaf, nn.Parameter(tensor, requires_grad=False))  # an LSTM keeps a list of them, too
            else:
                holder._buffers[leaf] = tensor
        given = cast(Dict[str, List[Tuple[str, object]]], node.keywords["call"])
        named = operations.without_newer(node.operation, dict((key, value) for key, value in given["dict"]))
        call = module if node.single else _flattened(module)
        return Step(call, maker.listed(cast(List[object], arguments)), maker.named(named), node, None, ends)


def _flattened(module: Call) -> Call:
    """A module that gives all tensors of its nested output in one list."""
    return lambda *arguments, **keywords: list(leaves(module(*arguments, **keywords)))


def leaves(output: object) -> Iterator[object]:
    """What an operation's nested lists and tuples hold, in order."""
    if isinstance(output, (list, tuple)):
        for part in output:
            for found in leaves(part):
                yield found
    else:
        yield output


def _watched(call: Call, node: Node, rebinds: Optional[int], values: Sequence[Value]) -> Call:
    """An operation that refuses to give anything but what the document declares."""
    numbers = [rebinds] if rebinds is not None else node.outputs

    def watched(*arguments: object, **keywords: object) -> object:
        output = call(*arguments, **keywords)
        found = [output] if node.single or rebinds is not None else list(leaves(output))
        for number, one in zip(numbers, found + [None] * len(numbers)):
            if number is None:
                continue
            declared = told(values[number].shape, values[number].dtype)
            given = told(one.shape, one.dtype) if isinstance(one, torch.Tensor) else "nothing"
            if given != declared:
                where = node.module or "the network"
                raise DeviceError("{} in {} gives {} here, not {}".format(node.operation, where, given, declared))
        return output

    return watched


def told(shape: Sequence[int], dtype: object) -> str:
    """A tensor's dtype and shape in words."""
    return "{} of {}".format(str(dtype).rsplit(".", 1)[-1], "x".join(map(str, shape)) or "a number")


def _target(node: Node) -> Optional[int]:
    """The value that a node's first argument is, if it is one."""
    first = node.arguments[0] if node.arguments else None
    number = first.get("value") if isinstance(first, dict) else None
    return number if isinstance(number, int) else None


def _kept_inputs(document: Document, nodes: Sequence[Node], enters: Sequence[int]) -> Tuple[List[int], List[int]]:
    """What must be done for entering values that a range changes in place, since a feature map is used again and again.

    Returns:
        Values whose first change makes a new tensor instead, which costs nothing; and those that are copied first,
        since views of them would miss the change.
    """
    values = document.values
    seen = set(enters)
    for node in nodes:
        seen.update(number for number in node.outputs if number is not None)
    first: Dict[int, Node] = {}
    for node in nodes:
        for number in node.mutates:
            first.setdefault(values[number].memory, node)
    anew: List[int] = []
    copied: List[int] = []
    for number in enters:
        changing = first.get(values[number].memory)
        if changing is None:
            continue
        alone = sum(values[other].memory == values[number].memory for other in seen) == 1
        twin = changing.keywords.get("inplace") is True or changing.operation in ANEW
        (anew if alone and twin and _target(changing) == number else copied).append(number)
    return anew, copied


class _Maker(object):
    """Turns encoded arguments into functions of the values that give the arguments themselves."""

    def __init__(self, constants: Dict[str, torch.Tensor]) -> None:
        self._constants = constants

    def listed(self, arguments: List[object]) -> Callable[[Values], List[object]]:
        return cast(Callable[[Values], List[object]], self.make(arguments))

    def named(self, keywords: Dict[str, object]) -> Callable[[Values], Dict[str, object]]:
        pairs = [[key, value] for key, value in sorted(keywords.items())]
        return cast(Callable[[Values], Dict[str, object]], self.make({"dict": pairs}))

    def make(self, argument: object) -> Callable[[Values], object]:
        if not any(True for _ in documents.references(argument, "value")):
            made = self._plain(argument)
            return lambda values: made
        if isinstance(argument, list):
            parts = [self.make(part) for part in argument]
            return lambda values: [part(values) for part in parts]
        assert isinstance(argument, dict)  # what else names a value
        ((kind, content),) = argument.items()
        if kind == "value":
            return lambda values: values[content]
        if kind == "tuple":
            parts = [self.make(part) for part in content]
            return lambda values: tuple(part(values) for part in parts)
        if kind == "dict":
            keys, parts = [key for key, _ in content], [self.make(part) for _, part in content]
            return lambda values: dict((key, part(values)) for key, part in zip(keys, parts))
        if kind == "slice":
            parts = [self.make(part) for part in content]
            return lambda values: slice(*[part(values) for part in parts])
        raise TableError("an argument of unknown kind")

    def _plain(self, argument: object) -> object:  # noqa: PLR0911 - a return for each kind of argument
        if isinstance(argument, list):
            return [self._plain(part) for part in argument]
        if not isinstance(argument, dict):
            return argument
        ((kind, content),) = argument.items()
        if kind == "constant":
            return self._constants[content]
        if kind == "tuple":
            return tuple(self._plain(part) for part in content)
        if kind == "dict":
            return dict((key, self._plain(part)) for key, part in content)
        if kind == "slice":
            return slice(*[self._plain(part) for part in content])
        if kind == "ellipsis":
            return Ellipsis
        if kind == "dtype":
            return getattr(torch, content)
        if kind == "layout":
            return getattr(torch, content)
        if kind == "float":
            return float(content)
        raise TableError("an argument of unknown kind")
