"""Networks, one file each: LAYERS (names in order), INPUT_SHAPE, build() and cut(model).

``build()`` returns a module that holds the parameters under the names that torchvision's model of that name gives them;
``cut(model)`` slices it into one module a layer, whose chain is the network. A file may have ``adapt(state)``, which
renames the entries of older weights. torchvision itself, which takes seconds to import, is not needed to run a network.
"""

import os
import sys
from typing import TYPE_CHECKING, Dict, List, NamedTuple, Optional, Sequence, Tuple, cast

from dime.contract import plugins
from dime.contract.errors import DeviceError, InputError

if TYPE_CHECKING:
    from typing import Protocol  # novm

    from torch import nn

    from dime.contract.bundles import Bundle
    from dime.contract.messages import Emit
    from dime.device.processor import Processor

    class Crossing(Protocol):
        """A tensor at a boundary, of whichever kind of network."""

        @property
        def shape(self) -> Tuple[int, ...]: ...

        @property
        def dtype(self) -> str: ...

    class Plugin(Protocol):
        """A network's file."""

        LAYERS: Sequence[str]
        INPUT_SHAPE: Sequence[int]

        def build(self) -> nn.Module: ...

        def cut(self, model: nn.Module) -> List[nn.Module]: ...


Value = NamedTuple("Value", [("shape", Tuple[int, ...]), ("dtype", str)])
Value.__doc__ = "Shape and dtype of a tensor at a boundary."


class Network(object):
    """One loaded network, sliced into its layers.

    Args:
        name: The network's name.
        layers: Names of its layers, in order.
        modules: One torch module a layer; they share the loaded parameters.
        input_shape: Shape of the first layer's input.
        weights: Where the weights came from: ``pretrained``, ``file <hash>`` or ``seeded <n>``.
    """

    batch = 1

    def __init__(
        self, name: str, layers: Sequence[str], modules: "Sequence[nn.Module]", input_shape: Sequence[int], weights: str
    ) -> None:
        self.name = name
        self.layers = list(layers)
        self.modules = modules
        self.input_shape = tuple(input_shape)
        self.weights = weights
        self._shapes: Optional[List[Tuple[int, ...]]] = None
        self._parts: "Dict[Tuple[int, int], nn.Module]" = {}

    def place(self, chosen: "Processor") -> None:
        """Moves all modules to where they run."""
        for module in self.modules:
            chosen.place(module)

    def boundary(self, layer: int) -> List[Value]:
        """The values (shape, dtype) that enter a layer, or leave the last one: here always one."""
        return [Value(self.input_shapes()[layer], "float32")]

    def module(self, bundle: "Bundle") -> "nn.Module":
        """The layers of a bundle as one module; nothing is copied."""
        from torch import nn

        key = bundle.first, bundle.last
        if key not in self._parts:
            self._parts[key] = nn.Sequential(*self.modules[bundle.first : bundle.last + 1]).eval()
        return self._parts[key]

    def input_shapes(self) -> List[Tuple[int, ...]]:
        """Shapes of every layer's input and of the last one's output, found by one pass over zeros."""
        import torch

        if self._shapes is None:
            x = torch.zeros(self.input_shape)
            shapes = [self.input_shape]
            with torch.no_grad():
                for layer, module in zip(self.layers, self.modules):
                    try:
                        x = module(x)
                    except (RuntimeError, IndexError, ValueError, TypeError) as error:
                        raise InputError(
                            "network {}: layer {} does not take an input of {}, which follows from INPUT_SHAPE {}, a"
                            " batch of 1 in front: {}".format(
                                self.name, layer, tuple(x.shape), self.input_shape, " ".join(str(error).split())[:300]
                            )
                        )
                    shapes.append(tuple(x.shape))
            self._shapes = shapes
        return self._shapes

    def layer_bytes(self) -> List[int]:
        """Memory that each layer takes where it runs: its parameters and buffers, and its input."""
        held = []
        for module, shape in zip(self.modules, self.input_shapes()):
            tensors = list(module.parameters()) + list(module.buffers())
            values = 1
            for size in shape:
                values *= size
            held.append(sum(t.numel() * t.element_size() for t in tensors) + values * 4)
        return held


def need_torch() -> None:
    """Imports torch, which fails in many ways where it does not fit the machine.

    Raises:
        DeviceError: It cannot be imported.
    """
    try:
        import torch  # noqa: F401
    except Exception as error:
        reason = " ".join(str(error).split())[:300]
        raise DeviceError("torch cannot be imported by {}: {}".format(sys.executable, reason))


def describe(name: str) -> "Plugin":
    """Imports a network's file without loading any weights.

    Raises:
        InputError: There is no such network; the message lists those there are.
    """
    import dime.device.networks as package

    plugins.check(package, name)
    need_torch()
    plugin = cast("Plugin", plugins.load(package, name))
    _check(name, getattr(plugin, "LAYERS", None), getattr(plugin, "INPUT_SHAPE", None))
    return plugin


def _check(name: str, layers: object, shape: object) -> None:
    """Makes sure that a network's file describes what everything else relies on: one input, with its batch of one."""
    where = "network {} ({}/{}.py)".format(name, os.path.dirname(os.path.abspath(__file__)), name)
    if not (isinstance(layers, (tuple, list)) and layers and all(isinstance(layer, str) and layer for layer in layers)):
        raise InputError("{}: LAYERS is {!r}; it must be the layers' names in order".format(where, layers))
    if len(set(layers)) < len(layers):
        raise InputError("{}: LAYERS names a layer twice".format(where))
    sizes = shape if isinstance(shape, (tuple, list)) else ()
    whole = all(isinstance(size, int) and not isinstance(size, bool) and 0 < size < 2**31 for size in sizes)
    if not (len(sizes) > 1 and whole and sizes[0] == 1):
        raise InputError(
            "{}: INPUT_SHAPE is {!r}; it must be whole numbers, a batch of 1 in front, such as {}".format(
                where, shape, (1,) + tuple(sizes) if len(sizes) > 1 and whole else (1, 3, 224, 224)
            )
        )


def load(name: str, weights: str = "auto", emit: "Optional[Emit]" = None) -> Network:
    """Loads a network once and slices it.

    Args:
        name: One of the files in this folder.
        weights: ``auto``, ``pretrained``, ``seeded <n>``, or a state_dict's file.
        emit: Called with a message's kind and fields, as `dime.contract.messages.encode` takes them.

    Returns:
        Network: In evaluation mode, on the CPU.

    Raises:
        InputError: Unknown network, or weights that are not to be had or do not fit.
    """
    plugin = describe(name)
    from dime.device import weights as sources

    model = plugin.build().eval()
    label = sources.fill(model, name, weights, getattr(plugin, "adapt", None), emit)
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    modules = [module.eval() for module in plugin.cut(model)]
    if len(modules) != len(plugin.LAYERS):
        raise InputError(
            "network {}: cut() gives {} modules for {} LAYERS".format(name, len(modules), len(plugin.LAYERS))
        )
    network = Network(name, plugin.LAYERS, modules, plugin.INPUT_SHAPE, label)
    network.input_shapes()  # what does not fit together is told before anything else is done
    return network
