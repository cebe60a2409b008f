"""Traced networks give what the model gives, bit for bit, wherever they are cut; and what cannot be traced is told."""

import pytest
import torch
from torch import nn

from dime.contract.errors import InputError, TableError
from dime.device.graphs import cutting, document, files, program
from tests.device.graphs import models

if not hasattr(torch.overrides, "TorchFunctionMode"):
    pytest.skip("networks are traced where today's torch is", allow_module_level=True)
from dime.device.graphs import tracing

DOZEN = (
    "mobilenet_v3_small", "shufflenet_v2_x0_5", "squeezenet1_1", "resnet18", "mnasnet0_5", "efficientnet_b0",
    "regnet_y_400mf", "densenet121", "googlenet", "swin_t", "convnext_tiny", "vit_b_16",
)  # fmt: skip
ALWAYS = ("mobilenet_v3_small", "squeezenet1_1", "resnet18", "googlenet")


def flat(output):
    if isinstance(output, torch.Tensor):
        return [output]
    parts = output.values() if hasattr(output, "values") else output
    return [tensor for part in parts if part is not None for tensor in flat(part)]


def same(one, other):
    one, other = flat(one), flat(other)
    return len(one) == len(other) and all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def every_cut(traced):
    """Nodes behind which it can be cut, and the end."""
    count = len(traced.document.nodes)
    return [node for node in range(1, count) if not traced.shared[node]] + [count]


def run_in_parts(ready, traced, ends):
    """Runs the network part by part; each part twice, on what must stay as it was."""
    values, first = tuple(tensor.clone() for tensor in traced.example), 0
    with torch.no_grad():
        for end in ends:
            part = ready.part(first, end - 1)
            before = [tensor.clone() for tensor in values]
            output = part(values)
            assert same(output, part(values)), "a second run gives something else"
            assert same(before, values), "it changed what entered"
            values, first = tuple(tensor.clone() for tensor in flat(output)), end
    return ready.outputs(dict(zip(ready.place(ends[-1]), values, strict=True)))


def checked(model, example, name):
    traced = tracing.trace(model, example, name)
    again = document.from_json(document.to_json(traced.document))
    assert again == traced.document
    return traced, program.Program(again, traced.tensors)


@pytest.mark.parametrize("name", models.SMALL)
def test_a_small_model_equals_its_parts_wherever_it_is_cut(name):
    model, example = models.small(name)
    with torch.no_grad():
        expected = model(*[tensor.clone() for tensor in example])
    traced, ready = checked(model, example, name)
    count = len(traced.document.nodes)
    assert same(run_in_parts(ready, traced, [count]), expected)
    for end in every_cut(traced)[:-1]:
        assert same(run_in_parts(ready, traced, [end, count]), expected), end
    assert same(run_in_parts(ready, traced, every_cut(traced)), expected)


@pytest.mark.parametrize(
    "name", [name if name in ALWAYS else pytest.param(name, marks=pytest.mark.slow) for name in DOZEN]
)
def test_a_network_of_torchvision_equals_its_layers(name, tmp_path):
    models_of = pytest.importorskip("torchvision.models")
    torch.manual_seed(0)
    extra = {"init_weights": False} if name == "googlenet" else {}
    model = models_of.get_model(name, weights=None, **extra).eval()
    example = (
        torch.randn(1, 3, 224 if name in ("vit_b_16", "swin_t") else 96, 224 if name in ("vit_b_16", "swin_t") else 96),
    )
    with torch.no_grad():
        expected = model(example[0].clone())
    traced, ready = checked(model, example, name)
    chosen = cutting.choose(traced)
    layers = cutting.layers(chosen)
    assert 5 <= len(layers) <= cutting.MOST
    assert len(set(layer.name for layer in layers)) == len(layers)
    assert same(run_in_parts(ready, traced, [layer.last + 1 for layer in layers]), expected)
    written, digest = files.write(traced.document._replace(layers=layers), traced.tensors, example, str(tmp_path))
    loaded, again = files.load(str(tmp_path))
    assert (loaded.document, again) == (written, digest)
    assert files.check(loaded, str(tmp_path)) == files.Checked(True, 0.0)


@pytest.mark.parametrize("name", models.SMALL)
def test_a_graph_gives_the_same_on_another_input(name):
    model, example = models.small(name)
    traced, _ = checked(model, example, name)
    torch.manual_seed(1)
    tracing.check(traced, model, models.SMALL[name][1]())


def test_a_result_of_nested_tuples_is_traced_whole():
    model, example = models.small("recurrent")
    traced, _ = checked(model, example, "recurrent")
    assert not [name for name in traced.tensors if name.startswith("computed")]


class Peeking(nn.Module):
    """Looks at the bytes of its input where no trace sees it."""

    def forward(self, x):
        return x * sum(x.untyped_storage())


def test_what_a_trace_has_not_seen_is_found_on_another_input():
    model, example = Peeking(), (torch.randn(2, 4),)
    traced, _ = checked(model, example, "x")
    tracing.check(traced, model, example)
    with pytest.raises(InputError, match="an input that it was not traced with"):
        tracing.check(traced, model, (torch.randn(2, 4),))


def test_names_are_those_of_the_modules():
    model, example = models.small("unet")
    traced, _ = checked(model, example, "unet")
    names = [place.name for place in cutting.places(traced)]
    assert {"down1", "down2.0", "pool", "up2", "merge1", "out"} <= set(names)


def test_a_boundary_s_bytes_are_all_that_is_still_needed():
    model, example = models.small("unet")
    traced, _ = checked(model, example, "unet")
    found = {place.name: place for place in cutting.places(traced)}
    assert (found["down3"].tensors, found["down3"].size_bytes) == (3, 4 * (8 * 32 * 32 + 16 * 16 * 16 + 32 * 8 * 8))


@pytest.mark.parametrize(("cuts", "count"), [("1", 1), ("3", 3), ("down1, pool", 3), ("all", None), ("auto", None)])
def test_cuts_as_they_are_asked_for(cuts, count):
    model, example = models.small("unet")
    traced, _ = checked(model, example, "unet")
    layers = cutting.layers(cutting.choose(traced, cuts))
    assert layers[-1].last == len(traced.document.nodes) - 1
    assert count is None or len(layers) == count
    assert cuts != "all" or len(layers) == len(cutting.places(traced))


@pytest.mark.parametrize("cuts", ["0", "99", "down9", "down1,,x"])
def test_cuts_that_are_none(cuts):
    model, example = models.small("unet")
    traced, _ = checked(model, example, "unet")
    with pytest.raises(InputError, match="CUTS"):
        cutting.choose(traced, cuts)


class Branching(nn.Module):
    def forward(self, x):
        return x if x.sum() > 0 else -x


class Counting(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("seen", torch.zeros(4))

    def forward(self, x):
        self.seen += 1
        return x + self.seen


class Drawing(nn.Module):
    def forward(self, x):
        return x * torch.rand(4)


class Hidden(nn.Module):
    """Counts outside of its tensors."""

    count = 0

    def forward(self, x):
        self.count += 1
        return x * self.count


class Constant(nn.Module):
    def forward(self, x):
        return torch.ones(3)


class Texts(nn.Module):
    def forward(self, x):
        return "text"


class Strange(nn.Module):
    def forward(self, x):
        return torch.fft.fft(x).real


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (Branching, "depends on the values of its input, at test_tracing.py:"),
        (Counting, "changes its own state, seen"),
        (Drawing, "draws random numbers"),
        (Hidden, "another result each time"),
        (Constant, "computes nothing|does not depend on its input"),
        (Texts, "gives a str"),
        (Strange, "fft.* is not among those that a device may run"),
        (lambda: nn.Linear(9, 2), "fails on an input of 2x4: .*give the shape that it takes as INPUT"),
    ],
)
def test_what_cannot_be_traced_says_why_and_where(model, message):
    with pytest.raises(InputError, match=message) as failure:
        tracing.trace(model().eval(), (torch.randn(2, 4),), "x")
    assert "\n" not in str(failure.value)


def test_other_tensors_than_those_that_were_traced_are_refused(tmp_path):
    model, example = models.small("residual")
    traced, _ = checked(model, example, "residual")
    layers = cutting.layers(cutting.choose(traced))
    files.write(traced.document._replace(layers=layers), traced.tensors, example, str(tmp_path))
    path = tmp_path / document.TENSORS
    harmed = bytearray(path.read_bytes())
    harmed[5] ^= 1
    path.write_bytes(bytes(harmed))
    with pytest.raises(TableError, match="is not the one that was traced"):
        files.load(str(tmp_path))
