"""Does an image or an installation work on this processor: a real network's chain on it, and a kernel on its GPU."""

from typing import TYPE_CHECKING, Dict

import torch

from dime.contract.errors import DeviceError
from dime.device import networks, processor

if TYPE_CHECKING:
    from dime.contract.messages import Emit
    from dime.device.boards import Board

NETWORK = "alexnet"
# Of the largest output; another processor adds in another order.
TOLERANCE = 1e-3


def check(board: "Board", asked: str, emit: "Emit") -> Dict[str, object]:
    """Runs a network on the CPU and, where there is one, on the GPU, and compares.

    Args:
        board: The board's module.
        asked: Which processor: ``auto``, ``cuda`` or ``cpu``.
        emit: Called with a message's kind and fields.

    Returns:
        dict: The processor, torch's version, and the GPU's kind and those that torch holds kernels for, or None.

    Raises:
        DeviceError: No kernel launches on the GPU, or a result is wrong; the message says what to do.
    """
    chosen = processor.choose(asked, emit, processor.advice(board))
    network = networks.load(NETWORK, "seeded 0", emit)
    torch.manual_seed(0)
    tensor = torch.rand(network.input_shape)
    expected = _run(network, processor.Cpu(), tensor)
    if expected.shape[-1] != 1000 or not torch.isfinite(expected).all():
        raise DeviceError("{} gives nonsense on this processor: wheels for another one?".format(NETWORK))
    if chosen.name == "cuda":
        found = _run(network, chosen, tensor)
        off = float((found - expected).abs().max() / expected.abs().max())
        if not off < TOLERANCE:
            raise DeviceError("GPU and CPU differ by {:.1%} of the largest output of {}".format(off, NETWORK))
    facts: Dict[str, object] = {"processor": chosen.name, "torch": str(torch.__version__), "gpu": None, "kernels": None}
    if torch.cuda.is_available():
        facts.update(gpu=processor.gpu(), kernels=torch.cuda.get_arch_list())
    return facts


def _run(network: networks.Network, chosen: "processor.Processor", tensor: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        tensor = chosen.place(tensor)
        for module in network.modules:
            tensor = chosen.place(module)(tensor)
        return tensor.to("cpu")
