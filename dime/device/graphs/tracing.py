"""A model's graph: the model runs once on an example input, and every function of torch that it calls is written down.

Shapes and everything that follows from them are plain numbers by then; so a document is for one input shape, and any
model can be traced whose way through its code does not depend on the values of its input. What does not depend on the
input at all is computed once and stored. Needs today's torch; the documents run on older ones, too.
"""

import math
import traceback
from collections import OrderedDict
from collections.abc import Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Dict, FrozenSet, Iterator, List, Optional, Sequence, Set, Tuple, Type, cast

import torch
from torch import nn

from dime.contract.errors import InputError
from dime.device.graphs import document as documents
from dime.device.graphs import operations
from dime.device.graphs.document import Constant, Document, Node, Value
from dime.device.graphs.operations import Call
from dime.device.graphs.program import Program, leaves

MOST_NODES = 20000
# What a model learns of the input's values by these decides its way: only constants may be asked so.
REVEALING = (
    "__bool__ __contains__ __complex__ __float__ __index__ __int__ __array__ __iter_values__ item tolist numpy equal"
    " allclose is_nonzero nonzero unique masked_select argwhere"
).split()
# Their results hold nothing of their argument but its shape.
BY_SHAPE = "new_empty new_full new_ones new_tensor new_zeros empty_like full_like ones_like zeros_like".split()
FILLING = "__setitem__ __iadd__ __iand__ __idiv__ __imul__ __ior__ __isub__ __itruediv__ __ipow__".split()
RANDOM = (
    "rand randn randint randperm rand_like randn_like randint_like bernoulli multinomial normal poisson normal_"
    " uniform_"
).split()
Before = List[Tuple[torch.Tensor, int]]  # what a call took, and how often each was changed by then
NOTHING = "requires_grad_ _assert _assert_async register_hook retain_grad".split()


class Traced(object):
    """A model that was traced.

    Attributes:
        document: Its graph, without layers.
        tensors: Name -> tensor, for each of the document's constants.
        scopes: For each node the paths of the modules that it stands in, outermost first.
        items: Paths of modules that people speak of as blocks: parts of the whole, and items of a container.
        example: The input it was traced with.
        output: What the model itself gave for it.
        shared: For each place between nodes whether values are needed there that share memory and are changed later.
    """

    def __init__(
        self,
        document: Document,
        tensors: Dict[str, torch.Tensor],
        scopes: List[Tuple[str, ...]],
        items: FrozenSet[str],
        example: Tuple[torch.Tensor, ...],
        output: object,
        shared: List[bool],
    ) -> None:
        self.document, self.tensors, self.scopes, self.items = document, tensors, scopes, items
        self.example, self.output, self.shared = example, output, shared


def trace(model: nn.Module, example: Sequence[torch.Tensor], name: str) -> Traced:
    """Traces a model.

    Args:
        model: The model; it is put into evaluation mode.
        example: Its inputs, tensors.
        name: The network's name.

    Returns:
        Traced: The graph and its tensors.

    Raises:
        InputError: The model's way depends on its input's values, it changes its own state, gives another result each
            time, uses an operation that documents do not have, or gives no tensor; the message names it and its line.
    """
    model.eval()
    inputs = tuple(tensor.clone() for tensor in example)
    with torch.no_grad():
        output = _call(model, [tensor.clone() for tensor in inputs])
        recorder = _Recorder(model, inputs)
        with recorder.watching():
            traced_output = _call(model, inputs)
    if recorder.failure is not None:  # a model that catches exceptions does not make it traceable
        raise recorder.failure
    if not _same(output, traced_output):
        raise InputError("the network gives another result each time that it gets the same input")
    document = recorder.document(name, traced_output)
    example = tuple(tensor.clone() for tensor in example)
    return Traced(document, recorder.tensors, recorder.scopes, recorder.items, example, output, recorder.shared())


def check(traced: Traced, model: nn.Module, inputs: Sequence[torch.Tensor]) -> None:
    """Makes sure that a graph gives what its model gives, on another input than that of the trace.

    Raises:
        InputError: It does not.
    """
    program, last = Program(traced.document, traced.tensors), len(traced.document.nodes)
    with torch.no_grad():
        expected = _call(model, [tensor.clone() for tensor in inputs])
        found = program.part(0, last - 1)(tuple(tensor.clone() for tensor in inputs))
    found = found if isinstance(found, tuple) else (found,)
    if not _same(expected, program.outputs(dict(zip(program.place(last), found)))):
        raise InputError(
            "the network's graph gives something else than the network on an input that it was not traced with: its"
            " way depends on its input's values"
        )


def _same(one: object, other: object) -> bool:
    """Whether two outputs hold equal tensors; what is not a number in both is equal."""
    pairs = list(zip(_tensors(one), _tensors(other)))
    return all(a.shape == b.shape and bool(((a == b) | ((a != a) & (b != b))).all()) for a, b in pairs)  # noqa: PLR0124


def _call(model: nn.Module, inputs: Sequence[torch.Tensor]) -> object:
    try:
        return model(*inputs)
    except InputError:
        raise
    except Exception as error:
        shapes = ", ".join("x".join(map(str, tensor.shape)) for tensor in inputs)
        reason = " ".join(str(error).split())[:300]
        raise InputError(
            "the network fails on an input of {}: {} ({}); give the shape that it takes as INPUT, with the batch in"
            " front, such as 1x3x224x224".format(shapes, reason, _place(error.__traceback__))
        )


def _place(trace_back: Optional[TracebackType]) -> str:
    frames = traceback.extract_tb(trace_back)
    own = [frame for frame in frames if "/torch/" not in frame.filename and "/dime/device/" not in frame.filename]
    frame = (own or frames)[-1]
    return "{}:{}".format(frame.filename.rsplit("/", 1)[-1], frame.lineno)


def _line() -> str:
    """Where in the model's own code we are."""
    frames = traceback.extract_stack()
    own = [frame for frame in frames if "/torch/" not in frame.filename and "/dime/" not in frame.filename]
    frame = (own or frames)[-1]
    return "{}:{}: {}".format(frame.filename.rsplit("/", 1)[-1], frame.lineno, (frame.line or "").strip())


class _Recorder(torch.overrides.TorchFunctionMode if hasattr(torch.overrides, "TorchFunctionMode") else object):  # type: ignore[misc]
    """Writes down what is called."""

    def __init__(self, model: nn.Module, inputs: Tuple[torch.Tensor, ...]) -> None:
        super(_Recorder, self).__init__()
        self._spelled = operations.spelled()
        self._values: List[Value] = []
        self._numbers: Dict[int, int] = {}  # id of a tensor -> its value
        self._kept: List[torch.Tensor] = []  # so that no id is used twice
        self._storages: List[int] = []  # value -> its memory
        self._memories: Dict[int, int] = {}  # where a memory starts -> its number; none is freed meanwhile
        self._nodes: List[Node] = []
        self._stack: List[str] = []
        self.scopes: List[Tuple[str, ...]] = []
        self.tensors: Dict[str, torch.Tensor] = OrderedDict()
        self._constants: Dict[int, str] = {}  # id of a tensor -> its constant's name
        self._versions: Dict[str, int] = {}
        self.failure: Optional[InputError] = None
        self._before_filled: Optional[torch.Tensor] = None
        self._names: Dict[int, str] = {}
        for kind in (model.named_parameters(), model.named_buffers()):
            for path, tensor in kind:
                self._names.setdefault(id(tensor), path)
        self._paths: Dict[int, str] = {}
        for path, module in model.named_modules():
            self._paths.setdefault(id(module), path)
        containers = (nn.Sequential, nn.ModuleList, nn.ModuleDict)
        self.items = frozenset(
            path
            for path, module in model.named_modules()
            if path and isinstance(model.get_submodule(path.rpartition(".")[0]), containers) or path and "." not in path
        )
        self._leaves = dict((getattr(nn, name), name) for name in operations.MODULES)
        self._inputs = [self._new(tensor) for tensor in inputs]

    # ---- what surrounds a trace

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Records until it is left."""
        originals = dict((kind, kind.forward) for kind in self._leaves)
        enter = nn.modules.module.register_module_forward_pre_hook(
            lambda module, _: self._stack.append(self._path(module))
        )
        leave = nn.modules.module.register_module_forward_hook(self._leave)
        for kind, original in originals.items():
            kind.forward = self._leaf_forward(kind, original)
        try:
            with self:
                yield
        finally:
            for kind, original in originals.items():
                kind.forward = original
            enter.remove()
            leave.remove()

    def _leave(self, module: nn.Module, inputs: object, output: object) -> None:
        self._stack.pop()

    def _path(self, module: nn.Module) -> str:
        return self._paths.get(id(module), self._stack[-1] if self._stack else "")

    def _leaf_forward(self, kind: Type[nn.Module], original: Call) -> Call:
        def forward(module: nn.Module, *arguments: object, **keywords: object) -> object:
            with torch._C.DisableTorchFunction():
                before = self._changes(arguments, keywords)
                output = original(module, *arguments, **keywords)
            self._write("module." + self._leaves[kind], arguments, keywords, output, before, module)
            return output

        return forward

    # ---- what is called

    def __torch_function__(
        self, func: Call, types: object, args: Sequence[object] = (), kwargs: Optional[Dict[str, object]] = None
    ) -> object:
        keywords = dict(kwargs or {})
        name = getattr(func, "__name__", "")
        before = self._changes(args, keywords)
        self._snapshot(name, args, keywords)
        output = func(*args, **keywords)
        if self.failure is not None or torch.jit.is_scripting():  # type: ignore[attr-defined]
            return output
        try:
            self._called(func, name, args, keywords, output, before)
        except InputError as error:
            self.failure = self.failure or error
            raise
        return output

    def _called(
        self, func: Call, name: str, args: Sequence[object], keywords: Dict[str, object], output: object, before: Before
    ) -> None:
        tensors = list(_tensors([args, keywords]))
        depends = any(id(tensor) in self._numbers for tensor in tensors)
        changed = [tensor for tensor, version in before if tensor._version != version]
        if name in RANDOM:
            raise InputError(
                "the network draws random numbers, so no two of its results are equal ({})".format(_line())
            )
        if name in NOTHING or name in BY_SHAPE and not changed:
            return
        if not depends:
            for tensor in changed:
                self._must_be_unused(tensor)
            return
        if name in REVEALING:
            raise InputError(
                "the network's way depends on the values of its input, at {}; keep that out of the network, or name a"
                " part of it that has none".format(_line())
            )
        if not any(True for _ in _tensors(output)) and not changed:
            return  # a shape, a dtype, a device: a plain number from now on
        if not changed and all(any(one is tensor for tensor in tensors) for one in _tensors(output)):
            return  # gives back what it was given
        spelled = self._spelled.get(func)
        if spelled is None:
            where = getattr(func, "__qualname__", name) or repr(func)
            raise InputError("the operation {} is not among those that a device may run ({})".format(where, _line()))
        self._write(spelled, args, keywords, output, before, None)

    def _changes(self, args: Sequence[object], keywords: Dict[str, object]) -> Before:
        return [(tensor, tensor._version) for tensor in _tensors([args, keywords])]

    def _snapshot(self, name: str, args: Sequence[object], keywords: Dict[str, object]) -> None:
        """Keeps what a tensor that the network made holds before something of the input is written into it."""
        fills = name.endswith("_") and not name.endswith("__") or name in FILLING or keywords.get("inplace") is True
        first = args[0] if args else None
        if not fills or not isinstance(first, torch.Tensor) or id(first) in self._numbers:
            return
        if any(id(tensor) in self._numbers for tensor in _tensors([args, keywords])):
            self._before_filled = first.clone()

    def _must_be_unused(self, tensor: torch.Tensor) -> None:
        name = self._names.get(id(tensor)) or self._constants.get(id(tensor))
        if name:
            raise InputError("the network changes its own state, {}, at {}".format(name, _line()))

    def _write(
        self,
        operation: str,
        args: Sequence[object],
        keywords: Dict[str, object],
        output: object,
        before: Before,
        module: Optional[nn.Module],
    ) -> None:
        if len(self._nodes) >= MOST_NODES:
            raise InputError("the network has more than {} operations".format(MOST_NODES))
        changed = [tensor for tensor, version in before if tensor._version != version]
        mutates = []
        for tensor in changed:
            if id(tensor) not in self._numbers:
                self._must_be_unused(tensor)
                self._adopt(tensor)  # memory that the network made, and now fills from its input
            mutates.append(self._numbers[id(tensor)])
        arguments = [self._encode(argument, operation) for argument in args]
        named = OrderedDict((key, self._encode(value, operation)) for key, value in sorted(keywords.items()))
        if module is not None:
            arguments, named = (
                [self._module(module, operation), arguments],
                OrderedDict(call={"dict": [[k, v] for k, v in named.items()]}),
            )
        single = isinstance(output, torch.Tensor)
        outputs: List[Optional[int]] = []
        for one in [output] if single else leaves(output) if isinstance(output, (list, tuple)) else []:
            outputs.append(self._new(one) if isinstance(one, torch.Tensor) and id(one) not in self._numbers else None)
        path = self._stack[-1] if self._stack else ""
        self._nodes.append(Node(operation, path, arguments, dict(named), outputs, single, sorted(set(mutates))))
        self.scopes.append(tuple(self._stack))

    def _module(self, module: nn.Module, operation: str) -> Dict[str, object]:
        """A module as its constructor's arguments and its parameters."""
        kind = type(module).__name__
        made: Dict[str, object] = OrderedDict()
        for key in operations.MODULES[kind]:
            made[key] = _made_with(module, kind, key)
        tensors = list(module.named_parameters()) + list(module.named_buffers())
        return {
            "dict": [
                ["made", {"dict": [[key, self._encode(value, operation)] for key, value in made.items()]}],
                ["bias", any(path.endswith("bias") for path, _ in module.named_parameters())],
                ["state", {"dict": [[path, self._constant(tensor)] for path, tensor in tensors]}],
            ]
        }

    # ---- values and constants

    def _new(self, tensor: torch.Tensor) -> int:
        number = len(self._values)
        self._numbers[id(tensor)] = number
        self._kept.append(tensor)
        start = tensor.untyped_storage().data_ptr()
        memory = self._memories.setdefault(start, len(self._memories))
        self._values.append(Value(tuple(tensor.shape), _dtype(tensor.dtype), memory))
        self._storages.append(memory)
        return number

    def _adopt(self, tensor: torch.Tensor) -> None:
        """Makes a constant that is about to be filled from the input a value: a copy of it is where it starts."""
        assert self._before_filled is not None
        name = self._constant_name(tensor, self._before_filled)
        number = self._new(tensor)
        self._nodes.append(
            Node("tensor.clone", self._stack[-1] if self._stack else "", [{"constant": name}], {}, [number], True, [])
        )
        self.scopes.append(tuple(self._stack))

    def _constant(self, tensor: torch.Tensor) -> Dict[str, str]:
        if id(tensor) not in self._constants:
            self._constants[id(tensor)] = self._constant_name(tensor, tensor)
            self._kept.append(tensor)
        return {"constant": self._constants[id(tensor)]}

    def _constant_name(self, tensor: torch.Tensor, content: torch.Tensor) -> str:
        name = self._names.get(id(tensor)) or "computed.{}".format(len(self.tensors))
        while name in self.tensors:
            name += "_"
        self.tensors[name] = content.detach()
        self._versions[name] = tensor._version
        return name

    def _encode(self, argument: object, operation: str) -> object:  # noqa: PLR0911, PLR0912 - a return for each kind of argument
        if isinstance(argument, torch.Tensor):
            if id(argument) in self._numbers:
                return {"value": self._numbers[id(argument)]}
            return self._constant(argument)
        if argument is None or isinstance(argument, (bool, str)):
            return argument
        if isinstance(argument, int):
            return int(argument)
        if isinstance(argument, float):
            if not math.isfinite(argument):
                return {"float": str(argument)}
            return argument
        if isinstance(argument, tuple):
            return {"tuple": [self._encode(part, operation) for part in argument]}
        if isinstance(argument, list):
            return [self._encode(part, operation) for part in argument]
        if isinstance(argument, slice):
            return {"slice": [self._encode(part, operation) for part in (argument.start, argument.stop, argument.step)]}
        if argument is Ellipsis:
            return {"ellipsis": True}
        if isinstance(argument, torch.dtype):
            return {"dtype": _dtype(argument)}
        if isinstance(argument, torch.memory_format):
            return {"layout": str(argument).rsplit(".", 1)[-1]}
        if isinstance(argument, torch.device):
            return None
        if hasattr(argument, "item") and getattr(argument, "shape", None) == ():  # a number of numpy's
            return self._encode(argument.item(), operation)
        raise InputError(
            "{} takes a {}, which no device can be told ({})".format(operation, type(argument).__name__, _line())
        )

    # ---- the whole

    def document(self, name: str, output: object) -> Document:
        """The graph of all that was recorded; what its output does not need is left out."""
        outputs = self._outputs = self._structure(output)
        for constant, version in self._versions.items():
            tensor = self.tensors[constant]
            if tensor._version != version and not constant.startswith("computed."):
                raise InputError("the network changes its own state: {}".format(constant))
        self._drop_unused(outputs)
        constants = OrderedDict(
            (key, Constant(key, tuple(tensor.shape), _dtype(tensor.dtype), 0, "0" * 64))
            for key, tensor in self.tensors.items()
        )
        if not self._nodes:
            raise InputError("the network computes nothing from its input")
        return Document(
            name, torch.__version__.split("+")[0], self._values, self._inputs, outputs, self._nodes, constants, []
        )

    def _structure(self, output: object) -> Dict[str, object]:
        if isinstance(output, torch.Tensor):
            if id(output) not in self._numbers:
                raise InputError("the network's output does not depend on its input")
            return {"value": self._numbers[id(output)]}
        if isinstance(output, (list, tuple)):
            return {"tuple": [self._structure(part) for part in output if part is not None]}
        if isinstance(output, Mapping):
            return {"dict": [[str(key), self._structure(part)] for key, part in output.items() if part is not None]}
        raise InputError(
            "the network gives a {}; its output must be a tensor, or a list, tuple or dict of tensors".format(
                type(output).__name__
            )
        )

    def _drop_unused(self, outputs: object) -> None:
        """Leaves out operations whose results nothing needs; one that changes memory stays if anything shares it."""
        needed = set(documents.references(outputs, "value"))
        memory = set(self._storages[number] for number in needed)
        nodes, scopes = [], []
        for node, scope in reversed(list(zip(self._nodes, self.scopes))):
            changes = any(self._storages[number] in memory for number in node.mutates)
            if not changes and not any(number in needed for number in node.outputs):
                continue
            taken = list(documents.references([node.arguments, node.keywords], "value"))
            needed.update(taken)
            memory.update(self._storages[number] for number in taken)
            nodes.append(node)
            scopes.append(scope)
        self._nodes, self.scopes = nodes[::-1], scopes[::-1]
        used = set(documents.references([[n.arguments, n.keywords] for n in self._nodes], "constant"))
        self.tensors = OrderedDict((name, tensor) for name, tensor in self.tensors.items() if name in used)

    def shared(self) -> List[bool]:
        """Whether a cut at each place would part tensors that share memory which is changed behind it."""
        live = self._live
        changed_later: Set[int] = set()
        places = []
        for place in range(len(self._nodes), -1, -1):
            if place < len(self._nodes):
                changed_later.update(self._storages[number] for number in self._nodes[place].mutates)
            memory = [self._storages[number] for number in live[place]]
            places.append(any(memory.count(one) > 1 for one in changed_later.intersection(memory)))
        return places[::-1]

    @property
    def _live(self) -> List[Tuple[int, ...]]:
        outputs: Dict[str, object] = {"tuple": []}
        return Document("", "", self._values, self._inputs, self._outputs or outputs, self._nodes, {}, []).live()

    _outputs: Optional[Dict[str, object]] = None


def _made_with(module: nn.Module, kind: str, key: str) -> object:
    """An argument of a module's constructor, as the module shows it."""
    if kind == "TransformerEncoderLayer":
        layer = cast(nn.TransformerEncoderLayer, module)
        inner = {
            "d_model": lambda: layer.linear1.in_features,
            "nhead": lambda: layer.self_attn.num_heads,
            "dim_feedforward": lambda: layer.linear1.out_features,
            "activation": lambda: "gelu" if layer.activation is nn.functional.gelu else "relu",
            "layer_norm_eps": lambda: layer.norm1.eps,
            "batch_first": lambda: layer.self_attn.batch_first,
        }
        if key in inner:
            return inner[key]()  # type: ignore[no-untyped-call]
    return getattr(module, key)


def _dtype(dtype: torch.dtype) -> str:
    return str(dtype).rsplit(".", 1)[-1]


def _tensors(thing: object) -> Iterator[torch.Tensor]:
    if isinstance(thing, torch.Tensor):
        yield thing
    elif isinstance(thing, Mapping):  # not what has `values`: torch's own pair of values and indices has them, too
        for part in thing.values():
            for found in _tensors(part):
                yield found
    elif isinstance(thing, (list, tuple)):
        for part in thing:
            for found in _tensors(part):
                yield found
    elif isinstance(thing, slice):
        for part in (thing.start, thing.stop, thing.step):
            if isinstance(part, torch.Tensor):
                yield part
