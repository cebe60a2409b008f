"""What every network must be. The test file that takes this suite has a fixture ``network_name``, of scope module.

Where torchvision has a model of that name, it must give the same to the last bit. This runs on Python 3.6, too.
"""

import pytest

torch = pytest.importorskip("torch")

from dime.contract.bundles import Bundle, enumerate_bundles, parse, spell  # noqa: E402
from dime.device import networks, weights  # noqa: E402


@pytest.fixture(scope="module")
def network(network_name):
    """The network with the same seeded weights for all tests of it."""
    return networks.load(network_name, "seeded 0")


@pytest.fixture(scope="module")
def values(network):
    """The input of every layer and the last one's output, for one random image."""
    found = [torch.randn(network.input_shape, generator=torch.Generator().manual_seed(1))]
    with torch.inference_mode():
        for module in network.modules:
            found.append(module(found[-1].clone()))
    return found


@pytest.fixture(scope="module")
def published(network):
    """torchvision's model of the same name."""
    models = pytest.importorskip("torchvision.models")
    build = getattr(models, network.name, None)
    if build is None:
        pytest.skip(f"this torchvision has no {network.name}")
    return build().eval()


def test_the_chain_of_layers_is_torchvisions_model_to_the_last_bit(network, values, published):
    model = networks.describe(network.name).build()
    assert sorted(model.state_dict()) == sorted(published.state_dict())
    weights.seed(model, 0)
    published.load_state_dict(model.state_dict())
    with torch.inference_mode():
        assert torch.equal(published(values[0]), values[-1])
        two = torch.cat([values[0], values[0].flip(-1)])
        chained = two
        for module in network.modules:
            chained = module(chained)
        assert torch.equal(published(two), chained)


def test_weights_that_torchvision_saved_give_torchvisions_results(network, values, published, tmp_path):
    torch.save(published.state_dict(), str(tmp_path / "weights.pth"))
    loaded = networks.load(network.name, str(tmp_path / "weights.pth"))
    assert loaded.weights.startswith("file ")
    with torch.inference_mode():
        x = values[0]
        for module in loaded.modules:
            x = module(x)
        assert torch.equal(published(values[0]), x)


def test_every_bundle_runs_and_equals_its_part_of_the_chain(network, values):
    with torch.inference_mode():
        for first, last in enumerate_bundles(len(network.layers)):
            entering = values[first].clone()
            leaving = network.module(Bundle(first, last))(entering)
            assert torch.equal(leaving, values[last + 1]), (first, last)
            assert torch.equal(entering, values[first]), "a bundle changes its input"


def test_shapes_are_those_of_the_tensors(network, values):
    assert network.input_shapes() == [tuple(value.shape) for value in values]
    assert network.input_shapes()[0] == network.input_shape


def test_values_stay_at_scale(values):
    for value in values:
        assert torch.isfinite(value).all()
        assert 1e-3 < value.std() < 1e3


def test_names_of_its_bundles_are_unambiguous(network):
    assert len(network.layers) == len(network.modules) == len(set(network.layers))
    bundles = enumerate_bundles(len(network.layers))
    assert len({spell(bundle, network.layers) for bundle in bundles}) == len(bundles)
    assert [parse(spell(bundle, network.layers), network.layers) for bundle in bundles] == bundles


def test_every_parameter_belongs_to_exactly_one_layer(network):
    model = networks.describe(network.name).build()
    owned = [id(parameter) for module in network.modules for parameter in module.parameters()]
    assert len(owned) == len(set(owned)) == len(list(model.parameters()))
    assert not any(parameter.requires_grad for module in network.modules for parameter in module.parameters())
    assert not any(module.training for layer in network.modules for module in layer.modules())


def test_its_memory_is_that_of_its_parameters_and_inputs(network, values):
    counts = zip(network.modules, values)  # noqa: B905
    expected = [
        4 * (sum(p.numel() for p in module.parameters()) + value.numel())
        + sum(b.numel() * b.element_size() for b in module.buffers())
        for module, value in counts
    ]
    assert network.layer_bytes() == expected
