"""What a person may get wrong of a network, beyond its name: one line that names the thing."""

import pytest
import torch
from torch import nn

if not hasattr(torch.overrides, "TorchFunctionMode"):
    pytest.skip("networks are traced where today's torch is", allow_module_level=True)
from dime.contract.errors import DeviceError, InputError
from dime.contract.networks import parse
from dime.device.graphs import cutting, files, network, sources, tracing
from dime.device.graphs.sources import Source


class Long(nn.Module):
    def forward(self, x):
        for number in range(3000):
            x = x + number % 3
        return x


def quiet(kind, **fields):
    pass


def test_weights_that_do_not_fit_name_the_entries(tmp_path):
    model = nn.Sequential(nn.Linear(4, 2), nn.Linear(2, 3))
    state = model.state_dict()
    state["2.weight"] = state.pop("1.weight")
    state["0.bias"] = torch.zeros(5)
    torch.save(state, str(tmp_path / "w.pt"))
    source = Source(model, [(1, 4)], [torch.float32], [None], None, None)
    with pytest.raises(InputError) as caught:
        sources.fill(source, parse("mine.py:build"), str(tmp_path / "w.pt"), quiet)
    for words in ("it lacks 1.weight", "has unknown 2.weight", "has another shape of 0.bias"):
        assert words in str(caught.value)


def test_thousands_of_operations_are_cut_into_few_layers(monkeypatch):
    traced = tracing.trace(Long(), (torch.randn(1, 4),), "long")
    assert len(traced.document.nodes) == 3000
    assert len(cutting.layers(cutting.choose(traced))) <= cutting.MOST
    with pytest.raises(InputError, match="CUTS=all is for at most 64"):
        cutting.choose(traced, "all")
    monkeypatch.setattr(tracing, "MOST_NODES", 2000)
    with pytest.raises(InputError, match="more than 2000 operations"):
        tracing.trace(Long(), (torch.randn(1, 4),), "long")


def test_a_precision_that_this_torch_lacks_is_one_line(tmp_path, monkeypatch):
    model, example = nn.Linear(4, 2).half(), (torch.randn(1, 4).half(),)
    traced = tracing.trace(model, example, "half")
    layers = cutting.layers(cutting.choose(traced))
    files.write(traced.document._replace(layers=layers), traced.tensors, example, str(tmp_path))

    def refuse(*arguments):
        raise RuntimeError("\"addmm_impl_cpu_\" not implemented\nfor 'Half'")

    monkeypatch.setattr(nn.functional, "linear", refuse)
    with pytest.raises(DeviceError, match="the network half does not run here: .*addmm_impl_cpu_.* for 'Half'"):
        network.load(str(tmp_path), "seeded 0", quiet)
