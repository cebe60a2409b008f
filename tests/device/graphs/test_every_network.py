"""The long lists: every classifier of torchvision, segmentation and detection backbones, and timm's families.

``make test-networks`` runs them; it takes most of an hour. timm's are tried where it is installed.
"""

import os
import subprocess
from pathlib import Path

import pytest
import torch

if not os.environ.get("DIME_NETWORKS"):
    pytest.skip("the long lists are not asked for: make test-networks", allow_module_level=True)
from dime.device.graphs import cutting, files, tracing
from tests.device.graphs.test_python36_runs_networks import CHECK
from tests.device.graphs.test_tracing import checked, run_in_parts, same

ROOT = Path(__file__).resolve().parents[3]
models = pytest.importorskip("torchvision.models")
CLASSIFIERS = models.list_models(module=models)
OTHERS = ("fcn_resnet50", "deeplabv3_mobilenet_v3_large", "lraspp_mobilenet_v3_large")
BACKBONES = ("fasterrcnn_resnet50_fpn", "ssdlite320_mobilenet_v3_large", "retinanet_resnet50_fpn")


def equal_in_layers(model, shape, name):
    torch.manual_seed(0)
    example = (torch.randn(shape),)
    with torch.no_grad():
        expected = model.eval()(example[0].clone())
    traced, ready = checked(model, example, name)
    layers = cutting.layers(cutting.choose(traced))
    assert same(run_in_parts(ready, traced, [layer.last + 1 for layer in layers]), expected)
    return traced, layers, example


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_a_classifier_of_torchvision(name, tmp_path):
    torch.manual_seed(0)
    extra = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
    model = models.get_model(name, weights=None, **extra)
    traced, layers, example = equal_in_layers(model, (1, 3, 224, 224), name)
    files.write(traced.document._replace(layers=layers), traced.tensors, example, str(tmp_path))
    old = ROOT / ".venv-py36/bin/python"
    if not old.exists():
        pytest.skip("equal here; there is no Python 3.6 to try it on: scripts/setup-py36.sh")
    words = [old, "-c", CHECK, tmp_path]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=tmp_path, env=environment)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) <= files.TOLERANCE


@pytest.mark.parametrize("name", [*OTHERS, *(name + ".backbone" for name in BACKBONES)])
def test_segmentation_and_detection(name):
    whole, _, part = name.partition(".")
    model = models.get_model(whole, weights=None, weights_backbone=None)
    equal_in_layers(model.get_submodule(part), (1, 3, 224, 224), name)


def families():
    """The smallest model of each family of timm."""
    try:
        import timm
    except ImportError:
        return []
    found = []
    for family in timm.list_modules():
        sizes = {}
        for name in timm.list_models(module=family)[:60]:
            try:
                with torch.device("meta"):
                    sizes[name] = sum(p.numel() for p in timm.create_model(name).parameters())
            except Exception:  # some cannot be made without memory
                continue
        found += [min(sizes, key=sizes.get)] if sizes else []
    return found


@pytest.mark.parametrize("name", families())
def test_a_family_of_timm(name):
    import timm

    torch.manual_seed(0)
    model = timm.create_model(name)
    equal_in_layers(model, (1, *model.pretrained_cfg.get("input_size", (3, 224, 224))), name)


def test_cutting_is_quick():
    """Beyond importing torch; printed, since a time is no assertion."""
    import time

    for name in ("mobilenet_v3_large", "resnet50"):
        model, start = models.get_model(name, weights=None), time.monotonic()
        cutting.choose(tracing.trace(model, (torch.randn(1, 3, 224, 224),), name))
        print(f"{name}: {time.monotonic() - start:.2f} s")
