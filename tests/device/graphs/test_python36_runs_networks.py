"""Networks that today's torch traced run on a real Python 3.6 with the oldest torch, within the stated tolerance."""

import os
import subprocess
from pathlib import Path

import pytest
import torch

if not hasattr(torch.overrides, "TorchFunctionMode"):
    pytest.skip("networks are traced where today's torch is", allow_module_level=True)
from dime.device.graphs import cutting, files, tracing
from tests.device.graphs import models

ROOT = Path(__file__).resolve().parents[3]
CHECK = (
    "import sys\nfrom dime.device.graphs import files\n"
    "for folder in sys.argv[1:]:\n    program, _ = files.load(folder)\n"
    "    print(files.check(program, folder).largest)\n"
)
NETWORKS = ("mobilenet_v3_small", "swin_t", "convnext_tiny", "shufflenet_v2_x0_5")


@pytest.mark.slow
def test_they_give_the_same_at_every_boundary(python36, tmp_path):
    torchvision = pytest.importorskip("torchvision.models")
    torch.manual_seed(0)
    made = {name: models.small(name) for name in models.SMALL}
    for name in NETWORKS:
        made[name] = torchvision.get_model(name, weights=None).eval(), (torch.randn(1, 3, 224, 224),)
    folders = []
    for name, (model, example) in made.items():
        traced = tracing.trace(model, example, name)
        layers = cutting.layers(cutting.choose(traced))
        folders.append(tmp_path / name)
        folders[-1].mkdir()
        files.write(traced.document._replace(layers=layers), traced.tensors, example, str(folders[-1]))
    done = subprocess.run(
        [python36, "-c", CHECK, *folders],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    differences = [float(line) for line in done.stdout.split()]
    assert len(differences) == len(made)
    assert max(differences) <= files.TOLERANCE
