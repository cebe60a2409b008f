"""A tiny network with feature maps for quick tests, and the command line as the host starts it."""

import os
import subprocess
import sys

import pytest
import torch
from torch import nn

from dime.contract import messages
from dime.device import boards, networks, samples, timings
from tests.sharing import once

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
OPTIONS = {
    "frequencies_hz": None,
    "max_layers": None,
    "iterations": 2,
    "runs": 3,
    "warmups": 1,
    "threads": 1,
    "seed": 0,
    "min_window_s": 0.0,
    "processor": "cpu",
}


class Heard(list):
    """The messages of a call, in the form in which they are emitted."""

    def __bool__(self):
        return True

    def __call__(self, kind, **fields):
        messages.encode(kind, **fields)
        self.append((kind, fields))

    def texts(self, kind):
        return [fields["text"] for found, fields in self if found == kind]

    def kinds(self):
        return [kind for kind, _ in self]


class Tiny(object):
    """Three layers and two images, and how to measure them."""

    def __init__(self, folder):
        self.layers = ["a", "b", "c"]
        self.network = networks.Network(
            "tiny",
            self.layers,
            [nn.Linear(4, 6), nn.Sequential(nn.ReLU(inplace=True), nn.Linear(6, 5)), nn.Linear(5, 2)],
            (1, 4),
            "seeded 0",
        )
        self.folder = folder
        for image in ("left", "right"):
            x = torch.rand(1, 4)
            for layer, module in zip(self.layers, self.network.modules):  # noqa: B905
                os.makedirs(os.path.join(folder, layer), exist_ok=True)
                torch.save(x.clone(), os.path.join(folder, layer, image + ".pt"))
                x = module(x).detach()
        self.heard = Heard()

    def samples(self):
        return samples.Samples(self.folder, self.layers, None, "label")

    def profile(self, out, device="here", board=None, around_frequency=timings.quiet, root="/", **changes):
        return timings.profile(
            self.network,
            self.samples(),
            str(out),
            dict(OPTIONS, **changes),
            boards.choose(device, board),
            device,
            self.heard,
            around_frequency,
            str(root),
        )


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    monkeypatch.setattr(timings.around, "observe", lambda root, moment_s=0.0: {})  # a busy machine is no test's matter
    return Tiny(str(tmp_path / "tiny_samples"))


@pytest.fixture
def heard():
    return Heard()


def start(*arguments, **environment):
    """Starts ``python -m dime.device`` as the host does."""
    return subprocess.Popen(
        [sys.executable, "-m", "dime.device"] + [str(argument) for argument in arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        universal_newlines=True,
        cwd=ROOT,
        env=dict(os.environ, OMP_NUM_THREADS="1", **environment),
    )


def finish(process):
    """Waits for its end; returns the exit code and its messages, without those on this machine's other work.

    Nothing else may stand on standard output.
    """
    out, err = process.communicate(timeout=300)
    assert "Traceback" not in err, err
    heard = [messages.decode(line) for line in out.splitlines()]
    assert None not in heard, out
    others = (" meanwhile", ": what else ran went first")
    return process.returncode, [message for message in heard if not message.get("text", "").endswith(others)]


def device(*arguments, **environment):
    return finish(start(*arguments, **environment))


@pytest.fixture(scope="session")
def resnet18_samples(tmp_path_factory):
    """Feature maps of the smallest network, made by the command line."""

    def make(folder):
        code, heard = device("samples", "--network=resnet18", "--samples=" + str(folder), "--weights=seeded 0")
        assert code == 0, heard

    return str(once(tmp_path_factory, "resnet18_samples", make))
