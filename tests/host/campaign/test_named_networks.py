"""Networks that nobody wrote in: named on the command line, cut, measured, planned; and what is wrong with a name."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from dime.contract.errors import InputError
from dime.contract.networks import BUILT_IN, parse
from tests.host.conftest import dime

ROOT = Path(__file__).resolve().parents[3]
MODEL = """
import torch
from torch import nn

INPUT = (1, 3, 32, 32)
hidden = None


class Branches(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem, self.left, self.right = nn.Conv2d(3, 8, 3, 2, 1), nn.Conv2d(8, 8, 3, 1, 1), nn.Conv2d(8, 8, 1)
        self.head = nn.Linear(8, 4)

    def forward(self, x):
        x = self.stem(x).relu()
        return self.head((self.left(x) + self.right(x)).mean((2, 3)))


def build():
    return Branches()


def arguments(width):
    return nn.Linear(width, 2)


def raises():
    raise OSError("no such hub")


def nothing():
    return "model"


def wrong():
    return nn.Conv2d(5, 2, 3)
"""


def slow(words, message):
    """One that loads PyTorch to be told, as others do that run always."""
    return pytest.param(words, message, marks=pytest.mark.slow)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "mine.py").write_text(MODEL)
    return tmp_path


def test_a_model_of_ones_own_is_profiled_planned_and_reported(folder):
    dime("profile", "--net=mine.py:build", "--runs=2", "--iterations=2", "--threads=1", folder=folder)
    run = json.loads((folder / "results/edge/mine/run.json").read_text())
    assert run["network"] == "mine" and len(run["graph"]) == 64 and isinstance(run["left_out"], list)
    done = dime("solve", "--net=mine.py:build", "--link=WiFi", "--edge-power=5", "--replicates=0", folder=folder)
    assert "optimal, proven by exact" in done.stdout
    assert (folder / "results/plans/mine/001/report.html").exists()
    again = dime("profile", "--net=mine", "--device=local", folder=folder, check=False)
    assert "complete already" in again.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("net", "name"),
    [
        ("mine.py:build", "mine"),
        ("torchvision:mobilenet_v3_small", "mobilenet_v3_small"),
        ("torchvision:squeezenet1_1", "squeezenet1_1"),
    ],
)
def test_a_network_nobody_wrote_in_is_planned_over_two_devices_one_of_python_3_6(folder, python36, net, name):
    dime("samples", f"--net={net}", "--weights=seeded", folder=folder)
    words = ["--runs=1", "--iterations=2", "--warmups=1", "--max-layers=4"]
    place = [f"--network={name}", "--device=old", f"--out=results/old/{name}", "--threads=1"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [python36, "-m", "dime.device", "profile", *place, *words],
        cwd=folder, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    dime("profile", f"--net={name}", "--device=server", *words, folder=folder)
    runs = [json.loads((folder / f"results/{device}/{name}/run.json").read_text()) for device in ("old", "server")]
    assert runs[0]["versions"]["python"].startswith("3.6.") and runs[0]["versions"] != runs[1]["versions"]
    assert runs[0]["graph"] == runs[1]["graph"] and runs[0]["layers"] == runs[1]["layers"]
    solved = dime(
        "solve", f"--net={name}", "--edge=old", "--link=WiFi", "--edge-power=5", "--replicates=0", "--figures",
        folder=folder,
    )  # fmt: skip
    assert "optimal, proven by exact" in solved.stdout
    plans = folder / f"results/plans/{name}/001"
    assert (plans / "report.html").exists() and len(list((plans / "figures").glob("*.svg"))) > 3


@pytest.mark.slow
def test_a_network_of_one_layer_is_planned_too(folder):
    words = ["--net=mine.py:build", "--cuts=1", "--runs=1", "--iterations=1", "--threads=1"]
    dime("profile", *words, folder=folder)
    done = dime("solve", "--net=mine", "--link=WiFi", "--edge-power=5", "--replicates=0", folder=folder)
    assert "optimal, proven by exact" in done.stdout


def test_other_code_under_the_same_name_is_refused(folder):
    dime("samples", "--net=mine.py:build", folder=folder)
    dime("samples", "--net=mine.py:build", folder=folder)
    (folder / "mine.py").write_text(MODEL.replace("Linear(8, 4)", "Linear(8, 5)"))
    done = dime("samples", "--net=mine.py:build", folder=folder, check=False)
    assert done.returncode == 1 and "was made with another sha256" in done.stderr and "NAME" in done.stderr


@pytest.mark.slow
def test_batch_and_precision_are_in_the_name_and_the_tables(folder):
    dime(
        "profile", "--net=mine.py:build", "--batch=3", "--dtype=float64", "--cuts=2", "--runs=1", "--iterations=1",
        "--threads=1", folder=folder,
    )  # fmt: skip
    run = folder / "results/edge/mine-batch3-float64"
    table = (run / "timings.csv").read_text()
    assert "3x3x32x32" in table and "3x4" in table
    assert json.loads((run / "run.json").read_text())["batch"] == 3
    done = dime(
        "solve", "--net=mine-batch3-float64", "--link=WiFi", "--edge-power=5", "--replicates=0", "--figures",
        folder=folder,
    )  # fmt: skip
    assert "mine-batch3-float64, batch of 3: least latency" in done.stdout
    assert "per picture of the batch of 3: latency " in done.stdout
    plans = folder / "results/plans/mine-batch3-float64/001"
    plan = json.loads((plans / "WiFi/plan.json").read_text())
    assert plan["batch"] == 3 and plan["per_picture"]["latency_s"] == pytest.approx(plan["latency_s"] / 3)
    assert plan["per_picture"]["energy_j"] == pytest.approx(plan["energy_j"] / 3)
    assert json.loads((plans / "report.json").read_text())["data"]["batch"] == 3
    assert any("a picture" in path.read_text() for path in (plans / "figures").glob("*.svg"))


@pytest.mark.slow
def test_the_places_of_a_network_are_shown(folder):
    done = dime("network", "mine.py:build", folder=folder)
    assert "1x3x32x32 float32" in done.stdout and "stem" in done.stdout and "2 tensors" not in done.stdout
    done = dime("network", "torchvision:squeezenet1_1", folder=folder)
    assert "squeezenet1_1: 1x3x224x224 float32" in done.stdout and "features.12" in done.stdout


@pytest.mark.slow
def test_a_network_is_drawn_with_its_cuts_and_branches(folder):
    from xml.etree import ElementTree

    dime("network", "mine.py:build", "--figure=mine.svg", folder=folder)
    root = ElementTree.parse(folder / "mine.svg").getroot()
    space = "{http://www.w3.org/2000/svg}"
    texts = [text.text for text in root.iter(f"{space}text")]
    tips = [title.text for title in root.iter(f"{space}title")]
    assert any("operations" in text for text in texts) and "stem" in texts
    assert any(tip.startswith("stem: 1x8x16x16, 8.19 kB; ") for tip in tips)
    assert any(tip.endswith("left out") for tip in tips)
    assert len(list(root.iter(f"{space}path"))) == 2  # what both branches take, and what waits for the sum
    for words, message in ((["mine.svg"], "exists already"), (["mine.png"], "FILE.svg")):
        done = dime("network", "mine.py:build", f"--figure={words[0]}", folder=folder, check=False)
        assert done.returncode == 1 and message in done.stderr


@pytest.mark.slow
def test_random_input_is_labelled_so(folder):
    dime("samples", "--net=mine.py:build", "--source=random", "--name=noise", folder=folder)
    manifest = json.loads((folder / "samples/noise/manifest.json").read_text())
    assert manifest["source"] == "random seed 0" and len(manifest["images"]) == 4


@pytest.mark.slow
def test_a_folder_of_tensors_is_a_source_and_is_told_from_another(folder):
    import numpy as np

    (folder / "mine").mkdir()
    np.save(folder / "mine/a.npy", np.ones((1, 3, 32, 32), "<f4"))
    dime("samples", "--net=mine.py:build", "--source=mine", folder=folder)
    manifest = json.loads((folder / "samples/mine/manifest.json").read_text())
    assert manifest["images"] == ["a"] and manifest["source"].startswith("tensors ")
    np.save(folder / "mine/a.npy", np.zeros((1, 3, 32, 32), "<f4"))
    done = dime("samples", "--net=mine.py:build", "--source=mine", folder=folder, check=False)
    assert done.returncode == 1 and "was made with another files" in done.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        slow(["--net=other.py:build"], "there is no file other.py"),
        (["--net=mine.py"], "name the function that makes the model, such as mine.py:build"),
        (["--net=mine.py:biuld"], "no function 'biuld'; did you mean 'build'?"),
        slow(["--net=mine.py:arguments"], "must be callable without arguments"),
        slow(["--net=mine.py:raises"], "OSError: no such hub"),
        slow(["--net=mine.py:nothing"], "gives a str, not a torch.nn.Module"),
        slow(["--net=mine.py:wrong"], "give the shape that it takes as INPUT"),
        slow(["--net=mine.py:build", "--input=32x32"], "give the shape that it takes as INPUT"),
        (["--net=mine.py:build", "--input=1x3x0x4"], "is no shape such as"),
        (["--net=mine.py:build", "--dtype=float8"], "unknown precision 'float8'"),
        (["--net=mine.py:build", "--batch=0"], "a batch has 1 to"),
        (["--net=mine.py:build", "--cuts=nowhere"], "no place 'nowhere'"),
        slow(["--net=mine.py:build", "--weights=mine.py"], "is not a readable file of tensors"),
        (["--net=mine.py:build", "--name=../up"], "letters, digits"),
        (["--net=torchvision:resnet19"], "did you mean 'resnet18'"),
        (["--net=alexnet", "--batch=2"], "NET=torchvision:alexnet"),
        (["--net=nets"], "unknown network 'nets'"),
    ],
)
def test_what_is_wrong_is_one_line(folder, words, message):
    done = dime("samples", *words, folder=folder, check=False)
    assert done.returncode == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(folder.glob("samples/*"))


def test_short_names_are_plain_and_not_those_of_built_in_networks():
    assert parse("torchvision:alexnet").name not in BUILT_IN
    assert parse("models/mine.py:build", "1x3x640x640", 8, "float16").name == "mine-1x3x640x640-batch8-float16"
    assert parse("net.pt2").name == "net"
    assert parse("torchvision:fasterrcnn_resnet50_fpn.backbone").name == "fasterrcnn_resnet50_fpn.backbone"
    for bad in ("torchvision:", "x.py:1a", "http://x/y", "../../x"):
        with pytest.raises(InputError):
            parse(bad)
